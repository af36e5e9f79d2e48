/* Settings: one plain struct per area, filled once, `const` to everybody else afterwards.
 *
 * Durations are milliseconds (_ms), sizes bytes (_bytes). Strings are owned by the config and live
 * until slsr_config_free; NULL means "not set". Every key, its unit, range and default stands in
 * one table (src/config/options.c); the file format is docs/man/sls-relay.json.5 and README. */
#ifndef SLSRELAY_CONFIG_H
#define SLSRELAY_CONFIG_H

#include <stdbool.h>
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/err.h"

enum slsr_signature { SLSR_SIGN_AUTO, SLSR_SIGN_V1, SLSR_SIGN_V4 };
enum slsr_position { SLSR_POS_BEGIN, SLSR_POS_END, SLSR_POS_TIME, SLSR_POS_STOP };
enum slsr_checkpoint_after { SLSR_AFTER_SPOOLED, SLSR_AFTER_DELIVERED };
enum slsr_format_protocol { SLSR_RFC5424, SLSR_RFC3164, SLSR_SEED };
enum slsr_body {
    SLSR_BODY_KV,
    SLSR_BODY_JSON,
    SLSR_BODY_CEF,
    SLSR_BODY_LEEF,
    SLSR_BODY_RAW,
    SLSR_BODY_TEMPLATE
};
enum slsr_oversize { SLSR_OVER_TRUNCATE, SLSR_OVER_SPLIT, SLSR_OVER_DEAD };
enum slsr_newline { SLSR_NL_ESCAPE, SLSR_NL_KEEP, SLSR_NL_SPACE };
enum slsr_utf8 { SLSR_UTF8_REPLACE, SLSR_UTF8_ESCAPE, SLSR_UTF8_DROP, SLSR_UTF8_KEEP };
/* How body kv keeps a key or value that holds the separator from looking like two. */
enum slsr_kv_quote { SLSR_KV_AUTO, SLSR_KV_ALWAYS, SLSR_KV_ESCAPE, SLSR_KV_NONE };
/* Digits of a second in RFC 5424: AUTO is six when the log has any, else none; NIL writes "-" in
 * place of the whole timestamp; FRACTION_0 + n is n digits, 0..6. */
enum slsr_fraction { SLSR_FRACTION_AUTO, SLSR_FRACTION_NIL, SLSR_FRACTION_0 };
enum slsr_leef_version { SLSR_LEEF_1, SLSR_LEEF_2 };
/* What bodies cef and leef do with fields that the mapping does not name. */
enum slsr_rest { SLSR_REST_ALL, SLSR_REST_NONE };
enum slsr_when_full { SLSR_FULL_BLOCK, SLSR_FULL_DROP_OLDEST };
enum slsr_protocol { SLSR_TCP, SLSR_TLS, SLSR_UDP, SLSR_RELP, SLSR_RELP_TLS };
enum slsr_tls_version { SLSR_TLS_1_2, SLSR_TLS_1_3 };
enum slsr_tls_proof { SLSR_PROOF_CLOSE_NOTIFY, SLSR_PROOF_FIN };
enum slsr_balance { SLSR_BALANCE_FAILOVER, SLSR_BALANCE_SHARD };
enum slsr_framing { SLSR_FRAMING_AUTO, SLSR_FRAMING_OCTET, SLSR_FRAMING_LF };
enum slsr_delivery_level {
    SLSR_DELIVERY_AUTO,
    SLSR_DELIVERY_SENT,
    SLSR_DELIVERY_RECEIVED,
    SLSR_DELIVERY_READ,
    SLSR_DELIVERY_PROVEN,
    SLSR_DELIVERY_CONFIRMED
};
enum slsr_level {
    SLSR_LOG_ERROR,
    SLSR_LOG_WARNING,
    SLSR_LOG_NOTICE,
    SLSR_LOG_INFO,
    SLSR_LOG_DEBUG
};

