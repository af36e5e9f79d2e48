/* Durations, sizes, points in time and addresses from text. Pure.
 *
 * Everything is read by hand and with ranges: strtod and strptime depend on the locale and accept
 * more than we mean. A result that does not fit is "not a duration", never a wrapped number. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* text is NUMBER[.FRACTION][UNIT]; *out = number times the unit's factor. The first unit has the
 * empty name. */
static bool parse_scaled(const char *text, const struct unit *units, size_t count, int64_t *out)
{
    int64_t whole = 0, part = 0, part_of = 1, value;
    const char *p = text;

    if (p == NULL || *p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, *p - '0', &whole))
            return false;
    if (*p == '.') {
        if (p[1] < '0' || p[1] > '9')
            return false;
        for (p++; *p >= '0' && *p <= '9'; p++) {
            if (part_of >= 1000000) /* finer than a unit can show; and it cannot overflow */
                continue;
            part = part * 10 + (*p - '0');
            part_of *= 10;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(p, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(whole, units[i].factor, &value))
            return false;
        /* factor <= 2^40 and part < 10^6: no overflow */
        if (__builtin_add_overflow(value, part * units[i].factor / part_of, &value))
            return false;
        *out = value;
        return true;
    }
    return false;
}

bool slsr_parse_duration(const char *text, int64_t *ms)
{
    static const struct unit units[] = {{"", 1000},      {"ms", 1},       {"s", 1000},
                                        {"m", 60000},    {"min", 60000},  {"h", 3600000},
                                        {"d", 86400000}, {"w", 604800000}};

    return parse_scaled(text, units, sizeof units / sizeof *units, ms);
}

bool slsr_parse_size(const char *text, int64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"KB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"TB", 1000000000000},
        {"K", INT64_C(1) << 10},
        {"M", INT64_C(1) << 20},
        {"G", INT64_C(1) << 30},
        {"T", INT64_C(1) << 40},
        {"KiB", INT64_C(1) << 10},
        {"MiB", INT64_C(1) << 20},
        {"GiB", INT64_C(1) << 30},
        {"TiB", INT64_C(1) << 40},
    };

    return parse_scaled(text, units, sizeof units / sizeof *units, bytes);
}

/* One to `digits` decimal digits at *p. */
static bool take_number(const char **p, int digits, int64_t *out)
{
    int n = 0;

    *out = 0;
    while (n < digits && **p >= '0' && **p <= '9') {
        *out = *out * 10 + (**p - '0');
        (*p)++;
        n++;
    }
    return n > 0;
}

static bool take(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* Days from 1970-01-01 to a day of the proleptic Gregorian calendar: years are counted from March,
 * so that the leap day is the last of its year. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;

    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

static bool parse_date(const char **p, int64_t *days)
{
    static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day;

    if (!take_number(p, 4, &year) || !take(p, '-') || !take_number(p, 2, &month) || !take(p, '-') ||
        !take_number(p, 2, &day))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > lengths[month - 1])
        return false;
    if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
        return false;
    *days = days_of(year, month, day);
    return true;
}

