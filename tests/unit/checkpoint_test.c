/* Which position a shard starts from, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cursor.h"
#include "consume/checkpoint.h"

/* 0 stands for "none stored". */
static enum checkpoint_start choose(uint64_t local, uint64_t reported, uint64_t server)
{
    char l[SLSR_CURSOR_MAX + 1] = "";
    char r[SLSR_CURSOR_MAX + 1] = "";
    char s[SLSR_CURSOR_MAX + 1] = "";

    if (local != 0)
        cursor_text(local, l);
    if (reported != 0)
        cursor_text(reported, r);
    if (server != 0)
        cursor_text(server, s);
    return checkpoint_choose(l, r, s);
}

static void numbers(void **state)
{
    (void)state;
    assert_int_equal(choose(0, 0, 0), CHECKPOINT_CONFIGURED);
    assert_int_equal(choose(0, 0, 50), CHECKPOINT_SERVER);  /* fresh disk */
    assert_int_equal(choose(90, 0, 0), CHECKPOINT_LOCAL);   /* killed before the first report */
    assert_int_equal(choose(90, 70, 0), CHECKPOINT_LOCAL);  /* group deleted and made again */
    assert_int_equal(choose(90, 70, 70), CHECKPOINT_LOCAL); /* the usual restart */
    assert_int_equal(choose(90, 70, 90), CHECKPOINT_LOCAL);
    assert_int_equal(choose(90, 70, 80), CHECKPOINT_LOCAL); /* report confirmed, not yet noted */
    assert_int_equal(choose(90, 0, 80), CHECKPOINT_LOCAL);
    assert_int_equal(choose(90, 70, 95), CHECKPOINT_SERVER); /* another machine went on */
    assert_int_equal(choose(90, 70, 60), CHECKPOINT_SERVER); /* put back on purpose */
}

static void opaque_cursors_compare_for_equality_only(void **state)
{
    (void)state;
    assert_int_equal(checkpoint_choose("b", "a", "a"), CHECKPOINT_LOCAL);
    assert_int_equal(checkpoint_choose("b", "a", "b"), CHECKPOINT_LOCAL);
    assert_int_equal(checkpoint_choose("b", "a", "c"), CHECKPOINT_SERVER);
    assert_int_equal(checkpoint_choose("b", "", "c"), CHECKPOINT_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(opaque_cursors_compare_for_equality_only),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
