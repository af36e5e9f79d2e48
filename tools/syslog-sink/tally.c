/* Which records arrived. HOT: runs once a message with provenance.
 *
 * One open-addressing table for all shards; an entry is 24 bytes and holds a bitmap of 64 indexes
 * of one cursor, so a judge of tests is exact (no hashes instead of keys) and ten million records
 * of well filled log groups take a few megabytes, 480 in the worst case. */
#include "tally.h"

#include <stdlib.h>
#include <string.h>

/* A project has at most some hundred shards; more streams than this are an attack or noise. */
enum { STREAMS_MAX = 4096, FIRST_SLOTS = 1024 };

struct tally_block {
    uint64_t cursor;
    uint32_t stream;
    uint32_t group; /* index / 64 */
    uint64_t seen;  /* one bit an index; 0 = this slot is free */
};

void tally_init(struct tally *t)
{
    *t = (struct tally){0};
}

void tally_free(struct tally *t)
{
    for (size_t i = 0; i < t->stream_count; i++) {
        free(t->streams[i].project);
        free(t->streams[i].logstore);
    }
    free(t->streams);
    free(t->blocks);
    tally_init(t);
}

static bool is_stream(const struct tally_stream *s, const struct provenance *key)
{
    return s->shard == key->shard && strcmp(s->logstore, key->logstore) == 0 &&
           strcmp(s->project, key->project) == 0;
}

static struct tally_stream *new_stream(struct tally *t, const struct provenance *key)
{
    struct tally_stream s = {
        .project = strdup(key->project), .logstore = strdup(key->logstore), .shard = key->shard};
    struct tally_stream *grown = NULL;

    if (s.project != NULL && s.logstore != NULL)
        grown = realloc(t->streams, (t->stream_count + 1) * sizeof s);
    if (grown == NULL) {
        free(s.project);
        free(s.logstore);
        return NULL;
    }
    t->streams = grown;
    t->last = t->stream_count++;
    t->streams[t->last] = s;
    return &t->streams[t->last];
}

static struct tally_stream *find_stream(struct tally *t, const struct provenance *key)
{
    if (t->last < t->stream_count && is_stream(&t->streams[t->last], key))
        return &t->streams[t->last];
    for (size_t i = 0; i < t->stream_count; i++) {
        if (is_stream(&t->streams[i], key)) {
            t->last = i;
            return &t->streams[i];
        }
    }
    return NULL;
}

/* The finalizer of splitmix64: cursors and indexes are dense, so low bits alone would cluster. */
static size_t slot_of(const struct tally_block *b, size_t slots)
{
    uint64_t x = b->cursor * 0x9e3779b97f4a7c15u + ((uint64_t)b->stream << 32 | b->group);

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (size_t)(x ^ (x >> 31)) & (slots - 1);
}

static struct tally_block *probe(struct tally_block *blocks, size_t slots,
                                 const struct tally_block *want)
{
    size_t i = slot_of(want, slots);

    while (blocks[i].seen != 0 &&
           (blocks[i].cursor != want->cursor || blocks[i].stream != want->stream ||
            blocks[i].group != want->group))
        i = (i + 1) & (slots - 1);
    return &blocks[i];
}

/* Keeps the table at most half full. */
static bool make_room(struct tally *t)
{
    size_t slots = t->block_slots == 0 ? FIRST_SLOTS : t->block_slots * 2;
    struct tally_block *grown = NULL;

    if (t->block_slots != 0 && t->block_count < t->block_slots / 2)
        return true;
    grown = calloc(slots, sizeof *grown);
    if (grown == NULL)
        return false;
    for (size_t i = 0; i < t->block_slots; i++)
        if (t->blocks[i].seen != 0)
            *probe(grown, slots, &t->blocks[i]) = t->blocks[i];
    free(t->blocks);
    t->blocks = grown;
    t->block_slots = slots;
    return true;
}

static void count_new(struct tally *t, struct tally_stream *s, const struct provenance *key)
{
    bool below = key->cursor < s->cursor || (key->cursor == s->cursor && key->index < s->index);

    t->distinct++;
    s->distinct++;
    if (s->distinct > 1 && below) {
        t->reordered++;
        s->reordered++;
        return;
    }
    s->cursor = key->cursor;
    s->index = key->index;
}

bool tally_add(struct tally *t, const struct provenance *key)
{
    struct tally_stream *s = find_stream(t, key);
    struct tally_block want = {.cursor = key->cursor, .group = key->index / 64};
    uint64_t bit = (uint64_t)1 << (key->index % 64);
    struct tally_block *slot = NULL;

    if (s == NULL && t->stream_count == STREAMS_MAX) {
        t->unreadable++;
        return true;
    }
    if (s == NULL)
        s = new_stream(t, key);
    if (s == NULL || !make_room(t))
        return false;
    want.stream = (uint32_t)(s - t->streams);
    slot = probe(t->blocks, t->block_slots, &want);
    if (slot->seen == 0) {
        *slot = want;
        t->block_count++;
    }
    if ((slot->seen & bit) != 0) {
        t->duplicate++;
        s->duplicate++;
    } else {
        slot->seen |= bit;
        count_new(t, s, key);
    }
    return true;
}

bool tally_message(struct tally *t, const char *p, size_t n)
{
    struct provenance key;
    int found = provenance_find(p, n, &key);

    if (found == 0)
        return true;
    if (found < 0) {
        t->unreadable++;
        return true;
    }
    return tally_add(t, &key);
}
