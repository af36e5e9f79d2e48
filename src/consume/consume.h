/* Stage 1: one consumer of one logstore's consumer group, its shards, and the spool behind them.
 *
 * consume_start returns at once; a group thread beats, learns which shards are ours and runs one
 * worker thread per shard. Everything that the stage knows leaves through the spool; how it fares
 * is told by consume_figures. Rules of the group: docs/sls.md. */
#ifndef CONSUME_CONSUME_H
#define CONSUME_CONSUME_H

#include "slsrelay/config.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

#include "consume/intake.h" /* part of the face: a preview takes a pull in without a spool */

struct client;
struct consume;

/* Opens a client; what client_open does. Tests put a scripted service in its place. */
typedef int consume_open(struct client **out, const struct slsr_source_config *source,
                         const char *consumer, struct slsr_stop *stop, struct slsr_err *err);

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
    consume_open *open; /* NULL: client_open */
};

int consume_start(struct consume **out, const struct consume_options *options,
                  struct slsr_err *err);
/* Waits for the end that stop or abort brings, frees. NULL is fine. */
void consume_join(struct consume *consume);
/* "<host>-<8 hex digits of the spool path's hash>": the same after a restart, so that shards come
 * back at once, and different for two relays on one machine. */
void consume_default_name(const char *spool_path, char *out, size_t size);

/* How one part of the stage fares: one word for machines, one sentence for people.
 *
 * state   "ok", "starting", "leaving", "left", or what is wrong: "network" "server" "quota"
 * "credentials" "clock" "not_found" "lost" "cursor" "answer" "request" "spool_full" "disk"
 * "failed". The words of pull_errors_total{code} are the same. error   the last sentence, "" when
 * all is well. Never holds a secret. since_ms  wall clock of the last change of state. */
enum { CONSUME_STATE_SIZE = 16, CONSUME_ERROR_SIZE = 320 };
struct consume_note {
    char state[CONSUME_STATE_SIZE];
    char error[CONSUME_ERROR_SIZE];
    int64_t since_ms;
};
struct consume_shard_figures {
    uint32_t shard;
    bool readonly;
    int64_t lag_s; /* -1 unknown */
    int64_t
        pulled_to_ms; /* wall clock: what the service received before has been pulled; 0 unknown */
    struct consume_note note;
};
struct consume_figures {
    char project[SLSR_NAME_MAX + 1];
    char logstore[SLSR_NAME_MAX + 1];
    char group[SLSR_NAME_MAX + 1];
    char consumer[SLSR_NAME_MAX + 1];
    struct consume_note note; /* of the group: heartbeats, membership */
    int64_t beat_age_ms;      /* since the sending of the last good heartbeat, -1: none yet */
    uint64_t pulled_logs, pulled_bytes, dead_logs, dropped_logs; /* since the start */
    uint64_t memory_bytes; /* held by the shards of this source now, source.memory is its limit */
    struct consume_shard_figures *shards; /* that we work on; sorted */
    size_t shard_count;
};
/* Any thread, between start and join. Cheap: copies under a lock. Free with
 * consume_figures_free. SLSR_ENOMEM. */
int consume_figures(struct consume *consume, struct consume_figures *out, struct slsr_err *err);
void consume_figures_free(struct consume_figures *figures);
/* The word of an error code, see struct consume_note. Static text. */
const char *consume_state(int code);

#endif
