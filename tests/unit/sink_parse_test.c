/* The sink's strict parser: every golden message is clean and gives its inputs back; every
 * malformed one that an RFC forbids is flagged, by name and place; hostile cuts never read past the
 * end. */
#include "sink_vectors.h"

#include "parse.h"

struct seen {
    size_t count;
    char rule[32]; /* of the first one */
    size_t offset;
};

static void note(void *arg, const struct violation *v)
{
    struct seen *s = arg;

    assert_non_null(v->sentence);
    if (s->count++ == 0) {
        snprintf(s->rule, sizeof s->rule, "%s", v->rule);
        s->offset = v->offset;
    }
}

static size_t run(const char *p, size_t n, struct parsed *out, struct seen *seen)
{
    size_t count = 0;

    *seen = (struct seen){0};
    count = parse_syslog(p, n, out, note, seen);
    assert_int_equal(count, seen->count);
    return count;
}

/* The input's value as the policy of the vectors changes it: cut to max, null and empty are "-". */
static void expect_field(const char *id, const json_t *input, const char *key, size_t max,
                         struct view got)
{
    const char *want = json_string_value(json_object_get(input, key));
    size_t n = 0;

    if (want == NULL || *want == '\0')
        want = "-";
    n = strlen(want) < max ? strlen(want) : max;
    if (got.n != n)
        fail_msg("%s: %s has %zu bytes instead of %zu", id, key, got.n, n);
    for (size_t i = 0; i < n; i++) {
        bool visible = want[i] > 32 && want[i] < 127;

        if (got.p[i] != (visible ? want[i] : '_'))
            fail_msg("%s: %s differs at %zu", id, key, i);
    }
}

static void expect_pri(const char *id, const json_t *input, const struct parsed *got)
{
    json_int_t facility = json_integer_value(json_object_get(input, "facility"));
    json_int_t severity = json_integer_value(json_object_get(input, "severity"));

    if (got->pri != facility * 8 + severity)
        fail_msg("%s: PRI %d", id, got->pri);
}

static void expect_msg(const char *id, const json_t *input, struct view got)
{
    const json_t *text = json_object_get(input, "msg");
    const char *hex = json_string_value(json_object_get(input, "msg_hex"));
    size_t skip = json_is_true(json_object_get(input, "bom")) ? 3 : 0;
    size_t n = json_string_length(text);
    char *decoded = hex != NULL ? vector_hex(hex, &n) : NULL;
    const char *want = hex != NULL ? decoded : json_string_value(text);

    if (want == NULL && got.p != NULL)
        fail_msg("%s: a MSG although there is none", id);
    if (want != NULL && (got.n != n + skip || memcmp(got.p + skip, want, n) != 0))
        fail_msg("%s: MSG differs", id);
    free(decoded);
}

static void check_vector(const json_t *v, bool modern)
{
    const json_t *input = json_object_get(v, "input");
    const char *kind = vector_text(v, "kind");
    const char *id = vector_text(v, "id");
    struct parsed got;
    struct seen seen;
    size_t n = 0;
    char *p = vector_hex(vector_text(v, "expect_hex"), &n);

    if (run(p, n, &got, &seen) != 0)
        fail_msg("%s: %s at %zu", id, seen.rule, seen.offset);
    assert_int_equal(got.version, modern ? 1 : 0);
    expect_pri(id, input, &got);
    expect_field(id, input, "hostname", 255, got.hostname);
    if (strcmp(kind, "rfc5424") == 0) {
        expect_field(id, input, "app_name", 48, got.app_name);
        expect_field(id, input, "procid", 128, got.procid);
        expect_field(id, input, "msgid", 32, got.msgid);
        expect_msg(id, input, got.msg);
    } else if (strcmp(kind, "rfc3164") == 0 &&
               json_string_value(json_object_get(input, "tag")) != NULL) {
        expect_field(id, input, "tag", 32, got.app_name);
    }
    free(p);
}

