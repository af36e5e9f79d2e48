/* Strict reader of one syslog message: RFC 5424, and RFC 3164 when there is no version.
 *
 * Pure. Every departure from the RFC is handed to a callback with its rule, the byte it was found
 * at and one sentence; reading goes on where the rest can still be told apart. The fields found are
 * views into the message. */
#ifndef SINK_PARSE_H
#define SINK_PARSE_H

#include <stdbool.h>
#include <stddef.h>

struct view {
    const char *p;
    size_t n;
};

struct violation {
    const char *rule;     /* short stable name, such as "timestamp" */
    size_t offset;        /* byte of the message, from 0 */
    const char *sentence; /* static: what the RFC asks for, and where it says so */
};

struct parsed {
    int version;           /* 1 for RFC 5424, 0 for RFC 3164 */
    int pri;               /* -1 when it could not be read */
    struct view timestamp; /* as written; n 0 when not found */
    struct view hostname;
    struct view app_name; /* RFC 3164: TAG */
    struct view procid;   /* RFC 3164: what stands in the brackets behind TAG */
    struct view msgid;
    struct view sd;  /* "-" or all elements */
    struct view msg; /* without the space in front; p NULL when there is none */
};

typedef void violation_fn(void *arg, const struct violation *v);

/* Reads p[0..n). Returns the number of violations, all of which were reported (report may be NULL).
 * out: what could be read; views live as long as p. */
size_t parse_syslog(const char *p, size_t n, struct parsed *out, violation_fn *report, void *arg);

/* Copies a PARAM-VALUE without its escapes into to[0..max), returns its length (cut at max). */
size_t parse_unescape(struct view value, char *to, size_t max);

#endif
