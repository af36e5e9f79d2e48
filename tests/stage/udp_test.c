/* UDP over real sockets, in a network namespace of its own where that is allowed.
 *
 * What must hold (docs/delivery.md "Framing"): a datagram is one message, and what does not fit is
 * handed back to be set aside while the rest goes on in order, however many there are; a refusal is
 * a break while anything is unsettled and none afterwards; a full queue of our own kernel and a
 * socket that is full lose nothing; an interface that goes is `unreachable`. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
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
#include "transport/transport.h"

enum {
    LARGEST = 65507,
    LARGEST_V6 = 65527,
    COUNT = 64,
    SMALL = 200,
    SETTLE_MS = 30,
    WAIT_MS = 20000
};

static char name[] = "siem", loopback4[] = "127.0.0.1", loopback6[] = "::1";
static bool apart; /* in a namespace of its own */

struct world {
    struct slsr_target_config target;
    struct transport *t;
    int fd; /* the receiver; -1: nobody */
    int family;
    char *wire;
    uint32_t ends[COUNT];
    uint32_t count;
    size_t used;
};

/* --- both ends --- */

static void listen_on(struct world *w)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->target.port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    struct sockaddr *a = w->family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t len = w->family == AF_INET ? sizeof v4 : sizeof v6;
    int room = 16 << 20;

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    w->fd = socket(w->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        setsockopt(w->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    assert_int_equal(bind(w->fd, a, len), 0);
    assert_int_equal(getsockname(w->fd, a, &len), 0);
    w->target.port = ntohs(w->family == AF_INET ? v4.sin_port : v6.sin6_port);
}

static void leave(struct world *w)
{
    close(w->fd);
    w->fd = -1;
}

/* The length of the next datagram, which is all of one kind of letter. */
static size_t receive(struct world *w)
{
    static char buf[LARGEST_V6 + 1];
    struct pollfd fds = {w->fd, POLLIN, 0};
    ssize_t n;

    assert_int_equal(poll(&fds, 1, WAIT_MS), 1);
    n = recv(w->fd, buf, sizeof buf, 0);
    assert_true(n > 0);
    for (ssize_t i = 1; i < n; i++)
        assert_int_equal(buf[i], buf[0]);
    return (size_t)n;
}

/* Appends a frame of n letters. */
static void add(struct world *w, size_t n)
{
    w->wire = realloc(w->wire, w->used + n + 16);
    assert_non_null(w->wire);
    w->used += (size_t)sprintf(w->wire + w->used, "%zu ", n);
    memset(w->wire + w->used, 'a' + (int)(w->count % 26), n);
    w->used += n;
    w->ends[w->count++] = (uint32_t)w->used;
}

static void connect_on(struct world *w)
{
    struct slsr_err err = {0, ""};

    assert_int_equal(transport_start(w->t, clock_mono_ms(), &err), 0);
    while (transport_phase(w->t) != SLSR_PHASE_UP)
        if (transport_turn(w->t, clock_mono_ms(), &err) != 0)
            fail_msg("%s", err.text);
}

static void start(struct world *w, int family, int64_t settle_ms)
{
    memset(w, 0, sizeof *w);
    w->family = family;
    w->target = (struct slsr_target_config){.name = name,
                                            .protocol = SLSR_UDP,
                                            .host = family == AF_INET ? loopback4 : loopback6,
                                            .connect_timeout_ms = 10000,
                                            .settle_ms = settle_ms};
    listen_on(w);
    assert_int_equal(transport_open(&w->t, &w->target, 1, NULL), 0);
    connect_on(w);
}

static void finish(struct world *w)
{
    transport_close(w->t);
    if (w->fd >= 0)
        close(w->fd);
    free(w->wire);
}

static void offer(struct world *w, uint64_t first)
{
    struct slsr_run run = {first, w->count, {w->wire, w->used}, w->ends};

    assert_true(transport_ready(w->t));
    assert_int_equal(transport_offer(w->t, &run, 0, w->count, NULL), 0);
}

/* One turn, after what it asked to be waited for. */
static int turn(struct world *w, struct slsr_err *err)
{
    struct pollfd fds[TRANSPORT_POLL_MAX];
    int n = transport_poll(w->t, fds);
    int64_t due = transport_due_ms(w->t, clock_mono_ms());

    poll(fds, (nfds_t)n, due < 0 ? 0 : (int)due);
    return transport_turn(w->t, clock_mono_ms(), err);
}

static void settle(struct world *w, uint64_t upto)
{
    struct slsr_err err = {0, ""};

    while (transport_settled(w->t) < upto)
        if (turn(w, &err) != 0)
            fail_msg("%s", err.text);
}

/* Until a break; its cause. */
static const char *until_broken(struct world *w)
{
    struct slsr_err err = {0, ""};

    while (turn(w, &err) == 0)
        assert_true(transport_settled(w->t) == 1);
    assert_int_equal(slsr_err_class(err.code), SLSR_CLASS_RETRY);
    return transport_cause(w->t);
}

/* --- what must hold --- */

static void sizes(int family)
{
    enum { LONG = 20 };
    const size_t largest = family == AF_INET6 ? LARGEST_V6 : LARGEST;
    struct transport_dead dead;
    struct world w;
    unsigned found = 0;

    start(&w, family, SETTLE_MS);
    add(&w, SMALL);
    add(&w, largest);
    for (int i = 0; i < LONG; i++)
        add(&w, largest + 1);
    add(&w, SMALL);
    offer(&w, 1);
    while (found < LONG || !transport_ready(w.t)) {
        assert_int_equal(turn(&w, NULL), 0);
        while (transport_take_dead(w.t, &dead)) {
            assert_true(dead.seq == 3 + found++);
            assert_int_equal(dead.bytes, largest + 1);
        }
    }
    settle(&w, w.count + 1);
    assert_int_equal(receive(&w), SMALL);
    assert_int_equal(receive(&w), largest);
    assert_int_equal(receive(&w), SMALL);
    assert_int_equal(transport_counts(w.t).dead_frames, LONG);
    finish(&w);
}

static void test_sizes(void **state)
{
    (void)state;
    sizes(AF_INET);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static void refused(int family)
{
    struct world w;

    start(&w, family, 60000);
    leave(&w);
    add(&w, SMALL);
    offer(&w, 1);
    assert_string_equal(until_broken(&w), "refused");
    assert_int_equal(transport_phase(w.t), SLSR_PHASE_IDLE);
    assert_int_equal(transport_poll(w.t, NULL), 0);
    w.target.settle_ms = SETTLE_MS;
    listen_on(&w);
    connect_on(&w);
    offer(&w, 1);
    settle(&w, 2);
    assert_int_equal(receive(&w), SMALL);
    assert_int_equal(transport_counts(w.t).resent_frames, 1);
    finish(&w);
}

static void test_refused(void **state)
{
    (void)state;
    refused(AF_INET);
}

static void test_ipv6(void **state)
{
    (void)state;
    if (!has_ipv6())
        skip();
    sizes(AF_INET6);
    refused(AF_INET6);
}

/* With settle 0 all counts at once: then a refusal is late, and the next datagram still goes. */
static void test_late_refusal(void **state)
{
    struct world w;

    (void)state;
    start(&w, AF_INET, 0);
    leave(&w);
    add(&w, SMALL);
    offer(&w, 1);
    settle(&w, 2);
    listen_on(&w);
    offer(&w, 2);
    settle(&w, 3);
    assert_int_equal(receive(&w), SMALL);
    assert_int_equal(transport_skip(w.t, 9, clock_mono_ms(), NULL), 0);
    settle(&w, 9);
    finish(&w);
}

static bool run(const char *command)
{
    int rc = system(command); /* NOLINT(cert-env33-c): fixed text, in a test */

    return rc == 0;
}

/* A slow interface: the queue behind it takes `limit` bytes, then the kernel drops, and says so;
 * a queue without an end fills the socket instead. */
static void slow_interface(const char *limit)
{
    char command[160];
    struct world w;

    if (!apart)
        skip();
    snprintf(command, sizeof command, "tc qdisc add dev lo root tbf rate 4mbit burst 3000 limit %s",
             limit);
    start(&w, AF_INET, SETTLE_MS);
    for (int i = 0; i < COUNT; i++)
        add(&w, 1000);
    assert_true(run(command));
    for (uint64_t first = 1; first < 8 * COUNT; first += COUNT) {
        struct slsr_err err = {0, ""};

        offer(&w, first);
        while (!transport_ready(w.t))
            if (turn(&w, &err) != 0)
                fail_msg("%s", err.text);
    }
    for (int i = 0; i < 8 * COUNT; i++)
        assert_int_equal(receive(&w), 1000);
    settle(&w, 8 * COUNT + 1);
    assert_true(run("tc qdisc del dev lo root"));
    assert_int_equal(transport_counts(w.t).sent_frames, 8 * COUNT);
    finish(&w);
}

static void test_full_queue(void **state)
{
    (void)state;
    slow_interface("8000");
}

static void test_full_socket(void **state)
{
    (void)state;
    slow_interface("4000000");
}

static void test_unreachable(void **state)
{
    struct world w;

    (void)state;
    if (!apart)
        skip();
    start(&w, AF_INET, 60000);
    add(&w, SMALL);
    assert_true(run("ip addr flush dev lo && ip link set lo down"));
    offer(&w, 1);
    assert_string_equal(until_broken(&w), "unreachable");
    assert_true(run("ip link set lo up"));
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ipv6),        cmocka_unit_test(test_late_refusal),
        cmocka_unit_test(test_full_queue),  cmocka_unit_test(test_full_socket),
        cmocka_unit_test(test_unreachable),
    };

    apart = unshare(CLONE_NEWNET) == 0 && run("ip link set lo up && tc qdisc show >/dev/null");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
