/* Answers: JSON shapes, what is refused, and which code an error answer becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/answer.h"

static void shards(void **state)
{
    const char *json = "[{\"shardID\":2,\"status\":\"readwrite\",\"x\":[1]},"
                       "{\"shardID\":0,\"status\":\"ReadOnly\"},"
                       "{\"shardID\":4294967295,\"status\":\"other\"}]";
    static const char *const bad[] = {
        "",
        " ",
        "<html>",
        "null",
        "{}",
        "{\"shards\":[]}",
        "[{\"shardID\":0,\"status\":\"readwrite\"}",
        "[{\"shardID\":0,\"status\":\"readwrite\"}] x",
        "[1]",
        "[null]",
        "[{\"status\":\"readwrite\"}]",
        "[{\"shardID\":\"0\",\"status\":\"readwrite\"}]",
        "[{\"shardID\":-1,\"status\":\"readwrite\"}]",
        "[{\"shardID\":1.5,\"status\":\"readwrite\"}]",
        "[{\"shardID\":4294967296,\"status\":\"readwrite\"}]",
        "[{\"shardID\":0}]",
        "[{\"shardID\":0,\"status\":1}]",
        "[{\"shardID\":0,\"shardID\":1,\"status\":\"readwrite\"}]",
        "[{\"shardID\":0,\"status\":\"readwrite\"},{\"shardID\":0,\"status\":\"readonly\"}]",
        "[{\"shardID\":0,\"status\":\"\xff\"}]",
    };
    struct client_shard *list;
    struct slsr_err err;
    size_t n;

    (void)state;
    assert_int_equal(answer_shards(slsr_bytes_of(json), &list, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(list[0].id, 2);
    assert_false(list[0].readonly);
    assert_int_equal(list[1].id, 0);
    assert_true(list[1].readonly);
    assert_true(list[2].id == UINT32_MAX);
    assert_false(list[2].readonly);
    free(list);
    assert_int_equal(answer_shards(slsr_bytes_of("[]"), &list, &n, &err), 0);
    assert_int_equal(n, 0);
    assert_null(list);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err.text[0] = '\0';
        if (answer_shards(slsr_bytes_of(bad[i]), &list, &n, &err) != SLSR_ESERVER)
            fail_msg("accepted: %s", bad[i]);
        assert_null(list);
        assert_int_equal(n, 0);
        assert_true(err.text[0] != '\0');
    }
}

static void too_many_shards(void **state)
{
    char *json = malloc((size_t)ANSWER_SHARDS_MAX * 8 + 16), *p = json;
    uint32_t *ids;
    size_t n;

    (void)state;
    *p++ = '[';
    for (int i = 0; i <= ANSWER_SHARDS_MAX; i++)
        p += sprintf(p, "%s%d", i == 0 ? "" : ",", i);
    strcpy(p, "]");
    assert_int_equal(answer_shard_ids(slsr_bytes_of(json), &ids, &n, NULL), SLSR_ESERVER);
    strcpy(strrchr(json, ','), "]");
    assert_int_equal(answer_shard_ids(slsr_bytes_of(json), &ids, &n, NULL), 0);
    assert_int_equal(n, ANSWER_SHARDS_MAX);
    free(ids);
    free(json);
}

static void deep_nesting(void **state)
{
    const size_t depth = 1 << 20;
    char *json = malloc(depth);
    uint32_t *ids;
    size_t n;

    (void)state;
    memset(json, '[', depth);
    assert_int_equal(answer_shard_ids((struct slsr_bytes){json, depth}, &ids, &n, NULL),
                     SLSR_ESERVER);
    free(json);
}

static void heartbeat(void **state)
{
    static const char *const bad[] = {"",        "{}",    "{\"shards\":[0]}", "[\"0\"]", "[-1]",
                                      "[0,1,0]", "[0.0]", "[true]",           "[[0]]",   "0"};
    uint32_t *ids;
    size_t n;

    (void)state;
    assert_int_equal(answer_shard_ids(slsr_bytes_of("[1,0]"), &ids, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0] + ids[1], 1);
    free(ids);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (answer_shard_ids(slsr_bytes_of(bad[i]), &ids, &n, NULL) != SLSR_ESERVER)
            fail_msg("accepted: %s", bad[i]);
        assert_null(ids);
    }
}

static void checkpoints(void **state)
{
    const char *json = "[{\"shard\":0,\"checkpoint\":\"\",\"updateTime\":0,\"consumer\":\"\"},"
                       "{\"shard\":7,\"checkpoint\":\"MTI=\",\"updateTime\":1524224984800922,"
                       "\"consumer\":\"c\\u0001\"},{\"shard\":8,\"checkpoint\":\"MTM=\"}]";
    static const char *const bad[] = {
        "[]", /* the service answers so for a shard that does not exist */
        "[{\"shard\":1,\"checkpoint\":\"MTI=\"}]",
        "[{\"shard\":7}]",
        "[{\"shard\":7,\"checkpoint\":null}]",
        "[{\"shard\":7,\"checkpoint\":12}]",
        "[{\"shard\":7,\"checkpoint\":\"a b\"}]",
        "[{\"shard\":7,\"checkpoint\":\"a\\nb\"}]",
        "[{\"shard\":7,\"checkpoint\":\"a\",\"consumer\":1}]",
        "[{\"shard\":7,\"checkpoint\":\"a\"},{\"shard\":7,\"checkpoint\":\"b\"}]",
        "[{\"checkpoint\":\"a\"}]",
        "{\"checkpoints\":[]}",
    };
    struct client_checkpoint cp;

    (void)state;
    assert_int_equal(answer_checkpoint(slsr_bytes_of(json), 7, &cp, NULL), 0);
    assert_int_equal(cp.shard, 7);
    assert_string_equal(cp.cursor, "MTI=");
    assert_string_equal(cp.consumer, "c?");
    assert_int_equal(answer_checkpoint(slsr_bytes_of(json), 0, &cp, NULL), 0);
    assert_string_equal(cp.cursor, "");
    assert_int_equal(answer_checkpoint(slsr_bytes_of(json), 8, &cp, NULL), 0);
    assert_string_equal(cp.cursor, "MTM=");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (answer_checkpoint(slsr_bytes_of(bad[i]), 7, &cp, NULL) != SLSR_ESERVER)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void cursors(void **state)
{
    char cursor[SLSR_CURSOR_MAX + 1], json[SLSR_CURSOR_MAX + 64];

    (void)state;
    assert_int_equal(answer_cursor(slsr_bytes_of("{\"cursor\":\"MTI=\"}"), cursor, NULL), 0);
    assert_string_equal(cursor, "MTI=");
    snprintf(json, sizeof json, "{\"cursor\":\"%0*d\"}", SLSR_CURSOR_MAX, 1);
    assert_int_equal(answer_cursor(slsr_bytes_of(json), cursor, NULL), 0);
    assert_int_equal(strlen(cursor), SLSR_CURSOR_MAX);
    snprintf(json, sizeof json, "{\"cursor\":\"%0*d\"}", SLSR_CURSOR_MAX + 1, 1);
    assert_int_equal(answer_cursor(slsr_bytes_of(json), cursor, NULL), SLSR_ESERVER);
    assert_int_equal(answer_cursor(slsr_bytes_of("{\"cursor\":\"\"}"), cursor, NULL), SLSR_ESERVER);
    assert_int_equal(answer_cursor(slsr_bytes_of("[\"a\"]"), cursor, NULL), SLSR_ESERVER);
    assert_int_equal(answer_cursor(slsr_bytes_of(""), cursor, NULL), SLSR_ESERVER);
}

