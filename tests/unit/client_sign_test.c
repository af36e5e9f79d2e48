/* Signatures against the golden vectors, byte for byte; our own requests against an independent
 * reading of what goes over the wire; endpoints; dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "client/client.h"
#include "client/endpoint.h"
#include "client/http.h"
#include "client/sign.h"

static json_t *load(void)
{
    json_error_t error;
    json_t *root = json_load_file(VECTORS "/sls-signatures.json", 0, &error);

    if (root == NULL)
        fail_msg("sls-signatures.json: %s", error.text);
    return root;
}

static struct slsr_bytes bytes_of(const json_t *string)
{
    return (struct slsr_bytes){json_string_value(string), json_string_length(string)};
}

/* Pairs from an object or from an array of [name, value]; Authorization is the result, not input.
 */
static size_t read_pairs(const json_t *from, struct slsr_pair pairs[SIGN_PAIRS_MAX])
{
    size_t n = 0;

    if (json_is_array(from)) {
        for (size_t i = 0; i < json_array_size(from); i++) {
            const json_t *pair = json_array_get(from, i);

            assert_true(n < SIGN_PAIRS_MAX);
            pairs[n].key = bytes_of(json_array_get(pair, 0));
            pairs[n++].value = bytes_of(json_array_get(pair, 1));
        }
        return n;
    }
    for (void *it = json_object_iter((json_t *)from); it != NULL;
         it = json_object_iter_next((json_t *)from, it)) {
        const char *key = json_object_iter_key(it);

        if (strcasecmp(key, "authorization") == 0)
            continue;
        assert_true(n < SIGN_PAIRS_MAX);
        pairs[n].key = slsr_bytes_of(key);
        pairs[n++].value = bytes_of(json_object_iter_value(it));
    }
    return n;
}

static const char *text(const json_t *vector, const char *key)
{
    return json_string_value(json_object_get(vector, key));
}

static void check_text(const char *name, const char *what, const struct text *got,
                       const char *wanted)
{
    if (wanted == NULL)
        return;
    if (got->p == NULL || strcmp(got->p, wanted) != 0)
        fail_msg("%s: %s\n got: %s\nwant: %s", name, what, got->p, wanted);
}

static void check_body_hash(const json_t *vector, const struct slsr_pair *headers, size_t n)
{
    const char *hex = text(vector, "body_hex");
    const size_t size = strlen(hex) / 2;
    char *body = malloc(size + 1);
    char digest[SIGN_HEX_SIZE];

    for (size_t i = 0; i < size; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        body[i] = (char)strtoul(pair, NULL, 16);
    }
    for (size_t i = 0; i < n; i++) {
        const struct slsr_bytes bytes = {body, size};

        if (strncasecmp(headers[i].key.p, "Content-MD5", headers[i].key.n) == 0)
            assert_int_equal(sign_md5(bytes, digest, NULL), 0);
        else if (strncasecmp(headers[i].key.p, "x-log-content-sha256", headers[i].key.n) == 0)
            assert_int_equal(sign_sha256(bytes, digest, NULL), 0);
        else
            continue;
        assert_int_equal(headers[i].value.n, strlen(digest));
        assert_memory_equal(headers[i].value.p, digest, headers[i].value.n);
    }
    free(body);
}

static void check_vector(const json_t *vector, struct sign_result *result, bool hashes)
{
    struct slsr_pair query[SIGN_PAIRS_MAX], headers[SIGN_PAIRS_MAX];
    const struct sign_input in = {
        .v4 = strcmp(text(vector, "version"), "v4") == 0,
        .method = text(vector, "method"),
        .path = text(vector, "path"),
        .query = query,
        .query_count = read_pairs(json_object_get(vector, "query_params_decoded"), query),
        .headers = headers,
        .header_count = read_pairs(json_object_get(vector, "request_headers"), headers),
        .access_key_id = text(vector, "access_key_id"),
        .access_key_secret = text(vector, "access_key_secret"),
        .region = text(vector, "region")};
    const char *name = text(vector, "name");
    struct slsr_err err = {0};

    if (sign_request(&in, result, &err) != 0)
        fail_msg("%s: %s", name, err.text);
    if (hashes)
        check_body_hash(vector, headers, in.header_count);
    check_text(name, "canonical request", &result->canonical, text(vector, "canonical_request"));
    check_text(name, "string to sign", &result->string_to_sign, text(vector, "string_to_sign"));
    check_text(name, "signature", &result->signature, text(vector, "signature"));
    check_text(name, "authorization", &result->authorization, text(vector, "authorization"));
}

