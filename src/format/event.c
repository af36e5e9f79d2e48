/* Bodies "cef", "leef" and "template", into plan->built.
 *
 * CEF (ArcSight CEF implementation standard): header fields with \| and \\, line ends as a space;
 * extension with \= \\ \n \r. LEEF (IBM LEEF guide) defines no escape: the delimiter and line ends
 * in values, and | in header fields, become a space. Keys of fields that no mapping names are
 * cleaned to what the format takes as a key; two that would be equal get a number. */
#include <stdio.h>
#include <stdlib.h>

#include "format/plan.h"

static const char *const cef_keys[] = {"cef.vendor",         "cef.product", "cef.device_version",
                                       "cef.event_class_id", "cef.name",    "cef.severity"};
static const char *const leef_keys[] = {"leef.vendor", "leef.product", "leef.device_version",
                                        "leef.event_id"};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool key_valid(const char *key, bool cef)
{
    for (const char *p = key; *p != '\0'; p++)
        if (!is_alnum(*p) && (cef || strchr("_.-", *p) == NULL))
            return false;
    return *key != '\0';
}

static int compile_heads(struct format_plan *plan, const char *const *texts,
                         const char *const *keys, const char *fallback, struct slsr_err *err)
{
    struct event *e = &plan->event;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < e->head_count; i++) {
        const char *text = texts[i] != NULL ? texts[i] : i < 2 ? "SLS" : i == 2 ? "1.0" : fallback;
        rc = compile_as(&e->heads[i], &plan->slots, text, keys[i], err);
        rc = slots_mistake(&plan->slots, rc, err);
    }
    return rc;
}

static int compile_pairs(struct format_plan *plan, const struct slsr_map *map, const char *key,
                         bool cef, struct slsr_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < map->count; i++)
        if (!key_valid(map->items[i].name, cef)) {
            rc = slsr_fail(err, SLSR_ECONFIG, "format.%s: \"%s\" is no key: %s", key,
                           map->items[i].name,
                           cef ? "use letters and digits" : "use letters, digits, _ . and -");
            rc = slots_mistake(&plan->slots, rc, err);
        }
    return rc != 0 ? rc : mapping_compile(&plan->event.pairs, &plan->slots, map, key, err);
}

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* "^", "x5E", "0x09": what the sixth header field of LEEF 2.0 may hold. */
static int read_delimiter(struct event *e, const char *text, struct slsr_err *err)
{
    const char *hex = strncmp(text, "0x", 2) == 0 ? text + 2 : *text == 'x' ? text + 1 : NULL;
    int code = -1;
    if (text[0] != '\0' && text[1] == '\0')
        code = (uint8_t)text[0];
    else if (hex != NULL && hex[0] != '\0' && hex_of(hex[0]) >= 0 && hex[1] == '\0')
        code = hex_of(hex[0]);
    else if (hex != NULL && hex_of(hex[0]) >= 0 && hex_of(hex[1]) >= 0 && hex[2] == '\0')
        code = hex_of(hex[0]) * 16 + hex_of(hex[1]);
    if (code < 1 || code > 126 || is_alnum((char)code) || strchr("\r\n=|\\_.- ", code) != NULL)
        return slsr_fail(
            err, SLSR_ECONFIG,
            "format.leef.delimiter must be one character such as \"^\" or its code such "
            "as \"x5E\" or \"x09\", no letter, digit, space or any of = | \\ _ . -");
    e->delimiter = (char)code;
    if (text[1] == '\0' && code < 0x20) /* no control character in a header field */
        snprintf(e->mark, sizeof(e->mark), "x%02X", (unsigned)code);
    else
        snprintf(e->mark, sizeof(e->mark), "%.7s", text);
    return 0;
}

static int compile_cef(struct format_plan *plan, const struct slsr_format_config *c,
                       struct slsr_err *err)
{
    struct event *e = &plan->event;
    const char *texts[] = {c->cef_vendor,   c->cef_product, c->cef_version,
                           c->cef_class_id, c->cef_name,    c->cef_severity};
    e->head_count = 6;
    e->own_severity = c->cef_severity == NULL;
    e->rest = c->cef_fields == SLSR_REST_ALL;
    snprintf(e->lead, sizeof(e->lead), "CEF:0|");
    text_set_init(&e->head_set, "\\|", true);
    text_set_init(&e->pair_set, c->newline == SLSR_NL_SPACE ? "\\=" : "\\=\n\r", true);
    e->pair_rules = plan->rules;
    int rc = compile_heads(plan, texts, cef_keys, "log", err);
    return rc == 0 ? compile_pairs(plan, &c->cef_extension, "cef.extension", true, err) : rc;
}

