/* source.memory: what the pulls of one source may take, all its shards and logstores together.
 *
 * Bodies, decoded logs and frames are buffers that a worker keeps from pull to pull as long as few
 * are busy; it holds tokens for them. A worker asks before it pulls and again, now knowing the
 * size, before it decodes. Who has to wait gives its buffers back first, and so does everybody at
 * the end of a turn while somebody waits. One worker may always go on: a pull larger than the limit
 * passes alone instead of blocking for ever. Any thread; a `held` belongs to one worker. */
#ifndef CONSUME_MEMORY_H
#define CONSUME_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/err.h"
#include "slsrelay/stop.h"

struct memory;

/* The budget that belongs to key (the source); made when there is none. NULL: no memory. */
struct memory *memory_acquire(const void *key, int64_t limit_bytes);
void memory_release(struct memory *memory); /* NULL is fine */
/* Raises *held to want when that fits. */
bool memory_try(struct memory *memory, int64_t *held, int64_t want);
/* The same, but waits until it fits, the longest waiting first, or until no other worker is
 * decoding: then at once and beyond the limit. Needs a descriptor to wait with: else SLSR_ENOMEM.
 * decode: count the caller as decoding until memory_decoded; only a few more than there are
 * processors may at a time. SLSR_ESTOPPED. */
int memory_take(struct memory *memory, struct slsr_stop *stop, int64_t *held, int64_t want,
                bool decode, struct slsr_err *err);
void memory_decoded(struct memory *memory);
/* What the worker really holds now; never waits. */
void memory_set(struct memory *memory, int64_t *held, int64_t bytes);
/* Is somebody waiting? */
bool memory_wanted(struct memory *memory);
/* A worker brings data now, or has come to the end of them. */
void memory_busy(struct memory *memory, bool *busy, bool now);
/* No other worker brings data. */
bool memory_alone(struct memory *memory);
/* So many workers bring data that none should keep buffers between its turns. */
bool memory_crowded(struct memory *memory);
/* No worker brings data. */
bool memory_idle(struct memory *memory);
int64_t memory_used(struct memory *memory);
int64_t memory_limit(const struct memory *memory);

#endif
