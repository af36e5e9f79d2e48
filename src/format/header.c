/* RFC 5424 and RFC 3164 headers, the seed's timestamp, and the provenance element. HOT
 * (tests/bench/bench_format.c "format"): the text up to the second changes once a second, the
 * provenance up to its index once a group; both are kept. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "format/plan.h"

enum { DAY_S = 86400 };

int text_more(struct text_buf *text, size_t n, struct slsr_err *err)
{
    size_t need = text->n + n + TEXT_SLACK;
    if (need <= text->size)
        return 0;
    size_t size = text->size < 256 ? 256 : text->size;
    while (size < need)
        size *= 2;
    char *p = realloc(text->p, size);
    if (p == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for %zu bytes of one log or group", size);
    text->p = p;
    text->size = size;
    return 0;
}

int text_reserve(struct text_buf *text, size_t n, struct slsr_err *err)
{
    text->n = 0;
    return text_more(text, n, err);
}

char *put_number(char *out, uint32_t n)
{
    char digits[10];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    memcpy(out, digits + i, sizeof(digits) - i);
    return out + sizeof(digits) - i;
}

static char *put_two(char *out, int n)
{
    out[0] = (char)('0' + n / 10 % 10);
    out[1] = (char)('0' + n % 10);
    return out + 2;
}

/* 2025-01-02T11:04:05 */
static char *put_iso(char *out, const struct civil *c)
{
    out = put_two(out, (int)(c->year / 100));
    out = put_two(out, (int)(c->year % 100));
    *out++ = '-';
    out = put_two(out, c->month);
    *out++ = '-';
    out = put_two(out, c->day);
    *out++ = 'T';
    out = put_two(out, c->hour);
    *out++ = ':';
    out = put_two(out, c->minute);
    *out++ = ':';
    return put_two(out, c->second);
}

/* RFC 3164: "Feb  5 17:32:18", English in every locale. */
static char *put_bsd(char *out, const struct civil *c)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    memcpy(out, months + 3 * (c->month - 1), 3);
    out[3] = ' ';
    put_two(out + 4, c->day);
    if (out[4] == '0')
        out[4] = ' ';
    out[6] = ' ';
    out = put_two(out + 7, c->hour);
    *out++ = ':';
    out = put_two(out, c->minute);
    *out++ = ':';
    return put_two(out, c->second);
}

/* "Z" or "+05:45"; the offset is whole minutes. */
static size_t rfc_suffix(char *out, int32_t offset)
{
    if (offset == 0) {
        out[0] = 'Z';
        return 1;
    }
    int minutes = (offset < 0 ? -offset : offset) / 60;
    out[0] = offset < 0 ? '-' : '+';
    put_two(out + 1, minutes / 60);
    out[3] = ':';
    put_two(out + 4, minutes % 60);
    return 6;
}

/* The sample takes today's offset (not that of the log's date), as local clock minus UTC clock read
 * one after the other: a few microseconds short of the truth, so one whole second less; of that the
 * seconds within a day, to the nearest hour. Hence +2400 for UTC and +1900 for New York. */
static size_t seed_suffix(const struct zone *zone, char *out)
{
    int32_t offset = zone_offset(zone, clock_wall_ms() / 1000);
    int32_t within = ((offset - 1) % DAY_S + DAY_S) % DAY_S;
    out[0] = '+';
    put_two(out + 1, (within + 1800) / 3600);
    out[3] = '0';
    out[4] = '0';
    return 5;
}

static void renew_stamp(struct format_plan *plan, int64_t time_s)
{
    int32_t offset = zone_offset(plan->zone, time_s);
    char *p = plan->stamp;

    plan->stamp_s = time_s;
    plan->stamp_known = true;
    if (plan->protocol == SLSR_RFC5424 && plan->fraction == SLSR_FRACTION_NIL) {
        *p = '-';
        plan->stamp_n = 1;
        plan->suffix_n = 0;
        return;
    }
    if (plan->protocol == SLSR_RFC5424)
        offset -= offset % 60; /* RFC 5424 has no seconds in an offset (zones before 1972) */
    struct civil c = civil_of(time_s + offset);
    p = plan->protocol == SLSR_RFC3164 ? put_bsd(p, &c) : put_iso(p, &c);
    plan->stamp_n = (size_t)(p - plan->stamp);
    plan->suffix_n = plan->protocol == SLSR_RFC3164   ? 0
                     : plan->protocol == SLSR_RFC5424 ? rfc_suffix(plan->suffix, offset)
                                                      : seed_suffix(plan->zone, plan->suffix);
}

/* Cut, never rounded. */
static char *put_fraction(char *out, uint32_t time_ns, unsigned digits)
{
    uint32_t micros = time_ns / 1000;
    *out++ = '.';
    for (uint32_t unit = 100000; digits > 0; unit /= 10, digits--)
        *out++ = (char)('0' + micros / unit % 10);
    return out;
}

static unsigned fraction_digits(const struct format_plan *plan, uint32_t time_ns)
{
    if (plan->protocol == SLSR_SEED)
        return 6;
    if (plan->protocol == SLSR_RFC3164 || plan->fraction == SLSR_FRACTION_NIL)
        return 0;
    if (plan->fraction == SLSR_FRACTION_AUTO)
        return time_ns != 0 ? 6 : 0;
    return (unsigned)(plan->fraction - SLSR_FRACTION_0);
}

size_t header_max(const struct format_plan *plan)
{
    return PRI_MAX + STAMP_MAX + 8 + SUFFIX_MAX + plan->names.n + plan->sd_group.n + 16 +
           plan->sd_own.n + sizeof(plan->lead_in);
}

char *header_put(struct format_plan *plan, char *out, int64_t time_s, uint32_t time_ns,
                 uint32_t index)
{
    if (!plan->stamp_known || plan->stamp_s != time_s)
        renew_stamp(plan, time_s);
    memcpy(out, plan->pri, PRI_MAX);
    out += plan->pri_n;
    memcpy(out, plan->stamp, 32); /* the longest has 19 bytes */
    out += plan->stamp_n;
    unsigned digits = fraction_digits(plan, time_ns);
    if (digits > 0) /* the sample never uses the nanoseconds here */
        out = put_fraction(out, plan->protocol == SLSR_SEED ? 0 : time_ns, digits);
    memcpy(out, plan->suffix, SUFFIX_MAX);
    out += plan->suffix_n;
    memcpy(out, plan->names.p, plan->names.n);
    out += plan->names.n;
    if (plan->sd != NULL) {
        memcpy(out, plan->sd_group.p, plan->sd_group.n);
        out = put_number(out + plan->sd_group.n, index);
        memcpy(out, "\"]", 2);
        out += 2;
    }
    if (plan->sd_own.n > 0)
        memcpy(out, plan->sd_own.p, plan->sd_own.n);
    return out + plan->sd_own.n;
}

int header_group(struct format_plan *plan, const char *cursor, struct slsr_err *err)
{
    static const char index[] = "\" index=\"";
    if (plan->sd == NULL)
        return 0;
    int rc = text_reserve(&plan->sd_group, plan->sd_n + 2 * strlen(cursor) + sizeof(index), err);
    if (rc != 0)
        return rc;
    char *p = plan->sd_group.p;
    memcpy(p, plan->sd, plan->sd_n);
    p += plan->sd_n;
    for (const char *c = cursor; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\' || *c == ']')
            *p++ = '\\';
        *p++ = *c;
    }
    memcpy(p, index, sizeof(index) - 1);
    plan->sd_group.n = (size_t)(p + sizeof(index) - 1 - plan->sd_group.p);
    return 0;
}
