/* Delivery over real sockets and a real spool.
 *
 * A spool with numbered frames is delivered to receivers that misbehave. Whatever they do, at the
 * end the union of what their applications have read is complete (I3), each connection is in order,
 * and only repeats came on top. Faults are triggered by reports of the sender, never by time. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "frames.h"
#include "receiver.h"
#include "send/send.h"
#include "slsrelay/deliver.h"
#include "transport/guard.h"

static char nowhere[] = "no-such-host.invalid";

struct world {
    char dir[FRAMES_DIR];
    struct slsr_spool *spool;
    struct slsr_stop stop;
    struct slsr_target_config target;
    struct receiver *rx;
    struct slsr_target_state last;
    unsigned frames;
    bool saw_backoff, saw_stalled, saw_alarm;
    enum { NOTHING, LISTEN_AT_BACKOFF, KILL_AT_STALL } plan;
    bool dead;
    unsigned fds; /* open before anything else was; 0: not to be looked at */
};

static void setup(struct world *w, struct receiver *rx, unsigned frames)
{
    struct slsr_err err;

    memset(w, 0, sizeof *w);
    w->fds = frames_open_fds();
    frames_spool(&w->spool, w->dir, frames, 1);
    assert_int_equal(slsr_stop_init(&w->stop, &err), 0);
    w->rx = rx;
    w->target = frames_target();
    w->frames = frames;
    if (rx != NULL) {
        receiver_bind(rx);
        w->target.port = rx->port;
    }
}

static void teardown(struct world *w)
{
    if (w->rx != NULL)
        receiver_fini(w->rx);
    slsr_spool_close(w->spool);
    slsr_stop_fini(&w->stop);
    frames_wipe(w->dir);
    free(w->rx);
    if (w->fds != 0)
        assert_int_equal(frames_open_fds(), w->fds);
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct world *w = ctx;

    assert_true(state->acked >= w->last.acked);
    w->last = *state;
    if (strstr(state->error, "count as taken") != NULL)
        w->saw_alarm = true;
    if (state->phase == SLSR_PHASE_STALLED) {
        w->saw_stalled = true;
        if (w->plan == KILL_AT_STALL && !w->dead) {
            w->dead = true;
            receiver_die(w->rx);
        }
    }
    if (state->phase == SLSR_PHASE_BACKOFF) {
        w->saw_backoff = true;
        if (w->plan != NOTHING && !w->rx->running) {
            if (w->dead)
                receiver_bind(w->rx);
            w->rx->stall_at = 0;
            receiver_start(w->rx);
        }
    }
}

static int deliver(struct world *w, uint64_t to, struct slsr_err *err)
{
    struct slsr_delivery d = {.target = &w->target,
                              .spool = w->spool,
                              .from = 1,
                              .to = to,
                              .report = report,
                              .ctx = w,
                              .stop = &w->stop};

    return slsr_deliver_run(&d, err);
}

static void check_complete(struct world *w)
{
    unsigned lost = 0;

    for (unsigned i = 1; i <= w->frames; i++)
        lost += w->rx->seen[i] == 0;
    assert_int_equal(lost, 0);
    assert_int_equal(w->rx->disorder, 0);
    assert_int_equal(w->rx->garbage, 0);
    assert_int_equal(w->last.acked, w->frames + 1);
}

static struct receiver *new_receiver(void)
{
    struct receiver *rx = calloc(1, sizeof *rx);

    assert_non_null(rx);
    return rx;
}

static void plain(enum slsr_framing framing, int level)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};

    rx->lf = framing == SLSR_FRAMING_LF;
    setup(&w, rx, 20000);
    w.target.framing = framing;
    w.target.delivery = level;
    receiver_start(rx);
    if (deliver(&w, 20001, &err) != 0)
        fail_msg("%s", err.text);
    check_complete(&w);
    assert_int_equal(w.last.sent_frames, 20000);
    assert_int_equal(w.last.resent_frames, 0);
    assert_int_equal(w.last.reconnects, 0);
    /* `read` and `proven` proved the tail: that takes a second connection. */
    if (level == SLSR_DELIVERY_READ || level == SLSR_DELIVERY_PROVEN)
        assert_true(rx->connections >= 2);
    teardown(&w);
}

static void test_read(void **state)
{
    (void)state;
    plain(SLSR_FRAMING_AUTO, SLSR_DELIVERY_READ);
}

