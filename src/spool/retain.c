/* Giving space back: whole segments from the head, by unlink.
 *
 * A segment may go when all targets have taken all of it (I5) and it is older than retention_time
 * or the delivered part is larger than retention_size; under pressure (max_size, min_free_disk)
 * delivered segments go early. Undelivered ones go only with when_full = drop_oldest, said aloud.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <string.h>
#include <unistd.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/internal.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/fault.h"

/* First sequence that some target still needs. Lock held. */
static uint64_t needed_from(const struct slsr_spool *spool)
{
    uint64_t floor = UINT64_MAX;

    for (size_t i = 0; i < spool->target_count; i++)
        if (spool->targets[i].state.acked < floor)
            floor = spool->targets[i].state.acked;
    if (floor == UINT64_MAX)
        return 0; /* no target yet: everything is needed */
    return floor < control_floor(spool) ? floor : control_floor(spool); /* held, or ordered again */
}

struct usage {
    uint64_t disk;      /* all segments */
    uint64_t delivered; /* sealed and taken by all */
    uint64_t free_disk;
};

/* Lock held. */
static void measure(struct slsr_spool *spool, struct usage *usage)
{
    const uint64_t floor = needed_from(spool);
    struct statvfs vfs;

    *usage = (struct usage){.free_disk = UINT64_MAX};
    for (size_t i = 0; i < spool->segment_count; i++) {
        struct segment *seg = spool->segments[i];

        if (seg->active || seg->disk_bytes == 0)
            seg->disk_bytes = segment_disk(spool, seg);
        usage->disk += seg->disk_bytes;
        if (i + 1 < spool->segment_count && spool->segments[i + 1]->first <= floor)
            usage->delivered += seg->disk_bytes;
    }
    if (statvfs(spool->config.path, &vfs) == 0)
        usage->free_disk = (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

static bool fits(const struct slsr_spool *spool, const struct usage *usage, size_t need)
{
    const struct slsr_spool_config *c = &spool->config;

    if (c->max_size_bytes > 0 && usage->disk + need > (uint64_t)c->max_size_bytes)
        return false;
    return c->min_free_disk_bytes <= 0 ||
           usage->free_disk >= (uint64_t)c->min_free_disk_bytes + need;
}

/* When its last frame came; a sealed segment of an earlier run must be looked into. Lock held. */
static int64_t age_ms(struct slsr_spool *spool, struct segment *seg)
{
    if (seg->next == 0) {
        const bool open = seg->env != NULL;

        if (segment_open(spool, seg, false, NULL) != 0)
            return 0; /* unknown: keep it and look again */
        if (segment_tail(seg, NULL) != 0) {
            seg->newest_ms = clock_wall_ms(); /* damaged: keep it for the operator */
            seg->next = seg->first;
        }
        if (!open && seg->refs == 0)
            segment_close(seg);
    }
    return clock_wall_ms() - seg->newest_ms;
}

/* Takes the head's name away; its blocks are given back by the keeper, outside of the lock, because
 * that takes a fifth of a second for each GiB. False: it cannot be deleted now, so it stays in its
 * place: a spool has no holes. Lock held. */
static bool unlink_head(struct slsr_spool *spool, struct usage *usage)
{
    struct segment *seg = spool->segments[0];
    char path[4200];
    char lock_path[4208];
    int fd;

    segment_path(spool, seg->first, path, sizeof path);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    snprintf(lock_path, sizeof lock_path, "%s-lock", path);
    FAULT_DIE(UNLINK_BEFORE);
    if (unlink(path) != 0 && errno != ENOENT) {
        if (!spool->told_unlink)
            diag(SLSR_LOG_WARNING, "spool",
                 "cannot delete delivered segment %s: %s; check its folder's owner, will try again",
                 path, strerror(errno));
        spool->told_unlink = true;
        if (fd >= 0)
            close(fd);
        return false;
    }
    spool->told_unlink = false;
    spool->unlinks++;
    FAULT_DIE(UNLINK_AFTER);
    unlink(lock_path);
    usage->disk -= seg->disk_bytes;
    usage->delivered -= usage->delivered < seg->disk_bytes ? usage->delivered : seg->disk_bytes;
    if (usage->free_disk != UINT64_MAX)
        usage->free_disk += seg->disk_bytes;
    memmove(spool->segments, spool->segments + 1,
            (--spool->segment_count) * sizeof(struct segment *));
    recent_forget(&spool->recent, spool->segments[0]->first); /* the active one is the last */
    seg->grave_fd = fd + 1;
    segment_bury(spool, seg);
    return true;
}

/* A segment goes only when the folder's sync has seen the one before it go: else a power cut could
 * bring the older one back and leave a hole between the two. The lock is given up for the sync
 * and usage measured anew; false: it failed, nothing may go now. Lock held. */
static bool sync_unlinks(struct slsr_spool *spool, struct usage *usage)
{
    while (spool->unlinks != spool->unlinks_synced) {
        const uint64_t seen = spool->unlinks;
        int rc;

        pthread_mutex_unlock(&spool->lock);
        rc = env_sync_dir(spool->config.path, NULL);
        pthread_mutex_lock(&spool->lock);
        if (rc != 0)
            return false;
        if (spool->unlinks_synced < seen)
            spool->unlinks_synced = seen;
        measure(spool, usage);
    }
    return true;
}

static bool head_delivered(const struct slsr_spool *spool)
{
    return spool->segment_count > 1 && !spool->segments[0]->active &&
           spool->segments[1]->first <= needed_from(spool);
}

static bool may_drop(const struct slsr_spool *spool)
{
    return spool->config.when_full == SLSR_FULL_DROP_OLDEST && spool->segment_count > 1 &&
           !spool->segments[0]->active && spool->segments[1]->first <= control_floor(spool);
}

static bool drop_head(struct slsr_spool *spool, struct usage *usage)
{
    const uint64_t needed = needed_from(spool);
    const uint64_t first = spool->segments[0]->first;
    const uint64_t to = spool->segments[1]->first;
    const uint64_t from = needed > first && needed < to ? needed : first;
    const uint64_t bytes = spool->segments[0]->disk_bytes;
    char text[256];

    if (!unlink_head(spool, usage))
        return false;
    snprintf(text, sizeof text,
             "the spool is full: frames %llu..%llu were dropped before all targets had taken them "
             "(spool.when_full is drop_oldest)",
             (unsigned long long)from, (unsigned long long)(to - 1));
    if (needed < to)
        incident_add(spool, "drop", "spool_full", from, to, bytes, text);
    for (size_t i = 0; i < spool->target_count; i++)
        if (spool->targets[i].state.acked < to) {
            spool->targets[i].state.acked = to;
            spool->targets[i].dirty = true;
        }
    return true;
}

bool retain_all_taken(struct slsr_spool *spool)
{
    bool all;

    pthread_mutex_lock(&spool->lock);
    all = spool->config.when_full == SLSR_FULL_DROP_OLDEST || needed_from(spool) >= spool->next_seq;
    pthread_mutex_unlock(&spool->lock);
    return all;
}

enum { EMPTY_BYTES = 64 * 1024 }; /* what a spool without frames takes at most */

static int say_full(const struct slsr_spool_config *c, const struct usage *usage, size_t need,
                    struct slsr_err *err)
{
    const double mib = 1 << 20;

    if (c->max_size_bytes > 0 && need + EMPTY_BYTES > (uint64_t)c->max_size_bytes)
        return slsr_fail(err, SLSR_EFULL,
                         "spool %s can never hold what was pulled at once, %.1f MiB with a "
                         "spool.max_size of %.1f MiB: raise that, or lower source.max_log_groups",
                         c->path, (double)need / mib, (double)c->max_size_bytes / mib);
    return slsr_fail(
        err, SLSR_EFULL,
        "spool %s is full (%llu of %lld MiB used, %llu MiB free on its disk of "
        "which spool.min_free_disk keeps %lld MiB): pulling waits until a target takes "
        "frames, the disk has room or the limits are raised",
        c->path, (unsigned long long)(usage->disk >> 20), (long long)(c->max_size_bytes >> 20),
        (unsigned long long)(usage->free_disk >> 20), (long long)(c->min_free_disk_bytes >> 20));
}

int retain_make_room(struct slsr_spool *spool, size_t need_bytes, struct slsr_err *err)
{
    const struct slsr_spool_config *c = &spool->config;
    struct usage usage;
    int rc = 0;

    pthread_mutex_lock(&spool->lock);
    measure(spool, &usage);
    /* the sync comes first: it gives the lock up, so what is asked is asked behind it */
    while (head_delivered(spool) && sync_unlinks(spool, &usage) && head_delivered(spool)) {
        const bool old =
            c->retention_time_ms > 0 && age_ms(spool, spool->segments[0]) > c->retention_time_ms;
        const bool large =
            c->retention_size_bytes > 0 && usage.delivered > (uint64_t)c->retention_size_bytes;

        if (!old && !large && (need_bytes == 0 || fits(spool, &usage, need_bytes)))
            break;
        if (!unlink_head(spool, &usage))
            break;
    }
    while (need_bytes > 0 && may_drop(spool) && !fits(spool, &usage, need_bytes) &&
           sync_unlinks(spool, &usage) && may_drop(spool) && !fits(spool, &usage, need_bytes) &&
           drop_head(spool, &usage))
        ;
    if (need_bytes > 0 && !fits(spool, &usage, need_bytes))
        rc = say_full(c, &usage, need_bytes, err);
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

int slsr_spool_wait_room(struct slsr_spool *spool, struct slsr_stop *stop, int64_t timeout_ms,
                         struct slsr_err *err)
{
    const int64_t until = clock_mono_ms() + timeout_ms;

    for (;;) {
        size_t need;
        int rc;

        pthread_mutex_lock(&spool->lock);
        need = spool->wanted_bytes > 0 ? spool->wanted_bytes : 1;
        pthread_mutex_unlock(&spool->lock);
        rc = retain_make_room(spool, need, err);
        if (rc == SLSR_EFULL && retain_all_taken(spool))
            return 0; /* the writer will rotate and give the old segment back */
        if (rc != SLSR_EFULL || clock_mono_ms() >= until)
            return rc;
        if (slsr_stop_wait(stop, 200)) /* free disk space sends no event */
            return slsr_fail(err, SLSR_ESTOPPED, "stopped while the spool was full");
    }
}
