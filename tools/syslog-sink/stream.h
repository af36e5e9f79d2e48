/* A byte stream from one peer: plain TCP, or TLS in server role. */
#ifndef SINK_STREAM_H
#define SINK_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "options.h"

struct ssl_ctx_st;
struct ssl_st;

struct stream {
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    bool want_write;    /* TLS waits until it can write before it can read */
};

enum { STREAM_END = 0, STREAM_WAIT = -1, STREAM_BROKEN = -2 };

/* Loads certificate, key and CA. 0 or an exit code (told on stderr). */
int stream_tls_open(const struct options *o, struct ssl_ctx_st **ctx);
void stream_tls_close(struct ssl_ctx_st *ctx);

/* fd is taken in every case; ctx NULL: plain. False: out of memory. */
bool stream_init(struct stream *s, int fd, struct ssl_ctx_st *ctx);
/* Bytes read, or STREAM_END (the peer finished in order), STREAM_WAIT, STREAM_BROKEN (why is set:
 * text of at least 160 bytes). TLS handshakes on the way. */
ssize_t stream_read(struct stream *s, char *to, size_t max, char *why, size_t why_max);
/* Bytes written, STREAM_WAIT or STREAM_BROKEN. */
ssize_t stream_write(struct stream *s, const char *p, size_t n);
/* Bytes already decrypted that no event will announce. */
bool stream_pending(const struct stream *s);
/* Ends our own side: close_notify, then FIN. What is read from now on is the raw stream. */
void stream_end(struct stream *s);
/* Closes; reset: with RST. */
void stream_close(struct stream *s, bool reset);

#endif
