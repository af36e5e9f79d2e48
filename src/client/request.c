/* Builds one request, signs it, sends it and judges the answer.
 *
 * Good path: headers by signature version, dated by the corrected clock, signed, one exchange,
 * status 200. A refused date (this machine's clock is off by more than 15 minutes) is repaired
 * here: the offset comes from the answer's own Date header, is used from then on, and the call is
 * made once more. Any other error answer becomes a code (codes.c) and one sentence: call, service's
 * code, status, request id, its message cut short, and what to do. Secrets that an answer echoes
 * are masked (I6). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/diag.h"
#include "client/request.h"

enum { HEADERS_MAX = 16 };

/* What one attempt sends; the texts that its headers point to. */
struct attempt {
    struct slsr_pair headers[HEADERS_MAX];
    size_t header_count;
    char date[SIGN_DATE_SIZE];
    char hash[SIGN_HEX_SIZE];
    char raw_size[24];
};

void request_query(struct request *r, const char *key, const char *value)
{
    if (r->query_count < REQUEST_QUERY_MAX)
        r->query[r->query_count++] =
            (struct slsr_pair){slsr_bytes_of(key), slsr_bytes_of(value != NULL ? value : "")};
}

static void add_header(struct attempt *a, const char *name, const char *value)
{
    if (a->header_count < HEADERS_MAX)
        a->headers[a->header_count++] =
            (struct slsr_pair){slsr_bytes_of(name), slsr_bytes_of(value)};
}

/* Secrets as a NULL-terminated list for answer_mask. */
static void list_secrets(const struct client *c, const char *secrets[3])
{
    size_t n = 0;

    if (c->keys != NULL) {
        secrets[n++] = c->keys->secret;
        secrets[n++] = c->keys->token;
    }
    secrets[n] = NULL;
}

static int build_headers(const struct client *c, const struct request *r, struct attempt *a,
                         struct slsr_err *err)
{
    const int64_t now_s = clock_wall_ms() / 1000 + account_clock_s(c->account);
    const struct slsr_bytes body = text_view(&c->body);
    const char *token = c->keys->token;
    int rc = 0;

    *a = (struct attempt){0};
    add_header(a, "Host", c->endpoint.host);
    add_header(a, "User-Agent", c->agent);
    add_header(a, "Accept", r->pull ? "application/x-protobuf" : "application/json");
    if (r->pull)
        add_header(a, "Accept-Encoding", "lz4");
    if (body.n > 0)
        add_header(a, "Content-Type", "application/json");
    add_header(a, "x-log-apiversion", "0.6.0");
    snprintf(a->raw_size, sizeof a->raw_size, "%zu", body.n);
    add_header(a, "x-log-bodyrawsize", a->raw_size);
    if (token[0] != '\0')
        add_header(a, "x-acs-security-token", token);
    if (c->endpoint.v4) {
        sign_date_v4(now_s, a->date);
        add_header(a, "x-log-date", a->date);
        rc = sign_sha256(body, a->hash, err);
        add_header(a, "x-log-content-sha256", a->hash);
    } else {
        sign_date_v1(now_s, a->date);
        add_header(a, "Date", a->date);
        add_header(a, "x-log-signaturemethod", "hmac-sha1");
        if (body.n > 0) {
            rc = sign_md5(body, a->hash, err);
            add_header(a, "Content-MD5", a->hash);
        }
    }
    return rc;
}

static int sign(struct client *c, const struct request *r, struct attempt *a, struct slsr_err *err)
{
    const struct sign_input in = {.v4 = c->endpoint.v4,
                                  .method = r->method,
                                  .path = c->path.p,
                                  .query = r->query,
                                  .query_count = r->query_count,
                                  .headers = a->headers,
                                  .header_count = a->header_count,
                                  .access_key_id = c->keys->id,
                                  .access_key_secret = c->keys->secret,
                                  .region = c->endpoint.region};
    const int rc = sign_request(&in, &c->sign, err);

    if (rc == 0)
        add_header(a, "Authorization", c->sign.authorization.p);
    return rc;
}

