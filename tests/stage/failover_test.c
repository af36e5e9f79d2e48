/* Several receivers of one target, over real sockets and a real spool: failover under load and back
 * once, balance by shard, a limit shared, and the troubles in which a server would never be left or
 * never be found again. Faults are triggered by reports of the sender, never by time. */
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/count.h"
#include "frames.h"
#include "receiver.h"
#include "send/lanes.h"
#include "slsrelay/deliver.h"

enum { SHARDS = 4, SERVERS = 2 };

static char siem[] = "siem", loopback[] = "127.0.0.1", one_test[] = "one.test";

struct world {
    char dir[FRAMES_DIR];
    struct slsr_spool *spool;
    struct slsr_stop stop;
    struct slsr_target_config target;
    struct receiver *rx[SERVERS];
    char second[64];
    char *servers[1];
    struct slsr_target_state last;
    unsigned frames, fds;
    /* what the report has seen */
    unsigned nameless, moves;
    uint64_t resent_at_move;
    char server[128];
    /* what it shall do */
    void (*act)(struct world *w);
    int turn;
    unsigned enough; /* frames at the second, then the first comes back */
};

/* --- what the product asks the system for --- */

static _Thread_local bool counts_polls;
static unsigned polls;

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);

static int counted(struct pollfd *fds, nfds_t n, int timeout)
{
    const struct timespec wait = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};

    if (counts_polls)
        polls++;
    return ppoll(fds, n, timeout < 0 ? NULL : &wait, NULL);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    return counted(fds, n, timeout);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
    (void)size;
    return counted(fds, n, timeout);
}

static atomic_bool no_names; /* the name service is away */

/* *.test is this machine. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    const bool ours = strstr(host, ".test") != NULL && (hints->ai_flags & AI_NUMERICHOST) == 0;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (ours && no_names)
        return EAI_AGAIN;
    return real(ours ? loopback : host, port, hints, out);
}

/* --- the world --- */

static void setup(struct world *w, unsigned frames)
{
    struct slsr_err err;

    memset(w, 0, sizeof *w);
    w->fds = frames_open_fds();
    frames_spool(&w->spool, w->dir, frames, SHARDS);
    assert_int_equal(slsr_stop_init(&w->stop, &err), 0);
    w->frames = frames;
    for (int i = 0; i < SERVERS; i++) {
        w->rx[i] = calloc(1, sizeof *w->rx[i]);
        assert_non_null(w->rx[i]);
        receiver_bind(w->rx[i]);
    }
    snprintf(w->second, sizeof w->second, "127.0.0.1:%d", w->rx[1]->port);
    w->servers[0] = w->second;
    w->target = frames_target();
    w->target.port = w->rx[0]->port;
    w->target.servers = w->servers;
    w->target.server_count = 1;
    w->target.failback_after_ms = 100;
    no_names = false;
    count_reset();
}

static void teardown(struct world *w)
{
    for (int i = 0; i < SERVERS; i++) {
        receiver_fini(w->rx[i]);
        if (w->rx[i]->listener >= 0 && !w->rx[i]->running && w->rx[i]->connections == 0)
            close(w->rx[i]->listener); /* never started */
        free(w->rx[i]);
    }
    slsr_spool_close(w->spool);
    slsr_stop_fini(&w->stop);
    frames_wipe(w->dir);
    if (w->fds != 0)
        assert_int_equal(frames_open_fds(), w->fds);
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct world *w = ctx;

    assert_true(state->acked >= w->last.acked);
    w->nameless += state->phase == SLSR_PHASE_BACKOFF && state->cause[0] == '\0';
    if (strcmp(state->server, w->server) != 0) {
        snprintf(w->server, sizeof w->server, "%s", state->server);
        w->moves++;
        w->resent_at_move = state->resent_frames;
    }
    w->last = *state;
    if (w->act != NULL)
        w->act(w);
    if (state->acked > w->frames)
        slsr_stop_request(&w->stop);
}

static struct slsr_delivery delivery(struct world *w)
{
    return (struct slsr_delivery){.target = &w->target,
                                  .spool = w->spool,
                                  .from = 1,
                                  .to = UINT64_MAX,
                                  .report = report,
                                  .ctx = w,
                                  .stop = &w->stop};
}

/* Everything arrived somewhere, and within a shard in order by first arrival. */
static void check_complete(const struct world *w)
{
    unsigned last[SHARDS] = {0}, lost = 0, disorder = 0;

    for (unsigned i = 1; i <= w->frames; i++) {
        const unsigned a = w->rx[0]->first[i], b = w->rx[1]->first[i];
        const unsigned first = a == 0 || (b != 0 && b < a) ? b : a;
        const unsigned shard = frames_shard(i, SHARDS);

        lost += first == 0;
        disorder += first != 0 && first < last[shard];
        last[shard] = first != 0 ? first : last[shard];
    }
    assert_int_equal(lost, 0);
    assert_int_equal(disorder, 0);
    for (int i = 0; i < SERVERS; i++) {
        assert_int_equal(w->rx[i]->disorder, 0);
        assert_int_equal(w->rx[i]->garbage, 0);
    }
}

