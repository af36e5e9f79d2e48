/* Makes the disk begin while LMDB still copies a large commit into the page cache.
 *
 * LMDB writes all pages of a transaction and syncs only then, so the disk stands still during the
 * copy: a quarter of the time of 10 MB (docs/performance.md). This thread follows the end of the
 * file meanwhile and starts the writing of what is there (sync_file_range: no wait, no promise; the
 * promise is LMDB's sync, as before). LMDB says nothing until all is done, hence the look at the
 * file's size every PAUSE_NS, for the few milliseconds of a commit and never else. There is no
 * event to wait for: LMDB writes a run of 8 MB with one writev, and inotify tells of a write when
 * it has returned. Where the call or the thread fails, the commit is only slower. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "spool/internal.h"

enum { STEP_BYTES = 1024 * 1024, PAUSE_NS = 100000 };

/* Until the file ends at the part's end, or the commit is over. */
static void follow(struct early *early, int fd, uint64_t at, uint64_t to)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    struct stat st;

    while (!early->over && at < to && fstat(fd, &st) == 0) {
        const uint64_t end = (uint64_t)st.st_size < to ? (uint64_t)st.st_size : to;

        if (end < at + STEP_BYTES) {
            if (end == to)
                return; /* the rest is begun by the sync itself */
            nanosleep(&pause, NULL);
            continue;
        }
        if (sync_file_range(fd, (off_t)at, (off_t)(end - at), SYNC_FILE_RANGE_WRITE) != 0)
            return;
        at = end;
    }
}

static void *early_thread(void *arg)
{
    struct early *early = arg;

    pthread_setname_np(pthread_self(), "spool-early");
    pthread_mutex_lock(&early->lock);
    for (;;) {
        while (!early->busy && !early->closing)
            pthread_cond_wait(&early->turn, &early->lock);
        if (early->closing)
            break;
        const int fd = early->fd;
        const uint64_t from = early->from;
        const uint64_t to = early->to;

        pthread_mutex_unlock(&early->lock);
        follow(early, fd, from, to);
        pthread_mutex_lock(&early->lock);
        early->busy = false;
        pthread_cond_signal(&early->turn);
    }
    pthread_mutex_unlock(&early->lock);
    return NULL;
}

void early_start(struct early *early)
{
    pthread_mutex_init(&early->lock, NULL);
    pthread_cond_init(&early->turn, NULL);
    early->closing = false;
    early->runs = pthread_create(&early->thread, NULL, early_thread, early) == 0;
}

void early_stop(struct early *early)
{
    if (early->runs) {
        pthread_mutex_lock(&early->lock);
        early->closing = true;
        pthread_cond_signal(&early->turn);
        pthread_mutex_unlock(&early->lock);
        pthread_join(early->thread, NULL);
    }
    pthread_mutex_destroy(&early->lock);
    pthread_cond_destroy(&early->turn);
    early->runs = false;
}

void early_begin(struct early *early, int fd, uint64_t from, uint64_t to)
{
    struct stat st;

    if (!early->runs || fstat(fd, &st) != 0 || (uint64_t)st.st_size > to ||
        to - from < 2 * STEP_BYTES)
        return;
    pthread_mutex_lock(&early->lock);
    early->fd = fd;
    early->from = from;
    early->to = to;
    early->over = false;
    early->busy = true;
    pthread_cond_signal(&early->turn);
    pthread_mutex_unlock(&early->lock);
}

void early_end(struct early *early)
{
    if (!early->runs)
        return;
    early->over = true;
    pthread_mutex_lock(&early->lock);
    while (early->busy)
        pthread_cond_wait(&early->turn, &early->lock);
    pthread_mutex_unlock(&early->lock);
}
