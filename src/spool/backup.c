/* A copy of a spool while it is in use: each file as it was at one moment (LMDB's own copy).
 *
 * Positions and orders are copied first, frames behind them, oldest first: a position never lies
 * beyond the frames of the copy, and a frame that came in meanwhile is only one more. A segment
 * that retention gives back during the copy is passed.
 *
 * The copy begins with a LOCK that names no folder: a relay refuses it until somebody deletes that
 * file, which is the word that this copy is the one to send from (spool.c, claim_home). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "spool/env.h"
#include "spool/internal.h"

/* Under a name that is no segment's until it is whole and on the disk. */
static int copy_env(MDB_env *env, const char *dir, const char *name, uint64_t *bytes,
                    struct slsr_err *err)
{
    char part[4300];
    char path[4300];
    int fd;
    int rc;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(part, sizeof part, "%s/%s.part", dir, name);
    fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot create %s", part);
    rc = mdb_env_copyfd2(env, fd, 0);
    if (rc == 0 && fsync(fd) != 0)
        rc = errno;
    const off_t size = lseek(fd, 0, SEEK_END);
    *bytes += size > 0 ? (uint64_t)size : 0;
    if (close(fd) != 0 && rc == 0)
        rc = errno;
    if (rc == 0 && rename(part, path) != 0)
        rc = errno;
    if (rc != 0)
        unlink(part);
    return rc == 0 ? 0 : env_fail(err, rc, "cannot copy %s to %s", name, dir);
}

static int mark_as_copy(const char *dir, struct slsr_err *err)
{
    static const char text[] = "0\nhome none: a backup, not in use\n";
    char path[4300];
    int rc = 0;
    int fd;

    snprintf(path, sizeof path, "%s/LOCK", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0 || write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1 || fsync(fd) != 0)
        rc = slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

int slsr_spool_backup(struct slsr_spool *spool, const char *dir, struct slsr_stop *stop,
                      uint64_t *files, uint64_t *bytes, struct slsr_err *err)
{
    uint64_t at = 0;
    int rc = mark_as_copy(dir, err);

    *files = *bytes = 0;
    if (rc == 0 && spool->ack_env != NULL) {
        rc = copy_env(spool->ack_env, dir, "ack.mdb", bytes, err);
        *files += rc == 0;
    }
    while (rc == 0 && at != UINT64_MAX) {
        struct segment *seg = NULL;
        char name[64];
        uint64_t first;

        if (slsr_stop_requested(stop))
            return slsr_fail(err, SLSR_ESTOPPED, "stopped: the copy in %s is not complete", dir);
        rc = segment_acquire(spool, at, &seg, err);
        if (rc != 0)
            return rc;
        first = seg->first;
        snprintf(name, sizeof name, "seg-%016llx.mdb", (unsigned long long)first);
        rc = copy_env(seg->env, dir, name, bytes, err);
        *files += rc == 0;
        segment_release(spool, seg);
        pthread_mutex_lock(&spool->lock);
        if (rc == 0 && spool->mode == SLSR_SPOOL_READ)
            rc = segments_refresh(spool, err);
        at = UINT64_MAX;
        for (size_t i = spool->segment_count; i-- > 0;)
            if (spool->segments[i]->first > first)
                at = spool->segments[i]->first;
        pthread_mutex_unlock(&spool->lock);
    }
    return rc == 0 ? env_sync_dir(dir, err) : rc;
}
