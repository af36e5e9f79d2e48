/* What one value alone cannot show: required settings, names, and settings that must fit together.
 *
 * Runs after everything is read. Names follow the limits of the SLS API reference. */
#include <ctype.h>
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
    if (!config_told(load, load->problems->count,
                     child)) /* a value that was refused is there, and was said */
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

/* https://my-project.cn-hangzhou.log.aliyuncs.com, as the console shows it for a project. */
static bool endpoint_has_project(const struct slsr_source_config *s)
{
    const char *mark = strstr(s->endpoint, "://"), *start = mark != NULL ? mark + 3 : s->endpoint;
    const size_t n = s->project != NULL ? strlen(s->project) : 0;

    return n > 0 && strncmp(start, s->project, n) == 0 && start[n] == '.' &&
           strncmp(start + n + 1, "log.", 4) != 0 && strstr(start, ".log.aliyuncs.com") != NULL;
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
    } else if (s->endpoint != NULL && endpoint_has_project(s)) {
        (void)config_path_key(child, path, "endpoint");
        config_problem(load, child,
                       "begins with the project, which the relay puts in front by itself: leave "
                       "it out here");
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

static void check_source(struct config_load *load, size_t i, const char *path)
{
    const struct slsr_source_config *s = &load->config->sources[i];
    const bool elsewhere = s->credentials_file != NULL || s->ecs_ram_role != NULL;
    char child[CONFIG_PATH];

    require(load, s->endpoint != NULL, path, "endpoint",
            "give the address of the service here or in SLS_ENDPOINT");
    require(load, s->project != NULL, path, "project", "name it here or in SLS_PROJECT");
    require(load, s->logstore_count > 0, path, "logstores", "name one here or in SLS_LOGSTORE");
    require(load, s->consumer_group != NULL, path, "consumer_group",
            "name it here or in SLS_CG; it is created when it does not exist");
    require(load,
            s->access_key_id != NULL || elsewhere ||
                config_secret_in_file(load, i, "access_key_id"),
            path, "access_key_id",
            "give it here, in SLS_AK_ID, access_key_id_file or a systemd credential, or set "
            "credentials_file or ecs_ram_role");
    require(load,
            s->access_key_secret != NULL || elsewhere ||
                config_secret_in_file(load, i, "access_key_secret"),
            path, "access_key_secret",
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
    bool udp = t->protocol == SLSR_UDP, relp = slsr_target_uses_relp(t);
    char child[CONFIG_PATH];

    (void)config_path_key(child, path, "delivery");
    if (udp && t->delivery != SLSR_DELIVERY_AUTO && t->delivery != SLSR_DELIVERY_SENT)
        config_problem(load, child, "udp gives no evidence: use \"auto\" or \"sent\"");
    else if (relp && t->delivery != SLSR_DELIVERY_AUTO && t->delivery != SLSR_DELIVERY_CONFIRMED)
        config_problem(load, child, "relp answers every frame: use \"auto\" or \"confirmed\"");
    else if (!relp && t->delivery == SLSR_DELIVERY_CONFIRMED)
        config_problem(load, child,
                       "tcp gives no confirmation: use \"auto\", \"sent\", \"received\", \"read\" "
                       "or \"proven\"");
    (void)config_path_key(child, path, "framing");
    if (udp && t->framing == SLSR_FRAMING_OCTET)
        config_problem(load, child,
                       "udp sends each message as a datagram of its own: use \"auto\"");
    else if (relp && t->framing != SLSR_FRAMING_AUTO)
        config_problem(load, child, "relp has a framing of its own: use \"auto\"");
    else if (t->protocol == SLSR_TLS && t->framing == SLSR_FRAMING_LF)
        config_warning(load, child,
                       "syslog over TLS is octet-counted (RFC 5425): use \"auto\" unless this "
                       "receiver is known to want lines");
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

/* "sha-256:" and 32 bytes in hex; colons between them may be left out. */
static bool fingerprint_valid(const char *text)
{
    size_t digits = 0;

    if (strncasecmp(text, "sha-256:", 8) != 0 && strncasecmp(text, "sha256:", 7) != 0)
        return false;
    for (text = strchr(text, ':'); *text != '\0'; text++) {
        if (*text == ':')
            continue;
        if (!isxdigit((unsigned char)*text))
            return false;
        digits++;
    }
    return digits == 64;
}

static void check_tls(struct config_load *load, struct slsr_target_config *t, const char *path)
{
    char child[CONFIG_PATH], item[CONFIG_PATH], tls[CONFIG_PATH];

    (void)config_path_key(tls, path, "tls");
    if (t->cert_path != NULL) {
        (void)config_path_key(child, path, "cert_path");
        if (t->tls.ca_file != NULL && strcmp(t->tls.ca_file, t->cert_path) != 0)
            config_problem(load, child,
                           "is the older name of tls.ca_file, which differs: keep one");
        if (t->tls.ca_file != NULL)
            free(t->cert_path);
        else
            t->tls.ca_file = t->cert_path;
        t->cert_path = NULL;
    }
    (void)config_path_key(child, tls, "cert_file");
    if (t->tls.key_file != NULL && t->tls.cert_file == NULL)
        config_problem(load, child, "is not set although key_file is: name our certificate");
    (void)config_path_key(child, tls, "fingerprints");
    for (size_t i = 0; i < t->tls.fingerprint_count; i++) {
        (void)config_path_index(item, child, i);
        if (!fingerprint_valid(t->tls.fingerprints[i]))
            config_problem(load, item,
                           "must be \"sha-256:\" and 64 hexadecimal digits, as openssl x509 "
                           "-fingerprint -sha256 prints them");
    }
    (void)config_path_key(child, tls, "verify");
    if (slsr_target_uses_tls(t) && !t->tls.verify && t->tls.fingerprint_count == 0)
        config_warning(load, child,
                       "is false: anybody on the path can pose as the receiver; give its "
                       "fingerprint instead");
}

static void check_servers(struct config_load *load, struct slsr_target_config *t, const char *path)
{
    char child[CONFIG_PATH], item[CONFIG_PATH], host[256];
    int port;

    (void)config_path_key(child, path, "servers");
    if (t->host == NULL && t->server_count > 0 &&
        config_split_host(t->servers[0], host, sizeof host, &port) && port != 0) {
        /* The first one is the main one. */
        t->host = strdup(host);
        t->port = port;
        free(t->servers[0]);
        t->server_count--;
        memmove(t->servers, t->servers + 1, t->server_count * sizeof *t->servers);
        load->no_memory |= t->host == NULL;
    }
    for (size_t i = 0; i < t->server_count; i++) {
        (void)config_path_index(item, child, i);
        if (!config_split_host(t->servers[i], host, sizeof host, &port) || port == 0 ||
            !config_host_valid(host))
            config_problem(load, item,
                           "must be host:port, an IPv6 address in brackets: \"[::1]:514\"");
    }
}

static void check_target(struct config_load *load, struct slsr_target_config *t, const char *path)
{
    char child[CONFIG_PATH], retry[CONFIG_PATH];

    check_servers(load, t, path);
    require(load, t->host != NULL || t->server_count > 0, path, "host",
            "give the receiver's name or address");
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
    check_tls(load, t, path);
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

/* "127.0.0.1:9464", "[::1]:9464", "localhost:9464", ":9464" or "9464". Whoever reaches another
 * address reads our names and counts: worth a warning. */
static void check_metrics(struct config_load *load)
{
    static const char *const local[] = {"", "127.", "localhost", "::1", "[::1]"};
    const char *text = load->config->metrics_listen, *colon, *digits;
    char *end;
    bool loopback = false;

    if (text == NULL)
        return;
    colon = strrchr(text, ':');
    digits = colon != NULL ? colon + 1 : text;
    if (*digits < '0' || *digits > '9' || strtoul(digits, &end, 10) > 65535 || *end != '\0' ||
        strlen(text) > 250) {
        config_problem(load, "$.metrics.listen", "must be HOST:PORT, such as 127.0.0.1:9464");
        return;
    }
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        const size_t n = colon != NULL ? (size_t)(colon - text) : 0, length = strlen(local[i]);

        if (strncmp(text, local[i], length) == 0 && (n == length || (i == 1 && n > length)))
            loopback = true;
    }
    if (!loopback)
        config_warning(load, "$.metrics.listen",
                       "is not loopback: whoever reaches it can read names and counts; listen on "
                       "127.0.0.1 behind a proxy that asks for a password");
}

/* What a Host header could hold, without the port. */
static void check_metrics_hosts(struct config_load *load)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    const struct slsr_config *config = load->config;
    char item[CONFIG_PATH];

    for (size_t i = 0; i < config->metrics_host_count; i++) {
        const char *name = config->metrics_hosts[i];

        (void)config_path_index(item, "$.metrics.allowed_hosts", i);
        if (*name == '\0' || name[strspn(name, letters)] != '\0')
            config_problem(load, item,
                           "must be a host name alone, such as relay.example.com: no scheme, port "
                           "or wildcard");
    }
}

void config_check(struct config_load *load)
{
    struct slsr_config *c = load->config;
    char path[CONFIG_PATH];

    for (size_t i = 0; i < c->source_count; i++) {
        config_source_path(load, i, path);
        check_source(load, i, path);
    }
    if (load->need_relay && c->source_count == 0)
        config_problem(load, "$.sources", "is empty: name at least one source");
    if (load->need_relay && c->target_count == 0 &&
        !config_told(load, load->problems->count, "$.targets")) /* SIEM that cannot be read */
        config_problem(load, "$.targets", "is empty: name at least one target here or in SIEM");
    for (size_t i = 0; i < c->target_count; i++) {
        (void)config_path_index(path, "$.targets", i);
        check_target(load, &c->targets[i], path);
        check_target_name(load, i, path);
    }
    check_spool(load);
    check_metrics(load);
    check_metrics_hosts(load);
    config_files_look(load);
}
