/* Cursor text <-> number, by hand: these run once per log group. */
#include <stdio.h>

#include "base/cursor.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

bool cursor_number(const char *text, uint64_t *number)
{
    uint32_t bits = 0;
    int have = 0;
    int digits = 0;
    uint64_t value = 0;
    size_t n = strlen(text);

    while (n > 0 && text[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        const int six = sextet(text[i]);
        int digit;

        if (six < 0)
            return false;
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        digit = (int)(bits >> have & 0xff) - '0';
        if (digit < 0 || digit > 9 || ++digits > 19)
            return false;
        value = value * 10 + (uint64_t)digit;
    }
    if (digits == 0 || value > INT64_MAX)
        return false;
    *number = value;
    return true;
}

void cursor_text(uint64_t number, char out[SLSR_CURSOR_MAX + 1])
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t used = 0;

    for (int i = 0; i < n; i += 3) {
        const int left = n - i;
        uint32_t bits = (uint32_t)(unsigned char)digits[i] << 16;

        if (left > 1)
            bits |= (uint32_t)(unsigned char)digits[i + 1] << 8;
        if (left > 2)
            bits |= (uint32_t)(unsigned char)digits[i + 2];
        out[used++] = alphabet[bits >> 18 & 63];
        out[used++] = alphabet[bits >> 12 & 63];
        out[used++] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        out[used++] = left > 2 ? alphabet[bits & 63] : '=';
    }
    out[used] = '\0';
}

void cursor_of_group(const char *base, uint32_t group, char out[SLSR_CURSOR_MAX + 1])
{
    uint64_t number;

    if (cursor_number(base, &number))
        cursor_text(number + group, out);
    else
        snprintf(out, SLSR_CURSOR_MAX + 1, "%s", base);
}
