/* Where a shard begins, where it ends, and what lies in between when the service forgot it.
 *
 * See fake_sls.h; the names of the cases are those of docs/sls.md. */
#include "fake_sls.h"

static void set_checkpoint(struct world *w, uint32_t shard, uint64_t number)
{
    w->group_exists = true;
    cursor_text(number, w->shards[shard].checkpoint);
}

static bool first_over(struct world *w)
{
    bool over;

    pthread_mutex_lock(&w->lock);
    over = w->shards[0].over;
    pthread_mutex_unlock(&w->lock);
    return over;
}

static bool reported_to_the_end(struct world *w)
{
    char end[SLSR_CURSOR_MAX + 1];
    bool same;

    pthread_mutex_lock(&w->lock);
    cursor_text(w->shards[0].next, end);
    same = strcmp(w->shards[0].checkpoint, end) == 0;
    pthread_mutex_unlock(&w->lock);
    return same;
}

/* --- 8.11, 5.7: the end of a read-only shard --- */

/* Split, nothing new behind the last checkpoint: told all the same, or its children never start. */
static void trap_11_fully_read_readonly_shard_is_told_once_although_unchanged(void **state)
{
    struct world w;
    unsigned puts;
    int64_t split_ms;

    (void)state;
    world_setup(&w, 2, 50);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_pass(&w, 5000);
    puts = w.shards[0].puts;
    split_ms = clock_mono_ms();
    w.shards[0].readonly = true;
    RUN_UNTIL(&w, first_over);
    assert_int_equal(w.shards[0].puts, puts + 1);
    assert_in_range(clock_mono_ms() - split_ms, 0, 2 * w.source.heartbeat_interval_ms);
    world_pass(&w, 60000);
    assert_int_equal(w.shards[0].puts, puts + 1); /* once */
    world_stop(&w);
    world_teardown(&w);
}

static void trap_11_empty_readonly_shard_is_told_once(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 0); /* split before anything was written into it */
    w.shards[0].readonly = true;
    world_start(&w);
    RUN_UNTIL(&w, first_over);
    world_pass(&w, 60000);
    assert_in_range(w.shards[0].puts, 1, 2); /* once more if it was told before it was known */
    assert_int_equal(frames_spooled(&w), 0);
    world_stop(&w);
    world_teardown(&w);
}

/* Assigned again after it was read to its end in an earlier run: told again, once. */
static void trap_11_end_is_told_once_per_assignment(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 50);
    w.shards[0].readonly = true;
    set_checkpoint(&w, 0, FAKE_FIRST + 50);
    world_start(&w);
    RUN_UNTIL(&w, first_over);
    world_pass(&w, 60000);
    assert_in_range(w.shards[0].puts, 1, 2); /* once more if it was told before it was known */
    world_stop(&w);
    world_teardown(&w);
}

static bool end_fails_twice(struct world *w, const struct asked *q, struct answer *a)
{
    return q->call == PUT && w->step++ < 2 ? say(a, 500, "InternalServerError") : false;
}

static void trap_11_an_end_that_could_not_be_told_is_told_again(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 50);
    w.hook = end_fails_twice;
    w.shards[0].readonly = true;
    world_start(&w);
    RUN_UNTIL(&w, first_over);
    assert_int_equal(w.step, 3);
    world_stop(&w);
    world_teardown(&w);
}

/* The children start within two heartbeats of the parent's end: our next beat does not wait. */
static void children_start_within_two_heartbeats_of_the_parents_end(void **state)
{
    struct world w;
    int64_t over_ms;

    (void)state;
    world_setup(&w, 2, 50);
    w.shards[1].assigned = false; /* the child waits, as "order" has it */
    world_start(&w);
    RUN_UNTIL(&w, reported_to_the_end);
    w.shards[0].readonly = true;
    RUN_UNTIL(&w, first_over);
    over_ms = clock_mono_ms();
    w.shards[1].assigned = true;
    RUN_UNTIL(&w, all_reported);
    assert_in_range(clock_mono_ms() - over_ms, 0, 3000); /* interval 20 s */
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    world_teardown(&w);
}

/* --- 8.22, 5.6: InvalidCursor --- */

static void check_gap(struct world *w, uint64_t from, uint64_t to)
{
    struct slsr_ledger_entry gap;
    char text[SLSR_CURSOR_MAX + 1];

    assert_int_equal(gaps(w, &gap), 1);
    assert_string_equal(gap.reason, "invalid_cursor");
    assert_string_equal(gap.project, "proj");
    assert_string_equal(gap.logstore, "audit");
    assert_int_equal(gap.shard, 0);
    cursor_text(from, text);
    assert_string_equal(gap.from_cursor, text);
    cursor_text(to, text);
    assert_string_equal(gap.to_cursor, text);
    assert_true(strlen(gap.text) > 20);
    assert_true(gap.time_ms > 0);
}

