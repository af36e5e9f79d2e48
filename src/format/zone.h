/* Offset of a time zone from UTC at any second, without touching the process's TZ (setenv and tzset
 * are not safe beside other threads). Read-only after loading: any thread. */
#ifndef FORMAT_ZONE_H
#define FORMAT_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/err.h"

struct zone;

/* name: NULL, "", "UTC" -> UTC; "local" -> TZ of the environment, else /etc/localtime; an IANA
 * name. SLSR_ECONFIG when there is no such zone or its data are damaged. */
int zone_load(struct zone **out, const char *name, struct slsr_err *err);
/* From the bytes of a TZif file (RFC 8536). */
int zone_parse(struct zone **out, const uint8_t *data, size_t size, struct slsr_err *err);
void zone_free(struct zone *zone);
/* Seconds east of UTC at `time_s`. */
int32_t zone_offset(const struct zone *zone, int64_t time_s);

/* A day of the year by which a zone changes to or from daylight saving. */
struct posix_day {
    enum { POSIX_JULIAN, POSIX_ORDINAL, POSIX_WEEKDAY } kind;
    int month, week, day; /* WEEKDAY: all three; else day */
    int32_t time_s;       /* local wall time of the change, -167 h .. 167 h */
};

/* POSIX TZ text, "CET-1CEST,M3.5.0,M10.5.0/3". */
struct posix_tz {
    int32_t standard_s, daylight_s; /* east of UTC */
    bool has_daylight;
    struct posix_day start, end;
};

/* False: text is none. */
bool posix_tz_parse(struct posix_tz *tz, const char *text, size_t n);
int32_t posix_tz_offset(const struct posix_tz *tz, int64_t time_s);

/* Proleptic Gregorian calendar. */
struct civil {
    int64_t year;
    int month, day, hour, minute, second; /* month and day from 1 */
};
struct civil civil_of(int64_t time_s);
int64_t civil_days(int64_t year, int month, int day); /* days since 1970-01-01 */

#endif
