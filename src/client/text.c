/* Growing text for requests and signatures. Memory doubles; a failed allocation marks the text and
 * later adds do nothing, so that a builder reads as straight lines and checks once. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "client/text.h"

static bool reserve(struct text *t, size_t more)
{
    size_t size = t->size != 0 ? t->size : 256;
    char *p;

    if (t->failed || more >= SIZE_MAX / 4 - t->n) {
        t->failed = true;
        return false;
    }
    while (size < t->n + more + 1)
        size *= 2;
    if (size == t->size)
        return true;
    p = realloc(t->p, size);
    if (p == NULL) {
        t->failed = true;
        return false;
    }
    t->p = p;
    t->size = size;
    return true;
}

void text_add(struct text *t, const void *bytes, size_t n)
{
    if (!reserve(t, n))
        return;
    if (n > 0)
        memcpy(t->p + t->n, bytes, n);
    t->n += n;
    t->p[t->n] = '\0';
}

void text_addz(struct text *t, const char *z)
{
    text_add(t, z, strlen(z));
}

void text_addc(struct text *t, char c)
{
    text_add(t, &c, 1);
}

void text_addf(struct text *t, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        t->failed = true;
    else if (reserve(t, (size_t)n)) {
        vsnprintf(t->p + t->n, (size_t)n + 1, fmt, again);
        t->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

static bool unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void text_add_encoded(struct text *t, struct slsr_bytes bytes)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < bytes.n; i++) {
        const unsigned char c = (unsigned char)bytes.p[i];

        if (unreserved(c)) {
            text_addc(t, (char)c);
        } else {
            const char triple[3] = {'%', hex[c >> 4], hex[c & 15]};

            text_add(t, triple, sizeof triple);
        }
    }
}

struct slsr_bytes text_view(const struct text *t)
{
    return (struct slsr_bytes){t->p != NULL ? t->p : "", t->n};
}

void text_reset(struct text *t)
{
    t->n = 0;
    t->failed = false;
    if (t->p != NULL)
        t->p[0] = '\0';
}

void text_fini(struct text *t)
{
    free(t->p);
    *t = (struct text){0};
}

void text_wipe(struct text *t)
{
    if (t->p != NULL)
        OPENSSL_cleanse(t->p, t->size);
    text_fini(t);
}
