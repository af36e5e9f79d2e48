/* Marks of progress: what the watchdog and /healthz judge the relay by.
 *
 * A thread that must not get stuck registers itself and marks each turn of its loop. A wait that
 * has an end says so beforehand (progress_wait); one for something that a person does, or that
 * another watched thread does, has none (progress_park). clock_poll and slsr_stop_wait say it by
 * themselves. A thread that hangs (a disk that never answers, a lock that is never released) marks
 * nothing. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calling thread is watched from now on, until progress_end. The name is copied; the kernel
 * shows its first 15 bytes (top -H, core dumps). When more than PROGRESS_MAX threads register, the
 * rest is not watched. */
enum { PROGRESS_MAX = 1024, PROGRESS_NAME = 64 };
void progress_begin(const char *name);
void progress_end(void);
/* "I am alive and got on." One store; nothing in a thread that is not watched. */
void progress_mark(void);
/* "I wait, and am back by then" (milliseconds of clock_mono_ms): silence until then is fine. */
void progress_wait(int64_t until_ms);
/* "I wait for somebody": silence is fine until the next mark. */
void progress_park(void);

struct progress_report {
    int64_t oldest_ms;       /* since the laziest thread should have marked; 0: none is late */
    char who[PROGRESS_NAME]; /* that thread, "nobody" when none is late */
    size_t stuck;            /* how many are late by limit_ms and more */
};
/* Any thread. */
void progress_look(int64_t limit_ms, struct progress_report *out);

#endif
