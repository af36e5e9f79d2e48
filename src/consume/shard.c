/* One shard's loop: pull -> intake -> spool -> checkpoint.
 *
 * Two batches take turns: while one commits, the next is pulled and formatted. The cursor moves on
 * in memory with each submitted batch; SLS hears of a position only after the commit behind it (I2)
 * and only while the group still holds the shard. A pull that cannot be decoded is asked for again:
 * it never moves the cursor. A full or failing spool stops the pulling, nothing else. Behind the
 * fence nothing is spooled any more: the shard may be another consumer's.
 *
 * Each pull waits for its share of source.memory; a large answer makes the next question smaller.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "consume/shard.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/diag.h"
#include "base/fault.h"
#include "base/progress.h"
#include "base/warm.h"

enum { ROOM_PAUSE_MS = 200, SLOW_PAUSE_MS = 5000, QUOTA_PAUSE_MS = 1000 };
enum { FULL_PULL_BYTES = 4 * 1024 * 1024, HALF_PULL_BYTES = 1024 * 1024, HALF_PULL_GROUPS = 100 };
enum { LONE_RAW_BYTES = 1024 * 1024 }; /* of such pulls few share a commit */
enum { COPIES = 4 };       /* of a pull's raw size that one turn of the loop holds at most */
enum { FIRST_PULLS = 16 }; /* at a time at least; of what comes nobody knows the size yet */

static bool stopping(const struct run *r)
{
    return slsr_stop_requested(&r->w->stop);
}

/* One diagnostic per change of state; the note always. rc 0: all is well (again). */
static void tell(struct run *r, int rc, const struct slsr_err *err)
{
    if (rc == SLSR_ESTOPPED || (rc == 0 && r->last_error == 0))
        return;
    r->failed += rc != 0;
    note_set(r->g, &r->w->note, consume_state(rc), rc != 0 ? err : NULL);
    if (rc == r->last_error)
        return;
    if (rc != 0)
        diag(rc == SLSR_EQUOTA ? SLSR_LOG_WARNING : SLSR_LOG_ERROR, "consume",
             "%s/%s shard %u: %s%s", r->stream.project, r->stream.logstore, r->stream.shard,
             err->text, strstr(err->text, "again") != NULL ? "" : "; will try again");
    else
        diag(SLSR_LOG_NOTICE, "consume", "%s/%s shard %u: goes on after %u failure%s",
             r->stream.project, r->stream.logstore, r->stream.shard, r->failed,
             r->failed == 1 ? "" : "s");
    if (rc == 0)
        r->failed = 0;
    r->last_error = rc;
}

/* Back-off by the error's class, ends with stop. */
static void pause_by(struct run *r, int rc)
{
    int64_t ms = backoff_next_ms(&r->backoff);

    /* full jitter on top: what was refused together must not come back together */
    if (rc == SLSR_EAUTH || rc == SLSR_ENOTFOUND || rc == SLSR_ECLIENT || rc == SLSR_ELOST)
        ms += SLOW_PAUSE_MS;
    else if (rc == SLSR_EQUOTA)
        ms += QUOTA_PAUSE_MS;
    slsr_stop_wait(&r->w->stop, ms);
}

/* Behind the fence the shard may be another's: nothing more of it is spooled or reported. */
static int fenced(struct run *r, struct slsr_err *err)
{
    if (!r->w->lost && group_holds_ms(r->g) > 0)
        return 0;
    r->w->lost = true;
    slsr_stop_request(&r->w->stop);
    return slsr_fail(err, SLSR_ESTOPPED, "the shard may be another consumer's");
}

/* The spool has refused a batch. The cursor has gone past it: the worker goes on with it or not at
 * all. Nothing acknowledged is lost when it ends: SLS still has it. */
static int submit_again(struct run *r, struct lane *lane, struct slsr_err *err)
{
    /* the wait before may have outlasted our hold */
    while (!stopping(r) && fenced(r, err) == 0) {
        const int rc =
            slsr_spool_submit(r->g->o.spool, &lane->ticket, &lane->batch, &lane->cp, err);

        lane->under_way = rc == 0;
        if (rc == 0)
            return 0;
        tell(r, rc, err);
        pause_by(r, rc);
    }
    return SLSR_ESTOPPED;
}

