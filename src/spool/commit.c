/* One group of batches into the active segment: the writer thread's work. HOT.
 *
 * Make room, begin, copy the chunks into the pages that LMDB reserves, commit, tell the rest of the
 * process. What can go wrong: no room (SLSR_EFULL, the callers wait), a failed write or sync
 * (nothing is visible, the callers try again), and LMDB giving the environment up (MDB_PANIC: the
 * meta page could not be written). In the last case, or when one segment fails again and again, the
 * segment is left as it is and the next transaction goes to a new one, which begins behind the last
 * frame that was acknowledged and so stands in front of whatever the failed commit may have left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "spool/env.h"
#include "spool/internal.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/diag.h"
#include "base/fault.h"

enum { FAILURES_MAX = 3 };
enum { SHORT_BYTES = 256 * 1024 }; /* of the trees' pages, beside a group's bytes */
/* Blocks are taken this much ahead: fewer extents, a fifth less CPU in the commit. In a small
 * segment one part of AHEAD_PART. */
enum { AHEAD_BYTES = 32 * 1024 * 1024, AHEAD_PART = 16 };

/* id of the checkpoint's stream; a new one gets the next number. */
static int stream_id(struct slsr_spool *spool, const struct slsr_checkpoint *cp, uint32_t *id)
{
    char key[LAYOUT_KEY_MAX];
    const size_t n = layout_key(key, &cp->stream);
    struct stream *stream;
    int rc = 0;

    pthread_mutex_lock(&spool->lock);
    stream = stream_find(spool, key);
    if (stream == NULL) {
        *id = (uint32_t)spool->stream_count;
        if (stream_put(spool, *id, key, n) == NULL)
            rc = ENOMEM;
    } else {
        for (size_t i = 0; i < spool->stream_count; i++)
            if (spool->streams[i] == stream)
                *id = (uint32_t)i;
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

/* Where the chunks of this transaction lie in the file: the 8 bytes at the start of an overflow
 * page are its number (LMDB data format), 16 bytes before the value. */
static void note_run(struct slsr_spool *spool, const struct segment *seg, const MDB_val *value)
{
    struct file_runs *runs = &spool->runs;
    size_t page;
    uint64_t from;
    uint64_t to;

    if (seg->page_bytes == 0 || value->mv_size <= seg->page_bytes)
        return; /* it may lie in a leaf */
    memcpy(&page, (const char *)value->mv_data - 16, sizeof page);
    from = (uint64_t)page * seg->page_bytes;
    to = from + (16 + value->mv_size + seg->page_bytes - 1) / seg->page_bytes * seg->page_bytes;
    if (runs->count > 0 && runs->at[runs->count - 1].to == from)
        runs->at[runs->count - 1].to = to;
    else if (runs->count < FILE_RUNS_MAX)
        runs->at[runs->count++] = (struct file_run){from, to};
}

static int put_chunk(struct slsr_spool *spool, struct segment *seg, MDB_txn *txn,
                     struct chunk *chunk, uint64_t bytes_before)
{
    const struct chunk_header *header = &chunk->header;
    const struct layout_index index = {.count = header->count,
                                       .bytes = chunk->wire_bytes,
                                       .arrival_ms = header->arrival_ms,
                                       .min_time_s = header->min_time_s,
                                       .max_time_s = header->max_time_s,
                                       .stream = header->stream,
                                       .bytes_before = bytes_before};
    unsigned char record[LAYOUT_INDEX_BYTES];
    size_t seq = (size_t)header->first;
    MDB_val key = {sizeof seq, &seq};
    MDB_val data = {chunk_size(chunk), NULL};
    int rc = mdb_put(txn, seg->chunks, &key, &data, MDB_RESERVE | MDB_APPEND);

    if (rc != 0)
        return rc;
    note_run(spool, seg, &data);
    if (chunk_write(chunk, spool->crypt, spool->writer_box, data.mv_data, NULL) != 0)
        return ENOMEM;
    layout_put_index(record, &index);
    data = (MDB_val){sizeof record, record};
    return mdb_put(txn, seg->index, &key, &data, MDB_APPEND);
}

static int put_ticket(struct slsr_spool *spool, struct segment *seg, MDB_txn *txn,
                      struct slsr_ticket *ticket, uint64_t *seq, uint64_t *bytes, int64_t now)
{
    const struct slsr_checkpoint *cp = ticket->checkpoint;
    struct prepared *prepared = ticket->prepared;
    unsigned char record[LAYOUT_STREAM_BYTES];
    char name[LAYOUT_KEY_MAX];
    MDB_val key;
    MDB_val data;
    uint32_t id = 0;
    int rc = stream_id(spool, cp, &id);

    ticket->first = *seq;
    for (size_t i = 0; rc == 0 && i < prepared->count; i++) {
        struct chunk *chunk = &prepared->chunks[i];

        chunk->header.first = *seq;
        chunk->header.stream = id;
        chunk->header.arrival_ms = now;
        rc = put_chunk(spool, seg, txn, chunk, *bytes);
        *seq += chunk->header.count;
        *bytes += chunk->wire_bytes;
    }
    key = (MDB_val){layout_key(name, &cp->stream), name};
    data = (MDB_val){layout_put_stream(record, id, cp->cursor), record};
    if (rc == 0)
        rc = mdb_put(txn, seg->streams, &key, &data, 0);
    return rc;
}

/* Most of the transaction's chunks lie side by side at the end of the file. */
static void begin_early(struct slsr_spool *spool, const struct segment *seg)
{
    const struct file_runs *runs = &spool->runs;
    int fd;

    if (runs->count > 0 && mdb_env_get_fd(seg->env, &fd) == 0)
        early_begin(&spool->early, fd, runs->at[runs->count - 1].from,
                    runs->at[runs->count - 1].to);
}

/* One transaction for the whole group in the given segment. */
static int commit_group(struct slsr_spool *spool, struct segment *seg, struct group *group,
                        uint64_t *seq, uint64_t *bytes, int64_t now)
{
    MDB_txn *txn = NULL;
    MDB_stat st;
    int rc = mdb_txn_begin(seg->env, NULL, 0, &txn);

    spool->runs.count = 0;
    if (seg->page_bytes == 0 && mdb_env_stat(seg->env, &st) == 0)
        seg->page_bytes = st.ms_psize;
    for (struct slsr_ticket *t = group->head; rc == 0 && t != NULL; t = t->next)
        rc = put_ticket(spool, seg, txn, t, seq, bytes, now);
    if (rc == 0)
        rc = FAULT(COMMIT_BEFORE);
    if (rc == 0) {
        begin_early(spool, seg);
        rc = mdb_txn_commit(txn);
        early_end(&spool->early);
        FAULT_DIE(COMMIT_AFTER);
        return rc;
    }
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc;
}

static struct segment *active_segment(struct slsr_spool *spool)
{
    struct segment *seg;

    pthread_mutex_lock(&spool->lock);
    seg = spool->segment_count > 0 ? spool->segments[spool->segment_count - 1] : NULL;
    if (seg != NULL && !seg->active)
        seg = NULL;
    pthread_mutex_unlock(&spool->lock);
    return seg;
}

static uint64_t ahead_step(const struct slsr_spool *spool)
{
    const uint64_t part = spool->segment_bytes / AHEAD_PART;

    return part < AHEAD_BYTES ? part : AHEAD_BYTES;
}

/* Nothing more goes into it: it would grow beyond its size, blocks ahead and all. A transaction
 * that is large beside the segment may: else such ones would have a segment each. */
static bool is_worn(const struct slsr_spool *spool, struct segment *seg, size_t bytes)
{
    const uint64_t step = ahead_step(spool);
    const uint64_t limit = spool->segment_bytes - step - step / 4;
    MDB_envinfo info;
    MDB_stat st;

    if (seg->worn)
        return seg->next != seg->first;
    if (seg->next == seg->first || mdb_env_info(seg->env, &info) != 0 ||
        mdb_env_stat(seg->env, &st) != 0)
        return false;
    return (uint64_t)(info.me_last_pgno + 1) * st.ms_psize +
               (bytes <= spool->segment_bytes / 8 ? bytes : 0) >=
           limit;
}

static int rotate(struct slsr_spool *spool, struct segment **seg, struct slsr_err *err)
{
    struct segment *old = *seg;
    bool sealed;
    int rc;

    FAULT_DIE(ROTATE_BEFORE);
    rc = segment_create(spool, seg, err);
    if (rc != 0)
        return rc;
    /* without its summary a look-up reads its index: slower, not wrong */
    sealed = old->worn || old->broken || segment_seal(old, NULL) == 0;
    if (!old->broken) /* else a reader may be opening it anew */
        segment_trim(old);
    pthread_mutex_lock(&spool->lock);
    old->active = false;
    old->broken = old->broken || !sealed;
    old->disk_bytes = segment_disk(spool, old);
    if (old->refs == 0)
        segment_close(old);
    pthread_mutex_unlock(&spool->lock);
    FAULT_DIE(ROTATE_AFTER);
    return 0;
}

/* What a sender will ask for next stays in memory. */
static void keep_recent(struct slsr_spool *spool, const struct group *group, int64_t now)
{
    if (!recent_wanted(&spool->recent))
        return;
    for (struct slsr_ticket *t = group->head; t != NULL; t = t->next)
        if (t->gift != NULL && t->prepared->count > 0)
            t->kept = recent_put(&spool->recent, t->gift, t->first,
                                 t->prepared->chunks[0].header.stream, now);
}

/* Position and checkpoints become visible to the rest of the process only after the commit. */
static void publish(struct slsr_spool *spool, struct segment *seg, const struct group *group,
                    uint64_t seq, uint64_t bytes, int64_t now)
{
    keep_recent(spool, group, now);
    recent_end(&spool->recent, seq, bytes);
    pthread_mutex_lock(&spool->lock);
    for (const struct slsr_ticket *t = group->head; t != NULL; t = t->next) {
        char key[LAYOUT_KEY_MAX];
        struct stream *stream;

        layout_key(key, &t->checkpoint->stream);
        stream = stream_find(spool, key);
        if (stream != NULL)
            memcpy(stream->cursor, t->checkpoint->cursor, sizeof stream->cursor);
    }
    seg->next = seq;
    seg->end_bytes = bytes;
    if (group->frames > 0)
        seg->newest_ms = now;
    spool->total_bytes = bytes;
    spool->full = false;
    spool->next_seq = seq;
    if (group->frames > 0)
        spool_announce(spool);
    pthread_mutex_unlock(&spool->lock);
}

/* A worn segment is sealed; a full spool whose active segment has been taken as a whole is rotated,
 * so that it can go. */
static int find_room(struct slsr_spool *spool, struct segment **seg, size_t bytes,
                     struct slsr_err *err)
{
    int rc = is_worn(spool, *seg, bytes) ? rotate(spool, seg, err) : 0;

    if (rc == 0)
        rc = retain_make_room(spool, bytes, err);
    if (rc == SLSR_EFULL && (*seg)->next != (*seg)->first && retain_all_taken(spool)) {
        rc = rotate(spool, seg, err);
        if (rc == 0)
            rc = retain_make_room(spool, bytes, err);
    }
    return rc;
}

/* Blocks for what comes, so that a commit converts extents instead of looking for them. Only where
 * the disk has plenty: on a tight one the commit shall be told, not the neighbours. */
static void take_blocks(const struct slsr_spool *spool, struct segment *seg, size_t bytes)
{
    const uint64_t step = ahead_step(spool);
    MDB_envinfo info;
    MDB_stat st;
    struct statvfs vfs;
    uint64_t end;
    uint64_t from;
    int fd;

    if (mdb_env_info(seg->env, &info) != 0 || mdb_env_stat(seg->env, &st) != 0 ||
        mdb_env_get_fd(seg->env, &fd) != 0)
        return;
    end = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
    if (end + bytes + step / 4 <= seg->ahead_to || statvfs(spool->config.path, &vfs) != 0 ||
        (uint64_t)vfs.f_bavail * vfs.f_frsize <
            (uint64_t)spool->config.min_free_disk_bytes + 8 * step + bytes)
        return;
    from = seg->ahead_to > end ? seg->ahead_to : end;
    seg->ahead_to = end + bytes + step;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(seg->ahead_to - from)) != 0) {
        /* a file system without it, or no room: the commit will say */
    }
}