/* Retention moves `begin`: the stored position is gone. Default: the oldest that is left. */
static void trap_22_retention_passes_the_checkpoint_goes_on_at_begin_with_a_gap_record(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 300);
    w.shards[0].oldest = FAKE_FIRST + 200;
    set_checkpoint(&w, 0, FAKE_FIRST + 50);
    world_start(&w);
    RUN_UNTIL(&w, reported_to_the_end);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST + 200), 0);
    check_gap(&w, FAKE_FIRST + 50, FAKE_FIRST + 200);
    world_teardown(&w);
}

static void trap_22_on_invalid_cursor_end_leaves_a_gap_record_too(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 300);
    w.source.on_invalid_cursor = SLSR_POS_END;
    w.shards[0].oldest = FAKE_FIRST + 200;
    set_checkpoint(&w, 0, FAKE_FIRST + 50);
    world_start(&w);
    RUN_UNTIL(&w, reported_to_the_end);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 0);
    check_gap(&w, FAKE_FIRST + 50, FAKE_FIRST + 300);
    world_teardown(&w);
}

static void trap_22_on_invalid_cursor_stop_reads_nothing_and_says_why(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 300);
    w.source.on_invalid_cursor = SLSR_POS_STOP;
    w.shards[0].oldest = FAKE_FIRST + 200;
    set_checkpoint(&w, 0, FAKE_FIRST + 50);
    world_start(&w);
    world_pass(&w, 60000);
    assert_string_equal(note_of(&w, 0).state, "cursor");
    assert_non_null(strstr(note_of(&w, 0).error, "on_invalid_cursor"));
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 0);
    assert_int_equal(gaps(&w, NULL), 0);
    assert_int_equal(w.shards[0].puts, 0);
    world_teardown(&w);
}

static bool retention_while_running(struct world *w, const struct asked *q, struct answer *a)
{
    return w->step == 1 && q->call == PULL && w->shards[0].oldest > FAKE_FIRST
               ? say(a, 400, "ParameterInvalid") /* older servers' word for it */
               : false;
}

static void trap_22_old_servers_say_parameter_invalid(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    w.hook = retention_while_running;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    w.step = 1;
    w.shards[0].oldest = FAKE_FIRST + 100;
    world_pass(&w, 1000);
    w.step = 0;
    world_pass(&w, 1000);
    /* the position was still there: going on at the same place is no gap */
    assert_int_equal(gaps(&w, NULL), 0);
    world_stop(&w);
    world_teardown(&w);
}

/* --- 8.16: start positions --- */

static void trap_16_start_position_counts_only_without_a_checkpoint(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 100);
    w.source.cursor_position = SLSR_POS_END;
    set_checkpoint(&w, 0, FAKE_FIRST + 40); /* shard 1 has none */
    world_start(&w);
    world_pass(&w, 5000);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 60);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST + 40), 0);
    world_teardown(&w);
}

static void trap_16_start_time_is_receive_time_in_unix_seconds(void **state)
{
    struct world w;
    char from[32];

    (void)state;
    world_setup(&w, 1, 10);
    w.source.cursor_position = SLSR_POS_TIME;
    w.source.cursor_time_s = 1546272000;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    assert_true(parameter(last_asked(&w, CURSOR)->target, "from", from, sizeof from));
    assert_string_equal(from, "1546272000");
    world_stop(&w);
    world_teardown(&w);
}

static bool cursor_fails(struct world *w, const struct asked *q, struct answer *a)
{
    if (q->call == PULL && strstr(q->target, "cursor=&") != NULL)
        fail_msg("pulled with an empty cursor");
    return q->call == CURSOR && w->step++ < 3 ? say(a, 500, "InternalServerError") : false;
}

/* An error while asking for the start position is no permission to start anywhere. */
static void trap_17_start_cursor_that_fails_is_asked_again(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    w.source.cursor_position = SLSR_POS_TIME;
    w.hook = cursor_fails;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(w.step, 4);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    world_teardown(&w);
}

/* --- local cursor against the group's after a restart --- */

static void restart_goes_on_from_the_spool_without_gap_or_duplicate(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    w.shards[0].next += 100;
    RUN_UNTIL(&w, all_spooled);
    world_kill(&w); /* spooled, never reported */
    w.shards[0].next += 100;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(frames_spooled(&w), 300);
    world_teardown(&w);
}

static void another_consumer_went_on_meanwhile_its_position_counts(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    w.shards[0].next += 100;
    set_checkpoint(&w, 0, FAKE_FIRST + 150); /* it has spooled 50 of them */
    world_start(&w);
    RUN_UNTIL(&w, reported_to_the_end);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 150);
    world_teardown(&w);
}

static void position_put_back_on_purpose_is_obeyed(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    set_checkpoint(&w, 0, FAKE_FIRST + 30);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 70);
    world_teardown(&w);
}

static void group_made_anew_between_two_runs_goes_on_from_the_spool(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    w.shards[0].checkpoint[0] = '\0';
    w.shards[0].next += 20;
    world_start(&w);
    RUN_UNTIL(&w, all_reported);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(frames_spooled(&w), 120);
    world_teardown(&w);
}

static bool checkpoint_unreadable(struct world *w, const struct asked *q, struct answer *a)
{
    return q->call == GET && w->step++ < 3
               ? say_text(a, 200, "", "[{\"shard\":0,\"checkpoint\":17}]")
               : false;
}

