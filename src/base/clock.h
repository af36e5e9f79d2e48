/* Time (seam: tests may wind it by hand). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void); /* since 1970 */
int64_t clock_mono_ms(void); /* never jumps */
int64_t clock_mono_ns(void);
/* Tests only: from now on both clocks stand still and move by clock_wind. */
void clock_freeze(int64_t wall_ms);
void clock_wind(int64_t ms);

#endif
