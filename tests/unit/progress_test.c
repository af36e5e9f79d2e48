/* Who is late, by a clock that is wound by hand: marks, waits with an end, waits without one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>

#include <cmocka.h>

#include "slsrelay/stop.h"

#include "base/clock.h"
#include "base/progress.h"

enum { LIMIT_MS = 120000, DAY_MS = 86400000 };

static void expect(size_t stuck, int64_t oldest_ms, const char *who)
{
    struct progress_report report;

    progress_look(LIMIT_MS, &report);
    assert_int_equal(report.stuck, stuck);
    assert_int_equal(report.oldest_ms, oldest_ms);
    assert_string_equal(report.who, who);
}

/* A second thread that registers, waits to be let on, and ends. */
struct other {
    pthread_t thread;
    struct slsr_stop ready, go;
    bool parks;
};

static void *other_run(void *arg)
{
    struct other *other = arg;

    progress_begin("the other");
    if (other->parks)
        progress_park();
    slsr_stop_request(&other->ready);
    while (!slsr_stop_requested(&other->go)) /* no clock_poll: that would mark */
        poll(&(struct pollfd){.fd = other->go.fd, .events = POLLIN}, 1, -1);
    progress_end();
    return NULL;
}

static void other_start(struct other *other, bool parks)
{
    *other = (struct other){.parks = parks};
    assert_int_equal(slsr_stop_init(&other->ready, NULL), 0);
    assert_int_equal(slsr_stop_init(&other->go, NULL), 0);
    assert_int_equal(pthread_create(&other->thread, NULL, other_run, other), 0);
    poll(&(struct pollfd){.fd = other->ready.fd, .events = POLLIN}, 1, -1);
}

static void other_end(struct other *other)
{
    slsr_stop_request(&other->go);
    pthread_join(other->thread, NULL);
    slsr_stop_fini(&other->ready);
    slsr_stop_fini(&other->go);
}

static void a_silent_thread_is_late(void **state)
{
    (void)state;
    expect(0, 0, "nobody");
    progress_mark(); /* of nobody's concern before progress_begin */
    progress_begin("me");
    expect(0, 0, "nobody");
    clock_wind(LIMIT_MS - 1);
    expect(0, LIMIT_MS - 1, "me");
    clock_wind(1);
    expect(1, LIMIT_MS, "me");
    progress_mark();
    expect(0, 0, "nobody");
    clock_wind(DAY_MS);
    expect(1, DAY_MS, "me");
    progress_end();
    expect(0, 0, "nobody");
}

static void a_slow_one_is_not(void **state)
{
    (void)state;
    progress_begin("slow");
    for (int i = 0; i < 1000; i++) {
        clock_wind(LIMIT_MS - 1);
        expect(0, LIMIT_MS - 1, "slow");
        progress_mark();
    }
    progress_end();
}

static void a_wait_says_its_end(void **state)
{
    (void)state;
    progress_begin("waiter");
    progress_wait(clock_mono_ms() + DAY_MS);
    clock_wind(DAY_MS);
    expect(0, 0, "nobody");
    clock_wind(LIMIT_MS); /* it should have come back */
    expect(1, LIMIT_MS, "waiter");
    progress_park();
    clock_wind(100 * (int64_t)DAY_MS);
    expect(0, 0, "nobody");
    progress_mark();
    clock_wind(LIMIT_MS);
    expect(1, LIMIT_MS, "waiter");
    progress_end();
}

static void the_laziest_is_named_and_the_rest_counted(void **state)
{
    struct other other;
    char comm[16];

    (void)state;
    other_start(&other, false);
    clock_wind(1000);
    progress_begin("a thread with quite a long name");
    assert_int_equal(prctl(PR_GET_NAME, comm), 0);
    assert_string_equal(comm, "a thread with q");
    clock_wind(LIMIT_MS - 1000);
    expect(1, LIMIT_MS, "the other");
    clock_wind(1000);
    expect(2, LIMIT_MS + 1000, "the other");
    other_end(&other);
    expect(1, LIMIT_MS, "a thread with quite a long name");
    other_start(&other, true); /* in the slot that is free again: nothing old clings to it */
    clock_wind(DAY_MS);
    expect(1, LIMIT_MS + DAY_MS, "a thread with quite a long name");
    other_end(&other);
    progress_end();
}

static void too_many_are_not_watched(void **state)
{
    static struct other others[PROGRESS_MAX + 4];
    struct progress_report report;

    (void)state;
    for (size_t i = 0; i < PROGRESS_MAX + 4; i++)
        other_start(&others[i], false);
    clock_wind(LIMIT_MS);
    progress_look(LIMIT_MS, &report);
    assert_int_equal(report.stuck, PROGRESS_MAX);
    for (size_t i = 0; i < PROGRESS_MAX + 4; i++)
        other_end(&others[i]);
    expect(0, 0, "nobody");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_thread_is_late),
        cmocka_unit_test(a_slow_one_is_not),
        cmocka_unit_test(a_wait_says_its_end),
        cmocka_unit_test(the_laziest_is_named_and_the_rest_counted),
        cmocka_unit_test(too_many_are_not_watched),
    };

    clock_freeze(1700000000000);
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