/* Does the disk itself refuse, or only this file? */
static bool has_room(const struct slsr_spool *spool, size_t bytes)
{
    struct statvfs vfs;

    return statvfs(spool->config.path, &vfs) == 0 &&
           (uint64_t)vfs.f_bavail * vfs.f_frsize > 2 * (uint64_t)bytes + 4 * AHEAD_BYTES;
}

/* A short write is EIO to LMDB; where the disk has no room for the rest, that is what it was. */
static int true_cause(const struct slsr_spool *spool, int rc, size_t bytes)
{
    struct statvfs vfs;

    return rc == EIO && statvfs(spool->config.path, &vfs) == 0 &&
                   (uint64_t)vfs.f_bavail * vfs.f_frsize < (uint64_t)bytes + SHORT_BYTES
               ? ENOSPC
               : rc;
}

/* The commit that breaks the meta page says EIO like any other; only what follows is refused. */
static bool gave_up(const struct segment *seg)
{
    MDB_txn *txn = NULL;
    const int rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn);

    if (rc == 0)
        mdb_txn_abort(txn);
    return rc == MDB_PANIC;
}

/* An empty segment that LMDB gave up: the next one takes its name and place. Readers that look at
 * it keep its file. */
static void discard_empty(struct slsr_spool *spool, struct segment *seg)
{
    pthread_mutex_lock(&spool->lock);
    spool->segment_count--; /* the active one is the last */
    seg->active = false;
    segment_bury(spool, seg);
    pthread_mutex_unlock(&spool->lock);
}

