/* RELP client, plain or with TLS: every frame is answered (docs/delivery.md "RELP", I3).
 *
 * Good path: dial, TLS if wanted, `open` answered 200 with the command syslog, UP; frames go out as
 * `TXNR syslog LEN message`, at most relp_window of them without an answer; the contiguous prefix
 * of answers 200 is evidence, which ages in `settle`: the usual server answers once the message is
 * in its memory. Own code, since the usual library blocks and does not tell which frames were
 * answered. What can go wrong: any end, silence, an answer other than 200, `serverclose`, bytes
 * that are no RELP: a break, like on TCP. Nothing carries over a connection, numbers begin at 1
 * again. */
#include "transport/internal.h"
#include "transport/relp_frame.h"
#include "transport/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    SAMPLE_MS = 50,
    STALL_SHOW_MS = 1000,
    OUT_BYTES = 128 * 1024, /* gathered before they are handed to the kernel */
    HEAD_BYTES = 48,        /* "999999999 syslog 999999999 " */
    IN_BYTES = RELP_DATA_MAX + 2 * RELP_HEADER_MAX,
    REASON_MAX = 80
};

uint32_t relp_second_txnr = 2;

static const char offer[] = "relp_version=0\nrelp_software=sls-relay\ncommands=syslog";

/* A frame without an answer, or with one that has to wait for those before it. */
struct waiting {
    uint64_t spool_end;
    int64_t at_ms; /* when it was handed over */
    bool answered;
};

struct relp {
    struct transport base;
    struct dial dial;
    struct stream s;
    bool open; /* the server has taken our `open` */
    int64_t open_due_ms;
    uint32_t next, first; /* TXNR to give, and of ring[head] */
    struct waiting *ring;
    size_t head, count, window;
    char *out;
    size_t out_size, used, done;
    char in[IN_BYTES];
    size_t in_used;
    uint64_t position;
    int64_t answer_ms;  /* last answer, or when nothing was outstanding */
    int64_t healthy_ms; /* last turn in which the connection was seen sound */
    int64_t alive_ms;   /* when the newest frame of that prefix was handed over */
    int64_t sample_due_ms;
};

static struct relp *self(struct transport *t)
{
    return (struct relp *)t;
}

static int64_t stall_ms(const struct relp *r)
{
    const struct slsr_target_config *c = r->base.target;

    return c->stall_timeout_ms > 0 ? c->stall_timeout_ms : c->timeout_ms;
}

static int64_t settle_ms(const struct relp *r)
{
    int64_t ms = r->base.target->settle_ms;
    int64_t trips = (int64_t)r->s.rtt_us * 4 / 1000;

    return ms > 0 && ms < trips ? trips : ms;
}

static uint32_t after(uint32_t txnr)
{
    return txnr >= RELP_TXNR_MAX ? 1 : txnr + 1;
}

static void drop_all(struct relp *r)
{
    dial_cancel(&r->dial);
    stream_fini(&r->s);
    piece_clear(&r->base.piece);
    settle_drop(&r->base.settle);
    r->position = r->base.settle.settled;
    r->head = r->count = r->used = r->done = r->in_used = 0;
    r->open = false;
    r->base.phase = SLSR_PHASE_IDLE;
}

static int fail(struct relp *r, const char *cause, const char *text, struct slsr_err *err)
{
    r->base.cause = cause;
    return slsr_fail(err, SLSR_EREMOTE, "%s", text);
}

static int relp_start(struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    struct relp *r = self(t);
    int rc = dial_start(&r->dial, now_ms, err);

    t->cause = rc != 0 ? "local" : NULL;
    r->position = t->settle.settled;
    if (rc == 0)
        t->phase = SLSR_PHASE_CONNECTING;
    return rc;
}

