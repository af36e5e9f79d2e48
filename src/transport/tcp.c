/* Plain TCP: a carrier, a spare, and the proof between them (docs/delivery.md, I3).
 *
 * Good path: dial, UP; pieces are written to the carrier, samples turn into evidence, evidence ages
 * in `settle` and is released. Evidence that the samples cannot give (the tail under `read`,
 * everything under `proven`) comes from a rotation: RUN -> SPARE (a second connection to the same
 * address stands: the witness, and the next carrier) -> FLUSH (all acknowledged) -> CLOSING (our
 * FIN is out) -> the peer closes back: all of that connection is proven, the spare takes over.
 * New frames wait while a rotation is in FLUSH or CLOSING: order stays strict and at most one
 * connection ever carries frames without evidence.
 * What can go wrong: any end of a connection, silence, a stall. All are one thing, a break: keep
 * what had settled while all was sound, drop the rest; the owner sends it again. How a connection
 * broke never adds evidence. A peer that can never prove trips a guard, and says so in the alarm.
 */
#include "transport/guard.h"
#include "transport/internal.h"
#include "transport/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

enum {
    SAMPLE_MS = 50,
    FLUSH_SAMPLE_MS = 5, /* acknowledgements raise no event: look often for a short while */
    FLUSH_EAGER_MS = 100,
    IDLE_MS = 1000,
    STALL_SHOW_MS = 1000,
    PROOF_BYTES = 16 * 1024 * 1024,
    PROOF_TIMEOUT_MIN_MS = 5000,
    PROOF_TIMEOUT_MAX_MS = 15000,
    SPARE_YOUNG_MS = 1000,
    GUARD_HOLD_MS = 3600 * 1000
};

#define NO_POSITION UINT64_MAX

enum stage { STAGE_RUN, STAGE_SPARE, STAGE_FLUSH, STAGE_CLOSING };

struct tcp {
    struct transport base;
    struct dial dial, spare_dial;
    struct stream carrier, spare;
    enum stage stage;
    int64_t stage_ms; /* when it began */
    int64_t sample_due_ms;
    int64_t proof_due_ms;
    int64_t spare_retry_ms;
    int64_t spare_pause_ms; /* the last one; 0: none yet */
    int64_t spare_ms;       /* when it came up */
    int64_t heir_ms;        /* when the carrier came up, which was a spare before; 0: it was none */
    int64_t healthy_ms;     /* last time that carrier and witness were both seen sound */
    struct guard guard;
    bool fallback; /* the guard has tripped */
    int64_t fallback_end_ms;
    uint64_t floor_at, proof_at; /* evidence that clears the guard once settled; or NO_POSITION */
    uint64_t position;           /* evidence so far, over all connections */
};

static struct tcp *self(struct transport *t)
{
    return (struct tcp *)t;
}

static bool proves(const struct tcp *t)
{
    return t->base.level == SLSR_DELIVERY_READ || t->base.level == SLSR_DELIVERY_PROVEN;
}

static int64_t stall_ms(const struct tcp *t)
{
    const struct slsr_target_config *c = t->base.target;

    return c->stall_timeout_ms > 0 ? c->stall_timeout_ms : c->timeout_ms;
}

/* Never below four round trips. */
static int64_t settle_ms(const struct tcp *t)
{
    int64_t ms = t->base.target->settle_ms;
    int64_t trips = (int64_t)t->carrier.rtt_us * 4 / 1000;

    return ms > 0 && ms < trips ? trips : ms;
}

static bool unsettled(const struct tcp *t)
{
    return t->position > t->base.settle.settled;
}

/* What has aged by upto_ms is released, and may show that the receiver is a sound one. */
static void release(struct tcp *t, int64_t upto_ms)
{
    uint64_t settled = settle_take(&t->base.settle, upto_ms, settle_ms(t));

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

/* Turns the newest figures into evidence and lets it age: from when it was surely there, until both
 * connections were last seen sound. Our thread may have slept at any place in between. */
static void note(struct tcp *t)
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
    }
    settle_note(&t->base.settle, t->position, now_ms, settle_ms(t));
    release(t, settle_ms(t) > 0 ? t->healthy_ms : now_ms);
}

static void enter(struct tcp *t, enum stage stage, int64_t now_ms)
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
    t->base.phase = SLSR_PHASE_IDLE;
}