/* The next transaction goes to a new segment; the old one keeps what was committed. */
static int leave_segment(struct slsr_spool *spool, struct segment *seg, bool panic,
                         struct slsr_err *err)
{
    struct segment *fresh = seg;
    int rc = 0;

    seg->worn = true;
    seg->broken = seg->broken || panic;
    if (seg->next == seg->first) {
        discard_empty(spool, seg);
        rc = segment_create(spool, &fresh, err);
    } else {
        rc = rotate(spool, &fresh, err);
    }
    if (rc == 0) {
        spool->failures = 0;
        diag(SLSR_LOG_WARNING, "spool",
             "%s: writing failed %s; goes on with a new segment from frame %llu, what was "
             "committed before is kept",
             spool->config.path, panic ? "and LMDB gave the file up" : "several times",
             (unsigned long long)fresh->first);
    }
    return rc;
}

/* A transaction in the active segment, or in the next one when it does not fit. LMDB
 * code. */
static int commit_somewhere(struct slsr_spool *spool, struct segment **seg, struct group *group,
                            uint64_t *seq, uint64_t *bytes, int64_t now)
{
    int rc;

    take_blocks(spool, *seg, group->bytes);
    rc = commit_group(spool, *seg, group, seq, bytes, now);
    if (rc == MDB_MAP_FULL && (*seg)->next != (*seg)->first && rotate(spool, seg, NULL) == 0) {
        *seq = spool->next_seq;
        *bytes = spool->total_bytes;
        rc = commit_group(spool, *seg, group, seq, bytes, now);
    }
    return rc;
}

