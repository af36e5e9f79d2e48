/* Times against brute force: look-ups, counts and skipping by the index must say what reading every
 * frame says, over many segments, with event times in any order. Prints its seed when it fails. */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/spool.h"

#include "base/clock.h"

#define STARTS_MS INT64_C(1735787045000)
enum { BATCHES = 150, BATCH_FRAMES = 40, FRAME_BYTES = 1000, SHARDS = 5 };

struct box {
    char dir[64];
    struct slsr_spool_config config;
    uint64_t mix; /* the dice */
    unsigned seed;
};

/* What every frame says, read one by one. */
struct fact {
    uint64_t seq;
    int64_t event_ns, arrival_ns;
    uint32_t shard;
};

static uint32_t dice(struct box *box, uint32_t sides)
{
    box->mix = box->mix * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(box->mix >> 33) % sides;
}

/* One batch of a shard around a time that moves on, with stragglers far off. */
static void append(struct slsr_spool *spool, struct box *box, unsigned number)
{
    struct slsr_checkpoint cp = {.stream = {"proj", "audit", dice(box, SHARDS)}, .cursor = "MTAw"};
    struct slsr_batch batch;
    struct slsr_err err;

    slsr_batch_init(&batch);
    strcpy(batch.cursor, "MTAw");
    batch.data = malloc((size_t)BATCH_FRAMES * (FRAME_BYTES + 16));
    batch.meta = malloc(BATCH_FRAMES * sizeof *batch.meta);
    for (size_t i = 0; i < BATCH_FRAMES; i++) {
        const uint32_t base = dice(box, 40) == 0 ? dice(box, 5000) : 10 * number;

        batch.used += (size_t)sprintf(batch.data + batch.used, "%d ", FRAME_BYTES);
        for (size_t k = 0; k < FRAME_BYTES; k++) /* not to be compressed away */
            batch.data[batch.used++] = (char)(32 + dice(box, 90));
        batch.meta[i] = (struct slsr_frame_meta){.end = (uint32_t)batch.used,
                                                 .index = (uint32_t)i,
                                                 .time_s = 100000 + base + dice(box, 30),
                                                 .time_ns = dice(box, 1000000000)};
    }
    batch.frame_count = BATCH_FRAMES;
    if (slsr_spool_append(spool, &batch, &cp, NULL, &err) != 0)
        fail_msg("append: %s", err.text);
    slsr_batch_fini(&batch);
}

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);
    const char *given = getenv("SLSR_SEED");
    struct slsr_spool *spool;
    struct slsr_err err;

    strcpy(box->dir, "/tmp/slsr-times-XXXXXX");
    assert_non_null(mkdtemp(box->dir));
    box->seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    box->mix = box->seed;
    box->config.path = box->dir;
    box->config.max_size_bytes = INT64_C(10) << 20; /* segments of 1 MiB */
    box->config.retention_size_bytes = INT64_C(1) << 40;
    box->config.retention_time_ms = INT64_MAX / 4;
    assert_int_equal(slsr_spool_open(&spool, &box->config, SLSR_SPOOL_WRITE, &err), 0);
    for (unsigned i = 0; i < BATCHES; i++) {
        /* a second later each, or the clock is set back */
        clock_freeze(STARTS_MS + 1000 * (int64_t)(i - (dice(box, 20) == 0 ? dice(box, i + 1) : 0)));
        append(spool, box, i);
    }
    slsr_spool_close(spool);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", box->dir);
    assert_int_equal(system(command), 0);
    free(box);
    return 0;
}

static struct slsr_spool *open_to_read(struct box *box)
{
    struct slsr_spool *spool;
    struct slsr_err err;

    if (slsr_spool_open(&spool, &box->config, SLSR_SPOOL_READ, &err) != 0)
        fail_msg("open: %s", err.text);
    return spool;
}

static size_t read_all(struct slsr_spool *spool, struct fact *facts)
{
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    size_t n = 0;

    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    while (slsr_range_next(range, &frame, &err) == 0)
        facts[n++] = (struct fact){frame.seq, (int64_t)frame.time_s * 1000000000 + frame.time_ns,
                                   frame.arrival_ms * 1000000, frame.stream.shard};
    slsr_range_close(range);
    return n;
}

