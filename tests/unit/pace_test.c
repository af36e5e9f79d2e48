/* The pace on a hand-wound clock: means to the frame, bursts never above the bucket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "send/pace.h"

enum { FRAMES = 4096, FRAME_BYTES = 250, SECONDS = 60 };

static uint32_t ends[FRAMES];

struct result {
    uint64_t frames, bytes;
    uint32_t largest; /* frames at one moment */
    uint64_t wakes;
};

/* Always more to send, woken when due, for a minute; then again from `idle_ms` of silence. */
static struct result run(const struct slsr_rate_config *rate, int64_t frames_s, bool backlog,
                         int64_t idle_ms)
{
    struct result r = {0};
    struct pace p;
    int64_t now = 1000000, end;

    for (uint32_t i = 0; i < FRAMES; i++)
        ends[i] = (i + 1) * FRAME_BYTES;
    pace_init(&p, rate, frames_s, now);
    now += idle_ms;
    for (end = now + SECONDS * 1000; now < end; r.wakes++) {
        int64_t due = pace_due_ms(&p, now, backlog);
        uint32_t n;

        assert_true(due >= 0 && due < 2000);
        now += due;
        n = pace_take(&p, now, backlog, ends, 0, FRAMES);
        assert_true(n > 0); /* due means due */
        r.frames += n;
        r.bytes += (uint64_t)n * FRAME_BYTES;
        if (n > r.largest)
            r.largest = n;
        if (pace_due_ms(&p, now, backlog) == 0 && n == FRAMES)
            break; /* no limit */
    }
    return r;
}

static void test_messages(void **state)
{
    static const int64_t rates[] = {1, 7, 50, 1000, 33333};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct slsr_rate_config rate = {.messages = rates[i]};
        struct result r = run(&rate, 0, false, 0);
        struct result late = run(&rate, 0, false, 3600 * 1000);
        double want = (double)rates[i] * SECONDS;

        assert_true((double)r.frames >= want * 0.98 - 1 && (double)r.frames <= want * 1.02 + 1);
        assert_true(late.largest <= (rates[i] >= 10 ? rates[i] / 10 : 1));
        assert_true((double)late.frames <= want * 1.02 + (double)late.largest + 1);
        assert_true(r.wakes <= SECONDS * 51);
    }
}

static void test_bytes(void **state)
{
    static const int64_t rates[] = {1000, 100000, 5000000};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct slsr_rate_config rate = {.bytes = rates[i]};
        struct result r = run(&rate, 0, false, 0);
        double want = (double)rates[i] * SECONDS;

        assert_true((double)r.bytes >= want * 0.98 - FRAME_BYTES &&
                    (double)r.bytes <= want * 1.02 + FRAME_BYTES);
    }
}

/* The smallest limit counts; a backlog has its own on top. */
static void test_together(void **state)
{
    struct slsr_rate_config rate = {.messages = 1000, .bytes = 1000000, .backlog_messages = 100};
    struct slsr_rate_config none = {0};
    struct result live, backlog, replay;

    (void)state;
    live = run(&rate, 0, false, 0);
    backlog = run(&rate, 0, true, 0);
    replay = run(&rate, 20, true, 0);
    assert_in_range(live.frames, 58800, 61200);
    assert_in_range(backlog.frames, 5880, 6120);
    assert_in_range(replay.frames, 1176, 1224);
    assert_int_equal(run(&none, 0, true, 0).frames, FRAMES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
