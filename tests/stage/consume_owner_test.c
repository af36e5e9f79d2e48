/* Who owns a shard, and what a consumer may still do when it no longer does.
 *
 * One case per trap; the names are those of docs/sls.md. The service is a script, the clock wound
 * by hand. What every case asks in the end: no log group is missing from the spool, and the service
 * heard of no position that it should not have heard of. */
#include "fake_sls.h"

enum { SMALL_SPOOL = 256 * 1024 };

static bool holds_two(struct world *w)
{
    struct consume_figures f;
    bool two;

    figures(w, &f);
    two = f.shard_count == 2;
    consume_figures_free(&f);
    return two;
}

static bool holds_none(struct world *w)
{
    struct consume_figures f;
    bool none;

    figures(w, &f);
    none = f.shard_count == 0;
    consume_figures_free(&f);
    return none;
}

static bool spool_is_full(struct world *w)
{
    return strcmp(note_of(w, 0).state, "spool_full") == 0;
}

static bool everything_reported(struct world *w)
{
    return all_reported(w);
}

static bool ends_reported(struct world *w)
{
    char end[SLSR_CURSOR_MAX + 1];
    bool same;

    pthread_mutex_lock(&w->lock);
    cursor_text(w->shards[0].next, end);
    same = strcmp(w->shards[0].checkpoint, end) == 0;
    pthread_mutex_unlock(&w->lock);
    return same;
}

static uint64_t checkpoint(struct world *w, uint32_t shard)
{
    uint64_t number = 0;

    pthread_mutex_lock(&w->lock);
    if (w->shards[shard].checkpoint[0] != '\0')
        assert_true(cursor_number(w->shards[shard].checkpoint, &number));
    pthread_mutex_unlock(&w->lock);
    return number;
}

/* The ordinary day, to see that the model and the stage fit together. */
static void all_is_read_and_reported_once(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 3, 250);
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    world_stop(&w);
    for (uint32_t shard = 0; shard < 3; shard++)
        assert_int_equal(spooled_whole(&w, shard, FAKE_FIRST), 0);
    assert_int_equal(frames_spooled(&w), 750);
    world_teardown(&w);
}

/* --- 8.10: two owners --- */

static bool beats_fail(struct world *w, const struct asked *q, struct answer *a)
{
    return w->step == 1 && q->call == BEAT ? say_nothing(a, SLSR_ENET) : false;
}

/* No beat goes through. From the fence on (54 s of 60) nothing may be pulled, spooled or stored,
 * counted from the sending of the last good beat; the server waits for 60. */
static void trap_10_two_owners_fence_counts_from_the_sending_of_the_last_good_beat(void **state)
{
    struct world w;
    int64_t good_ms;
    uint64_t before;
    const struct asked *put;

    (void)state;
    world_setup(&w, 2, 250);
    w.hook = beats_fail;
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    good_ms = last_asked(&w, BEAT)->at_ms;
    w.step = 1;
    world_pass(&w, good_ms + 53000 - clock_mono_ms());
    assert_true(holds_two(&w)); /* a few failed beats cost nothing */
    w.shards[0].next += 10;
    w.shards[1].next += 10;
    world_pass(&w, 500);
    before = frames_spooled(&w);
    assert_int_equal(before, 520);
    world_pass(&w, good_ms + 54000 - clock_mono_ms());
    w.shards[0].next += 10;
    world_pass(&w, 30000);
    assert_int_equal(frames_spooled(&w), before);
    assert_int_equal(last_asked(&w, PULL)->at_ms < good_ms + 54000, true);
    put = last_asked(&w, PUT);
    assert_true(put->at_ms + put->timeout_ms <= good_ms + 54000); /* nor still on its way */
    assert_true(holds_none(&w));
    assert_string_equal(note_of(&w, UINT32_MAX).state, "network");
    w.step = 0; /* mended: it comes back by itself and nothing is missing */
    RUN_UNTIL(&w, everything_reported);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    world_teardown(&w);
}

