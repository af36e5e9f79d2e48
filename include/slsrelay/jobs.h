/* Replays as the spool remembers them: identity, selection, cursor. Kept in ack.mdb, so that a
 * replay that was interrupted in any way goes on where the target had taken everything before.
 *
 * One thread. Each call is one short transaction; a reading tool's ack.mdb is opened for writing.
 */
#ifndef SLSRELAY_JOBS_H
#define SLSRELAY_JOBS_H

#include "slsrelay/control.h"
#include "slsrelay/err.h"
#include "slsrelay/spool.h"

enum slsr_job_state {
    SLSR_JOB_RUNNING,
    SLSR_JOB_STOPPED, /* interrupted, gave up, or its process is gone: may be resumed */
    SLSR_JOB_DONE
};

struct slsr_job {
    uint64_t id; /* from 1 */
    enum slsr_job_state state;
    bool stop_wanted; /* somebody asked it to stop */
    long pid;         /* that runs it */
    int64_t started_ms, updated_ms;
    uint64_t from, to;      /* [from, to) of the selection when it began */
    uint64_t cursor;        /* everything selected before it has been taken */
    uint64_t frames, bytes; /* selected when it began */
    uint64_t done;          /* of these, taken */
    bool stated;            /* the selection is a set of stretches, kept beside it */
    char who[64];
    char target[256];     /* name in the configuration, or URL */
    char rate[32];        /* as typed, or "" */
    char selectors[1000]; /* options, each followed by US (0x1f); times are absolute */
    char error[200];
};

/* Stores a new one and sets its id; `within` are its stretches when stated. The oldest finished
 * ones go when there are more than 100. SLSR_EPERM: the spool cannot be written. */
int slsr_job_add(struct slsr_spool *spool, struct slsr_job *job, const struct slsr_spans *within,
                 struct slsr_err *err);
/* Makes a job that has ended, in whatever way, the caller's: running, with job->pid, unless its
 * record has changed since `job` was read. SLSR_EBUSY: it has, somebody else goes on with it. */
int slsr_job_claim(struct slsr_spool *spool, struct slsr_job *job, struct slsr_err *err);
/* Stores state, cursor, done, pid and error; sets updated_ms and stop_wanted from the spool. */
int slsr_job_update(struct slsr_spool *spool, struct slsr_job *job, struct slsr_err *err);
/* Asks the process that runs it to stop. SLSR_ENOMATCH: no such job. */
int slsr_job_stop(struct slsr_spool *spool, uint64_t id, struct slsr_err *err);
/* All of them by id; the caller frees *out with free(). */
int slsr_job_list(struct slsr_spool *spool, struct slsr_job **out, size_t *count,
                  struct slsr_err *err);
/* The stretches of a stated one. */
int slsr_job_within(struct slsr_spool *spool, uint64_t id, struct slsr_spans *out,
                    struct slsr_err *err);

#endif
