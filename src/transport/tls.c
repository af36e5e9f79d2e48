/* TLS client over our own sockets (HOT: tests/bench/bench_drain.c "tls").
 *
 * Good path: tls_attach makes an SSL from the context of the newest files, tls_shake verifies the
 * chain and the name (SAN only), tls_write puts records of 16 KiB on the wire, tls_notify and
 * tls_read end it in order. Bytes on the wire are counted by the BIO: evidence is computed from
 * them, as the kernel sees them. kTLS stays off, its counter would be plaintext.
 * What can go wrong: refusals on either side, each with its own sentence (tls_check.c); files that
 * are gone or half-written, then the old ones stay in force. Sessions are resumed, which is an
 * optimisation only: they are forgotten with the files that they were verified by. */
#include "transport/tls.h"
#include "transport/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/diag.h"
#include "transport/tls_check.h"

enum { FILES = 4, DAY_MS = 86400 * 1000, RECORD_BYTES = 16384 };

/* AEAD only; TLS 1.3 has nothing else. */
static const char suites[] = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20";

struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct tls {
    const struct slsr_target_config *target; /* borrowed */
    SSL_CTX *ctx;                            /* NULL: nothing loaded yet */
    SSL_SESSION *session;                    /* to resume; NULL: none */
    struct stamp stamps[FILES];              /* of the files in ctx, or of those last refused */
    BIO_METHOD *method;
    bool asked;    /* the peer of the last handshake wanted a certificate */
    X509 *refused; /* its certificate, when we refused it */
    int verdict;
    int64_t own_expiry_ms, peer_expiry_ms;
    char peer_name[160];               /* subject of its certificate */
    int64_t own_said_ms, peer_said_ms; /* last warnings of an end to come */
    const char *blamed;                /* key of the file that was looked at last */
};

/* --- a socket as BIO, without SIGPIPE and without blocking --- */

/* Its data: the descriptor, and in the lowest bit whether more is about to follow. */
static void wire_set(BIO *bio, int fd, bool more)
{
    BIO_set_data(bio, (void *)((intptr_t)fd * 2 + more));
}

static int wire_fd(BIO *bio)
{
    return (int)((intptr_t)BIO_get_data(bio) / 2);
}

/* With more to follow the kernel waits for a full segment. A segment per record would wake the
 * receiver four times as often, which costs more than the encryption leaves to save. What is held
 * back when the socket is full goes out with the next acknowledgement. */
static int wire_flags(BIO *bio)
{
    bool more = ((intptr_t)BIO_get_data(bio) & 1) != 0;

    return MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
}

static int wire_write(BIO *bio, const char *p, int n)
{
    ssize_t done;

    BIO_clear_retry_flags(bio);
    do
        done = send(wire_fd(bio), p, (size_t)n, wire_flags(bio));
    while (done < 0 && errno == EINTR);
    if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
        BIO_set_retry_write(bio);
    return (int)done;
}

static int wire_read(BIO *bio, char *p, int n)
{
    ssize_t done;

    BIO_clear_retry_flags(bio);
    do
        done = recv(wire_fd(bio), p, (size_t)n, MSG_DONTWAIT);
    while (done < 0 && errno == EINTR);
    if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    if (done == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)done;
}

static long wire_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *wire_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");

    if (m != NULL &&
        (BIO_meth_set_write(m, wire_write) != 1 || BIO_meth_set_read(m, wire_read) != 1 ||
         BIO_meth_set_ctrl(m, wire_ctrl) != 1)) {
        BIO_meth_free(m);
        m = NULL;
    }
    return m;
}

/* --- the context --- */

int tls_open(struct tls **out, const struct slsr_target_config *target, struct slsr_err *err)
{
    struct tls *t = calloc(1, sizeof *t);

    if (t != NULL)
        t->method = wire_method();
    if (t == NULL || t->method == NULL) {
        free(t);
        return slsr_fail(err, SLSR_ENOMEM, "no memory for TLS");
    }
    t->target = target;
    *out = t;
    return 0;
}

static void forget_session(struct tls *t)
{
    SSL_SESSION_free(t->session);
    t->session = NULL;
}

void tls_close(struct tls *t)
{
    if (t == NULL)
        return;
    forget_session(t);
    X509_free(t->refused);
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->method);
    free(t);
}

