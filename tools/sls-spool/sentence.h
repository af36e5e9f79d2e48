/* The screen of `status`: a sentence for the spool, one per target that names the cause. */
#ifndef SLS_SPOOL_SENTENCE_H
#define SLS_SPOOL_SENTENCE_H

#include "figures.h"

/* 0 or an error of the spool's books. */
int sentence_status(struct tool *tool, const struct slsr_status *figures, struct slsr_err *err);

#endif
