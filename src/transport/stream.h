/* One TCP connection, plain or with TLS: options, bytes, figures, what the peer says. Indoors. */
#ifndef TRANSPORT_STREAM_H
#define TRANSPORT_STREAM_H

#include "transport/dial.h"
#include "transport/evidence.h"
#include "transport/framing.h"
#include "transport/tls.h"

struct stream {
    int fd; /* -1: none */
    struct dial_addr peer;
    struct tls *tls;    /* borrowed; NULL: plain */
    struct ssl_st *ssl; /* NULL: plain */
    bool shaking;       /* the TLS handshake is not finished: no bytes yet */
    bool shake_out;     /* it waits for room */
    int64_t shake_due_ms;
    bool closing;     /* our end is out: close_notify and FIN */
    bool peer_notify; /* its close_notify has come */
    struct evidence ev;
    size_t junk_bytes;   /* unexpected input, discarded */
    int64_t first_ms;    /* first frame byte written; 0: none */
    int64_t last_ms;     /* last frame byte written */
    int64_t progress_ms; /* last time that more was acknowledged or offered, or idle before */
    uint32_t rtt_us;
    uint32_t unacked;     /* packets */
    uint32_t last_ack_ms; /* since the peer was last heard */
    const char *cause;    /* a word for what an error was: "reset", "tls" ...; NULL: none yet */
};

enum stream_read { STREAM_QUIET, STREAM_EOF };

struct stream_plan {
    struct tls *tls; /* NULL: plain */
    int64_t stall_ms;
    int64_t shake_ms; /* limit of the handshake */
};

/* Takes a freshly connected socket. With TLS the stream is `shaking` then: stream_shake. */
int stream_init(struct stream *s, int fd, const struct dial_addr *peer,
                const struct stream_plan *plan, uint64_t spool_base, int64_t now_ms,
                struct slsr_err *err);
void stream_fini(struct stream *s); /* reads our side empty, closes */
/* Goes on with the handshake until s->shaking is false. SLSR_ENET with the reason. */
int stream_shake(struct stream *s, int64_t now_ms, struct slsr_err *err);
/* Looks at the read side and drops what is there. 0 with *what, or SLSR_EREMOTE with the cause. */
int stream_watch(struct stream *s, enum stream_read *what, struct slsr_err *err);
/* Reads up to `size` bytes; *n 0 with *what QUIET: nothing there. Errors as stream_watch. */
int stream_read(struct stream *s, char *p, size_t size, size_t *n, enum stream_read *what,
                struct slsr_err *err);
/* Hands bytes to the kernel, as one slice; *n 0: no room. Counts them, makes no marks. */
int stream_send(struct stream *s, const char *p, size_t size, size_t *n, int64_t now_ms,
                struct slsr_err *err);
/* Writes on until the piece is done or the socket is full; marks whole frames. `frames`: how many
 * became whole. SLSR_EREMOTE with the cause. */
int stream_write(struct stream *s, struct piece *piece, uint32_t *frames, int64_t now_ms,
                 struct slsr_err *err);
/* Ends our side: close_notify, then FIN. Only when everything is acknowledged. */
int stream_end(struct stream *s, struct slsr_err *err);
/* Takes a TCP_INFO sample. */
void stream_sample(struct stream *s, int64_t now_ms);
/* What to wait for. */
struct pollfd stream_poll(const struct stream *s, bool out);

#endif
