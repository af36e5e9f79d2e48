/* Our own messages: one line each, whatever is in them; storms are counted, not shown. Lines go to
 * a file in a folder of the test's own, the clock is wound by hand. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/storm.h"

enum { STORM = 100000, MINUTE_MS = 60000 };

static char folder[] = "/tmp/slsr-diag-XXXXXX";
static char file[64];
static char text[1 << 20];

static void begin(bool json, enum slsr_level level)
{
    const struct slsr_log_config config = {
        .file = file, .level = level, .json = json, .max_size_bytes = 1 << 20, .backups = 1};

    unlink(file);
    clock_wind(2 * MINUTE_MS); /* what the last test said is over */
    diag_settle();
    assert_int_equal(diag_open(&config, "test", NULL), 0);
}

/* All lines so far; returns their number. */
static size_t lines(void)
{
    FILE *in = fopen(file, "re");
    size_t count = 0;
    size_t n;

    assert_non_null(in);
    n = fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    fclose(in);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    return count;
}

static void reset_after(int frames)
{
    diag(SLSR_LOG_WARNING, "send", "target siem: reset after %d frames", frames);
}

static void a_storm_is_counted(void **state)
{
    (void)state;
    begin(false, SLSR_LOG_INFO);
    for (int i = 0; i < STORM; i++)
        reset_after(i);
    assert_int_equal(lines(), STORM_BURST);
    diag(SLSR_LOG_WARNING, "send", "target other: reset after %d frames", 1);
    diag(SLSR_LOG_INFO, "send", "target siem: connected");
    assert_int_equal(lines(), STORM_BURST + 2); /* of somebody else, and something else */
    clock_wind(MINUTE_MS);
    reset_after(7);
    assert_int_equal(lines(), STORM_BURST + 3);
    assert_non_null(strstr(text, "reset after 7 frames (and 99990 more like this, not shown)"));
}

static void say(int i)
{
    diag(SLSR_LOG_ERROR, "consume", "p/l shard %d: no answer", i % 2);
}

static void the_number_comes_with_the_next_or_by_itself(void **state)
{
    (void)state;
    begin(false, SLSR_LOG_INFO);
    for (int i = 0; i < 2 * (STORM_BURST + 5); i++)
        say(i);
    assert_int_equal(lines(), 2 * STORM_BURST);
    clock_wind(MINUTE_MS);
    say(0);
    assert_int_equal(lines(), 2 * STORM_BURST + 2);
    assert_non_null(strstr(text, "p/l shard 0: no answer (and 5 more like this, not shown)"));
    assert_non_null(strstr(text, "p/l shard 1: no answer (and 4 more like this, not shown)"));
    diag_settle();
    assert_int_equal(lines(), 2 * STORM_BURST + 2); /* once */
    for (int i = 0; i < 2 * STORM_BURST; i++)
        say(0);
    assert_int_equal(lines(), 3 * STORM_BURST + 1);
    diag_close(); /* nothing stays unsaid at the end */
    assert_int_equal(lines(), 3 * STORM_BURST + 2);
}

static void many_storms_at_once(void **state)
{
    size_t n;

    (void)state;
    begin(false, SLSR_LOG_INFO);
    for (int turn = 0; turn < 100; turn++)
        for (int who = 0; who < STORM_SLOTS; who++)
            diag(SLSR_LOG_ERROR, "send", "target t%d: refused", who);
    assert_int_equal(lines(), STORM_SLOTS * STORM_BURST);
    clock_wind(MINUTE_MS);
    diag_settle();
    n = lines();
    assert_int_equal(n, STORM_SLOTS * (STORM_BURST + 1));
    assert_non_null(strstr(text, "target t63: refused (and 89 more like this, not shown)"));
    /* more than there are slots, in turn: each is new, all are said */
    for (int who = 0; who < 10 * STORM_SLOTS; who++)
        diag(SLSR_LOG_ERROR, "send", "target u%d: refused", who);
    assert_int_equal(lines(), n + (size_t)10 * STORM_SLOTS);
}

static void debug_shows_all(void **state)
{
    (void)state;
    begin(false, SLSR_LOG_DEBUG);
    for (int i = 0; i < 1000; i++)
        diag(SLSR_LOG_WARNING, "send", "target siem: x");
    assert_int_equal(lines(), 1000);
}

static void one_line_whatever_is_in_it(void **state)
{
    static char huge[4000];
    json_t *object;

    (void)state;
    begin(true, SLSR_LOG_INFO);
    memset(huge, '"', sizeof huge - 1);
    diag(SLSR_LOG_DEBUG, "test", "below the level");
    diag(SLSR_LOG_INFO, "test", "a\nb\t\"c\\\x1b[31m %s", huge);
    assert_int_equal(lines(), 1);
    object = json_loads(text, 0, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "level")), "info");
    assert_non_null(strstr(json_string_value(json_object_get(object, "message")), "a\nb\t\"c\\"));
    json_decref(object);
    begin(false, SLSR_LOG_INFO);
    diag(SLSR_LOG_INFO, "test", "a\nb\x1b[31m");
    assert_int_equal(lines(), 1);
    assert_non_null(strstr(text, "a\\x0ab\\x1b[31m"));
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(file, sizeof file, "%s/log", folder);
    clock_freeze(1700000000000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    diag_close();
    unlink(file);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_is_counted),
        cmocka_unit_test(the_number_comes_with_the_next_or_by_itself),
        cmocka_unit_test(many_storms_at_once),
        cmocka_unit_test(debug_shows_all),
        cmocka_unit_test(one_line_whatever_is_in_it),
    };

    return cmocka_run_group_tests_name("diag", tests, setup, teardown);
}
