/* All settings in one table, and what can be asked of it.
 *
 * A row is: path, kind, status, member, range, names, default as JSON, help. Rows that are LATER
 * keep the documented format whole: a file that spells them out at their default loads, anything
 * else is refused, so that no wish of the user is passed over in silence. */
#include <stdlib.h>
#include <string.h>

#include "slsrelay/config.h"
#include "slsrelay/typo.h"
#include "config/options.h"

#define MEMBER(type, m) offsetof(struct type, m), sizeof(((struct type *)0)->m)
#define SRC(m)          MEMBER(slsr_source_config, m)
#define FMT(m)          MEMBER(slsr_format_config, m)
#define SPL(m)          MEMBER(slsr_spool_config, m)
#define TGT(m)          MEMBER(slsr_target_config, m)
#define LOG(m)          MEMBER(slsr_log_config, m)
#define CFG(m)          MEMBER(slsr_config, m)
#define NONE            0, 0
#define SECOND          INT64_C(1000)
#define MINUTE          (60 * SECOND)
#define HOUR            (60 * MINUTE)
#define DAY             (24 * HOUR)
#define KIB             INT64_C(1024)
#define MIB             (KIB * 1024)
#define TIB             (MIB * 1024 * 1024)

#define FACILITIES                                                                                 \
    "kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|ntp|audit|alert|clock|"     \
    "local0|local1|local2|local3|local4|local5|local6|local7"
#define SEVERITIES "emerg|alert|crit|err|warning|notice|info|debug"

/* clang-format off */
#define TEXT(path, member, initial, help) \
    {path, OPT_STRING, OPT_READY, member, 0, 0, NULL, initial, help}
#define SECRET(path, member, help) \
    {path, OPT_SECRET, OPT_READY, member, 0, 0, NULL, "\"\"", help}
#define SECRET_FILE(path, help) \
    {path, OPT_SECRET_FILE, OPT_READY, NONE, 0, 0, NULL, "null", help}
#define NUMBER(path, kind, member, min, max, initial, help) \
    {path, kind, OPT_READY, member, min, max, NULL, initial, help}
#define NAMES(path, kind, member, names, initial, help) \
    {path, kind, OPT_READY, member, 0, 0, names, initial, help}
#define LIST(path, member, help) \
    {path, OPT_LIST, OPT_READY, member, 0, 0, NULL, "[]", help}
#define BOOL(path, member, initial, help) \
    {path, OPT_BOOL, OPT_READY, member, 0, 0, NULL, initial, help}
#define TEXTS(path, member, help) \
    {path, OPT_TEXTS, OPT_READY, member, 0, 0, NULL, "[]", help}
#define MAP(path, member, help) \
    {path, OPT_MAP, OPT_READY, member, 0, 0, NULL, "{}", help}
#define LATER(path, initial, help) \
    {path, OPT_ANY, OPT_LATER, NONE, 0, 0, NULL, initial, help}
#define ALIAS(path, of) \
    {path, OPT_ANY, OPT_ALIAS, NONE, 0, 0, of, "null", "means " of}

