/* The rate of a target second by second: right from the first one on, and gone with the flow. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "send/rate.h"

static struct rate rate;
static uint64_t taken;
static int64_t now_ms;

static void begin(void)
{
    taken = 4711;
    now_ms = 1000000;
    rate_init(&rate, taken, now_ms);
}

/* frames come within ms, and somebody looks. */
static double pass(uint64_t frames, int64_t ms)
{
    taken += frames;
    now_ms += ms;
    rate_look(&rate, taken, now_ms);
    return rate.frames_s;
}

static bool near(double is, double wanted)
{
    return fabs(is - wanted) < wanted / 1000;
}

static void a_steady_flow_is_right_from_the_first_second(void **state)
{
    (void)state;
    begin();
    assert_true(near(pass(500, 1000), 500));
    for (int i = 0; i < 100; i++)
        assert_true(near(pass(600, 1200), 500));
}

/* Who starts waits for a connection and for logs first. */
static void silence_before_it_does_not_count(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 5; i++)
        assert_true(pass(0, 700) == 0);
    assert_true(pass(20, 40) == 0);
    assert_true(near(pass(480, 960), 500));
}

/* Less than a second is no measure: the figure stays, and the frames count at the next look. */
static void a_short_look_changes_nothing(void **state)
{
    (void)state;
    begin();
    assert_true(pass(400, 999) == 0);
    assert_true(near(pass(100, 1), 500));
    assert_true(near(pass(1000000, 10), 500));
}

static void it_follows_within_seconds(void **state)
{
    double last;

    (void)state;
    begin();
    for (int i = 0; i < 10; i++)
        last = pass(1000, 1000);
    for (int i = 0; i < 10; i++) {
        const double next = pass(100, 1000);

        assert_true(next < last && next > 100);
        last = next;
    }
    assert_true(last < 110);
}

/* An outage ends it; what comes behind is a new flow. */
static void silence_is_zero_and_the_next_flow_is_new(void **state)
{
    int seconds = 0;

    (void)state;
    begin();
    assert_true(near(pass(1000, 1000), 1000));
    while (pass(0, 1000) > 0)
        assert_true(++seconds < 60);
    assert_true(pass(0, 3600000) == 0);
    assert_true(near(pass(300, 1000), 300));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_flow_is_right_from_the_first_second),
        cmocka_unit_test(silence_before_it_does_not_count),
        cmocka_unit_test(a_short_look_changes_nothing),
        cmocka_unit_test(it_follows_within_seconds),
        cmocka_unit_test(silence_is_zero_and_the_next_flow_is_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
