/* When `tail -f` gives way to a writer, with times by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "yield.h"

enum { FRAME = 250 };
static const int64_t SECOND = INT64_C(1000000000);

/* A writer adds `came` bytes a second for `seconds`, a follower reads as it may. Returns what it
 * read. Reading itself takes no time but a microsecond. */
static uint64_t follow(struct yield *yield, uint64_t *end, int64_t *now, uint64_t came,
                       int64_t seconds)
{
    const int64_t until = *now + seconds * SECOND;
    const int64_t from = *now;
    const uint64_t first = *end;
    uint64_t count = 0;

    while (*now < until) {
        *end = first + came / FRAME * (uint64_t)(*now - from) / (uint64_t)SECOND;
        if (yield->at >= *end) { /* as the program does: nothing new, so it looks again later */
            *now += SECOND / 5;
            yield_look(yield, *end, *now);
            continue;
        }
        *now += 1000;
        count++;
        if (yield_read(yield, yield->at, 1, FRAME)) {
            yield_look(yield, *end, *now);
            *now += yield_wait(yield, *now);
        }
    }
    return count * FRAME;
}

static void test_pace(void **state)
{
    struct yield yield;
    uint64_t end = 1;
    int64_t now = 7 * SECOND;
    uint64_t read;

    (void)state;
    yield_begin(&yield, end, end, now);
    read = follow(&yield, &end, &now, 1000000000, 10);
    assert_in_range(read, YIELD_PACE_BYTES * 9, YIELD_PACE_BYTES * 11);
    /* the burst is over: what it left is read as fast as it can be, and all of it */
    read += follow(&yield, &end, &now, 0, 60);
    assert_int_equal(read, (end - 1) * FRAME);
    assert_int_equal(yield.at, end);
}

/* A flow that a relay has on a busy day is followed to the line. */
static void test_flow(void **state)
{
    struct yield yield;
    uint64_t end = 1;
    int64_t now = 0;

    (void)state;
    yield_begin(&yield, end, end, now);
    const uint64_t read = follow(&yield, &end, &now, YIELD_BUSY_BYTES - 1000000, 20);
    assert_true((end - 1) * FRAME - read < YIELD_BUSY_BYTES);
}

/* A search reads a run again behind each of its hits: counted once. */
static void test_again(void **state)
{
    struct yield yield;

    (void)state;
    yield_begin(&yield, 100, 100, 0);
    assert_false(yield_read(&yield, 100, 1000, 250000));
    for (uint64_t hit = 101; hit < 1100; hit++)
        assert_false(yield_read(&yield, hit, 1100 - hit, (1100 - hit) * 250));
    assert_int_equal(yield.bytes, 250000);
    assert_false(yield_read(&yield, 1050, 100, 25000)); /* half of it is new */
    assert_int_equal(yield.bytes, 262500);
    assert_int_equal(yield.frames, 1050);
    assert_int_equal(yield.at, 1150);
}

/* Nothing comes for a day, then a burst: the day does not make it look slow for long. */
static void test_idle(void **state)
{
    struct yield yield;
    uint64_t end = 1;
    int64_t now = 0;

    (void)state;
    yield_begin(&yield, end, end, now);
    (void)follow(&yield, &end, &now, 1000000, 2);
    (void)follow(&yield, &end, &now, 0, 86400);
    const uint64_t read = follow(&yield, &end, &now, 1000000000, 2);
    assert_in_range(read, YIELD_PACE_BYTES, YIELD_PACE_BYTES * 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