static void golden_vectors(void **state)
{
    json_t *root = load();
    const json_t *vectors = json_object_get(root, "vectors");
    struct sign_result result = {0};

    (void)state;
    assert_int_equal(json_array_size(vectors), 128);
    for (size_t i = 0; i < json_array_size(vectors); i++)
        check_vector(json_array_get(vectors, i), &result, true);
    sign_result_fini(&result);
    json_decref(root);
}

static void published_cross_checks(void **state)
{
    json_t *root = load();
    const json_t *vectors =
        json_object_get(json_object_get(root, "published_cross_checks"), "vectors");
    struct sign_result result = {0};

    (void)state;
    assert_int_equal(json_array_size(vectors), 6);
    for (size_t i = 0; i < json_array_size(vectors); i++)
        check_vector(json_array_get(vectors, i), &result, false);
    sign_result_fini(&result);
    json_decref(root);
}

static void refusals(void **state)
{
    const struct slsr_pair date = {slsr_bytes_of("Date"), slsr_bytes_of("x")};
    struct sign_input in = {
        .method = "GET", .path = "/", .access_key_id = "i", .access_key_secret = "s", .region = ""};
    struct sign_result result = {0};
    struct slsr_err err;

    (void)state;
    assert_int_equal(sign_request(&in, &result, &err), SLSR_ECLIENT); /* no date */
    in.v4 = true;
    assert_int_equal(sign_request(&in, &result, &err), SLSR_ECONFIG); /* no region */
    in.region = "cn-hangzhou";
    assert_int_equal(sign_request(&in, &result, &err), SLSR_ECLIENT);
    in.v4 = false;
    in.headers = &date;
    in.header_count = SIGN_PAIRS_MAX + 1;
    assert_int_equal(sign_request(&in, &result, &err), SLSR_ECLIENT);
    in.header_count = 1;
    assert_int_equal(sign_request(&in, &result, &err), 0);
    sign_result_fini(&result);
}

static void dates(void **state)
{
    static const char *const bad[] = {"",
                                      "Thu, 02 Jan 2025 03:04:05 UTC",
                                      "Thu, 02 Foo 2025 03:04:05 GMT",
                                      "Thu, 00 Jan 2025 03:04:05 GMT",
                                      "Thu, 02 Jan 2025 24:04:05 GMT",
                                      "Thu, 2 Jan 2025 03:04:05 GMT",
                                      "Thu, 02 Jan 20x5 03:04:05 GMT",
                                      "Thu, 02 Jan 2025 03:04:05 GMT ",
                                      "1735787045"};
    char out[SIGN_DATE_SIZE];
    int64_t s;

    (void)state;
    sign_date_v1(1735787045, out);
    assert_string_equal(out, "Thu, 02 Jan 2025 03:04:05 GMT");
    assert_true(sign_date_parse(out, &s));
    assert_int_equal(s, 1735787045);
    sign_date_v4(1735787045, out);
    assert_string_equal(out, "20250102T030405Z");
    sign_date_v4(INT64_MAX, out);
    assert_string_equal(out, "99991231T235959Z");
    sign_date_v1(INT64_MIN, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sign_date_parse(bad[i], &s));
}

/* --- our own requests: take what was sent apart and sign it again --- */

struct seen {
    char *target;
    struct slsr_pair headers[HTTP_HEADERS_MAX];
    size_t header_count;
    char method[8];
    char body[512];
};

static int record(void *ctx, const struct http_request *request, struct http_response *response,
                  struct slsr_err *err)
{
    struct seen *seen = ctx;

