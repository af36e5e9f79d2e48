/* Marks of progress: what the watchdog and /healthz judge the relay by.
 *
 * A thread that must not get stuck registers itself and marks each turn of its loop. Waiting is
 * progress as long as the wait comes back: clock_poll and slsr_stop_wait mark by themselves. A
 * thread that hangs (a disk that never answers, a lock that is never released) stops marking. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calling thread is watched from now on, until progress_end. The name is copied. When more than
 * PROGRESS_MAX threads register, the rest is not watched. */
enum { PROGRESS_MAX = 1024 };
void progress_begin(const char *name);
void progress_end(void);
/* "I am alive and got on." One store; nothing in a thread that is not watched. */
void progress_mark(void);
/* Milliseconds since the laziest watched thread marked; its name into who. 0 when nobody is
 * watched. Any thread. */
int64_t progress_oldest_ms(char *who, size_t size);

#endif
