/* Times: see when.h. Strict: a date that does not exist or text behind the time is refused, because
 * a selector that silently means something else sends the wrong frames. */
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "common/when.h"

static const int64_t second_ns = 1000000000;
/* Beyond these int64 nanoseconds overflow (years 1970..2262). */
static const int64_t seconds_max = 9200000000;

/* `least`..`most` digits at *p. */
static bool digits(const char **p, int least, int most, int64_t *value)
{
    int n = 0;
    int64_t v = 0;

    while (n < most && (*p)[n] >= '0' && (*p)[n] <= '9') {
        v = v * 10 + ((*p)[n] - '0');
        n++;
    }
    if (n < least)
        return false;
    *p += n;
    *value = v;
    return true;
}

/* Optional ".frac" at *p; digits behind the ninth are cut. */
static bool fraction(const char **p, int64_t *ns)
{
    int64_t unit = second_ns;

    *ns = 0;
    if (**p != '.' && **p != ',')
        return true;
    (*p)++;
    if (**p < '0' || **p > '9')
        return false;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        unit /= 10;
        *ns += unit * (**p - '0');
    }
    return true;
}

/* One "90s" at *p in ns. */
static bool span(const char **p, int64_t *ns)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1},           {"min", 60000},     {"m", 60000},      {"sec", 1000},
                 {"s", 1000},         {"hours", 3600000}, {"hour", 3600000}, {"h", 3600000},
                 {"days", 86400000},  {"day", 86400000},  {"d", 86400000},   {"weeks", 604800000},
                 {"week", 604800000}, {"w", 604800000}};
    int64_t value;

    if (!digits(p, 1, 9, &value))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t n = strlen(units[i].name);
        char behind;
        if (strncmp(*p, units[i].name, n) != 0)
            continue;
        behind = (*p)[n];
        if ((behind >= 'a' && behind <= 'z') || value > seconds_max * 1000 / units[i].ms)
            continue;
        *p += n;
        *ns = value * units[i].ms * 1000000;
        return true;
    }
    return false;
}

static bool relative(const char *p, int64_t now_ns, int64_t *ns)
{
    bool back = *p == '-';
    int64_t total = 0;

    p++;
    do {
        int64_t one;
        if (!span(&p, &one) || total > seconds_max * second_ns - one)
            return false;
        total += one;
    } while (*p != '\0');
    *ns = back ? now_ns - total : now_ns + total;
    return back || total <= seconds_max * second_ns - now_ns;
}

static bool midnight(int64_t now_ns, int days, int64_t *ns)
{
    time_t now = (time_t)(now_ns / second_ns);
    struct tm tm;

    if (localtime_r(&now, &tm) == NULL)
        return false;
    tm.tm_mday += days;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    *ns = (int64_t)mktime(&tm) * second_ns;
    return true;
}

/* "Z", "UTC", "+08:00", "-0530" at the end of the text. */
static bool zone(const char *p, int64_t *offset_s)
{
    int64_t hours;
    int64_t minutes = 0;

    *offset_s = 0;
    if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0 || strcmp(p, "UTC") == 0)
        return true;
    if (*p != '+' && *p != '-')
        return false;
    bool west = *p++ == '-';
    if (!digits(&p, 2, 2, &hours))
        return false;
    if (*p == ':')
        p++;
    if (*p != '\0' && !digits(&p, 2, 2, &minutes))
        return false;
    if (*p != '\0' || hours > 14 || minutes > 59)
        return false;
    *offset_s = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

/* "HH:MM[:SS[.frac]]" at *p. A leap second counts as the second behind it. */
static bool clock_time(const char **p, struct tm *tm, int64_t *ns)
{
    int64_t hour;
    int64_t minute;
    int64_t second = 0;

    *ns = 0;
    if (!digits(p, 2, 2, &hour) || *(*p)++ != ':' || !digits(p, 2, 2, &minute))
        return false;
    if (**p == ':') {
        (*p)++;
        if (!digits(p, 2, 2, &second) || !fraction(p, ns))
            return false;
    }
    tm->tm_hour = (int)hour;
    tm->tm_min = (int)minute;
    tm->tm_sec = (int)second;
    return hour <= 23 && minute <= 59 && second <= 60;
}

static bool calendar_date(const char **p, struct tm *tm)
{
    static const int64_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year;
    int64_t month;
    int64_t day;

    if (!digits(p, 4, 4, &year) || *(*p)++ != '-' || !digits(p, 2, 2, &month) || *(*p)++ != '-' ||
        !digits(p, 2, 2, &day))
        return false;
    if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > days[month - 1])
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    tm->tm_year = (int)(year - 1900);
    tm->tm_mon = (int)(month - 1);
    tm->tm_mday = (int)day;
    return month != 2 || day != 29 || leap;
}

/* Date, date and time, or time of today; zone optional behind a time. */
static bool written(const char *p, int64_t now_ns, int64_t *ns)
{
    time_t now = (time_t)(now_ns / second_ns);
    struct tm tm = {0};
    int64_t part_ns = 0;
    int64_t offset_s = 0;
    time_t seconds;

    if (strlen(p) >= 5 && p[2] == ':') {
        struct tm today;
        if (localtime_r(&now, &today) == NULL)
            return false;
        tm.tm_year = today.tm_year, tm.tm_mon = today.tm_mon, tm.tm_mday = today.tm_mday;
        if (!clock_time(&p, &tm, &part_ns))
            return false;
    } else {
        if (!calendar_date(&p, &tm))
            return false;
        if ((*p == ' ' || *p == 'T' || *p == 't') && (p++, !clock_time(&p, &tm, &part_ns)))
            return false;
    }
    if (*p == ' ' && p[1] != '\0')
        p++;
    if (*p != '\0') {
        if (!zone(p, &offset_s))
            return false;
        seconds = timegm(&tm) - (time_t)offset_s;
    } else {
        tm.tm_isdst = -1;
        seconds = mktime(&tm);
    }
    *ns = (int64_t)seconds * second_ns + part_ns;
    return true;
}

bool cli_when_parse(const char *text, int64_t now_ns, int64_t *ns)
{
    if (strcmp(text, "now") == 0) {
        *ns = now_ns;
        return true;
    }
    if (strcmp(text, "today") == 0)
        return midnight(now_ns, 0, ns);
    if (strcmp(text, "yesterday") == 0)
        return midnight(now_ns, -1, ns);
    if (strcmp(text, "tomorrow") == 0)
        return midnight(now_ns, 1, ns);
    if (*text == '-' || *text == '+')
        return relative(text, now_ns, ns);
    if (*text == '@') {
        int64_t s;
        int64_t part;
        const char *p = text + 1;
        if (!digits(&p, 1, 10, &s) || s > seconds_max || !fraction(&p, &part) || *p != '\0')
            return false;
        *ns = s * second_ns + part;
        return true;
    }
    return written(text, now_ns, ns);
}
