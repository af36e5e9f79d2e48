/* The scanner of src/codec against hand-made bytes and against protobuf-c: random messages, and the
 * same with damaged bytes. The seed is printed; CODEC_TEST_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lz4.h>

#include "codec/codec.h"
#include "sls_logs.pb-c.h"

static uint64_t random_state;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static struct codec *fresh(void)
{
    struct codec *c;
    assert_int_equal(codec_new(&c, NULL), 0);
    return c;
}

static int begin(struct codec *c, const char *bytes, size_t n, uint32_t *groups)
{
    return codec_begin(c, (struct slsr_bytes){bytes, n}, CODEC_PLAIN, 0, groups, NULL);
}

#define BEGIN(c, literal, groups) begin(c, literal, sizeof(literal) - 1, groups)

static void assert_bytes(struct slsr_bytes got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static void assert_same(struct slsr_bytes got, ProtobufCBinaryData want)
{
    assert_int_equal(got.n, want.len);
    if (got.n > 0)
        assert_memory_equal(got.p, want.data, got.n);
}

/* The example of the service's wire format: one group, one log, non-ASCII value, fixed32. */
static const char example[] =
    "\x0a\x59\x0a\x30\x08\xa5\x84\xd8\xbb\x06\x12\x0d\x0a\x05level\x12\x04INFO\x12\x14\x0a\x03msg"
    "\x12\x0dh\xc3\xa9llo \xe4\xb8\x96\xe7\x95\x8c\x25\x15\xcd\x5b\x07\x1a\x07topic-a\x22\x08"
    "10.0.0.1\x32\x12\x0a\x0c__hostname__\x12\x02h1";

static void check_example(struct codec *c)
{
    struct slsr_log log;
    assert_true(codec_next(c, &log));
    assert_int_equal(log.time_s, 1735787045);
    assert_int_equal(log.time_ns, 123456789);
    assert_bytes(log.topic, "topic-a");
    assert_bytes(log.source, "10.0.0.1");
    assert_int_equal(log.tag_count, 1);
    assert_bytes(log.tags[0].key, "__hostname__");
    assert_bytes(log.tags[0].value, "h1");
    assert_int_equal(log.field_count, 2);
    assert_bytes(log.fields[1].key, "msg");
    assert_bytes(log.fields[1].value, "h\xc3\xa9llo \xe4\xb8\x96\xe7\x95\x8c");
    assert_false(codec_next(c, &log));
    assert_false(codec_next(c, &log));
}

static void reads_the_example_plain_and_lz4(void **state)
{
    (void)state;
    struct codec *c = fresh();
    uint32_t groups;
    char packed[256];
    int n = LZ4_compress_default(example, packed, sizeof(example) - 1, sizeof(packed));

    assert_int_equal(BEGIN(c, example, &groups), 0);
    assert_int_equal(groups, 1);
    check_example(c);
    struct slsr_bytes body = {packed, (size_t)n};
    assert_int_equal(codec_begin(c, body, CODEC_LZ4, sizeof(example) - 1, &groups, NULL), 0);
    memset(packed, 0xee, sizeof(packed)); /* the body is not needed any more */
    check_example(c);
    codec_free(c);
}

static void refuses_a_wrong_size(void **state)
{
    (void)state;
    struct codec *c = fresh();
    struct slsr_log log;
    char packed[256];
    int n = LZ4_compress_default(example, packed, sizeof(example) - 1, sizeof(packed));
    struct slsr_bytes body = {packed, (size_t)n};
    const size_t sizes[] = {0, 1, sizeof(example) - 2, sizeof(example), 65536};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(codec_begin(c, body, CODEC_LZ4, sizes[i], NULL, NULL), SLSR_EBADDATA);
        assert_false(codec_next(c, &log));
    }
    assert_int_equal(codec_begin(c, body, CODEC_LZ4, (size_t)CODEC_RAW_MAX + 1, NULL, NULL),
                     SLSR_ETOOBIG);
    body = (struct slsr_bytes){example, sizeof(example) - 1};
    assert_int_equal(codec_begin(c, body, CODEC_PLAIN, 5, NULL, NULL), SLSR_EBADDATA);
    body.n = 0;
    assert_int_equal(codec_begin(c, body, CODEC_LZ4, 0, NULL, NULL), 0);
    assert_false(codec_next(c, &log));
    codec_free(c);
}

