/* JSON answers of SLS -> structs, and error answers -> code and advice. Pure. Every byte is
 * hostile: what has the wrong type, a duplicate or too much of something is refused with a sentence
 * (SLSR_ESERVER). Shapes: SLS API reference; lists are bare arrays, unlike its samples. */
#ifndef CLIENT_ANSWER_H
#define CLIENT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/err.h"
#include "slsrelay/types.h"

#include "client/client.h"

/* More than any logstore can have (400 a project); bounds what an answer makes us allocate. */
enum { ANSWER_SHARDS_MAX = 65536 };

/* [{"shardID":0,"status":"readwrite",...}]; order as sent. free(*shards), NULL when none. */
/* {"logstoreName":..,"ttl":DAYS,..} */
int answer_retention(struct slsr_bytes body, int64_t *seconds, struct slsr_err *err);
int answer_shards(struct slsr_bytes body, struct client_shard **shards, size_t *count,
                  struct slsr_err *err);
/* [0,1]: the answer to a heartbeat. free(*ids), NULL when none. */
int answer_shard_ids(struct slsr_bytes body, uint32_t **ids, size_t *count, struct slsr_err *err);
/* [{"shard":0,"checkpoint":"...","consumer":"..."}]: the entry of `shard`. */
int answer_checkpoint(struct slsr_bytes body, uint32_t shard, struct client_checkpoint *out,
                      struct slsr_err *err);
/* The answer to a call that returns nothing: empty, or an empty object. What else says "200" (a
 * proxy's page) has not done what we asked for. */
int answer_nothing(struct slsr_bytes body, struct slsr_err *err);
/* {"cursor":"..."} */
int answer_cursor(struct slsr_bytes body, char cursor[SLSR_CURSOR_MAX + 1], struct slsr_err *err);
/* Keys from a credentials file or the metadata service; overwrite it after use. */
struct answer_keys {
    char id[256];
    char secret[1024];
    char token[8192];  /* "" when there is none */
    int64_t expires_s; /* since 1970, 0 when it is not said */
};
/* Names in any of the usual spellings: access_key_id, AccessKeyId, accessKeyId. SLSR_ESERVER; the
 * text never holds a value. */
int answer_keys(struct slsr_bytes body, struct answer_keys *out, struct slsr_err *err);
/* 1..SLSR_CURSOR_MAX printable characters without a blank. Copies when it is. */
bool answer_copy_cursor(struct slsr_bytes text, char cursor[SLSR_CURSOR_MAX + 1]);

/* What an error answer says of itself; both cut and free of control characters. */
struct answer_error {
    char code[64];     /* "" when the body is not the service's JSON (proxy page, empty) */
    char message[161]; /* masked: see answer_mask */
};
/* secrets: NULL-terminated list of texts that must not come through (I6). */
void answer_error(struct slsr_bytes body, const char *const *secrets, struct answer_error *out);
/* Replaces each secret in text by asterisks. Entries may be "". */
void answer_mask(char *text, const char *const *secrets);
/* Control characters and bytes outside ASCII that do not belong in one line -> '?'. */
void answer_clean(char *text);

/* Meaning of an error answer (codes.c): SLSR_E..., and what to do in *advice (static text).
 * pull: the call was a pull; query: it had a filter, which makes ParameterInvalid ambiguous. */
struct answer_context {
    bool pull;
    bool query;
};
int answer_code(int status, const struct answer_error *error, struct answer_context context,
                const char **advice);

#endif