struct slsr_source_config {
    char *endpoint;   /* "https://cn-hangzhou.log.aliyuncs.com"; no scheme means https */
    char *connect_to; /* "host:port" to connect to instead; Host and signature stay those of
                         endpoint */
    char *region;     /* for v4; NULL: taken from the endpoint when it has the usual form */
    enum slsr_signature signature;
    char *project;
    char **logstores;
    size_t logstore_count;
    char *consumer_group;
    char *consumer; /* NULL: "<host name>-<first 8 hex of a hash of the spool path>", stable */
    enum slsr_position cursor_position;
    int64_t cursor_time_s; /* with SLSR_POS_TIME: receive time */
    bool in_order;
    char *query;
    int64_t heartbeat_interval_ms;
    int64_t heartbeat_timeout_ms;
    int64_t fetch_interval_ms;
    int64_t max_log_groups; /* 1..1000 */
    int64_t checkpoint_interval_ms;
    enum slsr_checkpoint_after checkpoint_after;
    enum slsr_position on_invalid_cursor; /* BEGIN, END or STOP */
    int64_t memory_bytes;                 /* for the pulls of all shards of this source */
    char *credentials_file;               /* JSON, read again when it changes; before inline keys */
    char *ecs_ram_role;                   /* "auto": the instance's; before inline keys */
    char *ecs_metadata;                   /* "http://100.100.100.200" */
    char *access_key_id;
    char *access_key_secret;
    char *security_token;
    char *proxy;
    char *no_proxy;
    char *ca_file;
};

/* Ordered texts, and an ordered mapping of texts: as the file has them. */
struct slsr_texts {
    char **items;
    size_t count;
};
struct slsr_map {
    struct slsr_map_entry {
        char *group; /* format.structured_data: SD-ID; NULL elsewhere */
        char *name;  /* NULL: a group without entries */
        char *value;
    } * items;
    size_t count;
};

/* Texts marked (T) are templates: docs/format.md. All zero is a valid configuration. */
struct slsr_format_config {
    enum slsr_format_protocol protocol;
    enum slsr_body body;
    char *sep;
    enum slsr_kv_quote kv_quote;
    int facility;                                     /* 0..23 */
    int severity;                                     /* 0..7 */
    char *facility_field, *severity_field;            /* name of a field */
    struct slsr_map facility_map, severity_map;       /* its value -> name or number */
    struct slsr_texts facility_rules, severity_rules; /* "if FILTER then NAME" */
    char *hostname;                                   /* (T) NULL: this machine's name */
    char *tag;                                        /* (T) APP-NAME; NULL: "-" */
    char *procid;                                     /* (T) */
    char *msgid;                                      /* (T) */
    bool provenance;
    int64_t enterprise;              /* private enterprise number of our SD-IDs; 0: 32473 */
    struct slsr_map structured_data; /* SD-ID, PARAM-NAME -> (T) */
    enum slsr_fraction fraction;
    bool bom;                           /* MSG of RFC 5424 begins with U+FEFF */
    struct slsr_texts include, exclude; /* keys; a "*" at the end stands for anything */
    struct slsr_map rename;             /* old key -> new key */
    char *filter;                       /* logs for which it is not true are dropped; NULL: none */
    char *template_text;                /* (T) of body template */
    char *raw_field;                    /* of body raw; NULL: content, message or the first */
    char *cef_vendor, *cef_product, *cef_version, *cef_class_id, *cef_name, *cef_severity; /* (T) */
    struct slsr_map cef_extension; /* key -> (T) */
    enum slsr_rest cef_fields;
    enum slsr_leef_version leef_version;
    char *leef_vendor, *leef_product, *leef_device_version, *leef_event_id; /* (T) */
    char *leef_delimiter;            /* 2.0: one character, or its code such as x5E, 0x09 */
    struct slsr_map leef_attributes; /* key -> (T) */
    enum slsr_rest leef_fields;
    char *time_zone; /* "UTC", "local" or an IANA name */
    int64_t max_message_bytes;
    enum slsr_oversize oversize;
    enum slsr_newline newline;
    enum slsr_utf8 invalid_utf8;
};

