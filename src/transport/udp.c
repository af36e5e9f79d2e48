/* UDP: a connected socket, one datagram per frame, no octet count, no LF.
 *
 * Good path: up to 64 datagrams per system call; a frame counts when the kernel has taken it and
 * the destination raised no objection for the settle time.
 * What can go wrong: ECONNREFUSED belongs to an earlier datagram, the present one was not sent: it
 * is sent once more, and a second refusal, or one while something is unsettled, is a break. So is
 * any other ICMP error about a datagram of ours (host or network unreachable ...): IP_RECVERR has
 * the kernel tell all of them, and its own full queue, too. A frame too long for a datagram can
 * never leave: the owner is told, and the next one goes on (I5). */
#include "transport/internal.h"
#include "transport/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>

#include "base/clock.h"

enum { BATCH = 64, DUE_MS = 50, DATAGRAM_BYTES = 65507 };

struct udp {
    struct transport base;
    struct dial dial;
    int fd;
    uint64_t position;
    int64_t healthy_ms; /* last turn without an objection */
    bool blocked;       /* the socket buffer is full */
};

static void drop_all(struct udp *u)
{
    dial_cancel(&u->dial);
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
    piece_clear(&u->base.piece);
    settle_drop(&u->base.settle);
    u->position = u->base.settle.settled;
    u->base.phase = SLSR_PHASE_IDLE;
}

static int udp_start(struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    struct udp *u = (struct udp *)t;
    int rc = dial_start(&u->dial, now_ms, err);

    t->cause = rc != 0 ? "local" : NULL;
    u->position = t->settle.settled;
    if (rc == 0)
        t->phase = SLSR_PHASE_CONNECTING;
    return rc;
}

/* False: no room to remember it, it has to wait for the owner. */
static bool dead(struct udp *u, uint64_t seq, size_t bytes)
{
    struct transport *t = &u->base;

    if (t->dead_count == TRANSPORT_DEAD_MAX)
        return false;
    t->counts.dead_frames++;
    t->dead[t->dead_count++] = (struct transport_dead){seq, bytes};
    return true;
}

static int prepare(const struct piece *piece, struct mmsghdr *msgs, struct iovec *iov)
{
    int n = 0;
    uint32_t start = piece->frames > 0 ? piece_end(piece, piece->frames - 1) : 0;

    memset(msgs, 0, BATCH * sizeof *msgs);
    for (uint32_t i = piece->frames; i < piece->count && n < BATCH; i++, n++) {
        uint32_t end = piece_end(piece, i);
        struct slsr_bytes m = framing_message((struct slsr_bytes){piece->p + start, end - start});

        iov[n].iov_base = (void *)m.p;
        iov[n].iov_len = m.n;
        msgs[n].msg_hdr.msg_iov = &iov[n];
        msgs[n].msg_hdr.msg_iovlen = 1;
        start = end;
    }
    return n;
}

/* Frames up to and including the n-th from here are done with. */
static void done(struct udp *u, uint32_t n)
{
    struct piece *piece = &u->base.piece;

    piece_advance(piece, piece_end(piece, piece->frames + n - 1) - piece->done);
    u->position = piece->first + piece->frames;
}

static int fail_send(struct udp *u, int errnum, struct slsr_err *err)
{
    const char *cause = dial_cause(errnum);

    u->base.cause = dial_word(errnum);
    return cause != NULL ? slsr_fail(err, SLSR_ENET, "%s", cause)
                         : slsr_fail_errno(err, SLSR_ENET, errnum, "cannot send");
}

/* The next error that the network has told about a datagram of ours: an errno, or 0. What the
 * kernel has to say of its own accord was the return value of a call already. */
static int told_error(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[512];
    } control;
    struct msghdr msg;

    for (;;) {
        int error = 0;

        memset(&msg, 0, sizeof msg);
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
            struct sock_extended_err e;

            if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
                !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
                continue;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            if (e.ee_origin != SO_EE_ORIGIN_LOCAL)
                error = (int)e.ee_errno;
        }
        if (error != 0)
            return error;
    }
}

static int write_piece(struct udp *u, struct slsr_err *err)
{
    struct piece *piece = &u->base.piece;
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    bool refused = false, retried = false;

    u->blocked = false;
    while (!piece_empty(piece)) {
        uint64_t first = piece->first + piece->frames;
        int asked = prepare(piece, msgs, iov);
        int n = sendmmsg(u->fd, msgs, (unsigned)asked, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            int error;

            refused = retried = false;
            done(u, (uint32_t)n);
            transport_book(&u->base, first, (uint64_t)n);
            /* What cuts a batch short is not returned: a full buffer, or an objection. */
            error = n < asked ? told_error(u->fd) : 0;
            if (error != 0)
                return fail_send(u, error, err);
        } else if (errno == EMSGSIZE && !retried && iov[0].iov_len <= DATAGRAM_BYTES) {
            retried = true; /* it may be news of an earlier datagram */
        } else if (errno == EMSGSIZE) {
            retried = false;
            if (!dead(u, first, iov[0].iov_len)) {
                u->blocked = true;
                return 0;
            }
            done(u, 1);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
            u->blocked = true;
            return 0;
        } else if (errno == ECONNREFUSED && !refused) {
            refused = true;
        } else if (errno != EINTR) {
            return fail_send(u, errno, err);
        }
    }
    return 0;
}

