/* A byte stream from one peer. An end counts as in order when the peer's close_notify (TLS) or FIN
 * (plain) came; TLS that ends without close_notify is broken, since anybody could have cut it. */
#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int tls_fail(const char *what, const char *path)
{
    /* the first error is the cause ("No such file"), the last its consequence ("system lib") */
    const unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    fprintf(stderr, "syslog-sink: cannot use the %s, %s: %s\n", what, path,
            reason != NULL ? reason : "unreadable");
    return EXIT_NO_INPUT;
}

int stream_tls_open(const struct options *o, SSL_CTX **ctx)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    int rc = 0;

    ERR_clear_error();
    if (c == NULL || SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1) {
        rc = tls_fail("TLS library", "libssl");
    } else if (SSL_CTX_use_certificate_chain_file(c, o->cert) != 1) {
        rc = tls_fail("certificate", o->cert);
    } else if (SSL_CTX_use_PrivateKey_file(c, o->key, SSL_FILETYPE_PEM) != 1) {
        rc = tls_fail("private key", o->key);
    } else if (o->ca != NULL) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->ca);

        if (names == NULL || SSL_CTX_load_verify_locations(c, o->ca, NULL) != 1)
            rc = tls_fail("CA", o->ca);
        SSL_CTX_set_client_CA_list(c, names); /* takes names, NULL too */
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (rc != 0) {
        SSL_CTX_free(c);
        return rc;
    }
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_id_context(c, (const unsigned char *)"syslog-sink", 11);
    *ctx = c;
    return 0;
}

void stream_tls_close(SSL_CTX *ctx)
{
    SSL_CTX_free(ctx);
}

bool stream_init(struct stream *s, int fd, SSL_CTX *ctx)
{
    *s = (struct stream){.fd = fd};
    if (ctx == NULL)
        return true;
    s->ssl = SSL_new(ctx);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, fd) != 1) {
        stream_close(s, false);
        return false;
    }
    SSL_set_accept_state(s->ssl);
    return true;
}

static ssize_t read_tls(struct stream *s, char *to, size_t max, char *why, size_t why_max)
{
    size_t done = 0;
    int error = 0;
    unsigned long queued = 0;

    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(s->ssl, to, max, &done) == 1)
        return (ssize_t)done;
    error = SSL_get_error(s->ssl, 0);
    s->want_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return STREAM_WAIT;
    if (error == SSL_ERROR_ZERO_RETURN)
        return STREAM_END;
    queued = ERR_peek_error();
    if (queued != 0 && ERR_GET_REASON(queued) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        snprintf(why, why_max, "TLS ended without close_notify");
    else if (queued != 0)
        snprintf(why, why_max, "TLS: %s", ERR_reason_error_string(queued));
    else
        snprintf(why, why_max, "%s", strerror(errno));
    return STREAM_BROKEN;
}

ssize_t stream_read(struct stream *s, char *to, size_t max, char *why, size_t why_max)
{
    ssize_t n = 0;

    if (s->ssl != NULL)
        return read_tls(s, to, max, why, why_max);
    do
        n = recv(s->fd, to, max, 0);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return STREAM_WAIT;
    snprintf(why, why_max, "%s", strerror(errno));
    return STREAM_BROKEN;
}

ssize_t stream_write(struct stream *s, const char *p, size_t n)
{
    ssize_t done = 0;
    int error = 0;

    if (s->ssl == NULL) {
        do
            done = send(s->fd, p, n, MSG_NOSIGNAL);
        while (done < 0 && errno == EINTR);
        if (done >= 0)
            return done;
        return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_WAIT : STREAM_BROKEN;
    }
    ERR_clear_error();
    error = SSL_write(s->ssl, p, n > INT_MAX ? INT_MAX : (int)n);
    if (error > 0)
        return error;
    error = SSL_get_error(s->ssl, error);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? STREAM_WAIT
                                                                         : STREAM_BROKEN;
}

bool stream_pending(const struct stream *s)
{
    return s->ssl != NULL && SSL_pending(s->ssl) > 0;
}

void stream_end(struct stream *s)
{
    ERR_clear_error();
    if (s->ssl != NULL && SSL_is_init_finished(s->ssl))
        SSL_shutdown(s->ssl);
    SSL_free(s->ssl);
    s->ssl = NULL;
    shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    SSL_free(s->ssl);
    close(s->fd);
    *s = (struct stream){.fd = -1};
}
