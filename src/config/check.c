/* What one value alone cannot show: required settings, names, and settings that must fit together.
 *
 * Runs after everything is read. Names follow the limits of the SLS API reference. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config/load.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool made_of(const char *text, const char *set, size_t min, size_t max)
{
    size_t n = strlen(text);

    return n >= min && n <= max && strspn(text, set) == n;
}

/* Says that path.key is missing when the relay needs it. */
static void require(struct config_load *load, bool there, const char *path, const char *key,
                    const char *hint)
{
    char child[CONFIG_PATH];

    if (there || !load->need_relay)
        return;
    (void)config_path_key(child, path, key);
    config_problem(load, child, "is not set: %s", hint);
}

/* scheme://host[:port][/], no user, no path. */
static bool endpoint_valid(const char *text)
{
    const char *mark = strstr(text, "://"), *start = mark != NULL ? mark + 3 : text;
    char rest[300], host[256];
    size_t n = strlen(start);
    int port;

    if (mark != NULL && strncasecmp(text, "https://", 8) != 0 &&
        strncasecmp(text, "http://", 7) != 0)
        return false;
    if (n > 0 && start[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof rest)
        return false;
    memcpy(rest, start, n);
    rest[n] = '\0';
    return config_split_host(rest, host, sizeof host, &port) && config_host_valid(host);
}

static void check_addresses(struct config_load *load, const struct slsr_source_config *s,
                            const char *path)
{
    char child[CONFIG_PATH], host[256];
    int port = 0;

    if (s->endpoint != NULL && !endpoint_valid(s->endpoint)) {
        (void)config_path_key(child, path, "endpoint");
        config_problem(load, child,
                       "is no address of the service: write it like "
                       "https://cn-hangzhou.log.aliyuncs.com, without project or path");
    }
    if (s->connect_to != NULL && (!config_split_host(s->connect_to, host, sizeof host, &port) ||
                                  !config_host_valid(host) || port == 0)) {
        (void)config_path_key(child, path, "connect_to");
        config_problem(load, child, "must be HOST:PORT, an IPv6 address in brackets");
    }
    if (s->proxy != NULL && strstr(s->proxy, CONFIG_MASK "@") != NULL) {
        (void)config_path_key(child, path, "proxy");
        config_problem(load, child,
                       "has the mask that --print-config writes: put the real password there");
    }
    if (s->region != NULL && !made_of(s->region, LOWER DIGITS "-", 2, 64)) {
        (void)config_path_key(child, path, "region");
        config_problem(load, child, "must be a region such as \"cn-hangzhou\"");
    }
}

static void check_names(struct config_load *load, const struct slsr_source_config *s,
                        const char *path)
{
    char child[CONFIG_PATH], item[CONFIG_PATH];

    if (s->project != NULL && !made_of(s->project, LOWER DIGITS "-", 1, 63)) {
        (void)config_path_key(child, path, "project");
        config_problem(load, child,
                       "is no project name: 1 to 63 lower-case letters, digits and \"-\"");
    }
    (void)config_path_key(child, path, "logstores");
    for (size_t i = 0; i < s->logstore_count; i++) {
        const char *name = s->logstores[i];
        size_t n = strlen(name);

        if (made_of(name, LOWER DIGITS "_-", 3, 80) && strchr("_-", name[0]) == NULL &&
            strchr("_-", name[n - 1]) == NULL)
            continue;
        (void)config_path_index(item, child, i);
        config_problem(load, item,
                       "is no logstore name: 3 to 80 lower-case letters, digits, \"-\" and \"_\", "
                       "with a letter or digit at both ends");
    }
    if (s->consumer_group != NULL && !made_of(s->consumer_group, LOWER UPPER DIGITS "_-", 1, 128)) {
        (void)config_path_key(child, path, "consumer_group");
        config_problem(load, child,
                       "is no consumer group name: 1 to 128 letters, digits, \"-\" and \"_\"");
    }
    if (s->consumer != NULL && strlen(s->consumer) > 128) {
        (void)config_path_key(child, path, "consumer");
        config_problem(load, child, "is too long for a consumer name: at most 128 bytes");
    }
}

static void check_source(struct config_load *load, const struct slsr_source_config *s,
                         const char *path)
{
    const bool elsewhere = s->credentials_file != NULL || s->ecs_ram_role != NULL;
    char child[CONFIG_PATH];

    require(load, s->endpoint != NULL, path, "endpoint",
            "give the address of the service here or in SLS_ENDPOINT");
    require(load, s->project != NULL, path, "project", "name it here or in SLS_PROJECT");
    require(load, s->logstore_count > 0, path, "logstores", "name one here or in SLS_LOGSTORE");
    require(load, s->consumer_group != NULL, path, "consumer_group",
            "name it here or in SLS_CG; it is created when it does not exist");
    require(load, s->access_key_id != NULL || elsewhere, path, "access_key_id",
            "give it here, in SLS_AK_ID, access_key_id_file or a systemd credential, or set "
            "credentials_file or ecs_ram_role");
    require(load, s->access_key_secret != NULL || elsewhere, path, "access_key_secret",
            "give it here, in SLS_AK_KEY, access_key_secret_file or a systemd credential, or set "
            "credentials_file or ecs_ram_role");
    check_addresses(load, s, path);
    check_names(load, s, path);
    (void)config_path_key(child, path, "heartbeat_timeout");
    if (s->heartbeat_timeout_ms < 2 * s->heartbeat_interval_ms)
        config_problem(load, child,
                       "is too short: it must be at least twice heartbeat_interval, or one late "
                       "heartbeat costs our shards");
    else if (s->heartbeat_timeout_ms < 3 * s->heartbeat_interval_ms)
        config_warning(load, child,
                       "is less than three times heartbeat_interval: two late heartbeats cost our "
                       "shards");
}

static void check_transport(struct config_load *load, const struct slsr_target_config *t,
                            const char *path)
{
    bool udp = t->protocol == SLSR_UDP;
    char child[CONFIG_PATH];

    if (t->protocol == SLSR_TLS || t->protocol == SLSR_RELP) {
        (void)config_path_key(child, path, "protocol");
        config_problem(load, child, "%s is not available in this version: use \"tcp\" or \"udp\"",
                       t->protocol == SLSR_TLS ? "tls" : "relp");
        return;
    }
    (void)config_path_key(child, path, "delivery");
    if (udp && t->delivery != SLSR_DELIVERY_AUTO && t->delivery != SLSR_DELIVERY_SENT)
        config_problem(load, child, "udp gives no evidence: use \"auto\" or \"sent\"");
    else if (t->delivery == SLSR_DELIVERY_CONFIRMED)
        config_problem(load, child,
                       "tcp gives no confirmation: use \"auto\", \"sent\", \"received\", \"read\" "
                       "or \"proven\"");
    if (udp && t->framing == SLSR_FRAMING_OCTET) {
        (void)config_path_key(child, path, "framing");
        config_problem(load, child,
                       "udp sends each message as a datagram of its own: use \"auto\"");
    }
}

/* "[::1]" -> "::1": the dialler takes addresses without brackets. */
static void unbracket(char *host)
{
    size_t n = strlen(host);

    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        memmove(host, host + 1, n - 2);
        host[n - 2] = '\0';
    }
}