static void build_target(struct client *c, const struct request *r)
{
    const struct slsr_bytes path = text_view(&c->path);

    text_reset(&c->target);
    text_add(&c->target, path.p, path.n);
    for (size_t i = 0; i < r->query_count; i++) {
        text_addc(&c->target, i == 0 ? '?' : '&');
        text_add_encoded(&c->target, r->query[i].key);
        text_addc(&c->target, '=');
        text_add_encoded(&c->target, r->query[i].value);
    }
}

static void note_request_id(struct client *c)
{
    struct slsr_bytes id;
    bool legal = http_header(&c->response, "x-log-requestid", &id) && id.n > 0 &&
                 id.n < sizeof c->request_id;

    for (size_t i = 0; legal && i < id.n; i++)
        legal = isalnum((unsigned char)id.p[i]) || id.p[i] == '-';
    /* It goes into our sentences: a name of another shape is no name of the service. */
    snprintf(c->request_id, sizeof c->request_id, "%.*s", legal ? (int)id.n : 1,
             legal ? id.p : "-");
}

/* Builds, signs and sends once. 0: an answer with some status is there. */
static int attempt_once(struct client *c, const struct request *r, struct slsr_err *err)
{
    struct http_request http = {
        .method = r->method,
        .body = text_view(&c->body),
        .timeout_ms = c->limit_ms > 0 && c->limit_ms < r->timeout_ms ? c->limit_ms : r->timeout_ms,
        .limit_bytes = r->limit_bytes,
        .stop = r->closing ? NULL : c->stop};
    struct attempt a;
    int rc;

    if (!r->closing && slsr_stop_requested(c->stop))
        return slsr_fail(err, SLSR_ESTOPPED, "stopped before the request");
    account_drop(c->keys);
    rc = account_take(c->account, r->closing ? NULL : c->stop, &c->keys, err);
    if (rc != 0)
        return rc;
    build_target(c, r);
    if (c->path.failed || c->body.failed || c->target.failed)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for a request");
    rc = build_headers(c, r, &a, err);
    if (rc == 0)
        rc = sign(c, r, &a, err);
    if (rc != 0)
        return rc;
    http.target = c->target.p;
    http.headers = a.headers;
    http.header_count = a.header_count;
    c->response.header_count = 0;
    rc = c->http->exchange(c->http_ctx, &http, &c->response, err);
    if (rc == 0)
        note_request_id(c);
    return rc;
}

/* The service's clock minus ours, by the answer's Date. */
static bool measure_clock(const struct client *c, int64_t *offset_s)
{
    struct slsr_bytes value;
    char text[SIGN_DATE_SIZE];
    int64_t date_s;

    if (!http_header(&c->response, "date", &value) || value.n >= sizeof text)
        return false;
    memcpy(text, value.p, value.n);
    text[value.n] = '\0';
    if (!sign_date_parse(text, &date_s))
        return false;
    *offset_s = date_s - clock_wall_ms() / 1000;
    return true;
}

/* "17 min behind" in out. */
static void clock_words(int64_t offset_s, char *out, size_t size)
{
    const int64_t off = offset_s < 0 ? -offset_s : offset_s;

    snprintf(out, size, "%lld %s %s", (long long)(off >= 120 ? off / 60 : off),
             off >= 120 ? "min" : "s", offset_s < 0 ? "ahead of" : "behind");
}

static int clock_refused(const struct client *c, const struct request *r, struct slsr_err *err)
{
    int64_t offset_s;
    char words[64];

    if (!measure_clock(c, &offset_s))
        return slsr_fail(err, SLSR_ECLOCK,
                         "%s: %s (HTTP %d, request %s): SLS refuses our date and tells no Date of "
                         "its own: set this machine's clock",
                         r->what, c->error.code, c->response.status, c->request_id);
    clock_words(offset_s, words, sizeof words);
    return slsr_fail(err, SLSR_ECLOCK,
                     "%s: %s (HTTP %d, request %s): this machine's clock is %s SLS: set it",
                     r->what, c->error.code, c->response.status, c->request_id, words);
}

