/* Settings -> plan, once per shard worker: everything that does not depend on the log is text or a
 * number afterwards. What cannot be made is refused here, with the reason, not at the first log. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "format/plan.h"

enum { HOSTNAME_MAX = 255 };
/* Reserved for documentation (RFC 5612): what our elements are named after by default. */
enum { ENTERPRISE = 32473 };

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

/* The sample's names: neither cut nor cleaned, and no templates. */
static int seed_names(struct format_plan *plan, const struct slsr_format_config *c,
                      struct slsr_err *err)
{
    char own[HOSTNAME_MAX + 1];
    const char *host = c->hostname, *tag = c->tag;
    if (host == NULL || *host == '\0') {
        machine_name(own, true);
        host = own;
    }
    if (tag == NULL || *tag == '\0')
        tag = "-";
    int rc = text_reserve(&plan->names, strlen(host) + strlen(tag) + 8, err);
    if (rc != 0)
        return rc;
    char *p = plan->names.p;
    *p++ = ' ';
    p = put_text(p, host);
    *p++ = ' ';
    p = put_text(put_text(p, tag), " - -");
    plan->names.n = (size_t)(p - plan->names.p);
    return 0;
}

/* HOSTNAME to MSGID; made as text here when they do not depend on the log. */
static int make_names(struct format_plan *plan, const struct slsr_format_config *c,
                      struct slsr_err *err)
{
    static const char *const keys[NAMES] = {"hostname", "tag", "procid", "msgid"};
    char own[HOSTNAME_MAX + 1];
    const char *texts[NAMES] = {c->hostname, c->tag, c->procid, c->msgid};
    int rc = 0;

    if (c->protocol == SLSR_SEED)
        return seed_names(plan, c, err);
    if (c->hostname == NULL)
        machine_name(own, false);
    for (size_t i = 0; rc == 0 && i < NAMES; i++) {
        if (i == NAME_HOST && c->hostname == NULL)
            texts[i] = own;
        rc = compile_as(&plan->names_of[i], &plan->slots, texts[i], keys[i], err);
        rc = slots_mistake(&plan->slots, rc, err);
        plan->names_dynamic = plan->names_dynamic || plan->names_of[i].dynamic;
    }
    return rc == 0 && !plan->names_dynamic ? header_names(plan, err) : rc;
}

/* SD-NAME, RFC 5424 6.3.2. id: with the "@" that a name of one's own needs. */
static bool sd_name_valid(const char *name, bool id)
{
    static const char *const registered[] = {"timeQuality", "origin", "meta"};
    size_t n = strlen(name);
    bool known = false;
    for (const char *p = name; *p != '\0'; p++)
        if (*p < 33 || *p > 126 || strchr("=]\"", *p) != NULL)
            return false;
    for (size_t i = 0; i < sizeof(registered) / sizeof(registered[0]); i++)
        known = known || strcmp(name, registered[i]) == 0;
    const char *at = strchr(name, '@');
    bool own =
        at != NULL && at > name && at[1] != '\0' && strspn(at + 1, "0123456789.") == strlen(at + 1);
    return n >= 1 && n <= 32 && (!id || known || own);
}

static int check_element(const struct slsr_map_entry *e, struct slsr_err *err)
{
    if (!sd_name_valid(e->group, true))
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.structured_data: \"%s\" is no SD-ID: at most 32 printable "
                         "characters with \"@\" and your enterprise number, such as app@32473",
                         e->group);
    if (e->name != NULL && !sd_name_valid(e->name, false))
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.structured_data.%s: \"%s\" is no PARAM-NAME: at most 32 "
                         "printable characters without = ] and quotes",
                         e->group, e->name);
    return 0;
}

static int make_elements(struct format_plan *plan, const struct slsr_format_config *c,
                         struct slsr_err *err)
{
    const struct slsr_map *map = &c->structured_data;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < map->count; i++)
        rc = slots_mistake(&plan->slots, check_element(&map->items[i], err), err);
    if (rc == 0)
        rc = mapping_compile(&plan->elements, &plan->slots, map, "structured_data", err);
    return rc == 0 && !plan->elements.dynamic ? header_elements(plan, err) : rc;
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

