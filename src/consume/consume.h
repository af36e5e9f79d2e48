/* Stage 1: one consumer of one logstore's consumer group, its shards, and the spool behind them.
 *
 * consume_start returns at once; a group thread beats, learns which shards are ours and runs one
 * worker thread per shard. Everything that the stage knows leaves through the spool. */
#ifndef CONSUME_CONSUME_H
#define CONSUME_CONSUME_H

#include "slsrelay/config.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

#include "consume/intake.h" /* part of the face: a preview takes a pull in without a spool */

struct consume;

struct consume_options {
    const struct slsr_source_config *source; /* borrowed, like everything here */
    const char *logstore;
    const char *consumer; /* stable name inside the group */
    const struct slsr_format_config *format;
    struct slsr_spool *spool;
    struct slsr_stop *stop;  /* graceful: finish the batch in hand, store checkpoints, leave */
    struct slsr_stop *abort; /* at once */
    /* A condition that only a person can mend (class STOP). Called from any thread, once or more.
     */
    void (*fatal)(void *ctx, const struct slsr_err *err);
    void *ctx;
};

int consume_start(struct consume **out, const struct consume_options *options,
                  struct slsr_err *err);
/* Waits for the end that stop or abort brings, frees. NULL is fine. */
void consume_join(struct consume *consume);
/* "<host>-<8 hex digits of the spool path's hash>": the same after a restart, so that shards come
 * back at once, and different for two relays on one machine. */
void consume_default_name(const char *spool_path, char *out, size_t size);

#endif
