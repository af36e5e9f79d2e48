/* source.memory: tokens are bounded, waiting ends, one oversized pull passes alone. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "consume/memory.h"

enum { WORKERS = 32, ROUNDS = 200, LIMIT = 1000 };

struct crowd {
    struct memory *memory;
    struct slsr_stop stop;
    _Atomic int64_t in_use, peak;
    _Atomic int decoding, most; /* at a time */
};

static void *work(void *arg)
{
    struct crowd *c = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    int64_t held = 0;

    for (int i = 0; i < ROUNDS; i++) {
        const int64_t want = 50 + rand_r(&seed) % 300; /* all at once would be 6 times the limit */
        int64_t now;
        int decoding;

        assert_int_equal(memory_take(c->memory, &c->stop, &held, want, true, NULL), 0);
        now = atomic_fetch_add(&c->in_use, want) + want;
        if (now > c->peak)
            c->peak = now;
        decoding = ++c->decoding;
        if (decoding > c->most)
            c->most = decoding;
        c->decoding--;
        c->in_use -= want;
        memory_set(c->memory, &held, 0);
        memory_decoded(c->memory);
    }
    return NULL;
}

static void a_crowd_is_noticed(void **state)
{
    enum { MANY = 10 };
    struct memory *memory = memory_acquire(state, LIMIT);
    bool busy[MANY] = {false};
    int first = 0;

    assert_true(memory_idle(memory));
    for (int i = 0; i < MANY; i++) {
        memory_busy(memory, &busy[i], true);
        memory_busy(memory, &busy[i], true); /* counted once */
        assert_true(busy[i]);
        assert_false(memory_idle(memory));
        if (first == 0 && memory_crowded(memory))
            first = i + 1;
    }
    assert_in_range(first, 3, MANY); /* two alone keep their buffers */
    for (int i = 0; i < MANY; i++)
        memory_busy(memory, &busy[i], false);
    assert_true(memory_idle(memory));
    assert_false(memory_crowded(memory));
    memory_busy(memory, &busy[0], true);
    assert_true(memory_alone(memory));
    memory_busy(memory, &busy[1], true);
    assert_false(memory_alone(memory));
    memory_release(memory);
}

static void a_crowd_never_takes_more_than_the_limit(void **state)
{
    struct crowd c = {.memory = memory_acquire(&c, LIMIT)};
    pthread_t threads[WORKERS];

    (void)state;
    assert_int_equal(slsr_stop_init(&c.stop, NULL), 0);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &c), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(c.peak <= LIMIT);
    assert_in_range(c.most, 1, sysconf(_SC_NPROCESSORS_ONLN) + 3);
    assert_int_equal(memory_used(c.memory), 0);
    assert_false(memory_wanted(c.memory));
    slsr_stop_fini(&c.stop);
    memory_release(c.memory);
}

static void one_huge_pull_passes_alone(void **state)
{
    struct slsr_stop stop = {.fd = -1};
    struct memory *m = memory_acquire(&stop, LIMIT);
    int64_t mine = 0, other = 0;

    (void)state;
    assert_int_equal(slsr_stop_init(&stop, NULL), 0);
    assert_true(memory_try(m, &other, 900)); /* kept by an idle worker */
    assert_int_equal(memory_take(m, &stop, &mine, 50 * LIMIT, true, NULL), 0);
    assert_false(memory_try(m, &other, 901)); /* nobody else grows meanwhile */
    memory_set(m, &mine, 0);
    memory_decoded(m);
    assert_true(memory_try(m, &other, 1000));
    memory_set(m, &other, 0);
    slsr_stop_fini(&stop);
    memory_release(m);
}

static void *wait_in_vain(void *arg)
{
    struct crowd *c = arg;
    int64_t held = 0;

    assert_int_equal(memory_take(c->memory, &c->stop, &held, 500, true, NULL), SLSR_ESTOPPED);
    return NULL;
}

static void stop_ends_the_waiting(void **state)
{
    struct crowd c = {.memory = memory_acquire(&c, LIMIT)};
    int64_t held = 0;
    pthread_t thread;

    (void)state;
    assert_int_equal(slsr_stop_init(&c.stop, NULL), 0);
    assert_int_equal(memory_take(c.memory, &c.stop, &held, 900, true, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_in_vain, &c), 0);
    while (!memory_wanted(c.memory))
        usleep(100);
    slsr_stop_request(&c.stop);
    pthread_join(thread, NULL);
    assert_int_equal(memory_used(c.memory), 900);
    memory_set(c.memory, &held, 0);
    memory_decoded(c.memory);
    slsr_stop_fini(&c.stop);
    memory_release(c.memory);
}

struct asking {
    struct crowd *c;
    int64_t held, want;
};

static void *ask(void *arg)
{
    struct asking *a = arg;

    assert_int_equal(memory_take(a->c->memory, &a->c->stop, &a->held, a->want, true, NULL), 0);
    return NULL;
}

static void who_fits_passes_who_does_not(void **state)
{
    struct crowd c = {.memory = memory_acquire(&c, LIMIT)};
    struct asking large = {&c, 0, 800}, small = {&c, 0, 200};
    int64_t held = 0;
    pthread_t first, second;

    (void)state;
    assert_int_equal(slsr_stop_init(&c.stop, NULL), 0);
    assert_int_equal(memory_take(c.memory, &c.stop, &held, 900, true, NULL), 0);
    assert_int_equal(pthread_create(&first, NULL, ask, &large), 0);
    while (!memory_wanted(c.memory))
        usleep(100);
    assert_int_equal(pthread_create(&second, NULL, ask, &small), 0);
    memory_set(c.memory, &held, 700);
    pthread_join(second, NULL);
    assert_int_equal(small.held, 200);
    assert_int_equal(large.held, 0);
    assert_int_equal(memory_used(c.memory), 900);
    memory_set(c.memory, &small.held, 0);
    memory_decoded(c.memory);
    assert_true(memory_wanted(c.memory)); /* 700 and 800 are still too much */
    memory_set(c.memory, &held, 100);
    pthread_join(first, NULL);
    assert_int_equal(memory_used(c.memory), 900);
    assert_false(memory_wanted(c.memory));
    memory_decoded(c.memory);
    memory_decoded(c.memory);
    slsr_stop_fini(&c.stop);
    memory_release(c.memory);
}

static void logstores_of_one_source_share(void **state)
{
    int source = 0;
    struct memory *one = memory_acquire(&source, LIMIT), *two = memory_acquire(&source, LIMIT);

    (void)state;
    assert_ptr_equal(one, two);
    memory_release(one);
    assert_int_equal(memory_limit(two), LIMIT);
    memory_release(two);
    memory_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_is_noticed),
        cmocka_unit_test(a_crowd_never_takes_more_than_the_limit),
        cmocka_unit_test(one_huge_pull_passes_alone),
        cmocka_unit_test(stop_ends_the_waiting),
        cmocka_unit_test(who_fits_passes_who_does_not),
        cmocka_unit_test(logstores_of_one_source_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