static void trip_guard(struct tcp *t, const char *alarm, int64_t now_ms)
{
    t->fallback = true;
    t->fallback_end_ms = now_ms + GUARD_HOLD_MS;
    t->base.alarm = alarm;
    dial_cancel(&t->spare_dial);
    enter(t, STAGE_RUN, now_ms);
}

/* counts: it was the peer's doing, not a want of descriptors or a bad way to it. */
static void spare_failed(struct tcp *t, bool counts, int64_t now_ms)
{
    const struct slsr_target_config *c = t->base.target;
    int64_t pause = t->spare_pause_ms > 0 ? t->spare_pause_ms * 2 : c->retry_initial_ms;

    if (pause > c->retry_max_ms)
        pause = c->retry_max_ms;
    if (pause < SAMPLE_MS)
        pause = SAMPLE_MS;
    t->spare_pause_ms = pause;
    t->spare_retry_ms = now_ms + pause;
    if (counts && guard_failed(&t->guard, &t->guard.spares, now_ms))
        trip_guard(t,
                   "the receiver takes no second connection, so the last frames count as taken "
                   "when acknowledged",
                   now_ms);
}

static void spare_is_sound(struct tcp *t)
{
    t->guard.spares.failures = 0;
    t->spare_pause_ms = 0;
}

/* The break rule. When it broke nobody knows, only that it had not at healthy_ms. */
static int broken(struct tcp *t, int rc, int64_t now_ms, struct slsr_err *err)
{
    stream_sample(&t->carrier, now_ms);
    if (settle_ms(t) == 0)
        note(t);
    else
        release(t, t->healthy_ms);
    if (t->heir_ms != 0 && now_ms - t->heir_ms < SPARE_YOUNG_MS)
        spare_failed(t, true, now_ms);
    if (t->stage == STAGE_CLOSING && t->carrier.ev.acked == t->carrier.ev.wire_written &&
        guard_failed(&t->guard, &t->guard.proofs, now_ms))
        trip_guard(t,
                   "the receiver never closes a connection back, so the last frames count as taken "
                   "when acknowledged",
                   now_ms);
    drop_all(t);
    return slsr_wrap(err, rc, "%s port %d", t->base.target->host, t->base.target->port);
}

static int tcp_start(struct transport *base, int64_t now_ms, struct slsr_err *err)
{
    struct tcp *t = self(base);
    int rc = dial_start(&t->dial, now_ms, err);

    t->position = base->settle.settled;
    if (rc == 0)
        base->phase = SLSR_PHASE_CONNECTING;
    return rc;
}

static int connected(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    struct dial_addr peer;
    int fd = dial_claim(&t->dial, &peer);
    int rc = stream_init(&t->carrier, fd, &peer, stall_ms(t), t->position, now_ms, err);

    if (rc != 0)
        return rc;
    t->base.phase = SLSR_PHASE_UP;
    t->heir_ms = 0;
    t->healthy_ms = now_ms;
    t->sample_due_ms = now_ms;
    enter(t, STAGE_RUN, now_ms);
    return 0;
}