static void take_stamps(const struct slsr_tls_config *c, struct stamp stamps[FILES])
{
    const char *paths[FILES] = {c->ca_file, c->cert_file, c->key_file, c->crl_file};

    memset(stamps, 0, FILES * sizeof *stamps);
    for (int i = 0; i < FILES; i++) {
        struct stat st;

        if (paths[i] == NULL || stat(paths[i], &st) != 0)
            continue;
        stamps[i].dev = st.st_dev;
        stamps[i].ino = st.st_ino;
        stamps[i].size = st.st_size;
        stamps[i].mtime = st.st_mtim;
        stamps[i].ctime = st.st_ctim;
    }
}

/* Nobody is there to type a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return 0;
}

static int load_own(struct tls *t, SSL_CTX *ctx, const struct slsr_tls_config *c,
                    struct slsr_err *err)
{
    const char *key = c->key_file != NULL ? c->key_file : c->cert_file;
    struct stat st;

    if (c->cert_file == NULL)
        return 0;
    t->blamed = c->key_file != NULL ? "key_file" : "cert_file";
    if (stat(key, &st) != 0)
        return slsr_fail_errno(err, SLSR_ENET, errno, "cannot read the key %s", key);
    if ((st.st_mode & S_IRWXO) != 0)
        return slsr_fail(err, SLSR_ENET, "the key %s is open to everybody: chmod 600 it", key);
    if (SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1) {
        t->blamed = "cert_file";
        return slsr_fail(err, SLSR_ENET, "cannot use the certificate %s: %s", c->cert_file,
                         tls_reason());
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1)
        return 0;
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
        return slsr_fail(err, SLSR_ENET, "the key %s does not belong to the certificate %s", key,
                         c->cert_file);
    return slsr_fail(err, SLSR_ENET, "cannot use the key %s (it must have no passphrase): %s", key,
                     tls_reason());
}

static int load_trust(struct tls *t, SSL_CTX *ctx, const struct slsr_tls_config *c,
                      struct slsr_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    t->blamed = "ca_file";
    if (c->ca_file == NULL)
        SSL_CTX_set_default_verify_paths(ctx);
    else if (SSL_CTX_load_verify_file(ctx, c->ca_file) != 1)
        return slsr_fail(err, SLSR_ENET, "cannot use the certificates of %s: %s", c->ca_file,
                         tls_reason());
    t->blamed = "crl_file";
    if (c->crl_file != NULL) {
        X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

        if (lookup == NULL || X509_load_crl_file(lookup, c->crl_file, X509_FILETYPE_PEM) < 1)
            return slsr_fail(err, SLSR_ENET, "cannot use the revocation list %s: %s", c->crl_file,
                             tls_reason());
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    return 0;
}

/* Pins replace chain and name. What is refused is remembered, for the sentence. */
static int verify(X509_STORE_CTX *store, void *arg)
{
    struct tls *t = arg;
    const struct slsr_tls_config *c = &t->target->tls;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    int fine;

    if (c->fingerprint_count > 0) {
        fine = tls_fingerprint_known(leaf, c->fingerprints, c->fingerprint_count);
        X509_STORE_CTX_set_error(store, fine ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    } else {
        fine = X509_verify_cert(store) > 0;
    }
    X509_free(t->refused);
    t->refused = NULL;
    t->verdict = X509_STORE_CTX_get_error(store);
    if (!fine && leaf != NULL && X509_up_ref(leaf) == 1)
        t->refused = leaf;
    return fine;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (SSL_get_SSL_CTX(ssl) != t->ctx)
        return 0; /* of the files before */
    forget_session(t);
    t->session = session;
    return 1; /* ours now */
}

static int on_asked(SSL *ssl, void *arg)
{
    (void)ssl;
    ((struct tls *)arg)->asked = true;
    return 1;
}

static int build(struct tls *t, SSL_CTX **out, struct slsr_err *err)
{
    const struct slsr_tls_config *c = &t->target->tls;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int version = c->min_version == SLSR_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    int rc;

    ERR_clear_error();
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, version) != 1 ||
        SSL_CTX_set_cipher_list(ctx, suites) != 1) {
        SSL_CTX_free(ctx);
        return slsr_fail(err, SLSR_ENOMEM, "cannot set TLS up: %s", tls_reason());
    }
    SSL_CTX_set_app_data(ctx, t);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    SSL_CTX_set_cert_cb(ctx, on_asked, t);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    rc = load_own(t, ctx, c, err);
    SSL_CTX_set_cert_verify_callback(ctx, verify, t);
    if (rc == 0 && c->fingerprint_count == 0 && c->verify)
        rc = load_trust(t, ctx, c, err);
    SSL_CTX_set_verify(
        ctx, c->fingerprint_count > 0 || c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *out = ctx;
    return 0;
}

