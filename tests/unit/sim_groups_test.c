/* Story: consumers come, fall silent and come back while shards are split. The simulator has to
 * move shards between them exactly as the published automaton says, on a clock that the test winds:
 * one test for each of its nine edges, then a long random life whose every moment has to be right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
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

static void split_at(uint32_t shard, uint8_t first_byte)
{
    uint8_t key[KEY_BYTES] = {first_byte};

    assert_int_equal(store_split(ls, ls->shards[shard], key, 0), 0);
}

static enum slot_state state_of(uint32_t shard)
{
    return cg->slots[shard].state;
}

static const char *holder_of(uint32_t shard)
{
    return cg->slots[shard].holder == NULL ? "" : cg->slots[shard].holder->name;
}

static void edge_1_a_new_shard_waits_or_is_free(void **state)
{
    (void)state;
    split_at(0, 0x40);
    cg_notice_shards(ls, cg);
    assert_int_equal(state_of(2), SLOT_FREE); /* no order */
    cg->order = true;
    split_at(1, 0xc0);
    cg_notice_shards(ls, cg);
    assert_int_equal(state_of(4), SLOT_WAIT);
    assert_int_equal(state_of(2), SLOT_FREE); /* order is for those born later */
}

static void edge_2_waiting_ends_with_the_ancestors_or_with_the_order(void **state)
{
    (void)state;
    cg->order = true;
    shard_append(ls->shards[0], "", 0, 0, 0);
    split_at(0, 0x40); /* 2, 3 */
    split_at(2, 0x20); /* 4, 5: children of 2, grandchildren of 0 */
    beat("a", "", 0, "0 1");
    assert_int_equal(store_at(2, "", true, shard_end(ls->shards[2]), 0), CG_STORED);
    beat("a", "0 1", 1, "0 1");
    assert_int_equal(state_of(4), SLOT_WAIT); /* its grandparent is not over */
    cg->order = false;
    beat("a", "0 1", 2, "0 1 3 4 5");
}

static void edge_3_a_free_shard_goes_to_who_has_least(void **state)
{
    (void)state;
    beat("b", "", 0, "0 1");
    beat("a", "", 0, "");
    beat("b", "0", 1, "0"); /* 1 was promised to a, and is a's now */
    split_at(0, 0x40);
    beat("b", "0", 2, "0 3"); /* a tie goes to a by name: 2 to a, then 3 to b */
    beat("a", "1", 3, "1 2");
}

static void edge_4_the_time_out_frees_what_was_held(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    cg_expire(cg, 4000);
    assert_string_equal(holder_of(0), "a");
    cg_expire(cg, 4001);
    assert_int_equal(state_of(0), SLOT_FREE);
    assert_int_equal(cg->consumer_count, 0);
}

static void edge_5_who_has_too_many_promises_one(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    beat("b", "", 1, "");
    assert_int_equal(state_of(1), SLOT_TRANSFER);
    assert_string_equal(holder_of(1), "a");
    assert_string_equal(cg->slots[1].next->name, "b");
    assert_int_equal(state_of(0), SLOT_HELD);
}

static void edge_6_a_promise_is_kept_or_falls_back(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    beat("b", "", 1, "");
    beat("a", "0 1", 2, "0"); /* still named: still a's */
    assert_int_equal(state_of(1), SLOT_TRANSFER);
    beat("a", "0", 3, "0");
    assert_string_equal(holder_of(1), "b");
    assert_int_equal(state_of(1), SLOT_HELD);
    beat("a", "0", 2000, "0");
    beat("a", "0", 4002, "0 1"); /* b died with it */
    beat("c", "", 4005, "");
    beat("a", "0 1", 8000, "0");
    beat("a", "0 1", 8006, "0 1"); /* c died before it was handed over: a has it again */
    assert_string_equal(holder_of(1), "a");
}

