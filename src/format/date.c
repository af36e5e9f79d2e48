/* `${name|date:FORMAT}`: a number of seconds since 1970 as a date in format.time_zone.
 *
 * Own conversions instead of strftime(): no locale, no TZ of the process, a checked format. */
#include "format/escape.h"
#include "format/template.h"

/* The longest conversion writes 11 bytes for two of format; RFC 3339 with nanoseconds 35. */
size_t date_max(size_t n)
{
    return n * 12 + 64;
}

static const char conversions[] = "YmdHMSTFLfNszbeaj%";

bool date_format_valid(struct slsr_bytes format, size_t *column)
{
    for (size_t i = 0; i < format.n; i++)
        if (format.p[i] == '%') {
            *column = i;
            if (++i == format.n || format.p[i] == '\0' || strchr(conversions, format.p[i]) == NULL)
                return false;
        }
    return true;
}

struct instant {
    int64_t s;
    uint32_t ns;
    int32_t offset;
    struct civil c;
};

/* Digits, a point and more digits. Whole numbers of more than 11 digits are ms, of more than 14 us,
 * of more than 17 ns: seconds of that size are far behind the year 5000. */
static bool parse(struct slsr_bytes v, struct instant *t)
{
    uint64_t whole = 0;
    size_t i = 0;
    bool minus = v.n > 0 && v.p[0] == '-';
    for (i = minus; i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && i < 20; i++)
        whole = whole * 10 + (uint64_t)(v.p[i] - '0');
    size_t n = i - minus;
    if (n == 0 || n > 19 || whole > INT64_MAX)
        return false;
    uint32_t per_s = n > 17 ? 1000000000 : n > 14 ? 1000000 : n > 11 ? 1000 : 1;
    t->s = (int64_t)(whole / per_s);
    t->ns = (uint32_t)(whole % per_s) * (1000000000 / per_s);
    if (i < v.n && v.p[i] == '.' && per_s == 1) {
        uint32_t unit = 100000000;
        for (i++; i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++, unit /= 10)
            t->ns += (uint32_t)(v.p[i] - '0') * unit;
    }
    if (minus)
        t->s = -t->s - (t->ns != 0);
    if (minus && t->ns != 0)
        t->ns = 1000000000 - t->ns;
    return i == v.n && t->s > -62135596800 && t->s < 253402214400;
}

static char *put_digits(char *out, int64_t n, int width)
{
    for (int i = width; i-- > 0; n /= 10)
        out[i] = (char)('0' + n % 10);
    return out + width;
}

static char *put_zone(char *out, int32_t offset, bool colon)
{
    int32_t minutes = (offset < 0 ? -offset : offset) / 60;
    *out++ = offset < 0 ? '-' : '+';
    out = put_digits(out, minutes / 60, 2);
    if (colon)
        *out++ = ':';
    return put_digits(out, minutes % 60, 2);
}

static char *put_clock(char *out, const struct civil *c)
{
    out = put_digits(out, c->hour, 2);
    *out++ = ':';
    out = put_digits(out, c->minute, 2);
    *out++ = ':';
    return put_digits(out, c->second, 2);
}

static char *put_day(char *out, const struct civil *c)
{
    out = put_digits(out, c->year, 4);
    *out++ = '-';
    out = put_digits(out, c->month, 2);
    *out++ = '-';
    return put_digits(out, c->day, 2);
}

static char *put_seconds(char *out, int64_t s)
{
    if (s < 0) {
        *out++ = '-';
        s = -s;
    }
    int width = 1;
    for (int64_t n = s; n > 9; n /= 10)
        width++;
    return put_digits(out, s, width);
}

static char *put_name(char *out, const char *names, int number)
{
    memcpy(out, names + 3 * number, 3);
    return out + 3;
}

static char *convert(char *out, char what, const struct instant *t)
{
    const struct civil *c = &t->c;
    int64_t days = civil_days(c->year, c->month, c->day);
    switch (what) {
    case 'Y':
        return put_digits(out, c->year, 4);
    case 'm':
        return put_digits(out, c->month, 2);
    case 'd':
        return put_digits(out, c->day, 2);
    case 'e':
        out = put_digits(out, c->day, 2);
        if (out[-2] == '0')
            out[-2] = ' ';
        return out;
    case 'H':
        return put_digits(out, c->hour, 2);
    case 'M':
        return put_digits(out, c->minute, 2);
    case 'S':
        return put_digits(out, c->second, 2);
    case 'T':
        return put_clock(out, c);
    case 'F':
        return put_day(out, c);
    case 'L':
        return put_digits(out, t->ns / 1000000, 3);
    case 'f':
        return put_digits(out, t->ns / 1000, 6);
    case 'N':
        return put_digits(out, t->ns, 9);
    case 's':
        return put_seconds(out, t->s);
    case 'z':
        return put_zone(out, t->offset, false);
    case 'b':
        return put_name(out, "JanFebMarAprMayJunJulAugSepOctNovDec", c->month - 1);
    case 'a':
        return put_name(out, "SunMonTueWedThuFriSat", (int)(((days + 4) % 7 + 7) % 7));
    case 'j':
        return put_digits(out, days - civil_days(c->year, 1, 1) + 1, 3);
    default:
        *out = '%';
        return out + 1;
    }
}

static char *put_rfc3339(char *out, const struct instant *t)
{
    out = put_day(out, &t->c);
    *out++ = 'T';
    out = put_clock(out, &t->c);
    if (t->ns != 0) {
        *out++ = '.';
        out = put_digits(out, t->ns / 1000, 6);
    }
    if (t->offset != 0)
        return put_zone(out, t->offset, true);
    *out++ = 'Z';
    return out;
}

bool date_put(struct text_buf *out, struct slsr_bytes value, struct slsr_bytes format,
              const struct zone *zone)
{
    struct instant t = {0};
    if (!parse(value, &t))
        return false;
    t.offset = zone_offset(zone, t.s);
    t.offset -= t.offset % 60;
    t.c = civil_of(t.s + t.offset);
    char *p = out->p + out->n;
    if (format.n == 0)
        p = put_rfc3339(p, &t);
    for (size_t i = 0; i < format.n; i++)
        if (format.p[i] == '%')
            p = convert(p, format.p[++i], &t);
        else
            *p++ = format.p[i];
    out->n = (size_t)(p - out->p);
    return true;
}
