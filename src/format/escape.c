/* Quoting and UTF-8 hygiene. HOT (tests/bench/bench_format.c "format").
 *
 * Clean bytes are copied in blocks of 16 (SSE2) or 8 while they are checked; the first byte that
 * needs work stops the block, is handled alone, and the copying goes on behind it. Blocks may write
 * past the end of what they report (TEXT_SLACK), never read past the input. */
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "format/escape.h"

/* Each style becomes its own loop only when all of this is inlined into put_line,
 * put_quoted and put_seed. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static const char hex_digits[] = "0123456789abcdef";

int utf8_length(const uint8_t *p, size_t n)
{
    uint8_t b = p[0], low = 0x80, high = 0xbf;
    int need;
    if (b < 0x80)
        return 1;
    if (b >= 0xc2 && b <= 0xdf) {
        need = 1;
    } else if (b >= 0xe0 && b <= 0xef) {
        need = 2;
        low = b == 0xe0 ? 0xa0 : low;   /* overlong */
        high = b == 0xed ? 0x9f : high; /* surrogates */
    } else if (b >= 0xf0 && b <= 0xf4) {
        need = 3;
        low = b == 0xf0 ? 0x90 : low;
        high = b == 0xf4 ? 0x8f : high; /* beyond U+10FFFF */
    } else {
        return -1;
    }
    for (int i = 1; i <= need; i++) {
        if ((size_t)i == n || p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return need + 1;
}

bool utf8_valid(struct slsr_bytes text)
{
    for (size_t at = 0; at < text.n;) {
        int n = utf8_length((const uint8_t *)text.p + at, text.n - at);
        if (n < 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

size_t text_cut(const char *text, size_t n)
{
    size_t cut = n;
    while (cut > 0 && n - cut < 4 && ((uint8_t)text[cut] & 0xc0) == 0x80)
        cut--;
    return n - cut < 4 && cut > 0 ? cut : n;
}

static char *put_hex(char *out, uint8_t b)
{
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex_digits[b >> 4];
    out[3] = hex_digits[b & 15];
    return out + 4;
}

/* A control, `"` or `\` in a JSON string. */
static char *put_json(char *out, uint8_t b)
{
    static const char pairs[] = "\nn\rr\tt\"\"\\\\";
    const char *at = b != 0 ? strchr(pairs, b) : NULL;
    *out++ = '\\';
    if (at != NULL) {
        *out++ = at[1];
        return out;
    }
    memcpy(out, "u00", 3);
    out[3] = hex_digits[b >> 4];
    out[4] = hex_digits[b & 15];
    return out + 5;
}

/* A control character of a line. *used: input bytes it stands for. */
static char *put_control(char *out, const uint8_t *p, size_t n, enum slsr_newline newline,
                         size_t *used)
{
    bool line_end = *p == '\n' || *p == '\r' || *p == '\t';
    if (!line_end)
        return put_hex(out, *p);
    if (newline == SLSR_NL_KEEP) {
        *out++ = (char)*p;
    } else if (newline == SLSR_NL_SPACE) {
        if (*p == '\r' && n > 1 && p[1] == '\n')
            *used = 2;
        *out++ = ' ';
    } else {
        *out++ = '\\';
        *out++ = *p == '\n' ? 'n' : *p == '\r' ? 'r' : 't';
    }
    return out;
}

static char *put_invalid(char *out, const uint8_t *p, size_t n, const struct text_rules *rules)
{
    if (rules->utf8 == SLSR_UTF8_REPLACE) {
        memcpy(out, "\xef\xbf\xbd", 3);
        return out + 3;
    }
    if (rules->utf8 == SLSR_UTF8_DROP)
        return out;
    if (rules->utf8 == SLSR_UTF8_KEEP) {
        memcpy(out, p, n);
        return out + n;
    }
    for (size_t i = 0; i < n; i++) {
        if (rules->style == TEXT_JSON)
            *out++ = '\\'; /* the backslash of \xHH, itself escaped */
        out = put_hex(out, p[i]);
    }
    return out;
}

/* One character, sound or not; *used input bytes. */
static char *put_one(char *out, const uint8_t *p, size_t n, const struct text_rules *rules,
                     size_t *used)
{
    *used = 1;
    if (*p >= 0x80) {
        int length = utf8_length(p, n);
        *used = (size_t)(length < 0 ? -length : length);
        if (length < 0)
            return put_invalid(out, p, *used, rules);
        memcpy(out, p, *used);
        return out + *used;
    }
    if (rules->style == TEXT_JSON && (*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\'))
        return put_json(out, *p);
    if (rules->style == TEXT_LINE && (*p < 0x20 || *p == 0x7f))
        return put_control(out, p, n, rules->newline, used);
    *out = (char)*p;
    return out + 1;
}

char *text_put_plain(char *out, struct slsr_bytes in, const struct text_rules *rules)
{
    const uint8_t *p = (const uint8_t *)in.p;
    for (size_t used, left = in.n; left > 0; left -= used) {
        out = put_one(out, p, left, rules, &used);
        p += used;
    }
    return out;
}

#define LANES(byte) (UINT64_C(0x0101010101010101) * (uint64_t)(byte))

/* High bit of each lane that needs work. A borrow may mark lanes above a marked one as well, so
 * only the lowest mark counts. */
static inline uint64_t dirty_lanes(uint64_t w, bool controls, bool quotes)
{
    uint64_t m = w;
    if (controls)
        m |= (w - LANES(0x20)) | ((w ^ LANES(0x7f)) - LANES(1));
    if (quotes)
        m |= ((w ^ LANES('"')) - LANES(1)) | ((w ^ LANES('\\')) - LANES(1));
    return m & LANES(0x80);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HAVE_LANES 1
#else
#define HAVE_LANES 0
#endif

static inline bool dirty_byte(uint8_t b, bool controls, bool quotes)
{
    return b >= 0x80 || (controls && (b < 0x20 || b == 0x7f)) ||
           (quotes && (b == '"' || b == '\\'));
}

/* Non-zero when a lane is 0 (exact for the lowest, which is all that counts here). */
static inline uint64_t zero_lanes(uint64_t w)
{
    return (w - LANES(1)) & ~w & LANES(0x80);
}

/* What is looked for while copying: never stops it. */
struct mark {
    bool on;
    uint8_t a, b;
    uint64_t seen; /* not 0: one was there, or may have been */
};

static inline uint64_t mark_lanes(uint64_t w, const struct mark *mark)
{
    return zero_lanes(w ^ LANES(mark->a)) | zero_lanes(w ^ LANES(mark->b));
}

/* Copies the clean bytes at the head of a text shorter than 16; returns their number. */
ALWAYS_INLINE size_t clean_short(char *out, const uint8_t *in, size_t n, bool controls, bool quotes,
                                 struct mark *mark)
{
    size_t i = 0;
    if (HAVE_LANES && n >= 8) {
        uint64_t head, tail;
        memcpy(&head, in, 8);
        memcpy(&tail, in + n - 8, 8);
        if (mark->on)
            mark->seen |= mark_lanes(head, mark) | mark_lanes(tail, mark);
        uint64_t bad = dirty_lanes(head, controls, quotes);
        memcpy(out, &head, 8);
        if (bad != 0)
            return (size_t)__builtin_ctzll(bad) / 8;
        bad = dirty_lanes(tail, controls, quotes);
        memcpy(out + n - 8, &tail, 8);
        return bad == 0 ? n : n - 8 + (size_t)__builtin_ctzll(bad) / 8;
    }
    if (HAVE_LANES && n >= 4) {
        uint32_t head, tail;
        memcpy(&head, in, 4);
        memcpy(&tail, in + n - 4, 4);
        uint64_t both = (uint64_t)tail << 32 | head;
        if (mark->on)
            mark->seen |= mark_lanes(both, mark);
        uint64_t bad = dirty_lanes(both, controls, quotes);
        memcpy(out, &head, 4);
        memcpy(out + n - 4, &tail, 4);
        if (bad == 0)
            return n;
        size_t lane = (size_t)__builtin_ctzll(bad) / 8;
        return lane < 4 ? lane : n - 8 + lane;
    }
    for (; i < n && !dirty_byte(in[i], controls, quotes); i++) {
        out[i] = (char)in[i];
        mark->seen |= mark->on && (in[i] == mark->a || in[i] == mark->b);
    }
    return i;
}

ALWAYS_INLINE size_t clean_run(char *out, const uint8_t *in, size_t n, bool controls, bool quotes,
                               struct mark *mark)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i mark_a = _mm_set1_epi8((char)mark->a), mark_b = _mm_set1_epi8((char)mark->b);
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f);
    for (; n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        _mm_storeu_si128((__m128i *)(void *)(out + i), v);
        /* Signed compare: bytes from 0x80 are negative, so "less than space" finds them too. */
        __m128i bad = controls ? _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, del)) : v;
        if (quotes)
            bad = _mm_or_si128(bad, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                                 _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
        if (mark->on)
            mark->seen |= (unsigned)_mm_movemask_epi8(
                _mm_or_si128(_mm_cmpeq_epi8(v, mark_a), _mm_cmpeq_epi8(v, mark_b)));
        int mask = _mm_movemask_epi8(bad);
        if (mask != 0)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#else
    for (; HAVE_LANES && n - i >= 16; i += 8) {
        uint64_t w;
        memcpy(&w, in + i, 8);
        memcpy(out + i, &w, 8);
        if (mark->on)
            mark->seen |= mark_lanes(w, mark);
        uint64_t bad = dirty_lanes(w, controls, quotes);
        if (bad != 0)
            return i + (size_t)__builtin_ctzll(bad) / 8;
    }
#endif
    return i + clean_short(out + i, in + i, n - i, controls, quotes, mark);
}

/* Where reading and writing stand; small enough to come back in registers. */
struct place {
    char *out;
    const uint8_t *p;
};

/* At least one character that needs work, and the non-ASCII ones behind it: they come in stretches.
 */
static __attribute__((noinline)) struct place put_stretch(struct place at, const uint8_t *end,
                                                          const struct text_rules *rules)
{
    do {
        size_t used;
        at.out = put_one(at.out, at.p, (size_t)(end - at.p), rules, &used);
        at.p += used;
    } while (at.p < end && *at.p >= 0x80);
    return at;
}

ALWAYS_INLINE char *put(char *out, const uint8_t *p, const uint8_t *end,
                        const struct text_rules *rules, bool controls, bool quotes,
                        struct mark *mark)
{
    for (;;) {
        size_t n = clean_run(out, p, (size_t)(end - p), controls, quotes, mark);
        out += n;
        p += n;
        if (p == end)
            return out;
        if (quotes && (*p == '"' || *p == '\\')) { /* JSON in JSON is full of them */
            out[0] = '\\';
            out[1] = (char)*p++;
            out += 2;
            continue;
        }
        struct place at = put_stretch((struct place){out, p}, end, rules);
        out = at.out;
        p = at.p;
        if (p == end)
            return out;
    }
}

static __attribute__((noinline)) char *put_line(char *out, const uint8_t *p, const uint8_t *end,
                                                const struct text_rules *rules)
{
    struct mark none = {0};
    return put(out, p, end, rules, true, false, &none);
}

#ifdef __SSE2__
/* A block of 16, of which `quotes` get a backslash in front: copied once whole, then anew from each
 * of them, one further on. Bits from `stop` on do not count. Reads 16 bytes from each quote on. */
static inline char *put_backslashes(char *out, const uint8_t *p, unsigned quotes, unsigned stop)
{
    unsigned done = 0;
    for (; quotes != 0; quotes &= quotes - 1) {
        unsigned at = (unsigned)__builtin_ctz(quotes);
        out += at - done;
        *out++ = '\\';
        memcpy(out, p + at, 16);
        done = at;
    }
    return out + stop - done;
}

/* As far as a block and what put_backslashes reads behind it are there. */
static inline struct place put_quoted_blocks(struct place at, const uint8_t *end,
                                             const struct text_rules *rules)
{
    const __m128i quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f);
    while (end - at.p >= 32) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at.p);
        _mm_storeu_si128((__m128i *)(void *)at.out, v);
        unsigned quotes = (unsigned)_mm_movemask_epi8(
            _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, back)));
        unsigned work = (unsigned)_mm_movemask_epi8(
            _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, del)));
        unsigned stop = work != 0 ? (unsigned)__builtin_ctz(work) : 16;
        at.out = put_backslashes(at.out, at.p, quotes & ((1U << stop) - 1), stop);
        at.p += stop;
        if (work != 0)
            at = put_stretch(at, end, rules);
    }
    return at;
}
#endif

