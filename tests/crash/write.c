/* The writer: a thread per shard that appends and says so, a thread that takes frames for a target.
 *
 * Each line on standard output is one write(2), made after the fact it states:
 *   A SHARD K    the shard's frames below K are acknowledged as durable
 *   T SEQ        the target has taken the frames below SEQ (said before its ack)
 *   E CODE TEXT  an append failed and is tried again
 *   DONE         everything asked for was done and the spool closed */
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

#include "base/clock.h"

enum { RETRY_MS = 5, GIVE_UP_MS = 60000 };

struct writer {
    const struct job *job;
    struct slsr_spool *spool;
    uint32_t shard;
    pthread_t thread;
    int rc;
};

static atomic_bool ended;

static void say(const char *fmt, ...)
{
    char line[600];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (write(1, line, (size_t)n) < 0)
        _exit(9);
}

/* Appends one batch, again and again when the job says so. */
static int append(struct writer *w, const struct slsr_batch *batch, struct slsr_checkpoint *cp)
{
    const int64_t until = clock_mono_ms() + GIVE_UP_MS;
    struct slsr_err err = {0};
    int rc;

    for (;;) {
        rc = slsr_spool_append(w->spool, batch, cp, NULL, &err);
        if (rc == 0)
            return 0;
        say("E %d %s\n", rc, err.text);
        if (!w->job->keep_trying || slsr_err_class(rc) != SLSR_CLASS_RETRY ||
            clock_mono_ms() > until)
            return rc;
        slsr_stop_wait(NULL, RETRY_MS);
    }
}

static void *write_shard(void *arg)
{
    struct writer *w = arg;
    const struct slsr_stream stream = frame_stream(w->shard);
    struct slsr_checkpoint cp = {.stream = stream};
    struct slsr_batch batch;
    uint64_t state = w->job->seed * SHARDS_MAX + w->shard;
    uint64_t k = 0;

    slsr_batch_init(&batch);
    if (slsr_spool_checkpoint(w->spool, &stream, &cp, NULL) == 0 &&
        !frame_cursor_number(cp.cursor, &k))
        w->rc = SLSR_ECORRUPT;
    for (uint64_t i = 0; w->rc == 0 && i < w->job->batches; i++) {
        const uint64_t n = 1 + random_next(&state) % w->job->batch_max;

        slsr_batch_reset(&batch);
        frame_cursor(batch.cursor, k);
        for (uint64_t j = 0; j < n; j++)
            frame_add(&batch, w->shard, k + j, w->job->frame_max);
        frame_cursor(cp.cursor, k + n);
        w->rc = append(w, &batch, &cp);
        if (w->rc != 0)
            break;
        k += n;
        say("A %u %llu\n", w->shard, (unsigned long long)k);
        slsr_spool_shard_note(w->spool, &stream, cp.cursor, (int64_t)i, NULL);
    }
    slsr_batch_fini(&batch);
    return NULL;
}

static void *take_frames(void *arg)
{
    struct writer *w = arg;
    struct slsr_target_state state;
    struct slsr_range *range = NULL;
    struct slsr_run run;
    struct slsr_err err;
    int rc = slsr_spool_target_add(w->spool, "siem", &state, &err);

    if (rc == 0)
        rc = slsr_range_open(&range, w->spool, state.acked, UINT64_MAX, &err);
    while (rc == 0 || rc == SLSR_ENOMATCH) {
        const bool last = ended;

        rc = slsr_range_next_run(range, 1 << 20, &run, &err);
        if (rc == SLSR_ENOMATCH) {
            if (last)
                break;
            slsr_stop_wait(NULL, 1);
        } else if (rc == 0) {
            state.acked = run.first + run.count;
            state.phase = SLSR_PHASE_UP;
            say("T %llu\n", (unsigned long long)state.acked);
            rc = slsr_spool_ack(w->spool, &state, &err);
        } else if (w->job->keep_trying && slsr_err_class(rc) == SLSR_CLASS_RETRY) {
            say("E %d %s\n", rc, err.text);
            slsr_stop_wait(NULL, RETRY_MS);
            rc = 0;
        }
    }
    if (rc != 0 && rc != SLSR_ENOMATCH) {
        say("E %d taking: %s\n", rc, err.text);
        w->rc = rc;
    }
    slsr_range_close(range);
    return NULL;
}

static int open_spool(const struct job *job, struct slsr_spool **spool)
{
    const struct slsr_spool_config config = job_config(job);
    struct slsr_err err = {0};
    int rc = 0;

    for (int i = 0; i < 1000; i++) {
        rc = slsr_spool_open(spool, &config, SLSR_SPOOL_WRITE, &err);
        if (rc == 0)
            return 0;
        say("E %d opening: %s\n", rc, err.text);
        if (!job->keep_trying)
            break;
        slsr_stop_wait(NULL, RETRY_MS);
    }
    return rc;
}

int write_run(const struct job *job)
{
    struct writer writers[SHARDS + 1] = {{0}};
    struct slsr_spool *spool;
    int rc = open_spool(job, &spool);

    if (rc != 0)
        return 2;
    for (uint32_t i = 0; i <= SHARDS; i++) {
        writers[i] = (struct writer){.job = job, .spool = spool, .shard = i};
        if (i == SHARDS && job->no_target)
            break;
        pthread_create(&writers[i].thread, NULL, i < SHARDS ? write_shard : take_frames,
                       &writers[i]);
    }
    for (uint32_t i = 0; i <= SHARDS; i++) {
        if (i == SHARDS && job->no_target)
            break;
        ended = i == SHARDS;
        pthread_join(writers[i].thread, NULL);
        if (writers[i].rc != 0)
            rc = 1;
    }
    slsr_spool_close(spool);
    if (rc == 0)
        say("DONE\n");
    return rc;
}
