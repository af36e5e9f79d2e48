/* One slot per watched thread; a mark is a plain atomic store: until when silence is fine, by the
 * monotonic clock. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/progress.h"

static struct {
    char name[PROGRESS_NAME];
    bool used;
    _Atomic int64_t marked_ms;
} slots[PROGRESS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int mine = -1;

void progress_begin(const char *name)
{
    char brief[16]; /* what the kernel takes */

    snprintf(brief, sizeof brief, "%.15s", name);
    pthread_setname_np(pthread_self(), brief);
    pthread_mutex_lock(&lock);
    for (int i = 0; mine < 0 && i < PROGRESS_MAX; i++)
        if (!slots[i].used) {
            snprintf(slots[i].name, sizeof slots[i].name, "%s", name);
            slots[i].used = true;
            mine = i;
            progress_mark(); /* before anybody looks at what the last user left */
        }
    pthread_mutex_unlock(&lock);
}

void progress_end(void)
{
    pthread_mutex_lock(&lock);
    if (mine >= 0)
        slots[mine].used = false;
    mine = -1;
    pthread_mutex_unlock(&lock);
}

void progress_wait(int64_t until_ms)
{
    if (mine >= 0)
        atomic_store_explicit(&slots[mine].marked_ms, until_ms, memory_order_relaxed);
}

void progress_mark(void)
{
    if (mine >= 0)
        progress_wait(clock_mono_ms());
}

void progress_park(void)
{
    progress_wait(INT64_MAX);
}

void progress_look(int64_t limit_ms, struct progress_report *out)
{
    const int64_t now = clock_mono_ms();

    *out = (struct progress_report){.who = "nobody"};
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PROGRESS_MAX; i++) {
        int64_t marked;

        if (!slots[i].used)
            continue;
        marked = atomic_load_explicit(&slots[i].marked_ms, memory_order_relaxed);
        if (marked >= now)
            continue;
        out->stuck += now - marked >= limit_ms;
        if (now - marked > out->oldest_ms) {
            out->oldest_ms = now - marked;
            memcpy(out->who, slots[i].name, sizeof out->who);
        }
    }
    pthread_mutex_unlock(&lock);
}