/* Provenance up to the cursor. */
static int make_sd(struct format_plan *plan, const struct slsr_format_config *c,
                   struct slsr_err *err)
{
    const struct slots *from = &plan->slots;
    if (!c->provenance)
        return 0;
    char *p = malloc(2 * (strlen(from->project) + strlen(from->logstore)) + 128);
    if (p == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a syslog header");
    plan->sd = p;
    p += snprintf(p, 32, "[slsRelay@%u", plan->enterprise);
    p = put_text(put_param(p, "project", from->project), "\"");
    p = put_text(put_param(p, "logstore", from->logstore), "\"");
    p = put_text(put_param(p, "shard", from->shard), "\"");
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

/* The separator, and a quoting rule that is able to keep pairs apart. */
static int make_quotes(struct format_plan *plan, const struct slsr_format_config *c,
                       struct slsr_err *err)
{
    int rc = make_sep(plan, c, err);
    if (rc != 0)
        return rc;
    char set[8] = "\\\"", key_set[8];
    char first = plan->sep[0];
    bool punctuation = strchr("!#$%&()*+,-./:;<>?@[]^_`{|}~'", first) != NULL && first != '\0';

    plan->quote = c->protocol == SLSR_SEED ? SLSR_KV_NONE : c->kv_quote;
    /* Rules can make these bytes out of others: \x1b, or a line end that becomes a space. */
    plan->sep_always = !punctuation && (first != ' ' || c->newline == SLSR_NL_SPACE);
    if (plan->quote == SLSR_KV_NONE || c->body != SLSR_BODY_KV)
        return 0;
    if (plan->sep_n == 0 || strpbrk(plan->sep, "=\"\\") != NULL)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.sep is empty or holds = \" or \\, so that pairs cannot be told "
                         "apart: choose another or set format.kv_quote to \"none\"");
    if (plan->quote == SLSR_KV_ESCAPE) {
        if (!punctuation)
            return slsr_fail(
                err, SLSR_ECONFIG,
                "format.sep must begin with a punctuation mark when format.kv_quote is "
                "\"escape\"");
        snprintf(set, sizeof(set), "\\%c", first);
    }
    snprintf(key_set, sizeof(key_set), "%s=", set);
    text_set_init(&plan->kv_set, set, false);
    text_set_init(&plan->kv_key_set, key_set, false);
    return 0;
}

static int check_numbers(const struct slsr_format_config *c, struct slsr_err *err)
{
    if (c->facility < 0 || c->facility > 23)
        return slsr_fail(err, SLSR_ECONFIG, "format.facility is %d: use 0 to 23", c->facility);
    if (c->severity < 0 || c->severity > 7)
        return slsr_fail(err, SLSR_ECONFIG, "format.severity is %d: use 0 to 7", c->severity);
    if (c->max_message_bytes < 0)
        return slsr_fail(err, SLSR_ECONFIG, "format.max_message_size is negative");
    if (c->enterprise < 0 || c->enterprise > UINT32_MAX)
        return slsr_fail(err, SLSR_ECONFIG, "format.enterprise is out of range");
    return 0;
}

/* Settings that do not go together. */
static int check_pairs(struct format_plan *plan, const struct slsr_format_config *c,
                       struct slsr_err *err)
{
    const bool seed = c->protocol == SLSR_SEED;
    const bool fields = c->include.count > 0 || c->exclude.count > 0 || c->rename.count > 0;
    const struct {
        bool wrong;
        const char *text;
    } rules[] = {
        {seed && c->body != SLSR_BODY_KV, "format.body must be \"kv\" with format.protocol "
                                          "\"seed\", which has its own: set or remove it"},
        {seed && fields, "format.fields has no place in format.protocol \"seed\", which prints all "
                         "fields: remove it"},
        {c->provenance && c->protocol != SLSR_RFC5424,
         "format.provenance needs STRUCTURED-DATA: set format.protocol to \"rfc5424\" or "
         "provenance "
         "to false"},
        {c->structured_data.count > 0 && c->protocol != SLSR_RFC5424,
         "format.structured_data needs format.protocol \"rfc5424\""},
        {c->body == SLSR_BODY_TEMPLATE && c->template_text == NULL,
         "format.body \"template\" needs format.template: write the text, such as "
         "\"${user} ${verb}\""},
        {c->body != SLSR_BODY_TEMPLATE && c->template_text != NULL,
         "format.template has no effect: set format.body to \"template\" or remove it"},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].wrong)
            rc =
                slots_mistake(&plan->slots, slsr_fail(err, SLSR_ECONFIG, "%s", rules[i].text), err);
    return rc;
}