static void test_proven(void **state)
{
    (void)state;
    plain(SLSR_FRAMING_OCTET, SLSR_DELIVERY_PROVEN);
}

static void test_read_lf(void **state)
{
    (void)state;
    plain(SLSR_FRAMING_LF, SLSR_DELIVERY_READ);
}

static void test_received(void **state)
{
    (void)state;
    plain(SLSR_FRAMING_AUTO, SLSR_DELIVERY_RECEIVED);
}

/* The receiver stops reading, its window closes; then it dies with a full buffer and comes back. */
static void test_stall_then_reset(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};

    (void)state;
    rx->stall_at = 3000;
    rx->small_rcvbuf = 65536;
    setup(&w, rx, 20000);
    w.plan = KILL_AT_STALL;
    receiver_start(rx);
    if (deliver(&w, 20001, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(w.saw_stalled);
    assert_true(w.saw_backoff);
    assert_true(w.last.reconnects >= 1);
    assert_true(w.last.resent_frames > 0);
    check_complete(&w);
    teardown(&w);
}

/* The receiver sends FIN in the middle with data unread: that proves nothing. */
static void test_fin_over_unread(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};

    (void)state;
    rx->fin_at = 5000;
    setup(&w, rx, 20000);
    receiver_start(rx);
    if (deliver(&w, 20001, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(w.last.reconnects >= 1);
    check_complete(&w);
    teardown(&w);
}

static void test_refused_then_there(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};

    (void)state;
    setup(&w, rx, 1000);
    w.plan = LISTEN_AT_BACKOFF;
    if (deliver(&w, 1001, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(w.saw_backoff);
    assert_string_equal(w.last.error, "");
    check_complete(&w);
    teardown(&w);
}

static void guarded(struct receiver *rx)
{
    struct world w;
    struct slsr_err err = {0, ""};
    int64_t span = guard_span_ms;

    guard_span_ms = 0;
    setup(&w, rx, 500);
    receiver_start(rx);
    if (deliver(&w, 501, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(w.saw_alarm);
    check_complete(&w);
    teardown(&w);
    guard_span_ms = span;
}

/* A receiver that answers each FIN by a reset can never prove: the guard gives in, and says so. */
static void test_guard(void **state)
{
    struct receiver *rx = new_receiver();

    (void)state;
    rx->reset_at_eof = true;
    guarded(rx);
}

/* One that ends each second connection at once cannot be a witness: the same. */
static void test_guard_one_connection(void **state)
{
    struct receiver *rx = new_receiver();

    (void)state;
    rx->only_one = true;
    guarded(rx);
}

/* Overwrites a byte of frame `number` in the segment's file. */
static void damage(struct world *w, unsigned number)
{
    char path[128], text[32], *all, *hit;
    FILE *file;
    size_t n;

    snprintf(path, sizeof path, "%s/seg-%016x.mdb", w->dir, 1);
    snprintf(text, sizeof text, "n=%u; ", number);
    file = fopen(path, "r+b");
    assert_non_null(file);
    all = malloc(4 << 20);
    assert_non_null(all);
    n = fread(all, 1, 4 << 20, file);
    hit = memmem(all, n, text, strlen(text));
    assert_non_null(hit);
    assert_int_equal(fseek(file, hit - all, SEEK_SET), 0);
    assert_int_equal(fputc('X', file), 'X');
    assert_int_equal(fclose(file), 0);
    free(all);
}

/* A damaged chunk lies between the settled position and the break: it is met twice. */
static void test_damage_then_break(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};

    (void)state;
    rx->fin_at = 1500; /* 500 frames behind the damage */
    setup(&w, rx, 3000);
    w.target.settle_ms = 1000;
    damage(&w, 1500);
    receiver_start(rx);
    if (deliver(&w, 3001, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(w.last.reconnects >= 1);
    assert_int_equal(w.last.acked, 3001);
    for (unsigned i = 1; i <= 3000; i++)
        assert_int_equal(rx->seen[i] > 0, i <= 1000 || i > 2000);
    assert_int_equal(rx->disorder, 0);
    teardown(&w);
}

/* A receiver that ends each connection at once is connected again and again, and yet given up. */
static void test_give_up_on_slammer(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};
    struct slsr_delivery d = {.from = 1, .to = 11, .report = report, .give_up_ms = 150};

    (void)state;
    rx->slam = true;
    setup(&w, rx, 10);
    d.target = &w.target;
    d.spool = w.spool;
    d.ctx = &w;
    d.stop = &w.stop;
    receiver_start(rx);
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ENET);
    assert_non_null(strstr(err.text, "gave up"));
    assert_int_equal(w.last.acked, 1);
    teardown(&w);
}

static void stop_at_end(void *ctx, unsigned frames)
{
    struct world *w = ctx;

    if (frames == w->frames)
        slsr_stop_request(&w->stop);
}

/* On stop the tail is proven and settled before the sender leaves. */
static void test_stop_drains(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_target_state *targets = NULL;
    struct slsr_err err = {0, ""};
    size_t count = 0;

    (void)state;
    setup(&w, rx, 3000);
    rx->on_count = stop_at_end;
    rx->ctx = &w;
    w.target.proof_interval_ms = 60000;
    receiver_start(rx);
    assert_int_equal(send_run(&w.target, w.spool, &w.stop, &err), SLSR_ESTOPPED);
    assert_int_equal(slsr_spool_targets(w.spool, &targets, &count, &err), 0);
    assert_int_equal(count, 1);
    w.last = targets[0];
    assert_int_equal(targets[0].phase, SLSR_PHASE_STOPPED);
    check_complete(&w);
    free(targets);
    teardown(&w);
}

static bool odd(void *ctx, const struct slsr_frame *frame)
{
    (void)ctx;
    return frame->seq % 2 == 1;
}

static void test_filter_and_rate(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};
    struct slsr_delivery d = {.from = 101, .to = 301, .want = odd, .report = report};

    (void)state;
    setup(&w, rx, 400);
    d.target = &w.target;
    d.spool = w.spool;
    d.ctx = &w;
    d.stop = &w.stop;
    d.rate_frames_s = 500;
    receiver_start(rx);
    if (slsr_deliver_run(&d, &err) != 0)
        fail_msg("%s", err.text);
    for (unsigned i = 1; i <= 400; i++)
        assert_int_equal(rx->seen[i], i >= 101 && i < 301 && i % 2 == 1 ? 1 : 0);
    assert_int_equal(w.last.acked, 301);
    teardown(&w);
}

static void test_give_up_and_probe(void **state)
{
    struct world w;
    struct receiver *rx = new_receiver();
    struct slsr_err err = {0, ""};
    struct slsr_delivery d = {.from = 1, .to = 11, .report = report, .give_up_ms = 150};

    (void)state;
    setup(&w, rx, 10);
    d.target = &w.target;
    d.spool = w.spool;
    d.ctx = &w;
    d.stop = &w.stop;
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ENET);
    assert_non_null(strstr(err.text, "connection refused"));
    assert_int_equal(w.last.acked, 1);
    assert_int_equal(slsr_deliver_probe(&w.target, NULL, NULL, &err), SLSR_ENET);
    receiver_start(rx);
    assert_int_equal(slsr_deliver_probe(&w.target, NULL, NULL, &err), 0);
    w.target.host = nowhere;
    w.fds = 0; /* whoever still resolves that has one of its own */
    assert_int_equal(slsr_deliver_probe(&w.target, NULL, NULL, &err), SLSR_ENET);
    assert_non_null(strstr(err.text, "cannot resolve no-such-host.invalid"));
    teardown(&w);
}

static void test_udp(void **state)
{
    struct world w;
    struct slsr_err err = {0, ""};
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    char text[2048];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)state;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    setup(&w, NULL, 100);
    w.target.protocol = SLSR_UDP;
    w.target.port = ntohs(a.sin_port);
    if (deliver(&w, 101, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(w.last.acked, 101);
    for (unsigned i = 1; i <= 100; i++) {
        char want[64];
        ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);

        assert_true(n > 0);
        snprintf(want, sizeof want, "<14>1 - h a - - - n=%u; ", i);
        assert_memory_equal(text, want, strlen(want));
        assert_int_equal(text[n - 1], '.');
    }
    close(fd);
    w.fds--; /* that one was open before */
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_lf),
        cmocka_unit_test(test_proven),
        cmocka_unit_test(test_received),
        cmocka_unit_test(test_stall_then_reset),
        cmocka_unit_test(test_fin_over_unread),
        cmocka_unit_test(test_refused_then_there),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_guard_one_connection),
        cmocka_unit_test(test_damage_then_break),
        cmocka_unit_test(test_stop_drains),
        cmocka_unit_test(test_filter_and_rate),
        cmocka_unit_test(test_give_up_and_probe),
        cmocka_unit_test(test_give_up_on_slammer),
        cmocka_unit_test(test_udp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
