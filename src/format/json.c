/* Bodies "json" (one object, all values text but __time_ns_part__) and "raw" (one field as it is).
 * HOT, though less than kv: every JSON log is flattened. */
#include "format/plan.h"

char *json_put(const struct format_plan *plan, char *out)
{
    *out++ = '{';
    for (size_t i = 1; i < plan->flat.count; i++) { /* 0 is __time__ */
        const struct flat_pair *pair = &plan->flat.pairs[i];
        bool bare = pair->kind == FLAT_NS;
        if (i > 1)
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

/* `content` (what the collectors call an unparsed line), else `message`, else the first field; the
 * last one of a name counts. */
char *raw_put(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    static const char *const names[] = {"content", "message"};
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
        for (size_t i = log->field_count; i-- > 0;)
            if (slsr_bytes_equal(log->fields[i].key, slsr_bytes_of(names[n])))
                return text_put(out, log->fields[i].value, &plan->rules);
    return log->field_count == 0 ? out : text_put(out, log->fields[0].value, &plan->rules);
}