static void error_bodies(void **state)
{
    const char *const secrets[] = {"", "S3cr3tS3cr3t", NULL};
    char long_body[2048];
    struct answer_error e;

    (void)state;
    answer_error(slsr_bytes_of("{\"errorCode\":\"ServerBusy\",\"errorMessage\":\"a\\u0007\\nb "
                               "S3cr3tS3cr3t\",\"requestId\":\"1\"}"),
                 secrets, &e);
    assert_string_equal(e.code, "ServerBusy");
    assert_string_equal(e.message, "a??b ************");
    answer_error(slsr_bytes_of("<html><body>502</body></html>"), secrets, &e);
    assert_string_equal(e.code, "");
    answer_error((struct slsr_bytes){NULL, 0}, secrets, &e);
    assert_string_equal(e.code, "");
    answer_error(slsr_bytes_of("{\"errorCode\":5,\"errorMessage\":[]}"), secrets, &e);
    assert_string_equal(e.code, "");
    /* the cut must not leave half a secret */
    snprintf(long_body, sizeof long_body,
             "{\"errorCode\":\"X\\u001b[31m%%s\",\"errorMessage\":\"%0155dS3cr3tS3cr3t%01000d\"}",
             0, 0);
    answer_error(slsr_bytes_of(long_body), secrets, &e);
    assert_string_equal(e.code, "X??31m?s");
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
    assert_null(strstr(e.message, "S3c"));
}

