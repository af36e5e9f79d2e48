/* HUP: settings are read again while the relay runs.
 *
 * Diagnostics and access keys change at once. A target whose settings changed gets a new sender:
 * the old one settles what it has sent, the new one goes on behind it. New targets are registered,
 * removed ones are forgotten with their position. Everything else is in use by threads that cannot
 * change their settings half-way (spool, sources, format): for these one sentence names the keys
 * that wait for a restart. A file that does not load changes nothing. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "relay/internal.h"

#include "client/client.h"

#include "base/clock.h"
#include "base/diag.h"

struct waiting {
    char keys[600];
    size_t count;
    bool keys_renewed; /* the access keys are in use already */
};

static bool is_key(const char *path)
{
    return strcmp(path, "source.access_key_id") == 0 ||
           strcmp(path, "source.access_key_secret") == 0 ||
           strcmp(path, "source.security_token") == 0;
}

static void keep(void *ctx, const char *path)
{
    struct waiting *waiting = ctx;
    const size_t used = strlen(waiting->keys);

    if (strncmp(path, "log.", 4) == 0 || strncmp(path, "targets", 7) == 0 ||
        (waiting->keys_renewed && is_key(path)))
        return;
    waiting->count++;
    if (used + strlen(path) + 8 < sizeof waiting->keys)
        snprintf(waiting->keys + used, sizeof waiting->keys - used, "%s%s", used > 0 ? ", " : "",
                 path);
}

static const struct slsr_target_config *find_target(const struct slsr_config *config,
                                                    const char *name)
{
    for (size_t i = 0; i < config->target_count; i++)
        if (strcmp(config->targets[i].name, name) == 0)
            return &config->targets[i];
    return NULL;
}

static const struct sender *find_sender(const struct relay *relay, const char *name)
{
    for (size_t i = 0; i < relay->sender_count; i++)
        if (strcmp(relay->senders[i]->target->name, name) == 0)
            return relay->senders[i];
    return NULL;
}

/* Stops what is gone or different, registers, starts what is missing. Returns how many changed. */
static size_t change_targets(struct relay *relay, const struct slsr_config *fresh)
{
    struct slsr_err err = {0};
    size_t changed = 0;

    for (size_t i = relay->sender_count; i-- > 0;) {
        const struct slsr_target_config *before = relay->senders[i]->target;
        const struct slsr_target_config *after = find_target(fresh, before->name);

        if (after != NULL && slsr_target_equal(before, after))
            continue;
        diag(SLSR_LOG_NOTICE, "relay", "target %s: %s", before->name,
             after == NULL ? "removed; what it has not taken is no longer kept for it"
                           : "settings changed");
        relay_sender_stop(relay, i);
        changed++;
    }
    if (relay_register_targets(relay, fresh, &err) != 0)
        diag(SLSR_LOG_ERROR, "relay", "cannot register the targets: %s", err.text);
    for (size_t i = 0; i < fresh->target_count; i++) {
        const struct slsr_target_config *target = &fresh->targets[i];

        if (find_sender(relay, target->name) != NULL)
            continue;
        if (find_target(relay->now, target->name) == NULL) {
            diag(SLSR_LOG_NOTICE, "relay", "target %s: added", target->name);
            changed++;
        }
        if (relay_sender_start(relay, target, &err) != 0)
            diag(SLSR_LOG_ERROR, "relay", "%s", err.text);
    }
    return changed;
}

/* Access keys, from wherever the settings took them (also *_file and systemd credentials). Sources
 * are told apart by their place, so only while there are as many as before. */
static bool renew_keys(struct relay *relay, const struct slsr_config *fresh)
{
    const struct slsr_config *config = relay->config;
    struct slsr_err err = {0};
    bool all = config->source_count == fresh->source_count;

    for (size_t i = 0; i < fresh->source_count && i < config->source_count; i++) {
        if (strcmp(config->sources[i].project, fresh->sources[i].project) != 0)
            all = false;
        else if (fresh->sources[i].access_key_id != NULL &&
                 client_renew_keys(&config->sources[i], &fresh->sources[i], &err) != 0) {
            diag(SLSR_LOG_ERROR, "relay", "%s: the old keys stay: %s", config->sources[i].project,
                 err.text);
            all = false;
        }
    }
    return all;
}

static void apply(struct relay *relay, struct slsr_config *fresh)
{
    struct waiting waiting = {.keys = ""};
    struct slsr_err err = {0};
    size_t changed;

    diag_close();
    if (diag_open(&fresh->log, "sls-relay", &err) != 0)
        diag(SLSR_LOG_ERROR, "relay", "%s; diagnostics go to standard error", err.text);
    waiting.keys_renewed = renew_keys(relay, fresh);
    changed = change_targets(relay, fresh);
    relay->now = fresh;
    slsr_config_differ(relay->config, fresh, keep, &waiting);
    if (waiting.count == 0)
        diag(SLSR_LOG_NOTICE, "relay", "settings reloaded, %zu target(s) changed", changed);
    else
        diag(SLSR_LOG_WARNING, "relay",
             "settings reloaded, %zu target(s) changed; these take effect after a restart: %s",
             changed, waiting.keys);
}

void relay_reload(struct relay *relay)
{
    struct slsr_config *fresh = NULL;
    char text[80];

    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(clock_mono_ns() / 1000));
    notify_systemd(text);
    relay->watch.reloading = true;
    diag_reopen();
    if (relay->options == NULL || relay->options->load == NULL)
        diag(SLSR_LOG_NOTICE, "relay", "HUP: log file reopened; there is no file to reload");
    else if (relay->loaded_count == CONFIGS_MAX)
        diag(SLSR_LOG_WARNING, "relay",
             "settings were reloaded %d times: restart the relay to load them again", CONFIGS_MAX);
    else if (relay->options->load(relay->options->ctx, &fresh) != 0)
        diag(SLSR_LOG_ERROR, "relay",
             "the settings cannot be loaded: nothing is changed; see sls-relay --check");
    else {
        relay->loaded[relay->loaded_count++] = fresh;
        apply(relay, fresh);
    }
    relay->watch.reloading = false;
    notify_systemd("READY=1");
}
