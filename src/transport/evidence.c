/* Evidence of delivery: marks, acknowledged bytes, read floor, settle time (I3).
 *
 * Good path: evidence_add() per write, evidence_take() per TCP_INFO sample, evidence_move() turns
 * the figures into a spool position, settle_note() dates it, settle_take() says what may be
 * released by the time until which the receiver was seen alive. Every doubt errs towards sending
 * again: positions only grow by proof, marks exist only for whole frames, an entry that finds no
 * room is noted later, never earlier. What can go wrong: no memory for marks; the connection is
 * then dropped like any broken one. */
#include "transport/evidence.h"

#include <stdlib.h>
#include <string.h>

/* Slack of the bound on the peer's buffer, over 84 measured breaks never needed in full. */
enum { BOUND_SLACK_BYTES = 65536 };

void evidence_init(struct evidence *e, uint64_t spool_base, uint64_t acked0)
{
    memset(e, 0, sizeof *e);
    e->acked0 = acked0;
    e->position = spool_base;
    e->spool_end = spool_base;
    e->alive_ms = INT64_MIN / 2;
}

void evidence_fini(struct evidence *e)
{
    free(e->ring);
    e->ring = NULL;
    e->head = e->count = e->size = 0;
}

static int grow(struct evidence *e, struct slsr_err *err)
{
    size_t size = e->size == 0 ? 256 : e->size * 2;
    struct evidence_mark *ring = malloc(size * sizeof *ring);

    if (ring == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for %zu delivery marks", size);
    for (size_t i = 0; i < e->count; i++)
        ring[i] = e->ring[(e->head + i) % e->size];
    free(e->ring);
    e->ring = ring;
    e->size = size;
    e->head = 0;
    return 0;
}

int evidence_add(struct evidence *e, uint64_t wire_end, uint64_t spool_end, int64_t now_ms,
                 struct slsr_err *err)
{
    struct evidence_mark *last;

    if (spool_end > e->spool_end)
        e->spool_end = spool_end;
    if (e->count > 0) {
        last = &e->ring[(e->head + e->count - 1) % e->size];
        if (last->wire_end == wire_end) {
            if (spool_end > last->spool_end)
                last->spool_end = spool_end;
            return 0;
        }
    }
    if (e->count == e->size) {
        int rc = grow(e, err);

        if (rc != 0)
            return rc;
    }
    last = &e->ring[(e->head + e->count) % e->size];
    last->wire_end = wire_end;
    last->spool_end = spool_end;
    last->at_ms = now_ms;
    e->count++;
    return 0;
}

bool evidence_take(struct evidence *e, const struct evidence_sample *sample)
{
    uint64_t before_acked = e->acked;
    uint64_t before_edge = e->edge;
    uint64_t bound, most;

    e->sampled = true;
    if (sample->bytes_acked > e->acked0 && sample->bytes_acked - e->acked0 > e->acked_raw)
        e->acked_raw = sample->bytes_acked - e->acked0;
    /* Our FIN counts as one byte, hence the smaller of the two. */
    e->acked = e->acked_raw < e->wire_written ? e->acked_raw : e->wire_written;
    e->wnd = sample->has_wnd ? sample->snd_wnd : UINT32_MAX;
    if (sample->has_wnd) {
        if (e->acked + sample->snd_wnd > e->edge)
            e->edge = e->acked + sample->snd_wnd;
        if (sample->snd_wnd > e->wmax)
            e->wmax = sample->snd_wnd;
        /* A peer that offers room up to `edge` out of a buffer no larger than the bound has handed
         * everything below edge - bound to its application. */
        bound = e->wmax + e->wmax / 4 + BOUND_SLACK_BYTES;
        most = (uint64_t)65535 << (sample->snd_wscale & 15);
        if (bound > most)
            bound = most;
        e->floor = 0;
        if (e->edge > bound)
            e->floor = e->edge - bound < e->acked ? e->edge - bound : e->acked;
    }
    return e->acked > before_acked || e->edge > before_edge;
}

uint64_t evidence_move(struct evidence *e, enum evidence_by by)
{
    uint64_t upto = by == EVIDENCE_SENT    ? e->wire_written
                    : by == EVIDENCE_ACKED ? e->acked
                                           : e->floor;

    while (e->count > 0) {
        const struct evidence_mark *mark = &e->ring[e->head];

        if (mark->wire_end > upto)
            break;
        if (mark->spool_end > e->position)
            e->position = mark->spool_end;
        e->alive_ms = mark->at_ms;
        e->head = (e->head + 1) % e->size;
        e->count--;
    }
    return e->position;
}

uint64_t evidence_prove(struct evidence *e)
{
    e->count = 0;
    if (e->spool_end > e->position)
        e->position = e->spool_end;
    return e->position;
}

int64_t evidence_oldest_ms(const struct evidence *e)
{
    return e->ring[e->head].at_ms;
}

void settle_init(struct settle *s, uint64_t position)
{
    memset(s, 0, sizeof *s);
    s->noted = s->settled = position;
    s->noted_ms = INT64_MIN / 2;
}

void settle_drop(struct settle *s)
{
    s->head = s->count = 0;
    s->noted = s->settled;
    s->noted_ms = INT64_MIN / 2;
}

void settle_note(struct settle *s, uint64_t position, int64_t now_ms, int64_t settle_ms)
{
    int64_t step = SETTLE_STEP_MS;
    size_t at;

    if (position <= s->noted)
        return;
    /* A long settle time must fit the ring as well. */
    if (settle_ms / (SETTLE_RING / 2) > step)
        step = settle_ms / (SETTLE_RING / 2);
    if (settle_ms > 0 && (now_ms - s->noted_ms < step || s->count == SETTLE_RING))
        return;
    if (settle_ms == 0)
        s->head = s->count = 0;
    at = (s->head + s->count) % SETTLE_RING;
    s->ring[at].at_ms = now_ms;
    s->ring[at].position = position;
    s->count++;
    s->noted = position;
    s->noted_ms = now_ms;
}

uint64_t settle_take(struct settle *s, int64_t now_ms, int64_t settle_ms)
{
    while (s->count > 0 && s->ring[s->head].at_ms <= now_ms - settle_ms) {
        s->settled = s->ring[s->head].position;
        s->head = (s->head + 1) % SETTLE_RING;
        s->count--;
    }
    return s->settled;
}

void settle_pass(struct settle *s, uint64_t position)
{
    if (s->count == 0 && s->noted == s->settled && position > s->settled)
        s->noted = s->settled = position;
}

int64_t settle_oldest_ms(const struct settle *s)
{
    return s->count > 0 ? s->ring[s->head].at_ms : INT64_MAX;
}
