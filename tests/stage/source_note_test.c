/* What the main thread tells the spool of reading, and so every tool and the page. */
#include "fake_sls.h"

#include "relay/internal.h"

enum { SHARDS = 3, GROUPS = 250 };

static bool everything_reported(struct world *w)
{
    return all_reported(w);
}

static void check_noted(struct world *w, const char *state, uint32_t shards)
{
    struct slsr_source_state *list;
    size_t count;

    assert_int_equal(slsr_spool_sources(w->spool, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].state, state);
    assert_int_equal(list[0].shards, shards);
    free(list);
}

/* The next sample for the curves is due seconds later: who asks until then must not be told of a
 * start while frames come in. */
static void sources_are_noted_at_each_tick_not_with_each_sample(void **state)
{
    struct world w;
    struct slsr_source_state noted = {0};
    struct relay relay = {.noted = &noted, .consumer_count = 1};
    struct slsr_config config = {0};
    struct slsr_err err;

    (void)state;
    world_setup(&w, SHARDS, GROUPS);
    world_start(&w);
    config.spool.path = w.dir;
    config.spool.max_size_bytes = INT64_C(1) << 30;
    relay.consumers = &w.consume;
    relay.spool = w.spool;
    relay.watch = (struct watch){.config = &config, .spool = w.spool, .history = history_new()};
    assert_non_null(relay.watch.history);
    assert_int_equal(slsr_stop_init(&relay.pull_stop, &err), 0);

    service_tick(&relay); /* the first takes a sample, so none is due at the second */
    RUN_UNTIL(&w, everything_reported);
    assert_in_range(clock_mono_ms(), 0, relay.next_sample_ms - 1);
    service_tick(&relay);
    check_noted(&w, "ok", SHARDS);

    slsr_stop_request(&relay.pull_stop);
    world_stop(&w); /* the consumer is freed: a tick must not look at it */
    service_tick(&relay);
    check_noted(&w, "ok", SHARDS);
    slsr_stop_fini(&relay.pull_stop);
    history_free(relay.watch.history);
    world_teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_are_noted_at_each_tick_not_with_each_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
