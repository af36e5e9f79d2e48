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
    bool slow; /* closes back at once, but evidence settles only when nothing more is sent */
    bool late; /* ends a connection only after it has closed back the one before */
    bool ill;  /* ends every connection, frames or not */
    uint64_t dead[16];
    int dead_count, connections;
};

static bool has_poison(const struct world *w, uint64_t from, uint64_t end)
{
    for (int i = 0; i < 8; i++)
        if (w->poison[i] != 0 && w->poison[i] >= from && w->poison[i] < end)
            return true;
    return false;
}

static void broken(struct world *w, uint64_t offered)
{
    if (!poison_broken(&w->p, w->settled, offered, true))
        return;
    assert_false(w->ill);
    assert_int_equal(w->p.low, w->settled);
    w->dead[w->dead_count++] = w->settled++;
    poison_passed(&w->p);
}

static void settle(struct world *w, uint64_t upto)
{
    w->settled = upto;
    poison_settled(&w->p, upto);
}

/* The lone frame goes only behind settled ones, and on a connection that was quiet. */
static void check_lone(const struct world *w, uint64_t limit, int64_t up_ms)
{
    if (!w->p.on || w->p.high - w->p.low != 1 || limit != w->p.high)
        return;
    assert_int_equal(w->settled, w->p.low);
    assert_true(w->now_ms - up_ms >= SETTLE_MS);
}

/* One connection: waits for what may be offered, offers it, takes it or breaks. */
static void connection(struct world *w)
{
    uint64_t sent = w->settled;
    int64_t up_ms = w->now_ms;

    w->connections++;
    poison_up(&w->p, w->now_ms, SETTLE_MS);
    while (w->settled < END) {
        uint64_t limit = poison_limit(&w->p, w->now_ms);
        uint64_t offered = limit < sent ? sent : limit < END ? limit : END;

        check_lone(w, limit, up_ms);
        if (w->ill || has_poison(w, w->settled, w->late ? sent : offered)) {
            broken(w, offered);
            return;
        }
        if (offered > sent) {
            sent = offered;
            if (w->slow)
                poison_proven(&w->p, sent);
            else
                settle(w, sent);
        } else if (w->settled < sent) {
            settle(w, sent);
        } else {
            int64_t due = poison_due_ms(&w->p, w->now_ms);

            assert_true(due > 0); /* held by the quiet time only */
            w->now_ms += due;
        }
    }
}

static void test_finds(void **state)
{
    static const uint64_t at[][3] = {{1}, {500}, {999}, {1, 2}, {7, 8, 900}, {333, 666}};

    (void)state;
    for (size_t i = 0; i < 3 * (sizeof at / sizeof *at); i++) {
        struct world w = {.now_ms = 1, .settled = 1, .slow = i % 3 > 0, .late = i % 3 > 1};

        memcpy(w.poison, at[i / 3], sizeof at[i / 3]);
        while (w.settled < END && w.connections < 200)
            connection(&w);
        assert_int_equal(w.settled, END);
        for (int k = 0; k < 3 && at[i / 3][k] != 0; k++)
            assert_int_equal(w.dead[k], at[i / 3][k]);
        assert_int_equal(w.dead_count, (at[i / 3][1] != 0) + (at[i / 3][2] != 0) + 1);
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
