/* The wait of a tool for LMDB's writer lock, with an end.
 *
 * A relay that is frozen (SIGSTOP, a debugger, a stopped container) inside one of its short
 * transactions keeps the lock, and nothing ends a wait for it: LMDB takes a mutex. So a thread
 * waits beside: when the lock has not come in time it calls the program that set the patience,
 * which leaves. That thread decides under a lock that the tool needs to go on: either the wait
 * succeeded, or nothing of the transaction happens. Without a patience, or without the thread, the
 * wait has no end. */
#include <errno.h>
#include <time.h>

#include "spool/internal.h"

struct wait {
    const struct slsr_spool *spool;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool over;
};

static void *wait_thread(void *arg)
{
    struct wait *wait = arg;
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until); /* the kernel's: it is another process that we await */
    until.tv_sec += wait->spool->patience_s;
    pthread_mutex_lock(&wait->lock);
    while (!wait->over && rc == 0)
        rc = pthread_cond_timedwait(&wait->turn, &wait->lock, &until);
    if (!wait->over && rc == ETIMEDOUT)
        wait->spool->patience_over(wait->spool->patience_ctx); /* does not return */
    pthread_mutex_unlock(&wait->lock);
    return NULL;
}

static int begin_in_time(const struct slsr_spool *spool, MDB_env *env, MDB_txn **txn)
{
    struct wait wait = {.spool = spool};
    pthread_condattr_t attr;
    pthread_t thread;
    bool runs;
    int rc;

    if (spool->patience_over == NULL)
        return mdb_txn_begin(env, NULL, 0, txn);
    pthread_mutex_init(&wait.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&wait.turn, &attr);
    pthread_condattr_destroy(&attr);
    runs = pthread_create(&thread, NULL, wait_thread, &wait) == 0;
    rc = mdb_txn_begin(env, NULL, 0, txn);
    pthread_mutex_lock(&wait.lock);
    wait.over = true;
    pthread_cond_signal(&wait.turn);
    pthread_mutex_unlock(&wait.lock);
    if (runs)
        pthread_join(thread, NULL);
    pthread_mutex_destroy(&wait.lock);
    pthread_cond_destroy(&wait.turn);
    return rc;
}

int patience_begin(const struct slsr_spool *spool, MDB_env *env, MDB_txn **txn)
{
    int rc;

    if (spool->on_write != NULL)
        spool->on_write(spool->on_write_ctx, true);
    rc = begin_in_time(spool, env, txn);
    if (rc != 0)
        patience_end(spool);
    return rc;
}

void patience_end(const struct slsr_spool *spool)
{
    if (spool->on_write != NULL)
        spool->on_write(spool->on_write_ctx, false);
}

void slsr_spool_on_write(struct slsr_spool *spool, void (*turn)(void *ctx, bool begins), void *ctx)
{
    spool->on_write = turn;
    spool->on_write_ctx = ctx;
}

void slsr_spool_patience(struct slsr_spool *spool, unsigned seconds, void (*over)(void *ctx),
                         void *ctx)
{
    spool->patience_s = seconds;
    spool->patience_over = over;
    spool->patience_ctx = ctx;
}
