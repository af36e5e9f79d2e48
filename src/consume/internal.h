/* Indoors of the consume stage: the group and its workers. */
#ifndef CONSUME_INTERNAL_H
#define CONSUME_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "consume/consume.h"
#include "consume/memory.h"

/* One owned shard. The group thread makes and joins it; the worker thread runs it. */
struct worker {
    struct consume *group;
    uint32_t shard;
    pthread_t thread;
    struct slsr_stop stop; /* stop pulling, finish, report, leave */
    _Atomic bool lost;     /* not ours any more: report nothing, discard what is in hand */
    _Atomic bool readonly; /* split or merged: its end must be reported once */
    _Atomic bool done;     /* the thread has finished completely */
    _Atomic int64_t lag_s;
    _Atomic int64_t pulled_to_ms;
    _Atomic int64_t waits_ms; /* wall clock: since when for memory of other workers; 0: not */
    struct consume_note note; /* under group->lock */
};

struct consume {
    struct consume_options o;
    struct slsr_stream stream; /* project and logstore */
    pthread_t thread;
    unsigned failed;      /* calls of the group thread in a row */
    int wake;             /* eventfd: a worker is done, or a beat is wanted before its time */
    _Atomic bool hurry;   /* the latter */
    pthread_mutex_t lock; /* workers, worker_count, all notes */
    struct worker **workers;
    size_t worker_count; /* written by the group thread only, which reads it without the lock */
    struct consume_note note;
    struct memory *memory; /* shared by all consumers of the source */
    /* Sending time (monotonic ms) of the last heartbeat that the server answered well; 0 none. */
    _Atomic int64_t last_beat_ms;
    _Atomic int64_t held_from_ms; /* the same by the clock that a suspended machine's server sees */
    _Atomic uint64_t pulled_logs, pulled_bytes, dead_logs, dropped_logs;
};

/* shard.c */
void *shard_run(void *worker);
/* group.c */
void *group_run(void *consume);
/* Fence: milliseconds for which no server can yet have given our shards away; <= 0: a checkpoint
 * may not be stored, frames not spooled. Counted from the sending of the last good beat. */
int64_t group_holds_ms(const struct consume *group);
/* Any thread: something has changed that the server should hear of soon. */
void group_hurry(struct consume *group);
/* figures.c: state and sentence; err NULL: all is well, in the given words. Takes the lock. */
void note_set(struct consume *group, struct consume_note *note, const char *state,
              const struct slsr_err *err);

#endif
