/* The frames: "LEN <13>1 - - - - - - shard S frame K <padding>", a function of shard and number. */
#include <string.h>

#include "crash.h"

#include "base/batch.h"
#include "base/cursor.h"

uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Text of a frame without its octet count; returns its length. */
static size_t text_of(char *out, uint32_t shard, uint64_t k, uint32_t frame_max)
{
    uint64_t state = k * SHARDS_MAX + shard;
    const size_t head = (size_t)sprintf(out, "<13>1 - - - - - - shard %u frame %llu ", shard,
                                        (unsigned long long)k);
    const size_t n = head + 1 + random_next(&state) % frame_max;

    for (size_t i = head; i < n; i++) {
        if (i % 8 == 0)
            random_next(&state);
        out[i] = (char)('!' + (state >> (i % 8 * 7)) % 90);
    }
    return n;
}

void frame_add(struct slsr_batch *batch, uint32_t shard, uint64_t k, uint32_t frame_max)
{
    char *at;
    char count[24];
    size_t n;
    size_t digits;

    if (!batch_reserve(batch, (size_t)frame_max + 200))
        return;
    at = batch->data + batch->used;
    n = text_of(at + 24, shard, k, frame_max);
    digits = (size_t)snprintf(count, sizeof count, "%zu ", n);
    memmove(at + digits, at + 24, n);
    memcpy(at, count, digits);
    batch->used += digits + n;
    batch->meta[batch->frame_count++] = (struct slsr_frame_meta){
        .end = (uint32_t)batch->used, .index = (uint32_t)batch->frame_count, .time_s = 1700000000};
}

bool frame_is(const struct slsr_frame *frame, uint64_t k, uint32_t frame_max)
{
    static char text[1 << 20];
    const size_t n = text_of(text, frame->stream.shard, k, frame_max);

    return frame->message.n == n && memcmp(frame->message.p, text, n) == 0;
}

struct slsr_stream frame_stream(uint32_t shard)
{
    return (struct slsr_stream){"project", "logstore", shard};
}

void frame_cursor(char out[SLSR_CURSOR_MAX + 1], uint64_t k)
{
    cursor_text(k, out);
}

bool frame_cursor_number(const char *cursor, uint64_t *k)
{
    return cursor_number(cursor, k);
}

struct slsr_spool_config job_config(const struct job *job)
{
    return (struct slsr_spool_config){.path = (char *)(uintptr_t)job->dir,
                                      .max_size_bytes = job->max_size,
                                      .retention_size_bytes = 1};
}