static int room(struct relp *r, size_t more, struct slsr_err *err)
{
    size_t size = r->used + more;
    char *out;

    if (size <= r->out_size)
        return 0;
    out = realloc(r->out, size);
    if (out == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for %zu bytes of RELP", size);
    r->out = out;
    r->out_size = size;
    return 0;
}

/* Appends one RELP frame to what goes out. */
static int put(struct relp *r, const char *command, struct slsr_bytes data, struct slsr_err *err)
{
    int rc = room(r, data.n + HEAD_BYTES, err);

    if (rc != 0)
        return rc;
    r->used += (size_t)snprintf(r->out + r->used, HEAD_BYTES, "%u %s %zu%s", r->next, command,
                                data.n, data.n > 0 ? " " : "");
    if (data.n > 0)
        memcpy(r->out + r->used, data.p, data.n);
    r->used += data.n;
    r->out[r->used++] = '\n';
    r->next = after(r->next);
    return 0;
}

/* Moves frames of the piece into the output while the window and the buffer allow. */
static int gather(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    struct piece *piece = &r->base.piece;
    uint64_t first = piece->first + piece->frames;
    uint32_t n = 0;

    while (!piece_empty(piece) && r->count < r->window && r->used < OUT_BYTES) {
        uint32_t start = piece->frames > 0 ? piece_end(piece, piece->frames - 1) : 0;
        uint32_t end = piece_end(piece, piece->frames);
        struct slsr_bytes m = framing_message((struct slsr_bytes){piece->p + start, end - start});
        int rc = put(r, "syslog", m, err);

        if (rc != 0)
            return rc;
        piece_advance(piece, end - start);
        r->ring[(r->head + r->count++) % r->window] =
            (struct waiting){piece->first + piece->frames, now_ms, false};
        n++;
    }
    transport_book(&r->base, first, n);
    return 0;
}

static int push(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    while (r->done < r->used) {
        size_t n;
        int rc = stream_send(&r->s, r->out + r->done, r->used - r->done, &n, now_ms, err);

        if (rc != 0 || n == 0)
            return rc;
        r->done += n;
    }
    r->used = r->done = 0;
    return 0;
}

static int write_on(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    for (;;) {
        bool idle = r->count == 0;
        int rc = r->used == r->done ? gather(r, now_ms, err) : 0;

        if (idle && r->count > 0)
            r->answer_ms = now_ms;
        if (rc == 0)
            rc = push(r, now_ms, err);
        if (rc != 0 || r->used > 0 || piece_empty(&r->base.piece) || r->count == r->window)
            return rc;
    }
}

/* The answer to `open`. */
static int opened(struct relp *r, const struct relp_frame *f, int64_t now_ms, struct slsr_err *err)
{
    if (f->txnr != 1 || relp_status(f->data) != 200)
        return fail(r, "rejected", "the receiver refuses to open a RELP session", err);
    if (!relp_offers(f->data, "syslog"))
        return fail(r, "rejected", "the receiver's RELP does not offer the command syslog", err);
    r->open = true;
    r->first = r->next = relp_second_txnr;
    r->answer_ms = r->healthy_ms = r->sample_due_ms = now_ms;
    r->base.phase = SLSR_PHASE_UP;
    return 0;
}

/* What a receiver says is foreign: plain ASCII of it, and not much. */
static int rejected(struct relp *r, const struct relp_frame *f, uint64_t seq, struct slsr_err *err)
{
    char text[REASON_MAX];
    size_t n = f->data.n < sizeof text - 1 ? f->data.n : sizeof text - 1;

    for (size_t i = 0; i < n; i++)
        text[i] = f->data.p[i] >= 0x20 && f->data.p[i] < 0x7f ? f->data.p[i] : ' ';
    text[n] = '\0';
    r->base.cause = "rejected";
    return slsr_fail(err, SLSR_EREMOTE, "the receiver answered \"%s\" to frame %llu", text,
                     (unsigned long long)seq);
}

static int answered(struct relp *r, const struct relp_frame *f, int64_t now_ms,
                    struct slsr_err *err)
{
    size_t at =
        f->txnr >= r->first ? f->txnr - r->first : (size_t)f->txnr + RELP_TXNR_MAX - r->first;
    struct waiting *w;

    if (f->txnr == 0 || at >= r->count)
        return fail(r, "protocol", "the receiver answered a RELP frame that was not sent", err);
    w = &r->ring[(r->head + at) % r->window];
    if (relp_status(f->data) != 200)
        return rejected(r, f, w->spool_end - 1, err);
    w->answered = true;
    r->answer_ms = now_ms;
    while (r->count > 0 && r->ring[r->head].answered) {
        if (r->ring[r->head].spool_end > r->position)
            r->position = r->ring[r->head].spool_end;
        r->alive_ms = r->ring[r->head].at_ms;
        r->head = (r->head + 1) % r->window;
        r->count--;
        r->first = after(r->first);
    }
    return 0;
}

static int take(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0) {
        struct relp_frame f;
        long n = relp_frame_next(r->in + at, r->in_used - at, &f);

        if (n == 0 && r->in_used - at < sizeof r->in)
            break;
        if (n <= 0)
            return fail(r, "protocol", "the receiver does not speak RELP on this port", err);
        at += (size_t)n;
        if (slsr_bytes_equal(f.command, slsr_bytes_of("serverclose")))
            return fail(r, "closed", "closed by peer (serverclose)", err);
        if (!slsr_bytes_equal(f.command, slsr_bytes_of("rsp")))
            return fail(r, "protocol", "the receiver sent a RELP command that is none of a server",
                        err);
        rc = r->open ? answered(r, &f, now_ms, err) : opened(r, &f, now_ms, err);
    }
    memmove(r->in, r->in + at, r->in_used - at);
    r->in_used -= at;
    return rc;
}