/* A count under way: which frames the index left open. */
struct open_ends {
    const struct fact *facts;
    int64_t since_ns, until_ns;
    bool by_arrival;
    uint32_t shard; /* UINT32_MAX: all */
    uint64_t behind, frames;
};

static bool fits(const struct open_ends *ends, const struct fact *fact)
{
    const int64_t ns = ends->by_arrival ? fact->arrival_ns : fact->event_ns;

    return ns >= ends->since_ns && ns <= ends->until_ns &&
           (ends->shard == UINT32_MAX || ends->shard == fact->shard);
}

static void edge(void *ctx, uint64_t from, uint64_t to)
{
    struct open_ends *ends = ctx;

    assert_true(from >= ends->behind && from < to); /* oldest first, nothing twice */
    ends->behind = to;
    for (uint64_t seq = from; seq < to; seq++)
        ends->frames += fits(ends, &ends->facts[seq - 1]);
}

static bool want(void *ctx, const struct slsr_stream *stream)
{
    const struct open_ends *ends = ctx;

    return stream->shard == ends->shard;
}

static int64_t some_time(struct box *box, const struct fact *facts, size_t n, bool by_arrival)
{
    const struct fact *fact = &facts[dice(box, (uint32_t)n)];
    const int64_t ns = by_arrival ? fact->arrival_ns : fact->event_ns;

    return ns + (dice(box, 3) == 0 ? (int64_t)dice(box, 2000000000) - 1000000000 : 0);
}

/* [from, to) of the count, and what reading says. */
static void count_once(struct box *box, struct slsr_spool *spool, const struct fact *facts,
                       size_t n)
{
    struct open_ends ends = {.facts = facts, .by_arrival = dice(box, 2), .shard = UINT32_MAX};
    struct slsr_count count = {.edge = edge, .ctx = &ends};
    struct slsr_err err = {0};
    uint64_t sure = 0;
    uint64_t expected = 0;
    int64_t a = some_time(box, facts, n, ends.by_arrival);
    int64_t b = some_time(box, facts, n, ends.by_arrival);

    ends.since_ns = dice(box, 8) == 0 ? INT64_MIN : a < b ? a : b;
    ends.until_ns = dice(box, 8) == 0 ? INT64_MAX : a < b ? b : a;
    if (dice(box, 2) == 0) {
        ends.shard = dice(box, SHARDS + 1);
        count.want = want;
    }
    count.from = 1 + dice(box, (uint32_t)n);
    count.to = dice(box, 3) == 0 ? n + 1 : count.from + dice(box, (uint32_t)n);
    count.to = count.to > n + 1 ? n + 1 : count.to;
    count.since_ns = ends.since_ns;
    count.until_ns = ends.until_ns;
    count.by_arrival = ends.by_arrival;
    if (slsr_spool_count(spool, &count, &sure, &err) != 0)
        fail_msg("seed %u: count: %s", box->seed, err.text);
    for (uint64_t seq = count.from; seq < count.to; seq++)
        expected += fits(&ends, &facts[seq - 1]);
    if (sure + ends.frames != expected)
        fail_msg("seed %u: counted %llu and looked at %llu, not %llu", box->seed,
                 (unsigned long long)sure, (unsigned long long)ends.frames,
                 (unsigned long long)expected);
}

/* The first chunk that may hold it, and the end of what may: no frame outside of them fits. */
static void seek_once(struct box *box, struct slsr_spool *spool, const struct fact *facts, size_t n)
{
    const bool by_arrival = dice(box, 2);
    const int64_t ms = some_time(box, facts, n, by_arrival) / 1000000;
    struct slsr_err err;
    uint64_t seq;
    uint64_t end;

    assert_int_equal(slsr_spool_seek_time(spool, ms, by_arrival, &seq, &err), 0);
    assert_int_equal(slsr_spool_until_time(spool, ms, by_arrival, &end, &err), 0);
    for (size_t i = 0; i < n; i++) {
        const int64_t ns = by_arrival ? facts[i].arrival_ns : facts[i].event_ns;

        if (ns >= ms * 1000000 && facts[i].seq < seq)
            fail_msg("seed %u: frame %zu lies before its time", box->seed, i + 1);
        if (ns < ms * 1000000 && facts[i].seq >= end)
            fail_msg("seed %u: frame %zu lies behind the end", box->seed, i + 1);
    }
    if (seq > 1) /* and not needlessly early: the chunk in front is all before */
        assert_true((by_arrival ? facts[seq - 2].arrival_ns : facts[seq - 2].event_ns) <
                    ms * 1000000 + 1000000000);
}

