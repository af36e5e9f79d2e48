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
    if (rc == 0)
        rc = mdb_dbi_open(txn, "n", flags, &spool->books.sources);
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
    pthread_rwlock_rdlock(&spool->books.gate);
    if (spool->ack_env == NULL && spool->books.broken)
        rc = slsr_fail(err, SLSR_EIO, "the books of %s are being opened anew", spool->config.path);
    else if (!spool->books.open)
        rc = slsr_fail(err, SLSR_ENOMATCH, "spool %s has no books yet", spool->config.path);
    if (rc == 0) {
        const int lmdb = write ? patience_begin(spool, spool->ack_env, txn)
                               : mdb_txn_begin(spool->ack_env, NULL, MDB_RDONLY, txn);

        if (lmdb == MDB_PANIC)
            spool->books.broken = true;
        if (lmdb != 0)
            rc = env_fail(err, lmdb, "cannot open the books of %s", spool->config.path);
    }
    if (rc != 0)
        pthread_rwlock_unlock(&spool->books.gate);
    return rc;
}

int books_end(MDB_txn *txn, int rc)
{
    struct slsr_spool *spool = mdb_env_get_userctx(mdb_txn_env(txn));

    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    patience_end(spool);
    pthread_rwlock_unlock(&spool->books.gate);
    return rc;
}

void books_leave(MDB_txn *txn)
{
    struct slsr_spool *spool = mdb_env_get_userctx(mdb_txn_env(txn));

    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&spool->books.gate);
}

int ack_reopen(struct slsr_spool *spool, struct slsr_err *err)
{
    int rc;

    pthread_rwlock_wrlock(&spool->books.gate);
    if (spool->ack_env != NULL)
        mdb_env_close(spool->ack_env);
    spool->ack_env = NULL;
    spool->ack_open = spool->books.open = false;
    rc = ack_open(spool, true, err);
    if (rc == 0) {
        spool->books.broken = false;
    } else if (spool->ack_env != NULL) {
        mdb_env_close(spool->ack_env);
        spool->ack_env = NULL;
    }
    pthread_rwlock_unlock(&spool->books.gate);
    return rc;
}
