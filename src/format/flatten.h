/* One log as an ordered map of text: what a kv or JSON body prints.
 *
 * Order: __time__, __topic__, __source__, __time_ns_part__ (only when not 0), __tag__:<key> ...,
 * contents. A key that occurs again keeps its first place and takes the last value; a content may
 * so replace any of the others. HOT for logs with such keys; the rest take kv.c's short cut. */
#ifndef FORMAT_FLATTEN_H
#define FORMAT_FLATTEN_H

#include "format/select.h"
#include "slsrelay/err.h"
#include "slsrelay/types.h"

enum flat_kind {
    FLAT_TIME,   /* __time__ as the log carries it */
    FLAT_NS,     /* __time_ns_part__ as the log carries it */
    FLAT_GROUP,  /* topic, source, tags */
    FLAT_CONTENT /* from the contents, also when it replaced one of the above */
};

struct flat_pair {
    enum flat_kind kind;
    bool tag; /* the full key is "__tag__:" + key */
    bool gone;
    struct slsr_bytes key;
    struct slsr_bytes value;
};

/* Reused between logs; zeroed at first, flat_fini at last. Views into the log and into `text`. */
struct flat {
    struct flat_pair *pairs;
    size_t count;
    size_t size;
    size_t first;    /* where printing begins: 1, or 0 when __time__ was asked for */
    uint32_t *order; /* scratch for logs with very many keys */
    char *text;      /* cleaned keys */
    size_t text_size;
    char time_text[12], ns_text[12];
};

#define FLAT_TAG_PREFIX "__tag__:"
enum { FLAT_TAG_PREFIX_N = sizeof(FLAT_TAG_PREFIX) - 1 };

/* clean_keys: content keys lose what is not UTF-8 before they are compared (seed format). select:
 * leaves keys out and renames the others before they are compared; may be NULL. pairs[0] is always
 * __time__. SLSR_ENOMEM. */
int flatten(struct flat *flat, const struct slsr_log *log, bool clean_keys,
            const struct select *select, struct slsr_err *err);
void flat_fini(struct flat *flat);
/* Above this number of keys a log is sorted to find equal ones: no quadratic work for a hostile
 * one. */
enum { FLAT_LINEAR_MAX = 128 };

/* One bit of 64 by length, first and last byte: keys with different bits differ. */
static inline uint64_t flat_bit(struct slsr_bytes key)
{
    unsigned h = (unsigned)key.n;
    if (key.n > 0)
        h += (unsigned)(uint8_t)key.p[0] * 5U + (unsigned)(uint8_t)key.p[key.n - 1] * 11U;
    return UINT64_C(1) << (h & 63U);
}

#endif
