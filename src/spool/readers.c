/* Who reads: the reader tables of LMDB's lock files, listed and tidied for `sls-spool readers`. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "spool/env.h"
#include "spool/internal.h"

#include "base/diag.h"

struct listing {
    void (*each)(void *ctx, const struct slsr_spool_reader *reader);
    void *ctx;
    const char *file;
};

/* One line of mdb_reader_list: "pid thread txnid", the last a number or "-"; a heading otherwise.
 */
static int on_line(const char *line, void *arg)
{
    struct listing *listing = arg;
    struct slsr_spool_reader reader = {0};
    char txn[32] = "";
    char thread[32];

    if (sscanf(line, "%ld %31s %31s", &reader.pid, thread, txn) != 3 || reader.pid <= 0 ||
        reader.pid == (long)getpid())
        return 0;
    reader.file = listing->file;
    reader.alive = kill((pid_t)reader.pid, 0) == 0 || errno == EPERM;
    if (txn[0] != '-')
        sscanf(txn, "%" SCNu64, &reader.txn);
    listing->each(listing->ctx, &reader);
    return 0;
}

/* The oldest transaction that somebody else has open, and who. */
struct oldest {
    uint64_t txn; /* 0: nobody */
    long pid;
};

static void note_oldest(void *ctx, const struct slsr_spool_reader *reader)
{
    struct oldest *oldest = ctx;

    if (reader->txn != 0 && (oldest->txn == 0 || reader->txn < oldest->txn))
        *oldest = (struct oldest){reader->txn, reader->pid};
}

/* A look at ack.mdb takes less than a millisecond. A tool that is stopped inside one pins every
 * page that is freed after it, and storing positions ten times a second would fill the file's map
 * in half an hour. So they are stored half as often with every PINNED_TXNS transactions: the map
 * then lasts for weeks. A relay that is killed meanwhile sends again what came in that time. */
enum { PINNED_TXNS = 1000, PINNED_DOUBLINGS = 12 };

int64_t readers_pace_ms(struct slsr_spool *spool, int64_t usual_ms)
{
    struct oldest oldest = {0};
    struct listing listing = {note_oldest, &oldest, "ack.mdb"};
    MDB_envinfo info;
    uint64_t behind;

    if (spool->ack_env == NULL || mdb_reader_list(spool->ack_env, on_line, &listing) < 0 ||
        mdb_env_info(spool->ack_env, &info) != 0 || oldest.txn == 0 ||
        info.me_last_txnid < oldest.txn + PINNED_TXNS) {
        spool->told_pinned = 0;
        return usual_ms;
    }
    if (spool->told_pinned != oldest.pid)
        diag(SLSR_LOG_WARNING, "spool",
             "process %ld stands still inside a look at %s/ack.mdb, which grows: let it go on or "
             "end it; until then positions are stored less and less often",
             oldest.pid, spool->config.path);
    spool->told_pinned = oldest.pid;
    behind = (info.me_last_txnid - oldest.txn) / PINNED_TXNS;
    return usual_ms << (behind < PINNED_DOUBLINGS ? behind : PINNED_DOUBLINGS);
}

static int one_file(MDB_env *env, const char *file, bool clear, struct listing *listing,
                    unsigned *cleared)
{
    int dead = 0;
    int rc;

    listing->file = file;
    rc = mdb_reader_list(env, on_line, listing);
    if (rc >= 0 && clear) {
        rc = mdb_reader_check(env, &dead);
        *cleared += (unsigned)dead;
    }
    return rc < 0 ? EIO : rc;
}

int slsr_spool_readers(struct slsr_spool *spool, bool clear,
                       void (*each)(void *ctx, const struct slsr_spool_reader *reader), void *ctx,
                       unsigned *cleared, struct slsr_err *err)
{
    struct listing listing = {each, ctx, NULL};
    uint64_t at = 0;
    int rc = 0;

    *cleared = 0;
    if (spool->ack_env != NULL)
        rc = one_file(spool->ack_env, "ack.mdb", clear, &listing, cleared);
    while (rc == 0) {
        struct segment *seg = NULL;
        char name[64];
        uint64_t first;
        int code = segment_acquire(spool, at, &seg, err);

        if (code != 0)
            return code;
        first = seg->first;
        snprintf(name, sizeof name, "seg-%016llx.mdb", (unsigned long long)first);
        rc = one_file(seg->env, name, clear, &listing, cleared);
        segment_release(spool, seg);
        at = UINT64_MAX;
        pthread_mutex_lock(&spool->lock);
        for (size_t i = spool->segment_count; i-- > 0;)
            if (spool->segments[i]->first > first)
                at = spool->segments[i]->first;
        pthread_mutex_unlock(&spool->lock);
        if (at == UINT64_MAX)
            break;
    }
    return rc == 0 ? 0
                   : env_fail(err, rc, "cannot read the reader tables of %s", spool->config.path);
}
