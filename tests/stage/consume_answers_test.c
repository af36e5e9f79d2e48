/* Whatever comes instead of a proper answer: the stage survives it, says what it is in a word and a
 * sentence, recovers by itself, and in the end every log group is in the spool exactly once.
 *
 * One case per trap, named as in docs/sls.md. Most break the first few answers of one kind. */
#include <locale.h>

#include "fake_sls.h"

/* --- the same story for all: some answers are broken, then they are whole --- */

struct trouble {
    enum call call;
    int times;
    bool (*break_it)(struct world *w, const struct asked *q, struct answer *a);
    const char *state; /* the word while it lasts, NULL: not looked at */
};
static const struct trouble *trouble;
static char seen_state[16], seen_error[320];

static bool broken(struct world *w, const struct asked *q, struct answer *a)
{
    if (q->call != trouble->call || q->shard != 0 || w->step >= trouble->times)
        return false;
    w->step++;
    return trouble->break_it(w, q, a);
}

static bool trouble_over(struct world *w)
{
    const uint32_t who = trouble->call == BEAT || trouble->call == CREATE ? UINT32_MAX : 0;
    const struct consume_note note = note_of(w, who);

    if (note.error[0] != '\0') {
        snprintf(seen_state, sizeof seen_state, "%s", note.state);
        snprintf(seen_error, sizeof seen_error, "%s", note.error);
    }
    return w->step >= trouble->times && all_reported(w);
}

static void survives(const struct trouble *t)
{
    struct world w;

    trouble = t;
    seen_state[0] = seen_error[0] = '\0';
    world_setup(&w, 2, 150);
    w.hook = broken;
    world_start(&w);
    RUN_UNTIL(&w, trouble_over);
    world_pass(&w, 60000);
    if (t->state != NULL) {
        assert_string_equal(seen_state, t->state);
        assert_true(strlen(seen_error) > 20);
        assert_null(strchr(seen_error, '\n'));
        assert_null(strstr(seen_error, FAKE_SECRET));
    }
    assert_string_equal(note_of(&w, 0).state, "ok"); /* recovered by itself */
    assert_string_equal(note_of(&w, UINT32_MAX).state, "ok");
    assert_int_equal(w.fatal, 0);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    assert_int_equal(gaps(&w, NULL), 0);
    world_teardown(&w);
}

#define SURVIVES(name, call, times, how, word)                                                     \
    static void name(void **state)                                                                 \
    {                                                                                              \
        static const struct trouble t = {call, times, how, word};                                  \
                                                                                                   \
        (void)state;                                                                               \
        survives(&t);                                                                              \
    }

static bool empty_500(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_text(a, 500, "", "");
}
SURVIVES(client_survives_error_with_empty_body, PULL, 4, empty_500, "server")
SURVIVES(client_survives_error_with_empty_body_on_heartbeat, BEAT, 2, empty_500, "server")
SURVIVES(client_survives_error_with_empty_body_on_checkpoint, PUT, 4, empty_500, "server")

static bool html_502(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_text(a, 502, "content-type: text/html\n", "<html><h1>Bad Gateway</h1></html>");
}
SURVIVES(client_survives_html_error_page, PULL, 4, html_502, "server")

static bool html_403(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_text(a, 403, "content-type: text/html\n", "<html>Access denied by policy</html>");
}
SURVIVES(client_survives_html_error_page_403, PULL, 2, html_403, "credentials")

static bool html_200(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_text(a, 200, "content-type: text/html\n",
                    "<html>Please log in to the network</html>");
}
SURVIVES(client_survives_html_page_with_status_200_on_pull, PULL, 3, html_200, "server")
SURVIVES(client_survives_html_page_with_status_200_on_heartbeat, BEAT, 2, html_200, "server")
SURVIVES(html_page_with_status_200_is_no_stored_checkpoint, PUT, 3, html_200, "server")
SURVIVES(html_page_with_status_200_is_no_created_group, CREATE, 2, html_200, "server")
SURVIVES(client_survives_html_page_with_status_200_on_get_checkpoint, GET, 3, html_200, "server")