/* The spool is full: what was pulled waits in hand. Meanwhile no beat goes through, and room comes
 * behind the fence, before the group's thread has noticed: the batch must not be spooled any more.
 */
static void trap_10_what_waited_for_room_behind_the_fence_is_not_spooled(void **state)
{
    struct world w;
    const struct slsr_spool_config config = {.path = w.dir, .max_size_bytes = SMALL_SPOOL};
    struct slsr_target_state siem;
    struct slsr_err err;
    int64_t good_ms;
    uint64_t before;

    (void)state;
    world_setup(&w, 1, 5000);
    slsr_spool_close(w.spool);
    assert_int_equal(slsr_spool_open(&w.spool, &config, SLSR_SPOOL_WRITE, &err), 0);
    assert_int_equal(slsr_spool_target_add(w.spool, "siem", &siem, &err), 0);
    w.hook = beats_fail;
    world_start(&w);
    RUN_UNTIL(&w, spool_is_full);
    good_ms = last_asked(&w, BEAT)->at_ms;
    w.step = 1;
    world_pass(&w, good_ms + 54001 - clock_mono_ms());
    before = frames_spooled(&w);
    siem.acked = before + 1;
    assert_int_equal(slsr_spool_ack(w.spool, &siem, &err), 0);
    world_pass(&w, 60000);
    assert_int_equal(frames_spooled(&w), before);
    assert_true(holds_none(&w));
    w.step = 0; /* mended: nothing is missing */
    for (int n = 0; n < 100 && !all_spooled(&w); n++) {
        world_pass(&w, 5000);
        siem.acked = frames_spooled(&w) + 1;
        assert_int_equal(slsr_spool_ack(w.spool, &siem, &err), 0);
    }
    assert_true(all_spooled(&w));
    world_stop(&w);
    world_teardown(&w);
}

static bool beats_hang(struct world *w, const struct asked *q, struct answer *a)
{
    if (w->step == 1 && q->call == BEAT)
        a->delay_ms = 120000; /* longer than anybody waits */
    if (a->delay_ms > 0)
        return say(a, 200, "");
    return false;
}

static void
client_survives_heartbeat_hanging_its_time_limit_is_well_below_the_interval(void **state)
{
    struct world w;
    unsigned beats;

    (void)state;
    world_setup(&w, 2, 250);
    w.hook = beats_hang;
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    assert_int_equal(last_asked(&w, BEAT)->timeout_ms, 10000); /* interval 20 s */
    w.step = 1;
    beats = w.count[BEAT];
    world_pass(&w, 45000);
    assert_true(w.count[BEAT] - beats >= 2); /* the first hung, another was tried in time */
    w.step = 0;
    world_pass(&w, 30000);
    assert_true(holds_two(&w)); /* no shard was lost by it */
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    world_teardown(&w);
}

static bool lists_hang(struct world *w, const struct asked *q, struct answer *a)
{
    if (w->step == 1 && q->call == LIST) {
        a->delay_ms = 120000;
        return say(a, 200, "");
    }
    return false;
}

/* What is asked between two beats must not delay the next one. */
static void trap_10_a_hanging_question_between_beats_costs_no_shard(void **state)
{
    struct world w;
    int64_t worst = 0;
    int64_t last = 0;

    (void)state;
    world_setup(&w, 2, 50);
    w.source.heartbeat_interval_ms = 5000;
    w.source.heartbeat_timeout_ms = 15000;
    w.step = 1;
    w.hook = lists_hang;
    world_start(&w);
    world_pass(&w, 120000);
    for (size_t i = 0; i < w.asked_count && i < FAKE_ASKED; i++) {
        if (w.asked[i].call != BEAT)
            continue;
        if (last != 0 && w.asked[i].at_ms - last > worst)
            worst = w.asked[i].at_ms - last;
        last = w.asked[i].at_ms;
    }
    assert_in_range(worst, 1, 8000);
    assert_true(holds_two(&w));
    world_teardown(&w);
}