/* Waits for a lane's commit; a full or failing spool is waited out, the batch stays in hand. */
static int settle(struct run *r, struct lane *lane)
{
    struct slsr_err err = {0};
    int rc;

    if (!lane->under_way)
        return 0;
    for (;;) {
        rc = slsr_spool_settle(r->g->o.spool, &lane->ticket, &err);
        lane->under_way = false;
        FAULT_DIE(SETTLE_AFTER);
        if (rc == 0) {
            count_add(COUNT_SPOOLED_FRAMES, NULL, NULL, lane->batch.frame_count);
            count_add(COUNT_SPOOLED_BYTES, NULL, NULL, lane->batch.used);
            report_committed(r, lane);
            if (r->last_error == SLSR_EFULL || r->last_error == SLSR_EIO)
                tell(r, 0, NULL);
            return 0;
        }
        tell(r, rc, &err);
        if (slsr_err_class(rc) != SLSR_CLASS_RETRY) {
            slsr_stop_request(&r->w->stop); /* first: nothing may be pulled past this batch */
            r->g->o.fatal(r->g->o.ctx, &err);
            return rc;
        }
        if (rc == SLSR_EFULL) {
            slsr_spool_wait_room(r->g->o.spool, &r->w->stop, INT32_MAX, NULL);
            slsr_stop_wait(&r->w->stop, ROOM_PAUSE_MS); /* the disk may know of other limits */
        } else {
            pause_by(r, rc);
        }
        rc = submit_again(r, lane, &err);
        if (rc != 0)
            return rc;
    }
}

int shard_settle_all(struct run *r)
{
    int rc = settle(r, &r->lanes[r->turn]); /* the older one */

    return rc != 0 ? rc : settle(r, &r->lanes[1 - r->turn]);
}

static void note_lag(struct run *r, const struct client_pull *pull, uint32_t last_time_s,
                     bool at_end)
{
    const int64_t now_s = clock_wall_ms() / 1000;
    const int64_t then = pull->cursor_time_s > 0 ? pull->cursor_time_s : (int64_t)last_time_s;

    r->lag_s = at_end ? 0 : then > 0 && then < now_s ? now_s - then : 0;
    r->w->lag_s = r->lag_s;
    if (at_end || then > 0)
        r->w->pulled_to_ms = (at_end || then > now_s ? now_s : then) * 1000;
}

/* Hands the free lane to the writer once the other one is on disk. `position`: the checkpoint. */
static int hand_over(struct run *r, const char *position, struct slsr_err *err)
{
    struct lane *lane = &r->lanes[r->turn];
    int rc = settle(r, &r->lanes[1 - r->turn]);

    if (rc == 0)
        rc = fenced(r, err);
    if (rc != 0)
        return rc;
    lane->cp.stream = r->stream;
    memcpy(lane->cp.cursor, position, sizeof lane->cp.cursor);
    lane->ticket.gift = &lane->batch;
    rc = slsr_spool_submit(r->g->o.spool, &lane->ticket, &lane->batch, &lane->cp, err);
    if (rc != 0)
        return rc;
    lane->under_way = true;
    FAULT_DIE(SUBMIT_AFTER);
    r->turn = 1 - r->turn;
    r->g->dead_logs += lane->batch.dead_count;
    r->g->dropped_logs += lane->batch.dropped_count;
    if (lane->batch.dead_count > 0)
        count_add(COUNT_FRAMES_DEAD, "format", NULL, lane->batch.dead_count);
    if (lane->batch.dropped_count > 0)
        count_add(COUNT_FRAMES_DROPPED, "filter", NULL, lane->batch.dropped_count);
    return 0;
}

static size_t first_piece(const struct client_pull *pull)
{
    return pull->raw_size < INTAKE_PIECE_BYTES ? pull->raw_size : INTAKE_PIECE_BYTES;
}

/* Decodes and formats one pull into the free lane and hands it to the writer. A pull of several
 * pieces moves the cursor with the last one: cut off in the middle, it is read again. */
static int take(struct run *r, const struct client_pull *pull, struct slsr_err *err)
{
    struct intake_result result;
    struct slsr_err dead = {0};
    int rc;

    buffers_warm(&r->lanes[r->turn], first_piece(pull));
    rc = intake_take(&r->intake, pull->body, pull->lz4, pull->raw_size, r->cursor,
                     &r->lanes[r->turn].batch, &result, &dead, err);
    if (rc == 0 && result.groups != pull->groups)
        rc = slsr_fail(err, SLSR_EBADDATA,
                       "the answer announces %u log groups but holds %u: asked for again",
                       pull->groups, result.groups);
    while (rc == 0) {
        const uint64_t dead_count = r->lanes[r->turn].batch.dead_count;

        if (dead_count > 0)
            diag(SLSR_LOG_WARNING, "consume",
                 "%s/%s shard %u: %llu logs give no frame, the first: %s", r->stream.project,
                 r->stream.logstore, r->stream.shard, (unsigned long long)dead_count, dead.text);
        rc = hand_over(r, result.more ? r->cursor : pull->next, err);
        if (rc != 0)
            return rc;
        r->g->pulled_logs += result.logs;
        count_add(COUNT_PULLED_LOGS, NULL, NULL, result.logs);
        if (!result.more)
            break;
        /* the lane that is free now was settled in hand_over */
        buffers_warm(&r->lanes[r->turn], first_piece(pull));
        rc = intake_more(&r->intake, &r->lanes[r->turn].batch, &result, &dead, err);
    }
    if (rc != 0)
        return rc;
    memcpy(r->cursor, pull->next, sizeof r->cursor);
    r->g->pulled_bytes += result.raw_bytes;
    count_add(COUNT_PULLED_RAW_BYTES, NULL, NULL, result.raw_bytes);
    note_lag(r, pull, result.last_time_s, false);
    return 0;
}

