/* A reader of frames of our own, for tests: written from the formats' documents, shares nothing
 * with src/format. Every function fails the test when the bytes are not what the format says. */
#ifndef FRAME_READER_H
#define FRAME_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "slsrelay/types.h"

/* Text on loan from an arena that the caller empties. */
struct reader {
    char *arena;
    size_t used, size;
    const char *p, *end; /* what is left */
    const char *why;     /* NULL: fine */
};

struct read_pair {
    struct slsr_bytes key, value;
};

struct read_frame {
    int pri;
    struct slsr_bytes time, host, tag, procid, msgid;
    struct slsr_bytes sd; /* whole, "-" or elements */
    bool has_msg;
    struct slsr_bytes msg;
};

static inline bool reader_fail(struct reader *r, const char *why)
{
    if (r->why == NULL)
        r->why = why;
    return false;
}

static inline void reader_put(struct reader *r, char c)
{
    if (r->used == r->size) {
        reader_fail(r, "the arena is full");
        return;
    }
    r->arena[r->used++] = c;
}

static inline bool reader_is(const struct reader *r, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(r->end - r->p) >= n && memcmp(r->p, text, n) == 0;
}

static inline bool reader_take(struct reader *r, const char *text)
{
    if (!reader_is(r, text))
        return reader_fail(r, text);
    r->p += strlen(text);
    return true;
}

/* RFC 6587 3.4.1: one frame off the front of the stream. */
static inline bool read_octets(struct reader *r, struct slsr_bytes *message)
{
    size_t n = 0, digits = 0;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++, digits++)
        n = n * 10 + (size_t)(*r->p - '0');
    if (digits == 0 || digits > 9 || r->p == r->end || *r->p != ' ' || r->p[-(long)digits] == '0')
        return reader_fail(r, "no octet count");
    r->p++;
    if ((size_t)(r->end - r->p) < n)
        return reader_fail(r, "the count is past the end");
    *message = (struct slsr_bytes){r->p, n};
    r->p += n;
    return true;
}

static inline bool read_pri(struct reader *r, int *pri)
{
    int digits = 0;
    *pri = 0;
    reader_take(r, "<");
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9' && digits < 4; r->p++, digits++)
        *pri = *pri * 10 + (*r->p - '0');
    if (digits == 0 || digits > 3 || *pri > 191 || (digits > 1 && r->p[-digits] == '0'))
        return reader_fail(r, "PRI");
    return reader_take(r, ">");
}

/* PRINTUSASCII up to a space. */
static inline struct slsr_bytes read_word(struct reader *r, size_t most)
{
    const char *start = r->p;
    while (r->p<r->end && * r->p> 32 && *r->p < 127)
        r->p++;
    if (r->p == start || (size_t)(r->p - start) > most)
        reader_fail(r, "header field");
    return (struct slsr_bytes){start, (size_t)(r->p - start)};
}

/* RFC 5424 6.3: walks over the elements; calls each parameter. */
typedef void (*param_fn)(void *ctx, struct slsr_bytes id, struct slsr_bytes name,
                         struct slsr_bytes value);

static inline struct slsr_bytes read_sd_name(struct reader *r)
{
    const char *start = r->p;
    while (r->p<r->end && * r->p> 32 && *r->p < 127 && strchr("=]\"", *r->p) == NULL)
        r->p++;
    if (r->p == start || r->p - start > 32)
        reader_fail(r, "SD-NAME");
    return (struct slsr_bytes){start, (size_t)(r->p - start)};
}

static inline struct slsr_bytes read_sd_value(struct reader *r)
{
    size_t at = r->used;
    reader_take(r, "\"");
    while (r->why == NULL && r->p < r->end && *r->p != '"') {
        if (*r->p == ']') {
            reader_fail(r, "] in a value");
            break;
        }
        if (*r->p == '\\' && r->end - r->p > 1 && strchr("\"\\]", r->p[1]) != NULL)
            r->p++;
        reader_put(r, *r->p++);
    }
    reader_take(r, "\"");
    return (struct slsr_bytes){r->arena + at, r->used - at};
}

