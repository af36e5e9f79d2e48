/* What the sink knows and does with one message. One thread owns it all. */
#ifndef SINK_SINK_H
#define SINK_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "output.h"
#include "tally.h"

struct sink {
    const struct options *o;
    struct output out;
    struct tally tally;
    uint64_t messages;
    uint64_t bytes; /* of messages, without framing */
    uint64_t connections;
    uint64_t open_connections;
    uint64_t violations;
    uint64_t framing_errors; /* connections that were closed because the stream made no sense */
    uint64_t truncated;      /* connections that ended inside a message */
    int64_t next_ns;         /* --rate: when the next message may be taken */
    bool stalled;            /* --stall-after was reached */
    bool failed;             /* output or memory: the program must end with EXIT_IO */
    bool changed;            /* a counter moved since the statistics were written */
};

int64_t sink_now_ns(void); /* monotonic */

/* May a message be taken now? While not, nothing is read either. */
bool sink_ready(struct sink *s);
/* Counts, writes, checks one message. Does not return when it was the one to die after. */
void sink_take(struct sink *s, const char *p, size_t n);
/* A stream fault on a connection; also counted as a violation under --strict. */
void sink_framing_error(struct sink *s, const char *peer, const char *why, size_t offset);
/* A connection ended inside a message. */
void sink_truncated(struct sink *s, const char *peer, size_t bytes);

/* Writes the statistics to a neighbour of --stats and renames it. True when there is nothing to
 * write. */
bool stats_write(struct sink *s);
/* Can they be written at all? Else says why. */
bool stats_possible(const struct sink *s);

#endif
