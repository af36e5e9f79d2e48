/* Time from the kernel, or from a test's hand. */
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"

static _Atomic bool frozen;
static _Atomic int64_t frozen_wall_ms;
static _Atomic int64_t frozen_mono_ms;

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    return frozen ? frozen_wall_ms : read_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clock_mono_ms(void)
{
    return frozen ? frozen_mono_ms : read_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t clock_mono_ns(void)
{
    return frozen ? frozen_mono_ms * 1000000 : read_ns(CLOCK_MONOTONIC);
}

void clock_freeze(int64_t wall_ms)
{
    frozen_wall_ms = wall_ms;
    frozen_mono_ms = read_ns(CLOCK_MONOTONIC) / 1000000;
    frozen = true;
}

void clock_wind(int64_t ms)
{
    frozen_wall_ms += ms;
    frozen_mono_ms += ms;
}
