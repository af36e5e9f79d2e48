/* TLS of one destination, and of each connection to it (docs/delivery.md "TLS"). Indoors.
 *
 * `struct tls` holds the settings as an SSL context, the session to resume and what is known of the
 * certificates. Files are read at the first connection and again when they have changed. One
 * thread. Sentences say what was refused and why; they never hold key material (I6). */
#ifndef TRANSPORT_TLS_H
#define TRANSPORT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"

struct tls;
struct ssl_st;

/* target is borrowed. SLSR_ENOMEM. */
int tls_open(struct tls **out, const struct slsr_target_config *target, struct slsr_err *err);
void tls_close(struct tls *tls); /* NULL is fine */
/* Can the target's files be used? Connects nowhere. SLSR_ENET with the reason; *setting: the key of
 * `tls` that names the file, static text. SLSR_ENOMEM. */
int tls_look(const struct slsr_target_config *target, const char **setting, struct slsr_err *err);

/* A session in client role over a connected socket; reads changed files first. New files that
 * cannot be used are said and the old ones stay in force. SLSR_ENET when there are none,
 * SLSR_ENOMEM.
 */
int tls_attach(struct tls *tls, int fd, struct ssl_st **out, struct slsr_err *err);
void tls_detach(struct ssl_st *ssl); /* NULL is fine; sends nothing */

/* Goes on with the handshake. *done: it is finished, the peer is who it should be. *out: wait until
 * the socket takes more (else: until there is something to read). SLSR_ENET with the reason. */
int tls_shake(struct tls *tls, struct ssl_st *ssl, bool *done, bool *out, struct slsr_err *err);

/* Bytes taken, or one of these. Any error but WAIT ends the connection. */
enum { TLS_WAIT = 0, TLS_NOTIFY = -1, TLS_EOF = -2, TLS_FAILED = -3, TLS_BROKEN = -4 };
/* One record of at most 16 KiB. With n above that the rest has to follow soon: until then the
 * kernel may keep the end of this one. */
ssize_t tls_write(struct tls *tls, struct ssl_st *ssl, const char *p, size_t n,
                  struct slsr_err *err);
/* TLS_NOTIFY: the peer has sent close_notify. TLS_EOF: it ended without. TLS_BROKEN: the socket
 * failed, errno says how. TLS_FAILED: err says why. */
ssize_t tls_read(struct tls *tls, struct ssl_st *ssl, char *p, size_t n, struct slsr_err *err);
/* Our close_notify. False: not all of it went out, call again. */
bool tls_notify(struct ssl_st *ssl);
/* Bytes that the socket has accepted, handshake and record overhead included. */
uint64_t tls_wire_written(struct ssl_st *ssl);

/* End of our and of the receiver's certificate, wall clock; 0: none or not known. */
int64_t tls_own_expiry_ms(const struct tls *tls);
int64_t tls_peer_expiry_ms(const struct tls *tls);
/* Subject of the receiver's certificate, "" before the first handshake. The tls's own text. */
const char *tls_peer_name(const struct tls *tls);

#endif
