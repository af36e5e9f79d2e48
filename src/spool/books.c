/* Opening the books, and their records' hash. See books.h. */
#include "spool/books.h"

#include <xxhash.h>

#include "spool/env.h"
#include "spool/pack.h"

void pack_seal(struct pack *pack)
{
    pack_u64(pack, XXH3_64bits(pack->data, pack->n));
}

struct unpack unpack_open(const void *data, size_t size)
{
    const unsigned char *p = data;

    if (size < 8 || unpack_u64_at(p + size - 8) != XXH3_64bits(p, size - 8))
        return (struct unpack){p, 0, true};
    return (struct unpack){p, size - 8, false};
}

int books_open(struct slsr_spool *spool, MDB_txn *txn, bool create)
{
    const unsigned flags = create ? MDB_CREATE : 0;
    int rc = mdb_dbi_open(txn, "l", flags, &spool->books.ledger);

    if (rc == 0)
        rc = mdb_dbi_open(txn, "x", flags, &spool->books.marks);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "o", flags, &spool->books.orders);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "j", flags, &spool->books.jobs);
    return rc;
}

/* A reading tool: looks whether the books are there by now, or opens ack.mdb for writing. */
static int tool_open(struct slsr_spool *spool, bool write, struct slsr_err *err)
{
    if (spool->books.open && (spool->books.writable || !write))
        return 0;
    if (spool->ack_env != NULL)
        mdb_env_close(spool->ack_env);
    spool->ack_env = NULL;
    spool->ack_open = spool->books.open = false;
    return ack_open(spool, write, err);
}

int books_begin(struct slsr_spool *spool, bool write, MDB_txn **txn, struct slsr_err *err)
{
    int rc = 0;

    *txn = NULL;
    if (spool->mode == SLSR_SPOOL_READ) {
        pthread_mutex_lock(&spool->lock);
        rc = tool_open(spool, write, err);
        pthread_mutex_unlock(&spool->lock);
    }
    if (rc != 0)
        return rc;
    if (!spool->books.open)
        return slsr_fail(err, SLSR_ENOMATCH, "spool %s has no books yet", spool->config.path);
    rc = mdb_txn_begin(spool->ack_env, NULL, write ? 0 : MDB_RDONLY, txn);
    return rc == 0 ? 0 : env_fail(err, rc, "cannot open the books of %s", spool->config.path);
}

int books_end(MDB_txn *txn, int rc)
{
    if (rc == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}
