/* Growing byte buffer and allocation of sls-sim.
 *
 * A simulator that runs out of memory has nothing to save: the x functions end the program with one
 * sentence and exit code 71, so that callers need no failure path. */
#ifndef SIM_BUF_H
#define SIM_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;
    size_t n;
    size_t size;
};

void *xalloc(size_t bytes); /* zeroed */
void *xresize(void *old, size_t bytes);
char *xstrdup(const char *text);

/* Grows *array so that one more element fits behind `count`; doubles. */
#define ARRAY_ROOM(array, count, size)                                                             \
    do {                                                                                           \
        if ((count) == (size)) {                                                                   \
            (size) = (size) == 0 ? 8 : (size)*2;                                                   \
            (array) = xresize((array), (size) * sizeof *(array));                                  \
        }                                                                                          \
    } while (0)

void buf_room(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_text(struct buf *b, const char *text);
void buf_byte(struct buf *b, unsigned char byte);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_fini(struct buf *b);

/* The bytes as a heap string with a NUL behind them; the buffer is empty afterwards. */
char *buf_take(struct buf *b);

#endif