static int compile_leef(struct format_plan *plan, const struct slsr_format_config *c,
                        struct slsr_err *err)
{
    struct event *e = &plan->event;
    const char *texts[] = {c->leef_vendor, c->leef_product, c->leef_device_version,
                           c->leef_event_id};
    int rc = 0;
    e->head_count = 4;
    e->rest = c->leef_fields == SLSR_REST_ALL;
    e->delimiter = '\t';
    snprintf(e->lead, sizeof(e->lead), "LEEF:%s|", c->leef_version == SLSR_LEEF_2 ? "2.0" : "1.0");
    if (c->leef_version == SLSR_LEEF_2)
        rc = slots_mistake(
            &plan->slots,
            read_delimiter(e, c->leef_delimiter != NULL ? c->leef_delimiter : "x09", err), err);
    text_set_init(&e->head_set, "", false);
    text_set_init(&e->pair_set, "", false);
    e->pair_rules = plan->rules;
    e->pair_rules.newline = SLSR_NL_SPACE;
    if (rc == 0)
        rc = compile_heads(plan, texts, leef_keys, "log", err);
    return rc == 0 ? compile_pairs(plan, &c->leef_attributes, "leef.attributes", false, err) : rc;
}

int event_compile(struct format_plan *plan, const struct slsr_format_config *c,
                  struct slsr_err *err)
{
    plan->event.head_rules = plan->rules;
    plan->event.head_rules.newline = SLSR_NL_SPACE;
    return c->body == SLSR_BODY_CEF ? compile_cef(plan, c, err) : compile_leef(plan, c, err);
}

void event_fini(struct format_plan *plan)
{
    for (size_t i = 0; i < HEADS_MAX; i++)
        template_free(&plan->event.heads[i]);
    mapping_free(&plan->event.pairs);
    free(plan->keys.items);
    free(plan->keys.table);
}

static int put_bytes(struct text_buf *out, const char *text, size_t n, struct slsr_err *err)
{
    int rc = text_more(out, n, err);
    if (rc == 0) {
        memcpy(out->p + out->n, text, n);
        out->n += n;
    }
    return rc;
}

static void replace(struct text_buf *out, size_t from, char what)
{
    for (char *p = out->p + from, *end = out->p + out->n;
         p < end && (p = memchr(p, what, (size_t)(end - p))) != NULL;)
        *p++ = ' ';
}

static int put_set(struct text_buf *out, struct slsr_bytes in, const struct text_rules *rules,
                   const struct text_set *set, struct slsr_err *err)
{
    int rc = text_more(out, in.n * TEXT_GROWTH, err);
    if (rc == 0)
        out->n = (size_t)(text_put_set(out->p + out->n, in, rules, set) - out->p);
    return rc;
}

static int put_template(struct format_plan *plan, const struct template *t,
                        const struct text_rules *rules, const struct text_set *set,
                        struct slsr_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->count; i++) {
        struct slsr_bytes text;
        rc = template_step(&t->steps[i], &plan->room, &text, err);
        if (rc == 0)
            rc = put_set(&plan->built, text, rules, set, err);
    }
    return rc;
}

/* CEF: 0 (low) .. 10 (very high), from emerg .. debug. */
static const char *const cef_severities[] = {"10", "9", "8", "7", "6", "4", "3", "1"};

static int put_heads(struct format_plan *plan, struct slsr_err *err)
{
    const struct event *e = &plan->event;
    struct text_buf *out = &plan->built;
    int rc = put_bytes(out, e->lead, strlen(e->lead), err);
    for (size_t i = 0; rc == 0 && i < e->head_count; i++) {
        size_t from = out->n;
        if (i == 5 && e->own_severity) {
            const char *text = cef_severities[plan->severity_now & 7];
            rc = put_bytes(out, text, strlen(text), err);
        } else {
            rc = put_template(plan, &e->heads[i], &e->head_rules, &e->head_set, err);
        }
        if (plan->body == SLSR_BODY_LEEF)
            replace(out, from, '|');
        if (rc == 0)
            rc = put_bytes(out, "|", 1, err);
    }
    if (rc == 0 && e->mark[0] != '\0')
        rc = put_bytes(out, e->mark, strlen(e->mark), err);
    return rc == 0 && e->mark[0] != '\0' ? put_bytes(out, "|", 1, err) : rc;
}

static int keys_reset(struct key_set *keys, size_t most, struct slsr_err *err)
{
    size_t slots = 64;
    while (slots < 2 * most)
        slots *= 2;
    keys->count = 0;
    if (slots > keys->size) {
        free(keys->items);
        free(keys->table);
        keys->size = 0;
        keys->items = malloc(slots * sizeof(*keys->items));
        keys->table = malloc(slots * sizeof(*keys->table));
        if (keys->items == NULL || keys->table == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for the %zu keys of one log", most);
        keys->size = slots;
    }
    keys->mask = slots - 1;
    memset(keys->table, 0, slots * sizeof(*keys->table));
    return 0;
}

/* True: added; false: there is such a key already. Keys are places in text. */
static bool keys_add(struct key_set *keys, const char *text, size_t at, size_t n)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint8_t)text[at + i]) * 16777619U;
    size_t slot = hash & keys->mask;
    for (; keys->table[slot] != 0; slot = (slot + 1) & keys->mask) {
        const struct key_place *k = &keys->items[keys->table[slot] - 1];
        if (k->n == n && memcmp(text + k->at, text + at, n) == 0)
            return false;
    }
    keys->items[keys->count++] = (struct key_place){at, n};
    keys->table[slot] = (uint32_t)keys->count;
    keys->last = slot;
    return true;
}

