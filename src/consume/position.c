/* Where a shard begins, and where it goes on when SLS no longer has what comes next. */
#include <stdio.h>

#include "slsrelay/ledger.h"

#include "consume/checkpoint.h"
#include "consume/shard.h"

#include "base/count.h"
#include "base/diag.h"

static int configured(struct run *r, enum slsr_position position, struct slsr_err *err)
{
    char from[32] = "begin";

    if (position == SLSR_POS_END)
        snprintf(from, sizeof from, "end");
    else if (position == SLSR_POS_TIME)
        snprintf(from, sizeof from, "%lld", (long long)r->g->o.source->cursor_time_s);
    return client_get_cursor(r->client, r->stream.logstore, r->stream.shard, from, r->cursor, err);
}

int position_find(struct run *r, struct slsr_err *err)
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
        rc = configured(r, r->g->o.source->cursor_position, err);
        break;
    }
    if (rc != 0)
        return rc;
    memcpy(r->durable, r->cursor, sizeof r->durable);
    memcpy(r->reported, server.cursor, sizeof r->reported);
    report_begins(r, server.cursor);
    diag(SLSR_LOG_INFO, "consume", "%s/%s shard %u: starts from %s", r->stream.project,
         r->stream.logstore, r->stream.shard, why);
    return 0;
}

/* Makes r->cursor durable without frames. */
static int keep_position(struct run *r, struct slsr_err *err)
{
    struct lane *lane = &r->lanes[r->turn];
    int rc;

    slsr_batch_reset(&lane->batch);
    lane->cp.stream = r->stream;
    memcpy(lane->cp.cursor, r->cursor, sizeof lane->cp.cursor);
    rc = slsr_spool_append(r->g->o.spool, &lane->batch, &lane->cp, &lane->ticket.first, err);
    if (rc == 0)
        report_committed(r, lane);
    return rc;
}

/* The gap stays on record where the frames are, is counted and said: nobody should find out from
 * his SIEM. */
static void record_gap(struct run *r, const char *from, enum slsr_position to)
{
    struct slsr_ledger_entry entry = {.kind = "gap", .reason = "invalid_cursor"};
    struct slsr_err err = {0};

    snprintf(entry.who, sizeof entry.who, "sls-relay");
    snprintf(entry.project, sizeof entry.project, "%s", r->stream.project);
    snprintf(entry.logstore, sizeof entry.logstore, "%s", r->stream.logstore);
    entry.shard = r->stream.shard;
    snprintf(entry.from_cursor, sizeof entry.from_cursor, "%s", from);
    snprintf(entry.to_cursor, sizeof entry.to_cursor, "%s", r->cursor);
    snprintf(entry.text, sizeof entry.text,
             "SLS no longer has what lies between (retention, or the checkpoint was set from "
             "outside): goes on at the %s",
             to == SLSR_POS_END ? "end" : "oldest kept");
    if (slsr_ledger_add(r->g->o.spool, &entry, &err) != 0)
        diag(SLSR_LOG_ERROR, "consume", "%s/%s shard %u: the gap could not be recorded: %s",
             r->stream.project, r->stream.logstore, r->stream.shard, err.text);
    count_add(COUNT_GAPS, "invalid_cursor", NULL, 1);
    diag(SLSR_LOG_WARNING, "consume",
         "%s/%s shard %u: GAP: cursor %s is no longer valid in SLS, goes on at %s (%s)",
         r->stream.project, r->stream.logstore, r->stream.shard, from, r->cursor,
         to == SLSR_POS_END ? "end" : "oldest kept");
}

int position_leap(struct run *r, struct slsr_err *err)
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
    rc = shard_settle_all(r);
    if (rc != 0)
        return rc;
    rc = configured(r, to, err);
    if (rc != 0)
        return rc;
    /* first: once the position is kept nothing else would tell of it. A second attempt at the same
     * leap says nothing new. */
    if (strcmp(from, r->cursor) != 0 && strcmp(from, r->leapt_from) != 0) {
        record_gap(r, from, to);
        memcpy(r->leapt_from, from, sizeof r->leapt_from);
    }
    rc = keep_position(r, err);
    if (rc != 0)
        memcpy(r->cursor, from, sizeof r->cursor); /* try again as a whole */
    return rc;
}