    (void)err;
    seen->target = strdup(request->target);
    snprintf(seen->method, sizeof seen->method, "%s", request->method);
    snprintf(seen->body, sizeof seen->body, "%.*s", (int)request->body.n, request->body.p);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct slsr_pair *pair = &request->headers[i];

        seen->headers[i].key = slsr_bytes_of(strndup(pair->key.p, pair->key.n));
        seen->headers[i].value = slsr_bytes_of(strndup(pair->value.p, pair->value.n));
    }
    seen->header_count = request->header_count;
    *response = (struct http_response){.status = 500};
    return 0;
}

static void forget(struct seen *seen)
{
    for (size_t i = 0; i < seen->header_count; i++) {
        free((char *)seen->headers[i].key.p);
        free((char *)seen->headers[i].value.p);
    }
    free(seen->target);
    *seen = (struct seen){0};
}

static const char *seen_header(const struct seen *seen, const char *name)
{
    for (size_t i = 0; i < seen->header_count; i++) {
        if (strcasecmp(seen->headers[i].key.p, name) == 0)
            return seen->headers[i].value.p;
    }
    return NULL;
}

static void decode(char *s)
{
    char *out = s;

    for (; *s != '\0'; s++) {
        if (*s == '%') {
            const char hex[3] = {s[1], s[2], '\0'};

            *out++ = (char)strtoul(hex, NULL, 16);
            s += 2;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

static void verify(struct seen *seen, const struct slsr_source_config *source, bool v4)
{
    struct slsr_pair query[16], headers[HTTP_HEADERS_MAX];
    struct sign_input in = {.v4 = v4,
                            .method = seen->method,
                            .path = seen->target,
                            .query = query,
                            .headers = headers,
                            .access_key_id = source->access_key_id,
                            .access_key_secret = source->access_key_secret,
                            .region = "cn-hangzhou"};
    struct sign_result result = {0};
    char *pairs = strchr(seen->target, '?');
    char *next = NULL, digest[SIGN_HEX_SIZE];

    if (pairs != NULL)
        *pairs++ = '\0';
    for (char *p = pairs != NULL ? strtok_r(pairs, "&", &next) : NULL; p != NULL;
         p = strtok_r(NULL, "&", &next)) {
        char *value = strchr(p, '=');

        *value++ = '\0';
        decode(p);
        decode(value);
        query[in.query_count++] = (struct slsr_pair){slsr_bytes_of(p), slsr_bytes_of(value)};
    }
    for (size_t i = 0; i < seen->header_count; i++) {
        if (strcasecmp(seen->headers[i].key.p, "Authorization") != 0)
            headers[in.header_count++] = seen->headers[i];
    }
    assert_int_equal(sign_request(&in, &result, NULL), 0);
    assert_string_equal(seen_header(seen, "Authorization"), result.authorization.p);
    if (v4) {
        sign_sha256(slsr_bytes_of(seen->body), digest, NULL);
        assert_string_equal(seen_header(seen, "x-log-content-sha256"), digest);
        assert_string_equal(seen_header(seen, "x-log-date"), "20250102T030405Z");
    } else {
        assert_string_equal(seen_header(seen, "Date"), "Thu, 02 Jan 2025 03:04:05 GMT");
        if (seen->body[0] != '\0') {
            sign_md5(slsr_bytes_of(seen->body), digest, NULL);
            assert_string_equal(seen_header(seen, "Content-MD5"), digest);
        }
    }
    sign_result_fini(&result);
}

static const struct http_vtable recorder = {.exchange = record};

static struct slsr_source_config source_of(enum slsr_signature signature)
{
    return (struct slsr_source_config){
        .endpoint = (char *)"http://127.0.0.1:8090",
        .region = (char *)"cn-hangzhou",
        .signature = signature,
        .project = (char *)"my-project",
        .consumer_group = (char *)"cg",
        .heartbeat_interval_ms = 20000,
        .query = (char *)"* | where level = 'a b' and x like '%中文%' & y+z~",
        .access_key_id = (char *)"exampleAccessKeyId",
        .access_key_secret = (char *)"exampleSecretKey/With+Chars=",
        .security_token = (char *)"CAIS/abc+def=="};
}

static void requests_verify(enum slsr_signature signature)
{
    const struct slsr_source_config source = source_of(signature);
    const bool v4 = signature == SLSR_SIGN_V4;
    const uint32_t held[] = {0, 17};
    struct client_pull pull;
    struct seen seen = {0};
    struct client *c;
    uint32_t *ids;
    size_t n;

    clock_freeze(1735787045000);
    assert_int_equal(client_open_with(&c, &source, "h\xc3\xb6st:1", NULL, &recorder, &seen, NULL),
                     0);
    assert_int_equal(client_pull(c, "app-log", 3, "MTUyNDE1NTM3OTM3MzkwODQ5Ng==", 10, &pull, NULL),
                     SLSR_ESERVER);
    assert_non_null(strstr(seen.target, "cursor=MTUyNDE1NTM3OTM3MzkwODQ5Ng%3D%3D&count=10"));
    assert_non_null(strstr(seen.target, "pullMode=scan_on_stream"));
    assert_string_equal(seen_header(&seen, "Host"), "my-project.127.0.0.1:8090");
    assert_string_equal(seen_header(&seen, "Accept-Encoding"), "lz4");
    assert_string_equal(seen_header(&seen, "x-acs-security-token"), "CAIS/abc+def==");
    verify(&seen, &source, v4);
    forget(&seen);

    client_heartbeat(c, "app-log", "cg", "h\xc3\xb6st:1 a/b&c=d+e", held, 2, &ids, &n, NULL);
    assert_string_equal(seen.body, "[0,17]");
    assert_null(seen_header(&seen, "Accept-Encoding"));
    assert_non_null(strstr(seen_header(&seen, "User-Agent"), " cg/h??st:1"));
    verify(&seen, &source, v4);
    forget(&seen);

    client_put_checkpoint(c, "app-log", "cg", "", 4, "MT\"I=", true, NULL);
    assert_string_equal(seen.body, "{\"shard\":4,\"checkpoint\":\"MT\\\"I=\"}");
    verify(&seen, &source, v4);
    forget(&seen);
    client_close(c);
}

static void own_requests_v1(void **state)
{
    (void)state;
    requests_verify(SLSR_SIGN_V1);
}

static void own_requests_v4(void **state)
{
    (void)state;
    requests_verify(SLSR_SIGN_V4);
}

/* --- endpoints --- */

static void endpoints(void **state)
{
    static const struct {
        const char *endpoint, *connect_to, *region;
        enum slsr_signature signature;
        int rc;
        const char *host, *url, *to, *got_region;
        bool v4;
    } cases[] = {
        {"https://cn-hangzhou.log.aliyuncs.com", NULL, NULL, SLSR_SIGN_AUTO, 0,
         "p.cn-hangzhou.log.aliyuncs.com", "https://p.cn-hangzhou.log.aliyuncs.com:443", "",
         "cn-hangzhou", true},
        {"CN-Hangzhou-intranet.log.aliyuncs.com/", NULL, NULL, SLSR_SIGN_AUTO, 0,
         "p.CN-Hangzhou-intranet.log.aliyuncs.com",
         "https://p.CN-Hangzhou-intranet.log.aliyuncs.com:443", "", "cn-hangzhou", true},
        {"http://eu-central-1.sls.aliyuncs.com", NULL, NULL, SLSR_SIGN_V1, 0,
         "p.eu-central-1.sls.aliyuncs.com", "http://p.eu-central-1.sls.aliyuncs.com:80", "",
         "eu-central-1", false},
        {"log-global.aliyuncs.com", NULL, NULL, SLSR_SIGN_AUTO, 0, "p.log-global.aliyuncs.com",
         "https://p.log-global.aliyuncs.com:443", "", "", false},
        {"http://sls.example.com:8080", NULL, "r1", SLSR_SIGN_AUTO, 0, "p.sls.example.com:8080",
         "http://p.sls.example.com:8080", "", "r1", true},
        {"http://127.0.0.1:8090", NULL, NULL, SLSR_SIGN_AUTO, 0, "p.127.0.0.1:8090",
         "http://p.127.0.0.1:8090", "127.0.0.1:8090", "", false},
        {"https://localhost", NULL, NULL, SLSR_SIGN_AUTO, 0, "p.localhost",
         "https://p.localhost:443", "localhost:443", "", false},
        {"https://cn-x.log.aliyuncs.com", "[::1]:9", NULL, SLSR_SIGN_AUTO, 0,
         "p.cn-x.log.aliyuncs.com", "https://p.cn-x.log.aliyuncs.com:443", "[::1]:9", "cn-x", true},
        {"https://x.example", "10.0.0.1", NULL, SLSR_SIGN_AUTO, 0, "p.x.example",
         "https://p.x.example:443", "10.0.0.1:443", "", false},
        {"https://x.example", NULL, NULL, SLSR_SIGN_V4, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://[::1]:80", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://x.example/path", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://u:p@x.example", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"ftp://x.example", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://x.example:0", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://x.example:65536", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL,
         NULL, false},
        {"", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL, false},
        {NULL, NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL, false},
        {"https://x.example", "a b:1", NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://x.example", "[::1:1", NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"https://x.example", NULL, "a\nb", SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL, NULL,
         false},
        {"p.cn-x.log.aliyuncs.com", NULL, NULL, SLSR_SIGN_AUTO, SLSR_ECONFIG, NULL, NULL, NULL,
         NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct slsr_source_config source = {.endpoint = (char *)cases[i].endpoint,
                                                  .connect_to = (char *)cases[i].connect_to,
                                                  .region = (char *)cases[i].region,
                                                  .signature = cases[i].signature,
                                                  .project = (char *)"p"};
        struct slsr_err err = {0};
        struct endpoint got;

        if (endpoint_parse(&got, &source, &err) != cases[i].rc)
            fail_msg("case %zu (%s): wrong code, %s", i, cases[i].endpoint, err.text);
        if (cases[i].rc != 0)
            continue;
        assert_string_equal(got.host, cases[i].host);
        assert_string_equal(got.url, cases[i].url);
        assert_string_equal(got.connect_to, cases[i].to);
        assert_string_equal(got.region, cases[i].got_region);
        assert_int_equal(got.v4, cases[i].v4);
    }
}

static void refused_settings(void **state)
{
    struct slsr_source_config source = {.endpoint = (char *)"https://x.example",
                                        .project = (char *)"p",
                                        .access_key_id = (char *)"id",
                                        .access_key_secret = (char *)"secret+key"};
    struct client_pull pull;
    struct slsr_err err;
    struct client *c;

    (void)state;
    assert_int_equal(client_open(&c, &source, NULL, NULL, &err), 0);
    assert_int_equal(client_pull(c, "a/../b", 0, "MTI=", 1, &pull, &err), SLSR_ECONFIG);
    assert_int_equal(client_pull(c, "", 0, "MTI=", 1, &pull, &err), SLSR_ECONFIG);
    assert_int_equal(client_pull(c, "audit", 0, "MTI=", 1001, &pull, &err), SLSR_ECLIENT);
    assert_int_equal(client_put_checkpoint(c, "audit", "c g", "c", 0, "MTI=", false, &err),
                     SLSR_ECONFIG);
    assert_int_equal(client_put_checkpoint(c, "audit", "cg", "c", 0, "", false, &err),
                     SLSR_ECLIENT);
    client_close(c);
    source.security_token = (char *)"CAIS/token\r\nx-evil: 1";
    assert_int_equal(client_open(&c, &source, NULL, NULL, &err), SLSR_ECONFIG);
    assert_null(strstr(err.text, "CAIS/token"));
    assert_null(c);
    source.security_token = NULL;
    source.access_key_secret = NULL;
    assert_int_equal(client_open(&c, &source, NULL, NULL, &err), SLSR_ECONFIG);
    client_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),  cmocka_unit_test(published_cross_checks),
        cmocka_unit_test(refusals),        cmocka_unit_test(dates),
        cmocka_unit_test(own_requests_v1), cmocka_unit_test(own_requests_v4),
        cmocka_unit_test(endpoints),       cmocka_unit_test(refused_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