static void codes(void **state)
{
    static const struct {
        int status;
        const char *code, *message;
        bool pull, query;
        int want;
    } cases[] = {
        {500, "InternalServerError", "", false, false, SLSR_ESERVER},
        {503, "serverbusy", "", false, false, SLSR_ESERVER},
        {403, "ReadQuotaExceed", "", true, false, SLSR_EQUOTA},
        {403, "ShardReadQuotaExceed", "", true, false, SLSR_EQUOTA},
        {403, "shardwritequotaexceed", "", false, false, SLSR_EQUOTA},
        {400, "ConsumerGroupQuotaExceed", "", false, false, SLSR_EQUOTA},
        {429, "", "", false, false, SLSR_EQUOTA},
        {429, "Whatever", "", false, false, SLSR_EQUOTA},
        {401, "Unauthorized", "", false, false, SLSR_EAUTH},
        {401, "SignatureNotMatch", "", false, false, SLSR_EAUTH},
        {401, "InvalidAccessKeyId", "", false, false, SLSR_EAUTH},
        {401, "SecurityToken.Expired", "", false, false, SLSR_EAUTH},
        {400, "SecurityTokenExpired", "", false, false, SLSR_EAUTH},
        {403, "Other", "", false, false, SLSR_EAUTH},
        {403, "", "", false, false, SLSR_EAUTH},
        {400, "RequestTimeTooSkewed", "", false, false, SLSR_ECLOCK},
        {400, "requesttimeexpired", "", false, false, SLSR_ECLOCK},
        {400, "InvalidCursor", "", true, false, SLSR_ECURSOR},
        {400, "ShardInvalidCursorX", "", true, false, SLSR_ECURSOR},
        {400, "ParameterInvalid", "invalid Cursor", true, true, SLSR_ECURSOR},
        {400, "ParameterInvalid", "", true, false, SLSR_ECURSOR},
        {400, "ParameterInvalid", "syntax error in query", true, true, SLSR_ECLIENT},
        {400, "ParameterInvalid", "", false, false, SLSR_ECLIENT},
        {404, "ConsumerNotExist", "", false, false, SLSR_ELOST},
        {404, "ConsumerNotExsit", "", false, false, SLSR_ELOST},
        {400, "ConsumerNotMatch", "", false, false, SLSR_ELOST},
        {400, "NotExistConsumerWithBody", "", false, false, SLSR_ELOST},
        {400, "ShardNotExist", "", true, false, SLSR_ELOST},
        {404, "ShardNotExsit", "", true, false, SLSR_ELOST},
        {404, "ProjectNotExist", "", false, false, SLSR_ENOTFOUND},
        {404, "ProjectNotExists", "", false, false, SLSR_ENOTFOUND},
        {404, "LogstoreNotExist", "", false, false, SLSR_ENOTFOUND},
        {404, "ConsumerGroupNotExist", "", false, false, SLSR_ENOTFOUND},
        {404, "SomethingNotExist", "", false, false, SLSR_ENOTFOUND},
        {400, "JsonInfoInvalid", "", false, false, SLSR_ECLIENT},
        {400, "MissingHost", "", false, false, SLSR_ECLIENT},
        {411, "MissingContentLength", "", false, false, SLSR_ECLIENT},
        {415, "InvalidContentType", "", false, false, SLSR_ECLIENT},
        {400, "Unheard", "", false, false, SLSR_ECLIENT},
        {400, "", "", false, false, SLSR_ESERVER},
        {404, "", "", false, false, SLSR_ESERVER},
        {302, "", "", false, false, SLSR_ESERVER},
        {204, "", "", false, false, SLSR_ESERVER},
        {201, "X", "", false, false, SLSR_ESERVER},
        {502, "", "", false, false, SLSR_ESERVER},
        {599, "Unheard", "", false, false, SLSR_ESERVER},
        {407, "", "", false, false, SLSR_ENET},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer_error e = {0};
        const char *advice = NULL;
        int got;

        snprintf(e.code, sizeof e.code, "%s", cases[i].code);
        snprintf(e.message, sizeof e.message, "%s", cases[i].message);
        got = answer_code(cases[i].status, &e,
                          (struct answer_context){cases[i].pull, cases[i].query}, &advice);
        if (got != cases[i].want)
            fail_msg("%d %s: got %d, want %d", cases[i].status, cases[i].code, got, cases[i].want);
        assert_non_null(advice);
        assert_true(advice[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards),       cmocka_unit_test(too_many_shards),
        cmocka_unit_test(deep_nesting), cmocka_unit_test(heartbeat),
        cmocka_unit_test(checkpoints),  cmocka_unit_test(cursors),
        cmocka_unit_test(error_bodies), cmocka_unit_test(codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
