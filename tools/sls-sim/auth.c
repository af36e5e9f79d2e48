/* Signature check. A request goes through: API version, date and skew, key id, token, hash of the
 * body, signature. Any failure becomes the error answer that the service documents; the expected
 * signature is never told. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth.h"
#include "text.h"

enum { SHA256_BYTES = 32, SHA1_BYTES = 20, MD5_BYTES = 16 };

static const char v4_word[] = "SLS4-HMAC-SHA256";
static const char v4_tail[] = "sls/aliyun_v4_request";

struct credential {
    bool v4;
    char id[NAME_SIZE];
    char scope[NAME_SIZE]; /* v4 only */
    char region[NAME_SIZE];
    char signature[AUTH_SIGNATURE_SIZE];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

/* Blanks around a header value are not part of it. */
static void add_trimmed(struct buf *out, const char *value)
{
    size_t n;

    while (*value == ' ' || *value == '\t')
        value++;
    n = strlen(value);
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    buf_add(out, value, n);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_signed(const char *name, bool v4, bool with_log_date)
{
    if (v4 && (strcmp(name, "host") == 0 || strcmp(name, "content-type") == 0))
        return true;
    if (starts_with(name, "x-log-meta-"))
        return false;
    if (!v4 && !with_log_date && strcmp(name, "x-log-date") == 0)
        return false;
    return starts_with(name, "x-log-") || starts_with(name, "x-acs-");
}

/* The signed headers with lower-case names, sorted. The caller frees the list. */
static struct pairs signed_headers(const struct request *r, bool v4, bool with_log_date)
{
    struct pairs list = {0};

    for (size_t i = 0; i < r->headers.n; i++) {
        char *name = xstrdup(r->headers.v[i].name);

        for (char *c = name; *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        if (is_signed(name, v4, with_log_date))
            pairs_add(&list, name, r->headers.v[i].value);
        free(name);
    }
    if (list.n > 1)
        qsort(list.v, list.n, sizeof *list.v, by_name);
    return list;
}

static struct pairs sorted_params(const struct request *r)
{
    struct pairs list = {0};

    for (size_t i = 0; i < r->params.n; i++)
        pairs_add(&list, r->params.v[i].name, r->params.v[i].value);
    if (list.n > 1)
        qsort(list.v, list.n, sizeof *list.v, by_name);
    return list;
}

static const char *header_or_empty(const struct request *r, const char *name)
{
    const char *value = request_header(r, name);

    return value == NULL ? "" : value;
}

void auth_sign_v1(const struct request *r, const char *secret, const char *date, bool with_log_date,
                  char out[AUTH_SIGNATURE_SIZE])
{
    struct pairs headers = signed_headers(r, false, with_log_date);
    struct pairs params = sorted_params(r);
    bool sha256 = strcmp(header_or_empty(r, "x-log-signaturemethod"), "hmac-sha256") == 0;
    struct buf text = {0};
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_n = 0;

    buf_printf(&text, "%s\n", r->method);
    add_trimmed(&text, header_or_empty(r, "content-md5"));
    buf_byte(&text, '\n');
    add_trimmed(&text, header_or_empty(r, "content-type"));
    buf_byte(&text, '\n');
    add_trimmed(&text, date);
    buf_byte(&text, '\n');
    for (size_t i = 0; i < headers.n; i++) {
        buf_printf(&text, "%s:", headers.v[i].name);
        add_trimmed(&text, headers.v[i].value);
        buf_byte(&text, '\n');
    }
    buf_text(&text, r->path);
    for (size_t i = 0; i < params.n; i++)
        buf_printf(&text, "%s%s=%s", i == 0 ? "?" : "&", params.v[i].name, params.v[i].value);
    HMAC(sha256 ? EVP_sha256() : EVP_sha1(), secret, (int)strlen(secret), (unsigned char *)text.p,
         text.n, mac, &mac_n);
    EVP_EncodeBlock((unsigned char *)out, mac, (int)mac_n);
    buf_fini(&text);
    pairs_fini(&headers);
    pairs_fini(&params);
}

static void canonical_v4(const struct request *r, struct buf *text)
{
    struct pairs headers = signed_headers(r, true, true);
    struct pairs params = sorted_params(r);

    buf_printf(text, "%s\n%s\n", r->method, r->path);
    for (size_t i = 0; i < params.n; i++) {
        buf_printf(text, "%s%s", i == 0 ? "" : "&", params.v[i].name);
        if (params.v[i].value[0] != '\0') {
            buf_byte(text, '=');
            text_escape(text, params.v[i].value);
        }
    }
    buf_byte(text, '\n');
    for (size_t i = 0; i < headers.n; i++) {
        buf_printf(text, "%s:", headers.v[i].name);
        add_trimmed(text, headers.v[i].value);
        buf_byte(text, '\n');
    }
    buf_byte(text, '\n');
    for (size_t i = 0; i < headers.n; i++)
        buf_printf(text, "%s%s", i == 0 ? "" : ";", headers.v[i].name);
    buf_printf(text, "\n%s", header_or_empty(r, "x-log-content-sha256"));
    pairs_fini(&headers);
    pairs_fini(&params);
}

static void hmac256(uint8_t out[SHA256_BYTES], const void *key, size_t key_n, const char *text)
{
    unsigned n = 0;

    HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)text, strlen(text), out, &n);
}

