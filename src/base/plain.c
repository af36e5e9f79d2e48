/* Text from outside: see slsrelay/plain.h. */
#include "slsrelay/plain.h"

#include <string.h>

/* Length of the well-formed UTF-8 sequence of more than one byte at p; 0: none. */
static size_t sequence(const unsigned char *p)
{
    const size_t n = p[0] < 0xc3 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

const char *slsr_plain(char *out, size_t size, const char *text)
{
    size_t used = 0;

    while (*text != '\0') {
        const size_t n = sequence((const unsigned char *)text);

        if (used + (n > 0 ? n : 1) >= size)
            break;
        if (n > 0)
            memcpy(out + used, text, n);
        else
            out[used] = *text >= 0x20 && *text < 0x7f ? *text : '?';
        used += n > 0 ? n : 1;
        text += n > 0 ? n : 1;
    }
    out[used] = '\0';
    return out;
}
