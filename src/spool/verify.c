/* Walks all segments and judges them: headers, checksums, tables, order, index against chunk; deep
 * also parses every frame's octet count. Damage is reported and passed over, never fatal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/env.h"
#include "spool/internal.h"

struct walk {
    struct slsr_spool *spool;
    struct slsr_verify *v;
    uint64_t expected; /* next sequence */
    uint64_t all;
    bool stopped;
    struct chunk_reader reader;
};

static void bad(struct walk *walk, uint64_t first, uint64_t last, const char *what)
{
    char sentence[400];

    walk->v->damaged++;
    if (walk->v->bad == NULL)
        return;
    if (last > first)
        snprintf(sentence, sizeof sentence, "frames %llu..%llu: %s", (unsigned long long)first,
                 (unsigned long long)last, what);
    else
        snprintf(sentence, sizeof sentence, "frame %llu: %s", (unsigned long long)first, what);
    walk->v->bad(walk->v->ctx, sentence);
}

/* "123 " in front of exactly 123 bytes. */
static bool octets_agree(const char *p, size_t n)
{
    size_t value = 0;
    size_t i = 0;

    while (i < n && i < 10 && p[i] >= '0' && p[i] <= '9')
        value = value * 10 + (size_t)(p[i++] - '0');
    return i > 0 && p[0] != '0' && i < n && p[i] == ' ' && n - i - 1 == value;
}

static void check_frames(struct walk *walk, const struct chunk_view *chunk)
{
    uint32_t last = 0;

    for (uint32_t i = 0; i < chunk->header.count; i++) {
        struct slsr_frame_meta meta;
        const uint64_t seq = chunk->header.first + i;

        chunk_meta(chunk->meta + (size_t)i * CHUNK_META_BYTES, &meta);
        if (meta.end <= last || meta.end > chunk->frames.n) {
            bad(walk, seq, chunk->header.first + chunk->header.count - 1,
                "the chunk's table points outside of it");
            return;
        }
        if (walk->v->deep && !octets_agree(chunk->frames.p + last, meta.end - last))
            bad(walk, seq, seq, "its octet count does not fit its length");
        last = meta.end;
    }
    if (last != chunk->frames.n)
        bad(walk, chunk->header.first, chunk->header.first + chunk->header.count - 1,
            "the chunk's table does not cover it");
}

static void check_chunk(struct walk *walk, uint64_t first, const MDB_val *data,
                        const struct layout_index *index)
{
    struct chunk_view chunk;
    struct slsr_err err;
    bool header_ok;
    const int rc = chunk_read(data->mv_data, data->mv_size, walk->spool->crypt, &walk->reader,
                              &chunk, &header_ok, &err);
    const bool sealed = rc == SLSR_ECONFIG; /* no key: its hash is right, that is all we can say */
    const uint32_t count = header_ok ? chunk.header.count : index != NULL ? index->count : 1;

    if (first != walk->expected)
        bad(walk, walk->expected < first ? walk->expected : first,
            walk->expected < first ? first - 1 : first,
            walk->expected < first ? "missing" : "stored twice");
    if (rc != 0 && !sealed) {
        bad(walk, first, first + count - 1, err.text);
    } else if (chunk.header.first != first || index == NULL || index->count != count ||
               index->stream != chunk.header.stream ||
               (!sealed && index->bytes != chunk.frames.n)) {
        bad(walk, first, first + count - 1, "chunk and index record disagree");
    } else if (sealed) {
        walk->v->sealed_chunks++;
        walk->v->bytes += index->bytes;
    } else {
        check_frames(walk, &chunk);
        walk->v->bytes += chunk.frames.n;
    }
    walk->v->chunks++;
    walk->v->frames += count;
    walk->expected = first + count;
    walk->stopped =
        walk->v->progress != NULL && !walk->v->progress(walk->v->ctx, walk->v->frames, walk->all);
}

