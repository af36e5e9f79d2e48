/* Numbered frames for the delivery tests: "<14>1 - h a - - - n=NUMBER; ...", as receiver.c knows
 * them. */
#ifndef STAGE_FRAMES_H
#define STAGE_FRAMES_H

#include "slsrelay/config.h"
#include "slsrelay/spool.h"

/* Each turn is an append that waits for the disk: fewer and longer ones make the filling fast. */
enum { FRAMES_TURN = 400, FRAMES_DIR = 64 };

/* A spool in a new folder of /tmp, which it names in `dir`; frames 1..count are in it. */
void frames_spool(struct slsr_spool **spool, char dir[FRAMES_DIR], unsigned count, unsigned shards);
/* A TCP target "siem" on the loopback interface that settles and tries again fast. */
struct slsr_target_config frames_target(void);

/* Appends frames first, first + 1 ... of different lengths, FRAMES_TURN of each shard in turn.
 * Their sequence is their number when nothing else is in the spool. */
void frames_fill(struct slsr_spool *spool, unsigned first, unsigned count, unsigned shards);
/* The shard of frame `number`. */
static inline unsigned frames_shard(unsigned number, unsigned shards)
{
    return (number - 1) / FRAMES_TURN % shards;
}
/* Descriptors of this process: what a test opens it must close. */
unsigned frames_open_fds(void);
/* Removes a folder of a test. */
void frames_wipe(const char *dir);

#endif
