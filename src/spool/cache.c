/* What of the active segment stays in the page cache. HOT: the writer, once a commit.
 *
 * Pages that nobody will read soon go back to the kernel, which hands the same warm ones to the
 * next batch: half the CPU of a commit on machines with a dear page cache (docs/performance.md).
 * Only the chunks: the next transaction reads the pages of the trees. A live reader that keeps up
 * reads them from memory; they go when it has passed, run by run as they were written: the kernel
 * gives back whole folios only, and none lies across two writes. Several live readers are left to
 * the kernel. */
#include <fcntl.h>
#include <string.h>

#include "spool/internal.h"

/* A reader that is further behind reads from the disk. */
static const uint64_t NEAR_BYTES = (uint64_t)64 * 1024 * 1024;
/* What a reader has passed so lately it may still have mapped (range.c); then it stays. */
static const uint64_t LAG_BYTES = (uint64_t)8 * 1024 * 1024;

static void drop(int fd, const struct file_run *run)
{
    posix_fadvise(fd, (off_t)run->from, (off_t)(run->to - run->from), POSIX_FADV_DONTNEED);
}

/* What the live reader has still to read; everything when there is none. */
static uint64_t bytes_behind(const struct slsr_spool *spool)
{
    const uint64_t next = spool->next_seq;
    const uint64_t read = spool->read_seq;

    if (spool->readers == 0)
        return UINT64_MAX;
    return next > read ? (next - read) * (spool->total_bytes / next) : 0;
}

/* How many of the oldest runs nobody needs any more. */
static size_t passed(const struct cached *cached, uint64_t read)
{
    uint64_t since = 0; /* passed by the reader after the run in hand */

    for (size_t i = cached->count; i-- > 0;) {
        if (cached->at[i].end_seq > read)
            continue;
        if (since >= LAG_BYTES)
            return i + 1;
        since += cached->at[i].run.to - cached->at[i].run.from;
    }
    return 0;
}

static void drop_oldest(struct cached *cached, int fd, size_t n)
{
    for (size_t i = 0; i < n; i++)
        drop(fd, &cached->at[i].run);
    cached->count -= n;
    memmove(cached->at, cached->at + n, cached->count * sizeof cached->at[0]);
}

void cache_give_back(struct slsr_spool *spool, const struct segment *seg, uint64_t end_seq)
{
    const struct file_runs *runs = &spool->runs;
    struct cached *cached = &spool->cached;
    const bool far = bytes_behind(spool) > NEAR_BYTES;
    int fd;

    if (mdb_env_get_fd(seg->env, &fd) != 0)
        return;
    if (cached->segment != seg->first) { /* the last runs of a sealed one stay */
        cached->segment = seg->first;
        cached->count = 0;
    }
    if (far)
        drop_oldest(cached, fd, cached->count);
    for (size_t i = 0; i < runs->count; i++) {
        if (far) {
            drop(fd, &runs->at[i]);
            continue;
        }
        if (cached->count == CACHED_MAX)
            drop_oldest(cached, fd, CACHED_MAX / 2);
        cached->at[cached->count].run = runs->at[i];
        cached->at[cached->count++].end_seq = end_seq;
    }
    if (!far && spool->readers == 1)
        drop_oldest(cached, fd, passed(cached, spool->read_seq));
}
