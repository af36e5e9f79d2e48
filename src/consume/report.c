/* What SLS hears of our position, and when (I2).
 *
 * Unforced, under our name, never behind the fence, never past what is on disk; with
 * checkpoint_after "delivered" never past what every target has taken. At the end of a read-only
 * shard once even when nothing has changed: only that call lets the service close the shard and
 * start its children. */
#include <stdio.h>
#include <stdlib.h>

#include "consume/shard.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/diag.h"
#include "base/fault.h"

enum {
    LAST_WORD_MS = 10000, /* the whole process leaves: somebody waits for it */
    HAND_OVER_MS = 30000, /* one shard leaves: the service waits as long as we list it */
    DELIVERY_POLL_MS = 100
};

static bool after_delivery(const struct run *r)
{
    return r->g->o.source->checkpoint_after == SLSR_AFTER_DELIVERED;
}

/* The next sequence that some target has not yet taken. *hopeful: those that lag are connected, so
 * waiting for them makes sense. */
static uint64_t taken_by_all(struct run *r, bool *hopeful)
{
    struct slsr_target_state *targets = NULL;
    uint64_t least = UINT64_MAX;
    size_t count = 0;

    *hopeful = true;
    if (slsr_spool_targets(r->g->o.spool, &targets, &count, NULL) != 0) {
        *hopeful = false;
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (targets[i].acked < least)
            least = targets[i].acked;
        if (r->pending_count > 0 && targets[i].acked < r->pending[r->pending_count - 1].seq &&
            (targets[i].phase == SLSR_PHASE_BACKOFF || targets[i].phase == SLSR_PHASE_STALLED ||
             targets[i].phase == SLSR_PHASE_STOPPED))
            *hopeful = false;
    }
    free(targets);
    return least;
}

/* Moves free_to on over what was delivered meanwhile. */
static bool release(struct run *r)
{
    size_t done = 0;
    bool hopeful = true;
    uint64_t taken;

    if (r->pending_count == 0)
        return true;
    taken = taken_by_all(r, &hopeful);
    while (done < r->pending_count && r->pending[done].seq <= taken)
        done++;
    if (done > 0) {
        memcpy(r->free_to, r->pending[done - 1].cursor, sizeof r->free_to);
        r->pending_count -= done;
        memmove(r->pending, r->pending + done, r->pending_count * sizeof r->pending[0]);
    }
    return hopeful;
}

void report_begins(struct run *r, const char *server)
{
    uint64_t oldest;
    uint64_t next;

    r->pending_count = 0;
    if (!after_delivery(r) || slsr_spool_bounds(r->g->o.spool, &oldest, &next, NULL) != 0) {
        memcpy(r->free_to, r->durable, sizeof r->free_to);
        return;
    }
    /* what the spool held of this shard before we came lies somewhere below next */
    snprintf(r->free_to, sizeof r->free_to, "%s", server);
    r->pending[0].seq = next;
    memcpy(r->pending[0].cursor, r->durable, sizeof r->pending[0].cursor);
    r->pending_count = 1;
}

void report_committed(struct run *r, const struct lane *lane)
{
    struct pending *last;

    memcpy(r->durable, lane->cp.cursor, sizeof r->durable);
    if (!after_delivery(r)) {
        memcpy(r->free_to, r->durable, sizeof r->free_to);
        return;
    }
    /* full: the newest two become one, which is only less often a report */
    if (r->pending_count == PENDING_MAX)
        r->pending_count--;
    last = &r->pending[r->pending_count++];
    last->seq = lane->ticket.first + lane->batch.frame_count;
    memcpy(last->cursor, lane->cp.cursor, sizeof last->cursor);
}

/* One line per change of state. Pulls go on meanwhile, so their state is another one. */
static void tell(struct run *r, int rc, const struct slsr_err *err)
{
    if (rc == r->report_error || rc == SLSR_ESTOPPED || slsr_err_class(rc) == SLSR_CLASS_LOST)
        return;
    if (rc != 0)
        diag(SLSR_LOG_ERROR, "consume", "%s/%s shard %u: %s%s", r->stream.project,
             r->stream.logstore, r->stream.shard, err->text,
             strstr(err->text, "again") != NULL ? "" : "; will try again");
    else
        diag(SLSR_LOG_NOTICE, "consume", "%s/%s shard %u: checkpoints are stored again",
             r->stream.project, r->stream.logstore, r->stream.shard);
    r->report_error = rc;
    note_set(r->g, &r->w->note, consume_state(rc), rc != 0 ? err : NULL);
}