enum slsr_compression { SLSR_COMPRESSION_NONE, SLSR_COMPRESSION_LZ4 };

struct slsr_spool_config {
    char *path;
    int64_t max_size_bytes;
    int64_t min_free_disk_bytes;
    enum slsr_when_full when_full;
    int64_t retention_time_ms;
    int64_t retention_size_bytes; /* "20%" is resolved against max_size at load */
    enum slsr_compression compression;
    char *encryption_key_file; /* NULL: frames are stored as they are */
};

/* TLS of a target (docs/delivery.md "TLS"). Files are PEM; they are read again when they change. */
struct slsr_tls_config {
    char *ca_file;   /* NULL: the system's certificates */
    char *cert_file; /* ours, with its chain; NULL: none */
    char *key_file;  /* NULL: in cert_file */
    char *crl_file;  /* NULL: no revocation check */
    bool verify;     /* false: any certificate. Only by explicit setting, and loudly logged */
    bool verify_hostname;
    char *server_name; /* to expect and to ask for (SNI); NULL: the host */
    enum slsr_tls_version min_version;
    char **fingerprints; /* "sha-256:AB:CD..." of the leaf; any of them replaces chain and name */
    size_t fingerprint_count;
    enum slsr_tls_proof proof;
    int64_t expiry_warning_ms;
};

/* Frames and bytes a second; 0: no limit. */
struct slsr_rate_config {
    int64_t messages, bytes;
    int64_t backlog_messages,
        backlog_bytes; /* frames that were in the spool when the link came up */
};

struct slsr_target_config {
    char *name;
    enum slsr_protocol protocol;
    char *host;
    int port;
    char **servers; /* "host:port", behind host:port when that is set */
    size_t server_count;
    enum slsr_balance balance;
    int64_t failback_after_ms; /* the first server must have been healthy that long */
    char *cert_path;           /* older name of tls.ca_file; NULL after loading */
    struct slsr_tls_config tls;
    struct slsr_rate_config rate;
    int64_t relp_window; /* frames without an answer */
    enum slsr_framing framing;
    enum slsr_delivery_level delivery;
    int64_t timeout_ms; /* TCP_USER_TIMEOUT and send stall; interface key `timeout` is an alias of
                           stall */
    int64_t connect_timeout_ms;
    int64_t dead_timeout_ms;
    int64_t stall_timeout_ms;
    int64_t settle_ms;
    int64_t proof_interval_ms;
    int64_t retry_initial_ms;
    int64_t retry_max_ms;
    double retry_multiplier;
};

struct slsr_log_config {
    char *file; /* NULL: stderr */
    enum slsr_level level;
    bool json;
    int64_t max_size_bytes;
    int64_t backups;
};

struct slsr_config {
    struct slsr_source_config *sources;
    size_t source_count;
    struct slsr_format_config format;
    struct slsr_spool_config spool;
    struct slsr_target_config *targets;
    size_t target_count;
    struct slsr_log_config log;
    char *metrics_listen;
    char **metrics_hosts; /* names, besides our own, that a request may ask for by Host */
    size_t metrics_host_count;
    struct slsr_config_places *places; /* where each of them stands, see slsr_config_blame */
};

/* Where a value came from, and what is wrong with it. */
struct slsr_config_problem {
    char path[160]; /* JSON path, "$.targets[0].port"; "$" for the whole file */
    int line;       /* 1.. in the file, 0 when it did not come from a file */
    bool warning;   /* worth saying, not a refusal */
    char text[360]; /* one sentence, never a secret */
};

struct slsr_config_problems {
    struct slsr_config_problem *items;
    size_t count;
};

