/* Settings -> plan, once per shard worker: everything that does not depend on the log is text or a
 * number afterwards. What cannot be made is refused here, with the reason, not at the first log. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "format/plan.h"

/* RFC 5424 6.2.4 .. 6.2.7; RFC 3164 4.1.3 for TAG. */
enum { HOSTNAME_MAX = 255, APP_NAME_MAX = 48, PROCID_MAX = 128, MSGID_MAX = 32, TAG_MAX = 32 };
/* Our own element; 32473 is the enterprise number reserved for documentation (RFC 5612). */
static const char sd_id[] = "slsRelay@32473";

/* A header field: PRINTUSASCII, cut, "-" when there is nothing. forbid: further bytes that would
 * end the field. */
static char *put_name(char *out, const char *text, size_t limit, const char *forbid)
{
    size_t n = text != NULL ? strnlen(text, limit) : 0;
    if (n == 0) {
        *out++ = '-';
        return out;
    }
    for (size_t i = 0; i < n; i++) {
        bool bad = text[i] < 33 || text[i] > 126 || strchr(forbid, text[i]) != NULL;
        *out++ = bad ? '_' : text[i];
    }
    return out;
}

static char *put_text(char *out, const char *text)
{
    size_t n = strlen(text);
    memcpy(out, text, n);
    return out + n;
}

/* This machine's name; `full` asks the resolver when it is a short one, as the sample does. */
static void machine_name(char out[HOSTNAME_MAX + 1], bool full)
{
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *list = NULL;
    if (gethostname(out, HOSTNAME_MAX) != 0)
        out[0] = '\0';
    out[HOSTNAME_MAX] = '\0';
    if (!full || out[0] == '\0' || strchr(out, '.') != NULL ||
        getaddrinfo(out, NULL, &hints, &list) != 0)
        return;
    if (list->ai_canonname != NULL && strlen(list->ai_canonname) <= HOSTNAME_MAX)
        memcpy(out, list->ai_canonname, strlen(list->ai_canonname) + 1);
    freeaddrinfo(list);
}

/* What stands between timestamp and MSG, leaving out provenance. */
static int make_names(struct format_plan *plan, const struct slsr_format_config *c,
                      struct slsr_err *err)
{
    char own[HOSTNAME_MAX + 1];
    bool seed = c->protocol == SLSR_SEED;
    const char *host = c->hostname, *tag = c->tag;

    if (host == NULL || (seed && *host == '\0')) {
        machine_name(own, seed);
        host = own;
    }
    bool no_tag = tag == NULL || *tag == '\0';
    /* The seed format neither cuts nor cleans. */
    size_t size = strlen(host) + (no_tag ? 1 : strlen(tag)) + HOSTNAME_MAX + APP_NAME_MAX +
                  PROCID_MAX + MSGID_MAX + 16 + TEXT_SLACK;
    char *p = malloc(size);
    if (p == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a syslog header");
    plan->names = p;
    *p++ = ' ';
    if (seed) {
        p = put_text(p, host);
        *p++ = ' ';
        p = put_text(put_text(p, no_tag ? "-" : tag), " - - ");
    } else if (c->protocol == SLSR_RFC5424) {
        p = put_name(p, host, HOSTNAME_MAX, "");
        *p++ = ' ';
        p = put_name(p, tag, APP_NAME_MAX, "");
        *p++ = ' ';
        p = put_name(p, c->procid, PROCID_MAX, "");
        *p++ = ' ';
        p = put_name(p, c->msgid, MSGID_MAX, "");
        p = put_text(p, plan->sd != NULL ? " " : " - ");
    } else {
        p = put_name(p, host, HOSTNAME_MAX, "");
        *p++ = ' ';
        if (!no_tag) {
            p = put_name(p, tag, TAG_MAX, ":[]");
            if (c->procid != NULL && *c->procid != '\0') {
                *p++ = '[';
                p = put_name(p, c->procid, PROCID_MAX, ":[]");
                *p++ = ']';
            }
            p = put_text(p, ": ");
        }
    }
    plan->names_n = (size_t)(p - plan->names);
    return 0;
}

/* PARAM-VALUE, RFC 5424 6.3.3. */
static char *put_param(char *out, const char *name, const char *value)
{
    *out++ = ' ';
    out = put_text(put_text(out, name), "=\"");
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\' || *value == ']')
            *out++ = '\\';
        *out++ = (uint8_t)*value < 0x20 || *value == 0x7f ? '_' : *value;
    }
    return out;
}

