/* Where frames stand with the targets (--state). */
#ifndef SLS_SPOOL_STATE_H
#define SLS_SPOOL_STATE_H

#include "slsrelay/control.h"

#include "tool.h"

enum { STATE_PENDING = 1, STATE_DELIVERED = 2, STATE_HELD = 4, STATE_DEAD = 8, STATE_SKIPPED = 16 };

/* The bit of a state's name; 0: there is no such state. */
unsigned state_parse(const char *text);
/* The targets that the command means: the one of -t, else all; free with free(). SLSR_EUSAGE when
 * the spool does not know the one that was given. */
int state_targets(struct tool *tool, struct slsr_target_state **out, size_t *count,
                  struct slsr_err *err);
/* Frames in any of these states with the targets that the command means, normalised. */
int state_spans(struct tool *tool, unsigned states, struct slsr_spans *out, struct slsr_err *err);

#endif
