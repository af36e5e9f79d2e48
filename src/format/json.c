/* Bodies "json" (one object, all values text but __time_ns_part__) and "raw" (one field as it is).
 * HOT (tests/bench/bench_format.c "decode+json").
 *
 * The good path: topic, source and tags of a group are text already (json_group); a log whose keys
 * keys.c knows is that text and its fields. Every other log is flattened. */
#include "format/plan.h"

static const char ns_key[] = ",\"__time_ns_part__\":";

static char *put_literal(char *out, const char *text)
{
    size_t n = strlen(text);
    memcpy(out, text, n);
    return out + n;
}

int json_group(struct format_plan *plan, const struct slsr_log *log, struct slsr_err *err)
{
    bool keep;
    int rc = group_reserve(plan, log, &keep, err);
    if (rc != 0 || !keep)
        return rc;
    char *p = put_literal(plan->lead.p, "{\"__topic__\":\"");
    p = put_literal(text_put(p, log->topic, &plan->rules), "\",\"__source__\":\"");
    p = put_literal(text_put(p, log->source, &plan->rules), "\"");
    plan->lead.n = (size_t)(p - plan->lead.p);
    p = plan->tags.p;
    for (size_t i = 0; i < log->tag_count; i++) {
        p = put_literal(p, ",\"" FLAT_TAG_PREFIX);
        p = put_literal(text_put(p, log->tags[i].key, &plan->rules), "\":\"");
        p = put_literal(text_put(p, log->tags[i].value, &plan->rules), "\"");
    }
    plan->tags.n = (size_t)(p - plan->tags.p);
    return 0;
}

char *json_put_key(const struct format_plan *plan, char *out, struct slsr_bytes key)
{
    return put_literal(text_put(put_literal(out, ",\""), key, &plan->rules), "\":\"");
}

char *json_put_known(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    memcpy(out, plan->lead.p, plan->lead.n);
    out += plan->lead.n;
    if (log->time_ns != 0) {
        memcpy(out, ns_key, sizeof(ns_key) - 1);
        out = put_number(out + sizeof(ns_key) - 1, log->time_ns);
    }
    if (plan->tags.n > 0)
        memcpy(out, plan->tags.p, plan->tags.n);
    out = keys_put_json(plan, out + plan->tags.n, log);
    *out = '}';
    return out + 1;
}

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
