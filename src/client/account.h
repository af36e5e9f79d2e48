/* What all clients of one source share: its keys, wherever they come from, and what was learnt of
 * the service's clock.
 *
 * Keys come from the settings (and so from the environment, *_file, systemd), from
 * source.credentials_file, which is read again when it changes, or from the metadata service of an
 * ECS instance with source.ecs_ram_role, which is asked again before they expire. All functions:
 * any thread. Secrets live in pages that no core dump holds and are overwritten when dropped (I6).
 */
#ifndef CLIENT_ACCOUNT_H
#define CLIENT_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/stop.h"

struct account;

/* One set of keys; never changes, shared, freed with its last user. */
struct account_keys {
    _Atomic unsigned users;
    size_t size;                     /* of the mapping */
    int64_t expires_s;               /* since 1970, 0: not known */
    const char *id, *secret, *token; /* token: "" when there is none */
};

/* The account of a source: made when there is none yet. SLSR_ECONFIG when inline keys are missing
 * or make no sense, SLSR_ENOMEM. Reads no file and asks nobody yet. */
int account_acquire(struct account **out, const struct slsr_source_config *source,
                    struct slsr_err *err);
void account_release(struct account *account); /* NULL is fine */

/* The keys to sign with now; give them back with account_drop. SLSR_EAUTH with a sentence when
 * there are none: file or metadata service cannot be read. May ask the metadata service, within its
 * time limits. */
int account_take(struct account *account, struct slsr_stop *stop, struct account_keys **keys,
                 struct slsr_err *err);
void account_drop(struct account_keys *keys); /* NULL is fine */
/* Keys of the settings that were loaded anew: the account of `source` signs with those of `fresh`
 * from now on. Nothing to do for keys that come from elsewhere. SLSR_ECONFIG, SLSR_ENOMEM: the old
 * ones stay. */
int account_renew(const struct slsr_source_config *source, const struct slsr_source_config *fresh,
                  struct slsr_err *err);
/* The service refused these keys. True when there are other ones by now: try again with them. */
bool account_refused(struct account *account, struct slsr_stop *stop,
                     const struct account_keys *keys);

/* The service's clock minus ours. */
int64_t account_clock_s(const struct account *account);
/* Takes it over; true when it differs so much from the last one told that it should be told. */
bool account_set_clock(struct account *account, int64_t offset_s);

#endif
