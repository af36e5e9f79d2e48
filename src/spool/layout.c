/* Keys and small values of the spool, byte by byte (chunks: chunk.c). Every value ends in an
 * xxh3-64 of its other bytes, so that LMDB handing out a wrong page is noticed. */
#include <stdio.h>

#include <xxhash.h>

#include "spool/bytes.h"
#include "spool/layout.h"

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

void layout_put_summary(unsigned char out[LAYOUT_SUMMARY_BYTES], const struct layout_summary *s)
{
    unsigned char *p = put64(out, s->next);

    p = put64(p, s->end_bytes);
    p = put64(p, (uint64_t)s->oldest_ms);
    p = put64(p, (uint64_t)s->newest_ms);
    p = put32(p, s->min_time_s);
    p = put32(p, s->max_time_s);
    p = put32(p, s->chunks);
    p = put32(p, 0);
    p = put64(p, s->streams);
    put64(p, 0);
    seal(out, LAYOUT_SUMMARY_BYTES - 8);
}

bool layout_get_summary(const void *value, size_t size, struct layout_summary *s)
{
    const unsigned char *p = value;

    if (size != LAYOUT_SUMMARY_BYTES || !sealed(p, size))
        return false;
    s->next = get64(p);
    s->end_bytes = get64(p + 8);
    s->oldest_ms = (int64_t)get64(p + 16);
    s->newest_ms = (int64_t)get64(p + 24);
    s->min_time_s = get32(p + 32);
    s->max_time_s = get32(p + 36);
    s->chunks = get32(p + 40);
    s->streams = get64(p + 48);
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

    if (second == NULL || slash == p || slash - p > SLSR_NAME_MAX || second == slash + 1 ||
        second - slash - 1 > SLSR_NAME_MAX || end - second - 1 < 1 || end - second - 1 > 10 ||
        memchr(p, '\0', size) != NULL)
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
    p = put_text(p, s->cause, sizeof s->cause - 1);
    p = put64(p, (uint64_t)s->cause_since_ms);
    p = put64(p, (uint64_t)s->cert_expires_ms);
    p = put64(p, (uint64_t)s->peer_cert_expires_ms);
    p = put_text(p, s->server, sizeof s->server - 1);
    return seal(out, (size_t)(p - out));
}

bool layout_get_target(const void *value, size_t size, struct slsr_target_state *s)
{
    const unsigned char *p = value, *end = p + size - 8;

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
    p = get_text(p + 68, end, s->error, sizeof s->error - 1);
    if (p == NULL || p == end)
        return p != NULL; /* a record of version 1 ends here */
    p = get_text(p, end, s->cause, sizeof s->cause - 1);
    if (p == NULL || end - p < 24)
        return false;
    s->cause_since_ms = (int64_t)get64(p);
    s->cert_expires_ms = (int64_t)get64(p + 8);
    s->peer_cert_expires_ms = (int64_t)get64(p + 16);
    return get_text(p + 24, end, s->server, sizeof s->server - 1) != NULL;
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
