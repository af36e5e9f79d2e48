/* Copying the usual text: printable ASCII. HOT (tests/bench/bench_format.c "format"). Pure. */
#ifndef FORMAT_CLEAN_H
#define FORMAT_CLEAN_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "slsrelay/types.h"

/* Copies in.n bytes as they are. True when all of them are printable ASCII (20..7e) other than
 * `mark` and `other`; else what stands at `out` is of no use. Never reads or writes past in.n
 * bytes. */
static inline bool clean_copy_plain(char *out, struct slsr_bytes in, char mark, char other)
{
    bool clean = true;
    for (size_t i = 0; i < in.n; i++) {
        clean = clean && in.p[i] >= 0x20 && in.p[i] < 0x7f && in.p[i] != mark && in.p[i] != other;
        out[i] = in.p[i];
    }
    return clean;
}

#ifdef __SSE2__
struct clean_marks {
    __m128i a, b;
    bool two; /* a constant where it is inlined: the second comparison goes */
};

/* Non-zero lanes: bytes that are not clean. One more makes 7f negative as well, and 80..ff stay
 * negative but for ff, which becomes 0: all below 21. */
static inline __m128i clean_lanes(__m128i v, const struct clean_marks *marks)
{
    __m128i bad =
        _mm_or_si128(_mm_cmplt_epi8(_mm_add_epi8(v, _mm_set1_epi8(1)), _mm_set1_epi8(0x21)),
                     _mm_cmpeq_epi8(v, marks->a));
    return marks->two ? _mm_or_si128(bad, _mm_cmpeq_epi8(v, marks->b)) : bad;
}

static inline __m128i clean_block(char *out, const char *in, const struct clean_marks *marks)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)in);
    _mm_storeu_si128((__m128i *)(void *)out, v);
    return clean_lanes(v, marks);
}

/* The same, by blocks; the last one overlaps the one before it. */
static inline __attribute__((always_inline)) bool clean_copy(char *out, struct slsr_bytes in,
                                                             char mark, char other)
{
    const char *p = in.p;
    const size_t n = in.n;
    const struct clean_marks marks = {_mm_set1_epi8(mark), _mm_set1_epi8(other), mark != other};
    __m128i bad;
    if (n >= 16) {
        bad = clean_block(out + n - 16, p + n - 16, &marks);
        for (size_t i = 0; i + 16 < n; i += 16)
            bad = _mm_or_si128(bad, clean_block(out + i, p + i, &marks));
    } else if (n >= 8) {
        __m128i head = _mm_loadl_epi64((const __m128i *)(const void *)p);
        __m128i tail = _mm_loadl_epi64((const __m128i *)(const void *)(p + n - 8));
        _mm_storel_epi64((__m128i *)(void *)out, head);
        _mm_storel_epi64((__m128i *)(void *)(out + n - 8), tail);
        bad = clean_lanes(_mm_unpacklo_epi64(head, tail), &marks);
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        memcpy(out, &head, 4);
        memcpy(out + n - 4, &tail, 4);
        bad = clean_lanes(_mm_set_epi32((int)head, (int)head, (int)tail, (int)tail), &marks);
    } else {
        return clean_copy_plain(out, in, mark, other);
    }
    return _mm_movemask_epi8(bad) == 0;
}
#else
static inline bool clean_copy(char *out, struct slsr_bytes in, char mark, char other)
{
    return clean_copy_plain(out, in, mark, other);
}
#endif

#endif
