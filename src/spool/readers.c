/* Who reads: the reader tables of LMDB's lock files, listed and tidied for `sls-spool readers`. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "spool/env.h"
#include "spool/internal.h"

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
