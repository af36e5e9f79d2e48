/* Growing byte buffer and allocation, see buf.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

enum { EXIT_NO_MEMORY = 71 }; /* sysexits: operating system error */

static void *check(void *p)
{
    if (p == NULL) {
        fputs("sls-sim: memory, none left: generate or load fewer logs\n", stderr);
        _Exit(EXIT_NO_MEMORY);
    }
    return p;
}

void *xalloc(size_t bytes)
{
    return check(calloc(1, bytes == 0 ? 1 : bytes));
}

void *xresize(void *old, size_t bytes)
{
    return check(realloc(old, bytes == 0 ? 1 : bytes));
}

char *xstrdup(const char *text)
{
    return check(strdup(text));
}

void buf_room(struct buf *b, size_t more)
{
    size_t want = b->n + more;
    size_t size = b->size == 0 ? 256 : b->size;

    if (b->p != NULL && want <= b->size)
        return;
    while (size < want)
        size *= 2;
    b->p = xresize(b->p, size);
    b->size = size;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    buf_room(b, n);
    if (n != 0)
        memcpy(b->p + b->n, data, n);
    b->n += n;
}

void buf_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_byte(struct buf *b, unsigned char byte)
{
    buf_add(b, &byte, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n <= 0)
        return;
    buf_room(b, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(b->p + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
}

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

char *buf_take(struct buf *b)
{
    char *text;

    buf_room(b, 1);
    b->p[b->n] = '\0';
    text = b->p;
    *b = (struct buf){0};
    return text;
}