static void every_truncation_is_refused_or_shorter(void **state)
{
    (void)state;
    struct codec *c = fresh();
    struct slsr_log log;
    for (size_t n = 0; n < sizeof(example) - 1; n++) {
        char *copy = malloc(n + 1); /* own block: the sanitizer sees a read past the end */
        memcpy(copy, example, n);
        assert_int_equal(begin(c, copy, n, NULL), n == 0 ? 0 : SLSR_EBADDATA);
        assert_false(codec_next(c, &log));
        free(copy);
    }
    codec_free(c);
}

static void topic_behind_logs_and_last_value_wins(void **state)
{
    (void)state;
    struct codec *c = fresh();
    struct slsr_log log;
    uint32_t groups;
    /* Logs, then Topic twice, then tags; Time twice; unknown fields 7 (varint), 9 (fixed64), 10
     * (bytes), 11 (fixed32) on the way; an empty second group; a third one with two logs. */
    assert_int_equal(BEGIN(c,
                           "\x0a\x32\x0a\x0a\x08\x01\x08\x02\x38\x05\x12\x02\x0a\x00\x1a\x01x\x1a"
                           "\x01y\x49"
                           "12345678\x52\x03"
                           "abc\x5d"
                           "1234\x32\x06\x0a\x01k\x12\x01v\x22\x01s\x1a\x00"
                           "\x0a\x00"
                           "\x0a\x04\x0a\x00\x0a\x00",
                           &groups),
                     0);
    assert_int_equal(groups, 3);
    assert_true(codec_next(c, &log));
    assert_int_equal(log.time_s, 2);
    assert_bytes(log.topic, "");
    assert_bytes(log.source, "s");
    assert_int_equal(log.tag_count, 1);
    assert_int_equal(log.field_count, 1);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(codec_next(c, &log));
        assert_int_equal(log.group, 2);
        assert_int_equal(log.index, i);
        assert_int_equal(log.time_s, 0);
        assert_int_equal(log.tag_count + log.field_count + log.topic.n, 0);
    }
    assert_false(codec_next(c, &log));
    codec_free(c);
}

static void odd_wire_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        int rc;
    } cases[] = {
        {"\x0b", 1, SLSR_EBADDATA},             /* group start */
        {"\x0c", 1, SLSR_EBADDATA},             /* group end */
        {"\x0e", 1, SLSR_EBADDATA},             /* wire type 6 */
        {"\x0f", 1, SLSR_EBADDATA},             /* wire type 7 */
        {"\x02\x00", 2, SLSR_EBADDATA},         /* field number 0 */
        {"\x0a\x02\x0a\x01", 4, SLSR_EBADDATA}, /* log past its group */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, SLSR_EBADDATA},     /* length 2^64-1 */
        {"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, SLSR_EBADDATA}, /* 11 bytes */
        {"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 0},
        {"\x08\x05", 2, 0},         /* known number, other wire type: skipped */
        {"\x8a\x80\x00\x00", 4, 0}, /* overlong tag and empty group */
    };
    struct codec *c = fresh();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(begin(c, cases[i].bytes, cases[i].n, NULL), cases[i].rc);
    codec_free(c);
}

static void a_part_of_a_second_stays_in_its_range(void **state)
{
    (void)state;
    struct codec *c = fresh();
    struct slsr_log log;
    assert_int_equal(
        BEGIN(c, "\x0a\x0e\x0a\x05\x25\xff\xc9\x9a\x3b\x0a\x05\x25\x00\xca\x9a\x3b", NULL), 0);
    assert_true(codec_next(c, &log));
    assert_int_equal(log.time_ns, 999999999);
    assert_true(codec_next(c, &log));
    assert_int_equal(log.time_ns, 0);
    codec_free(c);
}