/* The queue has to be emptied, too: it keeps poll() awake. */
static int watch_errors(struct udp *u, struct slsr_err *err)
{
    int first = 0, error;

    while ((error = told_error(u->fd)) != 0)
        first = first != 0 ? first : error;
    if (first != 0 && u->position > u->base.settle.settled)
        return fail_send(u, first, err);
    return 0;
}

static int watch(struct udp *u, struct slsr_err *err)
{
    char drop[2048];
    int rc = watch_errors(u, err);

    if (rc != 0)
        return rc;
    for (int i = 0; i < BATCH; i++) {
        if (recv(u->fd, drop, sizeof drop, MSG_DONTWAIT) >= 0 || errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (u->position > u->base.settle.settled)
            return fail_send(u, errno, err);
    }
    return 0;
}

static void ask_for_errors(int fd, int family)
{
    const int on = 1;

    /* Without it refusals are told nevertheless, the rest is not. */
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    else
        (void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
}

static int udp_turn(struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    struct udp *u = (struct udp *)t;
    int64_t settle = t->target->settle_ms;
    int rc;

    if (t->phase == SLSR_PHASE_CONNECTING) {
        struct dial_addr peer;

        rc = dial_turn(&u->dial, now_ms, err);
        if (rc != 0) {
            t->cause = u->dial.cause;
            drop_all(u);
        }
        if (rc != 0 || u->dial.state != DIAL_DONE)
            return rc;
        u->fd = dial_claim(&u->dial, &peer);
        ask_for_errors(u->fd, peer.ss.ss_family);
        u->healthy_ms = now_ms;
        t->phase = SLSR_PHASE_UP;
    }
    if (t->phase == SLSR_PHASE_IDLE)
        return 0;
    rc = watch(u, err);
    if (rc == 0)
        rc = write_piece(u, err);
    if (rc == 0)
        u->healthy_ms = now_ms;
    /* Nobody knows when the objection came, only that there was none at healthy_ms. */
    if (rc == 0 || settle == 0)
        settle_note(&t->settle, u->position, clock_mono_ms(), settle);
    settle_take(&t->settle, settle > 0 ? u->healthy_ms : clock_mono_ms(), settle);
    if (rc != 0) {
        drop_all(u);
        return slsr_wrap(err, rc, "%s port %d", t->target->host, t->target->port);
    }
    return 0;
}

static int udp_poll(const struct transport *t, struct pollfd *fds)
{
    const struct udp *u = (const struct udp *)t;

    if (t->phase == SLSR_PHASE_CONNECTING)
        return dial_poll(&u->dial, fds);
    if (u->fd < 0)
        return 0;
    fds[0] = (struct pollfd){u->fd, (short)(POLLIN | (u->blocked ? POLLOUT : 0)), 0};
    return 1;
}

static int64_t udp_due_ms(const struct transport *t, int64_t now_ms)
{
    const struct udp *u = (const struct udp *)t;

    if (t->phase == SLSR_PHASE_CONNECTING)
        return u->dial.due_ms > now_ms ? u->dial.due_ms - now_ms : 0;
    /* ENOBUFS raises no event: look again soon. */
    return u->position > t->settle.settled || u->blocked ? DUE_MS : -1;
}

static bool udp_ready(const struct transport *t)
{
    return ((const struct udp *)t)->fd >= 0 && piece_empty(&t->piece);
}

static int udp_skip(struct transport *t, uint64_t seq, int64_t now_ms, struct slsr_err *err)
{
    struct udp *u = (struct udp *)t;

    (void)err;
    if (seq > u->position)
        u->position = seq;
    (void)now_ms;
    settle_note(&t->settle, u->position, clock_mono_ms(), t->target->settle_ms);
    return 0;
}

static void udp_close(struct transport *t)
{
    struct udp *u = (struct udp *)t;

    drop_all(u);
    piece_fini(&t->piece);
    free(u);
}

static const struct transport_ops udp_ops = {udp_close, udp_start, udp_poll, udp_due_ms,
                                             udp_turn,  udp_ready, udp_skip};

int udp_open(struct transport **out, const struct slsr_target_config *target, struct slsr_err *err)
{
    struct udp *u = calloc(1, sizeof *u);

    if (u == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a connection to %s", target->host);
    u->base.ops = &udp_ops;
    dial_init(&u->dial, target, SOCK_DGRAM);
    u->fd = -1;
    *out = &u->base;
    return 0;
}
