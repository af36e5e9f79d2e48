/* Bodies, limits, provenance and hygiene of the formatter; random logs with any bytes: no frame may
 * hold a line end or NUL, every count must be right, the fast copy must equal the plain one. */
#include "format_help.h"

#include "format/escape.h"

static uint64_t random_state = 88172645463325252ULL;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static const struct slsr_pair tags[] = {{{"__hostname__", 12}, {"web-1", 5}}};

static struct slsr_log log_of(const struct slsr_pair *fields, size_t count)
{
    return (struct slsr_log){.time_s = 1767323045,
                             .topic = {"web", 3},
                             .source = {"10.0.0.1", 8},
                             .tags = tags,
                             .tag_count = 1,
                             .fields = fields,
                             .field_count = count};
}

#define BYTES(literal) ((struct slsr_bytes){literal, sizeof(literal) - 1})
#define HEAD           "<14>1 2026-01-02T03:04:05Z h a - - - "
#define GROUP          "__topic__=web||__source__=10.0.0.1||__tag__:__hostname__=web-1"

static void kv_bodies(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair two[] = {{BYTES("k"), BYTES("v")}, {BYTES("msg"), BYTES("a=b||c \\n d")}};
    struct slsr_pair same[] = {
        {BYTES("k"), BYTES("1")}, {BYTES("x"), BYTES("2")}, {BYTES("k"), BYTES("3")}};
    struct slsr_pair over[] = {{BYTES("__topic__"), BYTES("T")},
                               {BYTES("k"), BYTES("v")},
                               {BYTES("__tag__:__hostname__"), BYTES("H")},
                               {BYTES("__time__"), BYTES("42")}};
    struct slsr_log log = log_of(two, 2);
    FORMAT_EXPECT(&c, &log, HEAD GROUP "||k=v||msg=\"a=b||c \\\\n d\"");
    c.kv_quote = SLSR_KV_NONE;
    FORMAT_EXPECT(&c, &log, HEAD GROUP "||k=v||msg=a=b||c \\n d");
    log.time_ns = 1999;
    FORMAT_EXPECT(&c, &log,
                  "<14>1 2026-01-02T03:04:05.000001Z h a - - - "
                  "__topic__=web||__source__=10.0.0.1||__time_ns_part__=1999||"
                  "__tag__:__hostname__=web-1||k=v||msg=a=b||c \\n d");
    log = log_of(same, 3);
    FORMAT_EXPECT(&c, &log, HEAD GROUP "||k=3||x=2");
    log = log_of(over, 4);
    FORMAT_EXPECT(&c, &log, HEAD "__topic__=T||__source__=10.0.0.1||__tag__:__hostname__=H||k=v");
    log = (struct slsr_log){.time_s = 1767323045};
    FORMAT_EXPECT(&c, &log, HEAD "__topic__=||__source__=");
    c.sep = (char *)" a long separator ";
    log = log_of(two, 1);
    FORMAT_EXPECT(&c, &log,
                  HEAD "__topic__=web a long separator __source__=10.0.0.1 a long separator "
                       "__tag__:__hostname__=web-1 a long separator k=v");
}

static void json_and_raw_bodies(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair fields[] = {{BYTES("a\"b"), BYTES("1\\2\n\x01\x7f/")},
                                 {BYTES("message"), BYTES("m1")},
                                 {BYTES("message"), BYTES("m\xff"
                                                          "2")}};
    struct slsr_log log = log_of(fields, 3);
    log.time_ns = 5;
    log.time_s = 1767323045;
    c.body = SLSR_BODY_JSON;
    FORMAT_EXPECT(&c, &log,
                  "<14>1 2026-01-02T03:04:05.000000Z h a - - - {\"__topic__\":\"web\","
                  "\"__source__\":\"10.0.0.1\",\"__time_ns_part__\":5,"
                  "\"__tag__:__hostname__\":\"web-1\",\"a\\\"b\":\"1\\\\2\\n\\u0001\\u007f/\","
                  "\"message\":\"m\xef\xbf\xbd"
                  "2\"}");
    log.time_ns = 0;
    c.body = SLSR_BODY_RAW;
    FORMAT_EXPECT(&c, &log,
                  HEAD "m\xef\xbf\xbd"
                       "2");
    log = log_of(fields, 1);
    FORMAT_EXPECT(&c, &log, HEAD "1\\2\\n\\x01\\x7f/");
    log = log_of(fields, 0);
    FORMAT_EXPECT(&c, &log, "<14>1 2026-01-02T03:04:05Z h a - - -");
}