/* How long to wait before the next pull. With a filter the service counts what it read, not what
 * came through: a filter that drops everything must not make us crawl. */
static int64_t pace_ms(const struct run *r, const struct client_pull *pull, bool at_end)
{
    const int64_t interval = r->g->o.source->fetch_interval_ms;

    if (at_end)
        return interval;
    if (pull->scanned_bytes >= FULL_PULL_BYTES || pull->scanned_groups >= r->count)
        return 0;
    if (pull->scanned_bytes >= HALF_PULL_BYTES || pull->scanned_groups >= HALF_PULL_GROUPS)
        return interval < 50 ? interval : 50;
    return interval;
}

/* The next question by the last answer: an eighth of source.memory is what one pull should bring.
 */
static void adapt_count(struct run *r, const struct client_pull *pull)
{
    const int64_t most = r->g->o.source->max_log_groups;
    const int64_t target = memory_limit(r->g->memory) / (2 * COPIES);
    const int64_t raw = (int64_t)pull->raw_size;

    if (pull->groups == 0)
        return;
    if (raw > target)
        r->count = r->count > 1 ? r->count * target / raw : 1;
    else if (raw < target / 2 && pull->groups >= r->count)
        r->count *= 2;
    r->count = r->count < 1 ? 1 : r->count > most ? most : r->count;
    r->last_raw = raw;
}

/* Waits for memory that other workers hold; figures.c tells what keeps those. */
static int wait_for_memory(struct run *r, int64_t want, bool decode, struct slsr_err *err)
{
    int rc;

    r->w->waits_ms = clock_wall_ms();
    rc = memory_take(r->g->memory, &r->w->stop, &r->held, want, decode, err);
    r->w->waits_ms = 0;
    return rc;
}

/* Tokens for a pull like the last one. */
static int reserve(struct run *r, struct slsr_err *err)
{
    const int64_t want = r->last_raw > SMALL_RAW_BYTES ? r->last_raw * COPIES : 0;
    int rc;

    if (want <= r->held ||
        (!memory_wanted(r->g->memory) && memory_try(r->g->memory, &r->held, want)))
        return 0;
    rc = shard_settle_all(r);
    if (rc != 0)
        return rc;
    buffers_shed(r);
    return wait_for_memory(r, want, false, err);
}

/* Many shards are busy: while this one waits for its next pull, another decodes into its buffers.
 */
static int pass_on(struct run *r)
{
    int rc;

    memory_busy(r->g->memory, &r->busy, true);
    if (memory_alone(r->g->memory))
        return 0;
    buffers_pass(r); /* at once: the next one need not wait for our commit */
    if (!memory_crowded(r->g->memory))
        return 0;
    rc = shard_settle_all(r);
    if (rc == 0)
        buffers_shed(r);
    return rc;
}

/* Takes in what a pull brought, with tokens for its real size. */
static int digest(struct run *r, const struct client_pull *pull, struct slsr_err *err)
{
    const int64_t raw = (int64_t)pull->raw_size;
    int64_t want = raw > SMALL_RAW_BYTES ? raw * COPIES : 0;
    int rc;

    r->body_max = (int64_t)pull->body.n > r->body_max ? (int64_t)pull->body.n : r->body_max;
    want = want > r->held ? want : r->held;
    rc = wait_for_memory(r, want, true, err);
    if (rc != 0)
        return rc;
    rc = take(r, pull, err);
    if (raw <= LONE_RAW_BYTES)
        memory_decoded(r->g->memory); /* many small batches share a sync */
    if (rc == 0)
        rc = pass_on(r);
    if (raw > LONE_RAW_BYTES)
        memory_decoded(r->g->memory); /* as fast as the disk: what waits for it takes memory */
    memory_set(r->g->memory, &r->held, buffers_held(r));
    if (rc == SLSR_ETOOBIG || rc == SLSR_ENOMEM)
        r->count = r->count / 4 > 0 ? r->count / 4 : 1;
    return rc;
}

/* Nothing new: everything in hand becomes durable, memory goes where it is needed. */
static int rest(struct run *r, const struct client_pull *pull)
{
    const int rc = shard_settle_all(r);

    note_lag(r, pull, 0, true);
    memory_busy(r->g->memory, &r->busy, false);
    if (rc == 0 && r->held > 0) {
        r->last_raw = 0;
        buffers_shed(r);
    }
    if (memory_idle(r->g->memory))
        warm_trim();
    return rc;
}