static void too_many_pairs_are_refused(void **state)
{
    (void)state;
    enum { PAIRS = (1 << 20) + 1 };
    struct codec *c = fresh();
    size_t n = (size_t)PAIRS * 2;
    char *body = malloc(n + 16), *p = body;
    *p++ = 0x0a;
    for (size_t v = n; v > 0; v >>= 7)
        *p++ = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    for (int i = 0; i < PAIRS; i++) {
        *p++ = 0x32;
        *p++ = 0;
    }
    assert_int_equal(begin(c, body, (size_t)(p - body), NULL), SLSR_ETOOBIG);
    free(body);
    codec_free(c);
}

/* A damaged log behind a good one: the quick way gives the first and tells at the end; the array of
 * fields grows on the way. */
static void a_damaged_log_ends_the_quick_way(void **state)
{
    (void)state;
    enum { FIELDS = 1000 };
    struct codec *c = fresh();
    struct slsr_log log;
    struct slsr_err err;
    char body[FIELDS * 8 + 64], *p = body;
    size_t n = FIELDS * 8;
    *p++ = 0x0a; /* a group of two logs, of 3 + n and 2 + 4 bytes */
    n += 3 + 6;
    *p++ = (char)((n & 0x7f) | 0x80);
    *p++ = (char)(n >> 7);
    n = FIELDS * 8;
    *p++ = 0x0a;
    *p++ = (char)((n & 0x7f) | 0x80);
    *p++ = (char)(n >> 7);
    for (int i = 0; i < FIELDS; i++, p += 8)
        memcpy(p, "\x12\x06\x0a\x01k\x12\x01v", 8);
    memcpy(p, "\x0a\x04\x12\x7f\x0a\x00", 6); /* a pair past its log */
    p += 6;
    struct slsr_bytes all = {body, (size_t)(p - body)};

    assert_int_equal(codec_begin(c, all, CODEC_PLAIN, 0, NULL, NULL), SLSR_EBADDATA);
    assert_false(codec_next(c, &log));
    assert_int_equal(codec_begin_quick(c, all, CODEC_PLAIN, 0, NULL, NULL), 0);
    assert_int_equal(codec_check(c, NULL), SLSR_EBADDATA);
    assert_true(codec_next(c, &log));
    assert_int_equal(log.field_count, FIELDS);
    assert_bytes(log.fields[FIELDS - 1].value, "v");
    assert_int_equal(codec_end(c, NULL), 0);
    assert_int_equal(codec_check(c, NULL), SLSR_EBADDATA);
    assert_false(codec_next(c, &log));
    assert_false(codec_next(c, &log));
    assert_int_equal(codec_end(c, &err), SLSR_EBADDATA);
    assert_non_null(strstr(err.text, "log group 0"));
    assert_int_equal(codec_check(c, NULL), SLSR_EBADDATA);
    all.n -= 6;
    body[1] = (char)(((n + 3) & 0x7f) | 0x80); /* without the second log */
    body[2] = (char)((n + 3) >> 7);
    assert_int_equal(codec_begin_quick(c, all, CODEC_PLAIN, 0, NULL, NULL), 0);
    assert_true(codec_next(c, &log));
    assert_false(codec_next(c, &log));
    assert_int_equal(codec_end(c, NULL), 0);
    codec_free(c);
}

/* --- against protobuf-c --- */

static ProtobufCBinaryData random_bytes(uint32_t most)
{
    uint32_t n = rnd(most + 1);
    ProtobufCBinaryData b = {n, malloc(n + 1)};
    for (uint32_t i = 0; i < n; i++)
        b.data[i] = (uint8_t)rnd(256);
    return b;
}

