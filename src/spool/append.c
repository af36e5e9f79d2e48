/* The writer thread: takes what waits, one transaction for all of it, one sync (I1). HOT.
 *
 * While a transaction commits, the next batches gather in the queue, so the group grows with the
 * load and an idle spool commits at once. Frames
 * are copied once, straight into the page that LMDB reserves.
 * A failed commit leaves nothing visible; every ticket of the group gets the error and its owner
 * may submit the same batch again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/env.h"
#include "spool/internal.h"

#include "base/clock.h"
#include "base/fault.h"

enum { GROUP_BYTES = 64 * 1024 * 1024, KEEP_CACHED_BYTES = 64 * 1024 * 1024 };
/* Preparations kept for reuse: two batches under way per shard, and what is too dear to keep. */
enum { POOL_MAX = 64, POOL_BYTES = 32 * 1024 * 1024 };

struct group {
    struct slsr_ticket *head;
    size_t bytes; /* of all chunks as stored */
    uint64_t frames;
};

static size_t ticket_bytes(const struct slsr_ticket *ticket)
{
    return ticket->prepared->stored_bytes + 4096;
}

/* Lock not held. */
static struct prepared *borrow_prepared(struct slsr_spool *spool)
{
    struct prepared *p;

    pthread_mutex_lock(&spool->lock);
    p = spool->pool;
    if (p != NULL) {
        spool->pool = p->next;
        spool->pool_count--;
    }
    pthread_mutex_unlock(&spool->lock);
    return p != NULL ? p : prepared_new();
}

/* Lock held. */
static void give_back_prepared(struct slsr_spool *spool, struct prepared *p)
{
    if (spool->pool_count >= POOL_MAX || p->size > POOL_BYTES) {
        prepared_free(p);
        return;
    }
    p->next = spool->pool;
    spool->pool = p;
    spool->pool_count++;
}

int slsr_spool_submit(struct slsr_spool *spool, struct slsr_ticket *ticket,
                      const struct slsr_batch *batch, const struct slsr_checkpoint *checkpoint,
                      struct slsr_err *err)
{
    struct prepared *prepared;
    int rc;

