/* Which records arrived, by provenance: exact counts of distinct, duplicate and reordered.
 *
 * The order key inside one (project, logstore, shard) is (cursor, index). Duplicate: the key was
 * seen before. Reordered: a new key below the largest one seen in its shard. Gaps say nothing (the
 * relay may filter), so losses are counted against an expected total only. One thread. */
#ifndef SINK_TALLY_H
#define SINK_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provenance.h"

struct tally_stream {
    char *project;
    char *logstore;
    uint32_t shard;
    uint64_t cursor; /* largest key seen */
    uint32_t index;
    uint64_t distinct;
    uint64_t duplicate;
    uint64_t reordered;
};

struct tally_block; /* 64 neighbouring indexes of one cursor */

struct tally {
    struct tally_stream *streams;
    size_t stream_count;
    size_t last; /* stream of the previous message: mostly the next one's too */
    struct tally_block *blocks;
    size_t block_count;
    size_t block_slots; /* a power of two, or 0 */
    uint64_t distinct;
    uint64_t duplicate;
    uint64_t reordered;
    uint64_t unreadable; /* messages whose provenance could not be read */
};

void tally_init(struct tally *t);
void tally_free(struct tally *t);

/* Counts one message by its provenance, if it has any. False: out of memory. */
bool tally_message(struct tally *t, const char *p, size_t n);
bool tally_add(struct tally *t, const struct provenance *key);

#endif