static SlsLogs__Log *random_log(void)
{
    SlsLogs__Log *log = malloc(sizeof(*log));
    sls_logs__log__init(log);
    log->has_time = rnd(8) != 0;
    log->time = rnd(UINT32_MAX);
    log->has_time_ns = (int)rnd(2);
    log->time_ns = rnd(1000000000);
    log->n_contents = rnd(6);
    log->contents = calloc(log->n_contents + 1, sizeof(void *));
    for (size_t i = 0; i < log->n_contents; i++) {
        log->contents[i] = malloc(sizeof(**log->contents));
        sls_logs__log__content__init(log->contents[i]);
        log->contents[i]->key = random_bytes(rnd(20) == 0 ? 200 : 12);
        log->contents[i]->value = random_bytes(rnd(40) == 0   ? 20000
                                               : rnd(10) == 0 ? 300
                                                              : 20); /* all lengths of a length */
    }
    return log;
}

static SlsLogs__LogGroup *random_group(void)
{
    SlsLogs__LogGroup *g = malloc(sizeof(*g));
    sls_logs__log_group__init(g);
    g->has_topic = (int)rnd(2);
    g->topic = random_bytes(20);
    g->has_source = (int)rnd(2);
    g->source = random_bytes(20);
    g->has_category = (int)rnd(2);
    g->category = random_bytes(5);
    g->n_logs = rnd(5);
    g->logs = calloc(g->n_logs + 1, sizeof(void *));
    for (size_t i = 0; i < g->n_logs; i++)
        g->logs[i] = random_log();
    g->n_logtags = rnd(4);
    g->logtags = calloc(g->n_logtags + 1, sizeof(void *));
    for (size_t i = 0; i < g->n_logtags; i++) {
        g->logtags[i] = malloc(sizeof(**g->logtags));
        sls_logs__log_tag__init(g->logtags[i]);
        g->logtags[i]->key = random_bytes(10);
        g->logtags[i]->value = random_bytes(10);
    }
    return g;
}

static uint8_t *random_message(size_t *n)
{
    SlsLogs__LogGroupList list = SLS_LOGS__LOG_GROUP_LIST__INIT;
    list.n_loggroups = rnd(4);
    list.loggroups = calloc(list.n_loggroups + 1, sizeof(void *));
    for (size_t i = 0; i < list.n_loggroups; i++)
        list.loggroups[i] = random_group();
    *n = sls_logs__log_group_list__get_packed_size(&list);
    uint8_t *bytes = malloc(*n + 1);
    sls_logs__log_group_list__pack(&list, bytes);
    for (size_t i = 0; i < list.n_loggroups; i++) {
        /* An absent optional field is not freed by protobuf-c's own walk unless present. */
        list.loggroups[i]->has_topic = list.loggroups[i]->has_source = 1;
        list.loggroups[i]->has_category = 1;
        sls_logs__log_group__free_unpacked(list.loggroups[i], NULL);
    }
    free(list.loggroups);
    return bytes;
}

static void assert_log(const struct slsr_log *log, const SlsLogs__LogGroup *g, size_t index)
{
    const SlsLogs__Log *want = g->logs[index];
    assert_int_equal(log->index, index);
    assert_int_equal(log->time_s, want->has_time ? want->time : 0);
    assert_int_equal(log->time_ns,
                     want->has_time_ns && want->time_ns < 1000000000 ? want->time_ns : 0);
    assert_same(log->topic, g->topic);
    assert_same(log->source, g->source);
    assert_int_equal(log->tag_count, g->n_logtags);
    for (size_t i = 0; i < g->n_logtags; i++) {
        assert_same(log->tags[i].key, g->logtags[i]->key);
        assert_same(log->tags[i].value, g->logtags[i]->value);
    }
    assert_int_equal(log->field_count, want->n_contents);
    for (size_t i = 0; i < want->n_contents; i++) {
        assert_same(log->fields[i].key, want->contents[i]->key);
        assert_same(log->fields[i].value, want->contents[i]->value);
    }
}