/* Takes the last one back. */
static void keys_forget(struct key_set *keys)
{
    keys->table[keys->last] = 0;
    keys->count--;
}

/* Delimiter (but in front of the first pair), "key=". */
static int begin_pair(struct format_plan *plan, const char *key, struct slsr_err *err)
{
    struct text_buf *out = &plan->built;
    char between = plan->body == SLSR_BODY_CEF ? ' ' : plan->event.delimiter;
    int rc = plan->keys.count > 0 ? put_bytes(out, &between, 1, err) : 0;
    size_t at = out->n;
    if (rc == 0)
        rc = put_bytes(out, key, strlen(key), err);
    if (rc == 0)
        (void)keys_add(&plan->keys, out->p, at, out->n - at);
    return rc == 0 ? put_bytes(out, "=", 1, err) : rc;
}

static int put_mapped(struct format_plan *plan, struct slsr_err *err)
{
    const struct event *e = &plan->event;
    struct text_buf *out = &plan->built;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < e->pairs.count; i++) {
        size_t start = out->n, keys = plan->keys.count;
        rc = begin_pair(plan, e->pairs.items[i].key, err);
        size_t value = out->n;
        if (rc == 0)
            rc = put_template(plan, &e->pairs.items[i].value, &e->pair_rules, &e->pair_set, err);
        if (plan->body == SLSR_BODY_LEEF)
            replace(out, value, e->delimiter);
        if (rc == 0 && out->n == value) { /* nothing to say: as if it were not there */
            out->n = start;
            if (plan->keys.count > keys)
                keys_forget(&plan->keys);
        }
    }
    return rc;
}

/* What the format takes as a key, from any bytes. */
static void put_clean_key(struct format_plan *plan, struct slsr_bytes key)
{
    struct text_buf *out = &plan->built;
    bool cef = plan->body == SLSR_BODY_CEF;
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (is_alnum(c) || (!cef && c != '\0' && strchr("_.-", c) != NULL))
            out->p[out->n++] = c;
        else if (!cef)
            out->p[out->n++] = '_';
    }
}

static int put_rest_key(struct format_plan *plan, const struct flat_pair *pair,
                        struct slsr_err *err)
{
    struct text_buf *out = &plan->built;
    char between = plan->body == SLSR_BODY_CEF ? ' ' : plan->event.delimiter;
    int rc = text_more(out, pair->key.n + 64, err);
    if (rc != 0)
        return rc;
    if (plan->keys.count > 0)
        out->p[out->n++] = between;
    size_t at = out->n;
    if (pair->tag)
        put_clean_key(plan, slsr_bytes_of(FLAT_TAG_PREFIX));
    put_clean_key(plan, pair->key);
    if (out->n == at)
        put_clean_key(plan, slsr_bytes_of("field"));
    size_t bare = out->n;
    for (uint32_t n = (uint32_t)plan->keys.count + 1;
         !keys_add(&plan->keys, out->p, at, out->n - at); n++)
        out->n = (size_t)(put_number(out->p + bare, n) - out->p);
    out->p[out->n++] = '=';
    return 0;
}

static int put_rest(struct format_plan *plan, struct slsr_err *err)
{
    const struct event *e = &plan->event;
    struct text_buf *out = &plan->built;
    int rc = 0;
    for (size_t i = plan->flat.first; rc == 0 && i < plan->flat.count; i++) {
        const struct flat_pair *pair = &plan->flat.pairs[i];
        if (pair->kind == FLAT_GROUP && pair->value.n == 0)
            continue;
        rc = put_rest_key(plan, pair, err);
        size_t value = out->n;
        if (rc == 0)
            rc = put_set(out, pair->value, &e->pair_rules, &e->pair_set, err);
        if (plan->body == SLSR_BODY_LEEF)
            replace(out, value, e->delimiter);
    }
    return rc;
}

int event_build(struct format_plan *plan, struct slsr_err *err)
{
    const struct event *e = &plan->event;
    plan->built.n = 0;
    int rc = keys_reset(&plan->keys, e->pairs.count + (e->rest ? plan->flat.count : 0) + 1, err);
    if (rc == 0)
        rc = put_heads(plan, err);
    if (rc == 0)
        rc = put_mapped(plan, err);
    return rc == 0 && e->rest ? put_rest(plan, err) : rc;
}

int template_build(struct format_plan *plan, struct slsr_err *err)
{
    struct text_buf *out = &plan->built;
    int rc = 0;
    out->n = 0;
    for (size_t i = 0; rc == 0 && i < plan->text.count; i++) {
        struct slsr_bytes text;
        rc = template_step(&plan->text.steps[i], &plan->room, &text, err);
        if (rc == 0)
            rc = text_more(out, text.n * TEXT_GROWTH, err);
        if (rc == 0)
            out->n = (size_t)(text_put(out->p + out->n, text, &plan->rules) - out->p);
    }
    return rc;
}
