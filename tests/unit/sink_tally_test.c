/* The sink's tally: what is found in a message, and exact counts of duplicates and disorder. */
#include "sink_vectors.h"

#include "tally.h"

#define P(shard, cursor, index)                                                                    \
    "[slsRelay@32473 project=\"p\" logstore=\"l\" shard=\"" shard "\" cursor=\"" cursor            \
    "\" index=\"" index "\"]"

static void test_find(void **state)
{
    static const struct {
        const char *text;
        int found;
        uint64_t cursor;
        uint32_t index;
    } cases[] = {
        /* MTAw = 100, MTAx = 101, MTQ0NzI5OTYwNjg5NjYzMjQ3Ng== = 1447299606896632476 */
        {"<14>1 - h a - - " P("0", "MTAw", "3") " m", 1, 100, 3},
        {"<14>1 - h a - - " P("0", "MTQ0NzI5OTYwNjg5NjYzMjQ3Ng==", "0"), 1, 1447299606896632476u,
         0},
        {"<14>1 - h a - - " P("0", "MTQ0NzI5OTYwNjg5NjYzMjQ3Ng", "0"), 1, 1447299606896632476u, 0},
        {"<14>1 - h a - - [x@1 y=\"\\\"]\"]" P("0", "MTAx", "4294967295"), 1, 101, 4294967295u},
        {"<14>1 - h a - - - " P("0", "MTAw", "3"), 0, 0, 0},
        {"<14>1 - h a - - [slsRelay@324730 a=\"1\"] m", 0, 0, 0},
        {"<14>1 - h a - - [slsRelay@32473] m", -1, 0, 0},
        {"<14>1 - h a - - " P("0", "MTAw", "4294967296"), -1, 0, 0},
        {"<14>1 - h a - - " P("0", "MTAw", ""), -1, 0, 0},
        {"<14>1 - h a - - " P("x", "MTAw", "1"), -1, 0, 0},
        {"<14>1 - h a - - " P("0", "YWJj", "1"), -1, 0, 0},
        {"<14>1 - h a - - " P("0", "M T", "1"), -1, 0, 0},
        {"<14>1 - h a - - [slsRelay@32473 project=\"p", -1, 0, 0},
        {"<14>1 - h", 0, 0, 0},
        {"", 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct provenance got = {.shard = 7};
        int found = provenance_find(cases[i].text, strlen(cases[i].text), &got);

        if (found != cases[i].found)
            fail_msg("%s: %d", cases[i].text, found);
        if (found != 1)
            continue;
        assert_string_equal(got.project, "p");
        assert_string_equal(got.logstore, "l");
        assert_int_equal(got.shard, 0);
        assert_true(got.cursor == cases[i].cursor);
        assert_true(got.index == cases[i].index);
    }
}

static void add(struct tally *t, uint32_t shard, uint64_t cursor, uint32_t index)
{
    struct provenance key = {.project = "p", .logstore = "l", .shard = shard};

    key.cursor = cursor;
    key.index = index;
    assert_true(tally_add(t, &key));
}

static void test_rules(void **state)
{
    struct tally t;

    (void)state;
    tally_init(&t);
    add(&t, 0, 10, 0);
    add(&t, 0, 10, 1);
    add(&t, 1, 5, 0); /* another shard: its own order */
    add(&t, 0, 10, 1);
    assert_int_equal(t.duplicate, 1);
    add(&t, 0, 12, 0);
    add(&t, 0, 11, 9); /* new, but behind 12 */
    assert_int_equal(t.reordered, 1);
    add(&t, 0, 11, 9); /* seen: duplicate, not reordered again */
    assert_int_equal(t.duplicate, 2);
    assert_int_equal(t.reordered, 1);
    assert_int_equal(t.distinct, 5);
    assert_int_equal(t.stream_count, 2);
    add(&t, 2, 0, 0); /* the smallest key is a key like any other */
    add(&t, 2, 0, 0);
    assert_int_equal(t.duplicate, 3);
    tally_free(&t);
}

static void test_many(void **state)
{
    enum { CURSORS = 3000, EACH = 100 };
    struct tally t;

    (void)state;
    tally_init(&t);
    for (int round = 0; round < 2; round++)
        for (uint32_t c = 0; c < CURSORS; c++)
            for (uint32_t i = 0; i < EACH; i++)
                add(&t, c % 3, (uint64_t)c << 32, i);
    assert_int_equal(t.distinct, CURSORS * EACH);
    assert_int_equal(t.duplicate, CURSORS * EACH);
    assert_int_equal(t.reordered, 0);
    tally_free(&t);
}

static void test_stream_limit(void **state)
{
    struct tally t;

    (void)state;
    tally_init(&t);
    for (uint32_t shard = 0; shard < 4100; shard++)
        add(&t, shard, 1, 1);
    assert_int_equal(t.stream_count, 4096);
    assert_int_equal(t.unreadable, 4);
    tally_free(&t);
}

static void test_message(void **state)
{
    static const char text[] = "<14>1 - h a - - " P("0", "MTAw", "3") " m";
    struct tally t;

    (void)state;
    tally_init(&t);
    for (int i = 0; i < 3; i++)
        assert_true(tally_message(&t, text, sizeof text - 1));
    assert_true(tally_message(&t, "plain", 5));
    assert_int_equal(t.distinct, 1);
    assert_int_equal(t.duplicate, 2);
    assert_int_equal(t.unreadable, 0);
    tally_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),    cmocka_unit_test(test_rules),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_stream_limit),
        cmocka_unit_test(test_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
