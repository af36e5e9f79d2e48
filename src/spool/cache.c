/* What of the active segment stays in the page cache: the trees. HOT: the writer, once a commit.
 *
 * The pages of chunks go back to the kernel, which hands the same warm ones to the next batch: half
 * the CPU of a commit on machines with a dear page cache (docs/performance.md). Senders that keep
 * up find the frames in memory of our own (recent.c), others read past the page cache (window.c).
 * The pages of the trees stay: the next transaction reads them. Run by run as they were written:
 * the kernel gives back whole folios only, and none lies across two writes. */
#include <fcntl.h>

#include "spool/internal.h"

void cache_give_back(const struct slsr_spool *spool, const struct segment *seg)
{
    int fd;

    if (mdb_env_get_fd(seg->env, &fd) != 0)
        return;
    for (size_t i = 0; i < spool->runs.count; i++) {
        const struct file_run *run = &spool->runs.at[i];

        posix_fadvise(fd, (off_t)run->from, (off_t)(run->to - run->from), POSIX_FADV_DONTNEED);
    }
}
