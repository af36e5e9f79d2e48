/* Replay jobs in the books: one record a job, its stretches (if any) as marks of kind 'j'.
 *
 * What can go wrong: a process dies with its job "running". The record has its pid and when it last
 * wrote; who lists decides. A spool that cannot be written has no jobs. */
#include "slsrelay/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/pack.h"

#include "base/clock.h"

enum { JOBS_KEPT = 100, PIECE = 250 };

static void owner(uint64_t id, char out[32])
{
    snprintf(out, 32, "\x01job%llu", (unsigned long long)id);
}

static void encode(struct pack *pack, const struct slsr_job *job)
{
    pack->n = 0;
    pack_u64(pack, (uint64_t)job->state);
    pack_u64(pack, job->stop_wanted);
    pack_u64(pack, (uint64_t)job->pid);
    pack_u64(pack, (uint64_t)job->started_ms);
    pack_u64(pack, (uint64_t)job->updated_ms);
    pack_u64(pack, job->from);
    pack_u64(pack, job->to);
    pack_u64(pack, job->cursor);
    pack_u64(pack, job->frames);
    pack_u64(pack, job->bytes);
    pack_u64(pack, job->done);
    pack_u64(pack, job->stated);
    pack_text(pack, job->who, sizeof job->who - 1);
    pack_text(pack, job->target, sizeof job->target - 1);
    pack_text(pack, job->rate, sizeof job->rate - 1);
    for (size_t at = 0; at < 4 * PIECE; at += PIECE) {
        const size_t n = strnlen(job->selectors, sizeof job->selectors - 1);

        pack_text(pack, job->selectors + (at < n ? at : n), at < n ? PIECE : 0);
    }
    pack_text(pack, job->error, sizeof job->error - 1);
    pack_seal(pack);
}

static bool decode(MDB_val data, struct slsr_job *job)
{
    struct unpack in = unpack_open(data.mv_data, data.mv_size);
    char piece[PIECE + 1];

    job->state = (enum slsr_job_state)unpack_u64(&in);
    job->stop_wanted = unpack_u64(&in) != 0;
    job->pid = (long)unpack_u64(&in);
    job->started_ms = (int64_t)unpack_u64(&in);
    job->updated_ms = (int64_t)unpack_u64(&in);
    job->from = unpack_u64(&in);
    job->to = unpack_u64(&in);
    job->cursor = unpack_u64(&in);
    job->frames = unpack_u64(&in);
    job->bytes = unpack_u64(&in);
    job->done = unpack_u64(&in);
    job->stated = unpack_u64(&in) != 0;
    unpack_text(&in, job->who, sizeof job->who);
    unpack_text(&in, job->target, sizeof job->target);
    unpack_text(&in, job->rate, sizeof job->rate);
    job->selectors[0] = '\0';
    for (int i = 0; i < 4; i++) {
        unpack_text(&in, piece, sizeof piece);
        strncat(job->selectors, piece, sizeof job->selectors - strlen(job->selectors) - 1);
    }
    unpack_text(&in, job->error, sizeof job->error);
    return !in.bad;
}

static int get(struct slsr_spool *spool, MDB_txn *txn, uint64_t id, struct slsr_job *job)
{
    unsigned char name[8];
    MDB_val key = {8, name};
    MDB_val data;
    int rc;

    pack_u64_at(name, id);
    rc = mdb_get(txn, spool->books.jobs, &key, &data);
    if (rc == 0 && !decode(data, job))
        rc = MDB_CORRUPTED;
    job->id = id;
    return rc;
}

static int put(struct slsr_spool *spool, MDB_txn *txn, const struct slsr_job *job)
{
    unsigned char name[8];
    MDB_val key = {8, name};
    MDB_val data;
    struct pack pack;

    encode(&pack, job);
    pack_u64_at(name, job->id);
    data = (MDB_val){pack.n, pack.data};
    return mdb_put(txn, spool->books.jobs, &key, &data, 0);
}