static void edge_7_a_forced_step_back_from_the_end_opens_it_again(void **state)
{
    uint64_t end;

    (void)state;
    beat("a", "", 0, "0 1");
    shard_append(ls->shards[0], "", 0, 0, 0);
    split_at(0, 0x40);
    end = shard_end(ls->shards[0]);
    assert_int_equal(store_at(0, "a", false, end, 1), CG_STORED);
    assert_int_equal(state_of(0), SLOT_OVER);
    assert_int_equal(store_at(0, "a", false, end - 1, 2), CG_NOT_HOLDER); /* nobody holds it */
    assert_int_equal(state_of(0), SLOT_OVER);
    assert_int_equal(store_at(0, "a", true, end, 2), CG_STORED);
    assert_int_equal(state_of(0), SLOT_OVER);
    assert_int_equal(store_at(0, "a", true, end - 1, 2), CG_STORED);
    assert_int_equal(state_of(0), SLOT_FREE);
}

static void edge_8_the_end_of_a_read_only_shard_is_the_end(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    assert_int_equal(store_at(0, "a", false, shard_end(ls->shards[0]), 1), CG_STORED);
    assert_int_equal(state_of(0), SLOT_HELD); /* writable shards have no end */
    shard_append(ls->shards[0], "", 0, 0, 0);
    split_at(0, 0x40);
    assert_int_equal(store_at(0, "a", false, shard_begin(ls->shards[0]), 1), CG_STORED);
    assert_int_equal(state_of(0), SLOT_HELD);
    assert_int_equal(store_at(0, "a", false, shard_end(ls->shards[0]), 1), CG_STORED);
    assert_int_equal(state_of(0), SLOT_OVER);
    assert_string_equal(holder_of(0), "");
}

static void edge_9_the_time_out_frees_what_was_promised(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    beat("b", "", 3000, "");
    assert_int_equal(state_of(1), SLOT_TRANSFER);
    cg_expire(cg, 4001); /* a is silent, b is not */
    assert_int_equal(state_of(1), SLOT_FREE);
    assert_true(cg->slots[1].next == NULL);
    beat("b", "", 4002, "0 1");
}

static void a_rotation_moves_everything_through_the_same_hand_over(void **state)
{
    (void)state;
    beat("a", "", 0, "0 1");
    beat("b", "", 1, "");
    beat("a", "0", 2, "0");
    assert_int_equal(cg_rotate(cg), 2);
    beat("b", "1", 3, "");
    beat("a", "0", 4, "");
    beat("a", "", 5, "");
    beat("b", "", 6, "0");
    beat("a", "", 7, "1");
}

enum { LIVES = 8, STEPS = 6000 };

struct life {
    char name[8];
    bool named[SHARDS_MAX]; /* what it would say it has */
    bool alive;
    int64_t good_ms; /* its last accepted heartbeat */
};

static void check_invariants(const struct life *lives, int64_t now_ms)
{
    size_t low = SIZE_MAX;
    size_t high = 0;
    bool promised = false;

    for (size_t i = 0; i < cg->slot_count; i++) {
        const struct slot *slot = &cg->slots[i];
        bool held = slot->state == SLOT_HELD || slot->state == SLOT_TRANSFER;

        assert_true(held == (slot->holder != NULL));
        assert_true((slot->state == SLOT_TRANSFER) == (slot->next != NULL));
        assert_int_not_equal(slot->state, SLOT_FREE); /* directly after a heartbeat */
        promised = promised || slot->state == SLOT_TRANSFER;
    }
    for (size_t i = 0; i < cg->consumer_count; i++) {
        size_t n = 0;

        for (size_t k = 0; k < cg->slot_count; k++) {
            const struct slot *slot = &cg->slots[k];

            n += slot->state == SLOT_HELD && slot->holder == cg->consumers[i];
            n += slot->state == SLOT_TRANSFER && slot->next == cg->consumers[i];
        }
        low = n < low ? n : low;
        high = n > high ? n : high;
    }
    /* Promises that cannot be recalled may stand in the way of a newcomer for a while. */
    assert_true(promised || high - low <= 1);
    /* Nobody who is in time says that it has what another holds. */
    for (size_t k = 0; k < LIVES; k++) {
        if (!lives[k].alive || now_ms - lives[k].good_ms > 4000)
            continue;
        for (size_t i = 0; i < cg->slot_count; i++) {
            if (lives[k].named[i] && cg->slots[i].state != SLOT_OVER)
                assert_string_equal(holder_of((uint32_t)i), lives[k].name);
        }
    }
}

