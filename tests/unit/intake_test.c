/* A pull that is far larger as frames than on the wire comes in pieces, each log once, in order;
 * nothing of a damaged one comes out, wherever the damage is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "slsrelay/spool.h"

#include "consume/intake.h"

enum { LOGS = 3000, TOPIC = 60000 };

static size_t put_varint(unsigned char *p, size_t v)
{
    size_t n = 0;

    for (; v > 0x7f; v >>= 7)
        p[n++] = (unsigned char)(v | 0x80);
    p[n++] = (unsigned char)v;
    return n;
}

/* One LogGroup with LOGS logs (time 1000 + i) under a topic of TOPIC bytes. */
static struct slsr_bytes make_body(void)
{
    unsigned char *group = malloc(LOGS * 8 + TOPIC + 16);
    unsigned char *body = malloc(LOGS * 8 + TOPIC + 32);
    size_t n = 0;
    size_t head;

    for (size_t i = 0; i < LOGS; i++) {
        unsigned char log[8] = {0x08};
        const size_t size = 1 + put_varint(log + 1, 1000 + i);

        group[n++] = 0x0a;
        n += put_varint(group + n, size);
        memcpy(group + n, log, size);
        n += size;
    }
    group[n++] = 0x1a;
    n += put_varint(group + n, TOPIC);
    memset(group + n, 't', TOPIC);
    n += TOPIC;
    body[0] = 0x0a;
    head = 1 + put_varint(body + 1, n);
    memcpy(body + head, group, n);
    free(group);
    return (struct slsr_bytes){(char *)body, head + n};
}

static void pieces(void **state)
{
    const struct slsr_format_config format = {
        .facility = 1, .severity = 6, .hostname = (char *)"h", .max_message_bytes = 1 << 20};
    const struct slsr_stream stream = {"p", "l", 0};
    struct intake intake = {0};
    struct intake_result result;
    struct slsr_batch batch;
    struct slsr_err err = {0};
    struct slsr_bytes body = make_body();
    uint32_t next = 0;
    int count = 1;

    (void)state;
    slsr_batch_init(&batch);
    assert_int_equal(intake_open(&intake, &format, &stream, &err), 0);
    assert_int_equal(intake_take(&intake, body, false, body.n, "MTAw", &batch, &result, NULL, &err),
                     0);
    for (;; count++) {
        assert_int_equal(result.logs, batch.frame_count);
        assert_int_equal(result.groups, 1);
        assert_true(batch.used < INTAKE_PIECE_BYTES + 2 * TOPIC);
        assert_string_equal(batch.cursor, "MTAw");
        for (size_t i = 0; i < batch.frame_count; i++, next++) {
            assert_int_equal(batch.meta[i].index, next);
            assert_int_equal(batch.meta[i].time_s, 1000 + next);
        }
        if (!result.more)
            break;
        assert_int_equal(intake_more(&intake, &batch, &result, NULL, &err), 0);
    }
    assert_int_equal(next, LOGS);
    assert_int_equal(count, 3); /* 180 MB of frames */
    intake_close(&intake);
    slsr_batch_fini(&batch);
    free((void *)(uintptr_t)body.p);
}

/* The last log of the body says more than it has: found before the first piece leaves, and in a
 * pull of one piece at its end. */
static void damage_takes_all_back(void **state)
{
    const struct slsr_format_config format = {
        .facility = 1, .severity = 6, .hostname = (char *)"h", .max_message_bytes = 1 << 20};
    const struct slsr_stream stream = {"p", "l", 0};
    struct intake intake = {0};
    struct intake_result result;
    struct slsr_batch batch;
    struct slsr_err err = {0};
    struct slsr_bytes body = make_body();
    const char small[] = "\x0a\x0a\x0a\x02\x08\x01\x0a\x04\x12\x02\x0a\x05";
    /* the last log ends in front of the topic's tag: its time becomes a content too long */
    unsigned char *last = (unsigned char *)(uintptr_t)body.p + body.n - TOPIC - 4 - 3;

    (void)state;
    assert_int_equal(last[0], 0x08);
    last[0] = 0x12;
    last[1] = 0x70;
    slsr_batch_init(&batch);
    assert_int_equal(intake_open(&intake, &format, &stream, &err), 0);
    assert_int_equal(intake_take(&intake, body, false, body.n, "MTAw", &batch, &result, NULL, &err),
                     SLSR_EBADDATA);
    assert_int_equal(batch.frame_count + batch.used, 0);
    body.n = sizeof small - 1;
    assert_int_equal(intake_take(&intake, (struct slsr_bytes){small, body.n}, false, body.n, "MTAw",
                                 &batch, &result, NULL, &err),
                     SLSR_EBADDATA);
    assert_int_equal(batch.frame_count + batch.used, 0);
    intake_close(&intake);
    slsr_batch_fini(&batch);
    free((void *)(uintptr_t)body.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces),
                                       cmocka_unit_test(damage_takes_all_back)};

    return cmocka_run_group_tests_name("intake", tests, NULL, NULL);
}
