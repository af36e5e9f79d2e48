/* Story: clients of other makers sign requests in two ways. The simulator must take every genuine
 * request of the recorded vectors, and refuse each of them once anything that is signed has
 * changed, the clock is off, or key or token are not the ones it knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>
#include <jansson.h>

#include "auth.h"
#include "text.h"

static const int64_t VECTOR_CLOCK_S = 1735787045; /* 2025-01-02T03:04:05Z */

static const char *text_of(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void set_header(struct request *r, const char *name, const char *value)
{
    for (size_t i = 0; i < r->headers.n; i++) {
        if (strcasecmp(r->headers.v[i].name, name) == 0) {
            free(r->headers.v[i].value);
            r->headers.v[i].value = xstrdup(value);
            return;
        }
    }
    pairs_add(&r->headers, name, value);
}

static void load_body(struct request *r, const char *hex)
{
    size_t n = strlen(hex) / 2;

    buf_room(&r->body, n + 1);
    assert_true(text_unhex(hex, (uint8_t *)r->body.p, n));
    r->body.n = r->body_total = n;
}

static void load_request(struct request *r, json_t *v)
{
    struct buf target = {0};
    const char *query = text_of(v, "query_string_on_wire");
    const char *name;
    json_t *value;

    *r = (struct request){.method = text_of(v, "method")};
    buf_printf(&target, "%s%s%s", text_of(v, "path"), *query == '\0' ? "" : "?", query);
    buf_byte(&target, '\0');
    assert_true(request_parse(r, target.p));
    buf_fini(&target);
    json_object_foreach(json_object_get(v, "request_headers"), name, value)
        pairs_add(&r->headers, name, json_string_value(value));
    load_body(r, text_of(v, "body_hex"));
}

static void load_keys(struct auth_keys *keys, json_t *v)
{
    const char *token = text_of(v, "sts_token");

    *keys = (struct auth_keys){.token = token == NULL ? NULL : xstrdup(token)};
    pairs_add(&keys->keys, text_of(v, "access_key_id"), text_of(v, "access_key_secret"));
}

/* Runs the check; the code of the refusal has to be `code`, NULL: accepted. */
static void expect(const struct auth_keys *keys, const struct request *r, int64_t now_s,
                   const char *code, const char *what)
{
    struct answer a = {0};
    int rc = auth_check(keys, r, now_s, &a);

    if ((rc == 0) != (code == NULL) || (code != NULL && strcmp(a.code, code) != 0))
        fail_msg("%s: got %s, want %s (%.*s)", what, rc == 0 ? "accepted" : a.code,
                 code == NULL ? "accepted" : code, (int)a.body.n, a.body.p);
    answer_fini(&a);
}

static void check_refusals(json_t *v, struct auth_keys *keys, const char *what)
{
    struct request r;
    bool v4 = strcmp(text_of(v, "version"), "v4") == 0;

    load_request(&r, v);
    expect(keys, &r, VECTOR_CLOCK_S + AUTH_SKEW_MAX_S, NULL, what);
    expect(keys, &r, VECTOR_CLOCK_S + AUTH_SKEW_MAX_S + 1, "RequestTimeTooSkewed", what);
    expect(keys, &r, VECTOR_CLOCK_S - AUTH_SKEW_MAX_S - 1, "RequestTimeTooSkewed", what);
    buf_byte(&r.body, 'x');
    expect(keys, &r, VECTOR_CLOCK_S, "SignatureNotMatch", what);
    r.body.n--;
    pairs_add(&r.params, "extra", "1");
    expect(keys, &r, VECTOR_CLOCK_S, "SignatureNotMatch", what);
    free(r.params.v[--r.params.n].name);
    free(r.params.v[r.params.n].value);
    pairs_add(&r.headers, "x-log-extra", "1");
    expect(keys, &r, VECTOR_CLOCK_S, "SignatureNotMatch", what);
    free(r.headers.v[--r.headers.n].name);
    free(r.headers.v[r.headers.n].value);
    set_header(&r, "Host", "another.example.com"); /* covered by version 4 only */
    expect(keys, &r, VECTOR_CLOCK_S, v4 ? "SignatureNotMatch" : NULL, what);
    request_fini(&r);

    load_request(&r, v);
    set_header(&r, "x-acs-security-token", "another");
    expect(keys, &r, VECTOR_CLOCK_S, "Unauthorized", what);
    free(keys->keys.v[0].name);
    keys->keys.v[0].name = xstrdup("somebody");
    expect(keys, &r, VECTOR_CLOCK_S, "Unauthorized", what);
    set_header(&r, "x-log-apiversion", "0.1");
    expect(keys, &r, VECTOR_CLOCK_S, "InvalidAPIVersion", what);
    request_fini(&r);
}

static void vectors_are_accepted_and_changes_refused(void **state)
{
    json_t *all = json_load_file(VECTORS "/sls-signatures.json", 0, NULL);
    json_t *list = json_object_get(all, "vectors");
    json_t *v;
    size_t i;

    (void)state;
    assert_int_equal(json_array_size(list), 128);
    json_array_foreach(list, i, v)
    {
        struct auth_keys keys;
        struct request r;
        char what[128];

        snprintf(what, sizeof what, "%s %s", text_of(v, "name"), text_of(v, "version"));
        load_keys(&keys, v);
        load_request(&r, v);
        expect(&keys, &r, VECTOR_CLOCK_S, NULL, what);
        request_fini(&r);
        check_refusals(v, &keys, what);
        pairs_fini(&keys.keys);
        free(keys.token);
    }
    json_decref(all);
}

static void missing_parts_have_their_codes(void **state)
{
    struct auth_keys keys = {0};
    struct request r = {.method = "GET"};

    (void)state;
    pairs_add(&keys.keys, "id", "secret");
    assert_true(request_parse(&r, "/logstores"));
    expect(&keys, &r, VECTOR_CLOCK_S, "MissingAPIVersion", "nothing");
    pairs_add(&r.headers, "x-log-apiversion", "0.6.0");
    expect(&keys, &r, VECTOR_CLOCK_S, "MissingDate", "no date");
    pairs_add(&r.headers, "Date", "yesterday");
    expect(&keys, &r, VECTOR_CLOCK_S, "InvalidDateFormat", "bad date");
    set_header(&r, "Date", "Thu, 02 Jan 2025 03:04:05 GMT");
    expect(&keys, &r, VECTOR_CLOCK_S, "Unauthorized", "no authorization");
    pairs_add(&r.headers, "Authorization", "LOG id:AAAA");
    expect(&keys, &r, VECTOR_CLOCK_S, "MissingSignatureMethod", "no method");
    pairs_add(&r.headers, "x-log-signaturemethod", "md5");
    expect(&keys, &r, VECTOR_CLOCK_S, "InvalidSignatureMethod", "odd method");
    set_header(&r, "x-log-signaturemethod", "hmac-sha1");
    expect(&keys, &r, VECTOR_CLOCK_S, "SignatureNotMatch", "bad signature");
    set_header(&r, "Authorization", "SLS4-HMAC-SHA256 Credential=id/20250102,Signature=00");
    pairs_add(&r.headers, "x-log-date", "20250102T030405Z");
    expect(&keys, &r, VECTOR_CLOCK_S, "Unauthorized", "short scope");
    request_fini(&r);
    pairs_fini(&keys.keys);
}

static void cursors_and_dates_read_what_they_wrote(void **state)
{
    char text[CURSOR_TEXT_MAX];
    char date[DATE_TEXT_MAX];
    uint64_t n;
    int64_t t;

    (void)state;
    cursor_encode(1524155379373908496u, text);
    assert_string_equal(text, "MTUyNDE1NTM3OTM3MzkwODQ5Ng==");
    assert_true(cursor_decode("MTUyNDE1NTM3OTM3MzkwODQ5Ng", &n));
    assert_true(n == 1524155379373908496u);
    assert_true(cursor_decode("MQ==", &n) && n == 1);
    assert_false(cursor_decode("", &n));
    assert_false(cursor_decode("====", &n));
    assert_false(cursor_decode("MTIz!A==", &n));
    assert_false(cursor_decode("YWJj", &n)); /* "abc" */
    assert_false(cursor_decode("OTk5OTk5OTk5OTk5OTk5OTk5OTk5", &n));
    date_http(VECTOR_CLOCK_S, date);
    assert_string_equal(date, "Thu, 02 Jan 2025 03:04:05 GMT");
    assert_true(date_parse_http(date, &t) && t == VECTOR_CLOCK_S);
    assert_true(date_parse_basic("20250102T030405Z", &t) && t == VECTOR_CLOCK_S);
    assert_false(date_parse_basic("20251302T030405Z", &t));
    assert_false(date_parse_http("Thu, 02 Foo 2025 03:04:05 GMT", &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_accepted_and_changes_refused),
        cmocka_unit_test(missing_parts_have_their_codes),
        cmocka_unit_test(cursors_and_dates_read_what_they_wrote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
