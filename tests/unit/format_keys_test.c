/* The short ways of the bodies kv and json: the copy of clean text equals the plain one for every
 * length, place and byte; logs whose keys are known come out as logs whose keys are not looked up
 * (a plan that leaves out a key which never comes sends every log through the map of text). */
#include "format_help.h"

#include "format/clean.h"

enum { KEYS = 700, FIELDS = 40, LOGS = 4000, TEXT = 96 };

static uint64_t random_state = 88172645463325252ULL;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static void clean_copy_equals_the_plain_one(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 70; n++) {
        char *text = malloc(n + 1 - (n > 0)), out[72], plain[72]; /* a read past the end is seen */
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + i % 26);
        struct slsr_bytes in = {text, n};
        assert_true(clean_copy(out, in, '|', '|'));
        assert_true(n == 0 || memcmp(out, text, n) == 0);
        for (size_t at = 0; at < n; at++) {
            char own = text[at];
            for (int byte = 0; byte < 256; byte++) {
                text[at] = (char)byte;
                memset(out, 'X', sizeof(out));
                memset(plain, 'X', sizeof(plain));
                bool clean = clean_copy(out, in, '|', '|');
                assert_int_equal(clean, clean_copy_plain(plain, in, '|', '|'));
                assert_int_equal(clean, byte >= 0x20 && byte < 0x7f && byte != '|');
                if (memcmp(out, plain, sizeof(out)) != 0)
                    fail_msg("byte %02x at %zu of %zu", (unsigned)byte, at, n);
                clean = clean_copy(out, in, '"', '\\');
                assert_int_equal(clean, clean_copy_plain(plain, in, '"', '\\'));
                assert_int_equal(clean, byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\');
            }
            text[at] = own;
        }
        free(text);
    }
}

static char *key_texts[KEYS];
static size_t key_lengths[KEYS];

static void make_keys(void)
{
    static const char *const odd[] = {"",      "__topic__", "_",     "__x",      "a=b",
                                      "\"q\"", "a||b",      "a|",    "\xe4\xb8", "k\n",
                                      "k",     "ka",        "k\x7f", "|",        "__source__"};
    for (size_t i = 0; i < KEYS; i++) {
        char name[TEXT];
        size_t n = i < sizeof(odd) / sizeof(odd[0])
                       ? (size_t)snprintf(name, sizeof(name), "%s", odd[i])
                       : (size_t)snprintf(name, sizeof(name), "%.*s%zu%.*s", (int)rnd(20),
                                          "aaaaaaaaaaaaaaaaaaaa", i, (int)rnd(24),
                                          "bbbbbbbbbbbbbbbbbbbbbbbb");
        key_texts[i] = malloc(n + (n == 0));
        key_lengths[i] = n;
        memcpy(key_texts[i], name, n);
    }
}

static struct slsr_bytes random_value(char *text)
{
    static const char *const parts[] = {"|",  "||",           "\"",   "=",   "\\",
                                        "\n", "\xe4\xb8\xad", "\xff", "\x7f"};
    size_t n = rnd(60);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(' ' + rnd(94));
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(text[i] == '|' ? '!' : text[i]);
    if (rnd(3) == 0 && n > 0) {
        const char *part = parts[rnd(sizeof(parts) / sizeof(parts[0]))];
        memcpy(text + (rnd(2) == 0 ? 0 : rnd((uint32_t)n)), part, strlen(part));
    }
    return (struct slsr_bytes){text, n};
}

/* Mostly like the log before; now and then other keys, rarely one twice. */
static size_t make_log(size_t *ids, size_t count, struct slsr_pair *fields, char (*values)[TEXT],
                       uint32_t pool)
{
    uint32_t luck = rnd(20);
    if (count == 0 || luck == 0) {
        size_t first = rnd(pool);
        count = rnd(FIELDS);
        for (size_t i = 0; i < count; i++)
            ids[i] = (first + i) % pool;
    } else if (luck == 1) {
        ids[rnd((uint32_t)count)] = rnd(pool);
    } else if (luck == 2) {
        count--;
    }
    for (size_t i = 0; i < count; i++)
        fields[i] =
            (struct slsr_pair){{key_texts[ids[i]], key_lengths[ids[i]]}, random_value(values[i])};
    return count;
}

static void compare(const struct slsr_format_config *c, uint32_t pool)
{
    static char values[FIELDS][TEXT];
    static const struct slsr_pair tags[] = {{{"host", 4}, {"a \"b\"\\", 6}},
                                            {{"p\xff|", 3}, {"", 0}}};
    struct slsr_pair fields[FIELDS];
    size_t ids[FIELDS], count = 0;
    char *never[] = {(char *)"never"};
    struct slsr_format_config other = *c;
    other.exclude = (struct slsr_texts){.items = never, .count = 1};
    struct format_plan *known = format_plan_or_die(c), *flat = format_plan_or_die(&other);
    struct slsr_batch got, want;
    struct slsr_err err;
    slsr_batch_init(&got);
    slsr_batch_init(&want);
    for (uint32_t i = 0; i < LOGS; i++) {
        count = make_log(ids, count, fields, values, pool);
        struct slsr_log log = {.time_s = 1767323045 + i / 100,
                               .time_ns = i % 7 == 0 ? i : 0,
                               .index = i,
                               .topic = {"t", 1},
                               .source = {"", 0},
                               .tags = tags,
                               .tag_count = i / 500 % 3,
                               .fields = fields,
                               .field_count = count};
        slsr_batch_reset(&got);
        slsr_batch_reset(&want);
        strcpy(got.cursor, "MTAw");
        strcpy(want.cursor, "MTAw");
        assert_int_equal(format_log(known, &log, &got, &err), 0);
        assert_int_equal(format_log(flat, &log, &want, &err), 0);
        struct slsr_bytes m = format_message(&want, 0);
        format_assert(format_message(&got, 0), m.p, m.n);
    }
    slsr_batch_fini(&got);
    slsr_batch_fini(&want);
    format_plan_free(known);
    format_plan_free(flat);
}

static void known_keys_equal_looked_up_ones(void **state)
{
    (void)state;
    static const char *const seps[] = {"||", " ", "\t", ";", " a separator with many bytes "};
    make_keys();
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (size_t i = 0; i < sizeof(seps) / sizeof(seps[0]); i++)
        for (int bare = 0; bare < 2; bare++) {
            struct slsr_format_config c = format_settings();
            c.sep = (char *)seps[i];
            c.kv_quote = bare ? SLSR_KV_NONE : SLSR_KV_AUTO;
            c.newline = (enum slsr_newline)rnd(3);
            c.invalid_utf8 = (enum slsr_utf8)rnd(3);
            compare(&c, 60);   /* all of them fit into the table */
            compare(&c, KEYS); /* it starts anew again and again */
            c.body = SLSR_BODY_JSON;
            compare(&c, bare ? 60 : KEYS);
        }
    for (size_t i = 0; i < KEYS; i++)
        free(key_texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_copy_equals_the_plain_one),
        cmocka_unit_test(known_keys_equal_looked_up_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
