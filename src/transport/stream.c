/* One TCP connection (HOT: tests/bench/bench.c "deliver"; one system call per slice of up to
 * 256 KiB, none per frame).
 *
 * Good path: stream_init sets the options and reads acked0 before any byte is written, stream_write
 * hands slices to the kernel, stream_sample reads TCP_INFO. The read side is always watched: syslog
 * receivers send nothing, so anything there is news of an end.
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

static int fail_peer(int errnum, struct slsr_err *err)
{
    const char *cause = dial_cause(errnum);

    if (cause != NULL)
        return slsr_fail(err, SLSR_EREMOTE, "%s", cause);
    return slsr_fail_errno(err, SLSR_EREMOTE, errnum, "connection failed");
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

int stream_init(struct stream *s, int fd, const struct dial_addr *peer, int64_t stall_ms,
                uint64_t spool_base, int64_t now_ms, struct slsr_err *err)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    int user_ms = stall_ms > INT_MAX ? INT_MAX : (int)stall_ms;

    memset(s, 0, sizeof *s);
    memset(&info, 0, sizeof info);
    s->fd = fd;
    s->peer = *peer;
    s->progress_ms = now_ms;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked) {
        close(fd);
        s->fd = -1;
        return slsr_fail(err, SLSR_ENET, "the kernel gives no TCP_INFO for this connection");
    }
    evidence_init(&s->ev, spool_base, info.tcpi_bytes_acked);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT_BYTES);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
    if (user_ms > 0)
        set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, user_ms);
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
    close(s->fd);
    s->fd = -1;
    evidence_fini(&s->ev);
}

int stream_watch(struct stream *s, enum stream_read *what, struct slsr_err *err)
{
    char drop[4096];

    *what = STREAM_QUIET;
    for (;;) {
        ssize_t n = recv(s->fd, drop, sizeof drop, MSG_DONTWAIT);

        if (n == 0) {
            *what = STREAM_EOF;
            return 0;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0)
            return fail_peer(errno, err);
        s->junk_bytes += (size_t)n;
        if (s->junk_bytes > JUNK_BYTES)
            return slsr_fail(err, SLSR_EREMOTE, "the peer talks back: not a syslog receiver?");
    }
}

static int mark(struct stream *s, const struct piece *piece, uint32_t from, size_t done_before,
                int64_t now_ms, struct slsr_err *err)
{
    uint64_t start = s->ev.wire_written - (piece->done - done_before);
    size_t marked = 0;

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

int stream_write(struct stream *s, struct piece *piece, uint32_t *frames, int64_t now_ms,
                 struct slsr_err *err)
{
    *frames = 0;
    while (!piece_empty(piece)) {
        size_t left = piece->n - piece->done;
        size_t before = piece->done;
        uint32_t whole = piece->frames;
        ssize_t n = send(s->fd, piece->p + before, left < SLICE_BYTES ? left : SLICE_BYTES,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        int rc;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
            return 0;
        if (n < 0)
            return fail_peer(errno, err);
        if (s->first_ms == 0)
            s->first_ms = now_ms;
        if (s->ev.acked == s->ev.wire_written)
            s->progress_ms = now_ms; /* nothing was outstanding: patience begins now */
        s->last_ms = now_ms;
        s->ev.wire_written += (uint64_t)n;
        *frames += piece_advance(piece, (size_t)n);
        rc = mark(s, piece, whole, before, now_ms, err);
        if (rc != 0)
            return rc;
    }
    return 0;
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