/* A stored position that cannot be read is not "none": starting at the configured one would lose.
 */
static void unreadable_checkpoint_is_asked_for_again(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 1, 100);
    w.source.cursor_position = SLSR_POS_END;
    set_checkpoint(&w, 0, FAKE_FIRST + 40);
    w.hook = checkpoint_unreadable;
    world_start(&w);
    RUN_UNTIL(&w, reported_to_the_end);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST + 40), 0);
    world_teardown(&w);
}

/* --- checkpoint_after: delivered --- */

static void take(struct world *w, const char *target, uint64_t acked, enum slsr_target_phase phase)
{
    struct slsr_target_state s = {.acked = acked, .phase = phase};

    snprintf(s.name, sizeof s.name, "%s", target);
    assert_int_equal(slsr_spool_ack(w->spool, &s, NULL), 0);
}

static uint64_t told(struct world *w)
{
    uint64_t number = 0;

    pthread_mutex_lock(&w->lock);
    if (w->shards[0].checkpoint[0] != '\0')
        assert_true(cursor_number(w->shards[0].checkpoint, &number));
    pthread_mutex_unlock(&w->lock);
    return number;
}

static void delivered_setup(struct world *w)
{
    struct slsr_target_state state;

    world_setup(w, 1, 250);
    w->source.checkpoint_after = SLSR_AFTER_DELIVERED;
    assert_int_equal(slsr_spool_target_add(w->spool, "siem", &state, NULL), 0);
    assert_int_equal(slsr_spool_target_add(w->spool, "second", &state, NULL), 0);
    world_start(w);
    RUN_UNTIL(w, all_spooled);
    world_pass(w, 5000);
}

static void checkpoint_after_delivered_waits_for_the_slowest_target(void **state)
{
    struct world w;

    (void)state;
    delivered_setup(&w); /* three pulls: 100, 100, 50 */
    assert_int_equal(told(&w), FAKE_FIRST);
    take(&w, "siem", 251, SLSR_PHASE_UP);
    world_pass(&w, 3000);
    assert_int_equal(told(&w), FAKE_FIRST); /* the second one has nothing yet */
    take(&w, "second", 150, SLSR_PHASE_UP);
    world_pass(&w, 3000);
    assert_int_equal(told(&w), FAKE_FIRST + 100); /* only whole pulls have a position */
    take(&w, "second", 251, SLSR_PHASE_UP);
    world_pass(&w, 3000);
    assert_int_equal(told(&w), FAKE_FIRST + 250);
    world_stop(&w);
    world_teardown(&w);
}

static void checkpoint_after_delivered_holds_at_stop_while_the_siem_is_down(void **state)
{
    struct world w;

    (void)state;
    delivered_setup(&w);
    take(&w, "siem", 251, SLSR_PHASE_UP);
    take(&w, "second", 101, SLSR_PHASE_BACKOFF);
    world_stop(&w); /* does not wait for a target that is away */
    assert_int_equal(told(&w), FAKE_FIRST + 100);
    /* the same spool goes on where it stands, and what was not delivered is not told */
    world_start(&w);
    world_pass(&w, 5000);
    assert_int_equal(told(&w), FAKE_FIRST + 100);
    take(&w, "second", 251, SLSR_PHASE_UP);
    world_pass(&w, 5000);
    assert_int_equal(told(&w), FAKE_FIRST + 250);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 250);
    world_teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_11_fully_read_readonly_shard_is_told_once_although_unchanged),
        cmocka_unit_test(trap_11_empty_readonly_shard_is_told_once),
        cmocka_unit_test(trap_11_end_is_told_once_per_assignment),
        cmocka_unit_test(trap_11_an_end_that_could_not_be_told_is_told_again),
        cmocka_unit_test(children_start_within_two_heartbeats_of_the_parents_end),
        cmocka_unit_test(
            trap_22_retention_passes_the_checkpoint_goes_on_at_begin_with_a_gap_record),
        cmocka_unit_test(trap_22_on_invalid_cursor_end_leaves_a_gap_record_too),
        cmocka_unit_test(trap_22_on_invalid_cursor_stop_reads_nothing_and_says_why),
        cmocka_unit_test(trap_22_old_servers_say_parameter_invalid),
        cmocka_unit_test(trap_16_start_position_counts_only_without_a_checkpoint),
        cmocka_unit_test(trap_16_start_time_is_receive_time_in_unix_seconds),
        cmocka_unit_test(trap_17_start_cursor_that_fails_is_asked_again),
        cmocka_unit_test(restart_goes_on_from_the_spool_without_gap_or_duplicate),
        cmocka_unit_test(another_consumer_went_on_meanwhile_its_position_counts),
        cmocka_unit_test(position_put_back_on_purpose_is_obeyed),
        cmocka_unit_test(group_made_anew_between_two_runs_goes_on_from_the_spool),
        cmocka_unit_test(unreadable_checkpoint_is_asked_for_again),
        cmocka_unit_test(checkpoint_after_delivered_waits_for_the_slowest_target),
        cmocka_unit_test(checkpoint_after_delivered_holds_at_stop_while_the_siem_is_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
