/* What a segment says of itself: head, end, checkpoints, summary. */
#include <stdio.h>
#include <string.h>

#include "spool/env.h"
#include "spool/internal.h"

#include "base/clock.h"
#include "base/diag.h"

/* Free pages near the head of the file: runs of RUN_PAGES, a wall of one page behind each, so that
 * no chunk of the usual size fits in. At most one page of SHARE. */
enum { RUNS = 16, RUN_PAGES = 8, SHARE = 128 };

/* A record of as many pages, all zeros. */
static int put_pages(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, size_t pages, size_t page_bytes)
{
    MDB_val data = {pages * page_bytes - 16, NULL}; /* a page head stands in front */
    const int rc = mdb_put(txn, dbi, key, &data, MDB_RESERVE);

    if (rc == 0)
        memset(data.mv_data, 0, data.mv_size);
    return rc;
}

int segment_tree_room(const struct slsr_spool *spool, const struct segment *seg, MDB_txn *txn)
{
    MDB_stat st;
    size_t runs;
    int rc = mdb_stat(txn, seg->meta, &st);

    if (rc != 0)
        return rc;
    runs = spool->segment_bytes / st.ms_psize / SHARE / (RUN_PAGES + 1);
    if (runs > RUNS)
        runs = RUNS;
    for (size_t step = 0; rc == 0 && step < 2 * runs; step++) {
        const bool laying = step < runs;
        char room[16];
        char wall[16];
        MDB_val key = {
            (size_t)snprintf(room, sizeof room, "room %02zu", laying ? step : step - runs), room};

        rc = laying ? put_pages(txn, seg->meta, &key, RUN_PAGES, st.ms_psize)
                    : mdb_del(txn, seg->meta, &key, NULL);
        key = (MDB_val){(size_t)snprintf(wall, sizeof wall, "wall %02zu", step), wall};
        if (rc == 0 && laying)
            rc = put_pages(txn, seg->meta, &key, 1, st.ms_psize);
    }
    return rc;
}

int segment_floor(MDB_cursor *cursor, uint64_t seq, MDB_val *key, MDB_val *data)
{
    size_t wanted = (size_t)seq;
    int rc;

    key->mv_size = sizeof wanted;
    key->mv_data = &wanted;
    rc = mdb_cursor_get(cursor, key, data, MDB_SET_RANGE);
    if (rc == 0 && env_key(key) == seq)
        return 0;
    return mdb_cursor_get(cursor, key, data, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

/* The last index record is damaged: the chunk's header knows as much; where that is damaged, too,
 * no more frames than half its bytes can have been in it. */
static int tail_of_chunk(struct segment *seg, MDB_txn *txn)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct chunk_header header;
    struct layout_index index;
    int rc = mdb_cursor_open(txn, seg->chunks, &cursor);

    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    if (rc == 0 && chunk_header(data.mv_data, data.mv_size, &header, NULL) == 0) {
        seg->next = env_key(&key) + header.count;
        seg->newest_ms = header.arrival_ms;
    } else if (rc == 0) {
        seg->next = env_key(&key) + data.mv_size / 2 + 1;
        seg->newest_ms = clock_wall_ms();
    }
    mdb_cursor_close(cursor);
    cursor = NULL;
    if (rc == 0)
        rc = mdb_cursor_open(txn, seg->index, &cursor);
    if (rc == 0) {
        int step = mdb_cursor_get(cursor, &key, &data, MDB_LAST);

        seg->end_bytes = 0; /* for people: as of the last good record */
        while (step == 0 && !layout_get_index(data.mv_data, data.mv_size, &index))
            step = mdb_cursor_get(cursor, &key, &data, MDB_PREV);
        if (step == 0)
            seg->end_bytes = index.bytes_before + index.bytes;
        mdb_cursor_close(cursor);
    }
    return rc;
}

int segment_tail(struct segment *seg, struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct layout_index index;
    struct layout_head head;
    int rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn);

    if (rc == 0)
        rc = mdb_cursor_open(txn, seg->index, &cursor);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    if (rc == 0) {
        if (!layout_get_index(data.mv_data, data.mv_size, &index)) {
            rc = tail_of_chunk(seg, txn);
        } else {
            seg->next = env_key(&key) + index.count;
            seg->end_bytes = index.bytes_before + index.bytes;
            seg->newest_ms = index.arrival_ms;
        }
    } else if (rc == MDB_NOTFOUND) {
        key = (MDB_val){4, (void *)"head"};
        rc = mdb_get(txn, seg->meta, &key, &data);
        if (rc == 0 && !layout_get_head(data.mv_data, data.mv_size, &head))
            rc = MDB_CORRUPTED;
        if (rc == 0) {
            seg->next = seg->first;
            seg->end_bytes = head.bytes_before;
            seg->newest_ms = 0;
        }
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc == 0 ? 0
                   : env_fail(err, rc, "cannot read the end of segment %016llx",
                              (unsigned long long)seg->first);
}

int segment_load_streams(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    size_t all = 0;
    int rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn);

    if (rc == 0)
        rc = mdb_cursor_open(txn, seg->streams, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint32_t id;
        char position[SLSR_CURSOR_MAX + 1];
        struct stream *stream;

        all++;
        stream = layout_get_stream(data.mv_data, data.mv_size, &id, position)
                     ? stream_put(spool, id, key.mv_data, key.mv_size)
                     : NULL;
        if (stream != NULL)
            memcpy(stream->cursor, position, sizeof stream->cursor);
        else if (spool->mode == SLSR_SPOOL_WRITE)
            diag(SLSR_LOG_ERROR, "spool",
                 "a checkpoint in segment %016llx is damaged: that shard goes on from the consumer "
                 "group's",
                 (unsigned long long)seg->first);
    }
    if (rc == MDB_NOTFOUND) /* ids are dense: one that we could not read must not be given again */
        streams_reserve(spool, all);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0
                              : env_fail(err, rc, "cannot read the checkpoints of segment %016llx",
                                         (unsigned long long)seg->first);
}

