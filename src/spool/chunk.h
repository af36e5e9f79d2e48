/* Chunks: frames of one batch, hashed, compressed and encrypted before the writer sees them; and
 * the way back. docs/spool-format.md "Chunk" is this in words. No LMDB here. */
#ifndef SPOOL_CHUNK_H
#define SPOOL_CHUNK_H

#include "spool/crypt.h"

#include "slsrelay/config.h"
#include "slsrelay/types.h"

enum {
    CHUNK_HEADER_BYTES = 128,
    CHUNK_HEADER_BYTES_1 = 64, /* of version 1 */
    CHUNK_META_BYTES = 20,
    CHUNK_BYTES = 256 * 1024 /* a chunk closes here: fits the L2 cache while hashed and copied */
};

enum chunk_codec { CHUNK_PLAIN = 0, CHUNK_LZ4 = 1 };
enum chunk_cipher { CHUNK_OPEN = 0, CHUNK_AES_256_GCM = 1 };

struct chunk_header {
    unsigned char version, codec, cipher;
    uint64_t first;
    uint32_t count;
    uint32_t payload_bytes; /* frames, table and cursor as they are */
    uint32_t stored_bytes;  /* the same compressed */
    uint32_t stream;
    int64_t arrival_ms;
    uint32_t min_time_s, max_time_s;
    uint64_t hash; /* of the stored bytes, so that it can be checked without a key */
    uint64_t key_id;
    unsigned char salt[CRYPT_SALT_BYTES];
    unsigned char tag[CRYPT_TAG_BYTES]; /* of the payload */
};

/* --- writing --- */

/* One chunk that lacks only what the writer knows: sequence, arrival, stream. */
struct chunk {
    struct chunk_header header;
    uint32_t wire_bytes;
    struct slsr_bytes parts[2]; /* the stored bytes, in one or two pieces */
};

/* A batch made ready. Its memory is kept from batch to batch; parts may point into the batch. */
struct prepared {
    struct prepared *next; /* in the pool of the spool */
    struct chunk *chunks;
    size_t count, room;
    size_t stored_bytes;  /* of all chunks with their headers */
    unsigned char *bytes; /* tables, or stored payloads */
    size_t used, size;
    unsigned char *scratch; /* one payload in one piece, for the compressor */
    size_t scratch_size;
    void *lz4;
    struct crypt_box *box;
};

struct prepared *prepared_new(void);
void prepared_free(struct prepared *p);
/* Cuts the batch into chunks. HOT; runs in the thread of the shard. */
int prepare_batch(struct prepared *p, const struct slsr_batch *batch,
                  enum slsr_compression compression, const struct crypt *crypt,
                  struct slsr_err *err);
static inline size_t chunk_size(const struct chunk *chunk)
{
    return CHUNK_HEADER_BYTES + (size_t)chunk->header.stored_bytes;
}
/* Writes the whole value, chunk_size() bytes. box: the writer's, when there is a key. */
int chunk_write(const struct chunk *chunk, const struct crypt *crypt, struct crypt_box *box,
                unsigned char *out, struct slsr_err *err);

/* --- reading --- */

/* A chunk's value taken apart; views into the value or into the reader's memory. */
struct chunk_view {
    struct chunk_header header;
    struct slsr_bytes frames;
    const unsigned char *meta; /* count records of CHUNK_META_BYTES */
    struct slsr_bytes cursor;  /* cursor of the pull */
};

struct chunk_reader { /* zeroed before the first use; one thread */
    unsigned char *raw;
    size_t raw_size;
    unsigned char *clear;
    size_t clear_size;
    struct crypt_box *box;
};
void chunk_reader_fini(struct chunk_reader *reader);

/* Header alone, checked. SLSR_ECORRUPT, SLSR_EVERSION. size may be short of the payload. */
int chunk_header(const void *value, size_t size, struct chunk_header *header, struct slsr_err *err);
/* Header and stored bytes against their hashes: what can be checked without a key. */
int chunk_check(const void *value, size_t size, struct chunk_header *header, bool *header_ok,
                struct slsr_err *err);
/* All of it. 0, SLSR_ECORRUPT, SLSR_EVERSION, SLSR_ECONFIG (key missing: nothing is wrong with the
 * chunk), SLSR_ENOMEM. When only the payload is bad, view->header is filled and `header_ok` true.
 */
int chunk_read(const void *value, size_t size, const struct crypt *crypt,
               struct chunk_reader *reader, struct chunk_view *view, bool *header_ok,
               struct slsr_err *err);
void chunk_meta(const unsigned char *record, struct slsr_frame_meta *meta);

#endif
