/* The sink's deframer: frame vectors cut at every byte, malformed streams, ends inside a frame. */
#include "sink_vectors.h"

#include "deframe.h"

/* Feeds p[0..n) in two parts and compares each message with the vector's. */
static void feed(const char *id, const json_t *input, const char *p, size_t n, size_t cut,
                 enum framing mode)
{
    json_t *messages = json_object_get(input, "messages_hex");
    const char *policy = json_string_value(json_object_get(input, "lf_policy"));
    struct deframer d;
    struct deframed f;
    size_t at = 0;
    size_t seen = 0;
    size_t have = cut;

    deframe_init(&d, mode, 65536);
    for (;;) {
        enum deframe_result result = deframe_next(&d, p + at, have - at, &f);
        size_t want = 0;
        char *message = NULL;

        if (result == DEFRAME_MORE) {
            if (have == n)
                break;
            have = n;
            continue;
        }
        if (result != DEFRAME_MESSAGE)
            fail_msg("%s cut at %zu: %s", id, cut, f.why);
        message = vector_hex(json_string_value(json_array_get(messages, seen)), &want);
        /* LF framing replaces line ends inside; the vector's own bytes say how. */
        if (policy == NULL || memchr(message, '\n', want) == NULL) {
            assert_int_equal(f.n, want);
            assert_memory_equal(f.at, message, want);
        } else {
            assert_int_equal(f.n, n - 1);
            assert_null(memchr(f.at, '\n', f.n));
        }
        free(message);
        at += f.used;
        seen++;
    }
    assert_int_equal(at, n);
    assert_int_equal(seen, json_array_size(messages));
}

static void test_vectors(void **state)
{
    json_t *root = vectors_load();
    size_t index = 0;
    size_t tried = 0;
    json_t *v = NULL;

    (void)state;
    json_array_foreach(json_object_get(root, "vectors"), index, v)
    {
        const json_t *input = json_object_get(v, "input");
        const char *framing = NULL;
        bool octet = false;
        size_t n = 0;
        char *p = NULL;

        if (strcmp(vector_text(v, "kind"), "frame") != 0)
            continue;
        framing = vector_text(input, "framing");
        octet = strcmp(framing, "octet-counting") == 0;
        if (!octet && strcmp(framing, "lf") != 0)
            continue;
        p = vector_hex(vector_text(v, "expect_hex"), &n);
        for (size_t cut = 0; cut <= n && cut < 200; cut++) {
            feed(vector_text(v, "id"), input, p, n, cut, FRAMING_AUTO);
            feed(vector_text(v, "id"), input, p, n, cut, octet ? FRAMING_OCTET : FRAMING_LF);
        }
        free(p);
        tried++;
    }
    json_decref(root);
    assert_int_equal(tried, 12);
}

static void test_malformed(void **state)
{
    static const struct {
        enum framing mode;
        const char *bytes;
        size_t where;
    } cases[] = {
        {FRAMING_AUTO, "012 <14>1", 0},
        {FRAMING_AUTO, "0 ", 0},
        {FRAMING_AUTO, "12x", 2},
        {FRAMING_AUTO, "101 ", 0},
        {FRAMING_AUTO, "99999999999", 10},
        {FRAMING_OCTET, "<14>1", 0},
        {FRAMING_OCTET, " 5 abcde", 0},
        {FRAMING_OCTET, "-5 abcde", 0},
        {FRAMING_OCTET, "18446744073709551617 x", 10},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct deframer d;
        struct deframed f;

        deframe_init(&d, cases[i].mode, 100);
        if (deframe_next(&d, cases[i].bytes, strlen(cases[i].bytes), &f) != DEFRAME_ERROR)
            fail_msg("accepted: %s", cases[i].bytes);
        assert_int_equal(f.where, cases[i].where);
        assert_non_null(f.why);
    }
}

static void test_limits(void **state)
{
    struct deframer d;
    struct deframed f;

    (void)state;
    deframe_init(&d, FRAMING_AUTO, 5);
    assert_int_equal(deframe_next(&d, "5 abcde6 ", 9, &f), DEFRAME_MESSAGE);
    assert_int_equal(f.used, 7);
    assert_int_equal(deframe_next(&d, "6 ", 2, &f), DEFRAME_ERROR);
    deframe_init(&d, FRAMING_AUTO, 5);
    assert_int_equal(deframe_next(&d, "<bcde\n", 6, &f), DEFRAME_MESSAGE);
    assert_int_equal(f.n, 5);
    assert_int_equal(deframe_next(&d, "<bcdef\n", 7, &f), DEFRAME_ERROR);
    deframe_init(&d, FRAMING_AUTO, 5);
    assert_int_equal(deframe_next(&d, "<bcdef", 6, &f), DEFRAME_ERROR);
    assert_int_equal(f.where, 5);
}

static void test_ends(void **state)
{
    struct deframer d;
    struct deframed f;

    (void)state;
    deframe_init(&d, FRAMING_AUTO, 100);
    assert_int_equal(deframe_next(&d, "<14>tail", 8, &f), DEFRAME_MORE);
    assert_int_equal(deframe_end(&d, "<14>tail", 8, &f), DEFRAME_MESSAGE);
    assert_int_equal(f.n, 8);
    assert_int_equal(deframe_end(&d, "", 0, &f), DEFRAME_MORE);
    deframe_init(&d, FRAMING_AUTO, 100);
    assert_int_equal(deframe_next(&d, "9 <14>tai", 9, &f), DEFRAME_MORE);
    assert_int_equal(deframe_end(&d, "9 <14>tai", 9, &f), DEFRAME_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
