/* Request signatures as the server checks them: version 1 (HMAC-SHA1) and version 4 (HMAC-SHA256).
 * Pure: the clock and the keys come in. Written from the protocol description alone; shares nothing
 * with the signing code of the relay, so that one misreading cannot hide on both sides. */
#ifndef SIM_AUTH_H
#define SIM_AUTH_H

#include "request.h"

enum {
    AUTH_SKEW_MAX_S = 15 * 60,
    AUTH_SIGNATURE_SIZE = 72, /* v4: 64 hex digits */
};

/* A temporary key: valid with its own token, and for a while. */
struct sts_key {
    char *id, *secret, *token;
    int64_t expires_s; /* wall clock; INT64_MAX: never */
};

struct auth_keys {
    struct pairs keys; /* id, secret */
    char *token;       /* the STS token that must come along; NULL: none may */
    struct sts_key *sts;
    size_t sts_count, sts_size;
};

/* Adds a key, or changes the one with this id. A NULL token makes it a permanent one. */
void auth_set_key(struct auth_keys *keys, const char *id, const char *secret, const char *token,
                  int64_t expires_s);
/* False: there is no such key. */
bool auth_remove_key(struct auth_keys *keys, const char *id);
void auth_fini(struct auth_keys *keys);

/* Checks version, date, key, token, body hash and signature in this order.
 * Returns 0, or -1 with the refusal in `a`. */
int auth_check(const struct auth_keys *keys, const struct request *r, int64_t now_s,
               struct answer *a);

/* The signature that the request should carry, for both versions. `with_log_date`: count x-log-date
 * among the signed headers of version 1. `date` is the signed date text (v1), scope text is
 * "YYYYMMDD/region/sls/aliyun_v4_request" (v4). */
void auth_sign_v1(const struct request *r, const char *secret, const char *date, bool with_log_date,
                  char out[AUTH_SIGNATURE_SIZE]);
void auth_sign_v4(const struct request *r, const char *secret, const char *scope,
                  char out[AUTH_SIGNATURE_SIZE]);

#endif