/* --- failover --- */

static void die_and_come_back(struct world *w)
{
    if (w->turn == 0 && w->rx[0]->frames > 3000) {
        receiver_die(w->rx[0]);
        w->turn = 1;
        w->enough = w->rx[1]->frames + 6000;
    } else if (w->turn == 1 && w->rx[1]->frames > w->enough) {
        receiver_bind(w->rx[0]);
        receiver_start(w->rx[0]);
        w->turn = 2;
    }
}

/* The first dies under load, the second takes over; the first comes back and is used again: once,
 * and nothing is sent twice for that. */
static void test_failover_under_load(void **state)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};

    (void)state;
    setup(&w, 40000);
    d = delivery(&w);
    d.rate_frames_s = 12000;
    w.act = die_and_come_back;
    receiver_start(w.rx[0]);
    receiver_start(w.rx[1]);
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ESTOPPED);
    assert_int_equal(w.turn, 2);
    assert_int_equal(w.last.acked, w.frames + 1);
    assert_int_equal(w.moves, 3); /* the first, the second, the first */
    assert_string_not_equal(w.server, w.second);
    assert_int_equal(w.last.resent_frames, w.resent_at_move);
    assert_int_equal(w.nameless, 0);
    check_complete(&w);
    teardown(&w);
}

static void stop_after_attempts(struct world *w)
{
    if (count_total(COUNT_TARGET_RECONNECTS) >= 6)
        slsr_stop_request(&w->stop);
}

/* Nobody is there: each attempt has its reason, in the state and in the metrics. */
static void test_each_attempt_has_a_cause(void **state)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};

    (void)state;
    setup(&w, 10);
    d = delivery(&w);
    w.act = stop_after_attempts;
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ESTOPPED);
    assert_int_equal(w.nameless, 0);
    assert_string_equal(w.last.cause, "refused");
    assert_true(count_value(COUNT_TARGET_RECONNECTS, siem, "refused") >= 6);
    assert_true(count_value(COUNT_TARGET_RECONNECTS, siem, "") == 0);
    teardown(&w);
}

/* The first takes connections and ends them, like a balancer with nobody behind it: at once, or
 * when data comes. It is left, and no frame is blamed. */
static void left(bool slam)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};

    setup(&w, 2000);
    d = delivery(&w);
    w.target.failback_after_ms = 60000;
    w.rx[0]->slam = slam;
    w.rx[0]->bite = !slam;
    receiver_start(w.rx[0]);
    receiver_start(w.rx[1]);
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ESTOPPED);
    assert_int_equal(w.last.acked, w.frames + 1);
    assert_int_equal(w.rx[0]->frames, 0);
    assert_true(count_total(COUNT_FRAMES_DEAD) == 0);
    check_complete(&w);
    teardown(&w);
}

static void test_slammer_is_left(void **state)
{
    (void)state;
    left(true);
}

static void test_biter_is_left(void **state)
{
    (void)state;
    left(false);
}

static void second_dies_twice(struct world *w)
{
    if (w->last.phase == SLSR_PHASE_BACKOFF && w->turn > 0 && !w->rx[1]->running) {
        receiver_bind(w->rx[1]);
        receiver_start(w->rx[1]);
    } else if (w->turn < 5 && w->last.phase == SLSR_PHASE_UP && w->rx[1]->running &&
               w->rx[1]->frames >= 1000U * (unsigned)(w->turn + 1)) {
        w->turn++;
        receiver_die(w->rx[1]);
    }
}

/* The first is away, the second breaks now and then: the pauses are slept, not spun through. */
static void test_pauses_cost_nothing(void **state)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};

    (void)state;
    setup(&w, 12000);
    d = delivery(&w);
    d.rate_frames_s = 6000;
    w.target.retry_initial_ms = w.target.retry_max_ms = 500;
    w.act = second_dies_twice;
    receiver_start(w.rx[1]);
    polls = 0;
    counts_polls = true;
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ESTOPPED);
    counts_polls = false;
    assert_int_equal(w.last.acked, w.frames + 1);
    assert_int_equal(w.turn, 5);
    check_complete(&w);
    /* A few for each frame that goes alone and for each sample; a pause spun through has 100,000.
     */
    print_message("%u polls\n", polls);
    assert_true(polls < w.frames + 8000);
    teardown(&w);
}