/* The peer has closed after our FIN: is that a proof? */
static int finish_proof(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    socklen_t len = sizeof(int);
    int error = 0;

    stream_sample(&t->carrier, now_ms);
    if (getsockopt(t->carrier.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    /* The byte above wire_written is our FIN: a peer that closed before it had that closed on its
     * own account, perhaps over unread frames. */
    if (error != 0 || t->carrier.ev.acked_raw != t->carrier.ev.wire_written + 1)
        return slsr_fail(err, SLSR_EREMOTE, "closed by peer before it had read to the end");
    t->position = evidence_prove(&t->carrier.ev);
    if (t->proof_at == NO_POSITION)
        t->proof_at = t->position;
    stream_fini(&t->carrier);
    t->carrier = t->spare;
    t->spare.fd = -1;
    memset(&t->spare.ev, 0, sizeof t->spare.ev);
    t->carrier.ev.position = t->carrier.ev.spool_end = t->position;
    t->carrier.progress_ms = now_ms;
    t->heir_ms = t->spare_ms;
    enter(t, STAGE_RUN, now_ms);
    stream_sample(&t->carrier, now_ms);
    return 0;
}

static int watch_carrier(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    enum stream_read what;
    int rc = stream_watch(&t->carrier, &what, err);

    if (rc != 0)
        return rc;
    if (what == STREAM_EOF)
        return t->stage == STAGE_CLOSING ? finish_proof(t, now_ms, err)
                                         : slsr_fail(err, SLSR_EREMOTE, "closed by peer");
    if (t->stage == STAGE_CLOSING && now_ms >= t->proof_due_ms)
        return slsr_fail(err, SLSR_EREMOTE, "timed out: the receiver does not close back");
    return 0;
}

static bool wants_spare(const struct tcp *t)
{
    if (t->fallback || !proves(t))
        return false;
    return t->stage == STAGE_SPARE ||
           (t->base.level == SLSR_DELIVERY_PROVEN && t->carrier.ev.wire_written > 0);
}

static void dial_spare(struct tcp *t, int64_t now_ms)
{
    struct dial_addr peer;
    struct slsr_err ignored;
    bool refused;
    int rc = 0;

    if (t->spare_dial.state == DIAL_IDLE) {
        if (now_ms < t->spare_retry_ms)
            return;
        rc = dial_start_at(&t->spare_dial, &t->carrier.peer, now_ms, &ignored);
    }
    if (rc == 0)
        rc = dial_turn(&t->spare_dial, now_ms, &ignored);
    refused = rc != 0 && t->spare_dial.refused;
    if (rc == 0 && t->spare_dial.state == DIAL_DONE) {
        int fd = dial_claim(&t->spare_dial, &peer);

        rc = stream_init(&t->spare, fd, &peer, stall_ms(t), t->position, now_ms, &ignored);
        t->spare_ms = now_ms;
    }
    if (rc != 0)
        spare_failed(t, refused, now_ms);
}

static int watch_spare(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    enum stream_read what;
    bool young = now_ms - t->spare_ms < SPARE_YOUNG_MS;
    bool fatal;
    int rc;

    if (t->spare.fd < 0) {
        /* One that is on its way is seen through, wanted or not. */
        if (wants_spare(t) || t->spare_dial.state != DIAL_IDLE)
            dial_spare(t, now_ms);
        return 0;
    }
    rc = stream_watch(&t->spare, &what, err);
    if (rc == 0 && what == STREAM_EOF)
        rc = slsr_fail(err, SLSR_EREMOTE, "closed by peer");
    if (rc == 0) {
        if (!young)
            spare_is_sound(t);
        return 0;
    }
    /* It was the witness: without it evidence that is still young means nothing. */
    fatal = unsettled(t) || t->stage == STAGE_CLOSING;
    if (young)
        spare_failed(t, true, now_ms);
    if (fatal)
        return rc;
    stream_fini(&t->spare);
    if (t->spare_retry_ms < now_ms + SAMPLE_MS)
        t->spare_retry_ms = now_ms + SAMPLE_MS;
    if (t->stage == STAGE_FLUSH)
        enter(t, STAGE_SPARE, now_ms);
    return 0;
}

static int64_t idle_ms(const struct tcp *t)
{
    int64_t ms = t->base.target->proof_interval_ms;

    return ms < IDLE_MS ? ms : IDLE_MS;
}

static bool proof_due(const struct tcp *t, int64_t now_ms)
{
    const struct evidence *ev = &t->carrier.ev;

    if (!proves(t) || !evidence_open(ev))
        return false;
    if (t->base.flush && piece_empty(&t->base.piece))
        return true;
    if (!t->fallback && t->base.level == SLSR_DELIVERY_PROVEN && ev->wire_written >= PROOF_BYTES)
        return true;
    return now_ms - evidence_oldest_ms(ev) >= t->base.target->proof_interval_ms ||
           (piece_empty(&t->base.piece) && now_ms - t->carrier.last_ms >= idle_ms(t));
}

static int begin_closing(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    int64_t patience = t->base.target->proof_interval_ms * 3 / 2;

    if (shutdown(t->carrier.fd, SHUT_WR) != 0)
        return slsr_fail(err, SLSR_EREMOTE, "reset by peer");
    if (patience < PROOF_TIMEOUT_MIN_MS)
        patience = PROOF_TIMEOUT_MIN_MS;
    if (patience > PROOF_TIMEOUT_MAX_MS)
        patience = PROOF_TIMEOUT_MAX_MS;
    t->proof_due_ms = now_ms + patience;
    enter(t, STAGE_CLOSING, now_ms);
    return 0;
}

static int rotate(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    const struct evidence *ev = &t->carrier.ev;

    if (t->fallback && now_ms >= t->fallback_end_ms) {
        t->fallback = false;
        t->base.alarm = NULL;
        guard_rearm(&t->guard);
    }
    if (t->stage == STAGE_RUN && proof_due(t, now_ms)) {
        if (t->fallback) {
            /* A closed window shows that it does not read just now: wait. */
            if (ev->wnd > 0)
                t->position = evidence_move(&t->carrier.ev, EVIDENCE_ACKED);
            note(t);
            return 0;
        }
        enter(t, STAGE_SPARE, now_ms);
        if (t->spare.fd < 0)
            dial_spare(t, now_ms);
    }
    if (t->stage == STAGE_SPARE || t->stage == STAGE_FLUSH) {
        if (!evidence_open(ev) && piece_empty(&t->base.piece))
            enter(t, STAGE_RUN, now_ms); /* the samples were faster */
        else if (t->stage == STAGE_SPARE && t->spare.fd >= 0)
            enter(t, STAGE_FLUSH, now_ms);
    }
    /* A closed window would keep our FIN out: wait, that is a stall and not a failed proof. */
    if (t->stage == STAGE_FLUSH && piece_empty(&t->base.piece) && ev->acked == ev->wire_written &&
        ev->wnd > 0)
        return begin_closing(t, now_ms, err);
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
        return slsr_fail(err, SLSR_EREMOTE, "timed out");
    if (stall_ms(t) > 0 && now_ms - since > stall_ms(t))
        return slsr_fail(err, SLSR_EREMOTE, "stalled");
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
        rc = watch_spare(t, now_ms, err);
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
    note(t);
    rc = rotate(t, now_ms, err);
    return rc != 0 ? rc : health(t, now_ms, err);
}

static int tcp_turn(struct transport *base, int64_t now_ms, struct slsr_err *err)
{
    struct tcp *t = self(base);
    int rc = 0;

    if (base->phase == SLSR_PHASE_CONNECTING) {
        rc = dial_turn(&t->dial, now_ms, err);
        if (rc == 0 && t->dial.state == DIAL_DONE)
            rc = connected(t, now_ms, err);
        if (rc != 0)
            drop_all(t);
        if (rc != 0 || t->carrier.fd < 0)
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

    if (base->phase == SLSR_PHASE_CONNECTING)
        return dial_poll(&t->dial, fds);
    if (t->carrier.fd >= 0) {
        bool out = !piece_empty(&base->piece) && t->stage != STAGE_CLOSING;

        fds[n++] = (struct pollfd){t->carrier.fd, (short)(POLLIN | (out ? POLLOUT : 0)), 0};
    }
    if (t->spare.fd >= 0)
        fds[n++] = (struct pollfd){t->spare.fd, POLLIN, 0};
    return n + dial_poll(&t->spare_dial, fds + n);
}

static int64_t tcp_due_ms(const struct transport *base, int64_t now_ms)
{
    const struct tcp *t = (const struct tcp *)base;
    int64_t due = INT64_MAX;

    if (base->phase == SLSR_PHASE_IDLE)
        return -1;
    if (base->phase == SLSR_PHASE_CONNECTING)
        due = t->dial.due_ms;
    else if (t->stage != STAGE_RUN || unsettled(t) || evidence_open(&t->carrier.ev) ||
             !piece_empty(&base->piece))
        due = t->sample_due_ms;
    if (due == INT64_MAX)
        return -1;
    return due > now_ms ? due - now_ms : 0;
}

static bool tcp_ready(const struct transport *base)
{
    const struct tcp *t = (const struct tcp *)base;

    if (t->carrier.fd < 0 || !piece_empty(&base->piece))
        return false;
    if (t->stage == STAGE_SPARE)
        return base->level != SLSR_DELIVERY_PROVEN ||
               t->carrier.ev.wire_written < 2 * (uint64_t)PROOF_BYTES;
    return t->stage == STAGE_RUN;
}

static int tcp_skip(struct transport *base, uint64_t seq, int64_t now_ms, struct slsr_err *err)
{
    struct tcp *t = self(base);
    struct evidence *ev = &t->carrier.ev;

    if (evidence_open(ev))
        return evidence_add(ev, ev->wire_written, seq, now_ms, err);
    /* Nothing is without evidence before it. */
    if (seq > t->position)
        t->position = ev->position = seq;
    if (seq > ev->spool_end)
        ev->spool_end = seq;
    note(t);
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
    t->floor_at = t->proof_at = NO_POSITION;
    *out = &t->base;
    return 0;
}