static const char *name_of(const struct tls *t)
{
    return t->target->name != NULL ? t->target->name : "";
}

/* Said at most once a day, and only when the end is near. */
static void warn_expiry(struct tls *t, const char *whose, int64_t expiry_ms, int64_t *said_ms)
{
    int64_t now_ms = clock_wall_ms(), left_ms = expiry_ms - now_ms;

    if (expiry_ms == 0 || left_ms > t->target->tls.expiry_warning_ms || now_ms < *said_ms + DAY_MS)
        return;
    *said_ms = now_ms;
    if (left_ms <= 0)
        diag(SLSR_LOG_WARNING, "send", "target %s: %s certificate has expired; renew it",
             name_of(t), whose);
    else
        diag(SLSR_LOG_WARNING, "send", "target %s: %s certificate expires in %lld days; renew it",
             name_of(t), whose, (long long)(left_ms / DAY_MS));
}

static int refresh(struct tls *t, struct slsr_err *err)
{
    struct stamp now[FILES];
    struct slsr_err why;
    SSL_CTX *ctx = NULL;
    int rc;

    take_stamps(&t->target->tls, now);
    if (t->ctx != NULL && memcmp(now, t->stamps, sizeof now) == 0)
        return 0;
    rc = build(t, &ctx, &why);
    if (rc != 0 && t->ctx == NULL) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    memcpy(t->stamps, now, sizeof now);
    if (rc != 0) {
        diag(SLSR_LOG_ERROR, "send",
             "target %s: changed TLS files are not used, the old ones stay in force: %s",
             name_of(t), why.text);
        return 0;
    }
    if (t->ctx != NULL)
        diag(SLSR_LOG_NOTICE, "send", "target %s: TLS files have changed and are in use",
             name_of(t));
    else if (!t->target->tls.verify && t->target->tls.fingerprint_count == 0)
        diag(SLSR_LOG_WARNING, "send",
             "target %s: tls.verify is false: anybody on the path can pose as the receiver",
             name_of(t));
    forget_session(t);
    SSL_CTX_free(t->ctx);
    t->ctx = ctx;
    t->own_expiry_ms = tls_expiry_ms(SSL_CTX_get0_certificate(ctx));
    t->own_said_ms = 0;
    return 0;
}

int tls_look(const struct slsr_target_config *target, const char **setting, struct slsr_err *err)
{
    struct tls *t;
    SSL_CTX *ctx = NULL;
    int rc = tls_open(&t, target, err);

    if (rc != 0)
        return rc;
    rc = build(t, &ctx, err);
    *setting = t->blamed;
    SSL_CTX_free(ctx);
    tls_close(t);
    return rc;
}

/* --- one connection --- */

static bool is_address(const char *name)
{
    unsigned char buf[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, buf) == 1 || inet_pton(AF_INET6, name, buf) == 1;
}

static bool expect_name(const struct tls *t, SSL *ssl)
{
    const struct slsr_target_config *c = t->target;
    const char *name = c->tls.server_name != NULL ? c->tls.server_name : c->host;
    bool address = is_address(name);

    if (!address && SSL_set_tlsext_host_name(ssl, name) != 1)
        return false;
    if (!c->tls.verify || !c->tls.verify_hostname || c->tls.fingerprint_count > 0)
        return true;
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
                   : SSL_set1_host(ssl, name) == 1;
}

int tls_attach(struct tls *t, int fd, struct ssl_st **out, struct slsr_err *err)
{
    BIO *bio = NULL;
    SSL *ssl = NULL;
    int rc = refresh(t, err);

    if (rc != 0)
        return rc;
    t->asked = false;
    X509_free(t->refused);
    t->refused = NULL;
    ERR_clear_error();
    ssl = SSL_new(t->ctx);
    bio = BIO_new(t->method);
    if (ssl == NULL || bio == NULL || !expect_name(t, ssl)) {
        SSL_free(ssl);
        BIO_free(bio);
        return slsr_fail(err, SLSR_ENOMEM, "cannot begin TLS: %s", tls_reason());
    }
    wire_set(bio, fd, false);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    if (t->session != NULL)
        SSL_set_session(ssl, t->session);
    *out = ssl;
    return 0;
}

