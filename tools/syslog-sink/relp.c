/* RELP for the sink. An answer is gathered when its message is taken; the caller sends it after the
 * output was flushed, so that 200 means: in the file. */
#include "relp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 64, ANSWER_MAX = 160 };

struct head {
    unsigned long txnr;
    char command[33];
    size_t size;
    size_t length; /* of the header with the space behind it */
};

void talk_init(struct talk *t, size_t max)
{
    *t = (struct talk){.max = max};
}

void talk_fini(struct talk *t)
{
    free(t->out);
    *t = (struct talk){0};
}

/* 1: read, 0: more must come, -1: no RELP. */
static int read_head(const char *p, size_t n, struct head *h)
{
    char text[HEADER_MAX + 1];
    size_t len = 0, spaces = 0;
    char rest = '\0';
    unsigned long size = 0;

    /* Up to the third space, or the LF of a frame without data. */
    while (len < n && len < HEADER_MAX && p[len] != '\n') {
        spaces += p[len] == ' ';
        len++;
        if (spaces == 3)
            break;
    }
    if (spaces < 3 && (len == n || p[len] != '\n'))
        return len >= HEADER_MAX ? -1 : 0;
    memcpy(text, p, len);
    text[len] = '\0';
    if (text[0] < '0' || text[0] > '9' ||
        sscanf(text, "%9lu %32[a-z] %9lu%c", &h->txnr, h->command, &size, &rest) < 3 ||
        (rest != ' ' && rest != '\0') || (spaces < 3 && size > 0))
        return -1;
    h->size = size;
    h->length = len;
    return 1;
}

static bool answer(struct talk *t, unsigned long txnr, const char *data)
{
    char *grown;

    if (t->size - t->used < ANSWER_MAX) {
        grown = realloc(t->out, t->size * 2 + ANSWER_MAX);
        if (grown == NULL)
            return false;
        t->out = grown;
        t->size = t->size * 2 + ANSWER_MAX;
    }
    t->used += (size_t)snprintf(t->out + t->used, ANSWER_MAX, "%lu rsp %zu%s%s\n", txnr,
                                strlen(data), data[0] != '\0' ? " " : "", data);
    return true;
}

static enum deframe_result wrong(struct deframed *out, const char *why, size_t where)
{
    out->why = why;
    out->where = where;
    return DEFRAME_ERROR;
}

/* A command other than a message. */
static const char *obey(struct talk *t, const struct head *h)
{
    static const char offer[] =
        "200 OK\nrelp_version=0\nrelp_software=syslog-sink\ncommands=syslog";
    static const char bye[] = "0 serverclose 0\n";

    if (strcmp(h->command, "open") == 0 && !t->opened) {
        t->opened = true;
        return answer(t, h->txnr, offer) ? NULL : "out of memory";
    }
    if (strcmp(h->command, "close") != 0)
        return "RELP: neither open, syslog nor close";
    t->over = true;
    if (!answer(t, h->txnr, "") || t->size - t->used < sizeof bye)
        return "out of memory";
    memcpy(t->out + t->used, bye, sizeof bye - 1);
    t->used += sizeof bye - 1;
    return NULL;
}

enum deframe_result talk_next(struct talk *t, const char *p, size_t n, struct deframed *out)
{
    *out = (struct deframed){0};
    while (!t->over) {
        struct head h;
        size_t at = out->used;
        int rc = read_head(p + at, n - at, &h);
        const char *why;

        if (rc < 0)
            return wrong(out, "this is no RELP", at);
        if (rc == 0)
            return DEFRAME_MORE;
        if (h.size > t->max)
            return wrong(out, "RELP: a message above --max-message", at);
        if (n - at < h.length + h.size + 1)
            return DEFRAME_MORE;
        if (p[at + h.length + h.size] != '\n')
            return wrong(out, "RELP: no LF behind the data", at + h.length + h.size);
        out->used = at + h.length + h.size + 1;
        if (strcmp(h.command, "syslog") == 0) {
            if (!t->opened)
                return wrong(out, "RELP: syslog before open", at);
            out->at = p + at + h.length;
            out->n = h.size;
            return answer(t, h.txnr, "200 OK") ? DEFRAME_MESSAGE : wrong(out, "out of memory", at);
        }
        why = obey(t, &h);
        if (why != NULL)
            return wrong(out, why, at);
    }
    return DEFRAME_MORE;
}
