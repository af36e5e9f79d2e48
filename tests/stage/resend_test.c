/* Frames that are ordered again, beside an order that comes while they are on their way: what was
 * sent is ordered no longer, what lies between two stretches of it and was ordered meanwhile is. */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frames.h"
#include "receiver.h"
#include "send/resend.h"
#include "slsrelay/control.h"

enum { FRAMES = 60, SENT = 4 };

static sem_t all_sent;

static void on_count(void *ctx, unsigned frames)
{
    (void)ctx;
    if (frames == SENT)
        sem_post(&all_sent);
}

static void requeue(struct slsr_spool *spool, uint64_t from, uint64_t to)
{
    static const char *const siem[] = {"siem"};
    struct slsr_span span = {from, to};
    struct slsr_spans spans = {&span, 1, 1};
    struct slsr_order order = {.kind = SLSR_ORDER_REQUEUE,
                               .targets = siem,
                               .target_count = 1,
                               .spans = &spans,
                               .entry = {.kind = "requeue", .who = "tester"}};
    struct slsr_err err;

    if (slsr_control_order(spool, &order, &err) != 0)
        fail_msg("%s", err.text);
}

/* Two stretches are under way when the one between them is ordered, too: that order stands. */
static void what_is_ordered_meanwhile_stays_ordered(void **state)
{
    struct receiver *rx = calloc(1, sizeof *rx);
    struct slsr_target_config target = frames_target();
    struct slsr_target_state position;
    struct slsr_control control;
    struct slsr_spool *spool;
    struct resend *resend;
    struct slsr_spans left = {0};
    struct slsr_err err;
    char dir[FRAMES_DIR];

    (void)state;
    assert_non_null(rx);
    assert_int_equal(sem_init(&all_sent, 0, 0), 0);
    frames_spool(&spool, dir, FRAMES, 1);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &position, &err), 0);
    position.acked = FRAMES + 1;
    assert_int_equal(slsr_spool_ack(spool, &position, &err), 0);
    requeue(spool, 10, 12);
    requeue(spool, 50, 52);
    if (slsr_control_take(spool, "siem", &control, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(control.resend.count, 2);
    requeue(spool, 30, 32);
    rx->on_count = on_count;
    receiver_bind(rx);
    receiver_start(rx);
    target.port = rx->port;
    target.delivery = SLSR_DELIVERY_SENT; /* what is written is settled: nothing to wait for */
    target.settle_ms = 0;
    resend = resend_start(&target, spool, &control.resend);
    assert_non_null(resend);
    while (sem_wait(&all_sent) != 0 && errno == EINTR)
        ;
    resend_end(resend);
    for (unsigned i = 1; i <= FRAMES; i++)
        assert_int_equal(rx->seen[i], i == 10 || i == 11 || i == 50 || i == 51);
    assert_int_equal(slsr_marks_read(spool, SLSR_MARK_RESEND, "siem", &left, &err), 0);
    assert_int_equal(left.count, 1);
    assert_int_equal(left.items[0].from, 30);
    assert_int_equal(left.items[0].to, 32);
    slsr_spans_free(&left);
    slsr_control_free(&control);
    receiver_fini(rx);
    free(rx);
    slsr_spool_close(spool);
    frames_wipe(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_ordered_meanwhile_stays_ordered)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
