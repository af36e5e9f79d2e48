/* spool-crash: a writer whose every frame is known beforehand, and the judge of what it left.
 *
 * Frame k of shard s has one text; the cursor of a shard is the number of its next frame. So a
 * spool can be judged without a record of what was written: each shard's frames must be k, k + 1,
 * ... up to its checkpoint, each once, and the acknowledged checkpoint must not lie above the
 * stored one. */
#ifndef CRASH_H
#define CRASH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "slsrelay/spool.h"

enum { SHARDS = 3, SHARDS_MAX = 8 };

struct job {
    const char *dir;
    uint64_t batches;   /* per shard */
    uint32_t batch_max; /* frames of a batch: 1..batch_max */
    uint32_t frame_max; /* bytes of a frame's text */
    uint64_t seed;
    int64_t max_size;
    bool no_target;           /* keep everything: no reader that acknowledges */
    bool keep_trying;         /* an append or open that fails is tried again in this process */
    const char *acknowledged; /* judge: file with what the writer printed */
};

/* frames.c: what frame k of a shard looks like */
void frame_add(struct slsr_batch *batch, uint32_t shard, uint64_t k, uint32_t frame_max);
bool frame_is(const struct slsr_frame *frame, uint64_t k, uint32_t frame_max);
struct slsr_stream frame_stream(uint32_t shard);
void frame_cursor(char out[SLSR_CURSOR_MAX + 1], uint64_t k);
bool frame_cursor_number(const char *cursor, uint64_t *k);
uint64_t random_next(uint64_t *state);
struct slsr_spool_config job_config(const struct job *job);

int write_run(const struct job *job); /* write.c: exit code */
int judge_run(const struct job *job); /* judge.c: exit code */

#endif
