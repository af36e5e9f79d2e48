/* A stack of idle blocks; the newest at its end. Few enough to be looked through. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/warm.h"

enum { BLOCKS = 64 };
enum { HUGE_PAGE = 2 * 1024 * 1024, HUGE_FROM = 2 * HUGE_PAGE };

/* A sanitizer shall see the use of what was given back. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS 0
#endif
#endif
#ifndef KEEPS
#define KEEPS 1
#endif

static struct {
    void *block;
    size_t size;
} idle[BLOCKS];
static size_t count, bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Lock held. */
static void *take_out(size_t at, size_t *size)
{
    void *block = idle[at].block;

    *size = idle[at].size;
    bytes -= idle[at].size;
    count--;
    memmove(&idle[at], &idle[at + 1], (count - at) * sizeof idle[0]);
    return block;
}

/* Needs that differ a little shall fit each other's blocks: up to the next eighth of the power of
 * two below. What is not used of a new block is never touched and costs nothing. */
static size_t rounded(size_t need)
{
    size_t step = WARM_BLOCK_MIN / 8;

    while (step < SIZE_MAX / 32 && step * 16 <= need)
        step *= 2;
    return need > SIZE_MAX - step ? need : (need + step - 1) / step * step;
}

/* Buffers of megabytes are walked from end to end, several times: by pages of 4 KiB each walk would
 * look up a thousand of them. */
static void *fresh(size_t size)
{
    void *block = NULL;

    if (size < HUGE_FROM || posix_memalign(&block, HUGE_PAGE, size) != 0)
        return malloc(size);
    madvise(block, size, MADV_HUGEPAGE); /* a kernel without: as it was */
    return block;
}

void *warm_take(size_t need, size_t *size)
{
    void *block = NULL;

    if (need < WARM_BLOCK_MIN)
        need = WARM_BLOCK_MIN;
    pthread_mutex_lock(&lock);
    for (size_t i = count; block == NULL && i-- > 0;)
        if (idle[i].size >= need && idle[i].size / 2 <= need) /* not a large one for a small need */
            block = take_out(i, size);
    pthread_mutex_unlock(&lock);
    if (block != NULL)
        return block;
    need = rounded(need);
    block = fresh(need);
    *size = block != NULL ? need : 0;
    return block;
}

void warm_give(void *block, size_t size)
{
    if (block == NULL)
        return;
    if (!KEEPS || size < WARM_BLOCK_MIN || size > WARM_IDLE_BYTES) {
        free(block);
        return;
    }
    pthread_mutex_lock(&lock);
    while (count == BLOCKS || bytes + size > WARM_IDLE_BYTES) {
        size_t old;
        void *coldest = take_out(0, &old);

        free(coldest);
    }
    idle[count].block = block;
    idle[count++].size = size;
    bytes += size;
    pthread_mutex_unlock(&lock);
}

void warm_trim(void)
{
    pthread_mutex_lock(&lock);
    while (count > 0) {
        size_t size;

        free(take_out(count - 1, &size));
    }
    pthread_mutex_unlock(&lock);
}

size_t warm_idle(void)
{
    size_t now;

    pthread_mutex_lock(&lock);
    now = bytes;
    pthread_mutex_unlock(&lock);
    return now;
}