/* What no settings of a file can hold. */
static int check(const struct slsr_format_config *c, struct slsr_err *err)
{
    if (c->protocol != SLSR_RFC5424 && c->protocol != SLSR_RFC3164 && c->protocol != SLSR_SEED)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.protocol is unknown: use \"rfc5424\", "
                         "\"rfc3164\" or \"seed\"");
    if ((unsigned)c->body > SLSR_BODY_TEMPLATE)
        return slsr_fail(err, SLSR_ECONFIG, "format.body is unknown");
    return check_numbers(c, err);
}

static int make_levels(struct format_plan *plan, const struct slsr_format_config *c,
                       struct slsr_err *err)
{
    struct level_settings facility = {"facility", c->facility, c->facility_field, &c->facility_map,
                                      &c->facility_rules};
    struct level_settings severity = {"severity", c->severity, c->severity_field, &c->severity_map,
                                      &c->severity_rules};
    int rc = slots_mistake(&plan->slots,
                           level_compile(&plan->facility, &plan->slots, &facility, err), err);
    if (rc == 0)
        rc = level_compile(&plan->severity, &plan->slots, &severity, err);
    plan->fixed_pri = !plan->facility.has_field && !plan->severity.has_field &&
                      plan->facility.rule_count == 0 && plan->severity.rule_count == 0;
    return rc;
}

static int make_selection(struct format_plan *plan, const struct slsr_format_config *c,
                          struct slsr_err *err)
{
    struct slsr_texts used = {0};
    int rc = 0;
    if (plan->event.rest)
        rc = mapping_used(&plan->event.pairs, &plan->slots, &used, err);
    if (rc == 0)
        rc = select_compile(&plan->select, c, &used, err);
    for (size_t i = 0; i < c->rename.count; i++)
        plan->renamed_n += strlen(c->rename.items[i].value);
    used_free(&used);
    return rc;
}

static int make_body(struct format_plan *plan, const struct slsr_format_config *c,
                     struct slsr_err *err)
{
    int rc = 0;
    if (c->body == SLSR_BODY_RAW && c->raw_field != NULL) {
        rc = slots_want(&plan->slots, slsr_bytes_of(c->raw_field), &plan->raw_slot, err);
        plan->has_raw_slot = true;
    } else if (c->body == SLSR_BODY_CEF || c->body == SLSR_BODY_LEEF) {
        rc = event_compile(plan, c, err);
    } else if (c->body == SLSR_BODY_TEMPLATE) {
        const char *text = c->template_text != NULL ? c->template_text : "";
        rc = compile_as(&plan->text, &plan->slots, text, "template", err);
    }
    rc = slots_mistake(&plan->slots, rc, err);
    return rc == 0 ? make_selection(plan, c, err) : rc;
}

static void make_rules(struct format_plan *plan, const struct slsr_format_config *c)
{
    plan->protocol = c->protocol;
    plan->body = c->body;
    plan->oversize = c->oversize;
    plan->fraction = c->fraction;
    plan->enterprise = c->enterprise > 0 ? (uint32_t)c->enterprise : ENTERPRISE;
    plan->max_message = c->max_message_bytes > 0 ? (size_t)c->max_message_bytes : SIZE_MAX;
    plan->rules = (struct text_rules){TEXT_LINE, c->newline, c->invalid_utf8};
    plan->line_rules = plan->rules;
    if (c->newline == SLSR_NL_KEEP)
        plan->line_rules.newline = SLSR_NL_ESCAPE;
    if (c->invalid_utf8 == SLSR_UTF8_KEEP) /* PARAM-VALUE must be UTF-8 */
        plan->line_rules.utf8 = SLSR_UTF8_REPLACE;
    text_set_init(&plan->param_set, "\"\\]", true);
    if (c->protocol == SLSR_SEED)
        plan->rules = (struct text_rules){TEXT_SEED, SLSR_NL_KEEP, SLSR_UTF8_DROP};
    else if (c->body == SLSR_BODY_JSON)
        plan->rules.style = TEXT_JSON;
    if (c->body == SLSR_BODY_JSON && c->invalid_utf8 == SLSR_UTF8_KEEP) /* JSON is UTF-8 */
        plan->rules.utf8 = SLSR_UTF8_REPLACE;
    if (c->protocol != SLSR_RFC3164)
        plan->lead_in[plan->lead_in_n++] = ' ';
    if (c->protocol == SLSR_RFC5424 && c->bom) {
        memcpy(plan->lead_in + plan->lead_in_n, "\xef\xbb\xbf", 3);
        plan->lead_in_n += 3;
    }
}

