/* JSON text: see json.h. Runs of plain characters go out in one write. */
#include <math.h>
#include <stdint.h>

#include "common/json.h"
#include "common/text.h"

static void escape(FILE *out, uint32_t code)
{
    switch (code) {
    case '"':
        fputs("\\\"", out);
        break;
    case '\\':
        fputs("\\\\", out);
        break;
    case '\n':
        fputs("\\n", out);
        break;
    case '\r':
        fputs("\\r", out);
        break;
    case '\t':
        fputs("\\t", out);
        break;
    default:
        fprintf(out, "\\u%04x", (unsigned)code);
    }
}

static bool must_escape(uint32_t code)
{
    return code < 0x20 || code == '"' || code == '\\' || (code >= 0x7f && code < 0xa0);
}

void cli_json_string(FILE *out, struct slsr_bytes text)
{
    size_t plain = 0; /* start of the run not yet written */
    size_t i = 0;

    fputc('"', out);
    while (i < text.n) {
        uint32_t code = 0;
        size_t length = cli_text_utf8_next(text.p + i, text.n - i, &code);
        if (length != 0 && !must_escape(code)) {
            i += length;
            continue;
        }
        if (i > plain)
            fwrite(text.p + plain, 1, i - plain, out);
        escape(out, length == 0 ? 0xfffd : code);
        i += length == 0 ? 1 : length;
        plain = i;
    }
    if (i > plain)
        fwrite(text.p + plain, 1, i - plain, out);
    fputc('"', out);
}

void cli_json_base64(FILE *out, struct slsr_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)bytes.p;

    fputc('"', out);
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t left = bytes.n - i;
        uint32_t v = (uint32_t)p[i] << 16;
        if (left > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (left > 2)
            v |= p[i + 2];
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63]};
        if (left < 3)
            four[3] = '=';
        if (left < 2)
            four[2] = '=';
        fwrite(four, 1, sizeof(four), out);
    }
    fputc('"', out);
}

void cli_json_real(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, "%.3f", value);
    else
        fputs("null", out);
}
