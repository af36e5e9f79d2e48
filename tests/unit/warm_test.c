/* Idle blocks: the last given comes first, small needs get no large block, what waits is bounded,
 * and no block is in two hands. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/warm.h"

enum { MIB = 1024 * 1024, THREADS = 8, ROUNDS = 3000 };

/* Under a sanitizer nothing waits. */
static bool keeps(void)
{
    size_t size;

    warm_trim();
    warm_give(warm_take(MIB, &size), MIB);
    return warm_idle() > 0;
}

static void the_last_given_comes_first(void **state)
{
    size_t size;
    void *a = warm_take(4 * MIB, &size), *b, *c;

    (void)state;
    assert_int_equal(size, 4 * MIB);
    b = warm_take(5 * MIB, &size);
    assert_int_equal(size, 5 * MIB);
    c = warm_take(1, &size);
    assert_int_equal(size, WARM_BLOCK_MIN);
    if (!keeps()) {
        free(a);
        free(b);
        free(c);
        return;
    }
    warm_trim();
    warm_give(a, 4 * MIB);
    warm_give(b, 5 * MIB);
    warm_give(c, WARM_BLOCK_MIN);
    warm_give(NULL, 0);
    assert_int_equal(warm_idle(), 9 * MIB + WARM_BLOCK_MIN);
    assert_ptr_equal(warm_take(3 * MIB, &size), b);
    assert_int_equal(size, 5 * MIB);
    assert_ptr_equal(warm_take(3 * MIB, &size), a);
    assert_int_equal(size, 4 * MIB);
    warm_give(a, 4 * MIB);
    assert_ptr_not_equal(c, warm_take(MIB, &size)); /* a new one: 4 MiB are too good for it */
    assert_int_equal(size, MIB);
    assert_int_equal(warm_idle(), 4 * MIB + WARM_BLOCK_MIN);
    free(b);
    warm_trim();
    assert_int_equal(warm_idle(), 0);
}

/* Pulls differ a little in size: their blocks fit each other all the same. */
static void needs_that_differ_a_little_share_a_block(void **state)
{
    size_t size;
    void *a = warm_take(5 * MIB + 1, &size);

    (void)state;
    assert_int_equal(size, 5 * MIB + MIB / 2);
    if (!keeps()) {
        free(a);
        return;
    }
    warm_trim();
    warm_give(a, size);
    assert_ptr_equal(warm_take(5 * MIB + MIB / 3, &size), a);
    free(a);
}

static void what_waits_is_bounded(void **state)
{
    const size_t size = 5 * MIB;
    void *last = NULL;
    size_t got;

    (void)state;
    if (!keeps())
        return;
    for (int i = 0; i < 100; i++) {
        last = malloc(size);
        assert_non_null(last);
        warm_give(last, size);
        assert_true(warm_idle() <= WARM_IDLE_BYTES);
    }
    assert_int_equal(warm_idle(), WARM_IDLE_BYTES / (5 * MIB) * size);
    assert_ptr_equal(warm_take(size, &got), last);
    free(last);
    for (int i = 0; i < 1000; i++) /* small ones: bounded by their number */
        warm_give(malloc(WARM_BLOCK_MIN), WARM_BLOCK_MIN);
    assert_true(warm_idle() <= WARM_IDLE_BYTES);
    warm_give(malloc(WARM_IDLE_BYTES + 1), WARM_IDLE_BYTES + 1); /* never waits */
    assert_true(warm_idle() <= WARM_IDLE_BYTES);
    warm_trim();
}

static void *churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < ROUNDS; i++) {
        size_t size[2];
        unsigned char *p[2];

        for (int k = 0; k < 2; k++) {
            p[k] = warm_take((size_t)(rand_r(&seed) % (4 * MIB)), &size[k]);
            p[k][0] = p[k][size[k] - 1] = (unsigned char)(seed + (unsigned)k);
            p[k][size[k] / 2] = (unsigned char)(uintptr_t)arg;
        }
        for (int k = 0; k < 2; k++) {
            assert_int_equal(p[k][size[k] / 2], (unsigned char)(uintptr_t)arg);
            warm_give(p[k], size[k]);
        }
    }
    return NULL;
}

static void no_block_is_in_two_hands(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(warm_idle() <= WARM_IDLE_BYTES);
    warm_trim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_given_comes_first),
                                       cmocka_unit_test(needs_that_differ_a_little_share_a_block),
                                       cmocka_unit_test(what_waits_is_bounded),
                                       cmocka_unit_test(no_block_is_in_two_hands)};

    return cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
