/* Marks: sets of sequences on disk, as spans that neither overlap nor touch.
 *
 * Key: kind, target, NUL, u64 first sequence; value: u64 end, u64 note (the ledger entry that began
 * it). Adding joins with what it touches, removing splits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spool/books.h"
#include "spool/pack.h"

enum { PREFIX_MAX = 80, VALUE_BYTES = 16 };

struct place {
    unsigned char key[PREFIX_MAX + 8];
    size_t prefix; /* bytes before the sequence */
};

static void place_of(struct place *place, char kind, const char *target)
{
    const size_t n = strnlen(target, 63);

    place->key[0] = (unsigned char)kind;
    memcpy(place->key + 1, target, n);
    place->key[1 + n] = 0;
    place->prefix = n + 2;
}

static MDB_val key_at(struct place *place, uint64_t seq)
{
    pack_u64_at(place->key + place->prefix, seq);
    return (MDB_val){place->prefix + 8, place->key};
}

/* Is this record one of the place's? Then its span. */
static bool same(const struct place *place, MDB_val key, MDB_val data, struct slsr_span *span)
{
    if (key.mv_size != place->prefix + 8 || data.mv_size != VALUE_BYTES ||
        memcmp(key.mv_data, place->key, place->prefix) != 0)
        return false;
    span->from = unpack_u64_at((const unsigned char *)key.mv_data + place->prefix);
    span->to = unpack_u64_at(data.mv_data);
    return true;
}

static int put(struct slsr_spool *spool, MDB_txn *txn, struct place *place, struct slsr_span span,
               uint64_t note)
{
    unsigned char value[VALUE_BYTES];
    MDB_val key = key_at(place, span.from);
    MDB_val data = {VALUE_BYTES, value};

    pack_u64_at(value, span.to);
    pack_u64_at(value + 8, note);
    return mdb_put(txn, spool->books.marks, &key, &data, 0);
}

/* Cursor to the first record of the place that ends at or behind seq (it may begin before it). */
static int find(MDB_cursor *cursor, struct place *place, uint64_t seq, MDB_val *key, MDB_val *data)
{
    struct slsr_span span;
    int rc;

    *key = key_at(place, seq);
    rc = mdb_cursor_get(cursor, key, data, MDB_SET_RANGE);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, key, data, MDB_PREV);
    else if (rc == MDB_NOTFOUND)
        rc = mdb_cursor_get(cursor, key, data, MDB_LAST);
    if (rc == 0 && same(place, *key, *data, &span) && span.to >= seq)
        return 0;
    *key = key_at(place, seq);
    return mdb_cursor_get(cursor, key, data, MDB_SET_RANGE);
}

int marks_add(struct slsr_spool *spool, MDB_txn *txn, char kind, const char *target,
              struct slsr_span span, uint64_t note)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct slsr_span there;
    struct place place;
    int rc = mdb_cursor_open(txn, spool->books.marks, &cursor);

    if (rc != 0)
        return rc;
    place_of(&place, kind, target);
    rc = find(cursor, &place, span.from, &key, &data);
    while (rc == 0 && same(&place, key, data, &there) && there.from <= span.to) {
        if (there.from < span.from)
            span.from = there.from;
        if (there.to > span.to)
            span.to = there.to;
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0) /* behind a deleted one this is the one that took its place */
            rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    return put(spool, txn, &place, span, note);
}

int marks_remove(struct slsr_spool *spool, MDB_txn *txn, char kind, const char *target,
                 struct slsr_span span)
{
    struct place place;

