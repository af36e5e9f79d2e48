/* Is the peer's certificate a good one, and if not, why. Indoors of transport/. */
#ifndef TRANSPORT_TLS_CHECK_H
#define TRANSPORT_TLS_CHECK_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"

/* SHA-256 of the DER form is one of the list. */
bool tls_fingerprint_known(X509 *cert, char *const *list, size_t count);
/* notAfter in ms since 1970; 0: unreadable. */
int64_t tls_expiry_ms(X509 *cert);
/* Why a handshake or a later read or write failed, from the error queue. */
struct tls_failure {
    const struct slsr_target_config *target;
    const char *stage; /* "during the TLS handshake" */
    X509 *cert;        /* the leaf that was refused, or NULL */
    long verdict;      /* of the verification */
    bool asked;        /* the peer had asked for a certificate of ours */
};
/* Returns SLSR_ENET. */
int tls_explain(const struct tls_failure *failure, struct slsr_err *err);
/* The newest reason of the error queue in words; the queue is emptied. */
const char *tls_reason(void);

#endif
