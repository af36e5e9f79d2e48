/* What the stage puts on the wire, trap by trap; that the signatures are right is proven byte for
 * byte by unit/client_sign_test. Also memory: what many shards and huge pulls may take. */
#include "fake_sls.h"

static void run_whole(struct world *w, enum slsr_signature signature)
{
    static char region[] = "cn-hangzhou";

    world_setup(w, 1, 150);
    w->source.signature = signature;
    w->source.region = region;
    world_start(w);
    RUN_UNTIL(w, all_reported);
    world_pass(w, 25000); /* one more heartbeat */
    world_stop(w);
}

static void trap_01_host_names_the_project_and_the_port(void **state)
{
    struct world w;

    (void)state;
    run_whole(&w, SLSR_SIGN_V4);
    for (size_t i = 0; i < w.asked_count; i++) {
        assert_true(header_is(&w.asked[i], "Host", "proj.sls.example.com:8080"));
        assert_int_equal(w.asked[i].target[0], '/'); /* the path never names the project */
        assert_null(strstr(w.asked[i].target, "proj"));
    }
    world_teardown(&w);
}

static void trap_02_cursors_and_names_are_percent_encoded_once(void **state)
{
    struct world w;
    const char *cursor;

    (void)state;
    run_whole(&w, SLSR_SIGN_V1);
    cursor = strstr(last_asked(&w, PULL)->target, "&cursor=");
    assert_non_null(cursor);
    assert_memory_equal(cursor, "&cursor=MTAwMDE1MA%3D%3D&", 25);
    world_teardown(&w);
}

static void trap_03_x_log_date_only_with_v4_date_only_with_v1(void **state)
{
    struct world w;
    char value[64];

    (void)state;
    run_whole(&w, SLSR_SIGN_V4);
    assert_null(header_of(last_asked(&w, PULL), "Date", value, sizeof value));
    assert_non_null(header_of(last_asked(&w, PULL), "x-log-date", value, sizeof value));
    assert_int_equal(strlen(value), 16);
    world_teardown(&w);
    run_whole(&w, SLSR_SIGN_V1);
    assert_non_null(header_of(last_asked(&w, PULL), "Date", value, sizeof value));
    assert_null(header_of(last_asked(&w, PULL), "x-log-date", value, sizeof value));
    world_teardown(&w);
}

static void trap_04_content_md5_is_upper_case_hex(void **state)
{
    struct world w;
    char value[64];

    (void)state;
    run_whole(&w, SLSR_SIGN_V1);
    assert_non_null(header_of(last_asked(&w, PUT), "Content-MD5", value, sizeof value));
    assert_int_equal(strlen(value), 32);
    assert_int_equal(strspn(value, "0123456789ABCDEF"), 32);
    world_teardown(&w);
}

static void trap_05_force_success_is_never_true(void **state)
{
    struct world w;
    char value[16];

    (void)state;
    run_whole(&w, SLSR_SIGN_V1);
    for (size_t i = 0; i < w.asked_count; i++)
        if (w.asked[i].call == PUT) {
            assert_true(parameter(w.asked[i].target, "forceSuccess", value, sizeof value));
            assert_string_equal(value, "false");
        }
    world_teardown(&w);
}

static void trap_06_heartbeats_are_bare_arrays(void **state)
{
    struct world w;

    (void)state;
    run_whole(&w, SLSR_SIGN_V1);
    assert_string_equal(last_asked(&w, BEAT)->body, "[0]");
    world_teardown(&w);
}

static void trap_07_create_says_consumer_group_checkpoint_says_shard(void **state)
{
    struct world w;

    (void)state;
    run_whole(&w, SLSR_SIGN_V1);
    assert_string_equal(last_asked(&w, CREATE)->body,
                        "{\"consumerGroup\":\"cg\",\"timeout\":60,\"order\":true}");
    assert_string_equal(last_asked(&w, PUT)->body, "{\"shard\":0,\"checkpoint\":\"MTAwMDE1MA==\"}");
    world_teardown(&w);
}

static void trap_26_user_agent_names_group_and_consumer(void **state)
{
    struct world w;
    char agent[128];

    (void)state;
    run_whole(&w, SLSR_SIGN_V1);
    assert_non_null(header_of(last_asked(&w, PULL), "User-Agent", agent, sizeof agent));
    assert_non_null(strstr(agent, "sls-relay/"));
    assert_non_null(strstr(agent, " cg/relay-1"));
    world_teardown(&w);
}

/* A raw LZ4 block: one literal run. */
static size_t lz4_literals(char *out, const char *data, size_t n)
{
    size_t at = 0;
    size_t left = n - 15;

    out[at++] = (char)0xf0;
    for (; left >= 255; left -= 255)
        out[at++] = (char)255;
    out[at++] = (char)left;
    memcpy(out + at, data, n);
    return at + n;
}

static bool lz4(struct world *w, const struct asked *q, struct answer *a)
{
    char plain[8192];
    const size_t prefix = w->step == 0 ? 4 : 0; /* as some libraries write it */
    size_t n;

    if (q->call != PULL)
        return false;
    model_answer(w, q, a);
    n = a->body_n;
    if (n < 16)
        return true;
    memcpy(plain, a->body, n);
    memcpy(a->body, &n, 4);
    a->body_n = prefix + lz4_literals(a->body + prefix, plain, n);
    snprintf(a->headers + strlen(a->headers), sizeof a->headers - strlen(a->headers),
             "x-log-compresstype: lz4\n");
    return true;
}

