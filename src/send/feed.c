/* What goes next.
 *
 * Good path: runs of frames as they are stored, no copy. With a filter the wanted frames that
 * follow each other without a gap are gathered into a run of our own; with a rate only so many
 * frames of a run are offered at a time (pace.c).
 * What can go wrong: a damaged chunk. It is said once, with the sequences, and passed over; what
 * can still be read goes on (I5). */
#include "send/feed.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/diag.h"

enum {
    RUN_BYTES = 256 * 1024,
    GATHER_BYTES = 64 * 1024,
    GATHER_FRAMES = 2048 /* looked at per step, so that the sockets are not forgotten */
};

int feed_init(struct feed *f, const struct slsr_delivery *d, struct slsr_err *err)
{
    int rc = slsr_range_open(&f->range, d->spool, d->from, d->to, err);

    if (rc != 0)
        return rc;
    f->d = d;
    f->end = d->from;
    f->limit = UINT64_MAX;
    pace_init(&f->pace, &d->target->rate, d->rate_frames_s, clock_mono_ms());
    if (d->want == NULL)
        return 0;
    f->buf_size = GATHER_BYTES;
    f->buf = malloc(f->buf_size);
    f->ends = malloc(GATHER_FRAMES * sizeof *f->ends);
    if (f->buf == NULL || f->ends == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory to filter frames");
    return 0;
}

void feed_fini(struct feed *f)
{
    slsr_range_close(f->range);
    free(f->buf);
    free(f->ends);
    memset(f, 0, sizeof *f);
}

void feed_seek(struct feed *f, uint64_t seq)
{
    slsr_range_seek(f->range, seq);
    memset(&f->run, 0, sizeof f->run);
    f->at = 0;
    f->end = seq;
    f->stuck = 0; /* the same damage comes again on the way */
    f->idle = false;
}

void feed_wake(struct feed *f)
{
    f->idle = false;
}

bool feed_idle(const struct feed *f)
{
    return f->idle && f->at == f->run.count;
}

bool feed_complete(const struct feed *f)
{
    return f->at == f->run.count && f->end >= f->d->to;
}

bool feed_held(const struct feed *f)
{
    return f->end >= f->limit;
}

uint64_t feed_end(const struct feed *f)
{
    return f->end;
}

/* Was the next frame in the spool when the connection came up? */
static bool of_backlog(const struct feed *f)
{
    return f->end < f->backlog_end;
}

int64_t feed_due_ms(const struct feed *f, int64_t now_ms)
{
    return pace_due_ms(&f->pace, now_ms, of_backlog(f));
}

static int keep(struct feed *f, size_t used, const struct slsr_frame *frame, struct slsr_err *err)
{
    if (used + frame->wire.n > f->buf_size) {
        size_t size = used + frame->wire.n;
        char *buf = realloc(f->buf, size);

        if (buf == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for a frame of %zu bytes", frame->wire.n);
        f->buf = buf;
        f->buf_size = size;
    }
    memcpy(f->buf + used, frame->wire.p, frame->wire.n);
    return 0;
}

/* Wanted frames without a gap between them, as a run. An empty run: only unwanted ones so far. */
static int gather(struct feed *f, struct slsr_err *err)
{
    struct slsr_frame frame;
    size_t used = 0;
    int rc = 0;

    memset(&f->run, 0, sizeof f->run);
    for (int looked = 0; looked < GATHER_FRAMES && used < GATHER_BYTES; looked++) {
        rc = slsr_range_next(f->range, &frame, err);
        if (rc != 0)
            break;
        if (!f->d->want(f->d->ctx, &frame)) {
            if (f->run.count > 0)
                break;
            continue;
        }
        if (f->run.count > 0 && frame.seq != f->run.first + f->run.count) {
            slsr_range_seek(f->range, frame.seq);
            break;
        }
        rc = keep(f, used, &frame, err);
        if (rc != 0)
            return rc;
        if (f->run.count == 0)
            f->run.first = frame.seq;
        used += frame.wire.n;
        f->ends[f->run.count++] = (uint32_t)used;
    }
    f->run.wire = (struct slsr_bytes){f->buf, used};
    f->run.ends = f->ends;
    /* What stopped us shows again at the next call; damage does not, so it is told now. */
    return f->run.count > 0 && rc == SLSR_ENOMATCH ? 0 : rc;
}

static int damaged(struct feed *f, const struct slsr_err *why)
{
    uint64_t position = slsr_range_position(f->range);

    if (position == f->stuck)
        return SLSR_ECORRUPT; /* no further */
    f->stuck = position;
    if (position <= f->said)
        return 0;
    f->said = position;
    diag(SLSR_LOG_ERROR, "send",
         "target %s: the spool is damaged: %s; those frames are left out, run sls-spool verify",
         f->d->target->name != NULL ? f->d->target->name : "", why->text);
    return 0;
}

/* Moves the range over what is to be passed (held, skipped). */
static void pass_over(struct feed *f)
{
    const uint64_t at = slsr_range_position(f->range);
    const struct slsr_span *span = slsr_spans_find(f->d->pass, at);

    if (span != NULL && span->from <= at)
        slsr_range_seek(f->range, span->to < f->d->to ? span->to : f->d->to);
}

/* Cuts the run before the next frame that is to be passed; empty when it begins with one (behind a
 * gap in the spool, pass_over could not know). */
static void cut_run(struct feed *f)
{
    const struct slsr_span *span = slsr_spans_find(f->d->pass, f->run.first);

    if (span == NULL || span->from >= f->run.first + f->run.count)
        return;
    f->run.count = span->from > f->run.first ? (uint32_t)(span->from - f->run.first) : 0;
    f->run.wire.n = f->run.count > 0 ? f->run.ends[f->run.count - 1] : 0;
    slsr_range_seek(f->range, span->from > f->run.first ? span->from : span->to);
}

/* Fills f->run; a count of 0 with rc 0 means: nothing to offer in this step. */
static int fetch(struct feed *f, struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    struct slsr_err why = {0, ""};
    uint64_t position;
    int rc;

    f->at = 0;
    if (f->d->pass != NULL)
        pass_over(f);
    if (f->d->want != NULL) {
        rc = gather(f, &why);
    } else {
        rc = slsr_range_next_run(f->range, RUN_BYTES, &f->run, &why);
        if (rc != 0)
            memset(&f->run, 0, sizeof f->run);
        else if (f->d->pass != NULL)
            cut_run(f);
    }
    if (rc == SLSR_ECORRUPT)
        rc = damaged(f, &why);
    else if (rc == SLSR_ENOMATCH) {
        f->idle = true;
        rc = 0;
    }
    if (rc != 0) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    if (f->run.count > 0)
        return 0;
    position = slsr_range_position(f->range);
    if (position > f->d->to)
        position = f->d->to;
    if (position <= f->end)
        return 0;
    f->end = position;
    return transport_skip(t, position, now_ms, err);
}

/* What comes next lies behind the limit: what is below needs no sending. */
static int hold(struct feed *f, struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    if (f->limit <= f->end)
        return 0;
    f->end = f->limit;
    return transport_skip(t, f->limit, now_ms, err);
}

int feed_step(struct feed *f, struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    uint32_t count;
    int rc;

    if (!transport_ready(t) || feed_held(f))
        return 0;
    if (f->at == f->run.count) {
        if (f->idle || feed_complete(f))
            return 0;
        rc = fetch(f, t, now_ms, err);
        if (rc != 0 || f->run.count == 0)
            return rc;
    }
    if (f->run.first + f->at >= f->limit)
        return hold(f, t, now_ms, err);
    count = f->run.count - f->at;
    if (count > f->limit - (f->run.first + f->at))
        count = (uint32_t)(f->limit - (f->run.first + f->at));
    if (of_backlog(f) && f->backlog_end - (f->run.first + f->at) < count)
        count = (uint32_t)(f->backlog_end - (f->run.first + f->at));
    count = pace_take(&f->pace, now_ms, of_backlog(f), f->run.ends + f->at,
                      f->at > 0 ? f->run.ends[f->at - 1] : 0, count);
    if (count == 0)
        return 0;
    rc = transport_offer(t, &f->run, f->at, f->at + count, err);
    if (rc != 0)
        return rc;
    f->at += count;
    f->end = f->run.first + f->at;
    return 0;
}
