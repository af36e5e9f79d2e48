/* One stream connection: reads, cuts, hands messages to the sink. */
#ifndef SINK_CONN_H
#define SINK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deframe.h"
#include "listen.h"
#include "relp.h"
#include "sink.h"
#include "stream.h"

struct conn {
    struct stream stream;
    struct deframer deframer;
    char *buffer;
    size_t size;       /* of buffer */
    size_t at;         /* first byte not consumed */
    size_t end;        /* behind the last byte read */
    uint64_t consumed; /* stream bytes before `at`, for diagnostics */
    uint64_t messages;
    bool blocked; /* complete messages may be left because the sink was not ready */
    bool closing; /* our side is ended; waits for the peer's end */
    bool relp;
    bool watched_out; /* EPOLLOUT is asked for */
    struct talk talk; /* RELP only */
    char peer[URL_MAX];
    struct conn *next;
    struct conn *previous;
};

enum conn_turn { CONN_OPEN, CONN_DONE, CONN_RESET };

/* Takes fd. NULL: out of memory (fd is closed). */
struct conn *conn_new(struct sink *s, int fd, struct ssl_ctx_st *tls, const char *peer);
/* Reads once (256 KiB at most; *got is what came, 0 = it would block) and takes what is complete.
 * DONE and RESET: the caller flushes, then frees. */
enum conn_turn conn_turn(struct conn *c, struct sink *s, size_t *got);
/* Are there answers that wait for room? */
bool conn_talks(const struct conn *c);
void conn_free(struct conn *c, bool reset);

#endif