/* Begins without a look into the logs; true when a damaged one ended the body, as `rc` has it. */
static bool begin_quick(struct codec *c, struct slsr_bytes body, int rc, uint32_t *groups)
{
    struct slsr_log log;
    int quick = codec_begin_quick(c, body, CODEC_PLAIN, 0, groups, NULL);
    if (quick == 0 && rc != 0) {
        uint32_t skip = rnd(3);
        while (skip-- > 0 && codec_next(c, &log))
            ;
        quick = rnd(2) == 0 ? codec_check(c, NULL) : 0;
        while (quick == 0 && codec_next(c, &log))
            ;
        quick = quick == 0 ? codec_end(c, NULL) : quick;
    }
    assert_int_equal(quick, rc);
    return quick != 0;
}

/* Reads everything, and compares when the oracle accepts the bytes too. */
static bool agree(struct codec *c, const uint8_t *bytes, size_t n)
{
    struct slsr_log log;
    uint32_t groups;
    char *copy = malloc(n + 1);
    memcpy(copy, bytes, n);
    int rc = begin(c, copy, n, &groups);
    if (rnd(2) == 0 && begin_quick(c, (struct slsr_bytes){copy, n}, rc, &groups))
        assert_int_equal(begin(c, copy, n, &groups), rc); /* nothing of it is left */
    SlsLogs__LogGroupList *list = sls_logs__log_group_list__unpack(NULL, n, bytes);
    bool both = rc == 0 && list != NULL;
    if (rc != 0) {
        assert_int_equal(rc, SLSR_EBADDATA);
        assert_false(codec_next(c, &log));
    } else if (list == NULL) {
        while (codec_next(c, &log))
            assert_true(log.group < groups);
    } else {
        assert_int_equal(groups, list->n_loggroups);
        for (size_t g = 0; g < list->n_loggroups; g++)
            for (size_t i = 0; i < list->loggroups[g]->n_logs; i++) {
                assert_true(codec_next(c, &log));
                assert_int_equal(log.group, g);
                assert_log(&log, list->loggroups[g], i);
            }
        assert_false(codec_next(c, &log));
        assert_int_equal(codec_end(c, NULL), 0);
    }
    sls_logs__log_group_list__free_unpacked(list, NULL);
    free(copy);
    return both;
}

static void random_and_mutated_messages_agree(void **state)
{
    (void)state;
    const char *given = getenv("CODEC_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10)
                                 : (uint64_t)(uintptr_t)&state ^ 88172645463325252ULL;
    print_message("CODEC_TEST_SEED=%llu\n", (unsigned long long)random_state);
    struct codec *c = fresh();
    size_t mutants_accepted = 0;
    for (int round = 0; round < 400; round++) {
        size_t n;
        uint8_t *bytes = random_message(&n);
        assert_true(agree(c, bytes, n));
        for (int m = 0; m < 20 && n > 0; m++) {
            uint8_t *mutant = malloc(n);
            memcpy(mutant, bytes, n);
            for (uint32_t k = rnd(3) + 1; k > 0; k--)
                mutant[rnd((uint32_t)n)] = (uint8_t)rnd(256);
            mutants_accepted += agree(c, mutant, rnd(4) == 0 ? rnd((uint32_t)n) : n);
            free(mutant);
        }
        free(bytes);
    }
    assert_true(mutants_accepted > 0);
    codec_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_example_plain_and_lz4),
        cmocka_unit_test(refuses_a_wrong_size),
        cmocka_unit_test(every_truncation_is_refused_or_shorter),
        cmocka_unit_test(topic_behind_logs_and_last_value_wins),
        cmocka_unit_test(odd_wire_bytes),
        cmocka_unit_test(a_part_of_a_second_stays_in_its_range),
        cmocka_unit_test(too_many_pairs_are_refused),
        cmocka_unit_test(a_damaged_log_ends_the_quick_way),
        cmocka_unit_test(random_and_mutated_messages_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
