/* The rule at the end of a zone file, which holds for all years behind its last transition, and the
 * calendar under it. Syntax: POSIX.1 "TZ" with the extensions of RFC 8536 3.3.1. Pure. */
#include <string.h>

#include "format/zone.h"

enum { DAY_S = 86400, HOUR_S = 3600, HOURS_MAX = 167 };

int64_t civil_days(int64_t year, int month, int day)
{
    /* Years from March, so that the leap day comes last; 400-year eras. */
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct civil civil_of(int64_t time_s)
{
    int64_t days = time_s / DAY_S, rest = time_s % DAY_S;
    if (rest < 0) {
        rest += DAY_S;
        days--;
    }
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t mp = (5 * of_year + 2) / 153;
    struct civil c;
    c.day = (int)(of_year - (153 * mp + 2) / 5 + 1);
    c.month = (int)(mp < 10 ? mp + 3 : mp - 9);
    c.year = year + era * 400 + (c.month <= 2 ? 1 : 0);
    c.hour = (int)(rest / HOUR_S);
    c.minute = (int)(rest % HOUR_S / 60);
    c.second = (int)(rest % 60);
    return c;
}

struct text {
    const char *p, *end;
};

static bool accept(struct text *t, char c)
{
    if (t->p == t->end || *t->p != c)
        return false;
    t->p++;
    return true;
}

static bool number(struct text *t, int max, int *value)
{
    int v = 0;
    const char *start = t->p;
    while (t->p < t->end && *t->p >= '0' && *t->p <= '9' && v <= max)
        v = v * 10 + (*t->p++ - '0');
    *value = v;
    return t->p > start && v <= max;
}

static bool name(struct text *t)
{
    const char *start = t->p;
    if (accept(t, '<')) {
        while (t->p < t->end && *t->p != '>')
            t->p++;
        return accept(t, '>');
    }
    while (t->p < t->end && ((*t->p >= 'A' && *t->p <= 'Z') || (*t->p >= 'a' && *t->p <= 'z')))
        t->p++;
    return t->p - start >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool time_of_day(struct text *t, int32_t *seconds)
{
    int h, m = 0, s = 0;
    bool minus = accept(t, '-');
    if (!minus)
        accept(t, '+');
    if (!number(t, HOURS_MAX, &h))
        return false;
    if (accept(t, ':') && !number(t, 59, &m))
        return false;
    if (accept(t, ':') && !number(t, 59, &s))
        return false;
    *seconds = h * HOUR_S + m * 60 + s;
    if (minus)
        *seconds = -*seconds;
    return true;
}

static bool day_rule(struct text *t, struct posix_day *d)
{
    if (!accept(t, ','))
        return false;
    if (accept(t, 'M')) {
        d->kind = POSIX_WEEKDAY;
        if (!number(t, 12, &d->month) || d->month == 0 || !accept(t, '.') ||
            !number(t, 5, &d->week) || d->week == 0 || !accept(t, '.') || !number(t, 6, &d->day))
            return false;
    } else if (accept(t, 'J')) {
        d->kind = POSIX_JULIAN;
        if (!number(t, 365, &d->day) || d->day == 0)
            return false;
    } else {
        d->kind = POSIX_ORDINAL;
        if (!number(t, 365, &d->day))
            return false;
    }
    d->time_s = 2 * HOUR_S;
    return !accept(t, '/') || time_of_day(t, &d->time_s);
}

bool posix_tz_parse(struct posix_tz *tz, const char *text, size_t n)
{
    struct text t = {text, text + n};
    int32_t west;

    memset(tz, 0, sizeof(*tz));
    if (!name(&t) || !time_of_day(&t, &west))
        return false;
    tz->standard_s = -west;
    if (t.p == t.end)
        return true;
    if (!name(&t))
        return false;
    tz->has_daylight = true;
    tz->daylight_s = tz->standard_s + HOUR_S;
    if (t.p < t.end && *t.p != ',') {
        if (!time_of_day(&t, &west))
            return false;
        tz->daylight_s = -west;
    }
    return day_rule(&t, &tz->start) && day_rule(&t, &tz->end) && t.p == t.end;
}

static bool leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Local wall seconds since 1970 of the change in `year`. */
static int64_t change(const struct posix_day *d, int64_t year)
{
    int64_t day;
    if (d->kind == POSIX_JULIAN) {
        day = civil_days(year, 1, 1) + d->day - 1 + (leap(year) && d->day >= 60 ? 1 : 0);
    } else if (d->kind == POSIX_ORDINAL) {
        day = civil_days(year, 1, 1) + d->day;
    } else {
        int64_t first = civil_days(year, d->month, 1);
        int64_t next =
            d->month == 12 ? civil_days(year + 1, 1, 1) : civil_days(year, d->month + 1, 1);
        int64_t weekday = ((first + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
        day = first + (d->day - weekday + 7) % 7 + 7 * (int64_t)(d->week - 1);
        while (day >= next)
            day -= 7;
    }
    return day * DAY_S + d->time_s;
}

int32_t posix_tz_offset(const struct posix_tz *tz, int64_t time_s)
{
    if (!tz->has_daylight)
        return tz->standard_s;
    int64_t year = civil_of(time_s + tz->standard_s).year;
    int64_t start = change(&tz->start, year) - tz->standard_s;
    int64_t end = change(&tz->end, year) - tz->daylight_s;
    bool summer = start < end ? time_s >= start && time_s < end : time_s >= start || time_s < end;
    return summer ? tz->daylight_s : tz->standard_s;
}
