/* Encryption of chunks at rest: AES-256-GCM, a key of its own for every chunk.
 *
 * The key file holds up to CRYPT_KEYS_MAX keys of 64 hex digits, one a line, '#' comments: the
 * first one writes, all of them read. A chunk's key is HMAC-SHA256(file key, label, 16 random bytes
 * of the chunk), so no nonce is ever used twice with one key: not after a restart, not by two
 * copies of a spool (docs/spool-format.md "Encryption"). */
#ifndef SPOOL_CRYPT_H
#define SPOOL_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/err.h"
#include "slsrelay/types.h"

enum { CRYPT_SALT_BYTES = 16, CRYPT_TAG_BYTES = 16, CRYPT_KEYS_MAX = 8 };

struct crypt;     /* the keys; unchanged after loading, any thread */
struct crypt_box; /* a cipher's working memory; one thread at a time */

/* file NULL: *out is NULL, 0. SLSR_ECONFIG (content, or readable by everybody), SLSR_EPERM,
 * SLSR_ENOSPOOL. The bytes are kept out of core dumps and swap where the system allows it. */
int crypt_load(struct crypt **out, const char *file, struct slsr_err *err);
void crypt_free(struct crypt *crypt);
/* Id of the key that writes: 8 bytes of a hash of it, never 0. */
uint64_t crypt_writer(const struct crypt *crypt);
bool crypt_knows(const struct crypt *crypt, uint64_t key_id);

struct crypt_box *crypt_box_new(void);
void crypt_box_free(struct crypt_box *box);

/* Fills salt with fresh random bytes. */
int crypt_salt(unsigned char salt[CRYPT_SALT_BYTES], struct slsr_err *err);
/* Encrypts the parts one behind the other to out (as long as all of them); aad is authenticated. */
int crypt_seal(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
               const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes aad,
               const struct slsr_bytes *parts, size_t part_count, unsigned char *out,
               unsigned char tag[CRYPT_TAG_BYTES], struct slsr_err *err);
/* Decrypts `sealed` to out. SLSR_ECORRUPT: not what was written with this key. */
int crypt_open(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
               const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes aad,
               struct slsr_bytes sealed, const unsigned char tag[CRYPT_TAG_BYTES],
               unsigned char *out, struct slsr_err *err);
/* The tag of a header: nothing encrypted, everything authenticated. Under the same chunk key with
 * another nonce than the payload. */
int crypt_sign(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
               const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes header,
               unsigned char tag[CRYPT_TAG_BYTES], struct slsr_err *err);
int crypt_check(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
                const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes header,
                const unsigned char tag[CRYPT_TAG_BYTES], struct slsr_err *err);

#endif