static inline void read_sd(struct reader *r, param_fn fn, void *ctx)
{
    if (reader_is(r, "-")) {
        r->p++;
        return;
    }
    do {
        reader_take(r, "[");
        struct slsr_bytes id = read_sd_name(r);
        while (r->why == NULL && reader_is(r, " ")) {
            r->p++;
            struct slsr_bytes name = read_sd_name(r);
            reader_take(r, "=");
            struct slsr_bytes value = read_sd_value(r);
            if (fn != NULL && r->why == NULL)
                fn(ctx, id, name, value);
        }
        reader_take(r, "]");
    } while (r->why == NULL && reader_is(r, "["));
}

static inline void read_5424(struct reader *r, struct read_frame *f, param_fn fn, void *ctx)
{
    *f = (struct read_frame){0};
    read_pri(r, &f->pri);
    reader_take(r, "1 ");
    f->time = read_word(r, 32);
    reader_take(r, " ");
    f->host = read_word(r, 255);
    reader_take(r, " ");
    f->tag = read_word(r, 48);
    reader_take(r, " ");
    f->procid = read_word(r, 128);
    reader_take(r, " ");
    f->msgid = read_word(r, 32);
    reader_take(r, " ");
    f->sd.p = r->p;
    read_sd(r, fn, ctx);
    f->sd.n = (size_t)(r->p - f->sd.p);
    if (r->why != NULL || r->p == r->end)
        return;
    reader_take(r, " ");
    f->has_msg = true;
    f->msg = (struct slsr_bytes){r->p, (size_t)(r->end - r->p)};
}

/* "<PRI>Mmm dd hh:mm:ss HOST TAG[PID]: MSG" */
static inline void read_3164(struct reader *r, struct read_frame *f)
{
    *f = (struct read_frame){0};
    read_pri(r, &f->pri);
    f->time = (struct slsr_bytes){r->p, 15};
    if (r->end - r->p < 16)
        reader_fail(r, "timestamp");
    else
        r->p += 15;
    reader_take(r, " ");
    f->host = read_word(r, 255);
    reader_take(r, " ");
    const char *start = r->p;
    while (r->p < r->end && *r->p != '[' && *r->p != ':' && *r->p != ' ')
        r->p++;
    f->tag = (struct slsr_bytes){start, (size_t)(r->p - start)};
    if (reader_is(r, "[")) {
        start = ++r->p;
        while (r->p < r->end && *r->p != ']')
            r->p++;
        f->procid = (struct slsr_bytes){start, (size_t)(r->p - start)};
        reader_take(r, "]");
    }
    reader_take(r, ": ");
    f->has_msg = true;
    f->msg = (struct slsr_bytes){r->p, (size_t)(r->end - r->p)};
}

/* --- bodies: each call takes one pair off the front; false at the end --- */

/* kv_quote auto and always. */
static inline struct slsr_bytes read_kv_quoted(struct reader *r)
{
    size_t at = r->used;
    reader_take(r, "\"");
    while (r->why == NULL && r->p < r->end && *r->p != '"') {
        if (*r->p == '\\' && r->end - r->p > 1 && (r->p[1] == '"' || r->p[1] == '\\'))
            r->p++;
        reader_put(r, *r->p++);
    }
    reader_take(r, "\"");
    return (struct slsr_bytes){r->arena + at, r->used - at};
}

static inline struct slsr_bytes read_kv_until(struct reader *r, const char *mark)
{
    const char *start = r->p, *found = memmem(start, (size_t)(r->end - start), mark, strlen(mark));
    r->p = found != NULL ? found : r->end;
    return (struct slsr_bytes){start, (size_t)(r->p - start)};
}