/* Settings by precedence: sets (flag, "path=value") > environment > file > default.
 * file      NULL: /etc/sls-relay/sls-relay.json if it is there, else none.
 * sets      array of "path=value", e.g. "targets.0.port=6514".
 * problems  out: all of them at once; free with slsr_config_problems_free. May not be NULL.
 * Returns 0, SLSR_ECONFIG (see problems), SLSR_ENOSPOOL (file named but absent), SLSR_EPERM.
 * need_relay: also require what the daemon needs (endpoint, project, keys, a target ...); a tool
 * that only wants spool.path passes false. */
int slsr_config_load(struct slsr_config **out, const char *file, const char *const *sets,
                     size_t set_count, bool need_relay, struct slsr_config_problems *problems,
                     struct slsr_err *err);

/* The same with all that a load can be given; what is NULL or 0 is left out. */
struct slsr_config_from {
    const char *file;
    const char *const *sets;
    size_t set_count;
    bool need_relay;
    /* Asked about `format` when all is read, also when other settings have problems: calls say for
     * every mistake, with a sentence that begins with the setting's name ("format.sep is empty:
     * ..."); each becomes a problem with its path and line. Returns 0 or SLSR_ENOMEM. */
    int (*judge)(const struct slsr_format_config *format, void (*say)(void *ctx, const char *text),
                 void *ctx);
};
int slsr_config_load_from(struct slsr_config **out, const struct slsr_config_from *from,
                          struct slsr_config_problems *problems, struct slsr_err *err);
void slsr_config_free(struct slsr_config *config); /* wipes secrets */
void slsr_config_problems_free(struct slsr_config_problems *problems);
/* One more problem of a setting, found by whoever uses it: where it stands is known from the load.
 * setting: its path such as "format.cef.name" or "sources[0].region", keys of maps as in
 * format.severity_map["odd key"]. text: without the path. Sorts the problems again. */
void slsr_config_blame(const struct slsr_config *config, struct slsr_config_problems *problems,
                       bool warning, const char *setting, const char *text);
/* "$.metrics.listen, line 7": for a sentence of one's own. The line is left out where it does not
 * come from the file. */
enum { SLSR_CONFIG_WHERE = 200 };
void slsr_config_where(const struct slsr_config *config, const char *setting,
                       char out[SLSR_CONFIG_WHERE]);
/* The problem as one line, "$.log.level, line 3 of FILE: must be ..."; file may be NULL. */
enum { SLSR_CONFIG_LINE = 720 };
void slsr_config_problem_text(const struct slsr_config_problem *problem, const char *file,
                              char out[SLSR_CONFIG_LINE]);
/* Effective settings as indented JSON, secrets as "***". */
int slsr_config_print(const struct slsr_config *config, FILE *out, struct slsr_err *err);

/* Calls say for the path ("targets.port") of every setting that differs. Any thread. */
void slsr_config_differ(const struct slsr_config *a, const struct slsr_config *b,
                        void (*say)(void *ctx, const char *path), void *ctx);
bool slsr_target_equal(const struct slsr_target_config *a, const struct slsr_target_config *b);

/* "250ms", "30s", "2h", "1d" or a number of seconds -> ms. False when it is none of these. */
bool slsr_parse_duration(const char *text, int64_t *ms);
/* "64KiB", "10GiB", "5MB" or a number of bytes. */
bool slsr_parse_size(const char *text, int64_t *bytes);
/* Target from a URL "tcp://host:port", "udp://[::1]:514": defaults plus these; name is the URL.
 * The caller frees with slsr_target_free. */
int slsr_target_from_url(struct slsr_target_config *out, const char *url, struct slsr_err *err);
void slsr_target_free(struct slsr_target_config *target);
static inline bool slsr_target_uses_tls(const struct slsr_target_config *target)
{
    return target->protocol == SLSR_TLS || target->protocol == SLSR_RELP_TLS;
}
static inline bool slsr_target_uses_relp(const struct slsr_target_config *target)
{
    return target->protocol == SLSR_RELP || target->protocol == SLSR_RELP_TLS;
}

/* "jansson 2.14", of the libraries that run here. */
void slsr_config_libraries(char *out, size_t size);

#endif