static int read_on(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    for (;;) {
        enum stream_read what;
        size_t n;
        int rc = stream_read(&r->s, r->in + r->in_used, sizeof r->in - r->in_used, &n, &what, err);

        if (rc == 0 && n > 0) {
            r->in_used += n;
            rc = take(r, now_ms, err);
        }
        if (rc == 0 && what == STREAM_EOF)
            return fail(r, "closed", "closed by peer", err);
        if (rc != 0 || n == 0)
            return rc;
    }
}

/* From the socket to the answer of `open`. */
static int connect_on(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    struct stream_plan plan = {r->base.tls, stall_ms(r), r->base.target->connect_timeout_ms};
    struct dial_addr peer;
    int rc = 0;

    if (r->s.fd < 0) {
        rc = dial_turn(&r->dial, now_ms, err);
        if (rc != 0)
            r->base.cause = r->dial.cause;
        if (rc != 0 || r->dial.state != DIAL_DONE)
            return rc;
        rc =
            stream_init(&r->s, dial_claim(&r->dial, &peer), &peer, &plan, r->position, now_ms, err);
        r->next = 1;
    }
    if (rc == 0 && r->s.shaking)
        rc = stream_shake(&r->s, now_ms, err);
    if (rc != 0 || r->s.shaking)
        return rc;
    if (r->next == 1) {
        r->open_due_ms = now_ms + r->base.target->connect_timeout_ms;
        rc = put(r, "open", slsr_bytes_of(offer), err);
    }
    if (rc == 0)
        rc = push(r, now_ms, err);
    if (rc == 0)
        rc = read_on(r, now_ms, err);
    if (rc == 0 && !r->open && now_ms >= r->open_due_ms)
        rc = fail(r, "timeout", "timed out: no answer to the RELP open", err);
    return rc;
}

static int health(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    int64_t dead = r->base.target->dead_timeout_ms;
    int64_t quiet = now_ms - r->answer_ms;

    r->base.phase = SLSR_PHASE_UP;
    if (r->count == 0 && r->used == r->done)
        return 0;
    if (dead > 0 && r->s.unacked > 0 && r->s.last_ack_ms > dead && quiet > dead)
        return fail(r, "half-open", "timed out: the path is dead", err);
    if (stall_ms(r) > 0 && quiet > stall_ms(r))
        return fail(r, "stalled", "stalled: frames are not answered", err);
    if (quiet >= STALL_SHOW_MS)
        r->base.phase = SLSR_PHASE_STALLED;
    return 0;
}

static int turn_up(struct relp *r, int64_t now_ms, struct slsr_err *err)
{
    int rc = read_on(r, now_ms, err);

    if (rc != 0)
        return rc;
    r->healthy_ms = now_ms;
    rc = write_on(r, now_ms, err);
    if (rc != 0)
        return rc;
    if (now_ms >= r->sample_due_ms) {
        stream_sample(&r->s, now_ms);
        r->sample_due_ms = now_ms + SAMPLE_MS;
    }
    return health(r, now_ms, err);
}