static void test_vectors(void **state)
{
    json_t *root = vectors_load();
    size_t index = 0;
    size_t modern = 0;
    size_t bsd = 0;
    json_t *v = NULL;

    (void)state;
    json_array_foreach(json_object_get(root, "vectors"), index, v)
    {
        const char *kind = vector_text(v, "kind");

        if (strstr(kind, "rfc5424") != NULL) {
            check_vector(v, true);
            modern++;
        } else if (strstr(kind, "rfc3164") != NULL) {
            check_vector(v, false);
            bsd++;
        }
    }
    json_decref(root);
    assert_int_equal(modern, 57);
    assert_int_equal(bsd, 12);
}

/* What the RFC has against each malformed line; NULL: nothing. sd-space-between: the second element
 * is text of MSG by the grammar. 3164-utf8: other code sets are allowed (RFC 3164 4.1.3). */
static const struct {
    const char *id;
    const char *rule;
    size_t offset;
} malformed[] = {
    {"sample-shape", "timestamp-offset", 32},
    {"offset-no-colon", "timestamp-offset", 32},
    {"missing-sd", "sd-missing", 47},
    {"missing-sd-text", "sd-missing", 47},
    {"pri-leading-zero", "pri-zero", 1},
    {"pri-192", "pri-range", 1},
    {"frac-9", "timestamp-fraction", 25},
    {"lower-t", "timestamp", 16},
    {"space-instead-T", "timestamp", 16},
    {"sec-60", "timestamp-time", 17},
    {"sd-unescaped-quote", "sd-syntax", 49},
    {"sd-unescaped-bracket", "sd-escape", 47},
    {"sd-unescaped-backslash", "sd-escape", 46},
    {"sd-space-between", NULL, 0},
    {"sd-name-33", "sd-id", 68},
    {"app-49", "app-name", 77},
    {"msgid-33", "msgid", 65},
    {"two-spaces", "app-name", 29},
    {"3164-zero-day", "timestamp-day", 8},
    {"3164-one-space", "timestamp-day", 8},
    {"3164-fqdn", "hostname-domain", 20},
    {"3164-year", "timestamp", 10},
    {"3164-utf8", NULL, 0},
};

static void test_malformed(void **state)
{
    json_t *root = vectors_load();
    json_t *list = json_object_get(root, "receivers_on_malformed_input");
    size_t index = 0;
    json_t *v = NULL;

    (void)state;
    assert_int_equal(json_array_size(list), sizeof malformed / sizeof malformed[0]);
    json_array_foreach(list, index, v)
    {
        struct parsed got;
        struct seen seen;
        size_t n = 0;
        char *p = vector_hex(vector_text(v, "bytes_hex"), &n);

        assert_string_equal(vector_text(v, "id"), malformed[index].id);
        run(p, n, &got, &seen);
        if ((malformed[index].rule == NULL) != (seen.count == 0))
            fail_msg("%s: %zu violations, first %s", malformed[index].id, seen.count, seen.rule);
        if (malformed[index].rule != NULL && (strcmp(seen.rule, malformed[index].rule) != 0 ||
                                              seen.offset != malformed[index].offset))
            fail_msg("%s: %s at %zu", malformed[index].id, seen.rule, seen.offset);
        free(p);
    }
    json_decref(root);
}