static bool connection_breaks(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_nothing(a, SLSR_ENET);
}
SURVIVES(client_survives_200_with_truncated_body_the_connection_breaks, PULL, 4, connection_breaks,
         "network")

static bool truncated(struct world *w, const struct asked *q, struct answer *a)
{
    model_answer(w, q, a);
    if (a->body_n > 10)
        a->body_n -= 10; /* shorter than x-log-bodyrawsize says */
    return true;
}
SURVIVES(client_survives_200_with_truncated_body, PULL, 2, truncated, "server")

static bool undecodable(struct world *w, const struct asked *q, struct answer *a)
{
    model_answer(w, q, a);
    if (a->body_n > 0)
        memset(a->body, 0xff, a->body_n);
    return true;
}
SURVIVES(client_survives_200_with_undecodable_body, PULL, 2, undecodable, "answer")

static bool no_cursor(struct world *w, const struct asked *q, struct answer *a)
{
    model_answer(w, q, a);
    memcpy(a->headers, "x-not-cursor", 12);
    return true;
}
SURVIVES(client_survives_x_log_cursor_missing, PULL, 2, no_cursor, "server")

static bool empty_cursor(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_text(a, 200, "x-log-cursor: \nx-log-count: 0\nx-log-bodyrawsize: 0\n", "");
}
SURVIVES(client_survives_x_log_cursor_empty_it_stays_where_it_is, PULL, 3, empty_cursor, NULL)

static bool empty_cursor_with_data(struct world *w, const struct asked *q, struct answer *a)
{
    char rest[512];

    model_answer(w, q, a);
    snprintf(rest, sizeof rest, "%.500s", strchr(a->headers, '\n'));
    snprintf(a->headers, sizeof a->headers, "x-log-cursor: %s", rest);
    return true;
}
/* Taking the groups would mean reading them for ever, dropping them to lose them. */
SURVIVES(x_log_cursor_empty_beside_groups_is_asked_again, PULL, 1, empty_cursor_with_data, "server")

static bool wrong_count(struct world *w, const struct asked *q, struct answer *a)
{
    char *count;

    model_answer(w, q, a);
    count = strstr(a->headers, "x-log-count: 100");
    if (count != NULL)
        memcpy(count, "x-log-count: 400", 16); /* logs, as the documentation has it */
    return true;
}
SURVIVES(trap_08_x_log_count_counts_groups_another_number_is_asked_again, PULL, 1, wrong_count,
         "answer")

static bool object_answer(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say_text(a, 200, "", "{\"shards\":[0,1]}");
}
/* As the documentation prints it; nobody sends it. Refused, and no shard is dropped for it. */
SURVIVES(trap_06_object_instead_of_bare_array_is_refused, BEAT, 2, object_answer, "server")

/* --- error codes --- */

#define REFUSES(name, status, code)                                                                \
    static bool name(struct world *w, const struct asked *q, struct answer *a)                     \
    {                                                                                              \
        (void)w;                                                                                   \
        (void)q;                                                                                   \
        return say(a, status, code);                                                               \
    }
