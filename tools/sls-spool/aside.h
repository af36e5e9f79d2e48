/* Frames of a replay that its target can never take. One thread. */
#ifndef SLS_SPOOL_ASIDE_H
#define SLS_SPOOL_ASIDE_H

#include "tool.h"

#include "slsrelay/control.h"

struct aside {
    struct slsr_spans spans; /* ascending */
};

/* Notes a frame, once however often it is told, and enters it in the spool's books when they can be
 * written; the first one is said. 0, or SLSR_ENOMEM. */
int aside_add(struct aside *aside, struct slsr_spool *spool, const char *target, uint64_t seq,
              const char *reason, const char *evidence, struct slsr_err *err);
/* How many. */
uint64_t aside_frames(const struct aside *aside);
/* One line to standard error when there are any, of `frames` that were selected. */
void aside_say(const struct aside *aside, uint64_t frames);
void aside_free(struct aside *aside);

#endif
