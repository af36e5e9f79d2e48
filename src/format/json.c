/* Bodies "json" (one object, all values text but __time_ns_part__) and "raw" (one field as it is).
 * HOT, though less than kv: every JSON log is flattened. */
#include "format/plan.h"

char *json_put(const struct format_plan *plan, char *out)
{
    *out++ = '{';
    for (size_t i = plan->flat.first; i < plan->flat.count; i++) {
        const struct flat_pair *pair = &plan->flat.pairs[i];
        bool bare = pair->kind == FLAT_NS || pair->kind == FLAT_TIME;
        if (i > plan->flat.first)
            *out++ = ',';
        *out++ = '"';
        if (pair->tag) {
            memcpy(out, FLAT_TAG_PREFIX, FLAT_TAG_PREFIX_N);
            out += FLAT_TAG_PREFIX_N;
        }
        out = text_put(out, pair->key, &plan->rules);
        memcpy(out, bare ? "\":" : "\":\"", bare ? 2 : 3);
        out = text_put(out + (bare ? 2 : 3), pair->value, &plan->rules);
        if (!bare)
            *out++ = '"';
    }
    *out++ = '}';
    return out;
}

/* The configured field, or `content` (what the collectors call an unparsed line), else `message`,
 * else the first field; the last one of a name counts. NULL: there is none. */
const struct slsr_bytes *raw_find(const struct format_plan *plan, const struct slsr_log *log)
{
    static const char *const names[] = {"content", "message"};
    if (plan->has_raw_slot) {
        const struct slot *slot = &plan->slots.items[plan->raw_slot];
        return slot->found ? &slot->value : NULL;
    }
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
        for (size_t i = log->field_count; i-- > 0;)
            if (slsr_bytes_equal(log->fields[i].key, slsr_bytes_of(names[n])))
                return &log->fields[i].value;
    return log->field_count == 0 ? NULL : &log->fields[0].value;
}
