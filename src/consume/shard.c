/* One shard's loop: pull -> intake -> spool -> checkpoint.
 *
 * Two batches take turns: while one commits, the next is pulled and formatted. The cursor moves on
 * in memory with each submitted batch; SLS hears of a position only after the commit behind it (I2)
 * and only while the group still holds the shard. A pull that cannot be decoded is asked for again:
 * it never moves the cursor. A full or failing spool stops the pulling, nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "consume/checkpoint.h"
#include "consume/intake.h"
#include "consume/internal.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/diag.h"

enum { ROOM_PAUSE_MS = 200 };
enum { FULL_PULL_BYTES = 4 * 1024 * 1024, HALF_PULL_BYTES = 1024 * 1024, HALF_PULL_GROUPS = 100 };

struct lane { /* one of the two batches */
    struct slsr_batch batch;
    struct slsr_checkpoint cp;
    struct slsr_ticket ticket;
    bool under_way;
};

struct run {
    struct worker *w;
    struct consume *g;
    struct client *client;
    struct slsr_stream stream;
    struct intake intake;
    struct lane lanes[2];
    int turn;
    char cursor[SLSR_CURSOR_MAX + 1];   /* next to pull */
    char durable[SLSR_CURSOR_MAX + 1];  /* committed locally */
    char reported[SLSR_CURSOR_MAX + 1]; /* confirmed by SLS */
    bool end_reported;                  /* at a read-only end: told once, even if unchanged */
    int64_t reported_ms;
    int64_t lag_s, noted_lag_s;
    struct backoff backoff;
    int last_error; /* for one line per state change */
};

static bool stopping(const struct run *r)
{
    return slsr_stop_requested(&r->w->stop);
}

static void tell(struct run *r, int rc, const struct slsr_err *err)
{
    if (rc == r->last_error || rc == SLSR_ESTOPPED)
        return;
    if (rc != 0)
        diag(rc == SLSR_EQUOTA ? SLSR_LOG_WARNING : SLSR_LOG_ERROR, "consume",
             "%s/%s shard %u: %s%s", r->stream.project, r->stream.logstore, r->stream.shard,
             err->text, strstr(err->text, "again") != NULL ? "" : "; will try again");
    else
        diag(SLSR_LOG_NOTICE, "consume", "%s/%s shard %u: goes on", r->stream.project,
             r->stream.logstore, r->stream.shard);
    r->last_error = rc;
}

static void pause_for(struct run *r, int rc)
{
    int64_t ms = backoff_next_ms(&r->backoff);

    if ((rc == SLSR_EQUOTA || rc == SLSR_EAUTH) && ms < 5000)
        ms = 5000;
    slsr_stop_wait(&r->w->stop, ms);
}

static int configured_position(struct run *r, enum slsr_position position, struct slsr_err *err)
{
    char from[32] = "begin";

    if (position == SLSR_POS_END)
        snprintf(from, sizeof from, "end");
    else if (position == SLSR_POS_TIME)
        snprintf(from, sizeof from, "%lld", (long long)r->g->o.source->cursor_time_s);
    return client_get_cursor(r->client, r->stream.logstore, r->stream.shard, from, r->cursor, err);
}

/* Where to begin: docs/architecture.md "After a kill". */
static int find_start(struct run *r, struct slsr_err *err)
{
    struct client_checkpoint server;
    struct slsr_checkpoint local = {.stream = r->stream};
    const char *why = "the configured position";
    int rc = client_get_checkpoint(r->client, r->stream.logstore, r->g->o.source->consumer_group,
                                   r->stream.shard, &server, err);

    if (rc != 0)
        return rc;
    if (slsr_spool_checkpoint(r->g->o.spool, &r->stream, &local, NULL) != 0)
        local.cursor[0] = local.reported[0] = '\0';
    switch (checkpoint_choose(local.cursor, local.reported, server.cursor)) {
    case CHECKPOINT_LOCAL:
        memcpy(r->cursor, local.cursor, sizeof r->cursor);
        why = "the spool's checkpoint";
        break;
    case CHECKPOINT_SERVER:
        memcpy(r->cursor, server.cursor, sizeof r->cursor);
        why = "the group's checkpoint";
        break;
    case CHECKPOINT_CONFIGURED:
        rc = configured_position(r, r->g->o.source->cursor_position, err);
        break;
    }
    if (rc != 0)
        return rc;
    memcpy(r->durable, r->cursor, sizeof r->durable);
    memcpy(r->reported, server.cursor, sizeof r->reported);
    diag(SLSR_LOG_INFO, "consume", "%s/%s shard %u: starts from %s", r->stream.project,
         r->stream.logstore, r->stream.shard, why);
    return 0;
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
        if (rc == 0) {
            memcpy(r->durable, lane->cp.cursor, sizeof r->durable);
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
            pause_for(r, rc);
        }
        if (stopping(r))
            return rc; /* nothing acknowledged is lost: SLS still has it */
        rc = slsr_spool_submit(r->g->o.spool, &lane->ticket, &lane->batch, &lane->cp, &err);
        if (rc != 0)
            return rc;
        lane->under_way = true;
    }
}

