/* Time (seam: tests may wind it by hand). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

int64_t clock_wall_ms(void); /* since 1970 */
int64_t clock_mono_ms(void); /* never jumps */
int64_t clock_mono_ns(void);
int64_t clock_boot_ms(void); /* never jumps, and goes on while the machine is suspended */
/* poll() until the monotonic clock shows until_ms: number of ready descriptors, 0 when it is time
 * or a signal came. Every wait that a hand-wound clock should govern goes through here. */
int clock_poll(struct pollfd *fds, nfds_t count, int64_t until_ms);
/* Tests only: from now on both clocks stand still and move by clock_wind. */
void clock_freeze(int64_t wall_ms);
void clock_wind(int64_t ms);
/* Tests only, clocks frozen: the machine was suspended for so long. */
void clock_suspend(int64_t ms);
/* Tests only: when exactly `waiters` threads sit in clock_poll, none of them about to wake, winds
 * to the earliest moment that one of them waits for, but not past limit_ms (monotonic). False:
 * somebody still works, nothing was wound. A test that knows its threads thus runs days in
 * milliseconds and no slow machine can change the order of things. */
bool clock_step(unsigned waiters, int64_t limit_ms);

#endif
