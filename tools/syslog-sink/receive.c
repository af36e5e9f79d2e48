/* The event loop: one thread, two epolls. The inner one holds what carries messages (connections
 * and UDP sockets), the outer one holds signals, listeners and the inner one. Pausing (--rate,
 * --stall-after) takes the inner one out: nothing is read, and a peer that hangs up does not spin
 * us.
 *
 * Output is flushed whenever no event is ready and before every close. On TERM or INT: connections
 * still in the backlog are taken, then what the kernel holds for each is read, the statistics are
 * written, everything is closed. */
#include "receive.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

enum { EVENTS = 64, DATAGRAMS_PER_TURN = 256, DATAGRAM_MAX = 65536 };
enum { NS_PER_MS = 1000000 };
static const int64_t stats_interval_ns = (int64_t)1000 * NS_PER_MS;

struct door {
    int fd;
    enum scheme scheme;
};

struct receiver {
    struct sink *s;
    int outer;
    int inner;
    int signals;
    bool watching; /* the inner epoll is in the outer one */
    bool full;     /* out of descriptors: doors are shut until a connection ends */
    bool stop;
    struct door doors[LISTEN_MAX];
    size_t door_count;
    struct conn *conns;
    struct ssl_ctx_st *tls;
    char *datagram;
};

static bool watch(int epoll, int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event e = {.events = events, .data.ptr = data};

    return epoll_ctl(epoll, operation, fd, &e) == 0;
}

static bool is_door(const struct receiver *r, const void *p)
{
    return p >= (const void *)r->doors && p < (const void *)(r->doors + r->door_count);
}

/* Opens or shuts the listening doors; UDP ones stay as they are. */
static void watch_doors(struct receiver *r, bool open)
{
    for (size_t i = 0; i < r->door_count; i++)
        if (r->doors[i].scheme != SCHEME_UDP)
            watch(r->outer, open ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->doors[i].fd, EPOLLIN,
                  &r->doors[i]);
    r->full = !open;
}

static void drop(struct receiver *r, struct conn *c, bool reset)
{
    if (!output_flush(&r->s->out))
        r->s->failed = true;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        r->conns = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    conn_free(c, reset);
    r->s->open_connections--;
    r->s->changed = true;
    if (r->full && !r->stop)
        watch_doors(r, true);
}

static void add(struct receiver *r, int fd, const struct door *door, const char *peer)
{
    struct conn *c = conn_new(r->s, fd, scheme_is_tls(door->scheme) ? r->tls : NULL, peer);

    r->s->connections++;
    r->s->changed = true;
    if (c == NULL) {
        fprintf(stderr, "syslog-sink: out of memory, %s: closing\n", peer);
        return;
    }
    c->relp = door->scheme == SCHEME_RELP || door->scheme == SCHEME_RELP_TLS;
    c->next = r->conns;
    if (c->next != NULL)
        c->next->previous = c;
    r->conns = c;
    r->s->open_connections++;
    if (!watch(r->inner, EPOLL_CTL_ADD, fd, EPOLLIN, c)) {
        fprintf(stderr, "syslog-sink: cannot watch, %s: %s; closing\n", peer, strerror(errno));
        drop(r, c, false);
    }
}

