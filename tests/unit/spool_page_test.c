/* A machine whose pages are larger than 4 KiB: LMDB takes the system's page size, and what lies in
 * a leaf and moves with each commit is then larger, too. */
#include <string.h>
#include <unistd.h>

#include "spool_place.h"

enum { PAGE = 32768, LONGEST = 17000, ROUNDS = 12 };

static bool large; /* from main on: what begins before it has the real size */

long __sysconf(int name); /* of the C library */

/* The page size as LMDB asks for it. A sanitizer asks, too, before it can be asked itself. */
__attribute__((no_sanitize("thread"))) long sysconf(int name)
{
    return name == _SC_PAGESIZE && large ? PAGE : __sysconf(name);
}

struct box {
    char dir[PLACE_DIR], key[PLACE_KEY];
    struct slsr_spool_config config;
};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    place_make(box->dir, box->key, "page");
    box->config = (struct slsr_spool_config){.path = box->dir, .max_size_bytes = 64 << 20};
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;

    place_wipe(box->dir, box->key);
    free(box);
    return 0;
}

/* One frame of so many bytes, all of them `fill`. */
static void append(struct slsr_spool *spool, size_t n, char fill)
{
    const struct slsr_checkpoint checkpoint = {.stream = {"proj", "audit", 0}, .cursor = "MTAy"};
    struct slsr_batch batch;
    struct slsr_err err;

    slsr_batch_init(&batch);
    snprintf(batch.cursor, sizeof batch.cursor, "MTAw");
    batch.size = n + 24;
    batch.data = malloc(batch.size);
    batch.meta = calloc(1, sizeof *batch.meta);
    batch.meta_size = 1;
    assert_non_null(batch.data);
    assert_non_null(batch.meta);
    batch.used = (size_t)snprintf(batch.data, 24, "%zu ", n);
    memset(batch.data + batch.used, fill, n);
    batch.used += n;
    batch.meta[0].end = (uint32_t)batch.used;
    batch.frame_count = 1;
    if (slsr_spool_append(spool, &batch, &checkpoint, NULL, &err) != 0)
        fail_msg("append: %s", err.text);
    slsr_batch_fini(&batch);
}

/* A sender has a run in hand while the writer goes on: the bytes stay what they were. */
static void a_run_in_hand_stays_as_it_was(void **state)
{
    struct box *box = *state;

    for (size_t n = 3000; n <= LONGEST; n += 1000) {
        struct slsr_spool *spool = place_open(&box->config, SLSR_SPOOL_WRITE);
        struct slsr_range *range;
        struct slsr_run run;
        struct slsr_err err;
        char *before;
        uint64_t oldest;
        uint64_t next;

        assert_int_equal(slsr_spool_bounds(spool, &oldest, &next, &err), 0);
        append(spool, n, 'a');
        assert_int_equal(slsr_range_open(&range, spool, next, next + 1, &err), 0);
        if (slsr_range_next_run(range, LONGEST * 2, &run, &err) != 0)
            fail_msg("%s", err.text);
        assert_true(run.wire.n > n);
        before = malloc(run.wire.n);
        assert_non_null(before);
        memcpy(before, run.wire.p, run.wire.n);
        for (int i = 0; i < ROUNDS; i++)
            append(spool, n, 'b');
        assert_memory_equal(run.wire.p, before, run.wire.n);
        free(before);
        slsr_range_close(range);
        slsr_spool_close(spool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_in_hand_stays_as_it_was, setup, teardown),
    };

    large = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