/* A stalled process wakes up after the group's time-out: another consumer has moved on meanwhile.
 */
static void trap_10_stalled_process_does_not_overwrite_its_successors_checkpoint(void **state)
{
    struct world w;
    unsigned puts;

    (void)state;
    world_setup(&w, 1, 250);
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    w.shards[0].next += 100;
    clock_wind(90000); /* SIGSTOP: no thread of ours ran; the server gave the shard away */
    w.consumer_known = false;
    w.shards[0].assigned = w.shards[0].holder = false;
    cursor_text(FAKE_FIRST + 300, w.shards[0].checkpoint);
    puts = w.shards[0].puts;
    world_pass(&w, 60000);
    assert_int_equal(w.shards[0].puts, puts);
    assert_int_equal(checkpoint(&w, 0), FAKE_FIRST + 300);
    assert_true(holds_none(&w));
    /* the successor dies, the shard comes back: from where the successor stood, not from ours */
    w.shards[0].assigned = w.shards[0].holder = true;
    RUN_UNTIL(&w, ends_reported);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 250 + 50);
    world_teardown(&w);
}

/* The machine slept for longer than the group's time-out: timers stood still, the server's did not.
 * A successor has had the shard, gone on and left. Whoever of ours wakes first, the worker or the
 * heartbeat, the shard begins anew from where the successor stood. */
static void slept(int64_t fetch_interval_ms)
{
    struct world w;

    world_setup(&w, 1, 250);
    w.source.fetch_interval_ms = fetch_interval_ms;
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    w.shards[0].next += 100;
    cursor_text(FAKE_FIRST + 300, w.shards[0].checkpoint);
    clock_suspend(90000);
    RUN_UNTIL(&w, ends_reported);
    world_stop(&w);
    assert_int_equal(frames_spooled(&w), 250 + 50);
    world_teardown(&w);
}

static void trap_10_a_machine_that_slept_has_lost_its_shards(void **state)
{
    (void)state;
    slept(200);
}

static void trap_10_a_heartbeat_after_the_sleep_does_not_renew_what_was_lost(void **state)
{
    (void)state;
    slept(30000);
}

static bool forced(struct world *w, const struct asked *q, struct answer *a)
{
    (void)a;
    (void)w;
    if (q->call == PUT && (strcasestr(q->target, "forceSuccess=false") == NULL ||
                           strstr(q->target, "consumer=relay-1") == NULL))
        fail_msg("forced or without our name: %s", q->target);
    return false;
}

static void trap_10_checkpoints_are_unforced_and_under_our_name(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 250);
    w.hook = forced;
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    world_stop(&w);
    assert_true(w.count[PUT] > 0);
    world_teardown(&w);
}

static void not_match_drops_the_shard_and_discards_what_is_in_hand(void **state)
{
    struct world w;
    uint64_t frames;

    (void)state;
    world_setup(&w, 2, 250);
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    w.shards[1].holder = w.shards[1].assigned = false; /* taken away without a word */
    w.shards[0].next += 5;
    w.shards[1].next += 5;
    world_pass(&w, 3000);
    frames = frames_spooled(&w);
    w.shards[1].next += 5; /* not ours to read any more */
    world_pass(&w, 10000);
    assert_int_equal(frames_spooled(&w), frames);
    assert_int_equal(checkpoint(&w, 1), FAKE_FIRST + 250);
    assert_string_equal(note_of(&w, 1).state, "none");
    world_teardown(&w);
}

/* --- leaving --- */

/* Both shards hold something that was spooled and not yet reported, and will not be by itself. */
static void load_unreported(struct world *w)
{
    w->source.checkpoint_interval_ms = 600 * 1000;
    world_start(w);
    RUN_UNTIL(w, everything_reported);
    w->shards[0].next += 7;
    w->shards[1].next += 7;
    RUN_UNTIL(w, all_spooled);
    assert_false(all_reported(w));
}

