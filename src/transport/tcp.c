/* TCP, plain or with TLS: a carrier, a spare, and the proof between them (docs/delivery.md, I3).
 *
 * Good path: dial, TLS if wanted, UP; pieces are written to the carrier, samples turn into
 * evidence, evidence ages in `settle` and is released. Evidence that the samples cannot give (the
 * tail under `read`, everything under `proven`) comes from a rotation (proof.c). New frames wait
 * while a rotation is in FLUSH or CLOSING: order stays strict and at most one connection ever
 * carries frames without evidence. What can go wrong: any end of a connection, silence, a stall.
 * All are one thing, a break: keep what had settled while all was sound, drop the rest; the owner
 * sends it again. How a connection broke never adds evidence. */
#include "transport/tcp.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    FLUSH_SAMPLE_MS = 5, /* acknowledgements raise no event: look often for a short while */
    FLUSH_EAGER_MS = 100,
    STALL_SHOW_MS = 1000,
    WAIT_BYTES = 16 * 1024 * 1024 /* `proven`: most that follows a due proof without a spare */
};

static struct tcp *self(struct transport *t)
{
    return (struct tcp *)t;
}

bool tcp_proves(const struct tcp *t)
{
    return t->base.level == SLSR_DELIVERY_READ || t->base.level == SLSR_DELIVERY_PROVEN;
}

static int64_t stall_ms(const struct tcp *t)
{
    const struct slsr_target_config *c = t->base.target;

    return c->stall_timeout_ms > 0 ? c->stall_timeout_ms : c->timeout_ms;
}

struct stream_plan tcp_plan(const struct tcp *t)
{
    return (struct stream_plan){t->base.tls, stall_ms(t), t->base.target->connect_timeout_ms};
}

int tcp_fail(struct tcp *t, const char *cause, const char *text, struct slsr_err *err)
{
    t->base.cause = cause;
    return slsr_fail(err, SLSR_EREMOTE, "%s", text);
}

/* Never below four round trips. */
int64_t tcp_settle_ms(const struct tcp *t)
{
    int64_t ms = t->base.target->settle_ms;
    int64_t trips = (int64_t)t->carrier.rtt_us * 4 / 1000;

    return ms > 0 && ms < trips ? trips : ms;
}

bool tcp_unsettled(const struct tcp *t)
{
    return t->position > t->base.settle.settled;
}

void tcp_alive(struct tcp *t, int64_t sent_ms)
{
    if (sent_ms > t->alive_ms)
        t->alive_ms = sent_ms;
}

/* Until when evidence has aged: both connections were sound, and the receiver's program lived. One
 * that is frozen keeps its connections, and what it has read it may never write. */
static int64_t aged_ms(const struct tcp *t)
{
    if (tcp_settle_ms(t) == 0)
        return clock_mono_ms();
    if (!tcp_proves(t) || t->fallback || t->healthy_ms < t->alive_ms)
        return t->healthy_ms;
    return t->alive_ms;
}

/* What has aged is released, and may show that the receiver is a sound one. */
static void release(struct tcp *t)
{
    uint64_t settled = settle_take(&t->base.settle, aged_ms(t), tcp_settle_ms(t));

    if (settled >= t->proof_at) {
        guard_clear(&t->guard, true);
        t->spare_pause_ms = 0;
        t->proof_at = NO_POSITION;
    }
    if (settled >= t->floor_at) {
        guard_clear(&t->guard, false);
        t->floor_at = NO_POSITION;
    }
}

/* Turns the newest figures into evidence and lets it age, from when it was surely there. Our thread
 * may have slept at any place. */
void tcp_note(struct tcp *t)
{
    uint64_t position = t->position;
    int64_t now_ms = clock_mono_ms();

    switch (t->base.level) {
    case SLSR_DELIVERY_SENT:
        position = evidence_move(&t->carrier.ev, EVIDENCE_SENT);
        break;
    case SLSR_DELIVERY_RECEIVED:
        position = evidence_move(&t->carrier.ev, EVIDENCE_ACKED);
        break;
    case SLSR_DELIVERY_PROVEN:
        if (!t->fallback)
            break;
        position = evidence_move(&t->carrier.ev, EVIDENCE_FLOOR);
        break;
    default:
        position = evidence_move(&t->carrier.ev, EVIDENCE_FLOOR);
    }
    if (position > t->position) {
        t->position = position;
        if (!t->fallback && t->floor_at == NO_POSITION)
            t->floor_at = position;
        tcp_alive(t, t->carrier.ev.alive_ms);
    }
    settle_note(&t->base.settle, t->position, now_ms, tcp_settle_ms(t));
    release(t);
}

void tcp_enter(struct tcp *t, enum stage stage, int64_t now_ms)
{
    t->stage = stage;
    t->stage_ms = now_ms;
}