REFUSES(quota_403, 403, "ReadQuotaExceed")
REFUSES(shard_quota_403, 403, "shardreadquotaexceed")
REFUSES(quota_429, 429, "TooManyRequests")
REFUSES(denied_403, 403, "Unauthorized")
REFUSES(unknown_403, 403, "PermissionDenied")
REFUSES(busy_503, 503, "ServerBusy")
REFUSES(expired_401, 401, "SecurityTokenExpired")
REFUSES(expired_dot_401, 401, "SecurityToken.Expired")
REFUSES(signature_401, 401, "SignatureNotMatch")
REFUSES(unknown_400, 400, "SomethingNobodyHasHeardOf")
REFUSES(project_gone, 404, "ProjectNotExists")
SURVIVES(quota_is_told_apart_from_permission_403_quota, PULL, 5, quota_403, "quota")
SURVIVES(quota_is_told_apart_from_permission_codes_in_any_case, PULL, 5, shard_quota_403, "quota")
SURVIVES(quota_is_told_apart_from_permission_429, PULL, 5, quota_429, "quota")
SURVIVES(quota_is_told_apart_from_permission_403_denied, PULL, 3, denied_403, "credentials")
SURVIVES(quota_is_told_apart_from_permission_403_other_code, PULL, 3, unknown_403, "credentials")
SURVIVES(storm_of_503, PULL, 40, busy_503, "server")
SURVIVES(storm_of_quota, PULL, 40, quota_403, "quota")
SURVIVES(client_survives_token_expiry, PULL, 3, expired_401, "credentials")
SURVIVES(client_survives_token_expiry_other_spelling, PULL, 3, expired_dot_401, "credentials")
SURVIVES(wrong_signature_for_a_while, PULL, 3, signature_401, "credentials")
SURVIVES(unknown_code_counts_by_its_status, PULL, 3, unknown_400, "request")
SURVIVES(trap_14_misspelt_code_project_not_exists, PULL, 3, project_gone, "not_found")

REFUSES(shard_misspelt, 404, "ShardNotExsit")
SURVIVES(trap_14_misspelt_code_shard_not_exsit, PULL, 2, shard_misspelt, "lost")

REFUSES(consumer_misspelt, 404, "ConsumerNotExsit")
/* The shard is dropped without another word; the next heartbeat brings it back. */
SURVIVES(trap_14_misspelt_code_consumer_not_exsit, PUT, 1, consumer_misspelt, NULL)

REFUSES(body_not_known, 400, "notexistconsumerwithbody")
SURVIVES(trap_14_codes_are_compared_without_case, BEAT, 1, body_not_known, NULL)

/* --- 8.9: a filter --- */

static bool reported_end(struct world *w)
{
    char end[SLSR_CURSOR_MAX + 1];
    bool same;

    pthread_mutex_lock(&w->lock);
    cursor_text(w->shards[0].next, end);
    same = strcmp(w->shards[0].checkpoint, end) == 0;
    pthread_mutex_unlock(&w->lock);
    return same;
}

static bool filter_drops_all(struct world *w, const struct asked *q, struct answer *a)
{
    char cursor[SLSR_CURSOR_MAX + 1], next[SLSR_CURSOR_MAX + 1], headers[512];
    uint64_t from;

    (void)w;
    if (q->call != PULL)
        return false;
    assert_true(parameter(q->target, "cursor", cursor, sizeof cursor));
    assert_true(cursor_number(cursor, &from));
    if (from >= FAKE_FIRST + 5000)
        return false;
    cursor_text(from + 1000, next);
    snprintf(headers, sizeof headers,
             "x-log-cursor: %s\nx-log-count: 0\nx-log-bodyrawsize: 0\nx-log-rawdatasize: 8000000\n"
             "x-log-rawdatacount: 1000\n",
             next);
    return say_text(a, 200, headers, "");
}

/* 0 groups and a moved cursor is not the end; and what the service scanned sets the pace. */
static void trap_09_count_0_with_a_moved_cursor_is_not_the_end(void **state)
{
    static char query[] = "* | where level = 'ERROR'";
    struct world w;
    int64_t began;
    char sent[64];

    (void)state;
    world_setup(&w, 1, 5100);
    w.source.query = query;
    w.hook = filter_drops_all;
    world_start(&w);
    began = clock_mono_ms();
    RUN_UNTIL(&w, reported_end);
    assert_in_range(clock_mono_ms() - began, 0, 1500); /* five empty answers without a pause */
    assert_true(parameter(last_asked(&w, PULL)->target, "query", sent, sizeof sent));
    assert_string_equal(sent, query);
    assert_true(parameter(last_asked(&w, PULL)->target, "pullMode", sent, sizeof sent));
    assert_string_equal(sent, "scan_on_stream");
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST + 5000), 0);
    world_teardown(&w);
}

