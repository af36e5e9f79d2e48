/* SLS signatures. Both versions: pick the headers that count, sort them and the query, write the
 * canonical text, key a digest with the secret. The two differ in almost every detail: v1 signs the
 * decoded query and leaves the host out, v4 signs encoded values, raw keys and the host.
 *
 * What can go wrong is a header that the version needs and the caller forgot (our bug), or memory.
 * Texts that hold the secret or keys made from it are wiped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "client/sign.h"

enum { DIGEST_MAX = 64 };

static int compare_bytes(struct slsr_bytes a, struct slsr_bytes b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

static int by_key(const void *a, const void *b)
{
    const struct slsr_pair *x = a, *y = b;
    const int order = compare_bytes(x->key, y->key);

    return order != 0 ? order : compare_bytes(x->value, y->value);
}

/* Header names are compared in lower case; theirs are ASCII tokens. */
static int by_name(const void *a, const void *b)
{
    const struct slsr_pair *x = a, *y = b;
    const size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
    const int order = strncasecmp(x->key.p, y->key.p, n);

    if (order != 0)
        return order;
    return (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

static bool name_is(struct slsr_bytes name, const char *wanted)
{
    return name.n == strlen(wanted) && strncasecmp(name.p, wanted, name.n) == 0;
}

static bool name_begins(struct slsr_bytes name, const char *prefix)
{
    const size_t n = strlen(prefix);

    return name.n >= n && strncasecmp(name.p, prefix, n) == 0;
}

static struct slsr_bytes trim(struct slsr_bytes v)
{
    while (v.n > 0 && (v.p[0] == ' ' || v.p[0] == '\t')) {
        v.p++;
        v.n--;
    }
    while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

static bool find(const struct sign_input *in, const char *name, struct slsr_bytes *value)
{
    *value = (struct slsr_bytes){"", 0};
    for (size_t i = 0; i < in->header_count; i++) {
        if (name_is(in->headers[i].key, name)) {
            *value = trim(in->headers[i].value);
            return true;
        }
    }
    return false;
}

static void add_lower(struct text *t, struct slsr_bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        const char c = name.p[i];

        text_addc(t, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
}

static bool vendor_header(struct slsr_bytes name)
{
    return (name_begins(name, "x-log-") || name_begins(name, "x-acs-")) &&
           !name_begins(name, "x-log-meta-");
}

static bool signed_header(const struct sign_input *in, const struct slsr_pair *h)
{
    struct slsr_bytes date;

    if (in->v4)
        return vendor_header(h->key) || name_is(h->key, "host") || name_is(h->key, "content-type");
    /* v1: x-log-date that merely repeats Date is not covered. */
    if (name_is(h->key, "x-log-date") && find(in, "date", &date))
        return !slsr_bytes_equal(trim(h->value), date);
    return vendor_header(h->key);
}

static size_t pick_headers(const struct sign_input *in, struct slsr_pair picked[SIGN_PAIRS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < in->header_count; i++) {
        if (signed_header(in, &in->headers[i])) {
            picked[n] = in->headers[i];
            picked[n].value = trim(picked[n].value);
            n++;
        }
    }
    if (n > 1)
        qsort(picked, n, sizeof picked[0], by_name);
    return n;
}

static void add_query(const struct sign_input *in, struct text *t)
{
    struct slsr_pair sorted[SIGN_PAIRS_MAX];

    for (size_t i = 0; i < in->query_count; i++)
        sorted[i] = in->query[i];
    if (in->query_count > 1)
        qsort(sorted, in->query_count, sizeof sorted[0], by_key);
    for (size_t i = 0; i < in->query_count; i++) {
        if (i > 0)
            text_addc(t, '&');
        text_add(t, sorted[i].key.p, sorted[i].key.n);
        if (in->v4 && sorted[i].value.n == 0)
            continue; /* v4 writes the key alone, v1 "key=" */
        text_addc(t, '=');
        if (in->v4)
            text_add_encoded(t, sorted[i].value);
        else
            text_add(t, sorted[i].value.p, sorted[i].value.n);
    }
}

static void add_line(struct text *t, struct slsr_bytes line)
{
    text_add(t, line.p, line.n);
    text_addc(t, '\n');
}

static int hmac(const EVP_MD *md, struct slsr_bytes key, struct slsr_bytes message,
                unsigned char out[DIGEST_MAX], unsigned *n, struct slsr_err *err)
{
    if (HMAC(md, key.p, (int)key.n, (const unsigned char *)message.p, message.n, out, n) == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "cannot sign a request: the crypto library failed");
    return 0;
}

static void add_hex(struct text *t, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_addf(t, "%02x", bytes[i]);
}

static int check_memory(const struct text *t, struct slsr_err *err)
{
    if (t->failed)
        return slsr_fail(err, SLSR_ENOMEM, "cannot sign a request: out of memory");
    return 0;
}

static int sign_v1(const struct sign_input *in, struct sign_result *out, struct slsr_err *err)
{
    struct slsr_pair picked[SIGN_PAIRS_MAX];
    const size_t n = pick_headers(in, picked);
    struct slsr_bytes value;
    unsigned char mac[DIGEST_MAX];
    char base64[2 * DIGEST_MAX];
    unsigned mac_n = 0;
    struct text *t = &out->string_to_sign;
    int rc;

    add_line(t, slsr_bytes_of(in->method));
    find(in, "content-md5", &value);
    add_line(t, value);
    find(in, "content-type", &value);
    add_line(t, value);
    if (!find(in, "date", &value) && !find(in, "x-log-date", &value))
        return slsr_fail(err, SLSR_ECLIENT, "cannot sign a request: it has no Date header");
    add_line(t, value);
    for (size_t i = 0; i < n; i++) {
        add_lower(t, picked[i].key);
        text_addc(t, ':');
        add_line(t, picked[i].value);
    }
    text_addz(t, in->path);
    if (in->query_count > 0)
        text_addc(t, '?');
    add_query(in, t);
    rc = check_memory(t, err);
    if (rc != 0)
        return rc;

    rc = hmac(EVP_sha1(), slsr_bytes_of(in->access_key_secret), text_view(t), mac, &mac_n, err);
    if (rc != 0)
        return rc;
    EVP_EncodeBlock((unsigned char *)base64, mac, (int)mac_n);
    text_addz(&out->signature, base64);
    text_addf(&out->authorization, "LOG %s:%s", in->access_key_id, base64);
    return check_memory(&out->authorization, err);
}

/* HMAC chain from the secret over day, region and product to the key of this request. */
static int derive_key(const struct sign_input *in, struct slsr_bytes day,
                      unsigned char key[DIGEST_MAX], unsigned *key_n, struct slsr_err *err)
{
    const struct slsr_bytes steps[] = {day, slsr_bytes_of(in->region), slsr_bytes_of("sls"),
                                       slsr_bytes_of("aliyun_v4_request")};
    unsigned char next[DIGEST_MAX];
    struct text secret = {0};
    struct slsr_bytes with;
    int rc;

    text_addz(&secret, "aliyun_v4");
    text_addz(&secret, in->access_key_secret);
    rc = check_memory(&secret, err);
    with = text_view(&secret);
    for (size_t i = 0; rc == 0 && i < sizeof steps / sizeof steps[0]; i++) {
        rc = hmac(EVP_sha256(), with, steps[i], next, key_n, err);
        memcpy(key, next, sizeof next);
        with = (struct slsr_bytes){(const char *)key, *key_n};
    }
    OPENSSL_cleanse(next, sizeof next);
    text_wipe(&secret);
    return rc;
}

static int canonical_v4(const struct sign_input *in, struct text *t, struct slsr_err *err)
{
    struct slsr_pair picked[SIGN_PAIRS_MAX];
    const size_t n = pick_headers(in, picked);
    struct slsr_bytes hash;

    if (!find(in, "x-log-content-sha256", &hash))
        return slsr_fail(err, SLSR_ECLIENT, "cannot sign a request: it has no body hash");
    add_line(t, slsr_bytes_of(in->method));
    add_line(t, slsr_bytes_of(in->path));
    add_query(in, t);
    text_addc(t, '\n');
    for (size_t i = 0; i < n; i++) {
        add_lower(t, picked[i].key);
        text_addc(t, ':');
        add_line(t, picked[i].value);
    }
    text_addc(t, '\n');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            text_addc(t, ';');
        add_lower(t, picked[i].key);
    }
    text_addc(t, '\n');
    text_add(t, hash.p, hash.n);
    return check_memory(t, err);
}

static int sign_v4(const struct sign_input *in, struct sign_result *out, struct slsr_err *err)
{
    char hash[SIGN_HEX_SIZE], scope[SLSR_NAME_MAX + 64];
    unsigned char key[DIGEST_MAX], mac[DIGEST_MAX];
    unsigned key_n = 0, mac_n = 0;
    struct slsr_bytes date;
    int rc;

    if (in->region == NULL || in->region[0] == '\0' || strlen(in->region) > SLSR_NAME_MAX)
        return slsr_fail(err, SLSR_ECONFIG, "signature v4 needs a region: set source.region");
    if (!find(in, "x-log-date", &date) || date.n < 8)
        return slsr_fail(err, SLSR_ECLIENT, "cannot sign a request: it has no x-log-date header");
    rc = canonical_v4(in, &out->canonical, err);
    if (rc == 0)
        rc = sign_sha256(text_view(&out->canonical), hash, err);
    if (rc != 0)
        return rc;
    snprintf(scope, sizeof scope, "%.8s/%s/sls/aliyun_v4_request", date.p, in->region);
    text_addf(&out->string_to_sign, "SLS4-HMAC-SHA256\n%.*s\n%s\n%s", (int)date.n, date.p, scope,
              hash);
    rc = check_memory(&out->string_to_sign, err);
    if (rc == 0)
        rc = derive_key(in, (struct slsr_bytes){date.p, 8}, key, &key_n, err);
    if (rc == 0)
        rc = hmac(EVP_sha256(), (struct slsr_bytes){(const char *)key, key_n},
                  text_view(&out->string_to_sign), mac, &mac_n, err);
    OPENSSL_cleanse(key, sizeof key);
    if (rc != 0)
        return rc;
    add_hex(&out->signature, mac, mac_n);
    if (out->signature.failed)
        return check_memory(&out->signature, err);
    text_addf(&out->authorization, "SLS4-HMAC-SHA256 Credential=%s/%s,Signature=%s",
              in->access_key_id, scope, out->signature.p);
    return check_memory(&out->authorization, err);
}

int sign_request(const struct sign_input *in, struct sign_result *out, struct slsr_err *err)
{
    text_reset(&out->canonical);
    text_reset(&out->string_to_sign);
    text_reset(&out->signature);
    text_reset(&out->authorization);
    if (in->query_count > SIGN_PAIRS_MAX || in->header_count > SIGN_PAIRS_MAX)
        return slsr_fail(err, SLSR_ECLIENT, "cannot sign a request: more than %d pairs",
                         (int)SIGN_PAIRS_MAX);
    return in->v4 ? sign_v4(in, out, err) : sign_v1(in, out, err);
}

void sign_result_fini(struct sign_result *out)
{
    text_wipe(&out->canonical); /* may hold the security token */
    text_wipe(&out->string_to_sign);
    text_fini(&out->signature);
    text_fini(&out->authorization);
}

static int digest(const EVP_MD *md, struct slsr_bytes body, const char *format,
                  char out[SIGN_HEX_SIZE], struct slsr_err *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_Digest(body.n > 0 ? body.p : "", body.n, hash, &n, md, NULL) != 1 ||
        2 * n >= SIGN_HEX_SIZE)
        return slsr_fail(err, SLSR_ENOMEM, "cannot hash a request: the crypto library failed");
    for (size_t i = 0; i < n; i++) {
        *out++ = format[hash[i] >> 4];
        *out++ = format[hash[i] & 15];
    }
    *out = '\0';
    return 0;
}

int sign_md5(struct slsr_bytes body, char out[SIGN_HEX_SIZE], struct slsr_err *err)
{
    return digest(EVP_md5(), body, "0123456789ABCDEF", out, err);
}

int sign_sha256(struct slsr_bytes body, char out[SIGN_HEX_SIZE], struct slsr_err *err)
{
    return digest(EVP_sha256(), body, "0123456789abcdef", out, err);
}

static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void split(int64_t unix_s, struct tm *tm)
{
    const int64_t last = 253402300799; /* 9999-12-31: the formats have four digits for the year */
    const time_t t = (time_t)(unix_s < 0 ? 0 : unix_s > last ? last : unix_s);

    gmtime_r(&t, tm);
}

void sign_date_v1(int64_t unix_s, char out[SIGN_DATE_SIZE])
{
    struct tm tm;

    split(unix_s, &tm);
    snprintf(out, SIGN_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7],
             (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

void sign_date_v4(int64_t unix_s, char out[SIGN_DATE_SIZE])
{
    struct tm tm;

    split(unix_s, &tm);
    snprintf(out, SIGN_DATE_SIZE, "%04u%02u%02uT%02u%02u%02uZ",
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
             (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
             (unsigned)tm.tm_sec % 100);
}

/* Exactly n digits; -1 when they are not. */
static int digits(const char *p, int n)
{
    int value = 0;

    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

bool sign_date_parse(const char *text, int64_t *unix_s)
{
    struct tm tm = {0};
    int month = 0;

    /* "Thu, 02 Jan 2025 03:04:05 GMT": every part has its fixed place. */
    if (strlen(text) != 29 || memcmp(text + 3, ", ", 2) != 0 || text[7] != ' ' || text[11] != ' ' ||
        text[16] != ' ' || text[19] != ':' || text[22] != ':' || memcmp(text + 25, " GMT", 4) != 0)
        return false;
    while (month < 12 && memcmp(text + 8, months[month], 3) != 0)
        month++;
    tm.tm_mday = digits(text + 5, 2);
    tm.tm_mon = month;
    tm.tm_year = digits(text + 12, 4) - 1900;
    tm.tm_hour = digits(text + 17, 2);
    tm.tm_min = digits(text + 20, 2);
    tm.tm_sec = digits(text + 23, 2);
    if (month == 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_year < 70 || tm.tm_hour < 0 ||
        tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
        return false;
    *unix_s = timegm(&tm);
    return true;
}
