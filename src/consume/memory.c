/* Tokens for memory. A waiter sleeps on an eventfd that counts releases; it looks again whenever
 * somebody gave something back. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "consume/memory.h"

#include "base/clock.h"

/* Two batches of two workers keep the processors of a small machine busy. Of more, each gives its
 * buffers to the next one while they are warm: what is touched does not grow with the shards. */
enum { CROWD = 4 };

/* More decoders than processors gain nothing, and each has a body and a batch of its own in hand.
 */
enum { DECODERS_MIN = 4 };

struct memory {
    struct memory *next;
    const void *key;
    unsigned users;
    int64_t limit, used;
    unsigned waiting, decoding, busy;
    unsigned decoders; /* that may decode at a time */
    int freed;         /* eventfd in semaphore mode: one wake-up per waiter and release */
    pthread_mutex_t lock;
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory *all;

static struct memory *make(const void *key, int64_t limit_bytes)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct memory *m = calloc(1, sizeof *m);

    if (m == NULL)
        return NULL;
    m->freed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (m->freed < 0) {
        free(m);
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    m->key = key;
    m->limit = limit_bytes;
    m->decoders = processors > DECODERS_MIN - 2 ? (unsigned)processors + 2 : DECODERS_MIN;
    m->next = all;
    all = m;
    return m;
}

struct memory *memory_acquire(const void *key, int64_t limit_bytes)
{
    struct memory *m;

    pthread_mutex_lock(&all_lock);
    for (m = all; m != NULL && m->key != key; m = m->next)
        ;
    if (m == NULL)
        m = make(key, limit_bytes);
    if (m != NULL)
        m->users++;
    pthread_mutex_unlock(&all_lock);
    return m;
}

void memory_release(struct memory *memory)
{
    if (memory == NULL)
        return;
    pthread_mutex_lock(&all_lock);
    if (--memory->users == 0) {
        struct memory **at = &all;

        while (*at != memory)
            at = &(*at)->next;
        *at = memory->next;
        close(memory->freed);
        pthread_mutex_destroy(&memory->lock);
        free(memory);
    }
    pthread_mutex_unlock(&all_lock);
}

/* Under the lock: something was given back. */
static void tell_waiters(struct memory *m)
{
    const uint64_t count = m->waiting;

    if (count > 0 && write(m->freed, &count, sizeof count) < 0) {
        /* the counter is full: it is readable anyway */
    }
}

/* Under the lock. */
static bool grant(struct memory *m, int64_t *held, int64_t want, bool decode, bool patient)
{
    const bool alone = m->decoding == 0 && (decode || m->used == *held);

    if (decode && m->decoding >= m->decoders)
        return false;
    if (want > *held && m->used - *held + want > m->limit && !(patient && alone))
        return false;
    if (want > *held) {
        m->used += want - *held;
        *held = want;
    }
    if (decode)
        m->decoding++;
    return true;
}

bool memory_try(struct memory *memory, int64_t *held, int64_t want)
{
    bool fits;

    pthread_mutex_lock(&memory->lock);
    fits = grant(memory, held, want, false, false);
    pthread_mutex_unlock(&memory->lock);
    return fits;
}

int memory_take(struct memory *memory, struct slsr_stop *stop, int64_t *held, int64_t want,
                bool decode, struct slsr_err *err)
{
    struct pollfd fds[] = {{.fd = memory->freed, .events = POLLIN},
                           {.fd = stop->fd, .events = POLLIN}};
    bool granted;
    uint64_t one;

    pthread_mutex_lock(&memory->lock);
    memory->waiting++;
    while (!(granted = grant(memory, held, want, decode, true)) && !slsr_stop_requested(stop)) {
        pthread_mutex_unlock(&memory->lock);
        clock_poll(fds, 2, INT64_MAX);
        if (read(memory->freed, &one, sizeof one) < 0) {
            /* another waiter took this one */
        }
        pthread_mutex_lock(&memory->lock);
    }
    memory->waiting--;
    pthread_mutex_unlock(&memory->lock);
    return granted ? 0 : slsr_fail(err, SLSR_ESTOPPED, "stopped while waiting for memory");
}

void memory_decoded(struct memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    memory->decoding--;
    tell_waiters(memory);
    pthread_mutex_unlock(&memory->lock);
}

void memory_set(struct memory *memory, int64_t *held, int64_t bytes)
{
    pthread_mutex_lock(&memory->lock);
    memory->used += bytes - *held;
    if (bytes < *held)
        tell_waiters(memory);
    *held = bytes;
    pthread_mutex_unlock(&memory->lock);
}

bool memory_wanted(struct memory *memory)
{
    bool wanted;

    pthread_mutex_lock(&memory->lock);
    wanted = memory->waiting > 0;
    pthread_mutex_unlock(&memory->lock);
    return wanted;
}

void memory_busy(struct memory *memory, bool *busy, bool now)
{
    if (*busy == now)
        return;
    pthread_mutex_lock(&memory->lock);
    memory->busy += now ? 1U : -1U;
    pthread_mutex_unlock(&memory->lock);
    *busy = now;
}

static unsigned busy_now(struct memory *memory)
{
    unsigned busy;

    pthread_mutex_lock(&memory->lock);
    busy = memory->busy;
    pthread_mutex_unlock(&memory->lock);
    return busy;
}

bool memory_crowded(struct memory *memory)
{
    return busy_now(memory) > CROWD;
}

bool memory_idle(struct memory *memory)
{
    return busy_now(memory) == 0;
}

int64_t memory_used(struct memory *memory)
{
    int64_t used;

    pthread_mutex_lock(&memory->lock);
    used = memory->used;
    pthread_mutex_unlock(&memory->lock);
    return used;
}

int64_t memory_limit(const struct memory *memory)
{
    return memory->limit;
}
