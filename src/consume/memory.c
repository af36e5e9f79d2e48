/* Tokens for memory. Who gives something back looks through the waiting ones, oldest first, and
 * wakes only those that it could grant what they want: each sleeps on an eventfd of its own. (One
 * eventfd for all woke 60 shards for each batch.) */
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

/* Of somebody who waits; between two waits among the spare ones. */
struct waiter {
    struct waiter *next;
    int fd;
    int64_t *held, want;
    bool decode, granted;
};

struct memory {
    struct memory *next;
    const void *key;
    unsigned users;
    int64_t limit, used;
    unsigned decoding, busy;
    unsigned decoders; /* that may decode at a time */
    struct waiter *first;
    struct waiter *spare;
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
        while (memory->spare != NULL) {
            struct waiter *spare = memory->spare;

            memory->spare = spare->next;
            close(spare->fd);
            free(spare);
        }
        pthread_mutex_destroy(&memory->lock);
        free(memory);
    }
    pthread_mutex_unlock(&all_lock);
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

/* Under the lock: something was given back. The oldest that fits comes first; a later one passes
 * it if that does not fit. */
static void serve(struct memory *m)
{
    const uint64_t one = 1;

    for (struct waiter *w = m->first; w != NULL; w = w->next) {
        if (w->granted || !grant(m, w->held, w->want, w->decode, true))
            continue;
        w->granted = true;
        if (write(w->fd, &one, sizeof one) < 0) {
            /* an eventfd at zero takes a one */
        }
    }
}

/* Under the lock. NULL: no memory, no descriptor. */
static struct waiter *join(struct memory *m)
{
    struct waiter *w = m->spare;
    struct waiter **last = &m->first;

    if (w != NULL) {
        m->spare = w->next;
    } else {
        w = malloc(sizeof *w);
        if (w == NULL)
            return NULL;
        w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (w->fd < 0) {
            free(w);
            return NULL;
        }
    }
    w->next = NULL;
    while (*last != NULL)
        last = &(*last)->next;
    *last = w;
    return w;
}

/* Under the lock. */
static void leave(struct memory *m, struct waiter *w)
{
    struct waiter **at = &m->first;
    uint64_t count;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (read(w->fd, &count, sizeof count) < 0) {
        /* stopped before anything was granted */
    }
    w->next = m->spare;
    m->spare = w;
}

/* Under the lock, which is let go meanwhile. */
static bool wait_for_grant(struct memory *m, struct waiter *w, struct slsr_stop *stop)
{
    struct pollfd fds[] = {{.fd = w->fd, .events = POLLIN}, {.fd = stop->fd, .events = POLLIN}};
    bool granted;

    pthread_mutex_unlock(&m->lock);
    do
        clock_poll(fds, 2, INT64_MAX);
    while ((fds[0].revents & POLLIN) == 0 && !slsr_stop_requested(stop));
    pthread_mutex_lock(&m->lock);
    granted = w->granted;
    leave(m, w);
    return granted;
}

int memory_take(struct memory *memory, struct slsr_stop *stop, int64_t *held, int64_t want,
                bool decode, struct slsr_err *err)
{
    struct waiter *w = NULL;
    bool granted;
    bool waits;

    pthread_mutex_lock(&memory->lock);
    granted = grant(memory, held, want, decode, true);
    waits = !granted && !slsr_stop_requested(stop);
    if (waits)
        w = join(memory);
    if (w != NULL) {
        w->held = held;
        w->want = want;
        w->decode = decode;
        w->granted = false;
        granted = wait_for_grant(memory, w, stop);
    }
    pthread_mutex_unlock(&memory->lock);
    if (granted)
        return 0;
    return waits && w == NULL ? slsr_fail(err, SLSR_ENOMEM, "no descriptor to wait for memory with")
                              : slsr_fail(err, SLSR_ESTOPPED, "stopped while waiting for memory");
}

void memory_decoded(struct memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    memory->decoding--;
    serve(memory);
    pthread_mutex_unlock(&memory->lock);
}

void memory_set(struct memory *memory, int64_t *held, int64_t bytes)
{
    pthread_mutex_lock(&memory->lock);
    const bool less = bytes < *held;

    memory->used += bytes - *held;
    *held = bytes;
    if (less)
        serve(memory);
    pthread_mutex_unlock(&memory->lock);
}

bool memory_wanted(struct memory *memory)
{
    bool wanted;

    pthread_mutex_lock(&memory->lock);
    wanted = memory->first != NULL;
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

bool memory_alone(struct memory *memory)
{
    return busy_now(memory) <= 1;
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
