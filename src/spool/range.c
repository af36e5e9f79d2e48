/* Reading a stretch of the spool: one chunk at a time, checksum verified, no copy. HOT.
 *
 * A live range asks first for what is still in memory (recent.c), a whole batch at a time. Else a
 * range holds a reference to its segment and, only inside a call, a read transaction. Chunks larger
 * than a page (LMDB's are the system's) lie in overflow pages that an append-only segment never
 * reuses, so views stay good after the transaction; smaller ones share a leaf page that moves, so
 * they are copied out. What the page cache has is read through the mapping, what it has not, and
 * all that the relay reads, past it (window.c). A chunk that fails its checksum is reported once
 * and skipped by the next call; only what the mapping shows counts for that.
 * size: one position, and all that moves it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "spool/env.h"
#include "spool/internal.h"
#include "spool/pages.h"
#include "spool/recent.h"
#include "spool/sieve.h"
#include "spool/window.h"

#include "base/cursor.h"

/* The longest value that shares a leaf is half a page, and LMDB's pages have at most 32 KiB. */
enum { LEAF_BYTES = 16 * 1024 };
/* A live range that found so many batches in memory, one after the other, has done with its
 * segment. */
enum { RECENT_RUN = 16 };

struct slsr_range {
    struct slsr_spool *spool;
    uint64_t seq, to;
    uint64_t missed;
    struct segment *seg;
    MDB_txn *txn; /* reset between calls */
    struct window window;
    struct chunk_view chunk;
    struct chunk_reader reader;
    bool loaded;
    uint32_t at;        /* frame inside the chunk that comes next */
    uint32_t *ends;     /* of each frame, from the start of the chunk */
    uint32_t *run_ends; /* the same for the last run, from its start; second half of the block */
    size_t ends_size;
    unsigned char small[LEAF_BYTES];
    struct stream_name name;
    uint32_t stream; /* id that the name above belongs to */
    bool named;
    char base[SLSR_CURSOR_MAX + 1];
    char cursor[SLSR_CURSOR_MAX + 1];
    uint32_t cursor_group;
    bool live; /* a sender's: follows without an end */
    struct recent_reader reader_of_recent;
    const struct recent_batch *recent; /* what is loaded, when it is not a chunk */
    unsigned recent_run;
    struct sieve sieve;
};

int slsr_range_open(struct slsr_range **out, struct slsr_spool *spool, uint64_t from, uint64_t to,
                    struct slsr_err *err)
{
    struct slsr_range *range = calloc(1, sizeof *range);

    *out = NULL;
    if (range == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a range");
    range->spool = spool;
    range->window.fd = -1;
    range->seq = from == 0 ? 1 : from;
    range->to = to;
    range->live = to == UINT64_MAX && spool->mode == SLSR_SPOOL_WRITE;
    if (range->live)
        recent_join(&spool->recent, &range->reader_of_recent, range->seq);
    *out = range;
    return 0;
}

static void leave_segment(struct slsr_range *range)
{
    if (range->txn != NULL)
        mdb_txn_abort(range->txn);
    range->txn = NULL;
    window_close(&range->window);
    segment_release(range->spool, range->seg);
    range->seg = NULL;
    range->loaded = false;
}

void slsr_range_close(struct slsr_range *range)
{
    if (range == NULL)
        return;
    leave_segment(range);
    if (range->live)
        recent_leave(&range->spool->recent, &range->reader_of_recent);
    chunk_reader_fini(&range->reader);
    free(range->ends);
    free(range);
}

void slsr_range_seek(struct slsr_range *range, uint64_t seq)
{
    const struct chunk_header *h = &range->chunk.header;

    range->seq = seq == 0 ? 1 : seq;
    if (range->loaded && range->seq >= h->first && range->seq < h->first + h->count)
        range->at = (uint32_t)(range->seq - h->first);
    else
        range->loaded = false;
}

uint64_t slsr_range_position(const struct slsr_range *range)
{
    return range->seq;
}

uint64_t slsr_range_missed(const struct slsr_range *range)
{
    return range->missed;
}

void slsr_range_limit(struct slsr_range *range, uint64_t to)
{
    range->to = to;
}

void slsr_range_time(struct slsr_range *range, int64_t since_ms, int64_t until_ms, bool by_arrival)
{
    range->sieve.timed = true;
    range->sieve.since_ms = since_ms;
    range->sieve.until_ms = until_ms;
    range->sieve.by_arrival = by_arrival;
}

void slsr_range_streams(struct slsr_range *range,
                        bool (*want)(void *ctx, const struct slsr_stream *stream), void *ctx)
{
    range->sieve.want = want;
    range->sieve.want_ctx = ctx;
}

static int begin(struct slsr_range *range)
{
    if (range->txn != NULL)
        return mdb_txn_renew(range->txn);
    return mdb_txn_begin(range->seg->env, NULL, MDB_RDONLY, &range->txn);
}

static void end(struct slsr_range *range)
{
    if (range->txn != NULL)
        mdb_txn_reset(range->txn);
}

/* With a time window or chosen streams: moves range->seq over chunks that cannot match, by the
 * index alone. */
static int skip_by_index(struct slsr_range *range)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct layout_index index;
    int rc = mdb_cursor_open(range->txn, range->seg->index, &cursor);

