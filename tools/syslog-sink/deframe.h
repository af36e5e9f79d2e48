/* Cuts a byte stream into syslog messages (RFC 6587 3.4.1 octet counting, 3.4.2 LF).
 *
 * Pure: no I/O, no memory of its own. The caller keeps the unconsumed bytes and offers them again
 * with more behind them; messages are views into what was offered. One deframer per connection. */
#ifndef SINK_DEFRAME_H
#define SINK_DEFRAME_H

#include <stddef.h>

enum framing { FRAMING_AUTO, FRAMING_OCTET, FRAMING_LF };

struct deframer {
    enum framing mode; /* AUTO turns into one of the others at the first byte */
    size_t max;        /* longest message in bytes */
    size_t scanned;    /* LF: bytes already searched, so that a slow sender costs linear time */
};

enum deframe_result {
    DEFRAME_MESSAGE, /* at, n, used are set */
    DEFRAME_MORE,    /* the message is not complete; offer the same bytes with more */
    DEFRAME_ERROR    /* why and where are set; the stream cannot be read any further */
};

struct deframed {
    const char *at;  /* the message, a view into the offered bytes */
    size_t n;        /* its length */
    size_t used;     /* bytes to drop before the next call: framing and message */
    const char *why; /* static sentence */
    size_t where;    /* offset of the offending byte in what was offered */
};

void deframe_init(struct deframer *d, enum framing mode, size_t max);

/* Takes the next message off the front of p[0..n). */
enum deframe_result deframe_next(struct deframer *d, const char *p, size_t n, struct deframed *out);

/* The stream ended with p[0..n) left over. MESSAGE: an LF tail, which receivers deliver although
 * its end is missing. MORE: nothing to deliver (n is 0, or an octet-counted frame was cut). */
enum deframe_result deframe_end(struct deframer *d, const char *p, size_t n, struct deframed *out);

#endif
