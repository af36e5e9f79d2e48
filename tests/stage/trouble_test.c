/* Troubles of one connection, over real sockets and a real spool: a receiver that ends it while
 * idle, one that keeps its window closed for longer than a dead path may be silent, RELP numbers
 * that begin again, a stop in every state, live frames behind a backlog. Faults are triggered by
 * reports of the sender, never by time. */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "frames.h"
#include "receiver.h"
#include "slsrelay/control.h"
#include "slsrelay/deliver.h"
#include "transport/relp_frame.h"

struct world {
    char dir[FRAMES_DIR];
    struct slsr_spool *spool;
    struct slsr_stop stop;
    struct slsr_target_config target;
    struct receiver *rx; /* NULL: the test has its own */
    struct slsr_target_state last;
    unsigned frames, fds;
    _Atomic int64_t since_ms, pause_ms; /* the receiver tells them as well */
    bool resumed, appended;
    int turn;
    enum slsr_target_phase stop_at;
    void (*act)(struct world *w);
};

static void setup(struct world *w, unsigned frames, struct receiver *rx)
{
    struct slsr_err err;

    memset(w, 0, sizeof *w);
    w->fds = frames_open_fds();
    frames_spool(&w->spool, w->dir, frames, 1);
    assert_int_equal(slsr_stop_init(&w->stop, &err), 0);
    w->frames = frames;
    w->target = frames_target();
    w->target.connect_timeout_ms = 60000;
    w->rx = rx;
    if (rx != NULL) {
        receiver_bind(rx);
        w->target.port = rx->port;
        receiver_start(rx);
    }
}

static void teardown(struct world *w)
{
    if (w->rx != NULL)
        receiver_fini(w->rx);
    free(w->rx);
    slsr_spool_close(w->spool);
    slsr_stop_fini(&w->stop);
    frames_wipe(w->dir);
    assert_int_equal(frames_open_fds(), w->fds);
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct world *w = ctx;

    assert_true(state->acked >= w->last.acked);
    w->last = *state;
    if (w->act != NULL)
        w->act(w);
    else if (state->acked > w->frames)
        slsr_stop_request(&w->stop);
}

static void deliver(struct world *w, int64_t drain_ms)
{
    struct slsr_delivery d = {.target = &w->target,
                              .spool = w->spool,
                              .from = 1,
                              .to = UINT64_MAX,
                              .report = report,
                              .ctx = w,
                              .drain_ms = drain_ms,
                              .stop = &w->stop};
    struct slsr_err err = {0, ""};

    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ESTOPPED);
}

static struct receiver *new_receiver(void)
{
    struct receiver *rx = calloc(1, sizeof *rx);

    assert_non_null(rx);
    return rx;
}

/* Each frame exactly once. */
static void check_once(const struct world *w)
{
    for (unsigned i = 1; i <= w->frames; i++)
        assert_int_equal(w->rx->seen[i], 1);
    assert_int_equal(w->rx->disorder, 0);
    assert_int_equal(w->last.acked, w->frames + 1);
    assert_int_equal(w->last.resent_frames, 0);
}

/* --- idle --- */

static void hang_up_when_idle(struct world *w)
{
    enum { TURNS = 4, MORE = 100 };

    if (w->last.acked <= w->frames || w->last.phase != SLSR_PHASE_UP)
        return;
    if (w->turn == TURNS) {
        slsr_stop_request(&w->stop);
    } else if (w->last.reconnects == (unsigned)w->turn && !w->resumed) {
        w->resumed = true; /* for this turn it has hung up */
        receiver_hang_up(w->rx);
    } else if (w->last.reconnects > (unsigned)w->turn) {
        w->turn++;
        w->resumed = false;
        frames_fill(w->spool, w->frames + 1, MORE, 1);
        w->frames += MORE;
    }
}

