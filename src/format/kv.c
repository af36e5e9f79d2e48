/* Body "key=value" with `sep` between the pairs (in front of each in the seed format). HOT
 * (tests/bench/bench_format.c "format").
 *
 * The good path: topic, source and tags of a group are text already (kv_group, once per group); a
 * log whose keys are all different and none of which starts with "__" is that text and then its
 * fields, one after the other; keys.c knows the keys' text from the logs before. All other logs go
 * through flatten().
 *
 * Nobody can forge a pair (format.kv_quote): a value that holds the separator, ends with the
 * beginning of one or begins with a quote is written in quotes, so is such a key or one with "=".
 * While a log is copied it is only noted whether the separator's first byte (in a key also "=")
 * came by; when it did, the log is written once more, piece by piece with an exact look. */
#include <stdlib.h>

#include "format/plan.h"

static const char ns_key[] = "__time_ns_part__=";

/* sep is short; a block of 8 is one instruction, a call to memcpy is not. */
static inline char *put_sep(const struct format_plan *plan, char *out)
{
    if (plan->sep_n <= 8)
        memcpy(out, plan->sep, 8); /* padded in plan.c */
    else
        memcpy(out, plan->sep, plan->sep_n);
    return out + plan->sep_n;
}

static bool needs_quotes(const struct format_plan *plan, const char *p, size_t n, bool key)
{
    if (n == 0)
        return false;
    if (*p == '"' || (key && memchr(p, '=', n) != NULL) ||
        memmem(p, n, plan->sep, plan->sep_n) != NULL)
        return true;
    /* A tail that begins a separator would move the one behind it. */
    for (size_t k = 1; !key && k < plan->sep_n && k <= n; k++)
        if (memcmp(p + n - k, plan->sep, k) == 0)
            return true;
    return false;
}

/* Key or value by the quoting rule; prefix: of our own, for a key. */
static char *put_careful(const struct format_plan *plan, char *out, const char *prefix,
                         struct slsr_bytes in, bool key)
{
    size_t n = strlen(prefix);
    char *start = out;
    if (plan->quote == SLSR_KV_ESCAPE) {
        memcpy(out, prefix, n);
        return text_put_set(out + n, in, &plan->rules, key ? &plan->kv_key_set : &plan->kv_set);
    }
    memcpy(out, prefix, n);
    out = text_put(out + n, in, &plan->rules);
    if (plan->quote == SLSR_KV_NONE || !((plan->quote == SLSR_KV_ALWAYS && !key) ||
                                         needs_quotes(plan, start, (size_t)(out - start), key)))
        return out;
    *start = '"';
    memcpy(start + 1, prefix, n);
    out = text_put_set(start + 1 + n, in, &plan->rules, &plan->kv_set);
    *out = '"';
    return out + 1;
}

static char *put_pair(const struct format_plan *plan, char *out, const char *prefix,
                      struct slsr_bytes key, struct slsr_bytes value)
{
    out = put_careful(plan, out, prefix, key, true);
    *out++ = '=';
    return put_careful(plan, out, "", value, false);
}

static bool distinct(const struct slsr_pair *pairs, size_t count)
{
    uint64_t seen = 0;
    if (count > FLAT_LINEAR_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = flat_bit(pairs[i].key);
        if ((seen & bit) != 0)
            for (size_t j = 0; j < i; j++)
                if (slsr_bytes_equal(pairs[j].key, pairs[i].key))
                    return false;
        seen |= bit;
    }
    return true;
}

int group_reserve(struct format_plan *plan, const struct slsr_log *log, bool *keep,
                  struct slsr_err *err)
{
    size_t tags = 0;
    *keep = plan->tags_distinct = distinct(log->tags, log->tag_count);
    if (!*keep)
        return 0; /* every log of it is flattened */
    for (size_t i = 0; i < log->tag_count; i++)
        tags += (log->tags[i].key.n + log->tags[i].value.n) * TEXT_GROWTH + plan->sep_n +
                FLAT_TAG_PREFIX_N + 8;
    int rc = text_reserve(&plan->lead,
                          (log->topic.n + log->source.n) * TEXT_GROWTH + plan->sep_n + 40, err);
    return rc == 0 ? text_reserve(&plan->tags, tags, err) : rc;
}

int kv_group(struct format_plan *plan, const struct slsr_log *log, struct slsr_err *err)
{
    bool keep;
    int rc = group_reserve(plan, log, &keep, err);
    if (rc != 0 || !keep)
        return rc;

    char *p = put_pair(plan, plan->lead.p, "", slsr_bytes_of("__topic__"), log->topic);
    p = put_pair(plan, put_sep(plan, p), "", slsr_bytes_of("__source__"), log->source);
    plan->lead.n = (size_t)(p - plan->lead.p);
    p = plan->tags.p;
    for (size_t i = 0; i < log->tag_count; i++)
        p = put_pair(plan, put_sep(plan, p), FLAT_TAG_PREFIX, log->tags[i].key, log->tags[i].value);
    plan->tags.n = (size_t)(p - plan->tags.p);
    return 0;
}

