/* One TCP connection (HOT: tests/bench/bench_drain.c; one system call per slice of up to 256 KiB,
 * with TLS per record of 16 KiB, none per frame).
 *
 * Good path: stream_init sets the options and reads acked0 before any byte is written, stream_shake
 * finishes TLS if there is any, stream_write hands slices on, stream_sample reads TCP_INFO. The
 * read side is always watched: syslog receivers send nothing, so anything there is news of an end.
 * Everything is counted in bytes on the wire, TLS's own among them: so the kernel counts, too.
 * What can go wrong: the peer or the path ends the connection; the cause becomes one short word. */
#include "transport/stream.h"

#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SLICE_BYTES = 256 * 1024,
    MARK_BYTES = 4096,   /* a mark at least that far behind the last one, or at a slice's end */
    JUNK_BYTES = 4096,   /* some receivers greet; none of them says more than this */
    LOWAT_BYTES = 65536, /* keeps what is unsent, and so what a break repeats, small */
    KEEP_IDLE_S = 30,
    KEEP_INTERVAL_S = 10,
    KEEP_COUNT = 3
};

static int fail_peer(struct stream *s, int errnum, struct slsr_err *err)
{
    const char *cause = dial_cause(errnum);

    s->cause = dial_word(errnum);
    if (cause != NULL)
        return slsr_fail(err, SLSR_EREMOTE, "%s", cause);
    return slsr_fail_errno(err, SLSR_EREMOTE, errnum, "connection failed");
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

static void set_options(int fd, int64_t stall_ms)
{
    int user_ms = stall_ms > INT_MAX ? INT_MAX : (int)stall_ms;

    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT_BYTES);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
    if (user_ms > 0)
        set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, user_ms);
}

int stream_init(struct stream *s, int fd, const struct dial_addr *peer,
                const struct stream_plan *plan, uint64_t spool_base, int64_t now_ms,
                struct slsr_err *err)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    int rc = 0;

    memset(s, 0, sizeof *s);
    memset(&info, 0, sizeof info);
    s->fd = fd;
    s->peer = *peer;
    s->progress_ms = now_ms;
    s->tls = plan->tls;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked) {
        s->cause = "local";
        rc = slsr_fail(err, SLSR_ENET, "the kernel gives no TCP_INFO for this connection");
    } else if (plan->tls != NULL) {
        s->cause = "tls";
        rc = tls_attach(plan->tls, fd, &s->ssl, err);
        s->shaking = true;
        s->shake_due_ms = now_ms + plan->shake_ms;
    }
    if (rc != 0) {
        close(fd);
        s->fd = -1;
        return rc;
    }
    s->cause = NULL;
    evidence_init(&s->ev, spool_base, info.tcpi_bytes_acked);
    set_options(fd, plan->stall_ms);
    return 0;
}

void stream_fini(struct stream *s)
{
    char drop[4096];

    if (s->fd < 0)
        return;
    /* Closing over unread bytes would send a reset and could destroy what is still on its way. */
    for (int i = 0; i < 16 && recv(s->fd, drop, sizeof drop, MSG_DONTWAIT) > 0; i++)
        continue;
    if (s->ssl != NULL && !s->shaking && !s->closing)
        (void)tls_notify(s->ssl); /* as good as it can be done now */
    tls_detach(s->ssl);
    s->ssl = NULL;
    close(s->fd);
    s->fd = -1;
    evidence_fini(&s->ev);
}

/* TLS writes on its own account, too: alerts, key updates. */
static void count_wire(struct stream *s)
{
    if (s->ssl != NULL)
        s->ev.wire_written = tls_wire_written(s->ssl);
}

int stream_shake(struct stream *s, int64_t now_ms, struct slsr_err *err)
{
    bool done;
    int rc = tls_shake(s->tls, s->ssl, &done, &s->shake_out, err);

    count_wire(s);
    if (rc == 0 && !done && now_ms >= s->shake_due_ms) {
        s->cause = "timeout";
        return slsr_fail(err, SLSR_ENET, "timed out during the TLS handshake");
    }
    if (rc != 0)
        s->cause = "tls";
    else if (done)
        s->shaking = false;
    return rc;
}

/* One read with TLS. */
static int read_tls(struct stream *s, char *p, size_t size, size_t *n, enum stream_read *what,
                    struct slsr_err *err)
{
    ssize_t got = tls_read(s->tls, s->ssl, p, size, err);
    int error = errno;

    count_wire(s);
    if (got > 0) {
        *n = (size_t)got;
    } else if (got == TLS_NOTIFY) {
        s->peer_notify = true;
        /* Before our own end it is the peer's wish; behind it the peer's FIN is still to come. */
        if (!s->closing)
            *what = STREAM_EOF;
    } else if (got == TLS_EOF) {
        *what = STREAM_EOF;
    } else if (got == TLS_BROKEN) {
        return fail_peer(s, error, err);
    } else if (got == TLS_FAILED) {
        s->cause = "tls";
        if (err != NULL)
            err->code = SLSR_EREMOTE;
        return SLSR_EREMOTE;
    }
    return 0;
}

