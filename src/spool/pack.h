/* Fields of the records in ack.mdb that this folder's books.h keeps: big-endian, texts with a
 * length byte, a hash behind. A reader that runs over the end of a record gets zeros and `bad`. */
#ifndef SPOOL_PACK_H
#define SPOOL_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PACK_MAX = 2048 };

struct pack {
    unsigned char data[PACK_MAX];
    size_t n;
};

struct unpack {
    const unsigned char *p;
    size_t left;
    bool bad;
};

static inline void pack_u64_at(unsigned char *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(value >> (56 - 8 * i));
}

static inline uint64_t unpack_u64_at(const unsigned char *p)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value = value << 8 | p[i];
    return value;
}

static inline void pack_u64(struct pack *pack, uint64_t value)
{
    pack_u64_at(pack->data + pack->n, value);
    pack->n += 8;
}

/* At most 255 bytes of it. */
static inline void pack_text(struct pack *pack, const char *text, size_t size)
{
    const size_t n = strnlen(text, size < 255 ? size : 255);

    pack->data[pack->n++] = (unsigned char)n;
    memcpy(pack->data + pack->n, text, n);
    pack->n += n;
}

static inline uint64_t unpack_u64(struct unpack *in)
{
    uint64_t value;

    if (in->left < 8) {
        in->bad = true;
        return 0;
    }
    value = unpack_u64_at(in->p);
    in->p += 8;
    in->left -= 8;
    return value;
}

/* Into out, cut to size - 1 and terminated. */
static inline void unpack_text(struct unpack *in, char *out, size_t size)
{
    const size_t n = in->left > 0 ? in->p[0] : 0;
    const size_t keep = n < size ? n : size - 1;

    out[0] = '\0';
    if (in->left < 1 + n) {
        in->bad = true;
        return;
    }
    memcpy(out, in->p + 1, keep);
    out[keep] = '\0';
    in->p += 1 + n;
    in->left -= 1 + n;
}

/* books.c: hash behind the record; and a reader over a record whose hash is right, else `bad`. */
void pack_seal(struct pack *pack);
struct unpack unpack_open(const void *data, size_t size);

#endif
