/* Flattening. All candidates are laid out in order, then equal keys are merged: pair by pair for
 * ordinary logs (a 64-bit filter says "new" for most), by sorting for logs with very many keys. */
#include <stdio.h>
#include <stdlib.h>

#include "format/escape.h"
#include "format/flatten.h"

static int reserve(struct flat *f, size_t count, struct slsr_err *err)
{
    if (count <= f->size)
        return 0;
    size_t size = f->size == 0 ? 64 : f->size;
    while (size < count)
        size *= 2;
    struct flat_pair *pairs = realloc(f->pairs, size * sizeof(*pairs));
    if (pairs != NULL)
        f->pairs = pairs;
    uint32_t *order = realloc(f->order, size * sizeof(*order));
    if (order != NULL)
        f->order = order;
    if (pairs == NULL || order == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the %zu keys of one log", size);
    f->size = size;
    return 0;
}

static void add(struct flat *f, enum flat_kind kind, bool tag, struct slsr_bytes key,
                struct slsr_bytes value)
{
    f->pairs[f->count++] = (struct flat_pair){kind, tag, false, key, value};
}

static int compare_keys(const struct flat_pair *a, const struct flat_pair *b)
{
    if (a->tag != b->tag)
        return a->tag ? 1 : -1;
    if (a->key.n != b->key.n)
        return a->key.n < b->key.n ? -1 : 1;
    return a->key.n == 0 ? 0 : memcmp(a->key.p, b->key.p, a->key.n);
}

static void merge(struct flat_pair *into, struct flat_pair *later)
{
    into->value = later->value;
    into->kind = later->kind;
    later->gone = true;
}

static bool merge_linear(struct flat *f)
{
    uint64_t seen = 0;
    bool any = false;
    for (size_t i = 0; i < f->count; i++) {
        uint64_t bit = flat_bit(f->pairs[i].key);
        if ((seen & bit) != 0) {
            size_t j = 0;
            while (j < i && (f->pairs[j].gone || compare_keys(&f->pairs[j], &f->pairs[i]) != 0))
                j++;
            if (j < i) {
                merge(&f->pairs[j], &f->pairs[i]);
                any = true;
            }
        }
        seen |= bit;
    }
    return any;
}

static bool before(const struct flat *f, uint32_t a, uint32_t b)
{
    int c = compare_keys(&f->pairs[a], &f->pairs[b]);
    return c != 0 ? c < 0 : a < b;
}

static void sink(const struct flat *f, size_t root, size_t n)
{
    uint32_t *order = f->order;
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && before(f, order[child], order[child + 1]))
            child++;
        if (!before(f, order[root], order[child]))
            return;
        uint32_t t = order[root];
        order[root] = order[child];
        order[child] = t;
    }
}

/* Heap sort: no allocation, no input that makes it slow. */
static bool merge_sorted(struct flat *f)
{
    size_t n = f->count;
    bool any = false;
    for (size_t i = 0; i < n; i++)
        f->order[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;)
        sink(f, i, n);
    for (size_t i = n; i-- > 1;) {
        uint32_t t = f->order[0];
        f->order[0] = f->order[i];
        f->order[i] = t;
        sink(f, 0, i);
    }
    for (size_t i = 1, first = 0; i < n; i++) {
        struct flat_pair *a = &f->pairs[f->order[first]], *b = &f->pairs[f->order[i]];
        if (compare_keys(a, b) == 0) {
            merge(a, b);
            any = true;
        } else {
            first = i;
        }
    }
    return any;
}

static void compact(struct flat *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++)
        if (!f->pairs[i].gone)
            f->pairs[kept++] = f->pairs[i];
    f->count = kept;
}

/* Content keys without what is not UTF-8, in f->text. */
static int clean(struct flat *f, const struct slsr_log *log, size_t from, struct slsr_err *err)
{
    static const struct text_rules drop = {TEXT_SEED, SLSR_NL_KEEP, SLSR_UTF8_DROP};
    size_t need = TEXT_SLACK;
    for (size_t i = 0; i < log->field_count; i++)
        need += log->fields[i].key.n;
    if (need > f->text_size) {
        char *text = realloc(f->text, need);
        if (text == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for the keys of one log");
        f->text = text;
        f->text_size = need;
    }
    char *p = f->text;
    for (size_t i = from; i < f->count; i++) {
        char *end = text_put(p, f->pairs[i].key, &drop);
        f->pairs[i].key = (struct slsr_bytes){p, (size_t)(end - p)};
        p = end;
    }
    return 0;
}

/* Content keys that look like a tag's are one: they may replace it. */
static void split_tags(struct flat *f, size_t from)
{
    for (size_t i = from; i < f->count; i++) {
        struct flat_pair *p = &f->pairs[i];
        p->tag = p->key.n >= FLAT_TAG_PREFIX_N &&
                 memcmp(p->key.p, FLAT_TAG_PREFIX, FLAT_TAG_PREFIX_N) == 0;
        if (p->tag)
            p->key =
                (struct slsr_bytes){p->key.p + FLAT_TAG_PREFIX_N, p->key.n - FLAT_TAG_PREFIX_N};
    }
}

/* Leaves out and renames; the time stays at its place, printed or not. */
static void choose(struct flat *f, const struct select *select)
{
    size_t kept = 1;
    struct flat_pair *time = &f->pairs[0];
    f->first = select_wants_time(select) && select_key(select, &time->tag, &time->key) ? 0 : 1;
    for (size_t i = 1; i < f->count; i++) {
        struct flat_pair *p = &f->pairs[i];
        if (select_key(select, &p->tag, &p->key))
            f->pairs[kept++] = *p;
    }
    f->count = kept;
}

int flatten(struct flat *flat, const struct slsr_log *log, bool clean_keys,
            const struct select *select, struct slsr_err *err)
{
    int rc = reserve(flat, 4 + log->tag_count + log->field_count, err);
    if (rc != 0)
        return rc;
    flat->count = 0;
    flat->first = 1;
    int n = snprintf(flat->time_text, sizeof(flat->time_text), "%u", log->time_s);
    add(flat, FLAT_TIME, false, slsr_bytes_of("__time__"),
        (struct slsr_bytes){flat->time_text, (size_t)n});
    add(flat, FLAT_GROUP, false, slsr_bytes_of("__topic__"), log->topic);
    add(flat, FLAT_GROUP, false, slsr_bytes_of("__source__"), log->source);
    if (log->time_ns != 0) {
        n = snprintf(flat->ns_text, sizeof(flat->ns_text), "%u", log->time_ns);
        add(flat, FLAT_NS, false, slsr_bytes_of("__time_ns_part__"),
            (struct slsr_bytes){flat->ns_text, (size_t)n});
    }
    for (size_t i = 0; i < log->tag_count; i++)
        add(flat, FLAT_GROUP, true, log->tags[i].key, log->tags[i].value);
    size_t contents = flat->count;
    for (size_t i = 0; i < log->field_count; i++)
        add(flat, FLAT_CONTENT, false, log->fields[i].key, log->fields[i].value);
    if (clean_keys && (rc = clean(flat, log, contents, err)) != 0)
        return rc;
    split_tags(flat, contents);
    if (select != NULL)
        choose(flat, select);
    if (flat->count <= FLAT_LINEAR_MAX ? merge_linear(flat) : merge_sorted(flat))
        compact(flat);
    return 0;
}

void flat_fini(struct flat *flat)
{
    free(flat->pairs);
    free(flat->order);
    free(flat->text);
    *flat = (struct flat){0};
}