static int make_sd(struct format_plan *plan, const struct slsr_stream *stream, struct slsr_err *err)
{
    char shard[12];
    const char *project = stream->project != NULL ? stream->project : "";
    const char *logstore = stream->logstore != NULL ? stream->logstore : "";
    char *p = malloc(2 * (strlen(project) + strlen(logstore)) + 128);
    if (p == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a syslog header");
    plan->sd = p;
    snprintf(shard, sizeof(shard), "%u", stream->shard);
    *p++ = '[';
    p = put_text(p, sd_id);
    p = put_text(put_param(p, "project", project), "\"");
    p = put_text(put_param(p, "logstore", logstore), "\"");
    p = put_text(put_param(p, "shard", shard), "\"");
    p = put_param(p, "cursor", "");
    plan->sd_n = (size_t)(p - plan->sd);
    return 0;
}

static int make_sep(struct format_plan *plan, const struct slsr_format_config *c,
                    struct slsr_err *err)
{
    const char *sep = c->sep != NULL ? c->sep : "||";
    size_t n = strlen(sep);
    for (size_t i = 0; i < n && c->protocol != SLSR_SEED; i++)
        if ((uint8_t)sep[i] < 0x20 && sep[i] != '\t')
            return slsr_fail(err, SLSR_ECONFIG,
                             "format.sep holds a control character other than TAB, which would "
                             "break the line: choose a printable one");
    plan->sep = calloc(1, n + 8); /* put_sep reads 8 */
    if (plan->sep == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a separator");
    memcpy(plan->sep, sep, n);
    plan->sep_n = n;
    return 0;
}

static const char *body_name(enum slsr_body body)
{
    static const char *const names[] = {"kv", "json", "cef", "leef", "raw", "template"};
    return (unsigned)body < sizeof(names) / sizeof(names[0]) ? names[body] : "unknown";
}

static int check(const struct slsr_format_config *c, struct slsr_err *err)
{
    bool known = c->body == SLSR_BODY_KV || c->body == SLSR_BODY_JSON || c->body == SLSR_BODY_RAW;
    if (c->protocol != SLSR_RFC5424 && c->protocol != SLSR_RFC3164 && c->protocol != SLSR_SEED)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.protocol is unknown: use \"rfc5424\", "
                         "\"rfc3164\" or \"seed\"");
    if (!known)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.body \"%s\" is not available in this version: use \"kv\", "
                         "\"json\" or \"raw\"",
                         body_name(c->body));
    if (c->protocol == SLSR_SEED && c->body != SLSR_BODY_KV)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.protocol \"seed\" has its own body: remove format.body or set it "
                         "to \"kv\"");
    if (c->provenance && c->protocol != SLSR_RFC5424)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.provenance needs STRUCTURED-DATA: set format.protocol to "
                         "\"rfc5424\" or provenance to false");
    if (c->facility < 0 || c->facility > 23)
        return slsr_fail(err, SLSR_ECONFIG, "format.facility is %d: use 0 to 23", c->facility);
    if (c->severity < 0 || c->severity > 7)
        return slsr_fail(err, SLSR_ECONFIG, "format.severity is %d: use 0 to 7", c->severity);
    if (c->oversize != SLSR_OVER_TRUNCATE && c->oversize != SLSR_OVER_DEAD)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.oversize \"split\" is not available in this version: use "
                         "\"truncate\" or \"dead\"");
    if (c->max_message_bytes < 0)
        return slsr_fail(err, SLSR_ECONFIG, "format.max_message_size is negative");
    return 0;
}

static int fill(struct format_plan *plan, const struct slsr_format_config *c,
                const struct slsr_stream *stream, struct slsr_err *err)
{
    plan->protocol = c->protocol;
    plan->body = c->body;
    plan->oversize = c->oversize;
    plan->max_message = c->max_message_bytes > 0 ? (size_t)c->max_message_bytes : SIZE_MAX;
    plan->rules = (struct text_rules){TEXT_LINE, c->newline, c->invalid_utf8};
    if (c->protocol == SLSR_SEED)
        plan->rules = (struct text_rules){TEXT_SEED, SLSR_NL_KEEP, SLSR_UTF8_DROP};
    else if (c->body == SLSR_BODY_JSON)
        plan->rules.style = TEXT_JSON;
    plan->pri_n = (size_t)snprintf(plan->pri, sizeof(plan->pri), "<%d>%s",
                                   (c->facility & 31) * 8 + (c->severity & 7),
                                   c->protocol == SLSR_RFC3164 ? "" : "1 ");
    int rc = zone_load(&plan->zone, c->time_zone, err);
    if (rc != 0)
        return slsr_wrap(err, rc, "format.time_zone");
    if ((rc = make_sep(plan, c, err)) != 0)
        return rc;
    if (c->provenance && (rc = make_sd(plan, stream, err)) != 0)
        return rc;
    if ((rc = make_names(plan, c, err)) != 0)
        return rc;
    /* Stamp, fraction and zone; names; provenance with an escaped cursor and its index. */
    plan->header_max =
        STAMP_MAX + 8 + SUFFIX_MAX + plan->names_n + plan->sd_n + (size_t)2 * SLSR_CURSOR_MAX + 32;
    return 0;
}

int format_plan_new(struct format_plan **out, const struct slsr_format_config *config,
                    const struct slsr_stream *stream, struct slsr_err *err)
{
    int rc = check(config, err);
    if (rc != 0)
        return rc;
    struct format_plan *plan = calloc(1, sizeof(*plan));
    if (plan == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    rc = fill(plan, config, stream, err);
    if (rc != 0) {
        format_plan_free(plan);
        return rc;
    }
    *out = plan;
    return 0;
}

void format_plan_free(struct format_plan *plan)
{
    if (plan == NULL)
        return;
    zone_free(plan->zone);
    free(plan->sep);
    free(plan->names);
    free(plan->sd);
    free(plan->lead.p);
    free(plan->tags.p);
    free(plan->sd_group.p);
    flat_fini(&plan->flat);
    free(plan);
}