static void newline_and_utf8_settings(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair f = {BYTES("content"), BYTES("a\r\nb\nc\rd\te\0f\x1b"
                                                  "g\x7f")};
    struct slsr_pair u = {BYTES("content"),
                          BYTES("a\xff\xe4\xb8 \xed\xa0\x80"
                                "B\xf0\x9f\x98"
                                "C"
                                "\xc0\xaf\xe4\xb8\xad\xf4\x90\x80\x80\xef\xbb\xbf")};
    struct slsr_log log = log_of(&f, 1);
    c.body = SLSR_BODY_RAW;
    FORMAT_EXPECT(&c, &log, HEAD "a\\r\\nb\\nc\\rd\\te\\x00f\\x1bg\\x7f");
    c.newline = SLSR_NL_SPACE;
    FORMAT_EXPECT(&c, &log, HEAD "a b c d e\\x00f\\x1bg\\x7f");
    c.newline = SLSR_NL_KEEP;
    FORMAT_EXPECT(&c, &log, HEAD "a\r\nb\nc\rd\te\\x00f\\x1bg\\x7f");
#define FFFD "\xef\xbf\xbd"
    log = log_of(&u, 1);
    FORMAT_EXPECT(&c, &log,
                  HEAD "a" FFFD FFFD " " FFFD FFFD FFFD "B" FFFD "C" FFFD FFFD
                       "\xe4\xb8\xad" FFFD FFFD FFFD FFFD "\xef\xbb\xbf");
    c.invalid_utf8 = SLSR_UTF8_ESCAPE;
    FORMAT_EXPECT(&c, &log,
                  HEAD "a\\xff\\xe4\\xb8 \\xed\\xa0\\x80"
                       "B\\xf0\\x9f\\x98"
                       "C\\xc0\\xaf"
                       "\xe4\xb8\xad\\xf4\\x90\\x80\\x80\xef\xbb\xbf");
    c.invalid_utf8 = SLSR_UTF8_DROP;
    FORMAT_EXPECT(&c, &log, HEAD "a BC\xe4\xb8\xad\xef\xbb\xbf");
}

/* Formats logs into one batch; the caller reads it. */
static void run(const struct slsr_format_config *c, const char *cursor, const struct slsr_log *logs,
                size_t count, struct slsr_batch *batch)
{
    struct format_plan *plan = format_plan_or_die(c);
    slsr_batch_init(batch);
    strcpy(batch->cursor, cursor);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(format_log(plan, &logs[i], batch, NULL), 0);
    format_plan_free(plan);
}

static void provenance_names_cursor_and_index(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_batch b;
    struct slsr_pair f = {BYTES("content"), BYTES("m")};
    struct slsr_log logs[3] = {log_of(&f, 1), log_of(&f, 1), log_of(&f, 1)};
    logs[0].group = 1;
    logs[1].group = 1;
    logs[1].index = 1;
    logs[2].group = 4;
    c.body = SLSR_BODY_RAW;
    c.provenance = true;
#define SD(cursor, index)                                                                          \
    "<14>1 2026-01-02T03:04:05Z h a - - [slsRelay@32473 project=\"demo\" logstore=\"audit\" "      \
    "shard=\"3\" cursor=\"" cursor "\" index=\"" index "\"] m"
    run(&c, "MTAw", logs, 3, &b); /* 100 */
    format_assert(format_message(&b, 0), SD("MTAx", "0"), strlen(SD("MTAx", "0")));
    format_assert(format_message(&b, 1), SD("MTAx", "1"), strlen(SD("MTAx", "1")));
    format_assert(format_message(&b, 2), SD("MTA0", "0"), strlen(SD("MTA0", "0")));
    assert_int_equal(b.meta[2].group, 4);
    assert_int_equal(b.meta[1].index, 1);
    assert_int_equal(b.meta[1].time_s, 1767323045);
    slsr_batch_fini(&b);

    run(&c, "op\"a\\q]ue", logs, 3, &b); /* not a number: base and a running index */
#define OPAQUE "op\\\"a\\\\q\\]ue"
    format_assert(format_message(&b, 0), SD(OPAQUE, "0"), strlen(SD(OPAQUE, "0")));
    format_assert(format_message(&b, 2), SD(OPAQUE, "2"), strlen(SD(OPAQUE, "2")));
    assert_int_equal(b.meta[2].group, 0);
    assert_int_equal(b.meta[2].index, 2);
    slsr_batch_fini(&b);
}

