/* Batches to chunks and back. HOT: prepare_batch and chunk_write (tests/bench "append"), chunk_read
 * ("drain").
 *
 * Writing: the shard's thread cuts its batch, writes the tables, hashes, and if wanted compresses
 * and encrypts; the writer adds sequence and arrival, and copies once. Plain frames are not copied
 * before that: a chunk's parts point into the batch. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#define XXH_STATIC_LINKING_ONLY /* for a hash state on the stack */
#include <xxhash.h>
#ifdef __x86_64__
#include <xxh_x86dispatch.h> /* AVX2 where there is one: half the time of the SSE2 that is built in */
#endif

#include "spool/bytes.h"
#include "spool/chunk.h"

enum { MAGIC = 0x534c5343 /* "SLSC" */, VERSION = 2, FRAMING_OCTET = 1 };
/* Offsets of version 2: the payload's tag covers [0, 80) without first, arrival and hash, the
 * header's tag all of [0, 96). */
enum { AT_FIRST = 8, AT_ARRIVAL = 32, AT_HASH = 48, AT_TAG = 80, AT_SIGN = 96, AT_SEAL = 120 };

struct prepared *prepared_new(void)
{
    return calloc(1, sizeof(struct prepared));
}

void prepared_free(struct prepared *p)
{
    if (p == NULL)
        return;
    free(p->chunks);
    free(p->bytes);
    free(p->scratch);
    free(p->lz4);
    crypt_box_free(p->box);
    free(p);
}

static bool room(unsigned char **p, size_t *size, size_t need)
{
    unsigned char *more;

    if (*size >= need)
        return true;
    more = malloc(need); /* what was in it is not needed any more */
    if (more == NULL)
        return false;
    free(*p);
    *p = more;
    *size = need;
    return true;
}

static size_t base_of(const struct slsr_batch *batch, size_t from)
{
    return from == 0 ? 0 : batch->meta[from - 1].end;
}

static size_t chunk_end(const struct slsr_batch *batch, size_t from)
{
    const size_t base = base_of(batch, from);
    size_t to = from + 1; /* a bigger frame is a chunk of its own */

    while (to < batch->frame_count && batch->meta[to].end - base <= CHUNK_BYTES)
        to++;
    return to;
}

/* Table and cursor of [from, to) to out; returns their end. */
static unsigned char *put_table(unsigned char *out, const struct slsr_batch *batch, size_t from,
                                size_t to, struct chunk_header *header)
{
    const size_t base = base_of(batch, from);
    const size_t cursor_len = strlen(batch->cursor);
    uint32_t min = UINT32_MAX;
    uint32_t max = 0;

    for (size_t i = from; i < to; i++) {
        const struct slsr_frame_meta *meta = &batch->meta[i];

        out = put32(out, (uint32_t)(meta->end - base));
        out = put32(out, meta->group);
        out = put32(out, meta->index);
        out = put32(out, meta->time_s);
        out = put32(out, meta->time_ns);
        if (meta->time_s < min)
            min = meta->time_s;
        if (meta->time_s > max)
            max = meta->time_s;
    }
    header->min_time_s = min;
    header->max_time_s = max;
    memcpy(out, batch->cursor, cursor_len);
    out[cursor_len] = (unsigned char)cursor_len;
    return out + cursor_len + 1;
}

static void put_header(unsigned char out[CHUNK_HEADER_BYTES], const struct chunk_header *h)
{
    unsigned char *p = put32(out, MAGIC);

    *p++ = VERSION;
    *p++ = h->codec;
    *p++ = FRAMING_OCTET;
    *p++ = h->cipher;
    p = put64(p, h->first);
    p = put32(p, h->count);
    p = put32(p, h->payload_bytes);
    p = put32(p, h->stored_bytes);
    p = put32(p, h->stream);
    p = put64(p, (uint64_t)h->arrival_ms);
    p = put32(p, h->min_time_s);
    p = put32(p, h->max_time_s);
    p = put64(p, h->hash);
    p = put64(p, h->key_id);
    memcpy(p, h->salt, sizeof h->salt);
    memcpy(p + sizeof h->salt, h->tag, sizeof h->tag);
    memset(out + AT_SIGN, 0, CHUNK_HEADER_BYTES - AT_SIGN);
}

/* What the payload's tag authenticates: the header as far as the shard's thread knows it. */
static void payload_aad(const unsigned char header[CHUNK_HEADER_BYTES], unsigned char aad[AT_TAG])
{
    memcpy(aad, header, AT_TAG);
    memset(aad + AT_FIRST, 0, 8);
    memset(aad + 28, 0, 4); /* stream id */
    memset(aad + AT_ARRIVAL, 0, 8);
    memset(aad + AT_HASH, 0, 8);
}

