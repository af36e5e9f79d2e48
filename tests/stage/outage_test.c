/* The receiver is away for 48 hours, on a hand-wound clock.
 *
 * poll() of this program does not sleep for the delivering thread: when nothing is ready it winds
 * the clock by what the caller wanted to wait. connect() notes when it was called: these are the
 * attempts. What must hold (docs/delivery.md, "Outages"): attempts never end, each pause is random
 * within its bound, the pauses fill the bound evenly, nothing is acknowledged meanwhile, and the
 * connection is back within one longest pause of the receiver. */
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "receiver.h"
#include "slsrelay/deliver.h"

enum { FRAMES = 500, INITIAL_MS = 250, MAX_MS = 60000, FLOOR_MS = 50, STEPS_MAX = 20000 };
#define OUTAGE_MS (INT64_C(48) * 3600 * 1000)
#define REAL_NS   10000000 /* a look at the receiver's thread, which lives in real time */

struct world {
    char dir[64];
    struct slsr_spool *spool;
    struct receiver *rx;
    int64_t back_ms, up_ms; /* monotonic: the receiver is back; the connection is */
    bool saw_refused;
    uint64_t acked;
};

static _Thread_local struct world *winds; /* of the delivering thread only */
static int64_t attempts_ms[STEPS_MAX];
static unsigned attempts;

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);

static int wound(struct pollfd *fds, nfds_t n, int timeout)
{
    struct timespec wait = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
    int rc;

    if (winds == NULL)
        return ppoll(fds, n, timeout < 0 ? NULL : &wait, NULL);
    wait = (struct timespec){.tv_nsec = winds->rx->running && timeout > 0 ? REAL_NS : 0};
    rc = ppoll(fds, n, &wait, NULL);
    if (rc == 0 && timeout > 0)
        clock_wind(timeout);
    return rc;
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    return wound(fds, n, timeout);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
    (void)size;
    return wound(fds, n, timeout);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (winds != NULL && winds->up_ms == 0) {
        assert_true(attempts < STEPS_MAX);
        attempts_ms[attempts++] = clock_mono_ms();
        if (winds->back_ms == 0 && clock_mono_ms() - attempts_ms[0] >= OUTAGE_MS) {
            /* It comes back right behind an attempt: the longest that one can have to wait. */
            const int rc = (int)syscall(SYS_connect, fd, addr, len);

            winds->back_ms = clock_mono_ms();
            receiver_start(winds->rx);
            return rc;
        }
    }
    return (int)syscall(SYS_connect, fd, addr, len);
}

static int wipe_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void fill(struct world *w)
{
    struct slsr_checkpoint cp = {.stream = {"p", "l", 0}, .cursor = "MQ=="};
    struct slsr_frame_meta meta[FRAMES] = {0};
    static char data[FRAMES * 64];
    struct slsr_batch batch = {.data = data, .size = sizeof data, .meta = meta, .cursor = "MQ=="};
    struct slsr_err err;

    for (unsigned i = 1; i <= FRAMES; i++) {
        char text[48];
        int n = snprintf(text, sizeof text, "<14>1 - h a - - - n=%u; .", i);

        batch.used +=
            (size_t)snprintf(data + batch.used, sizeof data - batch.used, "%d %s", n, text);
        meta[batch.frame_count++].end = (uint32_t)batch.used;
    }
    if (slsr_spool_append(w->spool, &batch, &cp, NULL, &err) != 0)
        fail_msg("%s", err.text);
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct world *w = ctx;

    w->acked = state->acked;
    if (state->phase == SLSR_PHASE_UP && w->up_ms == 0) {
        w->up_ms = clock_mono_ms();
        return;
    }
    if (w->up_ms != 0)
        return;
    assert_int_equal(state->acked, 1);
    if (state->phase != SLSR_PHASE_BACKOFF)
        return;
    w->saw_refused = true;
    assert_string_equal(state->cause, "refused");
    /* One outage, however often it was tried. */
    assert_true(clock_wall_ms() - state->cause_since_ms >= clock_mono_ms() - attempts_ms[0] - 1000);
}

/* Every pause within its bound; once the bound is the longest pause, evenly spread below it. */
static void check_pauses(void)
{
    double sum = 0;
    unsigned grown = 0, quarters[4] = {0};

    for (unsigned k = 0; k + 1 < attempts; k++) {
        int64_t pause = attempts_ms[k + 1] - attempts_ms[k];
        int64_t bound = k < 8 && INITIAL_MS << k < MAX_MS ? INITIAL_MS << k : MAX_MS;

        assert_in_range(pause, FLOOR_MS, bound);
        if (bound < MAX_MS)
            continue;
        grown++;
        sum += (double)pause;
        quarters[pause * 4 / (MAX_MS + 1)]++;
    }
    /* Uniform in 50 ms .. 60 s: 30 s in the mean, 5,755 in 48 hours; give or take five sigma. */
    print_message(
        "%u attempts in 48 h, the grown pauses are %.2f s in the mean, quarters %u %u %u %u\n",
        attempts, sum / grown / 1000, quarters[0], quarters[1], quarters[2], quarters[3]);
    assert_in_range(attempts, 5530, 5990);
    for (int i = 0; i < 4; i++)
        assert_in_range(quarters[i], grown / 4 - 165, grown / 4 + 165);
}

static void test_two_days(void **state)
{
    static char name[] = "siem", host[] = "127.0.0.1";
    struct slsr_target_config target = {.name = name,
                                        .host = host,
                                        .connect_timeout_ms = 10000,
                                        .dead_timeout_ms = 20000,
                                        .stall_timeout_ms = 3600000,
                                        .settle_ms = 1000,
                                        .proof_interval_ms = 10000,
                                        .retry_initial_ms = INITIAL_MS,
                                        .retry_max_ms = MAX_MS,
                                        .retry_multiplier = 2};
    struct world w = {.dir = "/tmp/outage-test-XXXXXX"};
    struct slsr_spool_config config = {.path = w.dir, .max_size_bytes = 64 << 20};
    struct slsr_delivery d = {.target = &target, .from = 1, .to = FRAMES + 1, .report = report};
    struct slsr_err err = {0, ""};
    unsigned lost = 0;

    (void)state;
    w.rx = calloc(1, sizeof *w.rx);
    assert_non_null(w.rx);
    assert_non_null(mkdtemp(w.dir));
    if (slsr_spool_open(&w.spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        fail_msg("%s", err.text);
    fill(&w);
    receiver_bind(w.rx);
    target.port = w.rx->port;
    d.spool = w.spool;
    d.ctx = &w;
    clock_freeze(INT64_C(1800000000000));
    winds = &w;
    if (slsr_deliver_run(&d, &err) != 0)
        fail_msg("%s", err.text);
    winds = NULL;
    assert_true(w.saw_refused);
    check_pauses();
    print_message("connected %.2f s after the receiver was back\n",
                  (double)(w.up_ms - w.back_ms) / 1000);
    assert_in_range(w.up_ms - w.back_ms, 1, MAX_MS);
    for (unsigned i = 1; i <= FRAMES; i++)
        lost += w.rx->seen[i] == 0;
    assert_int_equal(lost, 0);
    assert_int_equal(w.rx->disorder, 0);
    assert_int_equal(w.acked, FRAMES + 1);
    receiver_fini(w.rx);
    slsr_spool_close(w.spool);
    nftw(w.dir, wipe_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w.rx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_days)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