static void another_pull_brings_another_group(void **state)
{
    (void)state;
    /* The second pull reuses the memory of the first: same views, other bytes. */
    struct slsr_format_config c = format_settings();
    struct format_plan *plan = format_plan_or_die(&c);
    struct slsr_batch b;
    char topic[] = "one";
    struct slsr_log log = {.time_s = 1767323045, .topic = {topic, 3}};
    slsr_batch_init(&b);
    strcpy(b.cursor, "MTAw");
    assert_int_equal(format_log(plan, &log, &b, NULL), 0);
    memcpy(topic, "two", 3);
    assert_int_equal(format_log(plan, &log, &b, NULL), 0);
    format_assert(format_message(&b, 1),
                  HEAD "__topic__=two||__source__=", strlen(HEAD "__topic__=two||__source__="));
    slsr_batch_fini(&b);
    format_plan_free(plan);
}

static void lengths_of_every_number_of_digits(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    static char text[200000];
    static const size_t sizes[] = {0,   1,   40,   61,   62,   63,    900,   961,
                                   962, 963, 9000, 9961, 9962, 99962, 99963, 150000};
    struct slsr_pair f = {BYTES("content"), {text, 0}};
    memset(text, 'x', sizeof(text));
    c.body = SLSR_BODY_RAW;
    c.max_message_bytes = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct slsr_batch b;
        f.value.n = sizes[i];
        struct slsr_log logs[2] = {log_of(&f, 1), log_of(&f, 1)};
        run(&c, "MTAw", logs, 2, &b);
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(format_message(&b, k).n, strlen(HEAD) + sizes[i]);
        slsr_batch_fini(&b);
    }
}

static void oversize_is_cut_or_set_aside(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair f = {BYTES("content"), BYTES("0123\xe4\xb8\xad\xe4\xb8\xad"
                                                  "89")};
    struct slsr_log log = log_of(&f, 1);
    size_t head = strlen(HEAD);
    c.body = SLSR_BODY_RAW;
    c.max_message_bytes = (int64_t)head + 12;
    FORMAT_EXPECT(&c, &log,
                  HEAD "0123\xe4\xb8\xad\xe4\xb8\xad"
                       "89");
    c.max_message_bytes = (int64_t)head + 11; /* 8 bytes and the mark: in mid-character */
    FORMAT_EXPECT(&c, &log, HEAD "0123\xe4\xb8\xad...");
    c.max_message_bytes = (int64_t)head + 4;
    FORMAT_EXPECT(&c, &log, HEAD "0...");

    for (int k = 0; k < 2; k++) { /* told so, or no room behind the header */
        struct slsr_batch b;
        struct slsr_err err = {0};
        c.oversize = k == 0 ? SLSR_OVER_DEAD : SLSR_OVER_TRUNCATE;
        c.max_message_bytes = k == 0 ? (int64_t)head + 11 : (int64_t)head + 2;
        struct format_plan *plan = format_plan_or_die(&c);
        slsr_batch_init(&b);
        strcpy(b.cursor, "MTAw");
        assert_int_equal(format_log(plan, &log, &b, &err), SLSR_ETOOBIG);
        assert_non_null(strstr(err.text, "max_message_size"));
        assert_int_equal(b.dead_count, 1);
        assert_int_equal(b.frame_count + b.used, 0);
        slsr_batch_fini(&b);
        format_plan_free(plan);
    }
}