/* An answer that is not 200 -> code and sentence. */
static int judge(struct client *c, const struct request *r, struct slsr_err *err)
{
    const struct answer_context context = {
        .pull = r->pull, .query = c->source->query != NULL && c->source->query[0] != '\0'};
    const char *secrets[3], *advice = "";
    int code;

    list_secrets(c, secrets);
    answer_error(c->response.body, secrets, &c->error);
    code = answer_code(c->response.status, &c->error, context, &advice);
    if (code == SLSR_ECLOCK)
        return clock_refused(c, r, err);
    if (c->error.code[0] == '\0')
        return slsr_fail(err, code, "%s: HTTP %d without an error code (request %s): %s", r->what,
                         c->response.status, c->request_id, advice);
    return slsr_fail(err, code, "%s: %s (HTTP %d, request %s)%s%s: %s", r->what, c->error.code,
                     c->response.status, c->request_id, c->error.message[0] != '\0' ? ": " : "",
                     c->error.message, advice);
}

/* Takes the service's clock over; says so when the correction is new. False: it tells none. */
static bool adopt_clock(struct client *c)
{
    int64_t offset_s;
    char words[64];

    if (!measure_clock(c, &offset_s))
        return false;
    if (account_set_clock(c->account, offset_s)) {
        clock_words(offset_s, words, sizeof words);
        diag(SLSR_LOG_WARNING, "client",
             "this machine's clock is %s SLS: requests are dated by the clock of SLS from now on; "
             "set this machine's clock",
             words);
    }
    return true;
}

/* Refused keys may have been replaced where they come from: then there are newer ones. */
static bool newer_keys(struct client *c, const struct request *r)
{
    return account_refused(c->account, r->closing ? NULL : c->stop, c->keys);
}

static int run(struct client *c, const struct request *r, struct slsr_err *err)
{
    struct slsr_bytes encoding;
    bool clock_set = false, keys_new = false; /* each once a call */

    for (;;) {
        int rc = attempt_once(c, r, err);

        if (rc != 0)
            return slsr_wrap(err, rc, "%s", r->what);
        if (c->response.status == 200)
            break;
        rc = judge(c, r, err);
        if (rc == SLSR_ECLOCK && !clock_set && adopt_clock(c))
            clock_set = true;
        else if (rc == SLSR_EAUTH && !keys_new && newer_keys(c, r))
            keys_new = true;
        else
            return rc;
    }
    if (http_header(&c->response, "content-encoding", &encoding) && encoding.n > 0 &&
        !(encoding.n == 8 && strncasecmp(encoding.p, "identity", 8) == 0))
        return slsr_fail(err, SLSR_ESERVER,
                         "%s: the answer came with a Content-Encoding, which SLS never sends: "
                         "check what source.proxy and others between here and SLS do to it",
                         r->what);
    return 0;
}

/* err may be the caller's NULL: then there is nothing to mask. */
static int masked(const struct client *c, int rc, struct slsr_err *err)
{
    const char *secrets[3];

    if (rc != 0 && err != NULL) {
        list_secrets(c, secrets);
        answer_mask(err->text, secrets);
    }
    return rc;
}

int request_run(struct client *c, const struct request *r, struct slsr_err *err)
{
    c->error = (struct answer_error){0};
    snprintf(c->request_id, sizeof c->request_id, "-");
    return masked(c, run(c, r, err), err);
}

int request_wrap(const struct client *c, const struct request *r, int rc, struct slsr_err *err)
{
    return masked(c, slsr_wrap(err, rc, "%s (request %s)", r->what, c->request_id), err);
}
