/* The proof by closing: a second connection, the rotation, what counts (docs/delivery.md, I3).
 *
 * Good path: RUN -> SPARE (a second connection to the same address stands: the witness, and the
 * next carrier) -> FLUSH (all acknowledged) -> CLOSING (our end is out, with TLS behind our
 * close_notify) -> the peer closes back, with TLS behind its own: all of that connection is proven,
 * the spare takes over.
 * What can go wrong: the peer refuses a second connection, never closes back, resets, ends TLS
 * without close_notify. Each such failure is a break; who can never prove trips a guard, and says
 * so in the alarm. */
#include "transport/tcp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    IDLE_MS = 1000,
    PROOF_BYTES = 16 * 1024 * 1024,
    PROOF_SPAN_MS = 1000, /* a rotation stands still for QUIET_MS: a twentieth of that */
    PROOF_TRIPS = 20,     /* a new connection needs some of them to be fast again */
    PROOF_TIMEOUT_MIN_MS = 5000,
    PROOF_TIMEOUT_MAX_MS = 15000,
    QUIET_MS = 50,
    CAREFUL_MS = 200, /* and never less than the settle time */
    SILENT_ENDS = 3,
    GUARD_HOLD_MS = 3600 * 1000
};

static void trip_guard(struct tcp *t, const char *alarm, int64_t now_ms)
{
    t->fallback = true;
    t->fallback_end_ms = now_ms + GUARD_HOLD_MS;
    t->base.alarm = alarm;
    dial_cancel(&t->spare_dial);
    tcp_enter(t, STAGE_RUN, now_ms);
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
                   "when acknowledged; set delivery to received to accept that",
                   now_ms);
}

static void spare_is_sound(struct tcp *t)
{
    t->guard.spares.failures = 0;
    t->spare_pause_ms = 0;
}

void proof_broken(struct tcp *t, int64_t now_ms)
{
    if (t->heir_ms != 0 && now_ms - t->heir_ms < SPARE_YOUNG_MS)
        spare_failed(t, true, now_ms);
    if (t->stage == STAGE_CLOSING && t->carrier.ev.acked == t->carrier.ev.wire_written &&
        guard_failed(&t->guard, &t->guard.proofs, now_ms))
        trip_guard(t,
                   "the receiver never closes a connection back, so the last frames count as taken "
                   "when acknowledged; set delivery to received to accept that",
                   now_ms);
}

/* TLS: only a close_notify shows that the far end itself has ended. Some libraries never send one
 * and end by FIN alone; after a few of those, each with everything acknowledged and our FIN too, it
 * counts as it does on plain TCP. */
static bool in_order(struct tcp *t)
{
    if (t->carrier.ssl == NULL || t->base.target->tls.proof == SLSR_PROOF_FIN)
        return true;
    if (t->carrier.peer_notify) {
        t->silent_ends = 0;
        return true;
    }
    if (t->silent_ends < SILENT_ENDS)
        t->silent_ends++;
    if (t->silent_ends < SILENT_ENDS)
        return false;
    t->base.alarm =
        "the receiver ends TLS without close_notify, so its FIN counts as the proof; set "
        "tls.proof to fin to accept that";
    return true;
}

