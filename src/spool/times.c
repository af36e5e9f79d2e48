/* Where a time lies in the spool, and how many frames lie between two: from summaries and index
 * records alone, no frame is read.
 *
 * Good path: sealed segments that cannot match are passed by their summary, without opening them;
 * in those that are left the index is walked. Event times come in any order, so every segment that
 * may match is looked at; arrivals only rise, up to a clock that was set back. A segment without
 * summary, or with a damaged one, is opened; a damaged index record counts as a match. */
#include "spool/env.h"
#include "spool/internal.h"

/* No frame of it has a time >= ms. */
static bool all_before(const struct layout_summary *sum, int64_t ms, bool by_arrival)
{
    return by_arrival ? sum->newest_ms < ms : (int64_t)sum->max_time_s * 1000 + 999 < ms;
}

/* No frame of it has a time < ms. */
static bool all_behind(const struct layout_summary *sum, int64_t ms, bool by_arrival)
{
    return by_arrival ? sum->oldest_ms >= ms : (int64_t)sum->min_time_s * 1000 >= ms;
}

/* A walk over one segment's index, forwards or back. */
struct walk {
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, data;
    int rc; /* LMDB's; MDB_NOTFOUND at the end */
};

static struct walk walk_open(struct segment *seg)
{
    struct walk walk = {0};

    walk.rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &walk.txn);
    if (walk.rc == 0)
        walk.rc = mdb_cursor_open(walk.txn, seg->index, &walk.cursor);
    return walk;
}

/* The next index record that is whole. */
static bool walk_step(struct walk *walk, MDB_cursor_op op, struct layout_index *index)
{
    while (walk->rc == 0 &&
           (walk->rc = mdb_cursor_get(walk->cursor, &walk->key, &walk->data, op)) == 0)
        if (layout_get_index(walk->data.mv_data, walk->data.mv_size, index))
            return true;
    return false;
}

/* 0, also at the end, or LMDB's code. */
static int walk_close(struct walk *walk)
{
    if (walk->cursor != NULL)
        mdb_cursor_close(walk->cursor);
    if (walk->txn != NULL)
        mdb_txn_abort(walk->txn);
    return walk->rc == MDB_NOTFOUND ? 0 : walk->rc;
}

/* First chunk of one segment that reaches up to ms; 0: none does. */
static int seek_in_segment(struct segment *seg, int64_t ms, bool by_arrival, uint64_t *seq)
{
    struct walk walk = walk_open(seg);
    struct layout_index index;

    *seq = 0;
    while (*seq == 0 && walk_step(&walk, MDB_NEXT, &index))
        if (by_arrival ? index.arrival_ms >= ms : (int64_t)index.max_time_s * 1000 + 999 >= ms)
            *seq = env_key(&walk.key);
    return walk_close(&walk);
}

int slsr_spool_seek_time(struct slsr_spool *spool, int64_t ms, bool by_arrival, uint64_t *seq,
                         struct slsr_err *err)
{
    uint64_t oldest;
    uint64_t next;
    uint64_t at;
    int rc = slsr_spool_bounds(spool, &oldest, &next, err);

    *seq = next;
    for (at = oldest; rc == 0 && at < next;) {
        struct layout_summary sum;
        struct segment *seg = NULL;
        uint64_t found;
        int lmdb;

        if (segment_peek(spool, at, &found, &sum) && sum.next > at &&
            all_before(&sum, ms, by_arrival)) {
            at = sum.next;
            continue;
        }
        rc = segment_acquire(spool, at, &seg, err);
        if (rc == 0)
            rc = segment_tail(seg, err);
        if (rc != 0) {
            segment_release(spool, seg);
            return rc;
        }
        at = seg->next > at ? seg->next : at + 1;
        lmdb = seek_in_segment(seg, ms, by_arrival, &found);
        segment_release(spool, seg);
        if (lmdb != 0)
            return env_fail(err, lmdb, "cannot search spool %s", spool->config.path);
        if (found > 0) {
            *seq = found;
            return 0;
        }
    }
    return rc;
}

/* Behind the last chunk of one segment that begins before ms; 0: none does. */
static int until_in_segment(struct segment *seg, int64_t ms, bool by_arrival, uint64_t *end)
{
    struct walk walk = walk_open(seg);
    struct layout_index index;

    *end = 0;
    while (*end == 0 && walk_step(&walk, MDB_PREV, &index))
        if (by_arrival ? index.arrival_ms < ms : (int64_t)index.min_time_s * 1000 < ms)
            *end = env_key(&walk.key) + index.count;
    return walk_close(&walk);
}

int slsr_spool_until_time(struct slsr_spool *spool, int64_t ms, bool by_arrival, uint64_t *end,
                          struct slsr_err *err)
{
    uint64_t oldest;
    uint64_t next;
    uint64_t at = UINT64_MAX;
    int rc = slsr_spool_bounds(spool, &oldest, &next, err);

    if (rc != 0)
        return rc;
    *end = oldest;
    for (;;) {
        struct layout_summary sum;
        struct segment *seg = NULL;
        uint64_t found = 0;
        uint64_t first;
        int lmdb = 0;

        if (!segment_peek(spool, at, &first, &sum) || !all_behind(&sum, ms, by_arrival)) {
            rc = segment_acquire(spool, at, &seg, err);
            if (rc != 0)
                return rc;
            lmdb = until_in_segment(seg, ms, by_arrival, &found);
            first = seg->first;
            segment_release(spool, seg);
        }
        if (lmdb != 0)
            return env_fail(err, lmdb, "cannot search spool %s", spool->config.path);
        if (found > 0)
            *end = found;
        if (found > 0 || first <= oldest)
            return 0;
        at = first - 1;
    }
}

