/* Time zones against the C library, second by second around every change, and damaged zone files.
 */
#include "format_help.h"

#include <time.h>

#include "format/zone.h"

static void offsets_are_those_of_the_c_library(void **state)
{
    (void)state;
    static const char *const names[] = {"UTC",
                                        "Asia/Shanghai",
                                        "Europe/Berlin",
                                        "America/New_York",
                                        "America/St_Johns",
                                        "Asia/Kolkata",
                                        "Asia/Kathmandu",
                                        "Australia/Lord_Howe",
                                        "Africa/Casablanca",
                                        "Africa/Cairo",
                                        "America/Santiago",
                                        "Asia/Jerusalem",
                                        "Pacific/Apia",
                                        "America/Nuuk",
                                        "Antarctica/Troll",
                                        "Africa/Monrovia"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct zone *z;
        struct slsr_err err = {0};
        if (zone_load(&z, names[i], &err) != 0)
            fail_msg("%s", err.text);
        setenv("TZ", names[i], 1); /* only the oracle looks at it */
        tzset();
        int32_t before = 0;
        for (int64_t t = 0; t < INT64_C(5000000000); t += 6 * 3600 + 1) {
            time_t c = (time_t)t;
            struct tm tm;
            localtime_r(&c, &tm);
            int32_t now = zone_offset(z, t);
            if (now != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, not %ld", names[i], (long long)t, now, tm.tm_gmtoff);
            /* A change: the very second of it must be the same, too. */
            for (int64_t low = t - 6 * 3600 - 1, high = t; now != before && t > 0;) {
                if (high - low == 1) {
                    c = (time_t)low;
                    localtime_r(&c, &tm);
                    assert_int_equal(tm.tm_gmtoff, before);
                    c = (time_t)high;
                    localtime_r(&c, &tm);
                    assert_int_equal(tm.tm_gmtoff, now);
                    break;
                }
                int64_t middle = low + (high - low) / 2;
                if (zone_offset(z, middle) == before)
                    low = middle;
                else
                    high = middle;
            }
            before = now;
        }
        zone_free(z);
    }
}

static void calendar_is_that_of_the_c_library(void **state)
{
    (void)state;
    for (int64_t t = -INT64_C(62135596800); t < INT64_C(253402300800); t += 86400 * 13 + 12345) {
        time_t c = (time_t)t;
        struct tm tm;
        struct civil v = civil_of(t);
        gmtime_r(&c, &tm);
        assert_int_equal(v.year, tm.tm_year + 1900);
        assert_int_equal(v.month, tm.tm_mon + 1);
        assert_int_equal(v.day, tm.tm_mday);
        assert_int_equal(v.hour * 3600 + v.minute * 60 + v.second,
                         tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
    }
}

static void local_follows_the_environment(void **state)
{
    (void)state;
    struct zone *z;
    static const struct {
        const char *tz;
        int32_t january, july;
    } cases[] = {{"", 0, 0},
                 {":Asia/Shanghai", 28800, 28800},
                 {"/usr/share/zoneinfo/Europe/Berlin", 3600, 7200},
                 {"CET-1CEST,M3.5.0,M10.5.0/3", 3600, 7200},
                 {"<-03>3", -10800, -10800},
                 {"XXX-5:45", 20700, 20700},
                 {"AAA3BBB,J60/0,300/-1:30", -10800, -7200},
                 {"NZST-12NZDT,M9.5.0,M4.1.0/3", 46800, 43200}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        setenv("TZ", cases[i].tz, 1);
        assert_int_equal(zone_load(&z, "local", NULL), 0);
        assert_int_equal(zone_offset(z, 1767323045), cases[i].january);
        assert_int_equal(zone_offset(z, 1783000000), cases[i].july);
        zone_free(z);
    }
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"Mars/Olympus", "../etc/passwd", "/etc/localtime",
                                        "a b",          "Asia",          "Asia/Shang\nhai"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct zone *z;
        struct slsr_err err = {0};
        assert_int_equal(zone_load(&z, names[i], &err), SLSR_ECONFIG);
        assert_non_null(strstr(err.text, "time zone"));
    }
}

static void posix_rules_that_are_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "CE-1",
                                        "CET",
                                        "CET-1x",
                                        "CET-1CEST",
                                        "CET-1CEST,M13.1.0,M10.5.0",
                                        "CET-168",
                                        "CET-1CEST,M3.5.0",
                                        "<CET-1",
                                        "CET-1CEST,J0,J5",
                                        "CET-1CEST,M3.5.0,M10.5.0/3x"};
    struct posix_tz tz;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (posix_tz_parse(&tz, texts[i], strlen(texts[i])))
            fail_msg("\"%s\" was taken", texts[i]);
}

static void damaged_zone_files_never_read_past_their_end(void **state)
{
    (void)state;
    uint8_t *file = malloc(65536), *copy;
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    assert_non_null(f);
    size_t n = fread(file, 1, 65536, f), refused = 0;
    uint32_t random = 12345;
    fclose(f);
    for (size_t cut = 0; cut < n; cut++) {
        struct zone *z = NULL;
        copy = malloc(cut + 1);
        memcpy(copy, file, cut);
        assert_int_equal(zone_parse(&z, copy, cut, NULL), SLSR_ECONFIG);
        free(copy);
    }
    for (int i = 0; i < 5000; i++) {
        struct zone *z = NULL;
        copy = malloc(n);
        memcpy(copy, file, n);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525 + 1013904223;
            copy[(random >> 8) % (i % 2 ? n : 44)] = (uint8_t)(random >> 24);
        }
        if (zone_parse(&z, copy, n, NULL) == 0)
            (void)zone_offset(z, random);
        else
            refused++;
        zone_free(z);
        free(copy);
    }
    assert_true(refused > 0);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_those_of_the_c_library),
        cmocka_unit_test(calendar_is_that_of_the_c_library),
        cmocka_unit_test(local_follows_the_environment),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(posix_rules_that_are_none),
        cmocka_unit_test(damaged_zone_files_never_read_past_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
