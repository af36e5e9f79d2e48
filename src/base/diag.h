/* Our own messages ("diagnostics"; a *log* is always an SLS log). Thread-safe. One line each, text
 * ("<journald priority>" only when stderr is the journal) or JSON. Never pass a secret (I6). */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include "slsrelay/config.h"

/* Before this, messages go to stderr as text at level info. */
int diag_open(const struct slsr_log_config *config, const char *program, struct slsr_err *err);
void diag_reopen(void);
void diag_close(void);
/* Says what is still to be said of storms that are over; call it once in a while. */
void diag_settle(void);
/* Of the same message (fmt, and what stands before the first ": ") a few are said a minute, the
 * others counted: base/storm.h. area and fmt are literals. */
void diag(enum slsr_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
