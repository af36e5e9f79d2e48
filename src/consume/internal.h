/* Indoors of the consume stage: the group and its workers. */
#ifndef CONSUME_INTERNAL_H
#define CONSUME_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "consume/consume.h"

/* One owned shard. The group thread makes and joins it; the worker thread runs it. */
struct worker {
    struct consume *group;
    uint32_t shard;
    pthread_t thread;
    struct slsr_stop stop; /* stop pulling, finish, report, leave */
    _Atomic bool lost;     /* not ours any more: report nothing, discard what is in hand */
    _Atomic bool readonly; /* split or merged: its end must be reported once */
    _Atomic bool done;     /* the thread has finished completely */
};

struct consume {
    struct consume_options o;
    struct slsr_stream stream; /* project and logstore */
    pthread_t thread;
    int wake; /* eventfd: a worker is done */
    struct worker **workers;
    size_t worker_count;
    /* Sending time (monotonic ms) of the last heartbeat that the server answered well. */
    _Atomic int64_t last_beat_ms;
    _Atomic uint64_t pulled_logs, pulled_bytes, dead_logs, dropped_logs;
};

/* shard.c */
void *shard_run(void *worker);
/* group.c */
void *group_run(void *consume);
/* Fence: may a checkpoint still be stored, or could the server have given the shard away? */
bool group_holds(const struct consume *group);

#endif