/* Room for every way of writing this log. */
size_t kv_max(const struct format_plan *plan, const struct slsr_log *log)
{
    size_t each = plan->sep_n + 8; /* "=" and quotes, or the quotes, colon and comma of JSON */
    size_t text = log->topic.n + log->source.n;
    for (size_t i = 0; i < log->field_count; i++)
        text += log->fields[i].key.n + log->fields[i].value.n;
    for (size_t i = 0; i < log->tag_count; i++)
        text += log->tags[i].key.n + log->tags[i].value.n;
    /* 128: the fixed keys, the time and nanoseconds. */
    return (text + plan->renamed_n) * TEXT_GROWTH + (log->field_count + 4) * each +
           log->tag_count * (each + FLAT_TAG_PREFIX_N) + 128;
}

bool kv_is_plain(const struct format_plan *plan, const struct slsr_log *log)
{
    if (!plan->tags_distinct || plan->select != NULL)
        return false;
    for (size_t i = 0; i < log->field_count; i++) {
        struct slsr_bytes key = log->fields[i].key;
        if (key.n >= 2 && key.p[0] == '_' && key.p[1] == '_')
            return false;
    }
    return distinct(log->fields, log->field_count);
}

/* What stands in front of the fields. */
static char *put_lead(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    memcpy(out, plan->lead.p, plan->lead.n);
    out += plan->lead.n;
    if (log->time_ns != 0) {
        out = put_sep(plan, out);
        memcpy(out, ns_key, sizeof(ns_key) - 1);
        out = put_number(out + sizeof(ns_key) - 1, log->time_ns);
    }
    if (plan->tags.n > 0)
        memcpy(out, plan->tags.p, plan->tags.n);
    return out + plan->tags.n;
}

char *kv_put_plain(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    char mark = plan->sep[0];
    uint64_t seen = plan->sep_always;
    out = put_lead(plan, out, log);
    if (plan->quote == SLSR_KV_NONE) {
        for (size_t i = 0; i < log->field_count; i++) {
            out = text_put(put_sep(plan, out), log->fields[i].key, &plan->rules);
            *out++ = '=';
            out = text_put(out, log->fields[i].value, &plan->rules);
        }
        return out;
    }
    for (size_t i = 0; i < log->field_count; i++) {
        /* What is written decides: a byte that was dropped may have stood before a quote. */
        char *key = put_sep(plan, out);
        *key = 0;
        char *value = text_put_mark(key, log->fields[i].key, &plan->rules, mark, '=', &seen) + 1;
        value[-1] = '=';
        *value = 0;
        out = text_put_mark(value, log->fields[i].value, &plan->rules, mark, mark, &seen);
        seen |= (uint64_t)(*key == '"') | (*value == '"');
    }
    return seen == 0 ? out : NULL;
}

char *kv_put_key(const struct format_plan *plan, char *out, struct slsr_bytes key)
{
    out = put_careful(plan, put_sep(plan, out), "", key, true);
    *out = '=';
    return out + 1;
}

char *kv_put_value(const struct format_plan *plan, char *out, struct slsr_bytes value)
{
    uint64_t seen = 0;
    if (plan->quote == SLSR_KV_NONE)
        return text_put(out, value, &plan->rules);
    *out = 0;
    char *end = text_put_mark(out, value, &plan->rules, plan->sep[0], plan->sep[0], &seen);
    return seen == 0 && *out != '"' ? end : put_careful(plan, out, "", value, false);
}

size_t max_known(const struct format_plan *plan, const struct slsr_log *log)
{
    return plan->known.bytes * TEXT_GROWTH + log->field_count * (plan->sep_n + 8) + plan->lead.n +
           plan->tags.n + plan->sep_n + 128;
}

char *kv_put_known(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    return keys_put_kv(plan, put_lead(plan, out, log), log);
}

char *kv_put_careful(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    out = put_lead(plan, out, log);
    for (size_t i = 0; i < log->field_count; i++)
        out = put_pair(plan, put_sep(plan, out), "", log->fields[i].key, log->fields[i].value);
    return out;
}

char *kv_put_flat(const struct format_plan *plan, char *out)
{
    bool seed = plan->protocol == SLSR_SEED;
    bool first = !seed;
    for (size_t i = plan->flat.first; i < plan->flat.count; i++) {
        const struct flat_pair *pair = &plan->flat.pairs[i];
        if (!first)
            out = put_sep(plan, out);
        first = false;
        if (seed && pair->kind == FLAT_NS) {
            /* The sample prints a tuple of one text here. */
            memcpy(out, ns_key, sizeof(ns_key) - 1);
            out += sizeof(ns_key) - 1;
            *out++ = '(';
            *out++ = '\'';
            out = text_put(out, pair->value, &plan->rules);
            memcpy(out, "',)", 3);
            out += 3;
            continue;
        }
        out = put_pair(plan, out, pair->tag ? FLAT_TAG_PREFIX : "", pair->key, pair->value);
    }
    return out;
}