static __attribute__((noinline)) char *put_quoted(char *out, const uint8_t *p, const uint8_t *end,
                                                  const struct text_rules *rules)
{
    struct mark none = {0};
#ifdef __SSE2__
    struct place at = put_quoted_blocks((struct place){out, p}, end, rules);
    return put(at.out, at.p, end, rules, true, true, &none);
#else
    return put(out, p, end, rules, true, true, &none);
#endif
}

static __attribute__((noinline)) char *put_seed(char *out, const uint8_t *p, const uint8_t *end,
                                                const struct text_rules *rules)
{
    struct mark none = {0};
    return put(out, p, end, rules, false, false, &none);
}

/* p of the result: not NULL when a mark was seen. */
static __attribute__((noinline)) struct place put_marked(char *out, const uint8_t *p,
                                                         const uint8_t *end,
                                                         const struct text_rules *rules,
                                                         struct mark mark)
{
    out = put(out, p, end, rules, true, false, &mark);
    return (struct place){out, mark.seen != 0 ? end : NULL};
}

char *text_put_mark(char *out, struct slsr_bytes in, const struct text_rules *rules, char a, char b,
                    uint64_t *seen)
{
    if (in.n == 0)
        return out;
    const uint8_t *p = (const uint8_t *)in.p;
    struct place at =
        put_marked(out, p, p + in.n, rules, (struct mark){true, (uint8_t)a, (uint8_t)b, 0});
    *seen |= at.p != NULL;
    return at.out;
}

