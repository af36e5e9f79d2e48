/* Accounting of delivery: synthetic samples in, spool positions out; and framing, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/evidence.h"
#include "transport/framing.h"
#include "transport/guard.h"

static struct evidence_sample sample(uint64_t acked, uint32_t wnd)
{
    return (struct evidence_sample){
        .bytes_acked = acked + 1, .snd_wnd = wnd, .snd_wscale = 7, .has_wnd = true};
}

static void write_frames(struct evidence *e, unsigned count, uint64_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        e->wire_written += bytes;
        assert_int_equal(evidence_add(e, e->wire_written, e->spool_end + 1, 5, NULL), 0);
    }
}

static void test_acked(void **state)
{
    struct evidence e;
    struct evidence_sample s = sample(2999, 65536);

    (void)state;
    evidence_init(&e, 10, 1);
    write_frames(&e, 5, 1000);
    evidence_take(&e, &s);
    assert_int_equal(evidence_move(&e, EVIDENCE_ACKED), 12); /* the third lacks one byte */
    s = sample(5001, 65536);                                 /* with our FIN */
    assert_true(evidence_take(&e, &s));
    assert_int_equal(e.acked, 5000);
    assert_int_equal(e.acked_raw, 5001);
    assert_int_equal(evidence_move(&e, EVIDENCE_ACKED), 15);
    assert_false(evidence_open(&e));
    s = sample(100, 0); /* figures never go back */
    assert_false(evidence_take(&e, &s));
    assert_int_equal(evidence_move(&e, EVIDENCE_ACKED), 15);
    evidence_fini(&e);
}

static void test_floor(void **state)
{
    struct evidence e;
    struct evidence_sample s = sample(400000, 100000);

    (void)state;
    evidence_init(&e, 1, 1);
    write_frames(&e, 1000, 1000);
    /* edge 500000, bound 100000 + 25000 + 65536: floor 309464 */
    evidence_take(&e, &s);
    assert_int_equal(e.floor, 309464);
    assert_int_equal(evidence_move(&e, EVIDENCE_FLOOR), 1 + 309);
    /* A closed window: everything acknowledged, yet the floor stays (edge does not move). */
    s = sample(500000, 0);
    evidence_take(&e, &s);
    assert_int_equal(evidence_move(&e, EVIDENCE_FLOOR), 1 + 309);
    /* A window that suddenly grows raises the bound; the position does not fall. */
    s = sample(500000, 1000000);
    evidence_take(&e, &s);
    assert_int_equal(e.floor, 184464);
    assert_int_equal(evidence_move(&e, EVIDENCE_FLOOR), 1 + 309);
    /* Without the figure no floor at all. */
    evidence_fini(&e);
    evidence_init(&e, 1, 1);
    write_frames(&e, 1000, 1000);
    s = sample(1000000, 0);
    s.has_wnd = false;
    evidence_take(&e, &s);
    assert_int_equal(evidence_move(&e, EVIDENCE_FLOOR), 1);
    assert_int_equal(evidence_prove(&e), 1001);
    evidence_fini(&e);
}

static void test_floor_is_bounded_by_scale(void **state)
{
    struct evidence e;
    struct evidence_sample s = sample(300000, 60000);

    (void)state;
    s.snd_wscale = 0; /* a peer without window scaling: at most 65535 */
    evidence_init(&e, 1, 1);
    write_frames(&e, 1000, 1000);
    evidence_take(&e, &s);
    assert_int_equal(e.floor, 294465);
    evidence_fini(&e);
}

static void test_marks_merge_and_grow(void **state)
{
    struct evidence e;
    struct evidence_sample s = sample(3000000, 65536);

    (void)state;
    evidence_init(&e, 1, 1);
    write_frames(&e, 3000, 1000); /* more than the first ring */
    assert_int_equal(e.count, 3000);
    assert_int_equal(evidence_add(&e, e.wire_written, 3500, 6, NULL), 0); /* skipped frames */
    assert_int_equal(e.count, 3000);
    assert_int_equal(evidence_oldest_ms(&e), 5);
    evidence_take(&e, &s);
    assert_int_equal(evidence_move(&e, EVIDENCE_ACKED), 3500);
    evidence_fini(&e);
}

