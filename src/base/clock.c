/* Time from the kernel, or from a test's hand. */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "base/clock.h"
#include "base/progress.h"

static _Atomic bool frozen;
static _Atomic int64_t frozen_wall_ms;
static _Atomic int64_t frozen_mono_ms;
static _Atomic int64_t frozen_suspended_ms;

enum { LONGEST_POLL_MS = 60000, FROZEN_POLL_NS = 100 * 1000 };

/* With frozen clocks: who waits, for what, until when. Entries live on the waiters' stacks. */
struct waiter {
    struct waiter *next;
    const struct pollfd *fds;
    nfds_t count;
    int64_t until_ms;
};
static pthread_mutex_t waiters_lock = PTHREAD_MUTEX_INITIALIZER;
static struct waiter *waiters;

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

int64_t clock_boot_ms(void)
{
    return frozen ? frozen_mono_ms + frozen_suspended_ms : read_ns(CLOCK_BOOTTIME) / 1000000;
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

void clock_suspend(int64_t ms)
{
    frozen_wall_ms += ms;
    frozen_suspended_ms += ms;
}

static int frozen_poll(struct pollfd *fds, nfds_t count, int64_t until_ms)
{
    const struct timespec slice = {.tv_nsec = FROZEN_POLL_NS};
    struct waiter self = {.fds = fds, .count = count, .until_ms = until_ms};
    int ready;

    pthread_mutex_lock(&waiters_lock);
    self.next = waiters;
    waiters = &self;
    pthread_mutex_unlock(&waiters_lock);
    do {
        ready = ppoll(fds, count, &slice, NULL);
    } while (ready == 0 && clock_mono_ms() < until_ms);
    pthread_mutex_lock(&waiters_lock);
    for (struct waiter **at = &waiters; *at != NULL; at = &(*at)->next)
        if (*at == &self) {
            *at = self.next;
            break;
        }
    pthread_mutex_unlock(&waiters_lock);
    return ready < 0 ? 0 : ready;
}

int clock_poll(struct pollfd *fds, nfds_t count, int64_t until_ms)
{
    const int64_t now_ms = clock_mono_ms();
    const int64_t left = until_ms - now_ms;
    const int wait = left < 0 ? 0 : left > LONGEST_POLL_MS ? LONGEST_POLL_MS : (int)left;
    int ready;

    progress_wait(now_ms + wait);
    ready = frozen && left > 0 ? frozen_poll(fds, count, until_ms) : poll(fds, count, wait);
    progress_mark();
    return ready < 0 ? 0 : ready;
}

/* Will it wake by itself? */
static bool waking(const struct waiter *w, int64_t now_ms)
{
    if (w->until_ms <= now_ms)
        return true;
    for (nfds_t i = 0; i < w->count; i++) {
        struct pollfd copy = {.fd = w->fds[i].fd, .events = w->fds[i].events};

        if (poll(&copy, 1, 0) != 0)
            return true;
    }
    return false;
}

bool clock_step(unsigned expected, int64_t limit_ms)
{
    const int64_t now_ms = clock_mono_ms();
    int64_t next_ms = limit_ms;
    unsigned asleep = 0;

    pthread_mutex_lock(&waiters_lock);
    for (const struct waiter *w = waiters; w != NULL; w = w->next) {
        if (waking(w, now_ms))
            break;
        asleep++;
        if (w->until_ms < next_ms)
            next_ms = w->until_ms;
    }
    if (asleep == expected && next_ms > now_ms)
        clock_wind(next_ms - now_ms);
    pthread_mutex_unlock(&waiters_lock);
    return asleep == expected;
}