/* Until when evidence has aged. A server that does not answer what came later may be frozen, and
 * with it what it had answered and not written; one that has nothing to answer cannot show more. */
static int64_t aged_ms(const struct relp *r)
{
    if (settle_ms(r) == 0)
        return clock_mono_ms();
    return r->count > 0 && r->alive_ms < r->healthy_ms ? r->alive_ms : r->healthy_ms;
}

static int relp_turn(struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    struct relp *r = self(t);
    int rc;

    if (t->phase == SLSR_PHASE_IDLE)
        return 0;
    rc = r->open ? turn_up(r, now_ms, err) : connect_on(r, now_ms, err);
    if (r->open) {
        if (rc == 0 || settle_ms(r) == 0)
            settle_note(&t->settle, r->position, clock_mono_ms(), settle_ms(r));
        settle_take(&t->settle, aged_ms(r), settle_ms(r));
    }
    if (rc == 0)
        return 0;
    if (t->cause == NULL)
        t->cause = r->s.cause != NULL ? r->s.cause : "local";
    if (r->s.fd >= 0)
        slsr_wrap(err, rc, "%s port %d", t->target->host, t->target->port);
    drop_all(r);
    return rc;
}

static int relp_poll(const struct transport *t, struct pollfd *fds)
{
    const struct relp *r = (const struct relp *)t;

    if (r->s.fd < 0)
        return t->phase == SLSR_PHASE_CONNECTING ? dial_poll(&r->dial, fds) : 0;
    fds[0] = stream_poll(&r->s, r->done < r->used);
    return 1;
}

static int64_t relp_due_ms(const struct transport *t, int64_t now_ms)
{
    const struct relp *r = (const struct relp *)t;
    int64_t due;

    if (t->phase == SLSR_PHASE_IDLE)
        return -1;
    if (t->phase == SLSR_PHASE_CONNECTING)
        due = r->s.fd < 0 ? r->dial.due_ms : r->s.shaking ? r->s.shake_due_ms : r->open_due_ms;
    else if (r->count > 0 || r->used > 0 || r->position > t->settle.settled)
        due = r->sample_due_ms;
    else
        return -1;
    return due > now_ms ? due - now_ms : 0;
}

static bool relp_ready(const struct transport *t)
{
    return ((const struct relp *)t)->open && piece_empty(&t->piece);
}

static int relp_skip(struct transport *t, uint64_t seq, int64_t now_ms, struct slsr_err *err)
{
    struct relp *r = self(t);

    (void)now_ms;
    (void)err;
    if (r->count > 0) {
        struct waiting *last = &r->ring[(r->head + r->count - 1) % r->window];

        if (seq > last->spool_end)
            last->spool_end = seq;
    } else if (seq > r->position) {
        r->position = seq;
    }
    return 0;
}

static void relp_close(struct transport *t)
{
    struct relp *r = self(t);
    struct slsr_err ignored;

    /* Good manners, as far as there is room for them. */
    if (r->open && r->used == r->done && put(r, "close", (struct slsr_bytes){NULL, 0}, NULL) == 0)
        (void)push(r, clock_mono_ms(), &ignored);
    drop_all(r);
    dial_fini(&r->dial);
    piece_fini(&t->piece);
    free(r->ring);
    free(r->out);
    free(r);
}

static const struct transport_ops relp_ops = {relp_close, relp_start, relp_poll, relp_due_ms,
                                              relp_turn,  relp_ready, relp_skip};

int relp_open(struct transport **out, const struct slsr_target_config *target, struct slsr_err *err)
{
    struct relp *r = calloc(1, sizeof *r);
    size_t window = target->relp_window > 0 ? (size_t)target->relp_window : 2000;

    if (r != NULL)
        r->ring = calloc(window, sizeof *r->ring);
    if (r == NULL || r->ring == NULL) {
        free(r);
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a connection to %s", target->host);
    }
    r->base.ops = &relp_ops;
    r->window = window;
    r->s.fd = -1;
    dial_init(&r->dial, target, SOCK_STREAM);
    *out = &r->base;
    return 0;
}