/* Makes r->cursor durable without frames. */
static int keep_position(struct run *r, struct slsr_err *err)
{
    struct lane *lane = &r->lanes[r->turn];
    int rc;

    slsr_batch_reset(&lane->batch);
    lane->cp.stream = r->stream;
    memcpy(lane->cp.cursor, r->cursor, sizeof lane->cp.cursor);
    rc = slsr_spool_append(r->g->o.spool, &lane->batch, &lane->cp, NULL, err);
    if (rc == 0)
        memcpy(r->durable, r->cursor, sizeof r->durable);
    return rc;
}

/* InvalidCursor: what lies between is gone from SLS; the setting says where to go on. */
static int leap(struct run *r, struct slsr_err *err)
{
    const enum slsr_position to = r->g->o.source->on_invalid_cursor;
    char from[SLSR_CURSOR_MAX + 1];
    int rc;

    if (to == SLSR_POS_STOP)
        return slsr_fail(err, SLSR_ECURSOR,
                         "cursor %s is no longer valid in SLS (retention) and "
                         "source.on_invalid_cursor is stop: set it to begin or end",
                         r->cursor);
    memcpy(from, r->cursor, sizeof from);
    for (int i = 0; i < 2; i++) {
        rc = settle(r, &r->lanes[(r->turn + i) % 2]);
        if (rc != 0)
            return rc;
    }
    rc = configured_position(r, to, err);
    if (rc == 0 && (rc = keep_position(r, err)) != 0)
        memcpy(r->cursor, from, sizeof r->cursor); /* try again as a whole */
    if (rc == 0)
        diag(SLSR_LOG_WARNING, "consume",
             "%s/%s shard %u: GAP: cursor %s is no longer valid in SLS, goes on at %s (%s)",
             r->stream.project, r->stream.logstore, r->stream.shard, from, r->cursor,
             to == SLSR_POS_END ? "end" : "oldest kept");
    return rc;
}

/* Tells SLS how far we are durable. Unforced, under our name, never behind the fence (I2). */
static int report(struct run *r, struct client *client)
{
    struct slsr_err err;
    char position[SLSR_CURSOR_MAX + 1];
    int rc;

    if (r->w->lost || !group_holds(r->g))
        return 0;
    memcpy(position, r->durable, sizeof position);
    rc = client_put_checkpoint(client, r->stream.logstore, r->g->o.source->consumer_group,
                               r->g->o.consumer, r->stream.shard, position, false, &err);
    r->reported_ms = clock_mono_ms();
    if (slsr_err_class(rc) == SLSR_CLASS_LOST) {
        diag(SLSR_LOG_WARNING, "consume", "%s/%s shard %u: %s", r->stream.project,
             r->stream.logstore, r->stream.shard, err.text);
        r->w->lost = true;
        slsr_stop_request(&r->w->stop);
    } else if (rc == 0) {
        memcpy(r->reported, position, sizeof r->reported);
        slsr_spool_shard_note(r->g->o.spool, &r->stream, r->reported, r->lag_s, NULL);
        r->noted_lag_s = r->lag_s;
    } else {
        tell(r, rc, &err);
    }
    return rc;
}

static void report_when_due(struct run *r, bool at_end)
{
    const bool moved = strcmp(r->durable, r->reported) != 0;
    const bool must_tell_end = at_end && r->w->readonly && !r->end_reported;

    if (must_tell_end ||
        (moved && clock_mono_ms() - r->reported_ms >= r->g->o.source->checkpoint_interval_ms)) {
        if (report(r, r->client) == 0 && at_end && r->w->readonly)
            r->end_reported = true;
    } else if (r->lag_s != r->noted_lag_s) {
        slsr_spool_shard_note(r->g->o.spool, &r->stream, NULL, r->lag_s, NULL);
        r->noted_lag_s = r->lag_s;
    }
}

static void note_lag(struct run *r, const struct client_pull *pull, uint32_t last_time_s,
                     bool at_end)
{
    const int64_t now_s = clock_wall_ms() / 1000;
    const int64_t then = pull->cursor_time_s > 0 ? pull->cursor_time_s : (int64_t)last_time_s;

    r->lag_s = at_end ? 0 : then > 0 && then < now_s ? now_s - then : 0;
}

/* Hands the free lane to the writer once the other one is on disk. `position`: the checkpoint. */
static int hand_over(struct run *r, const char *position, struct slsr_err *err)
{
    struct lane *lane = &r->lanes[r->turn];
    int rc = settle(r, &r->lanes[1 - r->turn]);

    if (rc != 0)
        return rc;
    if (r->w->lost)
        return slsr_fail(err, SLSR_ELOST, "the shard was taken away");
    lane->cp.stream = r->stream;
    memcpy(lane->cp.cursor, position, sizeof lane->cp.cursor);
    rc = slsr_spool_submit(r->g->o.spool, &lane->ticket, &lane->batch, &lane->cp, err);
    if (rc != 0)
        return rc;
    lane->under_way = true;
    r->turn = 1 - r->turn;
    r->g->dead_logs += lane->batch.dead_count;
    r->g->dropped_logs += lane->batch.dropped_count;
    return 0;
}