    place_of(&place, kind, target);
    for (;;) { /* one record at a time: the cursor does not survive a put */
        MDB_cursor *cursor = NULL;
        MDB_val key;
        MDB_val data;
        struct slsr_span there = {0, 0};
        uint64_t note = 0;
        int rc = mdb_cursor_open(txn, spool->books.marks, &cursor);

        if (rc != 0)
            return rc;
        rc = find(cursor, &place, span.from + 1, &key, &data);
        if (rc == 0 && (!same(&place, key, data, &there) || there.from >= span.to))
            rc = MDB_NOTFOUND;
        if (rc == 0) {
            note = unpack_u64_at((const unsigned char *)data.mv_data + 8);
            rc = mdb_cursor_del(cursor, 0);
        }
        mdb_cursor_close(cursor);
        if (rc == 0 && there.from < span.from)
            rc = put(spool, txn, &place, (struct slsr_span){there.from, span.from}, note);
        if (rc == 0 && there.to > span.to)
            rc = put(spool, txn, &place, (struct slsr_span){span.to, there.to}, note);
        if (rc != 0)
            return rc == MDB_NOTFOUND ? 0 : rc;
        if (there.to >= span.to)
            return 0;
    }
}

int marks_load(struct slsr_spool *spool, MDB_txn *txn, char kind, const char *target,
               struct slsr_spans *out)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct slsr_span span;
    struct place place;
    int rc = mdb_cursor_open(txn, spool->books.marks, &cursor);

    if (rc != 0)
        return rc;
    place_of(&place, kind, target);
    rc = find(cursor, &place, 0, &key, &data);
    for (; rc == 0 && same(&place, key, data, &span);
         rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT))
        if (!slsr_spans_add(out, span.from, span.to)) {
            rc = ENOMEM;
            break;
        }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Kind and target of a record; false for one that is not ours: a damaged one, for marks have no
 * hash. A name with a NUL, or the last of all numbers, would lead a search back to where it was. */
static bool take_apart(MDB_val key, MDB_val data, char *kind, char target[64],
                       struct slsr_span *span)
{
    const char *p = key.mv_data;
    size_t n;

    if (key.mv_size < 10 || key.mv_size > 1 + 63 + 1 + 8 || data.mv_size != VALUE_BYTES)
        return false;
    n = key.mv_size - 10;
    if (memchr(p + 1, '\0', n + 1) != p + 1 + n)
        return false;
    *kind = p[0];
    memcpy(target, p + 1, n);
    target[n] = '\0';
    span->from = unpack_u64_at((const unsigned char *)p + key.mv_size - 8);
    span->to = unpack_u64_at(data.mv_data);
    return span->from != UINT64_MAX;
}

int marks_trim(struct slsr_spool *spool, MDB_txn *txn, uint64_t seq)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct place place;
    char target[64];
    char kind;
    struct slsr_span span;
    int rc = mdb_cursor_open(txn, spool->books.marks, &cursor);

    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (rc == 0) {
        if (take_apart(key, data, &kind, target, &span) && span.from >= seq) {
            place_of(&place, kind, target); /* the rest of this set lies behind: on to the next */
            key = key_at(&place, UINT64_MAX);
            rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
            continue;
        }
        if (take_apart(key, data, &kind, target, &span) && span.to > seq) {
            const uint64_t note = unpack_u64_at((const unsigned char *)data.mv_data + 8);

            place_of(&place, kind, target);
            rc = mdb_cursor_del(cursor, 0);
            if (rc == 0)
                rc = put(spool, txn, &place, (struct slsr_span){seq, span.to}, note);
            key = key_at(&place, UINT64_MAX);
            if (rc == 0)
                rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
            continue;
        }
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int marks_floor(struct slsr_spool *spool, MDB_txn *txn, uint64_t *floor)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    struct place place;
    char target[64];
    char kind;
    struct slsr_span span;
    int rc = mdb_cursor_open(txn, spool->books.marks, &cursor);

    *floor = UINT64_MAX;
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (rc == 0) { /* the first record of each set */
        if (!take_apart(key, data, &kind, target, &span)) {
            rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
            continue;
        }
        if ((kind == SLSR_MARK_HOLD || kind == SLSR_MARK_WANTED || kind == SLSR_MARK_RESEND) &&
            span.from < *floor)
            *floor = span.from;
        place_of(&place, kind, target);
        key = key_at(&place, UINT64_MAX);
        rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}