/* A range that skips hands out every frame that fits, in order. */
static void skip_once(struct box *box, struct slsr_spool *spool, const struct fact *facts, size_t n)
{
    struct open_ends ends = {.facts = facts, .shard = dice(box, SHARDS)};
    const uint64_t from = 1 + dice(box, (uint32_t)n);
    const uint64_t to = from + dice(box, (uint32_t)(n + 1 - from) + 1);
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t at = from;
    int64_t a = some_time(box, facts, n, false);
    int64_t b = some_time(box, facts, n, false);

    ends.since_ns = a < b ? a : b;
    ends.until_ns = a < b ? b : a;
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    if (dice(box, 2) == 0)
        slsr_range_time(range, ends.since_ns / 1000000, ends.until_ns / 1000000 + 1, false);
    slsr_range_streams(range, want, &ends);
    slsr_range_seek(range, from);
    slsr_range_limit(range, to);
    while (slsr_range_next(range, &frame, &err) == 0) {
        assert_true(frame.seq >= at && frame.seq < to);
        for (; at < frame.seq; at++)
            if (fits(&ends, &facts[at - 1]))
                fail_msg("seed %u: frame %llu was skipped", box->seed, (unsigned long long)at);
        at = frame.seq + 1;
    }
    for (; at < to; at++)
        if (fits(&ends, &facts[at - 1]))
            fail_msg("seed %u: frame %llu was skipped", box->seed, (unsigned long long)at);
    slsr_range_close(range);
}

static void all_of_it(struct box *box, unsigned rounds)
{
    struct fact *facts = calloc((size_t)BATCHES * BATCH_FRAMES, sizeof *facts);
    struct slsr_spool *spool = open_to_read(box);
    struct slsr_spool_stat stat;
    struct slsr_err err;
    size_t n;

    assert_int_equal(slsr_spool_stat(spool, &stat, &err), 0);
    assert_true(stat.segments >= 4);
    n = read_all(spool, facts);
    assert_int_equal(n, BATCHES * BATCH_FRAMES);
    for (unsigned i = 0; i < rounds; i++) {
        count_once(box, spool, facts, n);
        seek_once(box, spool, facts, n);
        skip_once(box, spool, facts, n);
        if (i % 20 == 0) { /* nothing known yet: summaries are read anew */
            slsr_spool_close(spool);
            spool = open_to_read(box);
        }
    }
    slsr_spool_close(spool);
    free(facts);
}

static void index_says_what_reading_says(void **state)
{
    all_of_it(*state, 400);
}

/* A bit of every summary flips: it is not believed, LMDB's way gives the same answers. */
static void damaged_summaries_are_not_believed(void **state)
{
    struct box *box = *state;
    char pattern[80];
    glob_t files;
    unsigned flipped = 0;

    snprintf(pattern, sizeof pattern, "%s/seg-*.mdb", box->dir);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct stat st;
        const int fd = open(files.gl_pathv[i], O_RDWR);
        char *map;
        char *at;

        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        at = map;
        while ((at = memmem(at, (size_t)(map + st.st_size - at), "summary", 7)) != NULL) {
            at[7 + 36] ^= 0x40; /* its times */
            at += 7;
            flipped++;
        }
        munmap(map, (size_t)st.st_size);
        close(fd);
    }
    globfree(&files);
    assert_true(flipped >= 3);
    all_of_it(box, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_says_what_reading_says),
        cmocka_unit_test(damaged_summaries_are_not_believed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
