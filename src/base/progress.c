/* One slot per watched thread; marks are plain atomic stores of the monotonic clock. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"

static struct {
    char name[48];
    bool used;
    _Atomic int64_t marked_ms;
} slots[PROGRESS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int mine = -1;

void progress_begin(const char *name)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; mine < 0 && i < PROGRESS_MAX; i++)
        if (!slots[i].used) {
            snprintf(slots[i].name, sizeof slots[i].name, "%s", name);
            slots[i].used = true;
            mine = i;
        }
    pthread_mutex_unlock(&lock);
    progress_mark();
}

void progress_end(void)
{
    pthread_mutex_lock(&lock);
    if (mine >= 0)
        slots[mine].used = false;
    mine = -1;
    pthread_mutex_unlock(&lock);
}

void progress_mark(void)
{
    if (mine >= 0)
        atomic_store_explicit(&slots[mine].marked_ms, clock_mono_ms(), memory_order_relaxed);
}

int64_t progress_oldest_ms(char *who, size_t size)
{
    const int64_t now = clock_mono_ms();
    int64_t oldest = 0;

    snprintf(who, size, "nobody");
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PROGRESS_MAX; i++) {
        const int64_t age =
            slots[i].used ? now - atomic_load_explicit(&slots[i].marked_ms, memory_order_relaxed)
                          : 0;

        if (age > oldest) {
            oldest = age;
            snprintf(who, size, "%s", slots[i].name);
        }
    }
    pthread_mutex_unlock(&lock);
    return oldest;
}