static void trap_25_lz4_is_a_bare_block_a_size_prefix_is_refused(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 150);
    w.hook = lz4;
    world_start(&w);
    world_pass(&w, 5000);
    assert_int_equal(frames_spooled(&w), 0);
    assert_string_equal(note_of(&w, 0).state, "answer");
    w.step = 1;
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    world_teardown(&w);
}

/* A log's nanoseconds: plain digits in the time stamp, absent when 0, never a tuple. */
static bool with_ns(struct world *w, const struct asked *q, struct answer *a)
{
    static const char body[] = "\x0a\x17\x0a\x15\x08\xa5\x84\xd8\xbb\x06\x12\x08\x0a\x01n\x12\x03"
                               "abc\x25\x15\xcd\x5b\x07\x22\x00";
    char next[SLSR_CURSOR_MAX + 1];

    if (q->call != PULL || strstr(q->target, "cursor=MTAwMDAwMA") == NULL)
        return false;
    w->step++;
    cursor_text(FAKE_FIRST + 1, next);
    a->status = 200;
    snprintf(a->headers, sizeof a->headers,
             "x-log-cursor: %s\nx-log-count: 1\nx-log-bodyrawsize: 27\n", next);
    memcpy(a->body, body, 27);
    a->body_n = 27;
    return true;
}

static void trap_19_nanoseconds_are_plain_digits(void **state)
{
    struct world w;
    struct slsr_range *range;
    struct slsr_frame frame;
    char text[512];

    (void)state;
    world_setup(&w, 1, 1);
    w.hook = with_ns;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(slsr_range_open(&range, w.spool, 1, UINT64_MAX, NULL), 0);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    snprintf(text, sizeof text, "%.*s", (int)frame.message.n, frame.message.p);
    assert_non_null(strstr(text, ".123456"));
    assert_null(strstr(text, "("));
    slsr_range_close(range);
    world_teardown(&w);
}

/* --- 8.21: memory --- */

static bool huge_pull(struct world *w, const struct asked *q, struct answer *a)
{
    char count[16];

    if (q->call != PULL || w->step != 0)
        return false;
    /* asked for many groups it says that it would be a gigabyte; asked for few it is not */
    assert_true(parameter(q->target, "count", count, sizeof count));
    if (strtoul(count, NULL, 10) <= 100)
        return false;
    return say_text(a, 200,
                    "x-log-cursor: MTAwMDE1MA==\nx-log-count: 150\n"
                    "x-log-bodyrawsize: 1000000000\nx-log-compresstype: lz4\n",
                    "x");
}

static void trap_21_a_pull_over_the_limit_is_asked_for_in_smaller_pieces(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 150);
    w.hook = huge_pull;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    assert_string_equal(note_of(&w, 0).state, "ok");
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    world_teardown(&w);
}

static bool slow_pulls(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    if (q->call == PULL)
        a->delay_ms = 1000;
    return false;
}

/* All shards have a backlog, and the service is slow: not all of them may hold an answer at once.
 */
static void trap_21_first_pulls_wait_for_their_share_of_memory(void **state)
{
    struct world w;
    int64_t began_ms = 0;
    unsigned at_once = 0;

    (void)state;
    world_setup(&w, FAKE_SHARDS, 5);
    w.hook = slow_pulls;
    world_start(&w);
    RUN_UNTIL(&w, all_spooled);
    world_stop(&w);
    for (size_t i = 0; i < w.asked_count; i++) {
        if (w.asked[i].call != PULL)
            continue;
        if (began_ms == 0)
            began_ms = w.asked[i].at_ms;
        at_once += w.asked[i].at_ms < began_ms + 1000;
    }
    assert_int_equal(at_once, 16); /* each with a sixteenth of source.memory */
    for (uint32_t i = 0; i < FAKE_SHARDS; i++)
        assert_int_equal(spooled_whole(&w, i, FAKE_FIRST), 0);
    world_teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_01_host_names_the_project_and_the_port),
        cmocka_unit_test(trap_02_cursors_and_names_are_percent_encoded_once),
        cmocka_unit_test(trap_03_x_log_date_only_with_v4_date_only_with_v1),
        cmocka_unit_test(trap_04_content_md5_is_upper_case_hex),
        cmocka_unit_test(trap_05_force_success_is_never_true),
        cmocka_unit_test(trap_06_heartbeats_are_bare_arrays),
        cmocka_unit_test(trap_07_create_says_consumer_group_checkpoint_says_shard),
        cmocka_unit_test(trap_19_nanoseconds_are_plain_digits),
        cmocka_unit_test(trap_21_a_pull_over_the_limit_is_asked_for_in_smaller_pieces),
        cmocka_unit_test(trap_21_first_pulls_wait_for_their_share_of_memory),
        cmocka_unit_test(trap_25_lz4_is_a_bare_block_a_size_prefix_is_refused),
        cmocka_unit_test(trap_26_user_agent_names_group_and_consumer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