void text_set_init(struct text_set *set, const char *bytes, bool own)
{
    memset(set->work, 0, sizeof(set->work));
    memset(set->work, 1, 0x20);
    memset(set->work + 0x7f, 1, 0x81);
    for (; *bytes != '\0'; bytes++)
        set->work[(uint8_t)*bytes] = 2;
    set->own = own;
}

/* One byte of work. */
static char *put_work(char *out, const uint8_t *p, size_t n, const struct text_rules *rules,
                      const struct text_set *set, size_t *used)
{
    char made[TEXT_SLACK];
    if (set->work[*p] == 2) {
        *used = 1;
        *out++ = '\\';
        *out++ = *p == '\n' ? 'n' : *p == '\r' ? 'r' : (char)*p;
        return out;
    }
    if (!set->own)
        return put_one(out, p, n, rules, used);
    char *end = put_one(made, p, n, rules, used);
    for (const char *m = made; m < end; m++) {
        if (*m == '\\')
            *out++ = '\\';
        *out++ = *m;
    }
    return out;
}

char *text_put_set(char *out, struct slsr_bytes in, const struct text_rules *rules,
                   const struct text_set *set)
{
    const uint8_t *p = (const uint8_t *)in.p;
    for (size_t used, left = in.n; left > 0; left -= used, p += used) {
        used = 1;
        if (set->work[*p] == 0)
            *out++ = (char)*p;
        else
            out = put_work(out, p, left, rules, set, &used);
    }
    return out;
}

char *text_put(char *out, struct slsr_bytes in, const struct text_rules *rules)
{
    if (in.n == 0)
        return out;
    const uint8_t *p = (const uint8_t *)in.p, *end = p + in.n;
    if (rules->style == TEXT_LINE)
        return put_line(out, p, end, rules);
    return rules->style == TEXT_JSON ? put_quoted(out, p, end, rules)
                                     : put_seed(out, p, end, rules);
}
