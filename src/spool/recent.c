/* The newest batches in memory. HOT: once a batch, not once a frame.
 *
 * A list, oldest first. A batch leaves it when no near reader is before its end, when newer ones
 * need the room, or when its frames are deleted; its memory goes back with its last user. */
#include <stdlib.h>
#include <string.h>

#include "base/warm.h"
#include "slsrelay/spool.h"
#include "spool/recent.h"

void recent_init(struct recent *recent)
{
    memset(recent, 0, sizeof *recent);
    pthread_mutex_init(&recent->lock, NULL);
}

static void release(struct recent_batch *b)
{
    if (b == NULL || --b->users > 0)
        return;
    warm_give(b->batch.data, b->batch.size);
    warm_give(b->batch.meta, b->batch.meta_size * sizeof *b->batch.meta);
    free(b);
}

static void drop_oldest(struct recent *recent)
{
    struct recent_batch *b = recent->oldest;

    recent->oldest = b->next;
    if (recent->oldest == NULL)
        recent->newest = NULL;
    recent->bytes -= b->bytes;
    release(b);
}

static uint64_t end_of(const struct recent_batch *b)
{
    return b->first + b->batch.frame_count;
}

static void drop_below(struct recent *recent, uint64_t seq)
{
    while (recent->oldest != NULL && end_of(recent->oldest) <= seq)
        drop_oldest(recent);
}

void recent_fini(struct recent *recent)
{
    drop_below(recent, UINT64_MAX);
    pthread_mutex_destroy(&recent->lock);
}

/* Where the last of the readers stands that may find here what it wants; UINT64_MAX: none is. */
static uint64_t needed_from(const struct recent *recent)
{
    uint64_t from = UINT64_MAX;

    for (const struct recent_reader *r = recent->readers; r != NULL; r = r->next) {
        const uint64_t behind = recent->end > r->seq ? recent->end - r->seq : 0;

        if (behind * recent->frame_bytes <= RECENT_BYTES && r->seq < from)
            from = r->seq;
    }
    return from;
}

bool recent_wanted(struct recent *recent)
{
    bool wanted;

    pthread_mutex_lock(&recent->lock);
    wanted = needed_from(recent) != UINT64_MAX;
    pthread_mutex_unlock(&recent->lock);
    return wanted;
}

bool recent_put(struct recent *recent, const struct slsr_batch *batch, uint64_t first,
                uint32_t stream, int64_t arrival_ms)
{
    const size_t bytes = batch->size + batch->meta_size * sizeof *batch->meta;
    struct recent_batch *b = bytes <= RECENT_BYTES ? calloc(1, sizeof *b) : NULL;

    if (b == NULL)
        return false;
    b->users = 1;
    b->bytes = sizeof *b + bytes;
    b->first = first;
    b->stream = stream;
    b->arrival_ms = arrival_ms;
    b->batch = *batch;
    pthread_mutex_lock(&recent->lock);
    while (recent->oldest != NULL && recent->bytes + b->bytes > RECENT_BYTES)
        drop_oldest(recent);
    if (recent->newest != NULL)
        recent->newest->next = b;
    else
        recent->oldest = b;
    recent->newest = b;
    recent->bytes += b->bytes;
    pthread_mutex_unlock(&recent->lock);
    return true;
}

void recent_end(struct recent *recent, uint64_t end, uint64_t total_bytes)
{
    pthread_mutex_lock(&recent->lock);
    recent->end = end;
    recent->frame_bytes = total_bytes / end;
    drop_below(recent, needed_from(recent));
    pthread_mutex_unlock(&recent->lock);
}

void recent_join(struct recent *recent, struct recent_reader *reader, uint64_t seq)
{
    memset(reader, 0, sizeof *reader);
    reader->seq = seq;
    pthread_mutex_lock(&recent->lock);
    reader->next = recent->readers;
    recent->readers = reader;
    pthread_mutex_unlock(&recent->lock);
}

void recent_leave(struct recent *recent, struct recent_reader *reader)
{
    struct recent_reader **at = &recent->readers;

    pthread_mutex_lock(&recent->lock);
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    release(reader->held);
    reader->held = NULL;
    drop_below(recent, needed_from(recent));
    pthread_mutex_unlock(&recent->lock);
}

const struct recent_batch *recent_find(struct recent *recent, struct recent_reader *reader,
                                       uint64_t seq)
{
    struct recent_batch *b;

    pthread_mutex_lock(&recent->lock);
    release(reader->held);
    reader->held = NULL;
    reader->seq = seq;
    drop_below(recent, needed_from(recent));
    for (b = recent->oldest; b != NULL && end_of(b) <= seq; b = b->next)
        ;
    if (b != NULL && b->first <= seq) {
        b->users++;
        reader->held = b;
    }
    pthread_mutex_unlock(&recent->lock);
    return reader->held;
}

void recent_forget(struct recent *recent, uint64_t seq)
{
    pthread_mutex_lock(&recent->lock);
    drop_below(recent, seq);
    pthread_mutex_unlock(&recent->lock);
}
