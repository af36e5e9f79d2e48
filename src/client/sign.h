/* Request signatures of SLS, versions 1 and 4, and the dates that they cover. Pure: no clock, no
 * network, no globals. Source: SLS API reference "Request signatures"; proven by the vectors in
 * tests/vectors/sls-signatures.json. */
#ifndef CLIENT_SIGN_H
#define CLIENT_SIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/err.h"
#include "slsrelay/types.h"

#include "client/text.h"

enum {
    SIGN_DATE_SIZE = 32, /* "Thu, 02 Jan 2025 03:04:05 GMT" and NUL fit */
    SIGN_HEX_SIZE = 65,  /* SHA-256 in hex and NUL */
    SIGN_PAIRS_MAX = 64  /* headers or parameters of one request */
};

struct sign_input {
    bool v4;
    const char *method;
    const char *path;              /* as sent, without the query */
    const struct slsr_pair *query; /* decoded; any order; borrowed */
    size_t query_count;
    const struct slsr_pair *headers; /* all that are sent, without Authorization; any order */
    size_t header_count;
    const char *access_key_id;
    const char *access_key_secret;
    const char *region; /* v4 only */
};

/* Zero it before first use; reuse keeps the memory. */
struct sign_result {
    struct text canonical; /* v4: the canonical request; v1: unused */
    struct text string_to_sign;
    struct text signature;
    struct text authorization; /* value of the Authorization header */
};

/* Needs among the headers: v1 Date (or x-log-date); v4 x-log-date, x-log-content-sha256.
 * 0, SLSR_ECLIENT (such a header is missing, too many pairs), SLSR_ECONFIG (v4 without a region),
 * SLSR_ENOMEM. */
int sign_request(const struct sign_input *in, struct sign_result *out, struct slsr_err *err);
void sign_result_fini(struct sign_result *out);

/* Body digests as the headers want them: upper-case hex MD5, lower-case hex SHA-256. */
int sign_md5(struct slsr_bytes body, char out[SIGN_HEX_SIZE], struct slsr_err *err);
int sign_sha256(struct slsr_bytes body, char out[SIGN_HEX_SIZE], struct slsr_err *err);

/* English names whatever the locale: "Thu, 02 Jan 2025 03:04:05 GMT" and "20250102T030405Z". */
void sign_date_v1(int64_t unix_s, char out[SIGN_DATE_SIZE]);
void sign_date_v4(int64_t unix_s, char out[SIGN_DATE_SIZE]);
/* Reads the v1 form (RFC 9110 IMF-fixdate). False when it is anything else. */
bool sign_date_parse(const char *text, int64_t *unix_s);

#endif