    if (spool->mode != SLSR_SPOOL_WRITE)
        return slsr_fail(err, SLSR_EUSAGE, "this spool is open for reading");
    prepared = borrow_prepared(spool);
    rc = prepared == NULL
             ? slsr_fail(err, SLSR_ENOMEM, "no memory to prepare a batch")
             : prepare_batch(prepared, batch, spool->config.compression, spool->crypt, err);
    ticket->next = NULL;
    ticket->batch = batch;
    ticket->checkpoint = checkpoint;
    ticket->prepared = prepared;
    ticket->done = false;
    ticket->rc = 0;
    pthread_mutex_lock(&spool->lock);
    if (rc != 0) {
        if (prepared != NULL)
            give_back_prepared(spool, prepared);
        ticket->prepared = NULL;
    } else {
        if (spool->queue_tail != NULL)
            spool->queue_tail->next = ticket;
        else
            spool->queue_head = ticket;
        spool->queue_tail = ticket;
        pthread_cond_signal(&spool->work);
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

int slsr_spool_settle(struct slsr_spool *spool, struct slsr_ticket *ticket, struct slsr_err *err)
{
    pthread_mutex_lock(&spool->lock);
    while (!ticket->done)
        pthread_cond_wait(&spool->settled, &spool->lock);
    pthread_mutex_unlock(&spool->lock);
    if (ticket->rc != 0 && err != NULL)
        *err = ticket->err;
    return ticket->rc;
}

int slsr_spool_append(struct slsr_spool *spool, const struct slsr_batch *batch,
                      const struct slsr_checkpoint *checkpoint, uint64_t *first,
                      struct slsr_err *err)
{
    struct slsr_ticket ticket = {0};
    int rc = slsr_spool_submit(spool, &ticket, batch, checkpoint, err);

    if (rc == 0)
        rc = slsr_spool_settle(spool, &ticket, err);
    if (rc == 0 && first != NULL)
        *first = ticket.first;
    return rc;
}

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

/* One transaction for the whole group in the given segment. */
static int commit_group(struct slsr_spool *spool, struct segment *seg, struct group *group,
                        uint64_t *seq, uint64_t *bytes, int64_t now)
{
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(seg->env, NULL, 0, &txn);

    for (struct slsr_ticket *t = group->head; rc == 0 && t != NULL; t = t->next)
        rc = put_ticket(spool, seg, txn, t, seq, bytes, now);
    if (rc == 0)
        rc = FAULT(COMMIT_BEFORE);
    if (rc == 0) {
        rc = mdb_txn_commit(txn);
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
    pthread_mutex_unlock(&spool->lock);
    return seg;
}

static bool is_worn(const struct slsr_spool *spool, struct segment *seg)
{
    MDB_envinfo info;
    MDB_stat st;

    if (seg->worn)
        return true;
    if (seg->next == seg->first || mdb_env_info(seg->env, &info) != 0 ||
        mdb_env_stat(seg->env, &st) != 0)
        return false;
    return (uint64_t)(info.me_last_pgno + 1) * st.ms_psize >= spool->segment_bytes;
}

static int rotate(struct slsr_spool *spool, struct segment **seg, struct slsr_err *err)
{
    struct segment *old = *seg;
    int rc;

    FAULT_DIE(ROTATE_BEFORE);
    rc = segment_create(spool, seg, err);
    if (rc != 0)
        return rc;
    if (!old->worn) /* without its summary a look-up reads its index: slower, not wrong */
        segment_seal(old, NULL);
    pthread_mutex_lock(&spool->lock);
    old->active = false;
    old->disk_bytes = segment_disk(spool, old);
    if (old->refs == 0)
        segment_close(old);
    pthread_mutex_unlock(&spool->lock);
    FAULT_DIE(ROTATE_AFTER);
    return 0;
}

/* Position and checkpoints become visible to the rest of the process only after the commit. */
static void publish(struct slsr_spool *spool, struct segment *seg, const struct group *group,
                    uint64_t seq, uint64_t bytes, int64_t now)
{
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
    int rc = is_worn(spool, *seg) ? rotate(spool, seg, err) : 0;

    if (rc == 0)
        rc = retain_make_room(spool, bytes, err);
    if (rc == SLSR_EFULL && (*seg)->next != (*seg)->first && retain_all_taken(spool)) {
        rc = rotate(spool, seg, err);
        if (rc == 0)
            rc = retain_make_room(spool, bytes, err);
    }
    return rc;
}

/* Pages that nobody will read soon go back to the kernel, which hands the same warm ones to the
 * next batch: half the CPU of a commit on machines with a dear page cache (docs/performance.md). A
 * live reader that keeps up drops them itself, behind it (range.c). */
static void give_pages_back(struct slsr_spool *spool, struct segment *seg)
{
    const uint64_t next = spool->next_seq;
    const uint64_t read = spool->read_seq;
    const uint64_t behind = spool->readers == 0 ? UINT64_MAX
                            : next > read       ? (next - read) * (spool->total_bytes / next)
                                                : 0;
    MDB_envinfo info;
    MDB_stat st;
    uint64_t end;
    int fd;

    if (mdb_env_info(seg->env, &info) != 0 || mdb_env_stat(seg->env, &st) != 0 ||
        mdb_env_get_fd(seg->env, &fd) != 0)
        return;
    end = (uint64_t)info.me_last_pgno * st.ms_psize;
    if (behind > KEEP_CACHED_BYTES && end > seg->dropped_to)
        posix_fadvise(fd, (off_t)seg->dropped_to, (off_t)(end - seg->dropped_to),
                      POSIX_FADV_DONTNEED);
    seg->dropped_to = end;
}

static int write_group(struct slsr_spool *spool, struct group *group, struct slsr_err *err)
{
    const int64_t now = clock_wall_ms();
    struct segment *seg = active_segment(spool);
    uint64_t seq = spool->next_seq;
    uint64_t bytes = spool->total_bytes;
    int rc;

    if (spool->failed || seg == NULL)
        return slsr_fail(err, SLSR_EFAILED,
                         "the writer of spool %s cannot go on after a failed commit: restart the "
                         "relay, the spool keeps all that was committed",
                         spool->config.path);
    if (group->frames > 0) {
        rc = find_room(spool, &seg, group->bytes, err);
        if (rc != 0)
            return rc;
    }
    rc = commit_group(spool, seg, group, &seq, &bytes, now);
    if (rc == MDB_MAP_FULL && seg->next != seg->first) {
        rc = rotate(spool, &seg, err);
        if (rc != 0)
            return rc;
        seq = spool->next_seq;
        bytes = spool->total_bytes;
        rc = commit_group(spool, seg, group, &seq, &bytes, now);
    }
    if (rc == MDB_PANIC) {
        spool->failed = true;
        return write_group(spool, group, err); /* says so */
    }
    if (rc != 0) {
        return env_fail(err, rc, "cannot append %llu frames to spool %s",
                        (unsigned long long)group->frames, spool->config.path);
    }
    give_pages_back(spool, seg);
    publish(spool, seg, group, seq, bytes, now);
    FAULT_DIE(PUBLISH_AFTER);
    return 0;
}

/* Takes as many tickets as make one good transaction. Lock held. */
static void take_group(struct slsr_spool *spool, struct group *group)
{
    struct slsr_ticket *last = NULL;

    const size_t quarter =
        spool->config.max_size_bytes > 0 ? (size_t)spool->config.max_size_bytes / 4 : GROUP_BYTES;
    const size_t limit = quarter < GROUP_BYTES ? quarter : GROUP_BYTES;

    memset(group, 0, sizeof *group);
    group->head = spool->queue_head;
    for (struct slsr_ticket *t = spool->queue_head; t != NULL; t = t->next) {
        if (last != NULL && group->bytes + ticket_bytes(t) > limit)
            break;
        group->bytes += ticket_bytes(t);
        group->frames += t->batch->frame_count;
        last = t;
    }
    spool->queue_head = last->next;
    if (spool->queue_head == NULL)
        spool->queue_tail = NULL;
    last->next = NULL;
}

void *append_thread(void *arg)
{
    struct slsr_spool *spool = arg;

    pthread_mutex_lock(&spool->lock);
    for (;;) {
        struct group group;
        struct slsr_err err = {0};
        int rc;

        while (spool->queue_head == NULL && !spool->closing)
            pthread_cond_wait(&spool->work, &spool->lock);
        if (spool->queue_head == NULL)
            break;
        take_group(spool, &group);
        pthread_mutex_unlock(&spool->lock);
        rc = write_group(spool, &group, &err);
        pthread_mutex_lock(&spool->lock);
        if (rc == SLSR_EFULL) {
            spool->full = true;
            spool->wanted_bytes = group.bytes;
        }
        for (struct slsr_ticket *t = group.head; t != NULL;) {
            struct slsr_ticket *after = t->next;

            give_back_prepared(spool, t->prepared);
            t->prepared = NULL;
            t->rc = rc;
            t->err = err;
            t->done = true;
            t = after;
        }
        pthread_cond_broadcast(&spool->settled);
    }
    pthread_mutex_unlock(&spool->lock);
    return NULL;
}