/* Decodes and formats one pull into the free lane and hands it to the writer. A pull of several
 * pieces moves the cursor with the last one: cut off in the middle, it is read again. */
static int take(struct run *r, const struct client_pull *pull, struct slsr_err *err)
{
    struct intake_result result;
    struct slsr_err dead = {0};
    int rc = intake_take(&r->intake, pull->body, pull->lz4, pull->raw_size, r->cursor,
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
        if (!result.more)
            break;
        /* the lane that is free now was settled in hand_over */
        rc = intake_more(&r->intake, &r->lanes[r->turn].batch, &result, &dead, err);
    }
    if (rc != 0)
        return rc;
    memcpy(r->cursor, pull->next, sizeof r->cursor);
    r->g->pulled_bytes += result.raw_bytes;
    note_lag(r, pull, result.last_time_s, false);
    return 0;
}

static int64_t pace_ms(const struct run *r, const struct client_pull *pull, bool at_end)
{
    const int64_t interval = r->g->o.source->fetch_interval_ms;

    if (at_end)
        return interval;
    if (pull->raw_size >= FULL_PULL_BYTES || pull->groups >= r->g->o.source->max_log_groups)
        return 0;
    if (pull->raw_size >= HALF_PULL_BYTES || pull->groups >= HALF_PULL_GROUPS)
        return interval < 50 ? interval : 50;
    return interval;
}

/* One turn of the loop. */
static int turn(struct run *r, struct slsr_err *err)
{
    struct client_pull pull;
    bool at_end;
    int rc = client_pull(r->client, r->stream.logstore, r->stream.shard, r->cursor,
                         (int)r->g->o.source->max_log_groups, &pull, err);

    if (rc == SLSR_ECURSOR) {
        rc = leap(r, err);
        if (rc == 0)
            pause_for(r, SLSR_ECURSOR); /* should SLS refuse the fresh one, too */
        return rc;
    }
    if (rc != 0)
        return rc;
    at_end = pull.groups == 0 && strcmp(pull.next, r->cursor) == 0;
    if (!at_end) {
        rc = take(r, &pull, err);
        if (rc != 0)
            return rc;
    } else {
        note_lag(r, &pull, 0, true);
        for (int i = 0; i < 2; i++) {
            rc = settle(r, &r->lanes[i]);
            if (rc != 0)
                return rc;
        }
    }
    if (r->last_error != 0)
        tell(r, 0, NULL);
    backoff_reset(&r->backoff);
    report_when_due(r, at_end);
    slsr_stop_wait(&r->w->stop, pace_ms(r, &pull, at_end));
    return 0;
}

/* Everything in hand becomes durable, SLS hears the last position, with a client that the stop does
 * not interrupt. */
static void leave(struct run *r)
{
    struct client *client = NULL;

    for (int i = 0; i < 2; i++)
        settle(r, &r->lanes[(r->turn + i) % 2]); /* the older lane first */
    if (!r->w->lost && strcmp(r->durable, r->reported) != 0 &&
        client_open(&client, r->g->o.source, r->g->o.consumer, r->g->o.abort, NULL) == 0)
        for (int attempt = 0; attempt < 3 && !slsr_stop_requested(r->g->o.abort); attempt++)
            if (report(r, client) == 0 || r->w->lost)
                break;
    client_close(client);
}

static int set_up(struct run *r, struct slsr_err *err)
{
    int rc = client_open(&r->client, r->g->o.source, r->g->o.consumer, &r->w->stop, err);

    if (rc == 0)
        rc = intake_open(&r->intake, r->g->o.format, &r->stream, err);
    return rc;
}

void *shard_run(void *arg)
{
    struct worker *w = arg;
    struct run r = {.w = w, .g = w->group, .stream = w->group->stream, .noted_lag_s = -1};
    struct slsr_err err = {0};
    const uint64_t one = 1;
    bool started = false;

    r.stream.shard = w->shard;
    backoff_init(&r.backoff, 250, 30000, 2);
    if (set_up(&r, &err) != 0) {
        r.g->o.fatal(r.g->o.ctx, &err);
        slsr_stop_request(&w->stop);
    }
    while (!stopping(&r)) {
        const int rc = started ? turn(&r, &err) : find_start(&r, &err);

        if (rc == 0) {
            started = true;
        } else if (rc != SLSR_ESTOPPED) {
            tell(&r, rc, &err);
            pause_for(&r, rc);
        }
    }
    if (started)
        leave(&r);
    intake_close(&r.intake);
    client_close(r.client);
    slsr_batch_fini(&r.lanes[0].batch);
    slsr_batch_fini(&r.lanes[1].batch);
    w->done = true;
    if (write(r.g->wake, &one, sizeof one) < 0) {
        /* the group looks again at its next beat */
    }
    return NULL;
}