void auth_sign_v4(const struct request *r, const char *secret, const char *scope,
                  char out[AUTH_SIGNATURE_SIZE])
{
    struct buf canonical = {0};
    struct buf text = {0};
    struct buf key = {0};
    uint8_t hash[EVP_MAX_MD_SIZE];
    uint8_t mac[2][SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    char part[NAME_SIZE];
    char *rest = part;
    int turn = 0;

    canonical_v4(r, &canonical);
    EVP_Digest(canonical.p, canonical.n, hash, NULL, EVP_sha256(), NULL);
    text_hex(hex, hash, SHA256_BYTES, false);
    buf_printf(&text, "%s\n%s\n%s\n%s", v4_word, header_or_empty(r, "x-log-date"), scope, hex);
    buf_byte(&text, '\0');

    buf_printf(&key, "aliyun_v4%s", secret);
    snprintf(part, sizeof part, "%s", scope);
    hmac256(mac[0], key.p, key.n, strsep(&rest, "/"));
    for (char *word = strsep(&rest, "/"); word != NULL; word = strsep(&rest, "/")) {
        hmac256(mac[1 - turn], mac[turn], SHA256_BYTES, word);
        turn = 1 - turn;
    }
    hmac256(mac[1 - turn], mac[turn], SHA256_BYTES, text.p);
    text_hex(out, mac[1 - turn], SHA256_BYTES, false);
    OPENSSL_cleanse(key.p, key.n);
    OPENSSL_cleanse(mac, sizeof mac);
    buf_fini(&key);
    buf_fini(&text);
    buf_fini(&canonical);
}

static bool copy_span(char *out, size_t size, const char *from, size_t n)
{
    if (n == 0 || n >= size)
        return false;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

/* "LOG id:signature" */
static bool parse_v1(const char *text, struct credential *c)
{
    const char *colon = strchr(text, ':');

    return colon != NULL && copy_span(c->id, sizeof c->id, text, (size_t)(colon - text)) &&
           copy_span(c->signature, sizeof c->signature, colon + 1, strlen(colon + 1));
}

/* "SLS4-HMAC-SHA256 Credential=id/date/region/sls/aliyun_v4_request,Signature=hex" */
static bool parse_v4(const char *text, struct credential *c)
{
    static const char first[] = "Credential=";
    static const char second[] = ",Signature=";
    const char *slash;
    const char *mark;
    char *region;
    size_t n;

    if (!starts_with(text, first))
        return false;
    text += sizeof first - 1;
    slash = strchr(text, '/');
    mark = strstr(text, second);
    if (slash == NULL || mark == NULL || slash > mark ||
        !copy_span(c->id, sizeof c->id, text, (size_t)(slash - text)) ||
        !copy_span(c->scope, sizeof c->scope, slash + 1, (size_t)(mark - slash - 1)))
        return false;
    mark += sizeof second - 1;
    if (!copy_span(c->signature, sizeof c->signature, mark, strlen(mark)))
        return false;
    region = strchr(c->scope, '/');
    if (region == NULL || region - c->scope != 8)
        return false;
    region++;
    n = strcspn(region, "/");
    return copy_span(c->region, sizeof c->region, region, n) && region[n] == '/' &&
           strcmp(region + n + 1, v4_tail) == 0;
}

static int parse_authorization(const struct request *r, struct credential *c, struct answer *a)
{
    const char *text = request_header(r, "authorization");

    *c = (struct credential){0};
    if (text == NULL)
        return answer_error(a, 401, "Unauthorized", "The Authorization header is missing");
    c->v4 = starts_with(text, v4_word);
    if (c->v4 && text[sizeof v4_word - 1] == ' ' && parse_v4(text + sizeof v4_word, c))
        return 0;
    if (!c->v4 && starts_with(text, "LOG ") && parse_v1(text + 4, c))
        return 0;
    return answer_error(a, 401, "Unauthorized", "The Authorization header is malformed");
}

/* Which date counts, and is it near enough. *date: the text that version 1 signs. */
static int check_date(const struct request *r, const struct credential *c, int64_t now_s,
                      const char **date, struct answer *a)
{
    const char *text = request_header(r, "x-log-date");
    int64_t then;

    if (text == NULL && !c->v4)
        text = request_header(r, "date");
    if (text == NULL)
        return answer_error(a, 400, "MissingDate", "The request has no %s header",
                            c->v4 ? "x-log-date" : "Date");
    if (!(c->v4 ? date_parse_basic(text, &then) : date_parse_http(text, &then)))
        return answer_error(a, 400, "InvalidDateFormat", "The date %.64s is not in the form %s",
                            text, c->v4 ? "20250102T030405Z" : "Thu, 02 Jan 2025 03:04:05 GMT");
    if (then > now_s + AUTH_SKEW_MAX_S || then < now_s - AUTH_SKEW_MAX_S)
        return answer_error(a, 400, "RequestTimeTooSkewed",
                            "The request time %.64s differs from the server time by more than 15 "
                            "minutes",
                            text);
    *date = text;
    return 0;
}

static int check_token(const char *want, const struct request *r, struct answer *a)
{
    const char *token = request_header(r, "x-acs-security-token");

    if (want == NULL ? token != NULL : token == NULL || strcmp(token, want) != 0)
        return answer_error(a, 401, "Unauthorized", "The security token is %s",
                            token == NULL ? "missing" : "not valid");
    return 0;
}

static int check_key(const struct auth_keys *keys, const struct request *r,
                     const struct credential *c, int64_t now_s, const char **secret,
                     struct answer *a)
{
    for (size_t i = 0; i < keys->sts_count; i++) {
        const struct sts_key *key = &keys->sts[i];

        if (strcmp(key->id, c->id) != 0)
            continue;
        *secret = key->secret;
        if (check_token(key->token, r, a) != 0)
            return -1;
        if (now_s >= key->expires_s)
            return answer_error(a, 401, "Unauthorized", "The security token has expired");
        return 0;
    }
    for (size_t i = 0; i < keys->keys.n; i++) {
        if (strcmp(keys->keys.v[i].name, c->id) == 0) {
            *secret = keys->keys.v[i].value;
            return check_token(keys->token, r, a);
        }
    }
    return answer_error(a, 401, "Unauthorized", "The AccessKeyId %.64s is not known", c->id);
}

static void fini_sts(struct sts_key *key)
{
    free(key->id);
    OPENSSL_cleanse(key->secret, strlen(key->secret));
    free(key->secret);
    free(key->token);
}

bool auth_remove_key(struct auth_keys *keys, const char *id)
{
    for (size_t i = 0; i < keys->sts_count; i++) {
        if (strcmp(keys->sts[i].id, id) == 0) {
            fini_sts(&keys->sts[i]);
            keys->sts[i] = keys->sts[--keys->sts_count];
            return true;
        }
    }
    for (size_t i = 0; i < keys->keys.n; i++) {
        if (strcmp(keys->keys.v[i].name, id) == 0) {
            free(keys->keys.v[i].name);
            free(keys->keys.v[i].value);
            keys->keys.v[i] = keys->keys.v[--keys->keys.n];
            return true;
        }
    }
    return false;
}

void auth_set_key(struct auth_keys *keys, const char *id, const char *secret, const char *token,
                  int64_t expires_s)
{
    auth_remove_key(keys, id);
    if (token == NULL) {
        pairs_add(&keys->keys, id, secret);
        return;
    }
    ARRAY_ROOM(keys->sts, keys->sts_count, keys->sts_size);
    keys->sts[keys->sts_count++] =
        (struct sts_key){xstrdup(id), xstrdup(secret), xstrdup(token), expires_s};
}

void auth_fini(struct auth_keys *keys)
{
    while (keys->sts_count > 0)
        fini_sts(&keys->sts[--keys->sts_count]);
    free(keys->sts);
    pairs_fini(&keys->keys);
    free(keys->token);
}

static bool body_hash_matches(const struct request *r, bool v4)
{
    const char *sent = request_header(r, v4 ? "x-log-content-sha256" : "content-md5");
    const char *data = r->body.n == 0 ? "" : r->body.p;
    uint8_t hash[EVP_MAX_MD_SIZE];
    char hex[2 * SHA256_BYTES + 1];

    if (!v4 && (sent == NULL || (*sent == '\0' && r->body.n == 0)))
        return r->body.n == 0; /* an unhashed body would not be covered by the signature */
    if (sent == NULL)
        return false;
    EVP_Digest(data, r->body.n, hash, NULL, v4 ? EVP_sha256() : EVP_md5(), NULL);
    text_hex(hex, hash, v4 ? SHA256_BYTES : MD5_BYTES, !v4);
    return strcmp(hex, sent) == 0;
}

static bool signature_matches(const struct request *r, const struct credential *c,
                              const char *secret, const char *date)
{
    char want[AUTH_SIGNATURE_SIZE];

    if (c->v4) {
        auth_sign_v4(r, secret, c->scope, want);
        return strncmp(date, c->scope, 8) == 0 && strcmp(want, c->signature) == 0;
    }
    auth_sign_v1(r, secret, date, false, want);
    if (strcmp(want, c->signature) == 0)
        return true;
    auth_sign_v1(r, secret, date, true, want);
    return strcmp(want, c->signature) == 0;
}

int auth_check(const struct auth_keys *keys, const struct request *r, int64_t now_s,
               struct answer *a)
{
    const char *version = request_header(r, "x-log-apiversion");
    const char *method = request_header(r, "x-log-signaturemethod");
    const char *authorization = request_header(r, "authorization");
    struct credential c = {.v4 = authorization != NULL && starts_with(authorization, v4_word)};
    const char *date = NULL;
    const char *secret = NULL;

    if (version == NULL)
        return answer_error(a, 400, "MissingAPIVersion", "x-log-apiversion is missing");
    if (strcmp(version, "0.6.0") != 0 && strcmp(version, "0.4.0") != 0)
        return answer_error(a, 400, "InvalidAPIVersion", "API version %.32s is not supported",
                            version);
    if (check_date(r, &c, now_s, &date, a) != 0 || parse_authorization(r, &c, a) != 0 ||
        check_key(keys, r, &c, now_s, &secret, a) != 0)
        return -1;
    if (!c.v4 && method == NULL)
        return answer_error(a, 400, "MissingSignatureMethod", "x-log-signaturemethod is missing");
    /* The generated clients (Darabonba) send the second one, which no page describes. */
    if (!c.v4 && strcmp(method, "hmac-sha1") != 0 && strcmp(method, "hmac-sha256") != 0)
        return answer_error(a, 400, "InvalidSignatureMethod",
                            "signature method %.32s is not supported", method);
    if (!body_hash_matches(r, c.v4))
        return answer_error(a, 401, "SignatureNotMatch", "%s does not match the body",
                            c.v4 ? "x-log-content-sha256" : "Content-MD5");
    if (!signature_matches(r, &c, secret, date))
        return answer_error(a, 401, "SignatureNotMatch", "signature %s not matched", c.signature);
    return 0;
}
