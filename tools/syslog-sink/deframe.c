/* Cuts a byte stream into syslog messages. HOT: tools/bench runs through here.
 *
 * Octet counting: MSG-LEN SP MSG, MSG-LEN without leading zero, so two memory accesses a message
 * and no copy. LF: everything up to the next 0a. What cannot be a frame ends the connection: after
 * a wrong count there is no way to find the next message (RFC 6587 3.4.1). */
#include "deframe.h"

#include <string.h>

/* Ten digits hold every count up to 9999999999; longer is no length but noise. */
enum { DIGITS_MAX = 10 };

void deframe_init(struct deframer *d, enum framing mode, size_t max)
{
    d->mode = mode;
    d->max = max;
    d->scanned = 0;
}

static enum deframe_result bad(struct deframed *out, const char *why, size_t where)
{
    out->why = why;
    out->where = where;
    return DEFRAME_ERROR;
}

static enum deframe_result next_octet(const struct deframer *d, const char *p, size_t n,
                                      struct deframed *out)
{
    size_t count = 0;
    size_t i = 0;

    for (; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
        if (i == 0 && p[0] == '0')
            return bad(out, "a count must not start with 0", 0);
        if (i == DIGITS_MAX)
            return bad(out, "a count has too many digits", i);
        count = count * 10 + (size_t)(p[i] - '0');
    }
    if (count > d->max)
        return bad(out, "a count is above --max-message", 0);
    if (i == n)
        return DEFRAME_MORE;
    if (i == 0)
        return bad(out, "a frame must start with its count", 0);
    if (p[i] != ' ')
        return bad(out, "a count must be followed by one space", i);
    i++;
    if (n - i < count)
        return DEFRAME_MORE;
    out->at = p + i;
    out->n = count;
    out->used = i + count;
    return DEFRAME_MESSAGE;
}

static enum deframe_result next_lf(struct deframer *d, const char *p, size_t n,
                                   struct deframed *out)
{
    const char *end = memchr(p + d->scanned, '\n', n - d->scanned);
    size_t len = end != NULL ? (size_t)(end - p) : n;

    if (len > d->max)
        return bad(out, "a line is longer than --max-message", d->max);
    if (end == NULL) {
        d->scanned = n;
        return DEFRAME_MORE;
    }
    d->scanned = 0;
    out->at = p;
    out->n = len;
    out->used = len + 1;
    return DEFRAME_MESSAGE;
}

enum deframe_result deframe_next(struct deframer *d, const char *p, size_t n, struct deframed *out)
{
    *out = (struct deframed){0};
    if (n == 0)
        return DEFRAME_MORE;
    if (d->mode == FRAMING_AUTO)
        d->mode = p[0] >= '0' && p[0] <= '9' ? FRAMING_OCTET : FRAMING_LF;
    return d->mode == FRAMING_OCTET ? next_octet(d, p, n, out) : next_lf(d, p, n, out);
}

enum deframe_result deframe_end(struct deframer *d, const char *p, size_t n, struct deframed *out)
{
    *out = (struct deframed){0};
    if (n == 0 || d->mode != FRAMING_LF)
        return DEFRAME_MORE;
    d->scanned = 0;
    out->at = p;
    out->n = n;
    out->used = n;
    return DEFRAME_MESSAGE;
}
