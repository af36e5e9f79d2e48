/* Text for people: see text.h. Nothing here can fail; a time out of range shows as its number. */
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "common/text.h"

size_t cli_text_columns(int fd)
{
    struct winsize size = {0};

    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void cli_text_size(char out[TEXT_SMALL], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(out, TEXT_SMALL, "%" PRIu64 " B", bytes);
    else
        snprintf(out, TEXT_SMALL, "%.1f %s", value, units[unit]);
}

void cli_text_count(char out[TEXT_SMALL], uint64_t count)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
    double value = (double)count;
    size_t unit = 0;

    if (count < 10000) {
        snprintf(out, TEXT_SMALL, "%" PRIu64, count);
        return;
    }
    while (value >= 999.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    snprintf(out, TEXT_SMALL, "%.1f %s", value, units[unit]);
}

void cli_text_duration(char out[TEXT_SMALL], int64_t s)
{
    if (s < 0)
        s = 0;
    if (s < 60)
        snprintf(out, TEXT_SMALL, "%" PRId64 " s", s);
    else if (s < 3600)
        snprintf(out, TEXT_SMALL, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, TEXT_SMALL, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(out, TEXT_SMALL, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
}

void cli_text_time_utc(char out[TEXT_SMALL], int64_t s, uint32_t ns, int digits)
{
    time_t seconds = (time_t)s;
    struct tm tm;
    char fraction[16];

    if (gmtime_r(&seconds, &tm) == NULL || strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        snprintf(out, TEXT_SMALL, "@%" PRId64, s);
        return;
    }
    size_t n = strlen(out);
    if (digits > 0) {
        snprintf(fraction, sizeof(fraction), "%09" PRIu32, ns % 1000000000U);
        n += (size_t)snprintf(out + n, TEXT_SMALL - n, ".%.*s", digits, fraction);
    }
    snprintf(out + n, TEXT_SMALL - n, "Z");
}

void cli_text_time_local(char out[TEXT_SMALL], int64_t s, uint32_t ns)
{
    time_t seconds = (time_t)s;
    struct tm tm;

    if (localtime_r(&seconds, &tm) == NULL || strftime(out, 24, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        snprintf(out, TEXT_SMALL, "@%" PRId64, s);
        return;
    }
    size_t n = strlen(out);
    snprintf(out + n, TEXT_SMALL - n, ".%03" PRIu32, ns / 1000000U);
}

size_t cli_text_utf8_next(const char *p, size_t n, uint32_t *code)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t length;
    uint32_t value;
    uint32_t least;

    if (n == 0)
        return 0;
    if (u[0] < 0x80) {
        *code = u[0];
        return 1;
    }
    if ((u[0] & 0xe0) == 0xc0) {
        length = 2, value = u[0] & 0x1fU, least = 0x80;
    } else if ((u[0] & 0xf0) == 0xe0) {
        length = 3, value = u[0] & 0x0fU, least = 0x800;
    } else if ((u[0] & 0xf8) == 0xf0) {
        length = 4, value = u[0] & 0x07U, least = 0x10000;
    } else {
        return 0;
    }
    if (length > n)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (u[i] & 0x3fU);
    }
    if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return length;
}

bool cli_text_is_utf8(struct slsr_bytes text)
{
    for (size_t i = 0; i < text.n;) {
        uint32_t code;
        size_t length = cli_text_utf8_next(text.p + i, text.n - i, &code);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* Characters that reorder what is shown: an audit message must not be able to hide its end. */
static bool turns_direction(uint32_t code)
{
    return code == 0x200e || code == 0x200f || code == 0x061c ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* Writes one character or its escape; returns its bytes in the text. */
static size_t escape_one(FILE *out, const char *p, size_t n, size_t *columns)
{
    uint32_t code = 0;
    size_t length = cli_text_utf8_next(p, n, &code);
    int written = 1;

    if (length == 0) {
        written = fprintf(out, "\\x%02x", (unsigned char)p[0]);
        length = 1;
    } else if (code == '\n') {
        written = fprintf(out, "\\n");
    } else if (code == '\r') {
        written = fprintf(out, "\\r");
    } else if (code == '\t') {
        written = fprintf(out, "\\t");
    } else if (code < 0x20 || code == 0x7f) {
        written = fprintf(out, "\\x%02x", (unsigned)code);
    } else if ((code >= 0x80 && code < 0xa0) || turns_direction(code) || code == 0x2028 ||
               code == 0x2029) {
        written = fprintf(out, "\\u%04x", (unsigned)code);
    } else {
        fwrite(p, 1, length, out);
    }
    *columns += written > 0 ? (size_t)written : 0;
    return length;
}

void cli_text_escape(FILE *out, struct slsr_bytes text, size_t max_columns)
{
    size_t columns = 0;

    for (size_t i = 0; i < text.n;) {
        if (max_columns != 0 && columns >= max_columns) {
            fputs("...", out);
            return;
        }
        i += escape_one(out, text.p + i, text.n - i, &columns);
    }
}
