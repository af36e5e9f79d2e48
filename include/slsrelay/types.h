/* The nouns that travel between the areas of sls-relay. Read this first.
 *
 * Plain data, no function but a few inline helpers. Units are in the names. A pointer inside these
 * structs is always a borrowed view: the comment says who owns it and how long it lives. */
#ifndef SLSRELAY_TYPES_H
#define SLSRELAY_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Longest cursor text that we accept. The service sends about 28 characters (base64 of a decimal
 * number, docs/architecture.md "Cursors"); anything longer is refused as a broken answer. */
enum { SLSR_CURSOR_MAX = 127 };

/* Names: project <= 63, logstore <= 80, consumer group <= 128 (SLS API reference "limits"). */
enum { SLSR_NAME_MAX = 255 };

/* A view of bytes: no NUL at the end, any content. Not owned. */
struct slsr_bytes {
    const char *p;
    size_t n;
};

static inline struct slsr_bytes slsr_bytes_of(const char *text)
{
    return (struct slsr_bytes){text, text != NULL ? strlen(text) : 0};
}

static inline bool slsr_bytes_equal(struct slsr_bytes a, struct slsr_bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* One key with its value; in a log (Content) or in a log group (LogTag). Any bytes. */
struct slsr_pair {
    struct slsr_bytes key;
    struct slsr_bytes value;
};

/* One SLS log as pulled. Everything is a view into the decoded pull (src/codec/codec.h says for how
 * long). `group` counts log groups inside the pull from 0, `index` logs inside the group from 0. */
struct slsr_log {
    uint32_t time_s;  /* Log.Time, seconds since 1970; 0 when absent */
    uint32_t time_ns; /* Log.Time_ns, 0..999999999; 0 when absent */
    uint32_t group;
    uint32_t index;
    struct slsr_bytes topic;
    struct slsr_bytes source;
    const struct slsr_pair *tags; /* the group's, the same array for all logs of one group */
    size_t tag_count;
    const struct slsr_pair *fields;
    size_t field_count;
};

/* Identity of a shard's stream. Borrowed strings, NUL-terminated. */
struct slsr_stream {
    const char *project;
    const char *logstore;
    uint32_t shard;
};

/* Where a shard stands: the cursor of the *next* log group to read. By value. */
struct slsr_checkpoint {
    struct slsr_stream stream;
    char cursor[SLSR_CURSOR_MAX + 1];   /* next group to read; never empty when stored */
    char reported[SLSR_CURSOR_MAX + 1]; /* last position that SLS has confirmed; may be empty */
};

/* Description of one frame in a batch: where it ends in the buffer and where it came from. */
struct slsr_frame_meta {
    uint32_t end;    /* offset of the first byte behind the frame, from the start of the batch */
    uint32_t group;  /* log group inside the pull, or 0 when the cursor is not a number */
    uint32_t index;  /* log inside the group */
    uint32_t time_s; /* event time */
    uint32_t time_ns;
};

/* Frames for one append, all of one stream and one pull. Frames lie back to back in `data`, each in
 * octet counting (RFC 6587 3.4.1): decimal length, one space, the message. The owner resets and
 * reuses it; nothing is freed between pulls. */
struct slsr_batch {
    char *data;
    size_t used;
    size_t size;
    struct slsr_frame_meta *meta;
    size_t frame_count;
    size_t meta_size;
    char cursor[SLSR_CURSOR_MAX + 1]; /* cursor of the pull's first group: the base of meta.group */
    uint64_t dead_count;              /* logs that could not become a frame (I5), this batch */
    uint64_t dropped_count;           /* logs that a filter left out on purpose, this batch */
};

/* One frame read from the spool. Views are valid until the next call on the range. */
struct slsr_frame {
    uint64_t seq;
    int64_t arrival_ms; /* when it was spooled, ms since 1970 */
    uint32_t time_s;    /* event time */
    uint32_t time_ns;
    struct slsr_stream stream;
    struct slsr_bytes cursor; /* text as SLS would take it (base64) */
    uint32_t index;
    struct slsr_bytes message; /* the frame without its octet count */
    struct slsr_bytes wire;    /* the frame with its octet count, as stored */
};

#endif