static const struct option table[] = {
    TEXT("source.endpoint", SRC(endpoint), "\"\"", "address of the service, such as https://cn-hangzhou.log.aliyuncs.com"),
    TEXT("source.connect_to", SRC(connect_to), "null", "host:port to connect to instead of the endpoint's"),
    TEXT("source.region", SRC(region), "null", "region for signature v4; by default read from the endpoint"),
    NAMES("source.signature", OPT_ENUM, SRC(signature), "auto|v1|v4", "\"auto\"", "how requests are signed"),
    TEXT("source.project", SRC(project), "\"\"", "project to read from"),
    LIST("source.logstores", SRC(logstores), "logstores to read, one or more"),
    TEXT("source.consumer_group", SRC(consumer_group), "\"\"", "consumer group; created when it does not exist"),
    TEXT("source.consumer", SRC(consumer), "null", "name within the group; by default made from host name and spool path"),
    NAMES("source.cursor_position", OPT_POSITION, SRC(cursor_position), NULL, "\"begin\"", "where a shard without checkpoint begins: begin, end, a time or @epoch"),
    BOOL("source.in_order", SRC(in_order), "true", "keep the order of logs over shard splits"),
    TEXT("source.query", SRC(query), "\"\"", "filter that the service applies"),
    NUMBER("source.heartbeat_interval", OPT_DURATION, SRC(heartbeat_interval_ms), 50, 10 * MINUTE, "\"20s\"", "time between two heartbeats"),
    NUMBER("source.heartbeat_timeout", OPT_DURATION, SRC(heartbeat_timeout_ms), 100, HOUR, "\"60s\"", "after this silence the service gives our shards away"),
    NUMBER("source.fetch_interval", OPT_DURATION, SRC(fetch_interval_ms), 0, HOUR, "\"200ms\"", "pause after a pull that brought nothing new"),
    NUMBER("source.max_log_groups", OPT_INT, SRC(max_log_groups), 1, 1000, "1000", "log groups to ask for in one pull"),
    NUMBER("source.memory", OPT_SIZE, SRC(memory_bytes), MIB, TIB, "\"256MiB\"", "memory for the pulls of all shards of this source together"),
    NUMBER("source.checkpoint_interval", OPT_DURATION, SRC(checkpoint_interval_ms), 0, HOUR, "\"1s\"", "time between two reports of a checkpoint"),
    NAMES("source.checkpoint_after", OPT_ENUM, SRC(checkpoint_after), "spooled|delivered", "\"spooled\"", "a checkpoint waits for our disk, or for every target"),
    NAMES("source.on_invalid_cursor", OPT_ENUM, SRC(on_invalid_cursor), "begin|end||stop", "\"begin\"", "what to do when a checkpoint is older than the service's retention"),
    SECRET("source.access_key_id", SRC(access_key_id), "access key id"),
    SECRET("source.access_key_secret", SRC(access_key_secret), "access key secret"),
    SECRET("source.security_token", SRC(security_token), "STS token that belongs to the key"),
    SECRET_FILE("source.access_key_id_file", "file that holds the access key id"),
    SECRET_FILE("source.access_key_secret_file", "file that holds the access key secret"),
    SECRET_FILE("source.security_token_file", "file that holds the STS token"),
    TEXT("source.credentials_file", SRC(credentials_file), "null", "JSON file with keys that is read again when it changes"),
    TEXT("source.ecs_ram_role", SRC(ecs_ram_role), "null", "role of the ECS instance to take keys from; auto for the one it has"),
    TEXT("source.ecs_metadata", SRC(ecs_metadata), "\"http://100.100.100.200\"", "metadata service of the ECS instance"),
    TEXT("source.proxy", SRC(proxy), "null", "proxy for HTTPS; a password in it is treated as a secret"),
    TEXT("source.no_proxy", SRC(no_proxy), "null", "hosts to reach without the proxy, separated by commas"),
    TEXT("source.ca_file", SRC(ca_file), "null", "certificates to trust instead of the system's"),

    NAMES("format.protocol", OPT_ENUM, FMT(protocol), "rfc5424|rfc3164|seed", "\"rfc5424\"", "syslog header"),
    NAMES("format.body", OPT_ENUM, FMT(body), "kv|json|cef|leef|raw|template", "\"kv\"", "what stands in the message"),
    NAMES("format.sep", OPT_TEXT, FMT(sep), NULL, "\"||\"", "between two pairs of body kv"),
    NAMES("format.kv_quote", OPT_ENUM, FMT(kv_quote), "auto|always|escape|none", "\"auto\"", "how body kv writes keys and values that hold the separator"),
    NAMES("format.facility", OPT_CODE, FMT(facility), FACILITIES, "\"user\"", "syslog facility, name or 0..23"),
    NAMES("format.severity", OPT_CODE, FMT(severity), SEVERITIES, "\"info\"", "syslog severity, name or 0..7"),
    TEXT("format.severity_field", FMT(severity_field), "null", "field to take the severity from"),
    MAP("format.severity_map", FMT(severity_map), "value of that field to severity"),
    TEXTS("format.severity_rules", FMT(severity_rules), "texts such as \"if status >= 500 then err\"; the first that is true counts"),
    TEXT("format.facility_field", FMT(facility_field), "null", "field to take the facility from"),
    MAP("format.facility_map", FMT(facility_map), "value of that field to facility"),
    TEXTS("format.facility_rules", FMT(facility_rules), "like severity_rules"),
    TEXT("format.hostname", FMT(hostname), "null", "HOSTNAME, a template; by default this machine's name"),
    TEXT("format.tag", FMT(tag), "null", "APP-NAME, a template"),
    TEXT("format.procid", FMT(procid), "null", "PROCID, a template"),
    TEXT("format.msgid", FMT(msgid), "null", "MSGID, a template"),
    BOOL("format.provenance", FMT(provenance), "false", "add where each log came from as structured data"),
    NUMBER("format.enterprise", OPT_INT, FMT(enterprise), 1, UINT32_MAX, "32473", "private enterprise number in the name of that element"),
    {"format.structured_data", OPT_GROUPS, OPT_READY, FMT(structured_data), 0, 0, NULL, "{}", "elements of your own: SD-ID to names and templates"},
    NAMES("format.fraction", OPT_ENUM, FMT(fraction), "auto|none|0|1|2|3|4|5|6", "\"auto\"", "digits of a second in RFC 5424; none leaves the timestamp out"),
    BOOL("format.bom", FMT(bom), "false", "begin the message of RFC 5424 with a byte-order mark"),
    TEXT("format.time_zone", FMT(time_zone), "\"UTC\"", "UTC, local or a name such as Asia/Shanghai"),
    TEXTS("format.fields.include", FMT(include), "keys to send alone; a * at the end stands for anything"),
    TEXTS("format.fields.exclude", FMT(exclude), "keys to leave out"),
    MAP("format.fields.rename", FMT(rename), "old key to new key"),
    TEXT("format.filter", FMT(filter), "null", "expression: which logs to send"),
    TEXT("format.template", FMT(template_text), "null", "text of body template"),
    TEXT("format.raw_field", FMT(raw_field), "null", "field that body raw sends; by default content, message or the first"),
    TEXT("format.cef.vendor", FMT(cef_vendor), "\"Alibaba Cloud\"", "Device Vendor, a template"),
    TEXT("format.cef.product", FMT(cef_product), "\"SLS\"", "Device Product, a template"),
    TEXT("format.cef.device_version", FMT(cef_version), "\"1.0\"", "Device Version, a template"),
    TEXT("format.cef.event_class_id", FMT(cef_class_id), "\"${__topic__:-log}\"", "Device Event Class ID, a template"),
    TEXT("format.cef.name", FMT(cef_name), "\"${__topic__:-log}\"", "Name, a template"),
    TEXT("format.cef.severity", FMT(cef_severity), "null", "Severity 0..10, a template; by default from the syslog severity"),
    MAP("format.cef.extension", FMT(cef_extension), "extension key to template; empty ones are left out"),
    NAMES("format.cef.fields", OPT_ENUM, FMT(cef_fields), "all|none", "\"all\"", "what happens to fields that extension does not use"),
    NAMES("format.leef.version", OPT_ENUM, FMT(leef_version), "1.0|2.0", "\"1.0\"", "version of LEEF"),
    TEXT("format.leef.vendor", FMT(leef_vendor), "\"Alibaba Cloud\"", "Vendor, a template"),
    TEXT("format.leef.product", FMT(leef_product), "\"SLS\"", "Product, a template"),
    TEXT("format.leef.device_version", FMT(leef_device_version), "\"1.0\"", "Version, a template"),
    TEXT("format.leef.event_id", FMT(leef_event_id), "\"${__topic__:-log}\"", "EventID, a template"),
    NAMES("format.leef.delimiter", OPT_TEXT, FMT(leef_delimiter), NULL, "\"x09\"", "between attributes of LEEF 2.0: a character or its code (x5E, 0x09)"),
    MAP("format.leef.attributes", FMT(leef_attributes), "attribute to template; empty ones are left out"),
    NAMES("format.leef.fields", OPT_ENUM, FMT(leef_fields), "all|none", "\"all\"", "what happens to fields that attributes does not use"),
    NUMBER("format.max_message_size", OPT_SIZE, FMT(max_message_bytes), 256, 64 * MIB, "\"64KiB\"", "longest message"),
    NAMES("format.oversize", OPT_ENUM, FMT(oversize), "truncate|split|dead", "\"truncate\"", "what happens to a longer one"),
    NAMES("format.newline", OPT_ENUM, FMT(newline), "escape|keep|space", "\"escape\"", "what becomes of line breaks in values"),
    NAMES("format.invalid_utf8", OPT_ENUM, FMT(invalid_utf8), "replace|escape|drop|keep", "\"replace\"", "what becomes of bytes that are not UTF-8"),

    TEXT("spool.path", SPL(path), "\"/var/lib/sls-relay/spool\"", "directory of the spool"),
    NUMBER("spool.max_size", OPT_SIZE, SPL(max_size_bytes), 64 * KIB, 1024 * TIB, "\"10GiB\"", "most that the spool may take of the disk"),
    NUMBER("spool.min_free_disk", OPT_SIZE, SPL(min_free_disk_bytes), 0, 1024 * TIB, "\"1GiB\"", "what must stay free on that disk"),
    NAMES("spool.when_full", OPT_ENUM, SPL(when_full), "block|drop_oldest", "\"block\"", "stop pulling, or give up the oldest frames"),
    NUMBER("spool.retention_time", OPT_DURATION, SPL(retention_time_ms), 0, 3660 * DAY, "\"24h\"", "how long delivered frames are kept"),
    NUMBER("spool.retention_size", OPT_SHARE, SPL(retention_size_bytes), 0, 1024 * TIB, "\"20%\"", "how much of delivered frames is kept; a share is of max_size"),
    NAMES("spool.compression", OPT_ENUM, SPL(compression), "none|lz4", "\"none\"", "lz4: a quarter of the disk for three times the CPU of writing"),
    TEXT("spool.encryption_key_file", SPL(encryption_key_file), "null", "keys of 64 hex digits, one a line: the first encrypts new frames, all are tried for reading"),

    TEXT("targets.name", TGT(name), "null", "name in status, metrics and selectors; siem, siem-2 and so on by default"),
    NAMES("targets.protocol", OPT_ENUM, TGT(protocol), "tcp|tls|udp|relp|relp+tls", "\"tcp\"", "transport"),
    TEXT("targets.host", TGT(host), "\"\"", "name or address of the receiver"),
    NUMBER("targets.port", OPT_INT, TGT(port), 1, 65535, "514", "port of the receiver"),
    LIST("targets.servers", TGT(servers), "more receivers, as host:port, behind host and port"),
    NAMES("targets.balance", OPT_ENUM, TGT(balance), "failover|shard", "\"failover\"", "several receivers: one at a time, or each its share of the shards"),
    NUMBER("targets.failback_after", OPT_DURATION, TGT(failback_after_ms), 0, DAY, "\"30s\"", "how long the first receiver must be healthy before it is used again"),
    NAMES("targets.framing", OPT_ENUM, TGT(framing), "auto|octet|lf", "\"auto\"", "how frames are told apart on a stream"),
    TEXT("targets.cert_path", TGT(cert_path), "null", "older name of tls.ca_file"),
    TEXT("targets.tls.ca_file", TGT(tls.ca_file), "null", "certificates to trust; by default the system's"),
    TEXT("targets.tls.cert_file", TGT(tls.cert_file), "null", "our certificate with its chain"),
    TEXT("targets.tls.key_file", TGT(tls.key_file), "null", "its key; by default in cert_file"),
    TEXT("targets.tls.crl_file", TGT(tls.crl_file), "null", "revoked certificates; must cover the whole chain"),
    BOOL("targets.tls.verify", TGT(tls.verify), "true", "check the receiver's certificate; false accepts any"),
    BOOL("targets.tls.verify_hostname", TGT(tls.verify_hostname), "true", "compare the receiver's name with its certificate"),
    TEXT("targets.tls.server_name", TGT(tls.server_name), "null", "name or address to expect in the certificate; by default the host"),
    NAMES("targets.tls.min_version", OPT_ENUM, TGT(tls.min_version), "1.2|1.3", "\"1.2\"", "oldest TLS version"),
    LIST("targets.tls.fingerprints", TGT(tls.fingerprints), "SHA-256 of certificates to accept whoever signed them, such as sha-256:AB:CD"),
    NAMES("targets.tls.proof", OPT_ENUM, TGT(tls.proof), "close_notify|fin", "\"close_notify\"", "what ends a connection in order; fin for receivers that send no close_notify"),
    NUMBER("targets.tls.expiry_warning", OPT_DURATION, TGT(tls.expiry_warning_ms), 0, 3660 * DAY, "\"30d\"", "warn that long before a certificate ends"),
    NUMBER("targets.relp_window", OPT_INT, TGT(relp_window), 1, 100000, "2000", "frames that relp may leave unanswered"),
    NUMBER("targets.timeout", OPT_DURATION, TGT(timeout_ms), 1, DAY, "\"120s\"", "how long sent bytes may stay unacknowledged; sets stall_timeout too when that is not set"),
    NUMBER("targets.connect_timeout", OPT_DURATION, TGT(connect_timeout_ms), 1, HOUR, "\"10s\"", "longest wait for a connection"),
    NUMBER("targets.dead_timeout", OPT_DURATION, TGT(dead_timeout_ms), 1, DAY, "\"20s\"", "after this silence of the path a connection is dead"),
    NUMBER("targets.stall_timeout", OPT_DURATION, TGT(stall_timeout_ms), 1, DAY, "\"120s\"", "how long a receiver may take nothing although it answers"),
    NAMES("targets.delivery", OPT_ENUM, TGT(delivery), "auto|sent|received|read|proven|confirmed", "\"auto\"", "evidence that a frame needs before it counts as delivered"),
    NUMBER("targets.settle", OPT_DURATION, TGT(settle_ms), 0, HOUR, "\"1s\"", "how long the receiver must stay healthy before evidence counts"),
    NUMBER("targets.proof_interval", OPT_DURATION, TGT(proof_interval_ms), 1, DAY, "\"10s\"", "time between two proofs by closing a connection"),
    NUMBER("targets.retry.initial", OPT_DURATION, TGT(retry_initial_ms), 1, HOUR, "\"250ms\"", "first pause after a failure"),
    NUMBER("targets.retry.max", OPT_DURATION, TGT(retry_max_ms), 1, DAY, "\"60s\"", "longest pause"),
    NUMBER("targets.retry.multiplier", OPT_REAL, TGT(retry_multiplier), 1, 100, "2", "growth of the pause"),
    NUMBER("targets.rate_limit.messages", OPT_INT, TGT(rate.messages), 0, 100000000, "0", "most frames a second; 0 no limit"),
    NUMBER("targets.rate_limit.bytes", OPT_SIZE, TGT(rate.bytes), 0, TIB, "0", "most bytes a second; 0 no limit"),
    NUMBER("targets.rate_limit.backlog_messages", OPT_INT, TGT(rate.backlog_messages), 0, 100000000, "0", "most frames a second of a backlog; 0 as the others"),
    NUMBER("targets.rate_limit.backlog_bytes", OPT_SIZE, TGT(rate.backlog_bytes), 0, TIB, "0", "most bytes a second of a backlog; 0 as the others"),
    ALIAS("targets.sep", "format.sep"),
    ALIAS("targets.facility", "format.facility"),
    ALIAS("targets.severity", "format.severity"),
    ALIAS("targets.hostname", "format.hostname"),
    ALIAS("targets.tag", "format.tag"),

    TEXT("log.file", LOG(file), "null", "file for diagnostics; by default standard error"),
    NAMES("log.level", OPT_ENUM, LOG(level), "error|warning|notice|info|debug", "\"info\"", "least severe diagnostics to write"),
    NAMES("log.format", OPT_ENUM, LOG(json), "text|json", "\"text\"", "form of diagnostics"),
    NUMBER("log.max_size", OPT_SIZE, LOG(max_size_bytes), 0, TIB, "\"100MiB\"", "size at which the file is rotated; 0 never"),
    NUMBER("log.backups", OPT_INT, LOG(backups), 0, 1000, "5", "rotated files to keep"),
    TEXT("metrics.listen", CFG(metrics_listen), "null", "host:port for metrics, status and the page; a port alone is on loopback"),
    LIST("metrics.allowed_hosts", CFG(metrics_hosts), "names, besides this machine's, under which it may be asked (Host header)"),
};
/* clang-format on */

const struct option *options_all(size_t *count)
{
    *count = sizeof table / sizeof *table;
    return table;
}

const struct option *options_find(const char *path)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].path, path) == 0)
            return &table[i];
    return NULL;
}

/* What follows "prefix." in path; path itself for the empty prefix; NULL when it is elsewhere. */
static const char *below(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);

    if (n == 0)
        return path;
    return strncmp(path, prefix, n) == 0 && path[n] == '.' ? path + n + 1 : NULL;
}

int options_is_group(const char *path)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (below(table[i].path, path) != NULL)
            return 1;
    return 0;
}

static void offer(struct slsr_typo *typo, const char *rest)
{
    slsr_typo_offer(typo, rest, strcspn(rest, "."));
}

void options_nearest(const char *prefix, const char *name, char *out, size_t size)
{
    struct slsr_typo typo;

    slsr_typo_begin(&typo, name);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *rest = below(table[i].path, prefix);

        if (rest != NULL)
            offer(&typo, rest);
    }
    if (prefix[0] == '\0')
        offer(&typo, "sources");
    snprintf(out, size, "%.*s", (int)typo.near_n, typo.near != NULL ? typo.near : "");
}
