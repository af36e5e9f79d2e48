/* Durations, sizes, points in time and target addresses from text. */
#include "config_help.h"

#include "config/load.h"

static void test_units(void **state)
{
    static const struct {
        const char *text;
        int64_t duration, size; /* -1: none */
    } rows[] = {
        {"0", 0, 0},
        {"5", 5000, 5},
        {"250ms", 250, -1},
        {"30s", 30000, -1},
        {"1.5h", 5400000, -1},
        {"2m", 120000, INT64_C(2) << 20},
        {"1d", 86400000, -1},
        {"64KiB", -1, 65536},
        {"5MB", -1, 5000000},
        {"10GiB", -1, INT64_C(10) << 30},
        {"1.5K", -1, 1536},
        {"9223372036854775807", -1, INT64_MAX},
        {"9223372036854775808", -1, -1},
        {"9223372036854775807ms", INT64_MAX, -1},
        {"106751991168d", -1, -1},
        {"8388608TiB", -1, -1},
        {"8388607TiB", -1, INT64_C(8388607) << 40},
        {"99999999999999999999999s", -1, -1},
        {"0.99999999999999999999999s", 999, -1},
        {"", -1, -1},
        {"-1", -1, -1},
        {"+1", -1, -1},
        {" 1", -1, -1},
        {"1 s", -1, -1},
        {"1.s", -1, -1},
        {".5s", -1, -1},
        {"s", -1, -1},
        {"1e3", -1, -1},
        {"0x10", -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t duration = -1, size = -1;

        if (!slsr_parse_duration(rows[i].text, &duration))
            assert_int_equal(duration, -1); /* untouched */
        (void)slsr_parse_size(rows[i].text, &size);
        if (duration != rows[i].duration || size != rows[i].size)
            fail_msg("%s: %lld ms, %lld bytes", rows[i].text, (long long)duration, (long long)size);
    }
    assert_false(slsr_parse_duration(NULL, &(int64_t){0}));
}

static void test_positions(void **state)
{
    static const struct {
        const char *text;
        int64_t time_s; /* -1: no position */
    } rows[] = {
        {"2026-01-02T03:04:05+08:00", 1767294245},
        {"2026-01-02T03:04:05Z", 1767323045},
        {"2026-01-02 03:04:05", 1767323045},
        {"2026-01-02 03:04:05.999 -0330", 1767335645},
        {"2019-1-1 0:0:0+8:00", 1546272000},
        {"2024-02-29", 1709164800},
        {"2026-01-02 03:04", 1767323040},
        {"@0", 0},
        {"@1700000000", 1700000000},
        {"2023-02-29", -1},
        {"2026-13-01", -1},
        {"2026-00-10", -1},
        {"2026-01-02T24:00:00Z", -1},
        {"2026-01-02T03:60:00Z", -1},
        {"2026-01-02T03", -1},
        {"2026-01-02T03:04:05+16:00", -1},
        {"2026-01-02T03:04:05 UTC", -1},
        {"1969-12-31", -1},
        {"1970-01-01T00:00:00+01:00", -1},
        {"@", -1},
        {"@-1", -1},
        {"@123456789012", -1},
        {"yesterday", -1},
        {"", -1},
    };
    enum slsr_position position;
    int64_t time_s;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool fine = config_parse_position(rows[i].text, &position, &time_s);

        if (fine != (rows[i].time_s >= 0) || (fine && time_s != rows[i].time_s))
            fail_msg("%s: %d %lld", rows[i].text, fine, (long long)time_s);
    }
    assert_true(config_parse_position("end", &position, &time_s));
    assert_int_equal(position, SLSR_POS_END);
}

static void test_target_from_url(void **state)
{
    static const char *const bad[] = {"",
                                      "siem:514",
                                      "http://a:1",
                                      "tls+relp://a:1",
                                      "relps://a:1",
                                      "tcp://",
                                      "tcp://a:0",
                                      "tcp://a:65536",
                                      "tcp://a:b",
                                      "tcp://[::1:5",
                                      "tcp://[::1]5",
                                      "tcp://a b:1",
                                      "tcp://u@a:1",
                                      "udp://a:514/x",
                                      "://a:1"};
    struct slsr_target_config t;
    struct slsr_err err;

    (void)state;
    assert_int_equal(slsr_target_from_url(&t, "tcp://siem.example:6514", &err), 0);
    assert_string_equal(t.host, "siem.example");
    assert_string_equal(t.name, "tcp://siem.example:6514");
    assert_int_equal(t.port, 6514);
    assert_int_equal(t.protocol, SLSR_TCP);
    assert_int_equal(t.stall_timeout_ms, 120000);
    assert_int_equal(t.retry_initial_ms, 250);
    slsr_target_free(&t);
    assert_int_equal(slsr_target_from_url(&t, "UDP://[fe80::1%eth0]", &err), 0);
    assert_string_equal(t.host, "fe80::1%eth0");
    assert_int_equal(t.port, 514);
    assert_int_equal(t.protocol, SLSR_UDP);
    slsr_target_free(&t);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (slsr_target_from_url(&t, bad[i], &err) != SLSR_ECONFIG)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.text, "target address"));
        slsr_target_free(&t);
    }
    assert_int_equal(slsr_target_from_url(&t, NULL, NULL), SLSR_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_target_from_url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
