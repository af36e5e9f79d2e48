/* Tokens for memory. A waiter sleeps on an eventfd that counts releases; it looks again whenever
 * somebody gave something back. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "consume/memory.h"

#include "base/clock.h"

struct memory {
    struct memory *next;
    const void *key;
    unsigned users;
    int64_t limit, used;
    unsigned waiting, decoding;
    int freed; /* eventfd in semaphore mode: one wake-up per waiter and release */
    pthread_mutex_t lock;
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory *all;

static struct memory *make(const void *key, int64_t limit_bytes)
{
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
