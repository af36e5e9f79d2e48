/* Selection of keys: exact names by a small hash, patterns "prefix*" one after the other. */
#include <stdlib.h>

#include "format/flatten.h"
#include "format/select.h"

enum { SELECT_INCLUDE = 1, SELECT_DROP = 2 };

struct entry {
    bool tag;
    struct slsr_bytes key; /* borrowed: text of select.memory */
    unsigned flags;
    bool renamed, new_tag;
    struct slsr_bytes new_key;
    uint32_t next;
};

struct pattern {
    struct slsr_bytes prefix;
    unsigned flags;
};

struct select {
    struct entry *entries;
    struct pattern *patterns;
    size_t count, pattern_count;
    uint32_t first[64];
    bool any_include, wants_time;
    char *memory;
    size_t used;
};

static void split(struct slsr_bytes *key, bool *tag)
{
    *tag = key->n >= FLAT_TAG_PREFIX_N && memcmp(key->p, FLAT_TAG_PREFIX, FLAT_TAG_PREFIX_N) == 0;
    if (*tag)
        *key = (struct slsr_bytes){key->p + FLAT_TAG_PREFIX_N, key->n - FLAT_TAG_PREFIX_N};
}

static struct entry *find(const struct select *s, bool tag, struct slsr_bytes key)
{
    uint64_t bit = flat_bit(key);
    for (uint32_t n = s->first[__builtin_ctzll(bit)]; n != 0; n = s->entries[n - 1].next)
        if (s->entries[n - 1].tag == tag && slsr_bytes_equal(s->entries[n - 1].key, key))
            return &s->entries[n - 1];
    return NULL;
}

static struct slsr_bytes keep(struct select *s, const char *text)
{
    size_t n = strlen(text);
    char *at = s->memory + s->used;
    memcpy(at, text, n + 1);
    s->used += n + 1;
    return (struct slsr_bytes){at, n};
}

static struct entry *entry_of(struct select *s, const char *text)
{
    struct slsr_bytes key = keep(s, text);
    bool tag;
    if (strcmp(text, "__time__") == 0)
        s->wants_time = true;
    split(&key, &tag);
    struct entry *e = find(s, tag, key);
    if (e != NULL)
        return e;
    uint32_t *first = &s->first[__builtin_ctzll(flat_bit(key))];
    e = &s->entries[s->count++];
    *e = (struct entry){.tag = tag, .key = key, .next = *first};
    *first = (uint32_t)s->count;
    return e;
}

static void add(struct select *s, const char *text, unsigned flag)
{
    size_t n = strlen(text);
    if (n > 0 && text[n - 1] == '*') {
        struct slsr_bytes prefix = keep(s, text);
        prefix.n--;
        s->patterns[s->pattern_count++] = (struct pattern){prefix, flag};
    } else {
        entry_of(s, text)->flags |= flag;
    }
}

static size_t length_of(const struct slsr_texts *texts)
{
    size_t n = 0;
    for (size_t i = 0; i < texts->count; i++)
        n += strlen(texts->items[i]) + 1;
    return n;
}

int select_compile(struct select **out, const struct slsr_format_config *c,
                   const struct slsr_texts *used, struct slsr_err *err)
{
    size_t most = c->include.count + c->exclude.count + c->rename.count + used->count;
    size_t bytes = length_of(&c->include) + length_of(&c->exclude) + length_of(used) + 1;

    *out = NULL;
    if (most == 0)
        return 0;
    for (size_t i = 0; i < c->rename.count; i++)
        bytes += strlen(c->rename.items[i].name) + strlen(c->rename.items[i].value) + 2;
    struct select *s = calloc(1, sizeof(*s));
    if (s != NULL) {
        s->entries = calloc(most, sizeof(*s->entries));
        s->patterns = calloc(most, sizeof(*s->patterns));
        s->memory = malloc(bytes);
    }
    if (s == NULL || s->entries == NULL || s->patterns == NULL || s->memory == NULL) {
        select_free(s);
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    }
    s->any_include = c->include.count > 0;
    for (size_t i = 0; i < c->include.count; i++)
        add(s, c->include.items[i], SELECT_INCLUDE);
    for (size_t i = 0; i < c->rename.count; i++) {
        struct entry *e = entry_of(s, c->rename.items[i].name);
        e->renamed = true;
        e->new_key = keep(s, c->rename.items[i].value);
        split(&e->new_key, &e->new_tag);
        if (e->new_key.n == 0) {
            select_free(s);
            return slsr_fail(err, SLSR_ECONFIG,
                             "format.fields.rename: the new name of \"%s\" is empty",
                             c->rename.items[i].name);
        }
    }
    for (size_t i = 0; i < c->exclude.count; i++)
        add(s, c->exclude.items[i], SELECT_DROP);
    for (size_t i = 0; i < used->count; i++)
        entry_of(s, used->items[i])->flags |= SELECT_DROP;
    *out = s;
    return 0;
}

void select_free(struct select *s)
{
    if (s == NULL)
        return;
    free(s->entries);
    free(s->patterns);
    free(s->memory);
    free(s);
}

/* Does the whole key begin with the prefix? */
static bool matches(struct slsr_bytes prefix, bool tag, struct slsr_bytes key)
{
    if (tag) {
        size_t n = prefix.n < FLAT_TAG_PREFIX_N ? prefix.n : FLAT_TAG_PREFIX_N;
        if (memcmp(prefix.p, FLAT_TAG_PREFIX, n) != 0)
            return false;
        prefix = (struct slsr_bytes){prefix.p + n, prefix.n - n};
    }
    return key.n >= prefix.n && (prefix.n == 0 || memcmp(key.p, prefix.p, prefix.n) == 0);
}

bool select_key(const struct select *s, bool *tag, struct slsr_bytes *key)
{
    const struct entry *e = find(s, *tag, *key);
    unsigned flags = e != NULL ? e->flags : 0;
    for (size_t i = 0; i < s->pattern_count; i++)
        if (matches(s->patterns[i].prefix, *tag, *key))
            flags |= s->patterns[i].flags;
    if ((flags & SELECT_DROP) != 0 || (s->any_include && (flags & SELECT_INCLUDE) == 0))
        return false;
    if (e != NULL && e->renamed) {
        *tag = e->new_tag;
        *key = e->new_key;
    }
    return true;
}

bool select_wants_time(const struct select *s)
{
    return s->wants_time;
}