int commit_write(struct slsr_spool *spool, struct group *group, struct slsr_err *err)
{
    const int64_t now = clock_wall_ms();
    const int64_t started = clock_mono_ns();
    struct segment *seg = active_segment(spool);
    uint64_t seq = spool->next_seq;
    uint64_t bytes = spool->total_bytes;
    int rc = 0;

    if (seg == NULL) /* an attempt to leave a segment got half way */
        rc = segment_create(spool, &seg, err);
    else if (seg->worn && (seg->broken || seg->lent || seg->next == seg->first))
        rc = leave_segment(spool, seg, seg->broken, err);
    if (rc == 0)
        seg = active_segment(spool);
    if (rc == 0 && group->frames > 0)
        rc = find_room(spool, &seg, group->bytes, err);
    if (rc != 0)
        return rc;
    rc = commit_somewhere(spool, &seg, group, &seq, &bytes, now);
    if (rc != 0) {
        rc = true_cause(spool, rc, group->bytes);
        const int code = env_fail(err, rc, "cannot append %llu frames to spool %s",
                                  (unsigned long long)group->frames, spool->config.path);

        const bool panic = rc == MDB_PANIC || code == SLSR_ECORRUPT || gave_up(seg);

        if (panic || (code != SLSR_EFULL && ++spool->failures >= FAILURES_MAX &&
                      has_room(spool, group->bytes)))
            leave_segment(spool, seg, panic, NULL);
        if (err != NULL && code == SLSR_ECORRUPT)
            err->code = SLSR_EIO; /* its page tree; the next attempt goes to a new segment */
        return code == SLSR_ECORRUPT ? SLSR_EIO : code;
    }
    spool->failures = 0;
    count_observe(COUNT_SPOOL_COMMIT_SECONDS, (double)(clock_mono_ns() - started) / 1e9);
    cache_give_back(spool, seg);
    publish(spool, seg, group, seq, bytes, now);
    FAULT_DIE(PUBLISH_AFTER);
    return 0;
}