static const struct {
    const char *text;
    const char *rule; /* NULL: clean */
} cases[] = {
    {"", "pri"},
    {"<", "pri"},
    {"<>1 - - - - - -", "pri"},
    {"<1234>1 - - - - - -", "pri"},
    {"<14", "pri"},
    {"hello", "pri"},
    {"<14>2 - - - - - -", "version"},
    {"<14>10 - - - - - -", "version"},
    {"<14>1", "version"},
    {"<14>1 -", "timestamp"},
    {"<14>1 - - - - - ", "sd-missing"},
    {"<14>1 - - - - - - ", NULL},
    {"<14>1 - - - - - --", "sd-end"},
    {"<14>1 - - - - - [origin]x", "sd-end"},
    {"<14>1 - - - - - [a@1 b=\"x\"", "sd-syntax"},
    {"<14>1 - - - - - [a@1 b=\"x", "sd-syntax"},
    {"<14>1 - - - - - [a@1 b=\"x\\", "sd-escape"},
    {"<14>1 - - - - - [a@1 b=x]", "sd-syntax"},
    {"<14>1 - - - - - []", "sd-id"},
    {"<14>1 - - - - - [a]", "sd-id"},
    {"<14>1 - - - - - [a@]", "sd-id"},
    {"<14>1 - - - - - [a@1x]", "sd-id"},
    {"<14>1 - - - - - [a@1][a@1]", "sd-repeated"},
    {"<14>1 - - - - - [a@1 b=\"\xff\"]", "sd-utf8"},
    {"<14>1 - - - - - [a@1 b=\"\xc0\x80\"]", "sd-utf8"},
    {"<14>1 - - - - - [a@1 b=\"\xed\xa0\x80\"]", "sd-utf8"},
    {"<14>1 - - - - - - \xef\xbb\xbf\xe6\x97", "msg-utf8"},
    {"<14>1 - - - - - - \xff\xfe", NULL},
    {"<14>1 2023-02-29T00:00:00Z - - - - -", "timestamp-date"},
    {"<14>1 1900-02-29T00:00:00Z - - - - -", "timestamp-date"},
    {"<14>1 2000-02-29T00:00:00Z - - - - -", NULL},
    {"<14>1 2023-13-01T00:00:00Z - - - - -", "timestamp-date"},
    {"<14>1 2023-01-01T24:00:00Z - - - - -", "timestamp-time"},
    {"<14>1 2023-01-01T00:00:00. - - - - -", "timestamp-fraction"},
    {"<14>1 2023-01-01T00:00:00 - - - - -", "timestamp-offset"},
    {"<14>1 2023-01-01T00:00:00+24:00 - - - - -", "timestamp-offset"},
    {"<14>1 2023-01-01T00:00:00Zx - - - - -", "timestamp-offset"},
    {"<14>1 - h\xc3\xbc - - - -", "hostname"},
    {"<14>Jan  1 00:00:00", "timestamp"},
    {"<14>Jan  1 00:00:00 ", "hostname"},
    {"<14>Jan 32 00:00:00 h a: m", "timestamp-day"},
    {"<14>Foo  1 00:00:00 h a: m", "timestamp"},
    {"<14>Jan  1 24:00:00 h a: m", "timestamp-time"},
    {"<14>Jan  1 00:00:00 192.0.2.1 a: m", NULL},
    {"<14>Jan  1 00:00:00 192.0.2 a: m", "hostname-domain"},
    {"<14>Jan  1 00:00:00 2001:db8::1 a: m", NULL},
    {"<14>Jan  1 00:00:00 h a: x\x01", "msg-control"},
    {"<14>Jan  1 00:00:00 h ttttttttttttttttttttttttttttttttt: m", "tag"},
};

static void test_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed got;
        struct seen seen;
        size_t n = strlen(cases[i].text);
        char *p = malloc(n + 1);

        assert_non_null(p);
        memcpy(p, cases[i].text, n);
        p = realloc(p, n > 0 ? n : 1);
        run(p, n, &got, &seen);
        if (strcmp(cases[i].rule != NULL ? cases[i].rule : "", seen.rule) != 0)
            fail_msg("%s: found '%s' at %zu", cases[i].text, seen.rule, seen.offset);
        free(p);
    }
}

/* Every prefix of every vector is read without touching a byte behind it (sanitizers watch). */
static void test_cuts(void **state)
{
    json_t *root = vectors_load();
    size_t index = 0;
    json_t *v = NULL;

    (void)state;
    json_array_foreach(json_object_get(root, "vectors"), index, v)
    {
        size_t n = 0;
        char *p = vector_hex(vector_text(v, "expect_hex"), &n);

        for (size_t cut = 0; cut < n && cut < 400; cut++) {
            char *copy = malloc(cut > 0 ? cut : 1);
            struct parsed got;
            struct seen seen;

            assert_non_null(copy);
            memcpy(copy, p, cut);
            run(copy, cut, &got, &seen);
            assert_true(got.msg.n <= cut);
            free(copy);
        }
        free(p);
    }
    json_decref(root);
}

static void test_unescape(void **state)
{
    static const char text[] = "\\\"\\]\\\\a\\n";
    char got[16];

    (void)state;
    assert_int_equal(parse_unescape((struct view){text, sizeof text - 1}, got, sizeof got), 6);
    assert_memory_equal(got, "\"]\\a\\n", 6);
    assert_int_equal(parse_unescape((struct view){text, sizeof text - 1}, got, 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),  cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_more),     cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_unescape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
