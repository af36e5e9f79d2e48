/* JSON by hand: see json.h. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/json.h"

/* Length of the well-formed UTF-8 sequence at p (NUL-terminated), 0 when there is none. */
static size_t utf8_length(const unsigned char *p)
{
    const size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (n == 0 || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

void json_put_string(FILE *out, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    fputc('"', out);
    while (*p != '\0') {
        const size_t n = utf8_length(p);

        if (n == 0)
            fputs("\\ufffd", out);
        else if (*p < 0x20 || *p == 0x7f || *p == '<')
            fprintf(out, "\\u%04x", *p);
        else if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else
            fwrite(p, 1, n, out);
        p += n == 0 ? 1 : n;
    }
    fputc('"', out);
}

void json_put_number(FILE *out, const char *name, int64_t value)
{
    if (value >= 0)
        fprintf(out, ",\"%s\":%" PRId64, name, value);
    else
        fprintf(out, ",\"%s\":null", name);
}

void json_put_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, ",\"%s\":", name);
    if (text[0] == '\0')
        fputs("null", out);
    else
        json_put_string(out, text);
}

void json_put_real(FILE *out, double value)
{
    fprintf(out, "%.10g", isfinite(value) ? round(value * 1000) / 1000 : 0);
}
