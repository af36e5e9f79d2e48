/* The search for a poison frame, against a receiver in a few lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "send/poison.h"

enum { END = 1000, SETTLE_MS = 1000 };

struct world {
    struct poison p;
    int64_t now_ms;
    uint64_t settled;
    uint64_t poison[8]; /* frames that end the connection; 0: none */
    bool ill;           /* ends every connection, frames or not */
    uint64_t dead[16];
    int dead_count, connections, sent_at_most;
};

static bool is_poison(const struct world *w, uint64_t seq)
{
    for (int i = 0; i < 8; i++)
        if (w->poison[i] == seq)
            return true;
    return false;
}

/* One connection: waits for what may be offered, offers it, takes it or breaks. */
static void connection(struct world *w)
{
    uint64_t limit, offered;

    w->connections++;
    poison_up(&w->p, w->now_ms, SETTLE_MS);
    limit = poison_limit(&w->p, w->now_ms);
    while (!w->ill) {
        int64_t due = poison_due_ms(&w->p, w->now_ms);

        offered = limit < END ? limit : END;
        for (uint64_t seq = w->settled; seq < offered; seq++)
            if (is_poison(w, seq)) {
                if (poison_broken(&w->p, w->settled, offered, true)) {
                    assert_int_equal(w->p.low, w->settled);
                    w->dead[w->dead_count++] = w->settled++;
                    poison_passed(&w->p);
                }
                return;
            }
        if (offered > w->settled) {
            w->settled = offered;
            poison_settled(&w->p, w->settled);
        } else {
            assert_true(due > 0); /* held by the quiet time only */
            w->now_ms += due;
        }
        if (w->settled == END)
            return;
        limit = poison_limit(&w->p, w->now_ms);
    }
    assert_false(poison_broken(&w->p, w->settled, limit < END ? limit : END, true));
}

static void test_finds(void **state)
{
    static const uint64_t at[][3] = {{1}, {500}, {999}, {1, 2}, {7, 8, 900}, {333, 666}};

    (void)state;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        struct world w = {.now_ms = 1, .settled = 1};

        memcpy(w.poison, at[i], sizeof at[i]);
        while (w.settled < END && w.connections < 200)
            connection(&w);
        assert_int_equal(w.settled, END);
        for (int k = 0; k < 3 && at[i][k] != 0; k++)
            assert_int_equal(w.dead[k], at[i][k]);
        assert_int_equal(w.dead_count, (at[i][1] != 0) + (at[i][2] != 0) + 1);
        assert_true(w.connections < 60);
    }
}

/* Who takes no frame at all costs three, not the spool. */
static void test_takes_nothing(void **state)
{
    struct world w = {.now_ms = 1, .settled = 1, .poison = {1, 2, 3, 4, 5, 6, 7, 8}};

    (void)state;
    for (int i = 0; i < 500; i++)
        connection(&w);
    assert_int_equal(w.dead_count, POISON_ROW);
    assert_int_equal(w.settled, 1 + POISON_ROW);
}

/* Who ends every connection, frames or not, loses none. */
static void test_ill(void **state)
{
    struct world w = {.now_ms = 1, .settled = 1, .poison = {1}, .ill = true};

    (void)state;
    for (int i = 0; i < 500; i++)
        connection(&w);
    assert_int_equal(w.dead_count, 0);
    assert_int_equal(w.settled, 1);
}

/* A path that dies is not a frame's fault. */
static void test_path(void **state)
{
    struct poison p = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        poison_up(&p, 1, SETTLE_MS);
        assert_false(poison_broken(&p, 1, 100, false));
        assert_int_equal(poison_limit(&p, 1), UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds),
        cmocka_unit_test(test_takes_nothing),
        cmocka_unit_test(test_ill),
        cmocka_unit_test(test_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