void segment_head(struct slsr_spool *spool, const struct segment *seg, uint64_t bytes_before,
                  unsigned char value[LAYOUT_HEAD_BYTES])
{
    struct layout_head head = {.version = LAYOUT_VERSION,
                               .first = seg->first,
                               .bytes_before = bytes_before,
                               .created_ms = clock_wall_ms()};

    memcpy(head.lineage, spool->lineage, sizeof head.lineage);
    layout_put_head(value, &head);
}

int segment_upgrade(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err)
{
    unsigned char value[LAYOUT_HEAD_BYTES];
    MDB_val key = {4, (void *)"head"};
    MDB_val data = {sizeof value, value};
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(seg->env, NULL, 0, &txn);

    segment_head(spool, seg, seg->end_bytes, value);
    if (rc == 0)
        rc = mdb_put(txn, seg->meta, &key, &data, 0);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    if (rc == 0)
        seg->version = LAYOUT_VERSION;
    return rc == 0 ? 0
                   : env_fail(err, rc, "cannot bring the empty segment %016llx up to date",
                              (unsigned long long)seg->first);
}

static int summarize(struct segment *seg, MDB_txn *txn, struct layout_summary *sum)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int rc = mdb_cursor_open(txn, seg->index, &cursor);

    *sum = (struct layout_summary){
        .next = seg->next, .end_bytes = seg->end_bytes, .min_time_s = UINT32_MAX};
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        struct layout_index index;

        if (!layout_get_index(data.mv_data, data.mv_size, &index)) {
            rc = MDB_CORRUPTED;
            break;
        }
        /* not the first and the last: the clock may have been set back between them */
        if (sum->chunks == 0 || index.arrival_ms < sum->oldest_ms)
            sum->oldest_ms = index.arrival_ms;
        if (sum->chunks == 0 || index.arrival_ms > sum->newest_ms)
            sum->newest_ms = index.arrival_ms;
        if (index.min_time_s < sum->min_time_s)
            sum->min_time_s = index.min_time_s;
        if (index.max_time_s > sum->max_time_s)
            sum->max_time_s = index.max_time_s;
        sum->streams |= (uint64_t)1 << index.stream % 64;
        sum->chunks++;
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int segment_seal(struct segment *seg, struct slsr_err *err)
{
    struct layout_summary sum;
    unsigned char value[LAYOUT_SUMMARY_BYTES];
    MDB_val key = {7, (void *)"summary"};
    MDB_val data = {sizeof value, value};
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(seg->env, NULL, 0, &txn);

    if (rc == 0)
        rc = summarize(seg, txn, &sum);
    if (rc == 0) {
        layout_put_summary(value, &sum);
        rc = mdb_put(txn, seg->meta, &key, &data, 0);
    }
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    return rc == 0
               ? 0
               : env_fail(err, rc, "cannot seal segment %016llx", (unsigned long long)seg->first);
}

bool segment_summary(struct segment *seg, struct layout_summary *out)
{
    MDB_val key = {7, (void *)"summary"};
    MDB_val data;
    MDB_txn *txn = NULL;
    bool there = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn) == 0 &&
                 mdb_get(txn, seg->meta, &key, &data) == 0 &&
                 layout_get_summary(data.mv_data, data.mv_size, out);

    if (txn != NULL)
        mdb_txn_abort(txn);
    return there;
}
