/* Story: consumers come, fall silent and come back while shards are split. The simulator has to
 * move shards between them exactly as the published automaton says, on a clock that the test winds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "groups.h"
#include "text.h"

static struct store store;
static struct logstore *ls;
static struct consumer_group *cg;

static int setup(void **state)
{
    (void)state;
    store_init(&store);
    ls = store_add_logstore(store_add_project(&store, "p", 0), "l", 2, 0);
    cg = cg_new(ls, "cg", 4, false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_fini(&store);
    return 0;
}

/* One heartbeat; lists and answer as texts like "0 2". */
static void beat(const char *who, const char *listed, int64_t now_ms, const char *want)
{
    uint32_t ids[SHARDS_MAX];
    uint32_t mine[SHARDS_MAX];
    char got[64] = "";
    size_t n = 0;
    int count;

    for (; *listed != '\0'; listed++) {
        if (*listed != ' ')
            ids[n++] = (uint32_t)(*listed - '0');
    }
    count = cg_heartbeat(ls, cg, who, ids, n, now_ms, mine);
    if (count < 0)
        snprintf(got, sizeof got, "refused");
    for (int i = 0; i < count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u", i == 0 ? "" : " ", mine[i]);
    assert_string_equal(got, want);
}

static enum cg_store_result store_at(uint32_t shard, const char *who, bool force, uint64_t cursor,
                                     int64_t now_ms)
{
    char text[CURSOR_TEXT_MAX];

    cursor_encode(cursor, text);
    return cg_checkpoint(ls, cg, shard, who, force, text, now_ms, 1);
}

static void second_consumer_takes_over_after_release(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    beat("a", "0 1", 1000, "0 1");
    beat("b", "", 1000, "");
    beat("a", "0 1", 2000, "0"); /* 1 is promised, still ours */
    assert_int_equal(cg->slots[1].state, SLOT_TRANSFER);
    assert_int_equal(store_at(1, "a", false, 5, 2000), CG_STORED);
    assert_int_equal(store_at(1, "b", false, 6, 2000), CG_NOT_HOLDER);
    beat("b", "", 2500, "");
    beat("a", "0", 3000, "0");
    beat("b", "", 3500, "1");
    assert_int_equal(store_at(1, "a", false, 7, 3500), CG_NOT_HOLDER);
    assert_int_equal(store_at(1, "a", true, 7, 3500), CG_STORED);
}

static void silence_longer_than_the_timeout_frees_the_shards(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    beat("b", "", 4000, ""); /* exactly the timeout: a is still there */
    beat("b", "", 4001, "0 1");
    assert_int_equal(store_at(0, "a", false, 5, 4001), CG_NO_CONSUMER);
    beat("a", "0 1", 4100, "refused");
    beat("a", "", 4200, "");
    assert_int_equal(cg->slots[1].state, SLOT_TRANSFER);
    beat("b", "0 1", 8000, "0");
    beat("b", "0 1", 8201, "0 1"); /* the one who was promised it died: b keeps it */
}

static void children_wait_for_their_parent_when_ordered(void **state)
{
    uint8_t key[KEY_BYTES] = {0x40};

    (void)state;
    cg->order = true;
    beat("a", "", 0, "0 1");
    shard_append(ls->shards[0], "", 0, 0, 0);
    assert_int_equal(store_split(ls, ls->shards[0], key, 0), 0);
    beat("a", "0 1", 100, "0 1");
    assert_int_equal(cg->slots[2].state, SLOT_WAIT);
    assert_int_equal(store_at(0, "a", false, shard_begin(ls->shards[0]), 100), CG_STORED);
    beat("a", "0 1", 200, "0 1");
    assert_int_equal(store_at(0, "a", false, shard_end(ls->shards[0]), 200), CG_STORED);
    assert_int_equal(cg->slots[0].state, SLOT_OVER);
    beat("a", "0 1", 300, "1 2 3");
    assert_int_equal(store_at(0, "", true, shard_begin(ls->shards[0]), 300), CG_STORED);
    assert_int_equal(cg->slots[0].state, SLOT_FREE);
    beat("a", "1 2 3", 400, "0 1 2 3");
}

static void a_heartbeat_finishes_an_empty_split_shard(void **state)
{
    uint8_t key[KEY_BYTES] = {0x40};

    (void)state;
    cg->order = true;
    beat("a", "", 0, "0 1");
    assert_int_equal(store_at(0, "a", false, shard_begin(ls->shards[0]), 0), CG_STORED);
    assert_int_equal(store_split(ls, ls->shards[0], key, 0), 0);
    beat("a", "0 1", 100, "1"); /* over; its children follow with the next beat */
    beat("a", "1", 200, "1 2 3");
}

static void without_order_children_start_at_once(void **state)
{
    uint8_t key[KEY_BYTES] = {0xc0};

    (void)state;
    beat("a", "", 0, "0 1");
    assert_int_equal(store_split(ls, ls->shards[1], key, 0), 0);
    beat("a", "0 1", 100, "0 1 2 3");
}

static void merged_shard_waits_for_both_parents(void **state)
{
    struct shard *right;

    (void)state;
    cg->order = true;
    beat("a", "", 0, "0 1");
    assert_int_equal(store_merge(ls, ls->shards[0], &right, 0), 0);
    assert_int_equal(store_at(0, "a", true, shard_end(ls->shards[0]), 0), CG_STORED);
    beat("a", "0 1", 100, "1");
    assert_int_equal(store_at(1, "a", true, shard_end(ls->shards[1]), 0), CG_STORED);
    beat("a", "1", 200, "2");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(second_consumer_takes_over_after_release),
        TEST(silence_longer_than_the_timeout_frees_the_shards),
        TEST(children_wait_for_their_parent_when_ordered),
        TEST(a_heartbeat_finishes_an_empty_split_shard),
        TEST(without_order_children_start_at_once),
        TEST(merged_shard_waits_for_both_parents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
