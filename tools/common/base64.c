/* Base64 back to bytes; strict: padding where it belongs, nothing else. */
#include "common/base64.h"

#include <stdint.h>

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool cli_base64_decode(const char *text, size_t n, char *out, size_t *out_n)
{
    size_t used = 0;

    if (n % 4 != 0)
        return false;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t three = 0;
        size_t pad = 0;

        for (size_t j = 0; j < 4; j++) {
            const int value = value_of(text[i + j]);
            if (value < 0) {
                if (text[i + j] != '=' || i + 4 != n || j < 2)
                    return false;
                pad++;
            } else if (pad > 0) {
                return false;
            }
            three = three << 6 | (uint32_t)(value < 0 ? 0 : value);
        }
        for (size_t j = 0; j < 3 - pad; j++)
            out[used++] = (char)(three >> (16 - 8 * j) & 0xff);
    }
    *out_n = used;
    return true;
}
