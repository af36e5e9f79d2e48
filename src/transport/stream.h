/* One TCP connection: options, bytes, figures, what the peer says. Indoors of transport/. */
#ifndef TRANSPORT_STREAM_H
#define TRANSPORT_STREAM_H

#include "transport/dial.h"
#include "transport/evidence.h"
#include "transport/framing.h"

struct stream {
    int fd; /* -1: none */
    struct dial_addr peer;
    struct evidence ev;
    size_t junk_bytes;   /* unexpected input, discarded */
    int64_t first_ms;    /* first byte written; 0: none */
    int64_t last_ms;     /* last byte written */
    int64_t progress_ms; /* last time that more was acknowledged or offered, or idle before */
    uint32_t rtt_us;
    uint32_t unacked;     /* packets */
    uint32_t last_ack_ms; /* since the peer was last heard */
};

enum stream_read { STREAM_QUIET, STREAM_EOF };

/* Takes a freshly connected socket. */
int stream_init(struct stream *s, int fd, const struct dial_addr *peer, int64_t stall_ms,
                uint64_t spool_base, int64_t now_ms, struct slsr_err *err);
void stream_fini(struct stream *s); /* reads our side empty, closes */
/* Looks at the read side. 0 with *what, or SLSR_EREMOTE with the cause. */
int stream_watch(struct stream *s, enum stream_read *what, struct slsr_err *err);
/* Writes on until the piece is done or the socket is full; marks whole frames. `frames`: how many
 * became whole. SLSR_EREMOTE with the cause. */
int stream_write(struct stream *s, struct piece *piece, uint32_t *frames, int64_t now_ms,
                 struct slsr_err *err);
/* Takes a TCP_INFO sample. */
void stream_sample(struct stream *s, int64_t now_ms);

#endif
