/* Retention takes segments away while a tool reads: what is given back is no damage, and a reader
 * that came too late for frames knows how many. */
#include <string.h>
#include <unistd.h>

#include "spool_place.h"

#include "spool/internal.h"

enum { BATCHES = 30, FRAMES = 100, BYTES = 2000, SEGMENTS = 5 };

struct box {
    char dir[PLACE_DIR], key[PLACE_KEY];
    struct slsr_spool_config config;
    struct slsr_spool *tool;
    uint64_t firsts[16]; /* of the segments, and the end behind the last one */
    size_t count;
    size_t from, to; /* of them, to be taken away at the first sign of progress */
};

static void append(struct slsr_spool *spool)
{
    const struct slsr_checkpoint checkpoint = {.stream = {"proj", "audit", 0}, .cursor = "MTAy"};
    struct slsr_batch batch;
    struct slsr_err err;

    slsr_batch_init(&batch);
    snprintf(batch.cursor, sizeof batch.cursor, "MTAw");
    batch.size = (size_t)FRAMES * (BYTES + 8);
    batch.data = malloc(batch.size);
    batch.meta = calloc(FRAMES, sizeof *batch.meta);
    batch.meta_size = FRAMES;
    assert_non_null(batch.data);
    assert_non_null(batch.meta);
    while (batch.frame_count < FRAMES) {
        batch.used += (size_t)snprintf(batch.data + batch.used, 8, "%d ", BYTES);
        memset(batch.data + batch.used, 'a', BYTES);
        batch.used += BYTES;
        batch.meta[batch.frame_count++].end = (uint32_t)batch.used;
    }
    if (slsr_spool_append(spool, &batch, &checkpoint, NULL, &err) != 0)
        fail_msg("append: %s", err.text);
    slsr_batch_fini(&batch);
}

/* A spool of several small segments, open for reading. */
static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);
    struct slsr_spool *spool;

    place_make(box->dir, box->key, "gone");
    box->config = (struct slsr_spool_config){.path = box->dir, .max_size_bytes = 10 << 20};
    spool = place_open(&box->config, SLSR_SPOOL_WRITE);
    for (int i = 0; i < BATCHES; i++)
        append(spool);
    assert_true(spool->segment_count >= SEGMENTS);
    assert_true(spool->segment_count < 16);
    for (; box->count < spool->segment_count; box->count++)
        box->firsts[box->count] = spool->segments[box->count]->first;
    slsr_spool_close(spool);
    box->firsts[box->count] = (uint64_t)BATCHES * FRAMES + 1;
    box->tool = place_open(&box->config, SLSR_SPOOL_READ);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;

    slsr_spool_close(box->tool);
    place_wipe(box->dir, box->key);
    free(box);
    return 0;
}

/* As retention does it. */
static void take_away(struct box *box)
{
    for (; box->from < box->to; box->from++)
        segment_unlink(box->tool, box->firsts[box->from]);
}

static bool on_progress(void *ctx, uint64_t done, uint64_t all)
{
    (void)done;
    (void)all;
    take_away(ctx);
    return true;
}

static void ignore(void *ctx, const char *sentence)
{
    (void)ctx;
    (void)sentence;
}

/* The segments [from, to) go while the first one is looked at. */
static struct slsr_verify verify_while_they_go(struct box *box, size_t from, size_t to,
                                               int expected)
{
    struct slsr_verify verify = {.deep = true, .bad = ignore, .progress = on_progress, .ctx = box};
    struct slsr_err err = {0};

    box->from = from;
    box->to = to;
    if (slsr_spool_verify(box->tool, &verify, &err) != expected)
        fail_msg("verify: %d, %s", err.code, err.text);
    return verify;
}

static void what_is_given_back_is_no_damage(void **state)
{
    struct box *box = *state;
    struct slsr_verify verify = verify_while_they_go(box, 0, 3, 0);

    assert_int_equal(verify.damaged, 0);
    assert_int_equal(verify.segments, box->count - 2);
    assert_int_equal(verify.frames,
                     box->firsts[box->count] - box->firsts[3] + box->firsts[1] - box->firsts[0]);
}

/* With one before it: then it was not retention. */
static void what_is_lost_in_the_middle_is_damage(void **state)
{
    assert_int_equal(verify_while_they_go(*state, 2, 3, SLSR_ECORRUPT).damaged, 1);
}

static void a_range_counts_what_it_came_too_late_for(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t seen = 0;

    assert_int_equal(slsr_range_open(&range, box->tool, 1, UINT64_MAX - 1, &err), 0);
    while (slsr_range_next(range, &frame, &err) == 0) {
        box->from = 0;
        box->to = seen == 0 ? 3 : 0;
        take_away(box);
        seen++;
    }
    assert_int_equal(err.code, SLSR_ENOMATCH);
    assert_int_equal(slsr_range_missed(range), box->firsts[3] - box->firsts[1]);
    assert_int_equal(seen + slsr_range_missed(range), (uint64_t)BATCHES * FRAMES);
    slsr_range_close(range);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_given_back_is_no_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_lost_in_the_middle_is_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(a_range_counts_what_it_came_too_late_for, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
