/* Ground floor: cursors, back-off, error classes and exit codes, the stop token. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "slsrelay/err.h"
#include "slsrelay/stop.h"

#include "base/backoff.h"
#include "base/cursor.h"

static void cursors(void **state)
{
    static const struct {
        const char *text;
        uint64_t number;
        int valid;
    } cases[] = {
        {"MTUyNDE1NTM3OTM3MzkwODQ5Ng==", 1524155379373908496u, 1},
        {"MTUyNDE1NTM3OTM3MzkwODQ5Ng", 1524155379373908496u, 1}, /* padding may be missing */
        {"MA==", 0, 1},
        {"OTIyMzM3MjAzNjg1NDc3NTgwNw==", INT64_MAX, 1},
        {"OTIyMzM3MjAzNjg1NDc3NTgwOA==", 0, 0}, /* 2^63 */
        {"MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=", 0, 0}, /* 20 digits */
        {"", 0, 0},
        {"====", 0, 0},
        {"YWJj", 0, 0}, /* letters */
        {"M!==", 0, 0},
        {"LTE=", 0, 0}, /* -1 */
        {"MSAx", 0, 0}, /* a blank inside */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t number = 77;

        assert_int_equal(cursor_number(cases[i].text, &number), cases[i].valid);
        if (cases[i].valid)
            assert_true(number == cases[i].number);
    }
    for (uint64_t n = 1; n < (uint64_t)INT64_MAX / 7; n *= 7) {
        char text[SLSR_CURSOR_MAX + 1];
        uint64_t back;

        cursor_text(n, text);
        assert_int_equal(strlen(text) % 4, 0);
        assert_true(cursor_number(text, &back) && back == n);
        cursor_of_group(text, 5, text);
        assert_true(cursor_number(text, &back) && back == n + 5);
    }
    char opaque[SLSR_CURSOR_MAX + 1];
    cursor_of_group("opaque!", 5, opaque);
    assert_string_equal(opaque, "opaque!");
}

static void backoff_grows_and_stays_inside(void **state)
{
    struct backoff b;
    int64_t high[12] = {0};

    (void)state;
    for (int round = 0; round < 400; round++) {
        backoff_init(&b, 250, 60000, 2);
        b.seed = (uint64_t)round * 2654435761u + 1;
        for (int i = 0; i < 12; i++) {
            const int64_t ms = backoff_next_ms(&b);
            const int64_t ceiling = i < 8 ? 250 << i : 60000;

            assert_true(ms >= 50 && ms <= ceiling);
            if (ms > high[i])
                high[i] = ms;
        }
        backoff_reset(&b);
        assert_true(backoff_next_ms(&b) <= 250);
    }
    assert_true(high[11] > 50000); /* full jitter reaches up to the limit */
    assert_true(high[0] > 200);
}

/* What the manual pages promise to scripts. */
static void errors_have_the_exit_codes_of_the_manual(void **state)
{
    static const struct {
        int code, status;
    } rows[] = {
        {0, 0},
        {SLSR_ESTOPPED, 0},
        {SLSR_ENOMATCH, 1},
        {SLSR_ECORRUPT, 2},
        {SLSR_EVERSION, 2},
        {SLSR_EUSAGE, 64},
        {SLSR_ENOSPOOL, 66},
        {SLSR_EBADDATA, 66},
        {SLSR_ENET, 69},
        {SLSR_EAUTH, 69},
        {SLSR_EQUOTA, 69},
        {SLSR_ECREATE, 73},
        {SLSR_EIO, 74},
        {SLSR_EFULL, 74},
        {SLSR_EFAILED, 74},
        {SLSR_ENOMEM, 74},
        {SLSR_EBUSY, 75},
        {SLSR_EPERM, 77},
        {SLSR_ECONFIG, 78},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(slsr_err_exit(rows[i].code), rows[i].status);
}

static void errors_know_what_to_do(void **state)
{
    struct slsr_err err;

    (void)state;
    assert_int_equal(slsr_err_class(0), SLSR_CLASS_OK);
    assert_int_equal(slsr_err_class(SLSR_ENET), SLSR_CLASS_RETRY);
    assert_int_equal(slsr_err_class(SLSR_EREMOTE), SLSR_CLASS_RETRY);
    assert_int_equal(slsr_err_class(SLSR_ELOST), SLSR_CLASS_LOST);
    assert_int_equal(slsr_err_class(SLSR_ETOOBIG), SLSR_CLASS_REJECT);
    assert_int_equal(slsr_err_class(SLSR_ECURSOR), SLSR_CLASS_REJECT);
    assert_int_equal(slsr_err_class(SLSR_ECORRUPT), SLSR_CLASS_STOP);
    assert_int_equal(slsr_err_class(SLSR_ECLIENT), SLSR_CLASS_STOP);
    assert_string_equal(slsr_class_name(SLSR_CLASS_OK), "ok");
    assert_string_equal(slsr_class_name(SLSR_CLASS_RETRY), "retry");
    assert_string_equal(slsr_class_name(SLSR_CLASS_LOST), "lost");
    assert_string_equal(slsr_class_name(SLSR_CLASS_REJECT), "reject");
    assert_string_equal(slsr_class_name(SLSR_CLASS_STOP), "stop");
    assert_int_equal(slsr_err_exit(SLSR_ECREATE), 73);
    assert_int_equal(slsr_err_exit(SLSR_ECORRUPT), 2);
    assert_int_equal(slsr_fail(&err, SLSR_ENET, "no %s", "route"), SLSR_ENET);
    assert_int_equal(slsr_wrap(&err, SLSR_ENET, "shard %d", 3), SLSR_ENET);
    assert_string_equal(err.text, "shard 3: no route");
    assert_int_equal(slsr_wrap(&err, 0, "nothing"), 0);
    assert_string_equal(err.text, "shard 3: no route");
    for (int i = 0; i < 100; i++) /* never past the end */
        slsr_wrap(&err, SLSR_ENET, "a rather long place %d", i);
    assert_true(strlen(err.text) < sizeof err.text);
    assert_int_equal(slsr_fail(NULL, SLSR_ENET, "nobody listens"), SLSR_ENET);
}

static void stop_stays_requested(void **state)
{
    struct slsr_stop stop;
    struct pollfd pfd = {.events = POLLIN};

    (void)state;
    assert_int_equal(slsr_stop_init(&stop, NULL), 0);
    assert_false(slsr_stop_requested(&stop));
    assert_false(slsr_stop_wait(&stop, 1));
    slsr_stop_request(&stop);
    slsr_stop_request(&stop);
    assert_true(slsr_stop_wait(&stop, 100000)); /* at once */
    pfd.fd = stop.fd;
    assert_int_equal(poll(&pfd, 1, 0), 1);
    slsr_stop_fini(&stop);
    assert_false(slsr_stop_requested(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors),
        cmocka_unit_test(backoff_grows_and_stays_inside),
        cmocka_unit_test(errors_know_what_to_do),
        cmocka_unit_test(errors_have_the_exit_codes_of_the_manual),
        cmocka_unit_test(stop_stays_requested),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