    if (rc == 0)
        rc = segment_floor(cursor, range->seq, &key, &data);
    while (rc == 0 && range->seq < range->to) {
        const uint64_t first = env_key(&key);

        if (!layout_get_index(data.mv_data, data.mv_size, &index) ||
            !sieve_refuses(&range->sieve, range->spool, range->seg, &index)) {
            if (first > range->seq)
                range->seq = first;
            break;
        }
        range->seq = first + index.count;
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return rc;
}

static int table_room(struct slsr_range *range, size_t count, struct slsr_err *err)
{
    uint32_t *more;

    if (range->ends_size >= count)
        return 0;
    more = realloc(range->ends, 2 * count * sizeof *more);
    if (more == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a chunk's table");
    range->ends = more;
    range->ends_size = count;
    range->run_ends = more + count;
    return 0;
}

static int decode_table(struct slsr_range *range, struct slsr_err *err)
{
    const struct chunk_view *chunk = &range->chunk;
    uint32_t last = 0;
    int rc = table_room(range, chunk->header.count, err);

    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < chunk->header.count; i++) {
        struct slsr_frame_meta meta;

        chunk_meta(chunk->meta + (size_t)i * CHUNK_META_BYTES, &meta);
        if (meta.end <= last || meta.end > chunk->frames.n)
            return slsr_fail(err, SLSR_ECORRUPT, "the table of a chunk points outside of it");
        range->ends[i] = meta.end;
        last = meta.end;
    }
    if (last != chunk->frames.n)
        return slsr_fail(err, SLSR_ECORRUPT, "the table of a chunk does not cover it");
    memcpy(range->base, chunk->cursor.p, chunk->cursor.n);
    range->base[chunk->cursor.n] = '\0';
    range->cursor_group = UINT32_MAX;
    return 0;
}

static bool index_of(struct slsr_range *range, uint64_t first, struct layout_index *index)
{
    size_t seq = (size_t)first;
    MDB_val key = {sizeof seq, &seq};
    MDB_val data;

    return mdb_get(range->txn, range->seg->index, &key, &data) == 0 &&
           layout_get_index(data.mv_data, data.mv_size, index) && index->count > 0;
}

/* Does the chunk at `first` lie below seq as a whole? Its index record knows without a look at the
 * chunk, whose pages may be on the disk. */
static bool below(struct slsr_range *range, uint64_t first, const MDB_val *data)
{
    struct layout_index index;
    struct chunk_header header;

    if (first >= range->seq)
        return false;
    if (index_of(range, first, &index))
        return first + index.count <= range->seq;
    return chunk_header(data->mv_data, data->mv_size, &header, NULL) != 0 ||
           first + header.count <= range->seq;
}

/* Sequence behind a chunk whose header is damaged: its index record knows, or its neighbour. */
static uint64_t chunk_after(struct slsr_range *range, uint64_t first)
{
    size_t seq = (size_t)first;
    MDB_val key = {sizeof seq, &seq};
    MDB_val data;
    MDB_cursor *cursor = NULL;
    struct layout_index index;
    uint64_t after = first + 1;

    if (index_of(range, first, &index))
        return first + index.count;
    if (mdb_cursor_open(range->txn, range->seg->chunks, &cursor) == 0) {
        if (mdb_cursor_get(cursor, &key, &data, MDB_SET_KEY) == 0 &&
            mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == 0)
            after = env_key(&key);
        mdb_cursor_close(cursor);
    }
    return after;
}

/* A chunk that gives no frames. Damage is entered once and passed; a missing key or a newer version
 * is for a person, the range stays where it is. `past`: behind its last frame, as far as known. */
static int pass_by(struct slsr_range *range, uint64_t first, uint64_t past, uint64_t bytes, int rc,
                   const struct slsr_err *why, struct slsr_err *err)
{
    if (err != NULL)
        *err = *why;
    if (rc == SLSR_ECORRUPT) {
        if (past == first + 1)
            past = chunk_after(range, first);
        quarantine_chunk(range->spool, first, past, bytes, why->text);
        range->seq = past > range->seq ? past : range->seq + 1; /* never backwards */
    }
    return slsr_wrap(err, rc, "spool %s, frames %llu..%llu", range->spool->config.path,
                     (unsigned long long)first, (unsigned long long)(past - 1));
}

/* Verifies the chunk and takes it apart. */
static int take(struct slsr_range *range, uint64_t first, const void *value, size_t size,
                bool *header_ok, struct slsr_err *why)
{
    int rc =
        chunk_read(value, size, range->spool->crypt, &range->reader, &range->chunk, header_ok, why);

    if (rc == 0 && range->chunk.header.first != first)
        rc = slsr_fail(why, SLSR_ECORRUPT, "chunk header names another sequence");
    return rc == 0 ? decode_table(range, why) : rc;
}

/* Does the value move with its leaf? No longer one does. */
static bool in_leaf(const struct slsr_range *range, const MDB_val *value)
{
    MDB_stat st;

    return value->mv_size <= sizeof range->small &&
           (mdb_env_stat(range->seg->env, &st) != 0 || value->mv_size <= st.ms_psize);
}

/* Through the mapping. */
static int take_mapped(struct slsr_range *range, uint64_t first, MDB_val data, struct slsr_err *err)
{
    struct slsr_err why = {0};
    bool header_ok = false;
    int rc;

    if (!pages_fault_in(data.mv_data, data.mv_size)) {
        rc = slsr_fail(&why, SLSR_ECORRUPT, "the disk cannot read them");
        return pass_by(range, first, first + 1, data.mv_size, rc, &why, err);
    }
    if (in_leaf(range, &data)) {
        memcpy(range->small, data.mv_data, data.mv_size);
        data.mv_data = range->small;
    }
    rc = take(range, first, data.mv_data, data.mv_size, &header_ok, &why);
    if (rc != 0)
        return pass_by(range, first,
                       header_ok && range->chunk.header.first == first
                           ? first + range->chunk.header.count
                           : first + 1,
                       data.mv_size, rc, &why, err);
    return 0;
}

/* The chunk that the cursor stands on, which is moved. */
static int load_value(struct slsr_range *range, MDB_cursor *cursor, MDB_val key, MDB_val data,
                      struct slsr_err *err)
{
    const uint64_t first = env_key(&key);
    const void *direct = NULL;
    bool header_ok;
    int rc = SLSR_ECORRUPT;