static void check_target(struct config_load *load, struct slsr_target_config *t, const char *path)
{
    char child[CONFIG_PATH], retry[CONFIG_PATH];

    require(load, t->host != NULL, path, "host", "give the receiver's name or address");
    if (t->host != NULL) {
        unbracket(t->host);
        if (!config_host_valid(t->host)) {
            (void)config_path_key(child, path, "host");
            config_problem(load, child,
                           "is no host name or address: the port stands in \"port\", the protocol "
                           "in \"protocol\"");
        }
    }
    if (t->retry_max_ms < t->retry_initial_ms) {
        (void)config_path_key(retry, path, "retry");
        (void)config_path_key(child, retry, "max");
        config_problem(load, child, "is less than retry.initial: raise it");
    }
    check_transport(load, t, path);
}

static void check_target_name(struct config_load *load, size_t i, const char *path)
{
    struct slsr_target_config *t = &load->config->targets[i];
    char child[CONFIG_PATH], name[32];

    (void)config_path_key(child, path, "name");
    if (t->name == NULL) {
        if (i == 0)
            snprintf(name, sizeof name, "siem");
        else
            snprintf(name, sizeof name, "siem-%zu", i + 1);
        t->name = strdup(name);
        if (t->name == NULL) {
            load->no_memory = true;
            return;
        }
    }
    if (!made_of(t->name, LOWER UPPER DIGITS "_.-", 1, 63))
        config_problem(load, child, "must be 1 to 63 letters, digits, \"_\", \".\" and \"-\"");
    for (size_t k = 0; k < i; k++)
        if (load->config->targets[k].name != NULL &&
            strcmp(load->config->targets[k].name, t->name) == 0) {
            config_problem(load, child,
                           "\"%s\" is also the name of targets[%zu]: positions are kept by name, "
                           "choose another",
                           t->name, k);
            return;
        }
}

static void check_spool(struct config_load *load)
{
    struct slsr_spool_config *spool = &load->config->spool;
    char here[PATH_MAX], *whole;

    if (spool->path == NULL) {
        config_problem(load, "$.spool.path", "is not set: name a directory");
        return;
    }
    if (spool->path[0] != '/') {
        if (getcwd(here, sizeof here) == NULL || asprintf(&whole, "%s/%s", here, spool->path) < 0) {
            config_problem(load, "$.spool.path",
                           "cannot be made absolute: write it from the root on");
            return;
        }
        free(spool->path);
        spool->path = whole;
    }
    if (spool->retention_size_bytes > spool->max_size_bytes)
        config_problem(load, "$.spool.retention_size", "is more than max_size: lower it");
}

void config_check(struct config_load *load)
{
    struct slsr_config *c = load->config;
    char path[CONFIG_PATH];

    for (size_t i = 0; i < c->source_count; i++) {
        config_source_path(load, i, path);
        check_source(load, &c->sources[i], path);
    }
    if (load->need_relay && c->source_count == 0)
        config_problem(load, "$.sources", "is empty: name at least one source");
    if (load->need_relay && c->target_count == 0)
        config_problem(load, "$.targets", "is empty: name at least one target here or in SIEM");
    for (size_t i = 0; i < c->target_count; i++) {
        (void)config_path_index(path, "$.targets", i);
        check_target(load, &c->targets[i], path);
        check_target_name(load, i, path);
    }
    check_spool(load);
}