/* Many receivers end a connection that has been silent for some minutes. Nothing was outstanding:
 * nothing is lost, nothing comes twice, no frame is suspected; what comes next arrives. */
static void idle_close(int level)
{
    struct world w;

    setup(&w, 500, new_receiver());
    w.target.delivery = level;
    w.act = hang_up_when_idle;
    deliver(&w, 5000);
    assert_int_equal(w.turn, 4);
    assert_int_equal(w.last.reconnects, 4);
    check_once(&w);
    teardown(&w);
}

static void test_idle_close(void **state)
{
    (void)state;
    idle_close(SLSR_DELIVERY_READ);
    idle_close(SLSR_DELIVERY_RECEIVED);
    idle_close(SLSR_DELIVERY_PROVEN);
}

/* --- a closed window --- */

static void resume_late(struct world *w)
{
    if (w->last.acked > w->frames) {
        slsr_stop_request(&w->stop);
    } else if (w->last.phase == SLSR_PHASE_STALLED && w->since_ms == 0) {
        w->since_ms = clock_mono_ms();
    } else if (w->since_ms != 0 && !w->resumed && clock_mono_ms() - w->since_ms > w->pause_ms) {
        w->resumed = true;
        receiver_resume(w->rx);
    }
}

/* Its window stays closed for many times dead_timeout, but it answers: it lives. */
static void test_zero_window_lives(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();

    (void)state;
    rx->stall_at = 1000;
    rx->small_rcvbuf = 65536;
    setup(&w, 20000, rx);
    w.target.dead_timeout_ms = 400;
    w.pause_ms = 6000;
    w.act = resume_late;
    deliver(&w, 5000);
    assert_true(w.resumed);
    assert_int_equal(w.last.reconnects, 0);
    check_once(&w);
    teardown(&w);
}

/* --- RELP --- */

struct relp_server {
    int listener, port;
    unsigned seen; /* frames, in the order of their numbers */
    bool wrapped, disorder;
    pthread_t thread;
};

enum { ANSWERS = 7 };

/* Answers ANSWERS frames at a time, the last one first: only the prefix without a gap counts. */
static void answer(int fd, uint32_t *waiting, unsigned *count)
{
    char text[64];

    while (*count > 0) {
        int n = snprintf(text, sizeof text, "%u rsp 6 200 OK\n", waiting[--*count]);

        assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    }
}

static void relp_take(struct relp_server *s, int fd, const struct relp_frame *f, unsigned frames)
{
    static const char offer[] = "200 OK\nrelp_version=0\nrelp_software=t\ncommands=syslog";
    static uint32_t waiting[ANSWERS], last;
    static unsigned count;
    char text[128], want[32];
    int n;

    if (slsr_bytes_equal(f->command, slsr_bytes_of("open"))) {
        n = snprintf(text, sizeof text, "%u rsp %zu %s\n", f->txnr, sizeof offer - 1, offer);
        assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
        count = last = 0;
        return;
    }
    if (!slsr_bytes_equal(f->command, slsr_bytes_of("syslog")))
        return; /* close */
    if (last != 0 && f->txnr != (last == RELP_TXNR_MAX ? 1 : last + 1))
        s->disorder = true;
    s->wrapped = s->wrapped || (last == RELP_TXNR_MAX && f->txnr == 1);
    last = f->txnr;
    n = snprintf(want, sizeof want, "n=%u;", ++s->seen);
    if (memmem(f->data.p, f->data.n, want, (size_t)n) == NULL)
        s->disorder = true;
    waiting[count++] = f->txnr;
    if (count == ANSWERS || s->seen == frames)
        answer(fd, waiting, &count);
}