/* The peer has closed after our FIN: is that a proof? */
int proof_finish(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    socklen_t len = sizeof(int);
    int error = 0;

    stream_sample(&t->carrier, now_ms);
    if (getsockopt(t->carrier.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    /* The byte above wire_written is our FIN: a peer that closed before it had that closed on its
     * own account, perhaps over unread frames. */
    if (error != 0 || t->carrier.ev.acked_raw != t->carrier.ev.wire_written + 1)
        return tcp_fail(t, "closed", "closed by peer before it had read to the end", err);
    if (!in_order(t))
        return tcp_fail(t, "proof", "closed by peer without close_notify", err);
    t->position = t->base.proven = evidence_prove(&t->carrier.ev);
    tcp_alive(t, t->stage_ms); /* it has read our end */
    t->alive_due_ms = t->for_life ? 0 : now_ms + tcp_settle_ms(t);
    if (t->proof_at == NO_POSITION)
        t->proof_at = t->position;
    stream_fini(&t->carrier);
    t->carrier = t->spare;
    t->spare = (struct stream){.fd = -1};
    t->carrier.ev.position = t->carrier.ev.spool_end = t->position;
    t->carrier.progress_ms = now_ms;
    t->heir_ms = t->spare_ms;
    tcp_enter(t, STAGE_RUN, now_ms);
    stream_sample(&t->carrier, now_ms);
    return 0;
}

static bool wants_spare(const struct tcp *t)
{
    if (t->fallback || !tcp_proves(t))
        return false;
    return t->stage == STAGE_SPARE ||
           (t->base.level == SLSR_DELIVERY_PROVEN && t->carrier.first_ms != 0);
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
        struct stream_plan plan = tcp_plan(t);

        rc = stream_init(&t->spare, fd, &peer, &plan, t->position, now_ms, &ignored);
        t->spare_ms = now_ms;
    }
    if (rc != 0)
        spare_failed(t, refused, now_ms);
}

/* TLS of the spare; nothing was sent on it, so a failure is no break. */
static void shake_spare(struct tcp *t, int64_t now_ms)
{
    struct slsr_err ignored;

    if (stream_shake(&t->spare, now_ms, &ignored) != 0) {
        stream_fini(&t->spare);
        spare_failed(t, true, now_ms);
    } else if (!t->spare.shaking) {
        t->spare_ms = now_ms;
    }
}

int spare_watch(struct tcp *t, int64_t now_ms, struct slsr_err *err)
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
    if (t->spare.shaking) {
        shake_spare(t, now_ms);
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
    fatal = tcp_unsettled(t) || t->stage == STAGE_CLOSING;
    if (young)
        spare_failed(t, true, now_ms);
    if (fatal) {
        t->base.cause = t->spare.cause != NULL ? t->spare.cause : "closed";
        return rc;
    }
    stream_fini(&t->spare);
    if (t->spare_retry_ms < now_ms + SAMPLE_MS)
        t->spare_retry_ms = now_ms + SAMPLE_MS;
    if (t->stage == STAGE_FLUSH)
        tcp_enter(t, STAGE_SPARE, now_ms);
    return 0;
}

static int64_t idle_ms(const struct tcp *t)
{
    int64_t ms = t->base.target->proof_interval_ms;

    return ms < IDLE_MS ? ms : IDLE_MS;
}

/* A fast receiver would rotate all the time: it gets as much as it takes in a second, which is what
 * the settle time leaves open anyway. */
static bool carried_enough(const struct tcp *t, int64_t now_ms)
{
    int64_t span = (int64_t)t->carrier.rtt_us * PROOF_TRIPS / 1000;

    if (span < PROOF_SPAN_MS)
        span = PROOF_SPAN_MS;
    return t->carrier.ev.wire_written >= PROOF_BYTES && now_ms - t->carrier.first_ms >= span;
}

static bool proof_due(const struct tcp *t, int64_t now_ms)
{
    const struct evidence *ev = &t->carrier.ev;

    if (!tcp_proves(t) || !evidence_open(ev))
        return false;
    if (t->base.flush && piece_empty(&t->base.piece))
        return true;
    if (!t->fallback && t->base.level == SLSR_DELIVERY_PROVEN && carried_enough(t, now_ms))
        return true;
    return now_ms - evidence_oldest_ms(ev) >= t->base.target->proof_interval_ms ||
           (piece_empty(&t->base.piece) && now_ms - t->carrier.last_ms >= idle_ms(t));
}

/* Evidence that is old enough by the clock waits for a sign of life (docs/delivery.md). When
 * nothing is sent any more, nothing can be read: then our end is what the receiver is given to
 * read. In a slow stream one more rotation follows a proof, so that a break repeats what one
 * proof_interval carried and not two. */
static bool life_due(const struct tcp *t, int64_t now_ms)
{
    int64_t settle = tcp_settle_ms(t);
    int64_t oldest = settle_oldest_ms(&t->base.settle);

    if (!tcp_proves(t) || t->fallback || settle == 0 || oldest > now_ms - settle)
        return false;
    if (evidence_open(&t->carrier.ev) || !piece_empty(&t->base.piece))
        return t->alive_due_ms != 0 && now_ms >= t->alive_due_ms;
    return now_ms - t->base.settle.noted_ms >= settle;
}

/* The samples were faster: nothing is left for this rotation to show. */
static bool needless(const struct tcp *t)
{
    if (t->for_life)
        return !tcp_unsettled(t);
    return !evidence_open(&t->carrier.ev) && piece_empty(&t->base.piece);
}

static int begin_closing(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    int64_t patience = t->base.target->proof_interval_ms * 3 / 2;
    int rc = stream_end(&t->carrier, err);

    if (rc != 0)
        return rc;
    if (patience < PROOF_TIMEOUT_MIN_MS)
        patience = PROOF_TIMEOUT_MIN_MS;
    if (patience > PROOF_TIMEOUT_MAX_MS)
        patience = PROOF_TIMEOUT_MAX_MS;
    t->proof_due_ms = now_ms + patience;
    tcp_enter(t, STAGE_CLOSING, now_ms);
    return 0;
}

/* A receiver that ends the connection because of a frame must not be taken for one that closes
 * back: it gets this long to do so before our own end goes out. */
static int64_t quiet_ms(const struct tcp *t)
{
    int64_t quiet = QUIET_MS + 2 * (int64_t)t->carrier.rtt_us / 1000;
    int64_t settle = t->base.target->settle_ms;

    if (!t->base.careful || t->carrier.first_ms == 0) /* no frame, no such end */
        return quiet;
    if (quiet < CAREFUL_MS)
        quiet = CAREFUL_MS;
    return quiet < settle ? settle : quiet;
}

int proof_rotate(struct tcp *t, int64_t now_ms, struct slsr_err *err)
{
    const struct evidence *ev = &t->carrier.ev;
    bool due = proof_due(t, now_ms);

    if (t->fallback && now_ms >= t->fallback_end_ms) {
        t->fallback = false;
        t->base.alarm = NULL;
        guard_rearm(&t->guard);
    }
    if (t->stage == STAGE_RUN && (due || life_due(t, now_ms))) {
        if (t->fallback) {
            /* A closed window shows that it does not read just now: wait. */
            if (ev->wnd > 0)
                t->position = evidence_move(&t->carrier.ev, EVIDENCE_ACKED);
            tcp_note(t);
            return 0;
        }
        t->for_life = !due;
        t->due_wire = ev->wire_written;
        tcp_enter(t, STAGE_SPARE, now_ms);
        if (t->spare.fd < 0)
            dial_spare(t, now_ms);
    }
    if (t->stage == STAGE_SPARE || t->stage == STAGE_FLUSH) {
        if (needless(t))
            tcp_enter(t, STAGE_RUN, now_ms);
        else if (t->stage == STAGE_SPARE && t->spare.fd >= 0 && !t->spare.shaking)
            tcp_enter(t, STAGE_FLUSH, now_ms);
    }
    /* A closed window would keep our FIN out: wait, that is a stall and not a failed proof. */
    if (t->stage != STAGE_FLUSH || !piece_empty(&t->base.piece) || ev->acked != ev->wire_written ||
        ev->wnd == 0) {
        t->flushed_ms = 0;
        return 0;
    }
    if (t->flushed_ms == 0)
        t->flushed_ms = now_ms;
    return now_ms - t->flushed_ms >= quiet_ms(t) ? begin_closing(t, now_ms, err) : 0;
}