static void names_go_away(struct world *w)
{
    if (w->turn == 0 && w->rx[0]->frames > 500) {
        receiver_die(w->rx[0]);
        no_names = true;
        w->turn = 1;
    } else if (w->turn == 1 && count_total(COUNT_TARGET_RECONNECTS) >= 5) {
        receiver_bind(w->rx[0]);
        receiver_start(w->rx[0]);
        w->turn = 2;
    }
}

/* Receiver and name service go away together; the receiver is back first. Meanwhile the second
 * server was tried, and its transport knows nothing of the first one's addresses. */
static void test_addresses_are_remembered(void **state)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};

    (void)state;
    setup(&w, 4000);
    d = delivery(&w);
    d.rate_frames_s = 4000;
    w.fds = 0; /* whoever still resolves has one of its own */
    w.target.host = one_test;
    snprintf(w.second, sizeof w.second, "two.test:%d", w.rx[1]->port);
    w.act = names_go_away;
    receiver_start(w.rx[0]);
    assert_int_equal(slsr_deliver_run(&d, &err), SLSR_ESTOPPED);
    assert_int_equal(w.turn, 2);
    assert_int_equal(w.last.acked, w.frames + 1);
    check_complete(&w);
    teardown(&w);
}

/* --- balance --- */

/* Which of the receivers has seen frames of this shard: 1, 2 or both (3). */
static unsigned where(const struct world *w, unsigned shard)
{
    unsigned mask = 0;

    for (unsigned i = 1; i <= w->frames; i++)
        if (frames_shard(i, SHARDS) == shard)
            mask |= (w->rx[0]->seen[i] > 0 ? 1U : 0U) | (w->rx[1]->seen[i] > 0 ? 2U : 0U);
    return mask;
}

static void test_balance(void **state)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};
    unsigned at[4] = {0};

    (void)state;
    setup(&w, 20000);
    d = delivery(&w);
    receiver_start(w.rx[0]);
    receiver_start(w.rx[1]);
    assert_int_equal(lanes_run(&d, &err), SLSR_ESTOPPED);
    assert_int_equal(w.last.acked, w.frames + 1);
    assert_int_equal(w.last.sent_frames, w.frames);
    assert_int_equal(w.last.resent_frames, 0);
    check_complete(&w);
    for (unsigned shard = 0; shard < SHARDS; shard++)
        at[where(&w, shard)]++;
    assert_int_equal(at[1], SHARDS / 2);
    assert_int_equal(at[2], SHARDS / 2);
    teardown(&w);
}

/* One of two dies under load and comes back: its shards live at the other meanwhile. */
static void test_balance_with_one_down(void **state)
{
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};

    (void)state;
    setup(&w, 40000);
    d = delivery(&w);
    d.rate_frames_s = 16000;
    w.act = die_and_come_back;
    receiver_start(w.rx[0]);
    receiver_start(w.rx[1]);
    assert_int_equal(lanes_run(&d, &err), SLSR_ESTOPPED);
    assert_int_equal(w.turn, 2);
    assert_int_equal(w.last.acked, w.frames + 1);
    assert_true(w.last.reconnects >= 1);
    /* For a while all shards were at the second. */
    for (unsigned shard = 0; shard < SHARDS; shard++)
        assert_int_equal(where(&w, shard) & 2U, 2U);
    check_complete(&w);
    teardown(&w);
}

/* The limit is the target's, not each server's. A slow machine takes longer, never shorter. */
static void test_lanes_share_the_limit(void **state)
{
    const int64_t rate = 1200;
    struct world w;
    struct slsr_delivery d;
    struct slsr_err err = {0, ""};
    int64_t began, least;

    (void)state;
    setup(&w, SHARDS * FRAMES_TURN);
    d = delivery(&w);
    w.target.rate.messages = rate;
    receiver_start(w.rx[0]);
    receiver_start(w.rx[1]);
    began = clock_mono_ms();
    assert_int_equal(lanes_run(&d, &err), SLSR_ESTOPPED);
    least = ((int64_t)w.frames - rate / 10) * 1000 / rate; /* the buckets were full */
    assert_true(clock_mono_ms() - began >= least);
    assert_int_equal(w.last.acked, w.frames + 1);
    check_complete(&w);
    teardown(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failover_under_load),
        cmocka_unit_test(test_each_attempt_has_a_cause),
        cmocka_unit_test(test_slammer_is_left),
        cmocka_unit_test(test_biter_is_left),
        cmocka_unit_test(test_pauses_cost_nothing),
        cmocka_unit_test(test_addresses_are_remembered),
        cmocka_unit_test(test_balance),
        cmocka_unit_test(test_balance_with_one_down),
        cmocka_unit_test(test_lanes_share_the_limit),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one alone, by its name */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