void tls_detach(struct ssl_st *ssl)
{
    /* Else a session that was not shut down would be taken out of use. */
    if (ssl != NULL)
        SSL_set_quiet_shutdown(ssl, 1);
    SSL_free(ssl);
}

static int explain(struct tls *t, const char *stage, struct slsr_err *err)
{
    struct tls_failure failure = {t->target, stage, t->refused, t->verdict, t->asked};

    return tls_explain(&failure, err);
}

int tls_shake(struct tls *t, struct ssl_st *ssl, bool *done, bool *out, struct slsr_err *err)
{
    X509 *cert;
    int rc, why;

    *done = *out = false;
    ERR_clear_error();
    errno = 0;
    rc = SSL_do_handshake(ssl);
    if (rc != 1) {
        why = SSL_get_error(ssl, rc);
        *out = why == SSL_ERROR_WANT_WRITE;
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
            return 0;
        forget_session(t);
        if (why == SSL_ERROR_SYSCALL && errno != 0 && ERR_peek_error() == 0)
            return slsr_fail_errno(err, SLSR_ENET, errno, "TLS handshake");
        return explain(t, "during the TLS handshake", err);
    }
    *done = true;
    cert = SSL_get0_peer_certificate(ssl);
    t->peer_expiry_ms = tls_expiry_ms(cert);
    if (cert != NULL)
        X509_NAME_oneline(X509_get_subject_name(cert), t->peer_name, sizeof t->peer_name);
    /* A resumed session was verified before, perhaps long before. */
    if (SSL_session_reused(ssl) && t->target->tls.verify && t->target->tls.fingerprint_count == 0 &&
        t->peer_expiry_ms != 0 && t->peer_expiry_ms < clock_wall_ms()) {
        forget_session(t);
        return slsr_fail(err, SLSR_ENET, "its certificate has expired; renew it");
    }
    warn_expiry(t, "the receiver's", t->peer_expiry_ms, &t->peer_said_ms);
    warn_expiry(t, "our", t->own_expiry_ms, &t->own_said_ms);
    return 0;
}

/* What a failed read or write means. */
static ssize_t failed(struct tls *t, SSL *ssl, int rc, struct slsr_err *err)
{
    int why = SSL_get_error(ssl, rc);
    unsigned long e = ERR_peek_error();

    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TLS_WAIT;
    if (why == SSL_ERROR_ZERO_RETURN)
        return TLS_NOTIFY;
    if (why == SSL_ERROR_SSL && ERR_GET_LIB(e) == ERR_LIB_SSL &&
        ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return TLS_EOF;
    }
    if (why == SSL_ERROR_SYSCALL && e == 0)
        return errno == 0 ? TLS_EOF : TLS_BROKEN;
    forget_session(t);
    explain(t, "in the middle of TLS", err);
    return TLS_FAILED;
}

ssize_t tls_write(struct tls *t, struct ssl_st *ssl, const char *p, size_t n, struct slsr_err *err)
{
    BIO *bio = SSL_get_wbio(ssl);
    size_t done = 0;
    int rc;

    ERR_clear_error();
    errno = 0;
    wire_set(bio, wire_fd(bio), n > RECORD_BYTES);
    rc = SSL_write_ex(ssl, p, n < RECORD_BYTES ? n : RECORD_BYTES, &done);
    wire_set(bio, wire_fd(bio), false);
    return rc == 1 ? (ssize_t)done : failed(t, ssl, 0, err);
}

ssize_t tls_read(struct tls *t, struct ssl_st *ssl, char *p, size_t n, struct slsr_err *err)
{
    size_t done = 0;

    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(ssl, p, n, &done) == 1)
        return (ssize_t)done;
    return failed(t, ssl, 0, err);
}

bool tls_notify(struct ssl_st *ssl)
{
    ERR_clear_error();
    return SSL_shutdown(ssl) >= 0;
}

uint64_t tls_wire_written(struct ssl_st *ssl)
{
    return BIO_number_written(SSL_get_wbio(ssl));
}

int64_t tls_own_expiry_ms(const struct tls *t)
{
    return t != NULL ? t->own_expiry_ms : 0;
}

int64_t tls_peer_expiry_ms(const struct tls *t)
{
    return t != NULL ? t->peer_expiry_ms : 0;
}

const char *tls_peer_name(const struct tls *t)
{
    return t != NULL ? t->peer_name : "";
}

void transport_libraries(char *out, size_t size)
{
    snprintf(out, size, "OpenSSL %s", OpenSSL_version(OPENSSL_VERSION_STRING));
}
