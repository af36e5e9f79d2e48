/* The ledger: dense ids, one record an entry. What can go wrong: the map is full. Then a dead
 * reader's pages are freed and it is tried once more, as with the positions. */
#include <stdlib.h>
#include <string.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/pack.h"

#include "base/clock.h"

/* Some 300 bytes each: 6 MB of the map. Years of an operator's orders, hours of a broken source. */
enum { LEDGER_MAX = 20000 };

static void encode(struct pack *pack, const struct slsr_ledger_entry *e)
{
    pack->n = 0;
    pack_u64(pack, (uint64_t)(e->time_ms != 0 ? e->time_ms : clock_wall_ms()));
    pack_text(pack, e->kind, sizeof e->kind - 1);
    pack_text(pack, e->reason, sizeof e->reason - 1);
    pack_text(pack, e->who[0] != '\0' ? e->who : "sls-relay", sizeof e->who - 1);
    pack_text(pack, e->target, sizeof e->target - 1);
    pack_text(pack, e->project, sizeof e->project - 1);
    pack_text(pack, e->logstore, sizeof e->logstore - 1);
    pack_u64(pack, e->shard);
    pack_text(pack, e->from_cursor, sizeof e->from_cursor - 1);
    pack_text(pack, e->to_cursor, sizeof e->to_cursor - 1);
    pack_u64(pack, e->from_seq);
    pack_u64(pack, e->to_seq);
    pack_u64(pack, e->frames);
    pack_u64(pack, e->bytes);
    pack_text(pack, e->text, sizeof e->text - 1);
    pack_seal(pack);
}

static bool decode(MDB_val data, struct slsr_ledger_entry *e)
{
    struct unpack in = unpack_open(data.mv_data, data.mv_size);

    e->time_ms = (int64_t)unpack_u64(&in);
    unpack_text(&in, e->kind, sizeof e->kind);
    unpack_text(&in, e->reason, sizeof e->reason);
    unpack_text(&in, e->who, sizeof e->who);
    unpack_text(&in, e->target, sizeof e->target);
    unpack_text(&in, e->project, sizeof e->project);
    unpack_text(&in, e->logstore, sizeof e->logstore);
    e->shard = (uint32_t)unpack_u64(&in);
    unpack_text(&in, e->from_cursor, sizeof e->from_cursor);
    unpack_text(&in, e->to_cursor, sizeof e->to_cursor);
    e->from_seq = unpack_u64(&in);
    e->to_seq = unpack_u64(&in);
    e->frames = unpack_u64(&in);
    e->bytes = unpack_u64(&in);
    unpack_text(&in, e->text, sizeof e->text);
    return !in.bad;
}

int ledger_put(struct slsr_spool *spool, MDB_txn *txn, const struct slsr_ledger_entry *entry,
               uint64_t *id)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    MDB_stat stat;
    unsigned char name[8];
    struct pack pack;
    uint64_t next = 1;
    int rc = mdb_cursor_open(txn, spool->books.ledger, &cursor);

    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    if (rc == 0 && key.mv_size == 8)
        next = unpack_u64_at(key.mv_data) + 1;
    if (rc == MDB_NOTFOUND)
        rc = 0;
    encode(&pack, entry);
    pack_u64_at(name, next);
    key = (MDB_val){8, name};
    data = (MDB_val){pack.n, pack.data};
    if (rc == 0)
        rc = mdb_cursor_put(cursor, &key, &data, MDB_APPEND);
    if (rc == 0)
        rc = mdb_stat(txn, spool->books.ledger, &stat);
    if (rc == 0 && stat.ms_entries > LEDGER_MAX &&
        (rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST)) == 0)
        rc = mdb_cursor_del(cursor, 0);
    mdb_cursor_close(cursor);
    if (rc == 0 && id != NULL)
        *id = next;
    return rc;
}

int slsr_ledger_add(struct slsr_spool *spool, const struct slsr_ledger_entry *entry,
                    struct slsr_err *err)
{
    int lmdb = 0;

    for (int i = 0; i < 2; i++) {
        MDB_txn *txn;
        int dead;
        int rc = books_begin(spool, true, &txn, err);

        if (rc != 0)
            return rc;
        lmdb = books_end(txn, ledger_put(spool, txn, entry, NULL));
        if (lmdb != MDB_MAP_FULL)
            break;
        mdb_reader_check(spool->ack_env, &dead);
    }
    return lmdb == 0 ? 0 : env_fail(err, lmdb, "cannot write the ledger of %s", spool->config.path);
}

int slsr_ledger_list(struct slsr_spool *spool, uint64_t from_id, struct slsr_ledger_entry **out,
                     size_t *count, struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    unsigned char name[8];
    MDB_val key = {8, name};
    MDB_val data;
    size_t size = 0;
    int rc = books_begin(spool, false, &txn, err);

    *out = NULL;
    *count = 0;
    if (rc != 0)
        return rc == SLSR_ENOMATCH ? 0 : rc;
    pack_u64_at(name, from_id);
    rc = mdb_cursor_open(txn, spool->books.ledger, &cursor);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        struct slsr_ledger_entry entry = {0};

        if (key.mv_size != 8 || !decode(data, &entry))
            continue; /* one bad record must not hide the others */
        entry.id = unpack_u64_at(key.mv_data);
        if (*count == size) {
            struct slsr_ledger_entry *more = realloc(*out, (size = size * 2 + 16) * sizeof *more);

            if (more == NULL) {
                rc = MDB_DBS_FULL;
                break;
            }
            *out = more;
        }
        (*out)[(*count)++] = entry;
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    books_leave(txn);
    if (rc == MDB_NOTFOUND)
        return 0;
    free(*out);
    *out = NULL;
    *count = 0;
    if (rc == MDB_DBS_FULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the ledger");
    return env_fail(err, rc, "cannot read the ledger of %s", spool->config.path);
}

int slsr_spool_dead_add(struct slsr_spool *spool, const char *target, uint64_t seq,
                        const char *reason, const char *evidence, struct slsr_err *err)
{
    struct slsr_ledger_entry entry = {
        .kind = "dead", .from_seq = seq, .to_seq = seq + 1, .frames = 1};
    const struct slsr_span span = {seq, seq + 1};
    MDB_txn *txn;
    uint64_t id = 0;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    strncat(entry.target, target, sizeof entry.target - 1);
    strncat(entry.reason, reason, sizeof entry.reason - 1);
    strncat(entry.text, evidence != NULL ? evidence : "", sizeof entry.text - 1);
    rc = ledger_put(spool, txn, &entry, &id);
    if (rc == 0)
        rc = marks_add(spool, txn, SLSR_MARK_DEAD, target, span, id);
    rc = books_end(txn, rc);
    return rc == 0 ? 0
                   : env_fail(err, rc, "cannot set frame %llu aside in %s", (unsigned long long)seq,
                              spool->config.path);
}
