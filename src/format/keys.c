/* Keys that came before, with their text. HOT (tests/bench/bench_format.c "format").
 *
 * Logs of a store repeat a few dozen keys, mostly in the same order. Each key is written once, as
 * "||key=" or as `,"key":"`. A log that begins like the one before costs one comparison and one
 * short copy for each key. From the first difference on each key leads to the one that followed it
 * the last time, and a bit for each says whether all are different. A key that is new is looked up
 * and added; one that may not stand here (long, or beginning with "__") sends the log the long way.
 * When the table is full and many keys are not found, it starts anew. */
#include "format/clean.h"
#include "format/plan.h"

enum { PROBES = 8, MISSES_MAX = 256 };

static size_t slot_of(struct slsr_bytes key)
{
    uint32_t h = 2166136261U;
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (uint8_t)key.p[i]) * 16777619U;
    return (h ^ h >> 15) % KNOWN_TABLE;
}

static inline bool same_key(const struct known_key *known, struct slsr_bytes key)
{
    if (known->n != key.n || key.n == 0)
        return false;
    if (key.n < 4)
        return known->key[0] == key.p[0] && known->key[key.n / 2] == key.p[key.n / 2] &&
               known->key[key.n - 1] == key.p[key.n - 1];
    if (key.n < 8) {
        uint32_t e, f, g, h;
        memcpy(&e, known->key, 4);
        memcpy(&f, key.p, 4);
        memcpy(&g, known->key + key.n - 4, 4);
        memcpy(&h, key.p + key.n - 4, 4);
        return ((e ^ f) | (g ^ h)) == 0;
    }
    uint64_t a, b, c, d;
    memcpy(&a, known->key, 8);
    memcpy(&b, key.p, 8);
    memcpy(&c, known->key + key.n - 8, 8);
    memcpy(&d, key.p + key.n - 8, 8);
    return ((a ^ b) | (c ^ d)) == 0 &&
           (key.n <= 16 || memcmp(known->key + 8, key.p + 8, key.n - 16) == 0);
}

static void forget(struct known_keys *keys)
{
    keys->count = keys->misses = keys->shape = 0;
    keys->first = KNOWN_NONE;
    memset(keys->table, KNOWN_NONE, sizeof(keys->table));
}

void keys_init(struct format_plan *plan)
{
    forget(&plan->known);
    /* The other ways of quoting look at every value anyway. */
    const bool kv =
        plan->body == SLSR_BODY_KV && plan->sep_n <= KNOWN_SEP_MAX &&
        (plan->quote == SLSR_KV_NONE || (plan->quote == SLSR_KV_AUTO && !plan->sep_always));
    plan->known.on =
        (kv || plan->body == SLSR_BODY_JSON) && plan->protocol != SLSR_SEED && plan->select == NULL;
}

static uint8_t add(const struct format_plan *plan, struct known_keys *keys, struct slsr_bytes key)
{
    /* Written twice at most, plain and in quotes. */
    char made[KNOWN_SEP_MAX + 8 + KNOWN_KEY_MAX * TEXT_GROWTH + TEXT_SLACK + 4];
    struct known_key *known = &keys->items[keys->count];
    char *end =
        plan->body == SLSR_BODY_JSON ? json_put_key(plan, made, key) : kv_put_key(plan, made, key);
    if ((size_t)(end - made) > sizeof(known->text))
        return KNOWN_NONE;
    memcpy(known->key, key.p, key.n);
    known->n = (uint8_t)key.n;
    known->text_n = (uint8_t)(end - made);
    memcpy(known->text, made, known->text_n);
    known->next = KNOWN_NONE;
    return (uint8_t)keys->count++;
}