    if (!in_leaf(range, &data))
        direct =
            window_read(&range->window, range->spool, range->seg, cursor, key, data,
                        range->spool->mode == SLSR_SPOOL_WRITE, range->sieve.timed ? 0 : range->to);
    if (direct != NULL)
        rc = take(range, first, direct, data.mv_size, &header_ok, NULL);
    if (direct != NULL && rc == SLSR_ECORRUPT)
        window_refuse(&range->window);
    if (rc != 0)
        rc = take_mapped(range, first, data, err);
    if (rc != 0)
        return rc;
    range->loaded = true;
    range->at = (uint32_t)(range->seq - first);
    return 0;
}

/* Where the segment after the range's own begins; UINT64_MAX: there is none. */
static uint64_t next_segment(const struct slsr_range *range)
{
    return segment_end(range->spool, range->seg->first, UINT64_MAX);
}

/* Over a gap to the chunk at `first`. True: no chunk lies behind its segment, so that key was
 * another one once (the segment's last, for one before it would be out of order: pages.c). */
static bool misplaced(struct slsr_range *range, uint64_t first, uint64_t bytes,
                      struct slsr_err *err)
{
    const uint64_t from = range->seq;
    const uint64_t until = next_segment(range);

    range->seq = first;
    if (first < until)
        return false;
    range->seq = until;
    quarantine_chunk(range->spool, from, until, bytes, "the key of their chunk is damaged");
    slsr_fail(err, SLSR_ECORRUPT, "spool %s: a damaged key", range->spool->config.path);
    return true;
}

/* Loads the chunk with range->seq, or the next one behind a gap, from the range's segment.
 * ENOMATCH: this segment has none. */
static int load_from_segment(struct slsr_range *range, struct slsr_err *err)
{
    MDB_cursor *cursor = NULL;
    MDB_val key = {0};
    MDB_val data = {0};
    bool lost;
    int rc;

    if (sieve_refuses_segment(&range->sieve, range->seg))
        return slsr_fail(err, SLSR_ENOMATCH, "no more frames");
    rc = begin(range);

    if (rc == 0 && !sieve_is_open(&range->sieve))
        rc = skip_by_index(range);
    if (rc == 0)
        rc = mdb_cursor_open(range->txn, range->seg->chunks, &cursor);
    if (rc == 0)
        rc = segment_floor(cursor, range->seq, &key, &data);
    if (rc == 0) {
        uint64_t first = env_key(&key);

        if (below(range, first, &data)) {
            rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
            if (rc == 0)
                first = env_key(&key);
        }
        lost = rc == 0 && first > range->seq && misplaced(range, first, data.mv_size, err);
        if (lost || (rc == 0 && range->seq < range->to)) {
            rc = lost ? SLSR_ECORRUPT : load_value(range, cursor, key, data, err);
            mdb_cursor_close(cursor);
            end(range);
            return rc;
        }
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    end(range);
    if (rc == MDB_PANIC) { /* a failed write made LMDB give the environment up, not the data */
        pthread_mutex_lock(&range->spool->lock);
        if (!range->seg->active) /* the writer leaves its own itself */
            range->seg->broken = true;
        pthread_mutex_unlock(&range->spool->lock);
        leave_segment(range);
    }
    if (rc == 0 || rc == MDB_NOTFOUND)
        return slsr_fail(err, SLSR_ENOMATCH, "no more frames");
    return env_fail(err, rc, "cannot read spool %s at frame %llu", range->spool->config.path,
                    (unsigned long long)range->seq);
}

/* Loads the batch in memory that range->seq lies in, if there is one. It is as the disk has it: it
 * never left this process. */
static bool load_recent(struct slsr_range *range)
{
    const struct recent_batch *found;
    struct chunk_header *h = &range->chunk.header;

    range->recent = NULL;
    if (!range->live || !sieve_is_open(&range->sieve))
        return false;
    found = recent_find(&range->spool->recent, &range->reader_of_recent, range->seq);
    if (found == NULL || range->seq >= range->spool->next_seq ||
        table_room(range, found->batch.frame_count, NULL) != 0) {
        range->recent_run = 0;
        return false;
    }
    if (range->seg != NULL &&
        (++range->recent_run >= RECENT_RUN || range->seq >= next_segment(range)))
        leave_segment(range);
    for (size_t i = 0; i < found->batch.frame_count; i++)
        range->ends[i] = found->batch.meta[i].end;
    *h = (struct chunk_header){.first = found->first,
                               .count = (uint32_t)found->batch.frame_count,
                               .stream = found->stream,
                               .arrival_ms = found->arrival_ms};
    range->chunk.frames = (struct slsr_bytes){found->batch.data, found->batch.used};
    memcpy(range->base, found->batch.cursor, sizeof range->base);
    range->cursor_group = UINT32_MAX;
    range->recent = found;
    range->loaded = true;
    range->at = (uint32_t)(range->seq - found->first);
    return true;
}

/* What lies below `first` was given back before the range came to it. */
static void pass_gone(struct slsr_range *range, uint64_t first)
{
    if (range->seq >= first)
        return;
    range->missed += (first < range->to ? first : range->to) - range->seq;
    range->seq = first;
}

static int load(struct slsr_range *range, struct slsr_err *err)
{
    uint64_t oldest, next, first;
    int rc;

    range->loaded = false;
    if (load_recent(range))
        return 0;
    if (range->spool->mode == SLSR_SPOOL_WRITE && range->seq >= range->spool->next_seq)
        return slsr_fail(err, SLSR_ENOMATCH, "no more frames");
    /* the usual case: the next chunk lies in the same segment, no look at the directory */
    if (range->seg != NULL && range->seq >= range->seg->first && range->seq < next_segment(range)) {
        rc = load_from_segment(range, err);
        if (rc != SLSR_ENOMATCH)
            return rc;
    }
    rc = slsr_spool_bounds(range->spool, &oldest, &next, err);
    if (rc != 0)
        return rc;
    pass_gone(range, oldest);
    while (range->seq < next && range->seq < range->to) {
        if (range->seg == NULL || range->seq < range->seg->first ||
            range->seq >= next_segment(range)) {
            leave_segment(range);
            rc = segment_acquire(range->spool, range->seq, &range->seg, err);
            if (rc == SLSR_ECORRUPT) /* a tool: the relay sets it aside; both pass it */
                range->seq = segment_end(range->spool, range->seq, range->seq + 1);
            if (rc != 0)
                return rc;
            pass_gone(range, range->seg->first);
        }
        rc = load_from_segment(range, err);
        if (rc != SLSR_ENOMATCH)
            return rc;
        first = next_segment(range);
        if (range->seq >= range->to || first == UINT64_MAX)
            break;
        range->seq = first > range->seq ? first : range->seq;
    }
    return slsr_fail(err, SLSR_ENOMATCH, "no more frames");
}

static int want_chunk(struct slsr_range *range, struct slsr_err *err)
{
    if (range->seq >= range->to)
        return slsr_fail(err, SLSR_ENOMATCH, "no more frames");
    if (range->loaded && range->at < range->chunk.header.count)
        return 0;
    if (range->seg != NULL && range->seg->broken)
        leave_segment(range); /* so that it can be opened again */
    return load(range, err);
}

static int name_stream(struct slsr_range *range, struct slsr_err *err)
{
    const uint32_t id = range->chunk.header.stream;
    int rc;

    if (range->named && range->stream == id)
        return 0;
    rc = stream_lookup(range->spool, range->seg, id, &range->name, err);
    if (rc == SLSR_ECORRUPT && range->spool->mode == SLSR_SPOOL_WRITE) {
        /* the frames are sound: a sender only tells shards apart by it */
        range->name.stream = (struct slsr_stream){"?", "?", id};
        rc = 0;
    }
    range->named = rc == 0;
    range->stream = id;
    return rc == 0 ? 0 : slsr_wrap(err, rc, "frame %llu", (unsigned long long)range->seq);
}

int slsr_range_next(struct slsr_range *range, struct slsr_frame *frame, struct slsr_err *err)
{
    struct slsr_frame_meta meta;
    uint32_t start;
    const char *space;
    int rc = want_chunk(range, err);

    if (rc == 0) {
        rc = name_stream(range, err);
        if (rc == SLSR_ECORRUPT) {
            range->seq = range->chunk.header.first + range->chunk.header.count;
            range->loaded = false;
        }
    }
    if (rc != 0)
        return rc;
    if (range->recent != NULL)
        meta = range->recent->batch.meta[range->at];
    else
        chunk_meta(range->chunk.meta + (size_t)range->at * CHUNK_META_BYTES, &meta);
    start = range->at == 0 ? 0 : range->ends[range->at - 1];
    frame->seq = range->seq;
    frame->arrival_ms = range->chunk.header.arrival_ms;
    frame->time_s = meta.time_s;
    frame->time_ns = meta.time_ns;
    frame->stream = range->name.stream;
    if (range->cursor_group != meta.group) {
        cursor_of_group(range->base, meta.group, range->cursor);
        range->cursor_group = meta.group;
    }
    frame->cursor = slsr_bytes_of(range->cursor);
    frame->index = meta.index;
    frame->wire = (struct slsr_bytes){range->chunk.frames.p + start, meta.end - start};
    space = memchr(frame->wire.p, ' ', frame->wire.n < 12 ? frame->wire.n : 12);
    frame->message = frame->wire;
    if (space != NULL) {
        frame->message.p = space + 1;
        frame->message.n = frame->wire.n - (size_t)(space + 1 - frame->wire.p);
    }
    range->at++;
    range->seq++;
    return 0;
}

int slsr_range_next_run(struct slsr_range *range, size_t max_bytes, struct slsr_run *run,
                        struct slsr_err *err)
{
    uint32_t start;
    uint32_t stop;
    uint32_t n = 1;
    int rc = want_chunk(range, err);

    if (rc != 0)
        return rc;
    start = range->at == 0 ? 0 : range->ends[range->at - 1];
    stop = range->chunk.header.count;
    if (range->to - range->chunk.header.first < stop)
        stop = (uint32_t)(range->to - range->chunk.header.first);
    while (range->at + n < stop && range->ends[range->at + n] - start <= max_bytes)
        n++;
    for (uint32_t i = 0; i < n; i++)
        range->run_ends[i] = range->ends[range->at + i] - start;
    run->first = range->seq;
    run->count = n;
    run->ends = range->run_ends;
    run->wire = (struct slsr_bytes){range->chunk.frames.p + start, range->run_ends[n - 1]};
    range->at += n;
    range->seq += n;
    return 0;
}