static inline bool read_kv(struct reader *r, const char *sep, bool first, struct read_pair *pair)
{
    if (r->why != NULL || r->p == r->end)
        return false;
    if (!first)
        reader_take(r, sep);
    pair->key = reader_is(r, "\"") ? read_kv_quoted(r) : read_kv_until(r, "=");
    reader_take(r, "=");
    pair->value = reader_is(r, "\"") ? read_kv_quoted(r) : read_kv_until(r, sep);
    return r->why == NULL;
}

static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* kv_quote escape with newline escape and invalid_utf8 escape: every byte comes back. */
static inline struct slsr_bytes read_kv_escaped(struct reader *r, const char *sep, bool key)
{
    size_t at = r->used;
    while (r->why == NULL && r->p < r->end && !(key ? *r->p == '=' : reader_is(r, sep))) {
        char c = *r->p++;
        if (c == '\\' && r->p < r->end) {
            c = *r->p++;
            if (c == 'n' || c == 'r' || c == 't')
                c = c == 'n' ? '\n' : c == 'r' ? '\r' : '\t';
            else if (c == 'x' && r->end - r->p >= 2) {
                c = (char)(hex_digit(r->p[0]) * 16 + hex_digit(r->p[1]));
                r->p += 2;
            }
        }
        reader_put(r, c);
    }
    return (struct slsr_bytes){r->arena + at, r->used - at};
}

static inline bool read_kv_esc(struct reader *r, const char *sep, bool first,
                               struct read_pair *pair)
{
    if (r->why != NULL || r->p == r->end)
        return false;
    if (!first)
        reader_take(r, sep);
    pair->key = read_kv_escaped(r, sep, true);
    reader_take(r, "=");
    pair->value = read_kv_escaped(r, sep, false);
    return r->why == NULL;
}

/* One header field of CEF or LEEF up to "|". */
static inline struct slsr_bytes read_event_head(struct reader *r, bool cef)
{
    size_t at = r->used;
    while (r->p < r->end && *r->p != '|') {
        if (cef && *r->p == '\\' && r->end - r->p > 1)
            r->p++;
        reader_put(r, *r->p++);
    }
    reader_take(r, "|");
    return (struct slsr_bytes){r->arena + at, r->used - at};
}

/* CEF extension: the key is letters and digits up to an unescaped "="; the value goes up to a space
 * behind which another key follows. */
static inline bool cef_key_ahead(const struct reader *r, const char *p)
{
    const char *start = p;
    while (p < r->end &&
           ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')))
        p++;
    return p > start && p < r->end && *p == '=';
}

static inline bool read_cef(struct reader *r, bool first, struct read_pair *pair)
{
    if (r->why != NULL || r->p == r->end)
        return false;
    if (!first)
        reader_take(r, " ");
    if (!cef_key_ahead(r, r->p))
        return reader_fail(r, "CEF key");
    pair->key = read_kv_until(r, "=");
    r->p++;
    size_t at = r->used;
    while (r->p < r->end && !(*r->p == ' ' && cef_key_ahead(r, r->p + 1))) {
        char c = *r->p++;
        if (c == '=' || c == '\n' || c == '\r')
            return reader_fail(r, "CEF value");
        if (c == '\\') {
            if (r->p == r->end || strchr("\\=nr", *r->p) == NULL)
                return reader_fail(r, "CEF escape");
            c = *r->p == 'n' ? '\n' : *r->p == 'r' ? '\r' : *r->p;
            r->p++;
        }
        reader_put(r, c);
    }
    pair->value = (struct slsr_bytes){r->arena + at, r->used - at};
    return true;
}

static inline bool read_leef(struct reader *r, char delimiter, bool first, struct read_pair *pair)
{
    char mark[2] = {delimiter, '\0'};
    if (r->why != NULL || r->p == r->end)
        return false;
    if (!first)
        reader_take(r, mark);
    pair->key = read_kv_until(r, "=");
    reader_take(r, "=");
    pair->value = read_kv_until(r, mark);
    return r->why == NULL;
}

#endif
