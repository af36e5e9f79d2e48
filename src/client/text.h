/* A growing piece of text with a sticky error: add without checking, look at `failed` once at the
 * end. Always NUL-terminated once something was added. Not thread-safe. */
#ifndef CLIENT_TEXT_H
#define CLIENT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "slsrelay/types.h"

struct text {
    char *p; /* NULL until the first add */
    size_t n;
    size_t size;
    bool failed; /* out of memory: the content is not to be used */
};

void text_add(struct text *t, const void *bytes, size_t n);
void text_addz(struct text *t, const char *z);
void text_addc(struct text *t, char c);
void text_addf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Percent-encodes all but A-Z a-z 0-9 - _ . ~ (RFC 3986 unreserved), hex in upper case. */
void text_add_encoded(struct text *t, struct slsr_bytes bytes);
struct slsr_bytes text_view(const struct text *t);
void text_reset(struct text *t); /* empties it, keeps the memory */
void text_fini(struct text *t);  /* frees */
void text_wipe(struct text *t);  /* overwrites the content, then frees: it held a secret */

#endif