static bool put_fails_for_a_while(struct world *w, const struct asked *q, struct answer *a)
{
    static int left_to_fail;

    if (w->step == 1 && q->call == PUT) {
        left_to_fail = 3;
        w->step = 2;
    }
    if (w->step == 2 && q->call == PUT && left_to_fail > 0) {
        left_to_fail--;
        return say(a, 503, "ServerBusy");
    }
    return false;
}

/* Final checkpoints before leaving; a few failures do not make it give up. */
static void trap_10_final_checkpoint_is_stored_before_leaving(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 250);
    w.hook = put_fails_for_a_while;
    load_unreported(&w);
    w.step = 1;
    world_stop(&w);
    assert_true(all_reported(&w));
    world_teardown(&w);
}

static bool put_hangs(struct world *w, const struct asked *q, struct answer *a)
{
    if (w->step == 0 || q->call != PUT)
        return false;
    model_answer(w, q, a);
    a->delay_ms = 4000; /* stored, but the answer takes its time */
    return true;
}

/* On TERM it goes on beating, all shards listed, until each final checkpoint is stored. */
static void trap_10_beats_go_on_until_the_final_checkpoints_are_stored(void **state)
{
    struct world w;
    unsigned beats;

    (void)state;
    world_setup(&w, 2, 250);
    w.source.heartbeat_interval_ms = 1000;
    w.source.heartbeat_timeout_ms = 15000;
    w.hook = put_hangs;
    load_unreported(&w);
    beats = w.count[BEAT];
    w.step = 1;
    world_stop(&w);
    assert_true(w.count[BEAT] - beats >= 3);
    assert_true(all_reported(&w));
    world_teardown(&w);
}

static void heartbeats_list_shards_that_are_still_unloading(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 250);
    w.source.heartbeat_interval_ms = 1000;
    w.source.heartbeat_timeout_ms = 15000;
    w.hook = put_hangs;
    load_unreported(&w);
    w.step = 1;                   /* its checkpoint takes 4 s ... */
    w.shards[1].assigned = false; /* ... and the server wants it for another consumer */
    world_pass(&w, 3000);
    assert_string_equal(w.beating, "[0,1]"); /* still the holder, says the list */
    world_pass(&w, 5000);
    assert_int_equal(checkpoint(&w, 1), FAKE_FIRST + 257);
    assert_string_equal(w.beating, "[0]");
    world_teardown(&w);
}

static void client_survives_a_shard_listed_again_while_stopping(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 250);
    w.source.heartbeat_interval_ms = 1000;
    w.source.heartbeat_timeout_ms = 15000;
    w.hook = put_hangs;
    load_unreported(&w);
    w.step = 1;
    w.shards[1].assigned = false;
    world_pass(&w, 2000); /* stopping, its checkpoint under way */
    w.shards[1].assigned = true;
    w.shards[1].next += 7;
    world_pass(&w, 8000);
    assert_true(holds_two(&w)); /* it stopped first, then began afresh from the server's position */
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    world_teardown(&w);
}

/* --- 8.12, 8.13 and the group itself --- */

static void trap_12_forgotten_consumer_drops_all_and_beats_with_an_empty_list(void **state)
{
    struct world w;
    int64_t began;

    (void)state;
    world_setup(&w, 2, 250);
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    w.consumer_known = false; /* expired */
    w.shards[0].next += 3;
    began = clock_mono_ms();
    world_pass(&w, 25000);
    assert_true(w.consumer_known); /* [] went through */
    assert_true(holds_two(&w));
    RUN_UNTIL(&w, everything_reported);
    assert_true(clock_mono_ms() - began < 60000);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    world_teardown(&w);
}