/* A count under way: what is still to be looked at, what is certain. */
struct census {
    struct slsr_spool *spool;
    const struct slsr_count *count;
    uint64_t at;
    uint64_t sure;
};

/* Frames [first, behind) whose times lie between two: all of them count, none, or the caller has to
 * look at them. */
static void weigh(struct census *c, uint64_t first, uint64_t behind, int64_t least_ns,
                  int64_t most_ns)
{
    const uint64_t from = first > c->count->from ? first : c->count->from;
    const uint64_t to = behind < c->count->to ? behind : c->count->to;

    if (from >= to || most_ns < c->count->since_ns || least_ns > c->count->until_ns)
        return;
    if (least_ns >= c->count->since_ns && most_ns <= c->count->until_ns)
        c->sure += to - from;
    else
        c->count->edge(c->count->ctx, from, to);
}

static void weigh_chunk(struct census *c, struct segment *seg, uint64_t first,
                        const struct layout_index *index)
{
    const uint64_t behind = first + index->count;
    struct stream_name name;

    if (c->count->want != NULL) {
        if (stream_lookup(c->spool, seg, index->stream, &name, NULL) != 0) {
            c->count->edge(c->count->ctx, first > c->count->from ? first : c->count->from,
                           behind < c->count->to ? behind : c->count->to);
            return;
        }
        if (!c->count->want(c->count->ctx, &name.stream))
            return;
    }
    if (c->count->by_arrival)
        weigh(c, first, behind, index->arrival_ms * 1000000, index->arrival_ms * 1000000);
    else
        weigh(c, first, behind, (int64_t)index->min_time_s * 1000000000,
              (int64_t)index->max_time_s * 1000000000 + 999999999);
}

static int count_in_segment(struct census *c, struct segment *seg)
{
    struct walk walk = walk_open(seg);
    struct layout_index index;
    uint64_t at = c->at;

    if (walk.rc == 0)
        walk.rc = segment_floor(walk.cursor, at, &walk.key, &walk.data);
    for (; walk.rc == 0 && at < c->count->to;
         walk.rc = mdb_cursor_get(walk.cursor, &walk.key, &walk.data, MDB_NEXT)) {
        const uint64_t first = env_key(&walk.key);

        if (!layout_get_index(walk.data.mv_data, walk.data.mv_size, &index))
            continue; /* the next one shows how far it reached */
        if (first > at)
            weigh(c, at, first, INT64_MIN, INT64_MAX);
        if (first + index.count > at)
            weigh_chunk(c, seg, first, &index);
        at = first + index.count > at ? first + index.count : at;
    }
    if (walk.rc == MDB_NOTFOUND && at < seg->next)
        weigh(c, at, seg->next, INT64_MIN, INT64_MAX);
    return walk_close(&walk);
}

/* A sealed segment that lies inside by its summary alone, or outside of it. */
static bool count_whole(struct census *c, uint64_t first, const struct layout_summary *sum)
{
    const int64_t least_ns =
        c->count->by_arrival ? sum->oldest_ms * 1000000 : (int64_t)sum->min_time_s * 1000000000;
    const int64_t most_ns = c->count->by_arrival
                                ? sum->newest_ms * 1000000
                                : (int64_t)sum->max_time_s * 1000000000 + 999999999;
    const bool outside = most_ns < c->count->since_ns || least_ns > c->count->until_ns;
    const bool inside = least_ns >= c->count->since_ns && most_ns <= c->count->until_ns;

    if (first > c->at || sum->next <= c->at || (!outside && (!inside || c->count->want != NULL)))
        return false;
    weigh(c, c->at, sum->next, least_ns, most_ns);
    c->at = sum->next;
    return true;
}

int slsr_spool_count(struct slsr_spool *spool, const struct slsr_count *count, uint64_t *sure,
                     struct slsr_err *err)
{
    struct census c = {.spool = spool, .count = count, .at = count->from};
    int rc = 0;

    while (rc == 0 && c.at < count->to) {
        struct layout_summary sum;
        struct segment *seg = NULL;
        uint64_t first;
        uint64_t end;

        if (segment_peek(spool, c.at, &first, &sum) && count_whole(&c, first, &sum))
            continue;
        rc = segment_acquire(spool, c.at, &seg, err);
        end = segment_end(spool, c.at, c.at + 1);
        if (rc == 0)
            rc = segment_tail(seg, err);
        if (rc == 0) {
            c.at = seg->first > c.at ? seg->first : c.at;
            end = seg->next > c.at ? seg->next : segment_end(spool, c.at, c.at + 1);
            rc = count_in_segment(&c, seg);
            if (rc != 0)
                rc = env_fail(err, rc, "cannot search spool %s", spool->config.path);
        } else if (rc == SLSR_ECORRUPT) { /* who looks at its frames says it */
            weigh(&c, c.at, end, INT64_MIN, INT64_MAX);
            rc = 0;
        }
        segment_release(spool, seg);
        c.at = end;
    }
    *sure = c.sure;
    return rc;
}