static void drop_all(struct tcp *t)
{
    dial_cancel(&t->dial);
    dial_cancel(&t->spare_dial);
    stream_fini(&t->carrier);
    stream_fini(&t->spare);
    piece_clear(&t->base.piece);
    settle_drop(&t->base.settle);
    t->position = t->base.settle.settled;
    t->floor_at = t->proof_at = NO_POSITION;
    t->stage = STAGE_RUN;
    t->alive_due_ms = 0;
    t->base.phase = SLSR_PHASE_IDLE;
}

/* The break rule. When it broke nobody knows, only that it had not at healthy_ms. */
static int broken(struct tcp *t, int rc, int64_t now_ms, struct slsr_err *err)
{
    stream_sample(&t->carrier, now_ms);
    if (tcp_settle_ms(t) == 0)
        tcp_note(t);
    else
        release(t);
    proof_broken(t, now_ms);
    if (t->base.cause == NULL)
        t->base.cause = t->carrier.cause != NULL ? t->carrier.cause : "closed";
    drop_all(t);
    return slsr_wrap(err, rc, "%s port %d", t->base.target->host, t->base.target->port);
}

static int tcp_start(struct transport *base, int64_t now_ms, struct slsr_err *err)
{
    struct tcp *t = self(base);
    int rc = dial_start(&t->dial, now_ms, err);

    base->cause = rc != 0 ? "local" : NULL;
    t->position = base->settle.settled;
    if (rc == 0)
        base->phase = SLSR_PHASE_CONNECTING;
    return rc;
}

/* The socket is connected: TLS if wanted, then UP. */
static int shake(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    int rc = t->carrier.shaking ? stream_shake(&t->carrier, now_ms, err) : 0;

    if (rc != 0)
        return slsr_wrap(err, rc, "%s port %d", t->base.target->host, t->base.target->port);
    if (t->carrier.shaking)
        return 0;
    t->carrier.progress_ms = now_ms;
    t->base.phase = SLSR_PHASE_UP;
    t->heir_ms = 0;
    t->healthy_ms = now_ms;
    t->sample_due_ms = now_ms;
    tcp_enter(t, STAGE_RUN, now_ms);
    return 0;
}

static int connect_on(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    struct stream_plan plan = tcp_plan(t);
    struct dial_addr peer;
    int rc = 0;

    if (t->carrier.fd < 0) {
        rc = dial_turn(&t->dial, now_ms, err);
        if (rc == 0 && t->dial.state == DIAL_DONE) {
            int fd = dial_claim(&t->dial, &peer);

            rc = stream_init(&t->carrier, fd, &peer, &plan, t->position, now_ms, err);
            if (rc != 0)
                slsr_wrap(err, rc, "%s port %d", t->base.target->host, t->base.target->port);
        } else if (rc != 0) {
            t->base.cause = t->dial.cause;
        }
    }
    if (rc == 0 && t->carrier.fd >= 0)
        rc = shake(t, now_ms, err);
    if (rc != 0) {
        if (t->base.cause == NULL)
            t->base.cause = t->carrier.cause != NULL ? t->carrier.cause : "local";
        drop_all(t);
    }
    return rc;
}

static int watch_carrier(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    enum stream_read what;
    int rc = stream_watch(&t->carrier, &what, err);

    if (rc != 0)
        return rc;
    if (what == STREAM_EOF)
        return t->stage == STAGE_CLOSING ? proof_finish(t, now_ms, err)
                                         : tcp_fail(t, "closed", "closed by peer", err);
    if (t->stage == STAGE_CLOSING && now_ms >= t->proof_due_ms)
        return tcp_fail(t, "proof", "timed out: the receiver does not close back", err);
    return 0;
}

static int health(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    const struct stream *s = &t->carrier;
    bool waiting = s->ev.acked < s->ev.wire_written || !piece_empty(&t->base.piece);
    int64_t since = s->progress_ms;
    int64_t dead = t->base.target->dead_timeout_ms;

    t->base.phase = SLSR_PHASE_UP;
    if (t->stage == STAGE_FLUSH) {
        waiting = true;
        since = since > t->stage_ms ? since : t->stage_ms;
    }
    if (!waiting)
        return 0;
    if (dead > 0 && s->unacked > 0 && s->last_ack_ms > dead && now_ms - since > dead)
        return tcp_fail(t, "half-open", "timed out: the path is dead", err);
    if (stall_ms(t) > 0 && now_ms - since > stall_ms(t))
        return tcp_fail(t, "stalled", "stalled", err);
    if (now_ms - since >= STALL_SHOW_MS)
        t->base.phase = SLSR_PHASE_STALLED;
    return 0;
}