/* Takes every connection that waits at a door. */
static void accept_all(struct receiver *r, const struct door *door)
{
    for (;;) {
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof a;
        char peer[URL_MAX];
        int fd = accept4(door->fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            listen_url(door->scheme, (struct sockaddr *)&a, len, peer);
            add(r, fd, door, peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE) {
            fputs("syslog-sink: out of descriptors: new connections wait until one ends\n", stderr);
            if (!r->full)
                watch_doors(r, false);
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* At most `limit` datagrams; false when there are no more. */
static bool read_datagrams(struct receiver *r, const struct door *door, size_t limit)
{
    for (size_t i = 0; i < limit; i++) {
        ssize_t n = 0;

        if (!sink_ready(r->s))
            return false;
        n = recv(door->fd, r->datagram, DATAGRAM_MAX, MSG_DONTWAIT);
        if (n < 0)
            return false;
        if ((size_t)n > r->s->o->max_message)
            sink_framing_error(r->s, "udp", "a datagram is above --max-message",
                               r->s->o->max_message);
        else
            sink_take(r->s, r->datagram, (size_t)n);
    }
    return true;
}

static void conn_work(struct receiver *r, struct conn *c)
{
    enum conn_turn turn = CONN_OPEN;
    size_t got = 0;
    bool wanted = c->watched_out;

    do
        turn = conn_turn(c, r->s, &got);
    while (turn == CONN_OPEN && got > 0 && stream_pending(&c->stream));
    /* A sink that may die holds nothing back longer than one read. */
    if (r->s->o->die_after != 0 && !output_flush(&r->s->out))
        r->s->failed = true;
    if (turn != CONN_OPEN)
        drop(r, c, turn == CONN_RESET);
    else if (wanted != (c->stream.want_write || conn_talks(c))) {
        c->watched_out = !wanted;
        watch(r->inner, EPOLL_CTL_MOD, c->stream.fd,
              wanted ? EPOLLIN : (uint32_t)EPOLLIN | EPOLLOUT, c);
    }
}

static void read_inner(struct receiver *r)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->inner, events, EVENTS, 0);

    for (int i = 0; i < n; i++) {
        void *p = events[i].data.ptr;

        if (!is_door(r, p))
            conn_work(r, p);
        else if (read_datagrams(r, p, DATAGRAMS_PER_TURN) && r->s->o->die_after != 0 &&
                 !output_flush(&r->s->out))
            r->s->failed = true;
    }
}

/* After a pause: messages that were read already, which no event announces. */
static void resume(struct receiver *r)
{
    struct conn *next = NULL;

    for (struct conn *c = r->conns; c != NULL; c = next) {
        next = c->next;
        if (c->blocked || stream_pending(&c->stream))
            conn_work(r, c);
    }
}

static void set_watching(struct receiver *r, bool on)
{
    if (on == r->watching)
        return;
    watch(r->outer, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->inner, EPOLLIN, &r->inner);
    r->watching = on;
}

static void read_signals(struct receiver *r)
{
    struct signalfd_siginfo info;

    while (read(r->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGUSR1) {
            if (!output_flush(&r->s->out))
                r->s->failed = true;
            stats_write(r->s);
        } else {
            r->stop = true;
        }
    }
}

static int timeout_ms(const struct receiver *r, int64_t stats_due)
{
    int64_t now = sink_now_ns();
    int64_t due = INT64_MAX;

    if (r->s->changed && r->s->o->stats != NULL)
        due = stats_due;
    if (!r->watching && !r->s->stalled && r->s->next_ns < due)
        due = r->s->next_ns;
    if (due == INT64_MAX)
        return -1;
    return due <= now ? 0 : (int)((due - now) / NS_PER_MS) + 1;
}

static int wait_outer(struct receiver *r, struct epoll_event *events, int64_t stats_due)
{
    int n = epoll_wait(r->outer, events, EVENTS, 0);

    if (n != 0)
        return n;
    if (!output_flush(&r->s->out))
        r->s->failed = true;
    return epoll_wait(r->outer, events, EVENTS, timeout_ms(r, stats_due));
}

static void loop(struct receiver *r)
{
    int64_t stats_due = sink_now_ns();

    while (!r->stop && !r->s->failed) {
        struct epoll_event events[EVENTS];
        int n = 0;

        if (!r->watching && sink_ready(r->s))
            resume(r);
        set_watching(r, sink_ready(r->s));
        if (r->s->changed && sink_now_ns() >= stats_due) {
            stats_write(r->s);
            stats_due = sink_now_ns() + stats_interval_ns;
        }
        n = wait_outer(r, events, stats_due);
        for (int i = 0; i < n; i++) {
            void *p = events[i].data.ptr;

            if (p == &r->signals)
                read_signals(r);
            else if (p == &r->inner)
                read_inner(r);
            else
                accept_all(r, p);
        }
    }
}

/* What the kernel held for a connection when the stop came; not more, or a fast peer would keep us
 * here for ever. */
static void drain_conn(struct receiver *r, struct conn *c)
{
    enum conn_turn turn = CONN_OPEN;
    size_t sum = 0;
    size_t got = 0;
    int waiting = 0;

    if (ioctl(c->stream.fd, FIONREAD, &waiting) != 0)
        waiting = 0;
    do {
        turn = conn_turn(c, r->s, &got);
        sum += got;
    } while (turn == CONN_OPEN && got > 0 && (sum < (size_t)waiting || stream_pending(&c->stream)));
    if (turn != CONN_OPEN)
        drop(r, c, turn == CONN_RESET);
}

static void drain(struct receiver *r)
{
    struct conn *next = NULL;
    struct options unlimited = *r->s->o;

    unlimited.rate = 0; /* what has arrived is taken without waiting */
    r->s->o = &unlimited;
    for (size_t i = 0; i < r->door_count; i++) {
        if (r->doors[i].scheme == SCHEME_UDP)
            read_datagrams(r, &r->doors[i], (size_t)DATAGRAMS_PER_TURN * DATAGRAMS_PER_TURN);
        else
            accept_all(r, &r->doors[i]);
        close(r->doors[i].fd);
    }
    r->door_count = 0;
    for (struct conn *c = r->conns; c != NULL; c = next) {
        next = c->next;
        drain_conn(r, c);
    }
    if (!output_flush(&r->s->out))
        r->s->failed = true;
}

static int open_doors(struct receiver *r)
{
    for (size_t i = 0; i < r->s->o->listen_count; i++) {
        const struct endpoint *e = &r->s->o->listen[i];
        struct door *door = &r->doors[i];
        char url[URL_MAX];
        int rc = 0;

        if (scheme_is_tls(e->scheme) && r->tls == NULL) {
            rc = stream_tls_open(r->s->o, &r->tls);
            if (rc != 0)
                return rc;
        }
        rc = listen_open(e, &door->fd, url);
        if (rc != 0)
            return rc;
        door->scheme = e->scheme;
        r->door_count++;
        if (!watch(e->scheme == SCHEME_UDP ? r->inner : r->outer, EPOLL_CTL_ADD, door->fd, EPOLLIN,
                   door))
            return EXIT_IO;
        printf("syslog-sink: listening on %s\n", url);
    }
    return fflush(stdout) == 0 ? 0 : EXIT_IO;
}

static int set_up(struct receiver *r)
{
    struct rlimit files;
    sigset_t set;

    signal(SIGPIPE, SIG_IGN); /* the TLS library writes without MSG_NOSIGNAL */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    r->datagram = malloc(DATAGRAM_MAX);
    r->outer = epoll_create1(EPOLL_CLOEXEC);
    r->inner = epoll_create1(EPOLL_CLOEXEC);
    r->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (r->datagram == NULL || r->outer < 0 || r->inner < 0 || r->signals < 0 ||
        !watch(r->outer, EPOLL_CTL_ADD, r->signals, EPOLLIN, &r->signals)) {
        fprintf(stderr, "syslog-sink: cannot start: %s\n", strerror(errno));
        return EXIT_IO;
    }
    set_watching(r, true);
    return open_doors(r);
}

int receive_run(struct sink *s)
{
    struct receiver r = {.s = s, .outer = -1, .inner = -1, .signals = -1};
    const struct options *o = s->o;
    int rc = set_up(&r);

    if (rc == 0) {
        loop(&r);
        drain(&r);
        s->o = o;
        if (!stats_write(s) || s->failed)
            rc = EXIT_IO;
    }
    while (r.conns != NULL)
        drop(&r, r.conns, false);
    for (size_t i = 0; i < r.door_count; i++)
        close(r.doors[i].fd);
    stream_tls_close(r.tls);
    free(r.datagram);
    close(r.outer);
    close(r.inner);
    close(r.signals);
    return rc;
}
