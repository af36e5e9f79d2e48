/* Facility and severity of a log: rules, then a field, then the fixed value. */
#ifndef FORMAT_LEVEL_H
#define FORMAT_LEVEL_H

#include "format/filter.h"
#include "slsrelay/config.h"

struct level {
    int fixed;
    bool has_field;
    uint32_t slot;
    size_t map_count, rule_count;
    struct level_name {
        struct slsr_bytes name; /* owned */
        int code;
    } * map;
    struct level_rule {
        struct filter *filter;
        int code;
    } * rules;
};

struct level_settings {
    const char *key; /* "severity" */
    int fixed;
    const char *field;
    const struct slsr_map *map;
    const struct slsr_texts *rules;
};

/* SLSR_ECONFIG, SLSR_ENOMEM. Names of map entries are copied. */
int level_compile(struct level *level, struct slots *slots, const struct level_settings *settings,
                  struct slsr_err *err);
void level_fini(struct level *level);
int level_of(const struct level *level, bool facility, const struct slots *slots);

#endif