static uint64_t hash_of(const struct chunk *chunk)
{
    XXH3_state_t state;

    if (chunk->parts[1].n == 0)
        return XXH3_64bits(chunk->parts[0].p, chunk->parts[0].n);
    XXH3_64bits_reset(&state);
    for (int i = 0; i < 2; i++)
        XXH3_64bits_update(&state, chunk->parts[i].p, chunk->parts[i].n);
    return XXH3_64bits_digest(&state);
}

/* Tries to make one smaller piece of the chunk's two; leaves it alone when that does not pay. */
static int compress(struct prepared *p, struct chunk *chunk, struct slsr_err *err)
{
    const size_t raw = chunk->header.payload_bytes;
    int n;

    if (raw > LZ4_MAX_INPUT_SIZE)
        return 0;
    if (p->lz4 == NULL)
        p->lz4 = malloc((size_t)LZ4_sizeofState());
    if (p->lz4 == NULL || !room(&p->scratch, &p->scratch_size, raw))
        return slsr_fail(err, SLSR_ENOMEM, "no memory to compress a chunk");
    memcpy(p->scratch, chunk->parts[0].p, chunk->parts[0].n);
    memcpy(p->scratch + chunk->parts[0].n, chunk->parts[1].p, chunk->parts[1].n);
    /* the table lies at the end of what is used: the result takes its place and the room behind */
    p->used = (size_t)((const unsigned char *)chunk->parts[1].p - p->bytes);
    n = LZ4_compress_fast_extState(p->lz4, (const char *)p->scratch, (char *)p->bytes + p->used,
                                   (int)raw, (int)(raw - raw / 16), 1);
    if (n <= 0) { /* no gain: the table comes back */
        memcpy(p->bytes + p->used, p->scratch + chunk->parts[0].n, chunk->parts[1].n);
        p->used += chunk->parts[1].n;
        return 0;
    }
    chunk->parts[0] = (struct slsr_bytes){(const char *)p->bytes + p->used, (size_t)n};
    chunk->parts[1].n = 0;
    p->used += (size_t)n;
    chunk->header.codec = CHUNK_LZ4;
    chunk->header.stored_bytes = (uint32_t)n;
    return 0;
}

static int encrypt(struct prepared *p, struct chunk *chunk, const struct crypt *crypt,
                   struct slsr_err *err)
{
    unsigned char raw[CHUNK_HEADER_BYTES];
    unsigned char aad[AT_TAG];
    struct chunk_header *h = &chunk->header;
    const struct slsr_bytes bound = {(const char *)aad, sizeof aad};
    int rc;

    if (p->box == NULL)
        p->box = crypt_box_new();
    h->cipher = CHUNK_AES_256_GCM;
    h->key_id = crypt_writer(crypt);
    rc = crypt_salt(h->salt, err);
    if (rc != 0)
        return rc;
    put_header(raw, h);
    payload_aad(raw, aad);
    rc = crypt_seal(crypt, p->box, h->key_id, h->salt, bound, chunk->parts, 2, p->bytes + p->used,
                    h->tag, err);
    chunk->parts[0] = (struct slsr_bytes){(const char *)p->bytes + p->used, h->stored_bytes};
    chunk->parts[1].n = 0;
    p->used += h->stored_bytes;
    return rc;
}

static int prepare_chunk(struct prepared *p, const struct slsr_batch *batch, size_t from, size_t to,
                         enum slsr_compression compression, const struct crypt *crypt,
                         struct slsr_err *err)
{
    const size_t base = base_of(batch, from);
    struct chunk *chunk = &p->chunks[p->count];
    struct chunk_header *h = &chunk->header;
    unsigned char *table = p->bytes + p->used;
    size_t payload;
    int rc = 0;

    memset(chunk, 0, sizeof *chunk);
    chunk->wire_bytes = (uint32_t)(batch->meta[to - 1].end - base);
    p->used = (size_t)(put_table(table, batch, from, to, h) - p->bytes);
    chunk->parts[0] = (struct slsr_bytes){batch->data + base, chunk->wire_bytes};
    chunk->parts[1] = (struct slsr_bytes){(const char *)table, p->bytes + p->used - table};
    payload = chunk->parts[0].n + chunk->parts[1].n;
    if (payload > UINT32_MAX - CHUNK_HEADER_BYTES || (crypt != NULL && payload > INT_MAX))
        return slsr_fail(err, SLSR_ETOOBIG, "a frame of %zu bytes does not fit a chunk", payload);
    h->version = VERSION;
    h->count = (uint32_t)(to - from);
    h->payload_bytes = (uint32_t)payload;
    h->stored_bytes = h->payload_bytes;
    if (compression == SLSR_COMPRESSION_LZ4)
        rc = compress(p, chunk, err);
    if (rc == 0 && crypt != NULL)
        rc = encrypt(p, chunk, crypt, err);
    if (rc != 0)
        return rc;
    h->hash = hash_of(chunk);
    p->stored_bytes += chunk_size(chunk);
    p->count++;
    return 0;
}

