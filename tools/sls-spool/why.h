/* Why an order concerns no frame. */
#ifndef SLS_SPOOL_WHY_H
#define SLS_SPOOL_WHY_H

#include "tool.h"

/* "pending, held or dead" of the bits in state.h; static text. */
const char *why_states(unsigned states);
/* Says where the selected frames stand, when none of them is in one of `states` (0: any), or that
 * nothing is selected. Reads them once more. The exit code. */
int why_no_frame(struct tool *tool, unsigned states);

#endif