static bool one_beat_fails(struct world *w, const struct asked *q, struct answer *a)
{
    if (w->step > 0 && q->call == BEAT) {
        w->step--;
        return say(a, 500, "InternalServerError");
    }
    return false;
}

/* timeout = 3 intervals, and a failed beat is retried before the interval is over. */
static void trap_13_failed_beats_are_retried_within_the_interval(void **state)
{
    struct world w;
    int64_t good_ms;

    (void)state;
    world_setup(&w, 2, 50);
    w.hook = one_beat_fails;
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    good_ms = last_asked(&w, BEAT)->at_ms;
    w.step = 3;
    world_pass(&w, 40000);
    assert_int_equal(w.step, 0);
    assert_true(last_asked(&w, BEAT)->at_ms > good_ms + 20000);
    assert_true(holds_two(&w));
    assert_string_equal(note_of(&w, UINT32_MAX).state, "ok");
    world_teardown(&w);
}

static void client_survives_the_group_deleted_under_it(void **state)
{
    struct world w;
    unsigned creates;

    (void)state;
    world_setup(&w, 2, 250);
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    creates = w.count[CREATE];
    w.group_exists = w.consumer_known = false;
    w.shards[0].next += 9;
    RUN_UNTIL(&w, everything_reported); /* made anew; positions are gone, ours are not */
    assert_int_equal(w.count[CREATE], creates + 1);
    world_stop(&w);
    assert_int_equal(spooled_whole(&w, 0, FAKE_FIRST), 0);
    assert_int_equal(spooled_whole(&w, 1, FAKE_FIRST), 0);
    world_teardown(&w);
}

static bool create_races(struct world *w, const struct asked *q, struct answer *a)
{
    if (q->call == CREATE && w->step++ == 0) {
        w->group_exists = true;
        return say(a, 400, "ConsumerGroupAlreadyExist");
    }
    return false;
}

static void another_relay_creates_the_group_at_the_same_moment(void **state)
{
    struct world w;

    (void)state;
    world_setup(&w, 2, 50);
    w.hook = create_races;
    world_start(&w);
    RUN_UNTIL(&w, everything_reported);
    assert_int_equal(w.count[UPDATE], 1);
    world_teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_read_and_reported_once),
        cmocka_unit_test(trap_10_two_owners_fence_counts_from_the_sending_of_the_last_good_beat),
        cmocka_unit_test(trap_10_what_waited_for_room_behind_the_fence_is_not_spooled),
        cmocka_unit_test(
            client_survives_heartbeat_hanging_its_time_limit_is_well_below_the_interval),
        cmocka_unit_test(trap_10_a_hanging_question_between_beats_costs_no_shard),
        cmocka_unit_test(trap_10_stalled_process_does_not_overwrite_its_successors_checkpoint),
        cmocka_unit_test(trap_10_a_machine_that_slept_has_lost_its_shards),
        cmocka_unit_test(trap_10_a_heartbeat_after_the_sleep_does_not_renew_what_was_lost),
        cmocka_unit_test(trap_10_checkpoints_are_unforced_and_under_our_name),
        cmocka_unit_test(not_match_drops_the_shard_and_discards_what_is_in_hand),
        cmocka_unit_test(trap_10_final_checkpoint_is_stored_before_leaving),
        cmocka_unit_test(trap_10_beats_go_on_until_the_final_checkpoints_are_stored),
        cmocka_unit_test(heartbeats_list_shards_that_are_still_unloading),
        cmocka_unit_test(client_survives_a_shard_listed_again_while_stopping),
        cmocka_unit_test(trap_12_forgotten_consumer_drops_all_and_beats_with_an_empty_list),
        cmocka_unit_test(trap_13_failed_beats_are_retried_within_the_interval),
        cmocka_unit_test(client_survives_the_group_deleted_under_it),
        cmocka_unit_test(another_relay_creates_the_group_at_the_same_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
