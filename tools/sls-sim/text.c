/* Text forms of the SLS API, see text.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/evp.h>

#include "text.h"

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool text_unescape(char *text, bool form)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '%') {
            int high = digit(from[1]);
            int low = high < 0 ? -1 : digit(from[2]);

            if (low < 0 || (high == 0 && low == 0))
                return false;
            *to++ = (char)(high * 16 + low);
            from += 2;
        } else {
            *to++ = form && *from == '+' ? ' ' : *from;
        }
    }
    *to = '\0';
    return true;
}

void text_escape(struct buf *out, const char *text)
{
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";

    for (; *text != '\0'; text++) {
        if (strchr(bare, *text) != NULL)
            buf_byte(out, (unsigned char)*text);
        else
            buf_printf(out, "%%%02X", (unsigned char)*text);
    }
}

void text_hex(char *out, const uint8_t *data, size_t n, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
}

bool text_unhex(const char *text, uint8_t *out, size_t n)
{
    if (strlen(text) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]);
        int low = digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

bool text_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        unsigned d = (unsigned)(*text - '0');

        if (*text < '0' || *text > '9' || value > (max - d) / 10 || d > max)
            return false;
        value = value * 10 + d;
    }
    *out = value;
    return true;
}

void cursor_encode(uint64_t number, char out[CURSOR_TEXT_MAX])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);

    EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)digits, n);
}

/* Decodes base64 with or without padding. Returns the length or -1; room must hold 3/4 of it. */
static int base64_decode(const char *text, unsigned char *out, size_t room)
{
    char padded[256];
    size_t n = strlen(text);
    size_t pad = 0;
    int got;

    if (n == 0 || n + 4 > sizeof padded)
        return -1;
    if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") +
            strspn(text + strcspn(text, "="), "=") !=
        n)
        return -1;
    memcpy(padded, text, n);
    while (n > 0 && padded[n - 1] == '=')
        n--;
    if (n % 4 == 1 || n == 0)
        return -1;
    while ((n + pad) % 4 != 0)
        padded[n + pad++] = '=';
    padded[n + pad] = '\0';
    if (strlen(text) > n + pad || (n + pad) / 4 * 3 > room)
        return -1;
    got = EVP_DecodeBlock(out, (const unsigned char *)padded, (int)(n + pad));
    return got < 0 ? -1 : got - (int)pad;
}

bool text_is_base64(const char *text)
{
    unsigned char bytes[256];

    return base64_decode(text, bytes, sizeof bytes) >= 0;
}

bool cursor_decode(const char *text, uint64_t *number)
{
    unsigned char bytes[256];
    int n = base64_decode(text, bytes, sizeof bytes - 1);

    if (n < 0)
        return false;
    bytes[n] = '\0';
    return strlen((char *)bytes) == (size_t)n && text_number((char *)bytes, UINT64_MAX, number);
}

void date_http(int64_t time_s, char out[DATE_TEXT_MAX])
{
    time_t t = (time_t)time_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    snprintf(out, DATE_TEXT_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
}

static bool date_make(int year, int month, int day, const int clock[3], int64_t *time_s)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month,
                    .tm_mday = day,
                    .tm_hour = clock[0],
                    .tm_min = clock[1],
                    .tm_sec = clock[2]};

    if (year < 1970 || year > 9999 || month < 0 || month > 11 || day < 1 || day > 31 ||
        clock[0] > 23 || clock[1] > 59 || clock[2] > 60)
        return false;
    *time_s = (int64_t)timegm(&tm);
    return true;
}

bool date_parse_http(const char *text, int64_t *time_s)
{
    char month[4] = "";
    char zone[4] = "";
    int day, year, clock[3], end = 0, m = 0;

    /* The name of the day is not compared: the official clients never disagree with the date. */
    if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3[A-Z]%n", &day, month, &year,
               &clock[0], &clock[1], &clock[2], zone, &end) != 7 ||
        text[end] != '\0' || strcmp(zone, "GMT") != 0)
        return false;
    while (m < 12 && strcmp(month, months[m]) != 0)
        m++;
    for (int i = 0; i < 3; i++) {
        if (clock[i] < 0)
            return false;
    }
    return date_make(year, m, day, clock, time_s);
}

bool date_parse_basic(const char *text, int64_t *time_s)
{
    int v[16];
    int clock[3];

    if (strlen(text) != 16 || text[8] != 'T' || text[15] != 'Z')
        return false;
    for (int i = 0; i < 15; i++) {
        v[i] = text[i] - '0';
        if (i != 8 && (v[i] < 0 || v[i] > 9))
            return false;
    }
    clock[0] = v[9] * 10 + v[10];
    clock[1] = v[11] * 10 + v[12];
    clock[2] = v[13] * 10 + v[14];
    return date_make(v[0] * 1000 + v[1] * 100 + v[2] * 10 + v[3], v[4] * 10 + v[5] - 1,
                     v[6] * 10 + v[7], clock, time_s);
}
