/* Bytes of a log -> bytes of a message. HOT. Pure; any thread.
 *
 * What the rules do (the sign of a body that may stand in any log file):
 *   newline  escape  LF, CR, TAB become \n, \r, \t (a backslash and a letter)
 *            keep    LF, CR, TAB stay
 *            space   CR LF, CR, LF and TAB become one space
 *   other controls (00..1f, 7f) become \xHH, lower case: no NUL, no terminal sequence gets through
 *   invalid UTF-8 (overlong, surrogate, beyond U+10FFFF and truncated forms are invalid)
 *            replace U+FFFD per maximal subpart (Unicode 15 3.9, the W3C's practice)
 *            escape  \xHH per byte
 *            drop    the byte disappears
 *            keep    stays as it is
 * A backslash stays as it is: paths remain readable, and the line is safe either way.
 * In JSON strings controls, `"` and `\` are written as JSON wants them, whatever `newline` says. */
#ifndef FORMAT_ESCAPE_H
#define FORMAT_ESCAPE_H

#include "slsrelay/config.h"
#include "slsrelay/types.h"

enum text_style {
    TEXT_LINE, /* the rules above */
    TEXT_SEED, /* controls untouched */
    TEXT_JSON  /* inside a JSON string */
};

struct text_rules {
    enum text_style style;
    enum slsr_newline newline;
    enum slsr_utf8 utf8;
};

/* Output is at most TEXT_GROWTH * n bytes (\u00XX for one byte); up to TEXT_SLACK more may be
 * scribbled on. */
enum { TEXT_GROWTH = 6, TEXT_SLACK = 16 };

/* Like text_put for TEXT_LINE; *seen becomes non-zero when the byte a or b (printable ASCII, may be
 * equal) was copied, and may become so when it was not. */
char *text_put_mark(char *out, struct slsr_bytes in, const struct text_rules *rules, char a, char b,
                    uint64_t *seen);

/* Bytes that get a backslash in front in some format; LF and CR become \n and \r. */
struct text_set {
    bool own; /* a backslash that the rules make gets one, too: the reader takes them off */
    uint8_t work[256]; /* 0 copied, 1 by the rules, 2 in the set */
};
void text_set_init(struct text_set *set, const char *bytes, bool own);
/* The rules of TEXT_LINE, and the set on top. At most TEXT_GROWTH * n. */
char *text_put_set(char *out, struct slsr_bytes in, const struct text_rules *rules,
                   const struct text_set *set);
/* A cut <= n near n that does not split a character, n when the text around it is no UTF-8. */
size_t text_cut(const char *text, size_t n);
/* Writes `in` by the rules, returns the end. */
char *text_put(char *out, struct slsr_bytes in, const struct text_rules *rules);
/* The same, one byte at a time: the oracle of the tests. */
char *text_put_plain(char *out, struct slsr_bytes in, const struct text_rules *rules);
/* Length of the well-formed UTF-8 sequence at p (1..4), or minus the length of the maximal subpart
 * that is none (-1..-3). n >= 1. */
int utf8_length(const uint8_t *p, size_t n);
/* True when all of it is well-formed. */
bool utf8_valid(struct slsr_bytes text);

#endif
