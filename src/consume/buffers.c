/* The large buffers of one worker: what they take, and how they come and go.
 *
 * A worker that is alone keeps its two batches and the room for a decoded body. In company, all of
 * it but a batch under way goes to the next worker after each turn (base/warm.h), while it is warm:
 * four shards or 64 then touch little more memory than one. When many are busy, or memory is short,
 * the batch under way is waited for as well. */
#include "consume/shard.h"

#include "base/warm.h"
#include "slsrelay/spool.h"

enum { FIRST_LOG_BYTES = 256 }; /* logs are seldom shorter */

int64_t buffers_held(const struct run *r)
{
    size_t bytes = (size_t)r->body_max + codec_memory(r->intake.codec);

    for (int i = 0; i < 2; i++)
        bytes +=
            r->lanes[i].batch.size + r->lanes[i].batch.meta_size * sizeof(struct slsr_frame_meta);
    return bytes > SMALL_RAW_BYTES ? (int64_t)bytes : 0;
}

static void note_size(struct lane *lane)
{
    if (lane->batch.used == 0)
        return;
    lane->last_bytes = lane->batch.used;
    lane->last_frames = lane->batch.frame_count;
}

/* What the first pull may need: frames are a little longer than the protobuf of their logs. */
static void guess_size(struct lane *lane, size_t raw_size)
{
    lane->last_bytes = raw_size + raw_size / 2;
    lane->last_frames = raw_size / FIRST_LOG_BYTES;
}

void buffers_warm(struct lane *lane, size_t raw_size)
{
    struct slsr_batch *batch = &lane->batch;

    if (batch->data != NULL || batch->meta != NULL)
        return;
    note_size(lane); /* the spool took them */
    if (lane->last_bytes == 0)
        guess_size(lane, raw_size);
    slsr_batch_reset(batch);
    /* an eighth more: the next pull may be a little larger; without memory formatting will say so
     */
    batch->data = warm_take(lane->last_bytes + lane->last_bytes / 8, &batch->size);
    if (lane->last_bytes <= SMALL_RAW_BYTES)
        return;
    batch->meta =
        warm_take((lane->last_frames + lane->last_frames / 8) * sizeof(struct slsr_frame_meta),
                  &batch->meta_size);
    batch->meta_size /= sizeof(struct slsr_frame_meta);
}

static void give_back(struct lane *lane)
{
    struct slsr_batch *batch = &lane->batch;

    note_size(lane);
    warm_give(batch->data, batch->size);
    warm_give(batch->meta, batch->meta_size * sizeof(struct slsr_frame_meta));
    slsr_batch_init(batch);
}

void buffers_pass(struct run *r)
{
    codec_trim(r->intake.codec);
    client_trim(r->client);
    r->body_max = 0;
    for (int i = 0; i < 2; i++)
        if (!r->lanes[i].under_way)
            give_back(&r->lanes[i]);
}

void buffers_shed(struct run *r)
{
    buffers_pass(r);
    memory_set(r->g->memory, &r->held, 0);
}

void buffers_end(struct run *r)
{
    memory_busy(r->g->memory, &r->busy, false);
    memory_set(r->g->memory, &r->held, 0);
    for (int i = 0; i < 2; i++)
        give_back(&r->lanes[i]);
}
