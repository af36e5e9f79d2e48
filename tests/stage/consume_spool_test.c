/* A spool that refuses: what a shard had in hand is spooled later, in its place, and a leap over
 * what SLS no longer has is on record before the position says so. This program stands between the
 * stage and the spool (--wrap). */
#include "fake_sls.h"

enum { SMALL_SPOOL = 256 * 1024 };

static _Atomic int refused_submits; /* so many batches are refused from now on */
static _Atomic int refused_appends; /* likewise positions without frames */
static size_t gaps_at_append;       /* gap records when the last of those came */

static struct world *world;

int __real_slsr_spool_submit(struct slsr_spool *spool, struct slsr_ticket *ticket,
                             const struct slsr_batch *batch,
                             const struct slsr_checkpoint *checkpoint, struct slsr_err *err);
int __real_slsr_spool_append(struct slsr_spool *spool, const struct slsr_batch *batch,
                             const struct slsr_checkpoint *checkpoint, uint64_t *first,
                             struct slsr_err *err);
int __wrap_slsr_spool_submit(struct slsr_spool *spool, struct slsr_ticket *ticket,
                             const struct slsr_batch *batch,
                             const struct slsr_checkpoint *checkpoint, struct slsr_err *err);
int __wrap_slsr_spool_append(struct slsr_spool *spool, const struct slsr_batch *batch,
                             const struct slsr_checkpoint *checkpoint, uint64_t *first,
                             struct slsr_err *err);

int __wrap_slsr_spool_submit(struct slsr_spool *spool, struct slsr_ticket *ticket,
                             const struct slsr_batch *batch,
                             const struct slsr_checkpoint *checkpoint, struct slsr_err *err)
{
    if (refused_submits > 0) {
        refused_submits--;
        return slsr_fail(err, SLSR_ENOMEM, "no memory to prepare a batch");
    }
    return __real_slsr_spool_submit(spool, ticket, batch, checkpoint, err);
}

int __wrap_slsr_spool_append(struct slsr_spool *spool, const struct slsr_batch *batch,
                             const struct slsr_checkpoint *checkpoint, uint64_t *first,
                             struct slsr_err *err)
{
    gaps_at_append = gaps(world, NULL);
    if (refused_appends > 0) {
        refused_appends--;
        return slsr_fail(err, SLSR_EIO, "the disk failed");
    }
    return __real_slsr_spool_append(spool, batch, checkpoint, first, err);
}

static bool spool_is_full(struct world *w)
{
    return strcmp(note_of(w, 0).state, "spool_full") == 0;
}

/* The spool was full, and when there is room there is no memory for a moment: the batch in hand
 * waits, it is not passed over. */
static void a_batch_that_waited_for_room_waits_for_memory_too(void **state)
{
    struct world w;
    const struct slsr_spool_config config = {.path = w.dir, .max_size_bytes = SMALL_SPOOL};
    struct slsr_target_state siem;
    struct slsr_err err;

    (void)state;
    world = &w;
    world_setup(&w, 1, 5000);
    slsr_spool_close(w.spool);
    assert_int_equal(slsr_spool_open(&w.spool, &config, SLSR_SPOOL_WRITE, &err), 0);
    assert_int_equal(slsr_spool_target_add(w.spool, "siem", &siem, &err), 0);
    world_start(&w);
    RUN_UNTIL(&w, spool_is_full);
    refused_submits = 3;
    for (int n = 0; n < 200 && !all_spooled(&w); n++) {
        siem.acked = frames_spooled(&w) + 1;
        assert_int_equal(slsr_spool_ack(w.spool, &siem, &err), 0);
        world_pass(&w, 5000);
    }
    assert_int_equal(refused_submits, 0);
    assert_true(all_spooled(&w));
    assert_int_equal(frames_spooled(&w), 5000);
    assert_int_equal(w.fatal, 0);
    world_stop(&w);
    world_teardown(&w);
}

/* However often the position behind the gap cannot be kept, the gap is on record, and once. */
static void a_gap_is_on_record_before_the_position_behind_it(void **state)
{
    struct world w;
    struct slsr_ledger_entry gap;

    (void)state;
    world = &w;
    world_setup(&w, 1, 300);
    w.shards[0].oldest = FAKE_FIRST + 200;
    w.group_exists = true;
    cursor_text(FAKE_FIRST + 50, w.shards[0].checkpoint);
    refused_appends = 2;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(refused_appends, 0);
    assert_int_equal(gaps_at_append, 1);
    assert_int_equal(gaps(&w, &gap), 1);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST + 200), 0);
    world_teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_that_waited_for_room_waits_for_memory_too),
        cmocka_unit_test(a_gap_is_on_record_before_the_position_behind_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