/* A heartbeat as a correct client sends it: it names what it was given until it has let go. */
static bool live_beat(struct life *me, int64_t now_ms, unsigned *seed)
{
    uint32_t listed[SHARDS_MAX];
    uint32_t mine[SHARDS_MAX];
    bool given[SHARDS_MAX] = {false};
    size_t n = 0;
    int count;

    for (uint32_t i = 0; i < ls->shard_count; i++) {
        if (me->named[i])
            listed[n++] = i;
    }
    count = cg_heartbeat(ls, cg, me->name, listed, n, now_ms, mine);
    if (count < 0) {
        memset(me->named, 0, sizeof me->named);
        return false;
    }
    me->good_ms = now_ms;
    for (int i = 0; i < count; i++)
        given[mine[i]] = true;
    for (uint32_t i = 0; i < ls->shard_count; i++) {
        if (given[i])
            me->named[i] = true;
        else if (me->named[i] && rand_r(seed) % 3 == 0)
            me->named[i] = false; /* its worker has ended */
    }
    return true;
}

static void a_random_life_never_breaks_the_rules(void **state)
{
    static struct life lives[LIVES];
    const char *given = getenv("SLSR_SEED");
    unsigned seed = given == NULL ? 20261124u : (unsigned)strtoul(given, NULL, 10);
    int64_t now_ms = 0;

    (void)state;
    print_message("seed %u\n", seed);
    memset(lives, 0, sizeof lives);
    cg->order = true;
    for (int i = 0; i < LIVES; i++)
        snprintf(lives[i].name, sizeof lives[i].name, "c%d", i);
    for (int step = 0; step < STEPS; step++) {
        struct life *me = &lives[(unsigned)rand_r(&seed) % LIVES];
        uint32_t shard = (uint32_t)rand_r(&seed) % (uint32_t)ls->shard_count;
        uint8_t key[KEY_BYTES];
        struct shard *right;

        now_ms += rand_r(&seed) % 300;
        switch (rand_r(&seed) % 40) {
        case 0: /* dies, or starts under its old name */
            me->alive = !me->alive;
            memset(me->named, 0, sizeof me->named);
            continue;
        case 1:
            if (ls->shard_count < 60) {
                shard_middle(ls->shards[shard], key);
                store_split(ls, ls->shards[shard], key, 0);
            }
            break;
        case 2:
            if (ls->shard_count < 60)
                store_merge(ls, ls->shards[shard], &right, 0);
            break;
        case 3:
            cg_rotate(cg);
            break;
        case 4:
        case 5: /* reads it to its end, if it may */
            cg_checkpoint(ls, cg, shard, me->name, false, "MQ==", now_ms, 1);
            store_at(shard, me->name, false, shard_end(ls->shards[shard]), now_ms);
            break;
        default:
            break;
        }
        if (me->alive && live_beat(me, now_ms, &seed))
            check_invariants(lives, now_ms);
    }
    assert_true(ls->shard_count > 10);
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
        TEST(edge_1_a_new_shard_waits_or_is_free),
        TEST(edge_2_waiting_ends_with_the_ancestors_or_with_the_order),
        TEST(edge_3_a_free_shard_goes_to_who_has_least),
        TEST(edge_4_the_time_out_frees_what_was_held),
        TEST(edge_5_who_has_too_many_promises_one),
        TEST(edge_6_a_promise_is_kept_or_falls_back),
        TEST(edge_7_a_forced_step_back_from_the_end_opens_it_again),
        TEST(edge_8_the_end_of_a_read_only_shard_is_the_end),
        TEST(edge_9_the_time_out_frees_what_was_promised),
        TEST(a_rotation_moves_everything_through_the_same_hand_over),
        TEST(a_random_life_never_breaks_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