/* One read transaction per stretch, so that a long walk pins nothing for long. */
enum { STRETCH_CHUNKS = 64 };

static int check_stretch(struct walk *walk, struct segment *seg, uint64_t *from, bool *more)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    size_t wanted = (size_t)*from;
    int rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn);

    *more = false;
    if (rc == 0)
        rc = mdb_cursor_open(txn, seg->chunks, &cursor);
    key = (MDB_val){sizeof wanted, &wanted};
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    for (int i = 0; rc == 0 && i < STRETCH_CHUNKS; i++) {
        const uint64_t first = env_key(&key);
        struct layout_index index;
        MDB_val record;
        const bool indexed = mdb_get(txn, seg->index, &key, &record) == 0 &&
                             layout_get_index(record.mv_data, record.mv_size, &index);

        check_chunk(walk, first, &data, indexed ? &index : NULL);
        *from = first + 1;
        *more = !walk->stopped;
        if (walk->stopped)
            break;
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND) {
        *more = false;
        rc = 0;
    }
    return rc;
}

/* Retention takes segments away from the head, also while somebody looks. */
static bool is_head(struct slsr_spool *spool, const struct segment *seg)
{
    bool head;

    pthread_mutex_lock(&spool->lock);
    head = spool->segment_count > 0 && spool->segments[0] == seg;
    pthread_mutex_unlock(&spool->lock);
    return head;
}

static int check_segment(struct walk *walk, uint64_t seq, struct slsr_err *err)
{
    struct segment *seg = NULL;
    uint64_t from;
    bool more = true;
    int rc = segment_acquire(walk->spool, seq, &seg, err);

    if (rc != 0)
        return rc;
    if (seg->first != seq) { /* its own is gone; this one has its own turn, and knows of a hole */
        if (seg->first > seq && is_head(walk->spool, seg))
            walk->expected = seg->first;
        segment_release(walk->spool, seg);
        return 0;
    }
    walk->v->segments++;
    if (seg->first != walk->expected) {
        bad(walk, walk->expected, seg->first - 1, "missing between two segments");
        walk->expected = seg->first;
    }
    from = seg->first;
    while (rc == 0 && more)
        rc = check_stretch(walk, seg, &from, &more);
    if (rc != 0) {
        struct slsr_err why;

        env_fail(&why, rc, "segment seg-%016llx.mdb cannot be walked",
                 (unsigned long long)seg->first);
        bad(walk, walk->expected, walk->expected, why.text);
    }
    segment_release(walk->spool, seg);
    return 0;
}

int slsr_spool_verify(struct slsr_spool *spool, struct slsr_verify *verify, struct slsr_err *err)
{
    struct walk walk = {.spool = spool, .v = verify};
    uint64_t *starts = NULL;
    size_t count;
    uint64_t oldest;
    uint64_t next;
    int rc = slsr_spool_bounds(spool, &oldest, &next, err);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&spool->lock);
    count = spool->segment_count;
    starts = calloc(count + 1, sizeof *starts);
    for (size_t i = 0; starts != NULL && i < count; i++)
        starts[i] = spool->segments[i]->first;
    pthread_mutex_unlock(&spool->lock);
    if (starts == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory to verify");
    walk.expected = oldest;
    walk.all = next - oldest;
    for (size_t i = 0; i < count && !walk.stopped; i++) {
        struct slsr_err why;

        rc = check_segment(&walk, starts[i], &why);
        if (rc != 0)
            bad(&walk, starts[i], starts[i], why.text);
    }
    free(starts);
    chunk_reader_fini(&walk.reader);
    if (walk.stopped)
        return slsr_fail(err, SLSR_ESTOPPED, "the walk was ended before all was read");
    return verify->damaged == 0
               ? 0
               : slsr_fail(err, SLSR_ECORRUPT, "%llu damages in spool %s",
                           (unsigned long long)verify->damaged, spool->config.path);
}