static void *relp_serve(void *arg)
{
    struct world *w = ((void **)arg)[0];
    struct relp_server *s = ((void **)arg)[1];
    static char buf[65536];
    size_t used = 0;
    int fd = accept(s->listener, NULL, NULL);
    ssize_t got;

    while ((got = recv(fd, buf + used, sizeof buf - used, 0)) > 0) {
        size_t at = 0;
        struct relp_frame f;
        long n;

        used += (size_t)got;
        while ((n = relp_frame_next(buf + at, used - at, &f)) > 0) {
            relp_take(s, fd, &f, w->frames);
            at += (size_t)n;
        }
        s->disorder = s->disorder || n < 0;
        memmove(buf, buf + at, used - at);
        used -= at;
    }
    close(fd);
    return NULL;
}

/* A listening socket; rcvbuf 0: the default. */
static int listening(int *port, int backlog, int rcvbuf)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    if (rcvbuf > 0)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* Numbers end at 999,999,999 and begin again at 1, with answers out of order around it. */
static void test_relp_numbers_wrap(void **state)
{
    struct world w;
    struct relp_server s = {0};
    void *arg[2] = {&w, &s};

    (void)state;
    setup(&w, 3000, NULL);
    s.listener = listening(&s.port, 4, 0);
    w.target.protocol = SLSR_RELP;
    w.target.port = s.port;
    relp_second_txnr = RELP_TXNR_MAX - 1000;
    assert_int_equal(pthread_create(&s.thread, NULL, relp_serve, arg), 0);
    deliver(&w, 5000);
    pthread_join(s.thread, NULL);
    relp_second_txnr = 2;
    assert_int_equal(w.last.acked, w.frames + 1);
    assert_int_equal(s.seen, w.frames);
    assert_true(s.wrapped);
    assert_false(s.disorder);
    assert_int_equal(w.last.reconnects, 0);
    close(s.listener);
    teardown(&w);
}

/* --- stop --- */

static void stop_there(struct world *w)
{
    if (w->last.phase == w->stop_at &&
        (w->stop_at != SLSR_PHASE_UP || w->last.sent_frames == w->frames))
        slsr_stop_request(&w->stop);
}

/* Stop finds the sender in each state with a receiver that never answers: it leaves, closes what it
 * had, and has released nothing. */