static void seed_time_from_a_content(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint32_t time_s;
    } cases[] = {{"42", true, 42},
                 {" +1_000\n", true, 1000},
                 {"-5", true, 0},
                 {"99999999999", true, UINT32_MAX},
                 {"", false, 0},
                 {"1__0", false, 0},
                 {"_1", false, 0},
                 {"1_", false, 0},
                 {"1.5", false, 0},
                 {"999999999999", false, 0},
                 {"99999999999999999999999", false, 0},
                 {"- 1", false, 0}};
    struct slsr_format_config c = format_settings();
    c.protocol = SLSR_SEED;
    struct format_plan *plan = format_plan_or_die(&c);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slsr_pair f = {BYTES("__time__"), slsr_bytes_of(cases[i].text)};
        struct slsr_log log = log_of(&f, 1);
        struct slsr_batch b;
        slsr_batch_init(&b);
        strcpy(b.cursor, "MTAw");
        assert_int_equal(format_log(plan, &log, &b, NULL), cases[i].good ? 0 : SLSR_EBADDATA);
        assert_int_equal(b.dead_count, cases[i].good ? 0 : 1);
        if (cases[i].good)
            assert_int_equal(b.meta[0].time_s, cases[i].time_s);
        slsr_batch_fini(&b);
    }
    format_plan_free(plan);
}

static void impossible_settings_are_refused(void **state)
{
    (void)state;
    struct slsr_stream stream = {"p", "l", 0};
    for (int i = 0; i < 12; i++) {
        struct slsr_format_config c = format_settings();
        struct format_plan *plan = NULL;
        struct slsr_err err = {0};
        const char *word = "kv_quote";
        switch (i) {
        case 0:
            c.sep = (char *)"";
            break;
        case 1:
            c.sep = (char *)"=";
            break;
        case 2:
            c.body = SLSR_BODY_TEMPLATE;
            word = "format.template";
            break;
        case 3:
            c.sep = (char *)"ab";
            c.kv_quote = SLSR_KV_ESCAPE;
            break;
        case 4:
            c.time_zone = (char *)"Mars/Olympus";
            word = "format.time_zone";
            break;
        case 5:
            c.protocol = SLSR_SEED;
            c.body = SLSR_BODY_JSON;
            word = "format.body";
            break;
        case 6:
            c.protocol = SLSR_RFC3164;
            c.provenance = true;
            word = "provenance";
            break;
        case 7:
            c.facility = 24;
            word = "format.facility";
            break;
        case 8:
            c.severity = 8;
            word = "format.severity";
            break;
        case 9:
            c.sep = (char *)"\n";
            word = "format.sep";
            break;
        case 10:
            c.max_message_bytes = -1;
            word = "max_message_size";
            break;
        default:
            c.facility = -1;
            word = "format.facility";
            break;
        }
        assert_int_equal(format_plan_new(&plan, &c, &stream, &err), SLSR_ECONFIG);
        assert_null(plan);
        if (strstr(err.text, word) == NULL)
            fail_msg("case %d: %s", i, err.text);
    }
}

/* --- random bytes --- */

/* Text of the kinds that meet the copying at its seams. */
static size_t random_text(char *out, size_t most)
{
    static const char *const parts[] = {"\n",
                                        "\r\n",
                                        "\t",
                                        "\x7f",
                                        "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80",
                                        "\xed\xa0\x80",
                                        "\xc3",
                                        "||",
                                        "=",
                                        "\"",
                                        "\\",
                                        "_"};
    size_t n = rnd((uint32_t)most + 1), used = 0;
    uint32_t kind = rnd(4);
    while (used + 4 < n) {
        if (kind == 0 || rnd(12) == 0) {
            const char *part = parts[rnd(sizeof(parts) / sizeof(parts[0]))];
            memcpy(out + used, part, strlen(part));
            used += strlen(part);
        } else {
            out[used++] = (char)(kind == 1 ? rnd(256) : 32 + rnd(95));
        }
    }
    return used;
}

static void fast_copy_equals_the_plain_one(void **state)
{
    (void)state;
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (int round = 0; round < 60000; round++) {
        struct text_rules rules = {(enum text_style)rnd(3), (enum slsr_newline)rnd(3),
                                   (enum slsr_utf8)rnd(3)};
        char text[128], got[128 * TEXT_GROWTH + TEXT_SLACK], want[128 * TEXT_GROWTH];
        size_t n = random_text(text, sizeof(text));
        char *own = malloc(n + (n == 0)); /* a read past the end is seen */
        memcpy(own, text, n);
        struct slsr_bytes in = {own, n};
        if (n == 0)
            in.p = NULL;
        size_t got_n = (size_t)(text_put(got, in, &rules) - got);
        size_t want_n = (size_t)(text_put_plain(want, in, &rules) - want);
        format_assert((struct slsr_bytes){got, got_n}, want, want_n);
        assert_true(utf8_valid((struct slsr_bytes){got, got_n}));
        free(own);
    }
}