int prepare_batch(struct prepared *p, const struct slsr_batch *batch,
                  enum slsr_compression compression, const struct crypt *crypt,
                  struct slsr_err *err)
{
    const size_t chunks =
        batch->used / CHUNK_BYTES * 2 + 2; /* two neighbours are larger than one */
    const size_t tables = batch->frame_count * CHUNK_META_BYTES + chunks * (SLSR_CURSOR_MAX + 1);
    const size_t copies = (compression == SLSR_COMPRESSION_LZ4 ? batch->used + tables : 0) +
                          (crypt != NULL ? batch->used + tables : 0);
    int rc = 0;

    p->count = 0;
    p->used = 0;
    p->stored_bytes = 0;
    if (p->room < chunks) {
        free(p->chunks);
        p->chunks = calloc(chunks, sizeof *p->chunks);
        p->room = p->chunks != NULL ? chunks : 0;
    }
    if (p->chunks == NULL || !room(&p->bytes, &p->size, tables + copies))
        return slsr_fail(err, SLSR_ENOMEM, "no memory to prepare a batch of %zu bytes",
                         batch->used);
    for (size_t from = 0; rc == 0 && from < batch->frame_count;) {
        const size_t to = chunk_end(batch, from);

        if (p->count == p->room)
            return slsr_fail(err, SLSR_EBADDATA, "the table of a batch does not fit its frames");
        rc = prepare_chunk(p, batch, from, to, compression, crypt, err);
        from = to;
    }
    return rc;
}

int chunk_write(const struct chunk *chunk, const struct crypt *crypt, struct crypt_box *box,
                unsigned char *out, struct slsr_err *err)
{
    const struct chunk_header *h = &chunk->header;
    unsigned char *p = out + CHUNK_HEADER_BYTES;
    int rc = 0;

    put_header(out, h);
    if (h->cipher != CHUNK_OPEN)
        rc = crypt_sign(crypt, box, h->key_id, h->salt,
                        (struct slsr_bytes){(const char *)out, AT_SIGN}, out + AT_SIGN, err);
    put64(out + AT_SEAL, XXH3_64bits(out, AT_SEAL));
    for (int i = 0; i < 2; i++) {
        if (chunk->parts[i].n > 0)
            memcpy(p, chunk->parts[i].p, chunk->parts[i].n);
        p += chunk->parts[i].n;
    }
    return rc;
}

void chunk_reader_fini(struct chunk_reader *reader)
{
    free(reader->raw);
    free(reader->clear);
    crypt_box_free(reader->box);
    memset(reader, 0, sizeof *reader);
}

static size_t header_bytes(const struct chunk_header *h)
{
    return h->version == 1 ? CHUNK_HEADER_BYTES_1 : CHUNK_HEADER_BYTES;
}

int chunk_header(const void *value, size_t size, struct chunk_header *h, struct slsr_err *err)
{
    const unsigned char *p = value;
    const size_t seal = size >= 5 && p[4] == 1 ? CHUNK_HEADER_BYTES_1 - 8 : AT_SEAL;

    memset(h, 0, sizeof *h);
    if (size < seal + 8 || get32(p) != MAGIC || get64(p + seal) != XXH3_64bits(p, seal))
        return slsr_fail(err, SLSR_ECORRUPT, "chunk header is damaged");
    h->version = p[4];
    h->codec = p[5];
    if (h->version > 1)
        h->cipher = p[7];
    if (h->version < 1 || h->version > VERSION || h->codec > CHUNK_LZ4 || p[6] != FRAMING_OCTET ||
        h->cipher > CHUNK_AES_256_GCM || (h->version == 1 && h->codec != CHUNK_PLAIN))
        return slsr_fail(err, SLSR_EVERSION,
                         "chunk of version %u codec %u framing %u cipher %u: written by a newer "
                         "sls-relay",
                         p[4], p[5], p[6], p[7]);
    h->first = get64(p + AT_FIRST);
    h->count = get32(p + 16);
    h->payload_bytes = get32(p + 20);
    h->stored_bytes = get32(p + 24);
    h->stream = get32(p + 28);
    h->arrival_ms = (int64_t)get64(p + AT_ARRIVAL);
    h->min_time_s = get32(p + 40);
    h->max_time_s = get32(p + 44);
    h->hash = get64(p + AT_HASH);
    if (h->version > 1) {
        h->key_id = get64(p + 56);
        memcpy(h->salt, p + 64, sizeof h->salt);
        memcpy(h->tag, p + AT_TAG, sizeof h->tag);
    }
    return 0;
}