static void test_stop_in_every_state(void **state)
{
    static const struct {
        const char *what;
        enum slsr_protocol protocol;
        int backlog; /* -1: refuses */
        bool full;   /* the way in is taken: no answer to connecting */
        int rcvbuf;
        unsigned frames;
        enum slsr_target_phase at;
    } cases[] = {
        {"pause after a refusal", SLSR_TCP, -1, false, 0, 10, SLSR_PHASE_BACKOFF},
        {"connecting", SLSR_TCP, 0, true, 0, 10, SLSR_PHASE_CONNECTING},
        {"TLS handshake", SLSR_TLS, 8, false, 0, 10, SLSR_PHASE_CONNECTING},
        {"RELP open", SLSR_RELP, 8, false, 0, 10, SLSR_PHASE_CONNECTING},
        {"proof under way", SLSR_TCP, 8, false, 0, 10, SLSR_PHASE_UP},
        {"window closed", SLSR_TCP, 8, false, 4096, 20000, SLSR_PHASE_STALLED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        int port, listener, filler[2] = {-1, -1};

        print_message("%s\n", cases[i].what);
        setup(&w, cases[i].frames, NULL);
        listener = listening(&port, cases[i].backlog, cases[i].rcvbuf);
        w.target.protocol = cases[i].protocol;
        w.target.port = port;
        w.target.retry_initial_ms = w.target.retry_max_ms = 60000;
        w.act = stop_there;
        w.stop_at = cases[i].at;
        for (int k = 0; cases[i].full && k < 2; k++) {
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

            a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            filler[k] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            (void)connect(filler[k], (struct sockaddr *)&a, sizeof a);
        }
        deliver(&w, 400);
        assert_int_equal(w.last.acked, 1);
        assert_int_equal(w.last.phase, SLSR_PHASE_STOPPED);
        for (int k = 0; k < 2; k++)
            if (filler[k] >= 0)
                close(filler[k]);
        close(listener);
        teardown(&w);
    }
}

/* --- pace --- */

enum { BACKLOG = 400, LIVE = 3000 };

static void append_live(struct world *w)
{
    if (w->last.phase == SLSR_PHASE_UP && !w->appended) {
        w->appended = true;
        frames_fill(w->spool, w->frames + 1, LIVE, 1);
        w->frames += LIVE;
    }
    if (w->last.acked > w->frames)
        slsr_stop_request(&w->stop);
}

static void stamp(void *ctx, unsigned frames)
{
    struct world *w = ctx;

    if (frames == 1)
        w->since_ms = clock_mono_ms();
    else if (frames == BACKLOG)
        w->pause_ms = clock_mono_ms() - w->since_ms;
}

/* A backlog goes at its own limit. What comes while it drains waits behind it, in order, and then
 * is no backlog. */
static void test_live_behind_backlog(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    const int64_t rate = 300;
    int64_t live_ms;

    (void)state;
    rx->on_count = stamp;
    rx->ctx = &w;
    setup(&w, BACKLOG, rx);
    w.target.rate.backlog_messages = rate;
    w.act = append_live;
    deliver(&w, 5000);
    live_ms = clock_mono_ms() - w.since_ms - w.pause_ms;
    check_once(&w);
    for (unsigned i = 2; i <= w.frames; i++)
        assert_true(rx->first[i] > rx->first[i - 1]);
    /* Never faster than the limit, but for what the bucket holds. */
    assert_true(w.pause_ms >= (BACKLOG - 2 * rate / 10) * 1000 / rate);
    /* As a backlog the live ones would have taken ten seconds at the very least. */
    print_message("backlog %lld ms, live %lld ms\n", (long long)w.pause_ms, (long long)live_ms);
    assert_true(live_ms < (LIVE - rate / 10) * 1000 / rate);
    teardown(&w);
}

/* --- poison --- */

/* Frame POISON is set aside, alone; all others arrive. The halves lead to it: a walk from frame to
 * frame would need more than a hundred connections. */
static void search(bool late)
{
    enum { POISON = 60, FRAMES = 250, CONNECTIONS = 80 };
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_spans dead = {0};

    rx->poison = POISON;
    rx->late = late;
    setup(&w, FRAMES, rx);
    w.target.delivery = SLSR_DELIVERY_PROVEN; /* else the read floor may have passed the frame */
    deliver(&w, 5000);
    for (unsigned i = 1; i <= FRAMES; i++)
        assert_true(i == POISON ? late == (rx->seen[i] > 0) : rx->seen[i] > 0);
    assert_int_equal(rx->garbage, 0);
    assert_int_equal(w.last.acked, FRAMES + 1);
    print_message("%u connections, %llu frames sent again\n", rx->connections,
                  (unsigned long long)w.last.resent_frames);
    assert_in_range(rx->connections, 1, CONNECTIONS);
    assert_int_equal(slsr_marks_read(w.spool, SLSR_MARK_DEAD, "siem", &dead, NULL), 0);
    assert_int_equal(dead.count, 1);
    assert_int_equal(dead.items[0].from, POISON);
    assert_int_equal(dead.items[0].to, POISON + 1);
    slsr_spans_free(&dead);
    teardown(&w);
}

static void test_poison(void **state)
{
    (void)state;
    search(false);
}

/* The receiver closes the connection back and falls over at the next one: what was proven has to be
 * doubted again. */
static void test_poison_late(void **state)
{
    (void)state;
    search(true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_close),          cmocka_unit_test(test_zero_window_lives),
        cmocka_unit_test(test_relp_numbers_wrap),   cmocka_unit_test(test_stop_in_every_state),
        cmocka_unit_test(test_live_behind_backlog), cmocka_unit_test(test_poison),
        cmocka_unit_test(test_poison_late),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one alone, by its name */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