static void random_logs_never_forge_a_line(void **state)
{
    (void)state;
    print_message("seed %llu\n", (unsigned long long)random_state);
    static char pool[64 * 1024];
    for (int round = 0; round < 300; round++) {
        struct slsr_format_config c = format_settings();
        struct slsr_pair fields[200], group_tags[4];
        struct slsr_log logs[4];
        struct slsr_batch b;
        size_t used = 0;
        c.body = rnd(3) == 0 ? SLSR_BODY_JSON : SLSR_BODY_KV;
        c.newline = rnd(2) == 0 ? SLSR_NL_ESCAPE : SLSR_NL_SPACE;
        c.invalid_utf8 = (enum slsr_utf8)rnd(3);
        c.provenance = rnd(2) == 0;
        c.max_message_bytes = 200 + rnd(5000);
#define RANDOM(most)                                                                               \
    ((struct slsr_bytes){pool + used, 0});                                                         \
    n = random_text(pool + used, most)
        size_t n, tag_n = rnd(4), field_n = rnd(8) == 0 ? 150 + rnd(50) : rnd(12);
        for (size_t i = 0; i < tag_n + field_n; i++) {
            struct slsr_pair *p = i < tag_n ? &group_tags[i] : &fields[i - tag_n];
            p->key = RANDOM(12);
            p->key.n = n;
            used += n;
            p->value = RANDOM(100);
            p->value.n = n;
            used += n;
        }
        for (uint32_t i = 0; i < 4; i++)
            logs[i] = (struct slsr_log){.time_s = rnd(UINT32_MAX),
                                        .time_ns = rnd(2) * 7,
                                        .index = i,
                                        .tags = group_tags,
                                        .tag_count = tag_n,
                                        .fields = fields,
                                        .field_count = field_n};
        run(&c, rnd(2) ? "MTAw" : "opaque", logs, 4, &b);
        assert_int_equal(b.frame_count, 4);
        for (size_t i = 0; i < 4; i++) {
            struct slsr_bytes m = format_message(&b, i);
            assert_true(m.n <= (size_t)c.max_message_bytes);
            assert_memory_equal(m.p, "<14>1 ", 6);
            for (size_t k = 0; k < m.n; k++)
                assert_true((uint8_t)m.p[k] >= 0x20 && m.p[k] != 0x7f);
            assert_true(utf8_valid(m));
        }
        slsr_batch_fini(&b);
    }
}

/* 100,000 different keys with the same length, first and last byte, and a duplicate: merged, and
 * not in quadratic time (that would be minutes). */
static void very_many_keys(void **state)
{
    (void)state;
    enum { KEYS = 100000, WIDTH = 8 };
    struct slsr_format_config c = format_settings();
    char *keys = malloc((size_t)KEYS * WIDTH + 1);
    struct slsr_pair *fields = calloc(KEYS + 1, sizeof(*fields));
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys + (size_t)i * WIDTH, WIDTH + 1, "k%06dz", i);
        fields[i] = (struct slsr_pair){{keys + (size_t)i * WIDTH, WIDTH}, BYTES("v")};
    }
    fields[KEYS] = (struct slsr_pair){fields[0].key, BYTES("last")};
    struct slsr_log log = log_of(fields, KEYS + 1);
    struct slsr_batch b;
    c.max_message_bytes = 0;
    run(&c, "MTAw", &log, 1, &b);
    struct slsr_bytes m = format_message(&b, 0);
    const char *first = HEAD GROUP "||k000000z=last||k000001z=v||";
    assert_memory_equal(m.p, first, strlen(first));
    assert_int_equal(m.n, strlen(HEAD GROUP) + (size_t)KEYS * (WIDTH + 4) + 3);
    slsr_batch_fini(&b);
    free(fields);
    free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_bodies),
        cmocka_unit_test(json_and_raw_bodies),
        cmocka_unit_test(newline_and_utf8_settings),
        cmocka_unit_test(provenance_names_cursor_and_index),
        cmocka_unit_test(another_pull_brings_another_group),
        cmocka_unit_test(lengths_of_every_number_of_digits),
        cmocka_unit_test(oversize_is_cut_or_set_aside),
        cmocka_unit_test(seed_time_from_a_content),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(fast_copy_equals_the_plain_one),
        cmocka_unit_test(random_logs_never_forge_a_line),
        cmocka_unit_test(very_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