static int turn_up(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    struct piece *piece = &t->base.piece;
    uint32_t whole = 0;
    int fd = t->carrier.fd;
    int rc = watch_carrier(t, now_ms, err);

    if (rc == 0)
        rc = spare_watch(t, now_ms, err);
    if (rc != 0)
        return rc;
    /* An heir that took over just now has not been looked at yet. */
    if (t->carrier.fd == fd)
        t->healthy_ms = now_ms;
    if (!piece_empty(piece) && t->stage != STAGE_CLOSING) {
        uint64_t first = piece->first + piece->frames;

        rc = stream_write(&t->carrier, piece, &whole, now_ms, err);
        transport_book(&t->base, first, whole);
        if (rc != 0)
            return rc;
        t->sample_due_ms = now_ms;
    }
    if (now_ms >= t->sample_due_ms) {
        bool eager = t->stage == STAGE_FLUSH && now_ms - t->stage_ms < FLUSH_EAGER_MS;

        stream_sample(&t->carrier, now_ms);
        t->sample_due_ms = now_ms + (eager ? FLUSH_SAMPLE_MS : SAMPLE_MS);
    }
    tcp_note(t);
    rc = proof_rotate(t, now_ms, err);
    return rc != 0 ? rc : health(t, now_ms, err);
}

static int tcp_turn(struct transport *base, int64_t now_ms, struct slsr_err *err)
{
    struct tcp *t = self(base);
    int rc = 0;

    if (base->phase == SLSR_PHASE_CONNECTING) {
        rc = connect_on(t, now_ms, err);
        if (rc != 0 || base->phase != SLSR_PHASE_UP)
            return rc;
    }
    if (base->phase == SLSR_PHASE_IDLE)
        return 0;
    rc = turn_up(t, now_ms, err);
    return rc != 0 ? broken(t, rc, now_ms, err) : 0;
}

static int tcp_poll(const struct transport *base, struct pollfd *fds)
{
    const struct tcp *t = (const struct tcp *)base;
    int n = 0;

    if (base->phase == SLSR_PHASE_CONNECTING && t->carrier.fd < 0)
        return dial_poll(&t->dial, fds);
    if (t->carrier.fd >= 0)
        fds[n++] =
            stream_poll(&t->carrier, !piece_empty(&base->piece) && t->stage != STAGE_CLOSING);
    if (t->spare.fd >= 0)
        fds[n++] = stream_poll(&t->spare, false);
    return n + dial_poll(&t->spare_dial, fds + n);
}

static int64_t tcp_due_ms(const struct transport *base, int64_t now_ms)
{
    const struct tcp *t = (const struct tcp *)base;
    int64_t due = INT64_MAX;

    if (base->phase == SLSR_PHASE_IDLE)
        return -1;
    if (base->phase == SLSR_PHASE_CONNECTING)
        due = t->carrier.fd < 0 ? t->dial.due_ms : t->carrier.shake_due_ms;
    else if (t->stage != STAGE_RUN || tcp_unsettled(t) || evidence_open(&t->carrier.ev) ||
             !piece_empty(&base->piece))
        due = t->sample_due_ms;
    if (due == INT64_MAX)
        return -1;
    return due > now_ms ? due - now_ms : 0;
}

static bool tcp_ready(const struct transport *base)
{
    const struct tcp *t = (const struct tcp *)base;

    if (base->phase == SLSR_PHASE_CONNECTING || t->carrier.fd < 0 || !piece_empty(&base->piece))
        return false;
    if (t->stage == STAGE_SPARE)
        return base->level != SLSR_DELIVERY_PROVEN ||
               t->carrier.ev.wire_written - t->due_wire < (uint64_t)WAIT_BYTES;
    return t->stage == STAGE_RUN;
}

static int tcp_skip(struct transport *base, uint64_t seq, int64_t now_ms, struct slsr_err *err)
{
    struct tcp *t = self(base);
    struct evidence *ev = &t->carrier.ev;

    if (evidence_open(ev))
        return evidence_add(ev, ev->wire_written, seq, now_ms, err);
    /* Nothing is without evidence before it. */
    if (!tcp_unsettled(t))
        settle_pass(&t->base.settle, seq);
    if (seq > t->position)
        t->position = ev->position = seq;
    if (seq > ev->spool_end)
        ev->spool_end = seq;
    tcp_note(t);
    return 0;
}

static void tcp_close(struct transport *base)
{
    struct tcp *t = self(base);

    drop_all(t);
    dial_fini(&t->dial);
    dial_fini(&t->spare_dial);
    piece_fini(&base->piece);
    free(t);
}

static const struct transport_ops tcp_ops = {tcp_close, tcp_start, tcp_poll, tcp_due_ms,
                                             tcp_turn,  tcp_ready, tcp_skip};

int tcp_open(struct transport **out, const struct slsr_target_config *target, struct slsr_err *err)
{
    struct tcp *t = calloc(1, sizeof *t);

    if (t == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a connection to %s", target->host);
    t->base.ops = &tcp_ops;
    dial_init(&t->dial, target, SOCK_STREAM);
    dial_init(&t->spare_dial, target, SOCK_STREAM);
    t->carrier.fd = t->spare.fd = -1;
    t->alive_ms = INT64_MIN / 2;
    t->floor_at = t->proof_at = NO_POSITION;
    *out = &t->base;
    return 0;
}