/* --- 8.27: the clock --- */

static bool skewed(struct world *w, const struct asked *q, struct answer *a)
{
    char date[64];

    if (w->step == 1 && header_of(q, "Date", date, sizeof date) != NULL &&
        strcmp(date, "Thu, 02 Jan 2025 03:25:05 GMT") < 0)
        return say_text(a, 400, "Date: Thu, 02 Jan 2025 03:25:05 GMT\n",
                        "{\"errorCode\":\"RequestTimeExpired\",\"errorMessage\":\"x\"}");
    return false;
}

/* 21 minutes behind: taken from the answer's Date, once for all shards, and said which way. */
static void trap_27_clock_skew_is_taken_from_the_answers_date(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 150);
    w.step = 1;
    w.hook = skewed;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(w.count[CREATE], 2); /* refused once, then dated by the service's clock */
    assert_int_equal(w.count[UPDATE], 0);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    world_teardown(&w);
}

static bool no_date(struct world *w, const struct asked *q, struct answer *a)
{
    (void)w;
    (void)q;
    return say(a, 400, "RequestTimeTooSkewed");
}
SURVIVES(trap_27_clock_skew_without_a_date_is_said_and_tried_again, PULL, 3, no_date, "clock")

/* --- 8.15, 8.18, 8.21, 8.23, 8.24 --- */

static bool update_time(struct world *w, const struct asked *q, struct answer *a)
{
    if (q->call != GET)
        return false;
    w->step++;
    return say_text(a, 200, "",
                    w->step == 1
                        ? "[{\"shard\":0,\"checkpoint\":\"\",\"updateTime\":1524224984800922,"
                          "\"consumer\":\"x\"}]"
                        : "[{\"shard\":1,\"checkpoint\":\"\",\"updateTime\":\"soon\"}]");
}

static void trap_15_update_time_in_any_unit_or_shape_is_ignored(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 50);
    w.hook = update_time;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    world_teardown(&w);
}

static bool any_bytes(struct world *w, const struct asked *q, struct answer *a)
{
    model_answer(w, q, a);
    for (size_t i = 0; i + 4 < a->body_n; i++) /* the first digit of each number */
        if (memcmp(a->body + i, "\x01n\x12\x07", 4) == 0)
            a->body[i + 4] = (char)(i % 2 == 0 ? 0xff : 0x00);
    return true;
}

static void trap_18_values_with_any_bytes_become_frames(void **state)
{
    struct world w;
    static const struct trouble t = {PULL, 1000, any_bytes, NULL};

    (void)state;
    trouble = &t;
    world_setup(&w, 1, 150);
    w.hook = broken;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 150);
    world_teardown(&w);
}

/* Idle: five pulls a second and shard at most, by fetch_interval. */
static void trap_23_an_idle_shard_is_polled_every_fetch_interval(void **state)
{
    struct world w;
    unsigned pulls;

    (void)state;
    world_setup(&w, 1, 50);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    pulls = w.shards[0].pulls;
    world_pass(&w, 10000);
    assert_in_range(w.shards[0].pulls - pulls, 49, 51);
    world_stop(&w);
    world_teardown(&w);
}

/* Behind: no pause while full answers come. */
static void full_pulls_follow_each_other_without_pause(void **state)
{
    struct world w;
    int64_t began;

    (void)state;
    world_setup(&w, 1, 3000);
    w.source.max_log_groups = 100;
    world_start(&w);
    began = clock_mono_ms();
    RUN_UNTIL(&w, all_spooled);
    assert_in_range(clock_mono_ms() - began, 0, 400);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    world_teardown(&w);
}