/* The next id, and room for it: of too many the oldest finished one goes. */
static int make_room(struct slsr_spool *spool, MDB_txn *txn, uint64_t *id)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    MDB_stat stat;
    char name[32];
    uint64_t gone = 0;
    int rc = mdb_cursor_open(txn, spool->books.jobs, &cursor);

    *id = 1;
    if (rc == 0)
        rc = mdb_stat(txn, spool->books.jobs, &stat);
    if (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_LAST)) == 0 && key.mv_size == 8)
        *id = unpack_u64_at(key.mv_data) + 1;
    if (rc == 0 && stat.ms_entries >= JOBS_KEPT)
        rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (rc == 0 && gone == 0 && stat.ms_entries >= JOBS_KEPT) {
        struct slsr_job job;

        if (key.mv_size != 8 || !decode(data, &job) || job.state == SLSR_JOB_DONE) {
            gone = key.mv_size == 8 ? unpack_u64_at(key.mv_data) : 0;
            rc = mdb_cursor_del(cursor, 0);
            break;
        }
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (rc == 0 && gone != 0) {
        owner(gone, name);
        rc = marks_remove(spool, txn, 'j', name, (struct slsr_span){0, UINT64_MAX});
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int failed(struct slsr_spool *spool, int rc, struct slsr_err *err)
{
    return rc == 0 ? 0 : env_fail(err, rc, "cannot use the jobs of %s", spool->config.path);
}

int slsr_job_add(struct slsr_spool *spool, struct slsr_job *job, const struct slsr_spans *within,
                 struct slsr_err *err)
{
    char name[32];
    MDB_txn *txn;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    rc = make_room(spool, txn, &job->id);
    job->started_ms = job->updated_ms = clock_wall_ms();
    owner(job->id, name);
    for (size_t i = 0; rc == 0 && job->stated && i < within->count; i++)
        rc = marks_add(spool, txn, 'j', name, within->items[i], 0);
    if (rc == 0)
        rc = put(spool, txn, job);
    return failed(spool, books_end(txn, rc), err);
}

int slsr_job_update(struct slsr_spool *spool, struct slsr_job *job, struct slsr_err *err)
{
    struct slsr_job stored;
    char name[32];
    MDB_txn *txn;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    job->updated_ms = clock_wall_ms();
    rc = get(spool, txn, job->id, &stored);
    if (rc == 0 && job->updated_ms <= stored.updated_ms) /* what a claim tells changes by */
        job->updated_ms = stored.updated_ms + 1;
    /* a wish to stop is for the run that is going on */
    job->stop_wanted = rc == 0 && stored.stop_wanted && stored.pid == job->pid;
    if (rc == MDB_NOTFOUND || rc == MDB_CORRUPTED)
        rc = 0;
    if (rc == 0)
        rc = put(spool, txn, job);
    owner(job->id, name);
    if (rc == 0 && job->state == SLSR_JOB_DONE)
        rc = marks_remove(spool, txn, 'j', name, (struct slsr_span){0, UINT64_MAX});
    return failed(spool, books_end(txn, rc), err);
}

int slsr_job_claim(struct slsr_spool *spool, struct slsr_job *job, struct slsr_err *err)
{
    struct slsr_job stored;
    MDB_txn *txn;
    bool changed = false;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    rc = get(spool, txn, job->id, &stored);
    if (rc == 0) {
        changed = stored.updated_ms != job->updated_ms || stored.state != job->state;
        job->state = SLSR_JOB_RUNNING;
        job->stop_wanted = false;
        /* never the same twice, whatever the clock does */
        job->updated_ms =
            clock_wall_ms() > stored.updated_ms ? clock_wall_ms() : stored.updated_ms + 1;
        if (!changed)
            rc = put(spool, txn, job);
    }
    rc = books_end(txn, rc);
    if (rc == 0 && changed)
        return slsr_fail(err, SLSR_EBUSY,
                         "job %llu: another process goes on with it: see replay --list",
                         (unsigned long long)job->id);
    return failed(spool, rc, err);
}

int slsr_job_stop(struct slsr_spool *spool, uint64_t id, struct slsr_err *err)
{
    struct slsr_job job;
    MDB_txn *txn;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    rc = get(spool, txn, id, &job);
    if (rc == 0) {
        job.stop_wanted = true;
        rc = put(spool, txn, &job);
    }
    rc = books_end(txn, rc);
    if (rc == MDB_NOTFOUND)
        return slsr_fail(err, SLSR_ENOMATCH, "job %llu: there is none: see replay --list",
                         (unsigned long long)id);
    return failed(spool, rc, err);
}

int slsr_job_list(struct slsr_spool *spool, struct slsr_job **out, size_t *count,
                  struct slsr_err *err)
{
    MDB_txn *txn;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int rc = books_begin(spool, false, &txn, err);

    *out = NULL;
    *count = 0;
    if (rc != 0)
        return rc == SLSR_ENOMATCH ? 0 : rc;
    rc = mdb_cursor_open(txn, spool->books.jobs, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        struct slsr_job job;
        struct slsr_job *more;

        if (key.mv_size != 8 || !decode(data, &job))
            continue;
        job.id = unpack_u64_at(key.mv_data);
        more = realloc(*out, (*count + 1) * sizeof *more);
        if (more == NULL) {
            rc = ENOMEM;
            break;
        }
        *out = more;
        more[(*count)++] = job;
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    books_leave(txn);
    return rc == MDB_NOTFOUND ? 0 : failed(spool, rc, err);
}

int slsr_job_within(struct slsr_spool *spool, uint64_t id, struct slsr_spans *out,
                    struct slsr_err *err)
{
    char name[32];
    MDB_txn *txn;
    int rc = books_begin(spool, false, &txn, err);

    if (rc != 0)
        return rc;
    owner(id, name);
    rc = marks_load(spool, txn, 'j', name, out);
    books_leave(txn);
    return failed(spool, rc, err);
}
