/* One stream connection. HOT: a read of 256 KiB lands behind what was left over, messages are taken
 * as views, and only the unfinished rest (one message at most) moves to the front.
 *
 * A peer that finishes in order (FIN, TLS close_notify) gets its close only after the caller has
 * flushed. A cut octet-counted frame is dropped, a cut LF line is taken: so do the usual servers.
 */
#include "conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 256 * 1024, WHY_MAX = 160, ANSWERS_MAX = 65536 };

struct conn *conn_new(struct sink *s, int fd, struct ssl_ctx_st *tls, const char *peer)
{
    struct conn *c = calloc(1, sizeof *c);
    struct stream stream;

    if (!stream_init(&stream, fd, tls)) {
        free(c);
        return NULL;
    }
    if (c == NULL) {
        stream_close(&stream, false);
        return NULL;
    }
    c->stream = stream;
    deframe_init(&c->deframer, s->o->framing, s->o->max_message);
    talk_init(&c->talk, s->o->max_message);
    snprintf(c->peer, sizeof c->peer, "%s", peer);
    return c;
}

void conn_free(struct conn *c, bool reset)
{
    stream_close(&c->stream, reset);
    talk_fini(&c->talk);
    free(c->buffer);
    free(c);
}

bool conn_talks(const struct conn *c)
{
    return c->talk.done < c->talk.used;
}

/* Sends what was answered, as far as there is room. What was taken is in the file before. */
static enum conn_turn speak(struct conn *c, struct sink *s)
{
    struct talk *t = &c->talk;

    if (conn_talks(c) && !output_flush(&s->out))
        s->failed = true;
    while (conn_talks(c)) {
        ssize_t n = stream_write(&c->stream, t->out + t->done, t->used - t->done);

        if (n == STREAM_BROKEN)
            return CONN_DONE;
        if (n <= 0)
            return CONN_OPEN;
        t->done += (size_t)n;
    }
    t->used = t->done = 0;
    return t->over ? CONN_DONE : CONN_OPEN;
}

/* Room for one full read behind the rest of the last one. The rest is at most one message, so the
 * buffer stays below max_message + 3 reads. */
static bool make_room(struct conn *c)
{
    char *grown = NULL;

    if (c->at > 0) {
        memmove(c->buffer, c->buffer + c->at, c->end - c->at);
        c->end -= c->at;
        c->at = 0;
    }
    if (c->size - c->end >= READ_BYTES)
        return true;
    grown = realloc(c->buffer, c->end + 2 * (size_t)READ_BYTES);
    if (grown == NULL)
        return false;
    c->buffer = grown;
    c->size = c->end + 2 * (size_t)READ_BYTES;
    return true;
}

/* Takes complete messages until there is none, the sink is not ready, or the connection must go. */
static enum conn_turn take(struct conn *c, struct sink *s)
{
    struct deframed f;

    c->blocked = false;
    for (;;) {
        enum deframe_result result = DEFRAME_MORE;

        if (!sink_ready(s)) {
            c->blocked = c->at < c->end;
            return CONN_OPEN;
        }
        if (c->relp)
            result = talk_next(&c->talk, c->buffer + c->at, c->end - c->at, &f);
        else
            result = deframe_next(&c->deframer, c->buffer + c->at, c->end - c->at, &f);
        if (result == DEFRAME_MORE && c->relp) {
            c->at += f.used;
            c->consumed += f.used;
        }
        if (result == DEFRAME_MORE)
            return CONN_OPEN;
        if (result == DEFRAME_ERROR) {
            sink_framing_error(s, c->peer, f.why, c->consumed + f.where);
            return CONN_DONE;
        }
        sink_take(s, f.at, f.n);
        c->at += f.used;
        c->consumed += f.used;
        c->messages++;
        if (c->messages == s->o->reset_after)
            return CONN_RESET;
    }
}

/* The stream ended, in order or not: what to do with an unfinished message. */
static void finish(struct conn *c, struct sink *s)
{
    struct deframed f;
    size_t rest = c->end - c->at;

    if (rest == 0)
        return;
    sink_truncated(s, c->peer, rest);
    if (!c->relp && deframe_end(&c->deframer, c->buffer + c->at, rest, &f) == DEFRAME_MESSAGE)
        sink_take(s, f.at, f.n);
    c->at = c->end;
}

static enum conn_turn ended(struct conn *c, struct sink *s, ssize_t n, const char *why)
{
    finish(c, s);
    if (n == STREAM_BROKEN)
        fprintf(stderr, "syslog-sink: connection broken, %s: %s\n", c->peer, why);
    if (n == STREAM_BROKEN || c->stream.ssl == NULL)
        return CONN_DONE;
    /* TLS: the peer's FIN may still be under way; closing before it has come could reset. */
    if (!output_flush(&s->out))
        s->failed = true;
    stream_end(&c->stream);
    c->closing = true;
    return CONN_OPEN;
}

/* One record of TLS is 16 KiB at most: several fill one turn. */
static ssize_t fill(struct conn *c, char *why, size_t *got)
{
    ssize_t n = 0;

    *got = 0;
    do {
        n = stream_read(&c->stream, c->buffer + c->end, READ_BYTES - *got, why, WHY_MAX);
        if (n > 0) {
            c->end += (size_t)n;
            *got += (size_t)n;
        }
    } while (n > 0 && c->stream.ssl != NULL && *got < READ_BYTES);
    return n;
}

enum conn_turn conn_turn(struct conn *c, struct sink *s, size_t *got)
{
    char why[WHY_MAX] = "";
    enum conn_turn turn = CONN_OPEN;
    ssize_t n = 0;

    *got = 0;
    if (c->blocked) {
        turn = take(c, s);
        if (turn == CONN_OPEN && c->relp)
            turn = speak(c, s);
        if (turn != CONN_OPEN || c->blocked)
            return turn;
    }
    if (c->relp && conn_talks(c)) {
        /* Who does not read answers is not read either. */
        turn = speak(c, s);
        if (turn != CONN_OPEN || c->talk.used - c->talk.done > ANSWERS_MAX)
            return turn;
    }
    if (!sink_ready(s))
        return CONN_OPEN;
    if (!make_room(c)) {
        fputs("syslog-sink: out of memory for a connection: lower --max-message\n", stderr);
        return CONN_DONE;
    }
    n = fill(c, why, got);
    if (c->closing) {
        c->end = c->at;
        return n == STREAM_END || n == STREAM_BROKEN ? CONN_DONE : CONN_OPEN;
    }
    if (*got > 0)
        turn = take(c, s);
    if (turn == CONN_OPEN && c->relp)
        turn = speak(c, s);
    if (turn != CONN_OPEN || n > 0 || n == STREAM_WAIT)
        return turn;
    if (c->blocked)
        return CONN_OPEN; /* the end is seen again by the next read */
    return ended(c, s, n, why);
}
