/* Levels. Names are compared without case; a map of one's own comes before the usual names. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "format/level.h"

static const struct {
    const char *name;
    int code;
} severities[] = {
    {"emerg", 0},         {"emergency", 0}, {"panic", 0},  {"alert", 1},   {"crit", 2},
    {"critical", 2},      {"fatal", 2},     {"err", 3},    {"error", 3},   {"severe", 3},
    {"warning", 4},       {"warn", 4},      {"notice", 5}, {"info", 6},    {"information", 6},
    {"informational", 6}, {"debug", 7},     {"trace", 7},  {"verbose", 7},
};
static const char *const facilities[] = {
    "kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
    "uucp",   "cron",   "authpriv", "ftp",    "ntp",    "audit",  "alert",  "clock",
    "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};

static bool same_name(struct slsr_bytes text, const char *name)
{
    return text.n == strlen(name) && strncasecmp(text.p, name, text.n) == 0;
}

/* Name or number; -1: neither. */
static int usual(bool facility, struct slsr_bytes text)
{
    int most = facility ? 23 : 7, n = 0;
    size_t i = 0;
    for (; i < text.n && i < 2 && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        n = n * 10 + (text.p[i] - '0');
    if (i > 0 && i == text.n && n <= most)
        return n;
    if (facility && same_name(text, "security"))
        return 4;
    for (i = 0; facility && i < sizeof(facilities) / sizeof(facilities[0]); i++)
        if (same_name(text, facilities[i]))
            return (int)i;
    for (i = 0; !facility && i < sizeof(severities) / sizeof(severities[0]); i++)
        if (same_name(text, severities[i].name))
            return severities[i].code;
    return -1;
}

static bool is_facility(const struct level_settings *s)
{
    return s->key[0] == 'f';
}

static int compile_map(struct level *level, const struct slots *slots,
                       const struct level_settings *s, struct slsr_err *err)
{
    level->map = calloc(s->map->count + 1, sizeof(*level->map));
    if (level->map == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    for (size_t i = 0; i < s->map->count; i++) {
        const struct slsr_map_entry *e = &s->map->items[i];
        int code = usual(is_facility(s), slsr_bytes_of(e->value));
        if (code < 0) {
            int rc = slsr_fail(err, SLSR_ECONFIG,
                               "format.%s_map: \"%s\" of \"%s\" is no %s: use a name or number",
                               s->key, e->value, e->name, s->key);
            rc = slots_mistake(slots, rc, err);
            if (rc != 0)
                return rc;
            continue;
        }
        char *copy = strdup(e->name);
        if (copy == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
        level->map[level->map_count++] = (struct level_name){slsr_bytes_of(copy), code};
    }
    return 0;
}

/* "if FILTER then NAME": the last "then" counts. */
static int compile_rule(struct level *level, struct slots *slots, const struct level_settings *s,
                        size_t number, struct slsr_err *err)
{
    const char *rule = s->rules->items[number], *then = NULL;
    for (const char *p = strstr(rule, " then "); p != NULL; p = strstr(p + 1, " then "))
        then = p;
    if (strncmp(rule, "if ", 3) != 0 || then == NULL || then < rule + 3)
        return slsr_fail(err, SLSR_ECONFIG,
                         "format.%s_rules[%zu]: column 1: a rule is written "
                         "\"if status >= 500 then %s\"",
                         s->key, number, is_facility(s) ? "local3" : "err");
    struct slsr_bytes name = slsr_bytes_of(then + 6);
    while (name.n > 0 && name.p[0] == ' ') {
        name.p++;
        name.n--;
    }
    while (name.n > 0 && name.p[name.n - 1] == ' ')
        name.n--;
    struct level_rule *r = &level->rules[level->rule_count];
    r->code = usual(is_facility(s), name);
    if (r->code < 0)
        return slsr_fail(err, SLSR_ECONFIG, "format.%s_rules[%zu]: column %zu: \"%.*s\" is no %s",
                         s->key, number, (size_t)(then + 6 - rule) + 1, (int)name.n, name.p,
                         s->key);
    int rc = filter_compile(&r->filter, slots, rule + 3, (size_t)(then - rule) - 3, 4, err);
    if (rc != 0)
        return slsr_wrap(err, rc, "format.%s_rules[%zu]", s->key, number);
    level->rule_count++;
    return 0;
}

int level_compile(struct level *level, struct slots *slots, const struct level_settings *s,
                  struct slsr_err *err)
{
    int rc = 0;
    *level = (struct level){.fixed = s->fixed};
    if (s->field != NULL) {
        rc = slots_want(slots, slsr_bytes_of(s->field), &level->slot, err);
        level->has_field = true;
    }
    if (rc == 0 && s->map->count > 0 && s->field == NULL) {
        rc = slsr_fail(err, SLSR_ECONFIG,
                       "format.%s_map needs format.%s_field: name the field that it maps", s->key,
                       s->key);
        rc = slots_mistake(slots, rc, err);
    }
    if (rc == 0 && s->map->count > 0)
        rc = compile_map(level, slots, s, err);
    if (rc == 0 && s->rules->count > 0) {
        level->rules = calloc(s->rules->count, sizeof(*level->rules));
        if (level->rules == NULL)
            rc = slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    }
    for (size_t i = 0; rc == 0 && i < s->rules->count; i++)
        rc = slots_mistake(slots, compile_rule(level, slots, s, i, err), err);
    return rc;
}

void level_fini(struct level *level)
{
    for (size_t i = 0; i < level->map_count; i++)
        free((char *)(uintptr_t)level->map[i].name.p);
    for (size_t i = 0; i < level->rule_count; i++)
        filter_free(level->rules[i].filter);
    free(level->map);
    free(level->rules);
    *level = (struct level){0};
}

static int by_field(const struct level *level, const struct slot *slot, bool facility)
{
    struct slsr_bytes v = slot->value;
    if (!slot->found || v.n == 0)
        return -1;
    for (size_t i = 0; i < level->map_count; i++)
        if (level->map[i].name.n == v.n && strncasecmp(level->map[i].name.p, v.p, v.n) == 0)
            return level->map[i].code;
    return usual(facility, v);
}

int level_of(const struct level *level, bool facility, const struct slots *slots)
{
    for (size_t i = 0; i < level->rule_count; i++)
        if (filter_run(level->rules[i].filter, slots) == FILTER_TRUE)
            return level->rules[i].code;
    int code = level->has_field ? by_field(level, &slots->items[level->slot], facility) : -1;
    return code >= 0 ? code : level->fixed;
}