static int pull_failed(struct run *r, int rc, struct slsr_err *err)
{
    const char *code = client_last_code(r->client); /* the service's word, else ours */

    if (rc != SLSR_ESTOPPED)
        count_add(COUNT_PULL_ERRORS, code[0] != '\0' ? code : consume_state(rc), NULL, 1);
    if (rc == SLSR_ETOOBIG && r->count > 1) {
        r->count = r->count / 4 > 0 ? r->count / 4 : 1;
        return 0; /* fewer log groups at once: no need to bother anybody */
    }
    if (rc != SLSR_ECURSOR)
        return rc;
    rc = position_leap(r, err);
    if (rc == 0)
        pause_by(r, SLSR_ECURSOR); /* should SLS refuse the fresh one, too */
    return rc;
}

/* One turn of the loop. */
static int turn(struct run *r, struct slsr_err *err)
{
    struct client_pull pull;
    int64_t began_ns;
    bool at_end;
    int rc = fenced(r, err);

    if (rc == 0)
        rc = reserve(r, err);
    if (rc != 0)
        return rc;
    began_ns = clock_mono_ns();
    rc = client_pull(r->client, r->stream.logstore, r->stream.shard, r->cursor, (int)r->count,
                     &pull, err);
    count_observe(COUNT_PULL_SECONDS, (double)(clock_mono_ns() - began_ns) / 1e9);
    if (rc != 0)
        return pull_failed(r, rc, err);
    at_end = pull.groups == 0 && strcmp(pull.next, r->cursor) == 0;
    rc = at_end ? rest(r, &pull) : digest(r, &pull, err);
    if (rc != 0) {
        if (rc == SLSR_EBADDATA)
            count_add(COUNT_PULL_ERRORS, consume_state(rc), NULL, 1);
        return rc;
    }
    adapt_count(r, &pull);
    tell(r, 0, NULL);
    backoff_reset(&r->backoff);
    if (!at_end)
        r->end_tried = false;
    report_when_due(r, at_end);
    slsr_stop_wait(&r->w->stop, pace_ms(r, &pull, at_end));
    return 0;
}

/* A first pull counts like a full one, but no more than its share of source.memory: when hundreds
 * of shards start at once, not all of them hold an answer that waits to be decoded. */
static int64_t first_raw(const struct run *r)
{
    const int64_t share = memory_limit(r->g->memory) / (FIRST_PULLS * COPIES);

    return share < FULL_PULL_BYTES ? share : FULL_PULL_BYTES;
}

static int set_up(struct run *r, struct slsr_err *err)
{
    int rc = r->g->o.open(&r->client, r->g->o.source, r->g->o.consumer, &r->w->stop, err);

    if (rc == 0)
        rc = intake_open(&r->intake, r->g->o.format, &r->stream, err);
    return rc;
}

static void consume_shard(struct run *r)
{
    struct slsr_err err = {0};
    bool started = false;

    while (!stopping(r)) {
        const int rc = started ? turn(r, &err) : position_find(r, &err);

        if (rc == 0) {
            if (!started)
                note_set(r->g, &r->w->note, consume_state(0), NULL);
            started = true;
        } else if (rc != SLSR_ESTOPPED) {
            tell(r, rc, &err);
            if (r->held > 0 && memory_wanted(r->g->memory) && shard_settle_all(r) == 0)
                buffers_shed(r);
            pause_by(r, rc);
        }
    }
    if (!started)
        return;
    note_set(r->g, &r->w->note, "leaving", NULL);
    shard_settle_all(r);
    report_last(r);
}

void *shard_run(void *arg)
{
    struct worker *w = arg;
    struct run r = {.w = w,
                    .g = w->group,
                    .stream = w->group->stream,
                    .noted_lag_s = -1,
                    .count = w->group->o.source->max_log_groups};
    struct slsr_err err = {0};
    const uint64_t one = 1;
    char name[PROGRESS_NAME];

    snprintf(name, sizeof name, "shard %u of %.40s", w->shard, r.stream.logstore);
    progress_begin(name);
    r.stream.shard = w->shard;
    r.last_raw = first_raw(&r);
    backoff_init(&r.backoff, 250, 30000, 2);
    if (set_up(&r, &err) != 0) {
        r.g->o.fatal(r.g->o.ctx, &err);
        slsr_stop_request(&w->stop);
    }
    consume_shard(&r);
    buffers_end(&r);
    intake_close(&r.intake);
    client_close(r.client);
    progress_end();
    w->done = true;
    if (write(r.g->wake, &one, sizeof one) < 0) {
        /* the group looks again at its next beat */
    }
    return NULL;
}