static void test_settle(void **state)
{
    static struct settle s;

    (void)state;
    settle_init(&s, 7);
    settle_note(&s, 20, 1000, 100);
    settle_note(&s, 30, 1005, 100); /* too soon after: noted later */
    assert_int_equal(settle_take(&s, 1099, 100), 7);
    assert_int_equal(settle_take(&s, 1100, 100), 20);
    settle_note(&s, 30, 1110, 100);
    assert_int_equal(settle_take(&s, 1209, 100), 20);
    assert_int_equal(settle_take(&s, 1210, 100), 30);
    settle_note(&s, 40, 1300, 100);
    settle_drop(&s); /* a break: young evidence is forgotten */
    assert_int_equal(settle_take(&s, 9999, 100), 30);
    settle_note(&s, 40, 9999, 100);
    assert_int_equal(settle_take(&s, 10099, 100), 40);
    settle_note(&s, 50, 10099, 0); /* no settle time: at once */
    settle_note(&s, 60, 10099, 0);
    assert_int_equal(settle_take(&s, 10099, 0), 60);
    settle_note(&s, 70, 10200, 100);
    assert_int_equal(settle_oldest_ms(&s), 10200);
    settle_pass(&s, 90); /* something is unsettled below */
    assert_int_equal(settle_take(&s, 10299, 100), 60);
    assert_int_equal(settle_take(&s, 10300, 100), 70);
    assert_true(settle_oldest_ms(&s) == INT64_MAX);
    settle_pass(&s, 90);
    assert_int_equal(settle_take(&s, 10300, 100), 90);
}

static void test_settle_ring_full(void **state)
{
    static struct settle s;
    uint64_t position = 1;

    (void)state;
    settle_init(&s, 1);
    for (int64_t now = 0; now < 20000; now++)
        settle_note(&s, ++position, now, 1000000);
    assert_int_equal(settle_take(&s, 999999, 1000000), 1);
    assert_true(s.count <= SETTLE_RING);
    assert_true(settle_take(&s, 1000000 + 20000, 1000000) <= position);
}

static void test_framing(void **state)
{
    static const char wire[] = "5 <1>ab8 <1>a\nb\r\n3 <1>";
    static const uint32_t ends[] = {7, 17, 22};
    struct slsr_run run = {.first = 4, .count = 3, .wire = {wire, 22}, .ends = ends};
    struct piece piece;

    (void)state;
    memset(&piece, 0, sizeof piece);
    piece_view(&piece, &run, 1, 3);
    assert_ptr_equal(piece.p, wire + 7);
    assert_int_equal(piece.n, 15);
    assert_int_equal(piece.first, 5);
    assert_int_equal(piece_advance(&piece, 9), 0); /* one byte short */
    assert_int_equal(piece_advance(&piece, 1), 1);
    assert_int_equal(piece_advance(&piece, 5), 1);
    assert_true(piece_empty(&piece));
    assert_int_equal(piece_lf(&piece, &run, 0, 3, NULL), 0);
    assert_int_equal(piece.n, 18);
    assert_memory_equal(piece.p, "<1>ab\n<1>a b \n<1>\n", 18);
    assert_int_equal(piece_end(&piece, 1), 14);
    piece_fini(&piece);
}

static void test_guard(void **state)
{
    const int64_t span = guard_span_ms;
    struct guard g = {.proven = false};

    (void)state;
    /* Many failures in a short time are a receiver that hangs or restarts. */
    for (int64_t now = 1000; now < 1000 + span; now += span / 100)
        assert_false(guard_failed(&g, &g.proofs, now));
    assert_true(guard_failed(&g, &g.proofs, 1000 + span));
    guard_rearm(&g);
    assert_true(guard_failed(&g, &g.proofs, 2000 + span));
    /* Settled evidence in between: the count begins anew. */
    guard_clear(&g, false);
    assert_false(guard_failed(&g, &g.proofs, 3000 + span));
    assert_false(guard_failed(&g, &g.proofs, 3000 + 2 * span)); /* old, but only two */
    assert_true(guard_failed(&g, &g.proofs, 3001 + 2 * span));
    assert_int_equal(g.spares.failures, 0);
    /* It has proven once: it can, so it takes longer to believe that it cannot. */
    guard_clear(&g, true);
    for (int i = 0; i < 3; i++)
        assert_false(guard_failed(&g, &g.spares, 5000 + i * span));
    assert_false(guard_failed(&g, &g.spares, 4999 + GUARD_PROVEN_FACTOR * span));
    assert_true(guard_failed(&g, &g.spares, 5000 + GUARD_PROVEN_FACTOR * span));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acked),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_floor_is_bounded_by_scale),
        cmocka_unit_test(test_marks_merge_and_grow),
        cmocka_unit_test(test_settle),
        cmocka_unit_test(test_settle_ring_full),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_guard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