static int make_zone(struct format_plan *plan, const struct slsr_format_config *c,
                     struct slsr_err *err)
{
    int rc = zone_load(&plan->zone, c->time_zone, err);
    plan->room = (struct template_room){.slots = &plan->slots, .zone = plan->zone};
    return slsr_wrap(err, rc, "format.time_zone");
}

static int make_filter(struct format_plan *plan, const struct slsr_format_config *c,
                       struct slsr_err *err)
{
    if (c->filter == NULL)
        return 0;
    return slsr_wrap(
        err, filter_compile(&plan->filter, &plan->slots, c->filter, strlen(c->filter), 1, err),
        "format.filter");
}

static int fill(struct format_plan *plan, const struct slsr_format_config *c, struct slsr_err *err)
{
    /* Each leaves the plan so that the next ones can be asked, whatever it found. */
    static int (*const steps[])(struct format_plan * plan, const struct slsr_format_config *c,
                                struct slsr_err *err) = {
        check_pairs,   make_zone,   make_quotes, make_sd,     make_names,
        make_elements, make_levels, make_body,   make_filter,
    };
    int rc = 0;
    make_rules(plan, c);
    for (size_t i = 0; rc == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
        rc = slots_mistake(&plan->slots, steps[i](plan, c, err), err);
    keys_init(plan);
    plan->guess = FRAME_GUESS;
    return rc;
}

static int make(struct format_plan **out, const struct slsr_format_config *config,
                const struct slsr_stream *stream, const struct format_ear *ear,
                struct slsr_err *err)
{
    int rc = check(config, err);
    if (rc != 0)
        return rc;
    struct format_plan *plan = calloc(1, sizeof(*plan));
    if (plan == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    rc = slots_init(&plan->slots, stream, err);
    plan->slots.ear = ear;
    if (rc == 0)
        rc = fill(plan, config, err);
    if (rc != 0) {
        format_plan_free(plan);
        return rc;
    }
    *out = plan;
    return 0;
}

int format_plan_new(struct format_plan **out, const struct slsr_format_config *config,
                    const struct slsr_stream *stream, struct slsr_err *err)
{
    return make(out, config, stream, NULL, err);
}

int format_judge(const struct slsr_format_config *config, void (*say)(void *ctx, const char *text),
                 void *ctx, struct slsr_err *err)
{
    static const struct slsr_stream stream = {"check", "check", 0};
    const struct format_ear ear = {say, ctx};
    struct format_plan *plan = NULL;
    int rc = make(&plan, config, &stream, &ear, err);
    if (rc == SLSR_ECONFIG)
        say(ctx, err->text);
    format_plan_free(plan);
    return rc == SLSR_ECONFIG ? 0 : rc;
}

void format_plan_free(struct format_plan *plan)
{
    if (plan == NULL)
        return;
    struct text_buf *texts[] = {&plan->names, &plan->sd_own,          &plan->lead,
                                &plan->tags,  &plan->sd_group,        &plan->built,
                                &plan->whole, &plan->room.scratch[0], &plan->room.scratch[1]};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        free(texts[i]->p);
    for (size_t i = 0; i < NAMES; i++)
        template_free(&plan->names_of[i]);
    template_free(&plan->text);
    mapping_free(&plan->elements);
    event_fini(plan);
    level_fini(&plan->facility);
    level_fini(&plan->severity);
    filter_free(plan->filter);
    select_free(plan->select);
    slots_fini(&plan->slots);
    zone_free(plan->zone);
    free(plan->sep);
    free(plan->sd);
    flat_fini(&plan->flat);
    free(plan);
}