static int report(struct run *r, struct client *client)
{
    struct slsr_err err;
    char position[SLSR_CURSOR_MAX + 1];
    const int64_t left_ms = group_holds_ms(r->g);
    int rc;

    if (r->w->lost || left_ms <= 0 || r->free_to[0] == '\0')
        return 0;
    memcpy(position, r->free_to, sizeof position);
    client_limit_time(client, left_ms); /* what arrives behind the fence may be another's shard */
    FAULT_DIE(CHECKPOINT_PUT_BEFORE);
    rc = client_put_checkpoint(client, r->stream.logstore, r->g->o.source->consumer_group,
                               r->g->o.consumer, r->stream.shard, position, false, &err);
    FAULT_DIE(CHECKPOINT_PUT_AFTER);
    client_limit_time(client, 0);
    r->reported_ms = clock_mono_ms();
    if (slsr_err_class(rc) == SLSR_CLASS_LOST) {
        diag(SLSR_LOG_WARNING, "consume", "%s/%s shard %u: %s", r->stream.project,
             r->stream.logstore, r->stream.shard, err.text);
        r->w->lost = true;
        slsr_stop_request(&r->w->stop);
    } else if (rc == 0) {
        count_add(COUNT_CHECKPOINT_COMMITS, NULL, NULL, 1);
        memcpy(r->reported, position, sizeof r->reported);
        slsr_spool_shard_note(r->g->o.spool, &r->stream, r->reported, r->lag_s, NULL);
        r->noted_lag_s = r->lag_s;
    } else if (rc == SLSR_ENOTFOUND) {
        group_hurry(r->g); /* its next beat makes the group anew */
    }
    tell(r, rc, &err);
    return rc;
}

void report_when_due(struct run *r, bool at_end)
{
    const bool due = clock_mono_ms() - r->reported_ms >= r->g->o.source->checkpoint_interval_ms;
    bool moved;
    bool must_tell_end;

    if (due || at_end)
        release(r);
    moved = strcmp(r->free_to, r->reported) != 0;
    must_tell_end =
        at_end && r->w->readonly && !r->end_reported && strcmp(r->free_to, r->cursor) == 0;
    if ((must_tell_end && (due || !r->end_tried)) || (moved && due)) {
        r->end_tried = must_tell_end;
        if (report(r, r->client) == 0 && must_tell_end) {
            r->end_reported = true;
            group_hurry(r->g); /* the children wait for the beat behind it */
        }
    } else if (r->lag_s != r->noted_lag_s) {
        slsr_spool_shard_note(r->g->o.spool, &r->stream, NULL, r->lag_s, NULL);
        r->noted_lag_s = r->lag_s;
    }
}

/* Waits for the targets while that makes sense. */
static void wait_delivered(struct run *r, int64_t until_ms)
{
    while (r->pending_count > 0 && release(r) && r->pending_count > 0 && group_holds_ms(r->g) > 0 &&
           clock_mono_ms() < until_ms)
        if (slsr_stop_wait(r->g->o.abort, DELIVERY_POLL_MS))
            return;
}

void report_last(struct run *r)
{
    const bool all_leave = slsr_stop_requested(r->g->o.stop);
    const int64_t until_ms = clock_mono_ms() + (all_leave ? LAST_WORD_MS : HAND_OVER_MS);
    struct client *client = NULL;
    struct backoff backoff;

    if (r->w->lost)
        return;
    wait_delivered(r, until_ms);
    if (strcmp(r->free_to, r->reported) == 0 ||
        /* our own client's calls end with the stop that has fired */
        r->g->o.open(&client, r->g->o.source, r->g->o.consumer, r->g->o.abort, NULL) != 0)
        return;
    backoff_init(&backoff, 250, 2000, 2);
    while (report(r, client) != 0 && !r->w->lost && group_holds_ms(r->g) > 0 &&
           clock_mono_ms() < until_ms)
        if (slsr_stop_wait(r->g->o.abort, backoff_next_ms(&backoff)))
            break;
    client_close(client);
}
