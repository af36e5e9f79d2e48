/* Files that the settings name: said at once when they cannot be read.
 *
 * The relay reads them later: a target's certificates when it connects, the spool's keys at the
 * start. So a wrong name is a warning here and no mistake: whoever checks a configuration may do so
 * on another machine or as another user. Names of files with secrets are left out of all sentences,
 * for a secret may stand there by mistake (I6); secrets.c looks after those. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "config/load.h"
#include "slsrelay/plain.h"

static void look(struct config_load *load, const char *area, const char *key, const char *file)
{
    char path[CONFIG_PATH], plain[256];
    int failed;

    if (file == NULL || access(file, R_OK) == 0)
        return;
    failed = errno;
    (void)config_path_key(path, area, key);
    slsr_plain(plain, sizeof plain, file);
    config_warning(load, path, "%s cannot be read here: %s: look at the name and at its rights",
                   plain, strerror(failed));
}

void config_files_look(struct config_load *load)
{
    const struct slsr_config *c = load->config;
    char path[CONFIG_PATH], tls[CONFIG_PATH];

    if (!load->need_relay)
        return;
    for (size_t i = 0; i < c->source_count; i++) {
        config_source_path(load, i, path);
        look(load, path, "ca_file", c->sources[i].ca_file);
    }
    for (size_t i = 0; i < c->target_count; i++) {
        const struct slsr_tls_config *t = &c->targets[i].tls;

        if (!slsr_target_uses_tls(&c->targets[i]))
            continue;
        (void)config_path_index(path, "$.targets", i);
        (void)config_path_key(tls, path, "tls");
        look(load, tls, "ca_file", t->ca_file);
        look(load, tls, "cert_file", t->cert_file);
        look(load, tls, "key_file", t->key_file);
        look(load, tls, "crl_file", t->crl_file);
    }
    look(load, "$.spool", "encryption_key_file", c->spool.encryption_key_file);
}
