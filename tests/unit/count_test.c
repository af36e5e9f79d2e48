/* Figures: counted, set and observed; label values bounded; text that Prometheus can parse. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/count.h"

static char *written(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    count_write(out, "x_");
    fclose(out);
    return text;
}

static void counts_and_labels(void **state)
{
    char *text;

    (void)state;
    count_reset();
    count_add(COUNT_PULLED_LOGS, NULL, NULL, 3);
    count_add(COUNT_PULLED_LOGS, "a label too many", NULL, 4);
    count_add(COUNT_TARGET_RECONNECTS, "siem", "reset", 2);
    count_add(COUNT_TARGET_RECONNECTS, "siem", "stall", 1);
    count_add(COUNT_PULL_ERRORS, "a\"b\\c\nd", NULL, 1);
    count_set(COUNT_CLOCK_SKEW_SECONDS, NULL, NULL, -1.5);
    assert_true(count_value(COUNT_PULLED_LOGS, NULL, NULL) == 7);
    assert_true(count_value(COUNT_TARGET_RECONNECTS, "siem", "reset") == 2);
    assert_true(count_value(COUNT_TARGET_RECONNECTS, "siem", "no such") == 0);
    assert_true(count_total(COUNT_TARGET_RECONNECTS) == 3);
    text = written();
    assert_non_null(strstr(text, "# TYPE x_pulled_logs_total counter\nx_pulled_logs_total 7\n"));
    assert_non_null(
        strstr(text, "x_target_reconnects_total{target=\"siem\",reason=\"reset\"} 2\n"));
    assert_non_null(strstr(text, "x_pull_errors_total{code=\"a\\\"b\\\\c\\nd\"} 1\n"));
    assert_non_null(strstr(text, "# TYPE x_clock_skew_seconds gauge\nx_clock_skew_seconds -1.5\n"));
    assert_non_null(strstr(text, "x_spooled_frames_total 0\n")); /* there from the start */
    free(text);
}

static void histogram(void **state)
{
    char *text;

    (void)state;
    count_reset();
    count_observe(COUNT_SPOOL_COMMIT_SECONDS, 0.0005); /* on a bound: belongs below it */
    count_observe(COUNT_SPOOL_COMMIT_SECONDS, 0.003);
    count_observe(COUNT_SPOOL_COMMIT_SECONDS, 1000);
    assert_true(count_value(COUNT_SPOOL_COMMIT_SECONDS, NULL, NULL) == 3);
    text = written();
    assert_non_null(strstr(text, "x_spool_commit_seconds_bucket{le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(text, "x_spool_commit_seconds_bucket{le=\"0.0025\"} 1\n"));
    assert_non_null(strstr(text, "x_spool_commit_seconds_bucket{le=\"0.005\"} 2\n"));
    assert_non_null(strstr(text, "x_spool_commit_seconds_bucket{le=\"10\"} 2\n"));
    assert_non_null(strstr(text, "x_spool_commit_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "x_spool_commit_seconds_count 3\n"));
    free(text);
}

static void bounded(void **state)
{
    char label[200];

    (void)state;
    count_reset();
    for (int i = 0; i < 5000; i++) {
        snprintf(label, sizeof label, "%0150d", i); /* equal once they are cut */
        count_add(COUNT_GAPS, label, NULL, 1);
        snprintf(label, sizeof label, "code-%d", i);
        count_add(COUNT_PULL_ERRORS, label, NULL, 1);
        count_add(COUNT_FRAMES_DEAD, label, NULL, 1);
        count_add(COUNT_TARGET_RECONNECTS, label, "r", 1);
        count_add(COUNT_FRAMES_DROPPED, label, NULL, 1);
        count_add(COUNT_TARGET_SENT_FRAMES, label, NULL, 1);
    }
    assert_true(count_value(COUNT_PULL_ERRORS, "other", NULL) >= 5000 - COUNT_SETS_MAX);
    assert_true(count_total(COUNT_PULL_ERRORS) == 5000);
    assert_true(count_total(COUNT_TARGET_SENT_FRAMES) == 5000);
    assert_true(count_total(COUNT_GAPS) == 5000);
    assert_true(count_value(COUNT_TARGET_RECONNECTS, "other", "other") > 0);
    count_add(COUNT_SPOOLED_FRAMES, NULL, NULL, 9); /* pool is full: still exact */
    assert_true(count_value(COUNT_SPOOLED_FRAMES, NULL, NULL) == 9);
}

static void *hammer(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++) {
        count_add(COUNT_SPOOLED_FRAMES, NULL, NULL, 2);
        count_add(COUNT_TARGET_SENT_FRAMES, i % 2 == 0 ? "a" : "b", NULL, 1);
        count_observe(COUNT_PULL_SECONDS, 0.1);
    }
    return NULL;
}

static void threads(void **state)
{
    pthread_t thread[4];

    (void)state;
    count_reset();
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_true(count_value(COUNT_SPOOLED_FRAMES, NULL, NULL) == 80000);
    assert_true(count_value(COUNT_TARGET_SENT_FRAMES, "b", NULL) == 20000);
    assert_true(count_value(COUNT_PULL_SECONDS, NULL, NULL) == 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_and_labels),
                                       cmocka_unit_test(histogram), cmocka_unit_test(bounded),
                                       cmocka_unit_test(threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
