/* Bounds and figures, from index records and headers alone. */
#include <string.h>

#include "spool/env.h"
#include "spool/internal.h"

/* Sequences [first, next) that the spool holds now; a reading tool looks at the disk. */
int slsr_spool_bounds(struct slsr_spool *spool, uint64_t *oldest, uint64_t *next,
                      struct slsr_err *err)
{
    struct segment *seg = NULL;
    int rc = 0;

    pthread_mutex_lock(&spool->lock);
    if (spool->mode == SLSR_SPOOL_READ)
        rc = segments_refresh(spool, err);
    *oldest = spool->segment_count > 0 ? spool->segments[0]->first : 1;
    *next = spool->next_seq;
    pthread_mutex_unlock(&spool->lock);
    if (rc != 0 || spool->mode == SLSR_SPOOL_WRITE)
        return rc;
    rc = segment_acquire(spool, UINT64_MAX, &seg, err);
    if (rc == 0)
        rc = segment_tail(seg, err);
    if (rc == 0)
        *next = seg->next;
    if (rc == SLSR_ECORRUPT) { /* the newest is damaged: what lies before it can be read */
        pthread_mutex_lock(&spool->lock);
        *next = spool->segment_count > 0 ? spool->segments[spool->segment_count - 1]->first : 1;
        if (*next > *oldest)
            rc = 0;
        pthread_mutex_unlock(&spool->lock);
    }
    segment_release(spool, seg);
    return rc == SLSR_ENOMATCH
               ? slsr_fail(err, SLSR_ENOSPOOL, "%s holds no frames yet", spool->config.path)
               : rc;
}

/* What stands in front of seq: index record of its chunk. ENOMATCH: seq is at or behind the end. */
static int index_at(struct slsr_spool *spool, uint64_t seq, uint64_t *first,
                    struct layout_index *index, struct slsr_err *err)
{
    struct segment *seg = NULL;
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int rc = segment_acquire(spool, seq, &seg, err);

    if (rc != 0)
        return rc;
    rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn);
    if (rc == 0)
        rc = mdb_cursor_open(txn, seg->index, &cursor);
    if (rc == 0)
        rc = seq < seg->first ? mdb_cursor_get(cursor, &key, &data, MDB_FIRST)
                              : segment_floor(cursor, seq, &key, &data);
    if (rc == 0 && !layout_get_index(data.mv_data, data.mv_size, index))
        rc = MDB_CORRUPTED;
    if (rc == 0)
        *first = env_key(&key);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    segment_release(spool, seg);
    return rc == 0 ? 0
                   : env_fail(err, rc, "cannot look up frame %llu in spool %s",
                              (unsigned long long)seq, spool->config.path);
}

/* Totals behind the last frame. */
static int tail_of(struct slsr_spool *spool, uint64_t *next, uint64_t *bytes, int64_t *newest_ms,
                   struct slsr_err *err)
{
    struct segment *seg = NULL;
    int rc;

    for (uint64_t at = UINT64_MAX;;) {
        struct segment copy;

        rc = segment_acquire(spool, at, &seg, err);
        if (rc != 0)
            return rc;
        copy = *seg;
        rc = segment_tail(&copy, err);
        segment_release(spool, seg);
        if (rc != 0)
            return rc;
        if (at == UINT64_MAX) {
            *next = copy.next;
            *bytes = copy.end_bytes;
        }
        *newest_ms = copy.newest_ms;
        if (copy.newest_ms != 0 || copy.first <= 1)
            return 0;
        at = copy.first - 1; /* fresh segment: the newest frame is in the one before */
        pthread_mutex_lock(&spool->lock);
        const bool gone = spool->segment_count == 0 || spool->segments[0]->first > at;
        pthread_mutex_unlock(&spool->lock);
        if (gone)
            return 0;
    }
}

bool slsr_spool_full(struct slsr_spool *spool)
{
    bool full;

    pthread_mutex_lock(&spool->lock);
    full = spool->full;
    pthread_mutex_unlock(&spool->lock);
    return full;
}

int slsr_spool_stat(struct slsr_spool *spool, struct slsr_spool_stat *out, struct slsr_err *err)
{
    struct layout_index index;
    uint64_t first;
    uint64_t bytes = 0;
    int rc;

    memset(out, 0, sizeof *out);
    rc = slsr_spool_bounds(spool, &out->oldest_seq, &out->next_seq, err);
    if (rc == 0)
        rc = tail_of(spool, &out->next_seq, &bytes, &out->newest_arrival_ms, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->segment_count; i++)
        out->disk_bytes += segment_disk(spool, spool->segments[i]);
    out->segments = (uint32_t)spool->segment_count;
    out->full = spool->full;
    pthread_mutex_unlock(&spool->lock);
    out->frames = out->next_seq - out->oldest_seq;
    if (out->frames > 0) {
        rc = index_at(spool, out->oldest_seq, &first, &index, err);
        if (rc == 0) {
            out->bytes = bytes - index.bytes_before;
            out->oldest_arrival_ms = index.arrival_ms;
        } else if (rc == SLSR_ENOMATCH) {
            rc = 0;
        }
    }
    out->live = spool->mode == SLSR_SPOOL_WRITE;
    if (!out->live)
        out->live = spool_is_live(spool);
    return rc;
}

int slsr_spool_backlog(struct slsr_spool *spool, uint64_t seq, uint64_t *frames, uint64_t *bytes,
                       int64_t *arrival_ms, struct slsr_err *err)
{
    struct layout_index index;
    uint64_t oldest;
    uint64_t next;
    uint64_t first = 0;
    uint64_t total = 0;
    int64_t newest;
    int rc = slsr_spool_bounds(spool, &oldest, &next, err);

    *frames = 0;
    *bytes = 0;
    *arrival_ms = 0;
    if (rc == 0)
        rc = tail_of(spool, &next, &total, &newest, err);
    if (rc != 0)
        return rc;
    if (seq < oldest)
        seq = oldest;
    if (seq >= next)
        return 0;
    rc = index_at(spool, seq, &first, &index, err);
    if (rc != 0)
        return rc;
    *frames = next - seq;
    *arrival_ms = index.arrival_ms;
    /* inside a chunk: by its average frame, the figure is for people */
    *bytes = total - index.bytes_before -
             (uint64_t)index.bytes * (seq - first) / (index.count > 0 ? index.count : 1);
    return 0;
}
