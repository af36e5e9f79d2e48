/* Keys and values of the spool, byte by byte. HOT: layout_batch_hash and layout_put_chunk
 * (tests/bench "append"). Every value ends in, or begins with, an xxh3-64 of its other bytes, so
 * that LMDB handing out a wrong page is noticed. */
#include <stdio.h>

#define XXH_STATIC_LINKING_ONLY /* for a hash state on the stack */
#include <xxhash.h>

#include "spool/layout.h"

enum { MAGIC = 0x534c5343 /* "SLSC" */, FRAMING_OCTET = 1, CODEC_NONE = 0 };

static unsigned char *put32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
    return p + 4;
}

static unsigned char *put64(unsigned char *p, uint64_t v)
{
    return put32(put32(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t get64(const unsigned char *p)
{
    return (uint64_t)get32(p) << 32 | get32(p + 4);
}

/* Checksum behind `n` bytes; returns the whole length. */
static size_t seal(unsigned char *out, size_t n)
{
    put64(out + n, XXH3_64bits(out, n));
    return n + 8;
}

static bool sealed(const unsigned char *p, size_t n)
{
    return n > 8 && get64(p + n - 8) == XXH3_64bits(p, n - 8);
}

size_t layout_payload_bytes(size_t frame_bytes, size_t count, size_t cursor_len)
{
    return frame_bytes + count * LAYOUT_META_BYTES + cursor_len + 1;
}

static size_t batch_start(const struct slsr_batch *batch, size_t from)
{
    return from == 0 ? 0 : batch->meta[from - 1].end;
}

static void put_meta(unsigned char out[LAYOUT_META_BYTES], const struct slsr_frame_meta *meta,
                     size_t base)
{
    unsigned char *p = put32(out, (uint32_t)(meta->end - base));

    p = put32(p, meta->group);
    p = put32(p, meta->index);
    p = put32(p, meta->time_s);
    put32(p, meta->time_ns);
}

uint64_t layout_batch_hash(const struct slsr_batch *batch, size_t from, size_t to)
{
    const size_t base = batch_start(batch, from);
    const size_t cursor_len = strlen(batch->cursor);
    unsigned char records[64 * LAYOUT_META_BYTES];
    unsigned char tail[SLSR_CURSOR_MAX + 1];
    XXH3_state_t state;
    size_t n = 0;

    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, batch->data + base, batch->meta[to - 1].end - base);
    for (size_t i = from; i < to; i++) {
        put_meta(records + n, &batch->meta[i], base);
        n += LAYOUT_META_BYTES;
        if (n == sizeof records || i + 1 == to) {
            XXH3_64bits_update(&state, records, n);
            n = 0;
        }
    }
    memcpy(tail, batch->cursor, cursor_len);
    tail[cursor_len] = (unsigned char)cursor_len;
    XXH3_64bits_update(&state, tail, cursor_len + 1);
    return XXH3_64bits_digest(&state);
}

void layout_put_chunk(unsigned char *out, const struct layout_header *header,
                      const struct slsr_batch *batch, size_t from, size_t to)
{
    const size_t base = batch_start(batch, from);
    const size_t bytes = batch->meta[to - 1].end - base;
    const size_t cursor_len = strlen(batch->cursor);
    unsigned char *p = put32(out, MAGIC);

    *p++ = LAYOUT_VERSION;
    *p++ = CODEC_NONE;
    *p++ = FRAMING_OCTET;
    *p++ = 0;
    p = put64(p, header->first);
    p = put32(p, header->count);
    p = put32(p, header->payload_bytes);
    p = put32(p, header->payload_bytes); /* stored length: the same without compression */
    p = put32(p, header->stream);
    p = put64(p, (uint64_t)header->arrival_ms);
    p = put32(p, header->min_time_s);
    p = put32(p, header->max_time_s);
    p = put64(p, header->payload_hash);
    p = put64(p, XXH3_64bits(out, LAYOUT_HEADER_BYTES - 8));
    memcpy(p, batch->data + base, bytes);
    p += bytes;
    for (size_t i = from; i < to; i++, p += LAYOUT_META_BYTES)
        put_meta(p, &batch->meta[i], base);
    memcpy(p, batch->cursor, cursor_len);
    p[cursor_len] = (unsigned char)cursor_len;
}

int layout_get_chunk(const void *value, size_t size, struct layout_chunk *chunk, bool *header_ok,
                     struct slsr_err *err)
{
    const unsigned char *p = value;
    struct layout_header *h = &chunk->header;
    size_t tail;
    size_t frames;

    *header_ok = false;
    if (size < LAYOUT_HEADER_BYTES || get32(p) != MAGIC ||
        get64(p + 56) != XXH3_64bits(p, LAYOUT_HEADER_BYTES - 8))
        return slsr_fail(err, SLSR_ECORRUPT, "chunk header is damaged");
    if (p[4] != LAYOUT_VERSION || p[5] != CODEC_NONE || p[6] != FRAMING_OCTET)
        return slsr_fail(err, SLSR_EVERSION,
                         "chunk of version %u codec %u framing %u: "
                         "written by a newer sls-relay",
                         p[4], p[5], p[6]);
    h->first = get64(p + 8);
    h->count = get32(p + 16);
    h->payload_bytes = get32(p + 20);
    h->stream = get32(p + 28);
    h->arrival_ms = (int64_t)get64(p + 32);
    h->min_time_s = get32(p + 40);
    h->max_time_s = get32(p + 44);
    h->payload_hash = get64(p + 48);
    *header_ok = true;
    p += LAYOUT_HEADER_BYTES;
    if (h->payload_bytes == 0 || h->payload_bytes != size - LAYOUT_HEADER_BYTES || h->count == 0 ||
        XXH3_64bits(p, h->payload_bytes) != h->payload_hash)
        return slsr_fail(err, SLSR_ECORRUPT, "chunk payload does not match its checksum");
    /* The checksum protects against the disk; these protect against a forged file. */
    tail = (size_t)p[h->payload_bytes - 1] + 1;
    if (tail > SLSR_CURSOR_MAX + 1 ||
        (uint64_t)h->count * LAYOUT_META_BYTES + tail > h->payload_bytes)
        return slsr_fail(err, SLSR_ECORRUPT, "chunk table does not fit its payload");
    frames = h->payload_bytes - tail - (size_t)h->count * LAYOUT_META_BYTES;
    chunk->frames = (struct slsr_bytes){(const char *)p, frames};
    chunk->meta = p + frames;
    chunk->cursor = (struct slsr_bytes){(const char *)p + h->payload_bytes - tail, tail - 1};
    return 0;
}

void layout_get_meta(const unsigned char *record, struct slsr_frame_meta *meta)
{
    meta->end = get32(record);
    meta->group = get32(record + 4);
    meta->index = get32(record + 8);
    meta->time_s = get32(record + 12);
    meta->time_ns = get32(record + 16);
}

void layout_put_index(unsigned char out[LAYOUT_INDEX_BYTES], const struct layout_index *index)
{
    unsigned char *p = put32(out, index->count);

    p = put32(p, index->bytes);
    p = put64(p, (uint64_t)index->arrival_ms);
    p = put32(p, index->min_time_s);
    p = put32(p, index->max_time_s);
    p = put32(p, index->stream);
    p = put32(p, 0);
    put64(p, index->bytes_before);
    seal(out, LAYOUT_INDEX_BYTES - 8);
}

bool layout_get_index(const void *value, size_t size, struct layout_index *index)
{
    const unsigned char *p = value;

    if (size != LAYOUT_INDEX_BYTES || !sealed(p, size))
        return false;
    index->count = get32(p);
    index->bytes = get32(p + 4);
    index->arrival_ms = (int64_t)get64(p + 8);
    index->min_time_s = get32(p + 16);
    index->max_time_s = get32(p + 20);
    index->stream = get32(p + 24);
    index->bytes_before = get64(p + 32);
    return true;
}

void layout_put_head(unsigned char out[LAYOUT_HEAD_BYTES], const struct layout_head *head)
{
    unsigned char *p;

    memset(out, 0, LAYOUT_HEAD_BYTES);
    p = put32(out, head->version);
    p = put64(p, head->first);
    p = put64(p, head->bytes_before);
    p = put64(p, (uint64_t)head->created_ms);
    memcpy(p, head->lineage, sizeof head->lineage);
    seal(out, LAYOUT_HEAD_BYTES - 8);
}

bool layout_get_head(const void *value, size_t size, struct layout_head *head)
{
    const unsigned char *p = value;

    if (size != LAYOUT_HEAD_BYTES || !sealed(p, size))
        return false;
    head->version = get32(p);
    head->first = get64(p + 4);
    head->bytes_before = get64(p + 12);
    head->created_ms = (int64_t)get64(p + 20);
    memcpy(head->lineage, p + 28, sizeof head->lineage);
    return true;
}

size_t layout_key(char out[LAYOUT_KEY_MAX], const struct slsr_stream *stream)
{
    const int n =
        snprintf(out, LAYOUT_KEY_MAX, "%s/%s/%u", stream->project, stream->logstore, stream->shard);

    return n < 0 ? 0 : n >= LAYOUT_KEY_MAX ? LAYOUT_KEY_MAX - 1 : (size_t)n;
}

bool layout_get_key(const void *key, size_t size, char project[SLSR_NAME_MAX + 1],
                    char logstore[SLSR_NAME_MAX + 1], uint32_t *shard)
{
    const char *p = key;
    const char *end = p + size;
    const char *slash = memchr(p, '/', size);
    const char *second = slash == NULL ? NULL : memchr(slash + 1, '/', (size_t)(end - slash - 1));
    uint64_t number = 0;

    if (second == NULL || slash - p > SLSR_NAME_MAX || second - slash - 1 > SLSR_NAME_MAX ||
        end - second - 1 < 1 || end - second - 1 > 10)
        return false;
    memcpy(project, p, (size_t)(slash - p));
    project[slash - p] = '\0';
    memcpy(logstore, slash + 1, (size_t)(second - slash - 1));
    logstore[second - slash - 1] = '\0';
    for (const char *d = second + 1; d < end; d++) {
        if (*d < '0' || *d > '9')
            return false;
        number = number * 10 + (uint64_t)(*d - '0');
    }
    *shard = (uint32_t)number;
    return number <= UINT32_MAX;
}

static unsigned char *put_text(unsigned char *p, const char *text, size_t max)
{
    const size_t n = strnlen(text, max);

    *p++ = (unsigned char)n;
    memcpy(p, text, n);
    return p + n;
}

static const unsigned char *get_text(const unsigned char *p, const unsigned char *end, char *out,
                                     size_t max)
{
    if (p == NULL || p >= end || *p > max || end - p - 1 < *p)
        return NULL;
    memcpy(out, p + 1, *p);
    out[*p] = '\0';
    return p + 1 + *p;
}

size_t layout_put_stream(unsigned char *out, uint32_t id, const char *cursor)
{
    return seal(out, (size_t)(put_text(put32(out, id), cursor, SLSR_CURSOR_MAX) - out));
}

bool layout_get_stream(const void *value, size_t size, uint32_t *id,
                       char cursor[SLSR_CURSOR_MAX + 1])
{
    const unsigned char *p = value;

    if (size < 13 || !sealed(p, size))
        return false;
    *id = get32(p);
    return get_text(p + 4, p + size - 8, cursor, SLSR_CURSOR_MAX) != NULL;
}

size_t layout_put_target(unsigned char *out, const struct slsr_target_state *s)
{
    unsigned char *p = put64(out, s->acked);

    p = put32(p, (uint32_t)s->phase);
    p = put64(p, (uint64_t)s->phase_since_ms);
    p = put64(p, (uint64_t)s->next_retry_ms);
    p = put64(p, (uint64_t)s->written_ms);
    p = put64(p, s->sent_frames);
    p = put64(p, s->resent_frames);
    p = put64(p, s->reconnects);
    p = put64(p, (uint64_t)(s->rate_frames_s < 0 ? 0 : s->rate_frames_s * 1000));
    p = put_text(p, s->error, sizeof s->error - 1);
    return seal(out, (size_t)(p - out));
}

bool layout_get_target(const void *value, size_t size, struct slsr_target_state *s)
{
    const unsigned char *p = value;

    if (size < 77 || !sealed(p, size))
        return false;
    s->acked = get64(p);
    s->phase = (enum slsr_target_phase)get32(p + 8);
    s->phase_since_ms = (int64_t)get64(p + 12);
    s->next_retry_ms = (int64_t)get64(p + 20);
    s->written_ms = (int64_t)get64(p + 28);
    s->sent_frames = get64(p + 36);
    s->resent_frames = get64(p + 44);
    s->reconnects = get64(p + 52);
    s->rate_frames_s = (double)get64(p + 60) / 1000.0;
    return get_text(p + 68, p + size - 8, s->error, sizeof s->error - 1) != NULL;
}

size_t layout_put_note(unsigned char *out, int64_t lag_s, int64_t written_ms, const char *reported)
{
    unsigned char *p = put64(put64(out, (uint64_t)lag_s), (uint64_t)written_ms);

    return seal(out, (size_t)(put_text(p, reported, SLSR_CURSOR_MAX) - out));
}

bool layout_get_note(const void *value, size_t size, int64_t *lag_s, int64_t *written_ms,
                     char reported[SLSR_CURSOR_MAX + 1])
{
    const unsigned char *p = value;

    if (size < 25 || !sealed(p, size))
        return false;
    *lag_s = (int64_t)get64(p);
    *written_ms = (int64_t)get64(p + 8);
    return get_text(p + 16, p + size - 8, reported, SLSR_CURSOR_MAX) != NULL;
}
