/* Reading RELP (the server's side of it).
 *
 * Frames may be cut anywhere by the network: nothing is taken before it is whole. What can go
 * wrong: bytes that are no RELP; the header is bounded, so that a stream of digits is not waited
 * for. */
#include "transport/relp_frame.h"

#include <string.h>

struct reader {
    const char *p;
    size_t n, at;
    bool bad;
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number of at most `digits` digits; ends before the byte behind it, which must be there. */
static bool take_number(struct reader *r, size_t digits, uint32_t *out)
{
    size_t start = r->at;
    uint32_t v = 0;

    while (r->at < r->n && digit(r->p[r->at]) && r->at - start < digits)
        v = v * 10 + (uint32_t)(r->p[r->at++] - '0');
    if (r->at == r->n)
        return false;
    if (r->at == start || digit(r->p[r->at]))
        r->bad = true;
    *out = v;
    return !r->bad;
}

static bool take_byte(struct reader *r, char c)
{
    if (r->at == r->n)
        return false;
    if (r->p[r->at] != c) {
        r->bad = true;
        return false;
    }
    r->at++;
    return true;
}

static bool take_command(struct reader *r, struct slsr_bytes *out)
{
    size_t start = r->at;

    while (r->at < r->n && r->p[r->at] >= 'a' && r->p[r->at] <= 'z' && r->at - start < 32)
        r->at++;
    if (r->at == r->n)
        return false;
    *out = (struct slsr_bytes){r->p + start, r->at - start};
    r->bad = r->at == start || r->p[r->at] != ' ';
    return !r->bad;
}

long relp_frame_next(const char *p, size_t n, struct relp_frame *out)
{
    struct reader r = {p, n, 0, false};
    uint32_t size = 0;

    memset(out, 0, sizeof *out);
    if (!take_number(&r, 9, &out->txnr) || !take_byte(&r, ' ') ||
        !take_command(&r, &out->command) || !take_byte(&r, ' ') || !take_number(&r, 9, &size))
        return r.bad || r.at >= RELP_HEADER_MAX ? -1 : 0;
    if (size > RELP_DATA_MAX)
        return -1;
    /* Some servers put the space even where no data follows. */
    if (size > 0 || p[r.at] == ' ') {
        if (!take_byte(&r, ' '))
            return r.bad ? -1 : 0;
    }
    if (n - r.at < (size_t)size + 1)
        return 0;
    out->data = (struct slsr_bytes){p + r.at, size};
    r.at += size;
    if (p[r.at] != '\n')
        return -1;
    return (long)(r.at + 1);
}

int relp_status(struct slsr_bytes data)
{
    if (data.n < 3 || !digit(data.p[0]) || !digit(data.p[1]) || !digit(data.p[2]) ||
        (data.n > 3 && data.p[3] != ' ' && data.p[3] != '\n'))
        return -1;
    return (data.p[0] - '0') * 100 + (data.p[1] - '0') * 10 + (data.p[2] - '0');
}

bool relp_offers(struct slsr_bytes data, const char *command)
{
    static const char key[] = "commands=";
    size_t want = strlen(command), at = 0;

    while (at < data.n) {
        const char *line = data.p + at;
        const char *end = memchr(line, '\n', data.n - at);
        size_t n = end != NULL ? (size_t)(end - line) : data.n - at;

        at += n + 1;
        if (n < sizeof key - 1 || memcmp(line, key, sizeof key - 1) != 0)
            continue;
        for (size_t i = sizeof key - 1; i < n;) {
            const char *comma = memchr(line + i, ',', n - i);
            size_t word = comma != NULL ? (size_t)(comma - line) - i : n - i;

            if (word == want && memcmp(line + i, command, want) == 0)
                return true;
            i += word + 1;
        }
    }
    return false;
}
