/* The rarest-looking text that every match of a pattern must contain, so that whole chunks without
 * it are passed by memmem alone.
 *
 * Good path: a run of plain characters outside of any group, none of them optional. When in doubt
 * (alternatives, inline options, \Q, case folding) there is no such text and every frame is asked.
 */
#include <ctype.h>
#include <string.h>

#include "literal.h"

/* Behind a class or a group: where it ends; 0: not closed, or not understood. */
static size_t skip_class(const char *p, size_t i)
{
    i++;
    if (p[i] == '^')
        i++;
    if (p[i] == ']')
        i++;
    for (; p[i] != '\0' && p[i] != ']'; i++) {
        if (p[i] == '\\' && p[i + 1] != '\0')
            i++;
        else if (p[i] == '[' && (p[i + 1] == ':' || p[i + 1] == '.' || p[i + 1] == '='))
            return 0;
    }
    return p[i] == ']' ? i + 1 : 0;
}

static size_t skip_group(const char *p, size_t i)
{
    int depth = 0;

    while (p[i] != '\0') {
        if (p[i] == '\\') {
            if (p[i + 1] == '\0' || p[i + 1] == 'Q' || p[i + 1] == 'E')
                return 0;
            i += 2;
        } else if (p[i] == '[') {
            i = skip_class(p, i);
            if (i == 0)
                return 0;
        } else {
            if (p[i] == '(') {
                if (p[i + 1] == '*' || (p[i + 1] == '?' && p[i + 2] != ':'))
                    return 0; /* options, look-arounds, verbs: not worth the risk */
                depth++;
            }
            if (p[i] == ')' && --depth == 0)
                return i + 1;
            i++;
        }
    }
    return 0;
}

/* The longer of the two; a digit counts twice, for numbers are rarer in logs than names. */
static size_t weight(const char *p, size_t n)
{
    size_t sum = n;

    for (size_t i = 0; i < n; i++)
        sum += isdigit((unsigned char)p[i]) != 0;
    return sum;
}

static size_t keep(char *best, size_t best_n, const char *run, size_t n)
{
    if (weight(run, n) <= weight(best, best_n))
        return best_n;
    memcpy(best, run, n);
    return n;
}

size_t literal_of(const char *p, char out[LITERAL_MAX])
{
    char run[LITERAL_MAX];
    size_t n = 0;
    size_t best = 0;

    for (size_t i = 0; p[i] != '\0';) {
        char c = p[i];
        size_t next = i + 1;
        bool plain = true;

        if (c == '|' || c == ')' || c == '*' || c == '+' || c == '?')
            return 0; /* an alternative, or a quantifier where none can be */
        if (c == '\\') {
            if (p[i + 1] == '\0' || p[i + 1] == 'Q' || p[i + 1] == 'E')
                return 0;
            plain = ispunct((unsigned char)p[i + 1]) != 0; /* \. is a dot, \d is a class */
            if (!plain && strchr("dDsSwWbBAzZGhHvVR", p[i + 1]) == NULL)
                return 0; /* \x41, \1, \p{..}: with arguments of their own */
            c = p[i + 1];
            next = i + 2;
        } else if (c == '[') {
            next = skip_class(p, i);
            plain = false;
        } else if (c == '(') {
            next = skip_group(p, i);
            plain = false;
        } else if (c == '.' || c == '^' || c == '$') {
            plain = false;
        }
        if (next == 0)
            return 0;
        while (plain && ((unsigned char)c & 0xc0) == 0xc0 &&
               ((unsigned char)p[next] & 0xc0) == 0x80)
            next++;             /* one character of several bytes is quantified as one */
        const char q = p[next]; /* a quantifier? It may make what is in front of it optional */
        const size_t bytes = plain && p[i] != '\\' ? next - i : 1;
        const bool fits = n + bytes <= LITERAL_MAX;
        if (plain && fits && (q == '+' || (q != '*' && q != '?' && q != '{'))) {
            memcpy(run + n, p + next - bytes, bytes);
            n += bytes;
        }
        if (!plain || !fits || q == '*' || q == '?' || q == '{' || q == '+') {
            best = keep(out, best, run, n);
            n = 0;
        }
        if (q == '{') {
            const char *end = strchr(p + next, '}');
            if (end == NULL)
                return 0;
            next = (size_t)(end - p) + 1;
        } else if (q == '*' || q == '+' || q == '?') {
            next++;
        }
        while (next > i + 1 && (p[next] == '+' || p[next] == '?') &&
               (q == '*' || q == '+' || q == '?' || q == '{'))
            next++; /* lazy, possessive */
        i = next;
    }
    return keep(out, best, run, n);
}