int stream_read(struct stream *s, char *p, size_t size, size_t *n, enum stream_read *what,
                struct slsr_err *err)
{
    *what = STREAM_QUIET;
    *n = 0;
    if (s->ssl != NULL && !s->peer_notify) {
        int rc = read_tls(s, p, size, n, what, err);

        if (rc != 0 || *n > 0 || *what == STREAM_EOF || !s->peer_notify)
            return rc;
    }
    for (;;) {
        ssize_t got = recv(s->fd, p, size, MSG_DONTWAIT);

        if (got == 0)
            *what = STREAM_EOF;
        if (got >= 0) {
            *n = (size_t)got;
            return 0;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return fail_peer(s, errno, err);
    }
}

int stream_watch(struct stream *s, enum stream_read *what, struct slsr_err *err)
{
    char drop[4096];

    for (;;) {
        size_t n;
        int rc = stream_read(s, drop, sizeof drop, &n, what, err);

        if (rc != 0 || *what == STREAM_EOF || n == 0)
            return rc;
        s->junk_bytes += n;
        if (s->junk_bytes > JUNK_BYTES) {
            s->cause = "protocol";
            return slsr_fail(err, SLSR_EREMOTE, "the peer talks back: not a syslog receiver?");
        }
    }
}

static int mark(struct stream *s, const struct piece *piece, uint32_t from, size_t done_before,
                int64_t now_ms, struct slsr_err *err)
{
    uint64_t start = s->ev.wire_written - (piece->done - done_before);
    size_t marked = 0;

    /* Where a frame ends within records nobody knows: all that TLS accepted lies below. */
    if (s->ssl != NULL)
        return piece->frames == from ? 0
                                     : evidence_add(&s->ev, s->ev.wire_written,
                                                    piece->first + piece->frames, now_ms, err);
    for (uint32_t i = from; i < piece->frames; i++) {
        size_t end = piece_end(piece, i) - done_before;
        int rc;

        if (i + 1 < piece->frames && end - marked < MARK_BYTES)
            continue;
        rc = evidence_add(&s->ev, start + end, piece->first + i + 1, now_ms, err);
        if (rc != 0)
            return rc;
        marked = end;
    }
    return 0;
}

static int send_tls(struct stream *s, const char *p, size_t size, size_t *n, struct slsr_err *err)
{
    ssize_t done = tls_write(s->tls, s->ssl, p, size, err);
    int error = errno;

    count_wire(s);
    if (done >= 0) {
        *n = (size_t)done;
        return 0;
    }
    if (done == TLS_BROKEN)
        return fail_peer(s, error, err);
    if (done != TLS_FAILED) {
        s->cause = "closed";
        return slsr_fail(err, SLSR_EREMOTE, "closed by peer");
    }
    s->cause = "tls";
    if (err != NULL)
        err->code = SLSR_EREMOTE;
    return SLSR_EREMOTE;
}

int stream_send(struct stream *s, const char *p, size_t size, size_t *n, int64_t now_ms,
                struct slsr_err *err)
{
    bool idle = s->ev.acked == s->ev.wire_written;
    ssize_t done;
    int rc;

    *n = 0;
    if (s->ssl != NULL) {
        rc = send_tls(s, p, size, n, err);
        if (rc != 0 || *n == 0)
            return rc;
    } else {
        do
            done = send(s->fd, p, size < SLICE_BYTES ? size : SLICE_BYTES,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
        while (done < 0 && errno == EINTR);
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
            return 0;
        if (done < 0)
            return fail_peer(s, errno, err);
        *n = (size_t)done;
        s->ev.wire_written += (uint64_t)done;
    }
    if (s->first_ms == 0)
        s->first_ms = now_ms;
    if (idle)
        s->progress_ms = now_ms; /* nothing was outstanding: patience begins now */
    s->last_ms = now_ms;
    return 0;
}

int stream_write(struct stream *s, struct piece *piece, uint32_t *frames, int64_t now_ms,
                 struct slsr_err *err)
{
    *frames = 0;
    while (!piece_empty(piece)) {
        size_t before = piece->done, n;
        uint32_t whole = piece->frames;
        int rc = stream_send(s, piece->p + before, piece->n - before, &n, now_ms, err);

        if (rc != 0 || n == 0)
            return rc;
        *frames += piece_advance(piece, n);
        rc = mark(s, piece, whole, before, now_ms, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int stream_end(struct stream *s, struct slsr_err *err)
{
    s->closing = true;
    if (s->ssl != NULL && !tls_notify(s->ssl)) {
        s->cause = "tls";
        return slsr_fail(err, SLSR_EREMOTE, "cannot end TLS");
    }
    count_wire(s);
    if (shutdown(s->fd, SHUT_WR) == 0)
        return 0;
    s->cause = "reset";
    return slsr_fail(err, SLSR_EREMOTE, "reset by peer");
}

void stream_sample(struct stream *s, int64_t now_ms)
{
    struct evidence_sample sample;
    struct tcp_info info;
    socklen_t len = sizeof info;

    memset(&info, 0, sizeof info);
    if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return;
    sample.bytes_acked = info.tcpi_bytes_acked;
    sample.snd_wscale = info.tcpi_snd_wscale;
    sample.snd_wnd = info.tcpi_snd_wnd;
    sample.has_wnd = len >= offsetof(struct tcp_info, tcpi_snd_wnd) + sizeof info.tcpi_snd_wnd;
    s->rtt_us = info.tcpi_rtt;
    s->unacked = info.tcpi_unacked;
    s->last_ack_ms = info.tcpi_last_ack_recv;
    if (evidence_take(&s->ev, &sample))
        s->progress_ms = now_ms;
}

struct pollfd stream_poll(const struct stream *s, bool out)
{
    short events = POLLIN;

    if (s->shaking)
        events = s->shake_out ? POLLOUT : POLLIN;
    else if (out)
        events = POLLIN | POLLOUT;
    return (struct pollfd){s->fd, events, 0};
}