/* Sizes that the header promises against those that are there. */
static int check_sizes(size_t size, const struct chunk_header *h, struct slsr_err *err)
{
    if (h->count == 0 || h->payload_bytes == 0 || h->stored_bytes != size - header_bytes(h) ||
        (h->codec == CHUNK_PLAIN && h->stored_bytes != h->payload_bytes) ||
        /* lz4 makes of one byte at most 255 */
        (h->codec == CHUNK_LZ4 && h->payload_bytes / 255 > h->stored_bytes))
        return slsr_fail(err, SLSR_ECORRUPT, "chunk payload is not as long as its header says");
    return 0;
}

int chunk_check(const void *value, size_t size, struct chunk_header *h, bool *header_ok,
                struct slsr_err *err)
{
    int rc = chunk_header(value, size, h, err);

    *header_ok = rc == 0;
    if (rc == 0)
        rc = check_sizes(size, h, err);
    if (rc == 0 &&
        XXH3_64bits((const unsigned char *)value + header_bytes(h), h->stored_bytes) != h->hash)
        rc = slsr_fail(err, SLSR_ECORRUPT, "chunk payload does not match its checksum");
    return rc;
}

static int decrypt(const unsigned char *value, const struct crypt *crypt, struct chunk_reader *r,
                   const struct chunk_header *h, struct slsr_err *err)
{
    const struct slsr_bytes sealed = {(const char *)value + CHUNK_HEADER_BYTES, h->stored_bytes};
    unsigned char aad[AT_TAG];
    int rc;

    if (!crypt_knows(crypt, h->key_id))
        return slsr_fail(err, SLSR_ECONFIG,
                         "encrypted with key %016llx, which is not in "
                         "spool.encryption_key_file: add that key as a further line",
                         (unsigned long long)h->key_id);
    if (r->box == NULL)
        r->box = crypt_box_new();
    if (r->box == NULL || !room(&r->clear, &r->clear_size, h->stored_bytes))
        return slsr_fail(err, SLSR_ENOMEM, "no memory to decrypt a chunk");
    payload_aad(value, aad);
    rc = crypt_check(crypt, r->box, h->key_id, h->salt,
                     (struct slsr_bytes){(const char *)value, AT_SIGN}, value + AT_SIGN, err);
    if (rc == 0)
        rc = crypt_open(crypt, r->box, h->key_id, h->salt,
                        (struct slsr_bytes){(const char *)aad, sizeof aad}, sealed, h->tag,
                        r->clear, err);
    return rc;
}

/* Takes the payload apart. The checksum protects against the disk; these against a forged file. */
static int take_apart(const unsigned char *p, struct chunk_view *view, struct slsr_err *err)
{
    const struct chunk_header *h = &view->header;
    const size_t tail = (size_t)p[h->payload_bytes - 1] + 1;
    size_t frames;

    if (tail > SLSR_CURSOR_MAX + 1 ||
        (uint64_t)h->count * CHUNK_META_BYTES + tail > h->payload_bytes)
        return slsr_fail(err, SLSR_ECORRUPT, "chunk table does not fit its payload");
    frames = h->payload_bytes - tail - (size_t)h->count * CHUNK_META_BYTES;
    view->frames = (struct slsr_bytes){(const char *)p, frames};
    view->meta = p + frames;
    view->cursor = (struct slsr_bytes){(const char *)p + h->payload_bytes - tail, tail - 1};
    return 0;
}

int chunk_read(const void *value, size_t size, const struct crypt *crypt, struct chunk_reader *r,
               struct chunk_view *view, bool *header_ok, struct slsr_err *err)
{
    struct chunk_header *h = &view->header;
    const unsigned char *p = value;
    int rc = chunk_check(value, size, h, header_ok, err);

    if (rc != 0)
        return rc;
    p += header_bytes(h);
    if (h->cipher != CHUNK_OPEN) {
        rc = decrypt(value, crypt, r, h, err);
        p = r->clear;
    }
    if (rc == 0 && h->codec == CHUNK_LZ4) {
        if (!room(&r->raw, &r->raw_size, h->payload_bytes))
            return slsr_fail(err, SLSR_ENOMEM, "no memory to decompress a chunk");
        if (h->stored_bytes > INT_MAX || h->payload_bytes > INT_MAX ||
            LZ4_decompress_safe((const char *)p, (char *)r->raw, (int)h->stored_bytes,
                                (int)h->payload_bytes) != (int)h->payload_bytes)
            return slsr_fail(err, SLSR_ECORRUPT, "chunk payload does not decompress");
        p = r->raw;
    }
    return rc == 0 ? take_apart(p, view, err) : rc;
}

void chunk_meta(const unsigned char *record, struct slsr_frame_meta *meta)
{
    meta->end = get32(record);
    meta->group = get32(record + 4);
    meta->index = get32(record + 8);
    meta->time_s = get32(record + 12);
    meta->time_ns = get32(record + 16);
}