/* Number of a key, or KNOWN_NONE. */
static __attribute__((noinline)) uint8_t find(const struct format_plan *plan,
                                              struct known_keys *keys, struct slsr_bytes key)
{
    if (key.n == 0 || key.n > KNOWN_KEY_MAX || (key.n >= 2 && memcmp(key.p, "__", 2) == 0))
        return KNOWN_NONE;
    size_t at = slot_of(key);
    for (int i = 0; i < PROBES; i++, at = (at + 1) % KNOWN_TABLE) {
        uint8_t id = keys->table[at];
        if (id != KNOWN_NONE) {
            if (same_key(&keys->items[id], key))
                return id;
            continue;
        }
        if (keys->count < KNOWN_MAX)
            return keys->table[at] = add(plan, keys, key);
        break;
    }
    keys->misses++;
    return KNOWN_NONE;
}

/* From field `i` on nothing is as it was in the log before. */
static __attribute__((noinline)) bool match_links(const struct format_plan *plan,
                                                  struct known_keys *keys,
                                                  const struct slsr_log *log, size_t i)
{
    uint64_t seen[KNOWN_MAX / 64] = {0};
    uint8_t *link = i == 0 ? &keys->first : &keys->items[keys->ids[i - 1]].next;
    for (size_t k = 0; k < i; k++)
        seen[keys->ids[k] / 64] |= UINT64_C(1) << (keys->ids[k] % 64);
    for (keys->shape = i; i < log->field_count; keys->shape = ++i) {
        struct slsr_bytes key = log->fields[i].key;
        uint8_t id = *link;
        if (id == KNOWN_NONE || !same_key(&keys->items[id], key)) {
            id = find(plan, keys, key);
            if (id == KNOWN_NONE)
                return false;
            *link = id;
        }
        uint64_t bit = UINT64_C(1) << (id % 64);
        if ((seen[id / 64] & bit) != 0)
            return false; /* twice in one log: the last one counts */
        seen[id / 64] |= bit;
        keys->ids[i] = id;
        keys->bytes += key.n + log->fields[i].value.n;
        link = &keys->items[id].next;
    }
    return true;
}

bool keys_match(struct format_plan *plan, const struct slsr_log *log)
{
    struct known_keys *keys = &plan->known;
    const struct slsr_pair *fields = log->fields;
    size_t count = log->field_count, bytes = 0, i = 0;
    if (!keys->on || !plan->tags_distinct || count > KNOWN_MAX)
        return false;
    if (keys->misses > MISSES_MAX)
        forget(keys);
    size_t alike = count < keys->shape ? count : keys->shape;
    while (i < alike && same_key(&keys->items[keys->ids[i]], fields[i].key)) {
        bytes += fields[i].key.n + fields[i].value.n;
        i++;
    }
    keys->bytes = bytes;
    return i == count || match_links(plan, keys, log, i);
}

static inline char *put_known(char *out, const struct known_key *known)
{
    if (known->text_n <= TEXT_SLACK)
        memcpy(out, known->text, TEXT_SLACK);
    else
        memcpy(out, known->text, sizeof(known->text));
    return out + known->text_n;
}

char *keys_put_kv(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    const struct known_keys *keys = &plan->known;
    const bool bare = plan->quote == SLSR_KV_NONE;
    const char mark = (char)(bare ? 0 : plan->sep[0]); /* 0 is never clean */
    for (size_t i = 0; i < log->field_count; i++) {
        struct slsr_bytes value = log->fields[i].value;
        out = put_known(out, &keys->items[keys->ids[i]]);
        if (clean_copy(out, value, mark, mark) && (bare || value.n == 0 || *value.p != '"'))
            out += value.n;
        else
            out = kv_put_value(plan, out, value);
    }
    return out;
}

char *keys_put_json(const struct format_plan *plan, char *out, const struct slsr_log *log)
{
    const struct known_keys *keys = &plan->known;
    for (size_t i = 0; i < log->field_count; i++) {
        struct slsr_bytes value = log->fields[i].value;
        out = put_known(out, &keys->items[keys->ids[i]]);
        if (clean_copy(out, value, '"', '\\'))
            out += value.n;
        else
            out = text_put(out, value, &plan->rules);
        *out++ = '"';
    }
    return out;
}
