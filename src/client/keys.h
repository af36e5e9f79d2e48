/* Where keys come from: one function per place. Used by account.c only. */
#ifndef CLIENT_KEYS_H
#define CLIENT_KEYS_H

#include <sys/stat.h>

#include "client/account.h"

/* SLSR_ECONFIG when an id or a token does not fit into a header, SLSR_ENOMEM. */
int keys_make(struct account_keys **out, const char *id, const char *secret, const char *token,
              int64_t expires_s, struct slsr_err *err);
/* {"access_key_id": ..., "access_key_secret": ..., "security_token": ..., "expiration": ...} or
 * with the vendor's names (AccessKeyId ...). *seen: the file's state, also on failure. */
int keys_from_file(struct account_keys **out, const char *file, struct stat *seen,
                   struct slsr_err *err);
/* role "auto": the one that the instance has. SLSR_EAUTH with the reason. */
int keys_from_ecs(struct account_keys **out, const char *service, const char *role,
                  struct slsr_stop *stop, struct slsr_err *err);

#endif
