/* From the shards' threads to the writer thread: one transaction for all that waits (I1). HOT.
 *
 * The thread of a shard prepares its batch (chunk.c) and queues it. The writer takes a group: when
 * all shards that are busy have handed over, when 8 MB wait, or when the oldest has waited 20 ms;
 * so a single shard or an idle spool never waits, and many shards share a sync.
 * A failed commit leaves nothing visible; every ticket of the group gets the error and its owner
 * may submit the same batch again. */
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "spool/internal.h"

#include "base/clock.h"
#include "base/progress.h"

/* More in one transaction saves no sync worth mentioning, but its pages are fresh and its frames
 * come too late for the sender to find them in memory (docs/performance.md "Scale"). */
enum { GROUP_ENOUGH = 8 * 1000 * 1000, GROUP_BYTES = 12 * 1000 * 1000, GROUP_WAIT_MS = 20 };
/* Of what malloc has free that much is not given back to the kernel. */
enum { KEEP_BYTES = 64 * 1024 * 1024 };
/* A shard is busy that handed over a batch so lately. */
enum { BUSY_MS = 100 };
/* Preparations kept for reuse: two batches under way per shard, and what is too dear to keep. */
enum { POOL_MAX = 64, POOL_BYTES = 32 * 1024 * 1024 };

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

/* Lock held. */
static void note_busy(struct slsr_spool *spool, const struct slsr_checkpoint *cp)
{
    char key[LAYOUT_KEY_MAX];
    struct stream *stream;

    layout_key(key, &cp->stream);
    stream = stream_find(spool, key);
    if (stream != NULL) /* a new one counts from its second batch on */
        stream->busy_ms = clock_mono_ms();
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
    ticket->kept = false;
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
        note_busy(spool, checkpoint);
        pthread_cond_signal(&spool->work);
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

int slsr_spool_settle(struct slsr_spool *spool, struct slsr_ticket *ticket, struct slsr_err *err)
{
    pthread_mutex_lock(&spool->lock);
    progress_park(); /* the writer is watched itself */
    while (!ticket->done)
        pthread_cond_wait(&spool->settled, &spool->lock);
    progress_mark();
    pthread_mutex_unlock(&spool->lock);
    if (ticket->kept) {
        ticket->gift->data = NULL;
        ticket->gift->meta = NULL;
        ticket->gift->size = ticket->gift->meta_size = 0;
    }
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

/* Waits for others to share the sync with, if there are any. Lock held. */
static void gather(struct slsr_spool *spool)
{
    struct timespec ts; /* the kernel's time, also where a test winds ours by hand */

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_nsec += GROUP_WAIT_MS * 1000000L;
    if (ts.tv_nsec >= 1000000000L) {
        ts.tv_nsec -= 1000000000L;
        ts.tv_sec++;
    }
    while (!spool->closing) {
        const int64_t since = clock_mono_ms() - BUSY_MS;
        size_t waiting = 0;
        size_t busy = 0;
        size_t bytes = 0;

        for (const struct slsr_ticket *t = spool->queue_head; t != NULL; t = t->next) {
            waiting++;
            bytes += ticket_bytes(t);
        }
        for (size_t i = 0; i < spool->stream_count; i++)
            if (spool->streams[i] != NULL && spool->streams[i]->busy_ms > since)
                busy++;
        if (waiting >= busy || bytes >= GROUP_ENOUGH ||
            pthread_cond_timedwait(&spool->work, &spool->lock, &ts) != 0)
            return;
    }
}

/* LMDB takes each chunk's page from malloc. By default glibc gives such blocks back to the kernel
 * at each commit and faults them in again at the next: a tenth of a second of CPU per GB. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
}

void *append_thread(void *arg)
{
    struct slsr_spool *spool = arg;

    keep_memory();
    early_start(&spool->early);
    progress_begin("spool-writer");
    pthread_mutex_lock(&spool->lock);
    for (;;) {
        struct group group;
        struct slsr_err err = {0};
        int rc;

        progress_park();
        while (spool->queue_head == NULL && !spool->closing)
            pthread_cond_wait(&spool->work, &spool->lock);
        progress_mark();
        if (spool->queue_head == NULL)
            break;
        gather(spool);
        take_group(spool, &group);
        pthread_mutex_unlock(&spool->lock);
        rc = commit_write(spool, &group, &err);
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
    early_stop(&spool->early);
    progress_end();
    return NULL;
}