static void trap_24_dates_are_english_in_any_locale(void **state)
{
    struct world w;
    char date[64];

    (void)state;
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where there is one; our dates ask no locale */
    world_setup(&w, 1, 10);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    assert_non_null(header_of(last_asked(&w, PULL), "Date", date, sizeof date));
    assert_memory_equal(date, "Thu, 02 Jan 2025 03:04:0", 24);
    world_stop(&w);
    world_teardown(&w);
    setlocale(LC_ALL, "C");
}

/* --- split and merge at any time --- */

static void client_survives_a_split_at_any_time(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 350);
    w.per_pull = 10;
    world_start(&w);
    world_pass(&w, 500); /* in the middle of the parent */
    w.shards[0].readonly = true;
    for (unsigned i = 1; i < 3; i++)
        w.shards[i] = (struct fake_shard){.exists = true,
                                          .assigned = true,
                                          .holder = true,
                                          .oldest = FAKE_FIRST,
                                          .next = FAKE_FIRST + 40};
    RUN_UNTIL(&w, all_reported);
    assert_true(w.shards[0].over);
    world_stop(&w);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(spooled_whole(&w, i, FAKE_FIRST), 0);
    world_teardown(&w);
}

#define CASE(name) cmocka_unit_test(name)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(client_survives_error_with_empty_body),
        CASE(client_survives_error_with_empty_body_on_heartbeat),
        CASE(client_survives_error_with_empty_body_on_checkpoint),
        CASE(client_survives_html_error_page),
        CASE(client_survives_html_error_page_403),
        CASE(client_survives_html_page_with_status_200_on_pull),
        CASE(client_survives_html_page_with_status_200_on_heartbeat),
        CASE(html_page_with_status_200_is_no_stored_checkpoint),
        CASE(html_page_with_status_200_is_no_created_group),
        CASE(client_survives_html_page_with_status_200_on_get_checkpoint),
        CASE(client_survives_200_with_truncated_body_the_connection_breaks),
        CASE(client_survives_200_with_truncated_body),
        CASE(client_survives_200_with_undecodable_body),
        CASE(client_survives_x_log_cursor_missing),
        CASE(client_survives_x_log_cursor_empty_it_stays_where_it_is),
        CASE(x_log_cursor_empty_beside_groups_is_asked_again),
        CASE(trap_06_object_instead_of_bare_array_is_refused),
        CASE(trap_08_x_log_count_counts_groups_another_number_is_asked_again),
        CASE(trap_09_count_0_with_a_moved_cursor_is_not_the_end),
        CASE(quota_is_told_apart_from_permission_403_quota),
        CASE(quota_is_told_apart_from_permission_codes_in_any_case),
        CASE(quota_is_told_apart_from_permission_429),
        CASE(quota_is_told_apart_from_permission_403_denied),
        CASE(quota_is_told_apart_from_permission_403_other_code),
        CASE(storm_of_503),
        CASE(storm_of_quota),
        CASE(client_survives_token_expiry),
        CASE(client_survives_token_expiry_other_spelling),
        CASE(wrong_signature_for_a_while),
        CASE(unknown_code_counts_by_its_status),
        CASE(trap_14_misspelt_code_project_not_exists),
        CASE(trap_14_misspelt_code_shard_not_exsit),
        CASE(trap_14_misspelt_code_consumer_not_exsit),
        CASE(trap_14_codes_are_compared_without_case),
        CASE(trap_15_update_time_in_any_unit_or_shape_is_ignored),
        CASE(trap_18_values_with_any_bytes_become_frames),
        CASE(trap_23_an_idle_shard_is_polled_every_fetch_interval),
        CASE(full_pulls_follow_each_other_without_pause),
        CASE(trap_24_dates_are_english_in_any_locale),
        CASE(trap_27_clock_skew_is_taken_from_the_answers_date),
        CASE(trap_27_clock_skew_without_a_date_is_said_and_tried_again),
        CASE(client_survives_a_split_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
