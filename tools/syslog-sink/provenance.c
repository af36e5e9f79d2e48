/* Finds the relay's provenance in a message. HOT: runs once a message.
 *
 * Counts six spaces to STRUCTURED-DATA instead of searching the whole message, then steps over
 * elements by their quotes. Tolerant on the way (strict reading is parse.c's work), exact in what
 * it returns: a provenance that is not complete counts as unreadable, never as a guess. */
#include "provenance.h"

#include <stdbool.h>
#include <string.h>

#include "parse.h"

static const char element_start[] = "[slsRelay@32473";

enum { HEADER_SPACES = 6, CURSOR_DIGITS = 20, CURSOR_TEXT = 32 };

static const char *find_sd(const char *p, const char *end)
{
    if (p == end || *p != '<')
        return NULL;
    for (int i = 0; i < HEADER_SPACES; i++) {
        p = memchr(p, ' ', (size_t)(end - p));
        if (p == NULL)
            return NULL;
        p++;
    }
    return p;
}

/* p stands behind an opening quote; returns the closing one or NULL. */
static const char *value_end(const char *p, const char *end)
{
    for (; p < end && *p != '"'; p++)
        if (*p == '\\' && p + 1 < end)
            p++;
    return p < end ? p : NULL;
}

/* p stands on '['; returns what follows the closing ']' or NULL. */
static const char *element_end(const char *p, const char *end)
{
    for (p++; p < end && *p != ']'; p++) {
        if (*p == '"') {
            p = value_end(p + 1, end);
            if (p == NULL)
                return NULL;
        }
    }
    return p < end ? p + 1 : NULL;
}

/* The raw value of ` name="..."` inside the element at p..end. */
static bool param(const char *p, const char *end, const char *name, struct view *out)
{
    size_t len = strlen(name);

    while (p < end) {
        const char *close = NULL;
        const char *key = memchr(p, ' ', (size_t)(end - p));
        const char *open = key != NULL ? memchr(key, '"', (size_t)(end - key)) : NULL;

        close = open != NULL ? value_end(open + 1, end) : NULL;
        if (close == NULL)
            return false;
        if ((size_t)(open - key) == len + 2 && memcmp(key + 1, name, len) == 0 && open[-1] == '=') {
            *out = (struct view){open + 1, (size_t)(close - open) - 1};
            return true;
        }
        p = close + 1;
    }
    return false;
}

static bool decimal(const char *p, size_t n, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';

        if (digit > 9 || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return n > 0;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool cursor_value(struct view text, uint64_t *out)
{
    char digits[CURSOR_DIGITS];
    size_t n = 0;
    unsigned bits = 0;
    unsigned have = 0;

    while (text.n > 0 && text.p[text.n - 1] == '=')
        text.n--;
    if (text.n > CURSOR_TEXT)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int d = base64_digit(text.p[i]);

        if (d < 0)
            return false;
        bits = (bits << 6 | (unsigned)d) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (n == sizeof digits)
                return false;
            digits[n++] = (char)(bits >> have & 0xff);
        }
    }
    return decimal(digits, n, UINT64_MAX, out);
}

static bool name_param(const char *p, const char *end, const char *key, char *to)
{
    struct view v = {NULL, 0};
    size_t n = 0;

    if (!param(p, end, key, &v))
        return false;
    n = parse_unescape(v, to, PROVENANCE_NAME_MAX);
    if (n >= PROVENANCE_NAME_MAX)
        return false;
    to[n] = '\0';
    return memchr(to, '\0', n) == NULL;
}

static bool read_element(const char *p, const char *end, struct provenance *out)
{
    struct view shard = {NULL, 0};
    struct view cursor = {NULL, 0};
    struct view index = {NULL, 0};
    uint64_t number = 0;

    if (!name_param(p, end, "project", out->project) ||
        !name_param(p, end, "logstore", out->logstore) || !param(p, end, "shard", &shard) ||
        !param(p, end, "cursor", &cursor) || !param(p, end, "index", &index))
        return false;
    if (!decimal(shard.p, shard.n, UINT32_MAX, &number))
        return false;
    out->shard = (uint32_t)number;
    if (!decimal(index.p, index.n, UINT32_MAX, &number))
        return false;
    out->index = (uint32_t)number;
    return cursor_value(cursor, &out->cursor);
}

int provenance_find(const char *p, size_t n, struct provenance *out)
{
    const char *end = p + n;
    const char *at = find_sd(p, end);

    while (at != NULL && at < end && *at == '[') {
        const char *next = element_end(at, end);
        size_t len = sizeof element_start - 1;
        bool ours = (size_t)(end - at) > len && memcmp(at, element_start, len) == 0 &&
                    (at[len] == ' ' || at[len] == ']');

        if (ours)
            return next != NULL && read_element(at + len, next, out) ? 1 : -1;
        at = next;
    }
    return 0;
}