/* "Z", "+8:00", "+08:00", "+0800", "+08" or nothing: seconds east of UTC. */
static bool parse_zone(const char **p, int64_t *east_s)
{
    int64_t hours, minutes = 0;
    int sign;

    *east_s = 0;
    if (**p == '\0' || take(p, 'Z') || take(p, 'z'))
        return true;
    if (**p != '+' && **p != '-')
        return false;
    sign = **p == '+' ? 1 : -1;
    (*p)++;
    if (!take_number(p, 2, &hours))
        return false;
    if ((take(p, ':') || **p != '\0') && !take_number(p, 2, &minutes))
        return false;
    if (hours > 15 || minutes > 59)
        return false;
    *east_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool parse_time(const char *text, int64_t *time_s)
{
    const char *p = text;
    int64_t days, hours = 0, minutes = 0, seconds = 0, ignored, east_s = 0;

    if (!parse_date(&p, &days))
        return false;
    if (take(&p, 'T') || take(&p, 't') || take(&p, ' ')) {
        if (!take_number(&p, 2, &hours) || !take(&p, ':') || !take_number(&p, 2, &minutes))
            return false;
        if (take(&p, ':') && !take_number(&p, 2, &seconds))
            return false;
        if (take(&p, '.') && !take_number(&p, 9, &ignored))
            return false;
        (void)take(&p, ' ');
        if (!parse_zone(&p, &east_s))
            return false;
    }
    if (*p != '\0' || hours > 23 || minutes > 59 || seconds > 59)
        return false;
    *time_s = days * 86400 + hours * 3600 + minutes * 60 + seconds - east_s;
    return *time_s >= 0;
}

bool config_parse_position(const char *text, enum slsr_position *position, int64_t *time_s)
{
    const char *p = text;

    *time_s = 0;
    *position = SLSR_POS_TIME;
    if (strcmp(text, "begin") == 0)
        *position = SLSR_POS_BEGIN;
    else if (strcmp(text, "end") == 0)
        *position = SLSR_POS_END;
    else if (take(&p, '@'))
        return take_number(&p, 11, time_s) && *p == '\0';
    else
        return parse_time(text, time_s);
    return true;
}

bool config_host_valid(const char *host)
{
    size_t n = strlen(host);

    /* Names, IPv4, IPv6 with a zone. Underscores occur in container networks. */
    return n > 0 && n <= 253 && host[0] != '-' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%") == n;
}

bool config_split_host(const char *text, char *host, size_t size, int *port)
{
    const char *start = text, *end, *p;
    int64_t number = 0;

    if (*text == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (end == NULL)
            return false;
        p = end + 1;
    } else {
        end = text + strcspn(text, ":");
        p = end;
        if (*end == ':' && strchr(end + 1, ':') != NULL) /* a bare IPv6 address: no port in it */
            p = end = text + strlen(text);
    }
    if ((size_t)(end - start) >= size)
        return false;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    *port = 0;
    if (*p == '\0')
        return true;
    if (!take(&p, ':') || !take_number(&p, 5, &number) || *p != '\0' || number < 1 ||
        number > 65535)
        return false;
    *port = (int)number;
    return true;
}

int config_parse_url(const char *url, enum slsr_protocol *protocol, char *host, size_t size,
                     int *port, struct slsr_err *err)
{
    static const struct {
        const char *scheme;
        enum slsr_protocol protocol;
    } schemes[] = {{"tcp", SLSR_TCP},
                   {"tls", SLSR_TLS},
                   {"udp", SLSR_UDP},
                   {"relp", SLSR_RELP},
                   {"relp+tls", SLSR_RELP_TLS}};
    const char *mark = url != NULL ? strstr(url, "://") : NULL;
    const size_t count = sizeof schemes / sizeof *schemes;
    size_t i = count;

    if (mark != NULL)
        for (i = 0; i < count; i++)
            if (strlen(schemes[i].scheme) == (size_t)(mark - url) &&
                strncasecmp(schemes[i].scheme, url, (size_t)(mark - url)) == 0)
                break;
    if (i == count)
        return slsr_fail(err, SLSR_ECONFIG,
                         "target address: the scheme is unknown: write tcp://HOST:PORT, tls://, "
                         "udp://, relp:// or relp+tls://");
    if (!config_split_host(mark + 3, host, size, port))
        return slsr_fail(err, SLSR_ECONFIG,
                         "target address: host or port cannot be read: write %s://HOST:PORT with "
                         "a port of 1 to 65535, an IPv6 address in brackets",
                         schemes[i].scheme);
    if (!config_host_valid(host))
        return slsr_fail(err, SLSR_ECONFIG,
                         "target address: the host is no name or address: write %s://HOST:PORT",
                         schemes[i].scheme);
    *protocol = schemes[i].protocol;
    return 0;
}
