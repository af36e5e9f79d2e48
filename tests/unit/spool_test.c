/* The spool on a real disk: what goes in comes out, over rotation, reopening, damage and a full
 * disk limit. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/spool.h"

#include "base/cursor.h"

struct box {
    char dir[64];
    struct slsr_spool_config config;
    struct slsr_batch batch;
    uint64_t made; /* logs made so far: the cursor's number */
};

static const struct slsr_stream shard0 = {"proj", "audit", 0};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    strcpy(box->dir, "/tmp/slsr-spool-XXXXXX");
    assert_non_null(mkdtemp(box->dir));
    box->config.path = box->dir;
    box->config.max_size_bytes = 20 << 20;
    slsr_batch_init(&box->batch);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;
    char command[128];

    slsr_batch_fini(&box->batch);
    snprintf(command, sizeof command, "rm -rf %s", box->dir);
    assert_int_equal(system(command), 0);
    free(box);
    return 0;
}

static struct slsr_spool *open_it(struct box *box, enum slsr_spool_mode mode)
{
    struct slsr_spool *spool;
    struct slsr_err err;

    if (slsr_spool_open(&spool, &box->config, mode, &err) != 0)
        fail_msg("open: %s", err.text);
    return spool;
}

/* n frames "message <number> xxxx" of about `bytes` each; log i has event time 1000 + number. */
static void fill(struct box *box, size_t n, size_t bytes)
{
    struct slsr_batch *b = &box->batch;

    slsr_batch_reset(b);
    cursor_text(5000 + box->made, b->cursor);
    b->data = realloc(b->data, n * (bytes + 64));
    b->meta = realloc(b->meta, n * sizeof *b->meta);
    for (size_t i = 0; i < n; i++) {
        char text[64];
        const int len = snprintf(text, sizeof text, "message %llu ", (unsigned long long)box->made);
        const size_t size = (size_t)len > bytes ? (size_t)len : bytes;

        b->used += (size_t)sprintf(b->data + b->used, "%zu ", size);
        memset(b->data + b->used, 'x', size);
        memcpy(b->data + b->used, text, (size_t)len);
        b->used += size;
        b->meta[i] = (struct slsr_frame_meta){
            .end = (uint32_t)b->used, .group = (uint32_t)i, .time_s = (uint32_t)(1000 + box->made)};
        box->made++;
    }
    b->frame_count = n;
}

static void append(struct slsr_spool *spool, struct box *box, size_t n, size_t bytes)
{
    struct slsr_checkpoint cp = {.stream = shard0};
    struct slsr_err err;
    uint64_t first;

    fill(box, n, bytes);
    cursor_text(5000 + box->made, cp.cursor);
    if (slsr_spool_append(spool, &box->batch, &cp, &first, &err) != 0)
        fail_msg("append: %s", err.text);
    assert_int_equal(first, box->made - n + 1);
}

static uint64_t read_all(struct slsr_spool *spool, uint64_t from)
{
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t seq = from;
    int rc;

    assert_int_equal(slsr_range_open(&range, spool, from, UINT64_MAX, &err), 0);
    while ((rc = slsr_range_next(range, &frame, &err)) == 0) {
        char expect[64];
        char cursor[SLSR_CURSOR_MAX + 1];

        assert_int_equal(frame.seq, seq);
        snprintf(expect, sizeof expect, "message %llu ", (unsigned long long)(seq - 1));
        assert_memory_equal(frame.message.p, expect, strlen(expect));
        cursor_text(5000 + seq - 1, cursor);
        assert_int_equal(frame.cursor.n, strlen(cursor));
        assert_memory_equal(frame.cursor.p, cursor, frame.cursor.n);
        assert_int_equal(frame.time_s, 1000 + seq - 1);
        assert_string_equal(frame.stream.logstore, "audit");
        seq++;
    }
    assert_int_equal(rc, SLSR_ENOMATCH);
    slsr_range_close(range);
    return seq - from;
}

static void in_and_out_again(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_checkpoint cp;

    for (int i = 0; i < 50; i++)
        append(spool, box, 1 + (size_t)(i * 37 % 400), 20 + (size_t)(i % 5) * 300);
    assert_int_equal(read_all(spool, 1), box->made);
    assert_int_equal(read_all(spool, 777), box->made - 776);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(read_all(spool, 1), box->made);
    assert_int_equal(slsr_spool_checkpoint(spool, &shard0, &cp, NULL), 0);
    char cursor[SLSR_CURSOR_MAX + 1];
    cursor_text(5000 + box->made, cursor);
    assert_string_equal(cp.cursor, cursor);
    append(spool, box, 3, 10);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(read_all(spool, 1), box->made);
    slsr_spool_close(spool);
}

static void runs_equal_frames(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_range *range;
    struct slsr_range *frames;
    struct slsr_run run;
    struct slsr_frame frame;
    struct slsr_err err;
    int seeks = 0;

    for (int i = 0; i < 6; i++)
        append(spool, box, 500, 700);
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    assert_int_equal(slsr_range_open(&frames, spool, 1, UINT64_MAX, &err), 0);
    while (slsr_range_next_run(range, 10000, &run, &err) == 0) {
        uint32_t start = 0;

        assert_true(run.wire.n <= 10000 || run.count == 1);
        assert_int_equal(run.ends[run.count - 1], run.wire.n);
        for (uint32_t i = 0; i < run.count; i++) {
            assert_int_equal(slsr_range_next(frames, &frame, &err), 0);
            assert_int_equal(frame.seq, run.first + i);
            assert_int_equal(frame.wire.n, run.ends[i] - start);
            assert_memory_equal(frame.wire.p, run.wire.p + start, frame.wire.n);
            start = run.ends[i];
        }
        if (run.first > 300 && seeks < 3) { /* a sender that goes back after a break */
            seeks++;
            slsr_range_seek(range, run.first - 100);
            slsr_range_seek(frames, run.first - 100);
        }
    }
    assert_int_equal(slsr_range_position(range), box->made + 1);
    slsr_range_close(range);
    slsr_range_close(frames);
    slsr_spool_close(spool);
}

static void segments_go_when_taken(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_target_state target;
    struct slsr_spool_stat stat;
    struct slsr_checkpoint cp = {.stream = shard0, .cursor = "x"};
    struct slsr_err err;
    uint64_t frames, bytes, oldest, next;
    int64_t arrival;
    int rc;

    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    do {
        fill(box, 1000, 1000);
        rc = slsr_spool_append(spool, &box->batch, &cp, NULL, &err);
    } while (rc == 0);
    assert_int_equal(rc, SLSR_EFULL); /* block: nothing undelivered goes */
    assert_non_null(strstr(err.text, "which spool.min_free_disk keeps 0 MiB)"));
    box->made -= 1000;
    assert_int_equal(slsr_spool_stat(spool, &stat, &err), 0);
    assert_int_equal(stat.frames, box->made);
    assert_true(stat.disk_bytes <= 20 << 20);
    assert_true(stat.segments > 3);
    assert_int_equal(slsr_spool_backlog(spool, 2001, &frames, &bytes, &arrival, &err), 0);
    assert_int_equal(frames, box->made - 2000);
    assert_int_equal(bytes, frames * 1005);
    target.acked = box->made + 1;
    assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
    assert_int_equal(slsr_spool_wait_room(spool, NULL, 1000, &err), 0);
    for (int i = 0; i < 40; i++) {
        fill(box, 1000, 1000);
        assert_int_equal(slsr_spool_append(spool, &box->batch, &cp, NULL, &err), 0);
        target.acked = box->made + 1;
        assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
    }
    assert_int_equal(slsr_spool_bounds(spool, &oldest, &next, &err), 0);
    assert_true(oldest > 1);
    assert_int_equal(next, box->made + 1);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    assert_int_equal(target.acked, box->made + 1);
    slsr_spool_close(spool);
}

/* The limit is smaller than two segments: what is taken must still make room. */
static void small_spool_empties_itself(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool;
    struct slsr_target_state target;
    struct slsr_checkpoint cp = {.stream = shard0, .cursor = "x"};
    struct slsr_err err;

    box->config.max_size_bytes = 3 << 20;
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    for (int i = 0; i < 30; i++) {
        fill(box, 600, 1000);
        int rc = slsr_spool_append(spool, &box->batch, &cp, NULL, &err);

        for (int again = 0; rc == SLSR_EFULL && again < 3; again++) {
            target.acked = box->made - 600 + 1; /* the target takes all there is */
            assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
            assert_int_equal(slsr_spool_wait_room(spool, NULL, 5000, &err), 0);
            rc = slsr_spool_append(spool, &box->batch, &cp, NULL, &err);
        }
        assert_int_equal(rc, 0);
    }
    slsr_spool_close(spool);
}

/* What waits for room that there never will be must not read as if the target were late. */
static void a_batch_larger_than_the_spool_is_called_that(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool;
    struct slsr_checkpoint cp = {.stream = shard0, .cursor = "x"};
    struct slsr_err err;

    box->config.max_size_bytes = 1 << 20;
    spool = open_it(box, SLSR_SPOOL_WRITE);
    fill(box, 2000, 1000);
    assert_int_equal(slsr_spool_append(spool, &box->batch, &cp, NULL, &err), SLSR_EFULL);
    assert_non_null(strstr(err.text, "can never hold"));
    assert_non_null(strstr(err.text, "a spool.max_size of 1.0 MiB"));
    slsr_spool_close(spool);
}

static void forgotten_target_pins_nothing(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    const char *const names[] = {"new"};
    struct slsr_target_state target;
    struct slsr_target_state *all;
    size_t count;
    struct slsr_err err;

    append(spool, box, 10, 100);
    assert_int_equal(slsr_spool_target_add(spool, "old", &target, &err), 0);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_spool_targets_keep(spool, names, 1, &err), 0);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(slsr_spool_targets(spool, &all, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(all[0].name, "new");
    assert_int_equal(all[0].acked, 1);
    free(all);
    slsr_spool_close(spool);
}

static void second_relay_is_refused(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_err err;

    if (fork() == 0) {
        struct slsr_spool *other;

        _exit(slsr_spool_open(&other, &box->config, SLSR_SPOOL_WRITE, &err) == SLSR_EBUSY ? 0 : 1);
    }
    int status;
    wait(&status);
    assert_int_equal(status, 0);
    slsr_spool_close(spool);
}

static void dies_without_closing(void **state)
{
    struct box *box = *state;
    int status;

    for (int round = 0; round < 5; round++) {
        if (fork() == 0) {
            struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);

            append(spool, box, 100, 300);
            _exit(0); /* no close, no flush */
        }
        wait(&status);
        assert_int_equal(status, 0);
        box->made += 100;
        struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
        assert_int_equal(read_all(spool, 1), box->made);
        slsr_spool_close(spool);
    }
}

static void empty_segment_counts_as_none(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    char path[128];
    int fd;

    append(spool, box, 100, 300);
    slsr_spool_close(spool);
    snprintf(path, sizeof path, "%s/seg-%016x.mdb", box->dir, 101);
    fd = open(path, O_CREAT | O_WRONLY, 0600); /* died before the first transaction */
    close(fd);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, 5, 30);
    assert_int_equal(read_all(spool, 1), 105);
    slsr_spool_close(spool);
}

static void count_bad(void *ctx, const char *sentence)
{
    assert_non_null(strstr(sentence, "frame"));
    ++*(int *)ctx;
}

static void damage_is_named_and_skipped(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    int count = 0;
    struct slsr_verify verify = {.deep = true, .bad = count_bad, .ctx = &count};
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t seen = 0;
    int damaged = 0;
    int rc;

    for (int i = 0; i < 4; i++)
        append(spool, box, 50, 500);
    assert_int_equal(slsr_spool_verify(spool, &verify, &err), 0);
    assert_int_equal(verify.frames, 200);
    slsr_spool_close(spool);
    char path[128];
    snprintf(path, sizeof path, "%s/seg-%016x.mdb", box->dir, 1);
    FILE *file = fopen(path, "r+b");
    static char all[1 << 20];
    const size_t n = fread(all, 1, sizeof all, file);
    char *hit = memmem(all, n, "message 120 ", 12);
    assert_non_null(hit);
    fseek(file, hit - all, SEEK_SET);
    fputc('X', file);
    fclose(file);
    spool = open_it(box, SLSR_SPOOL_READ);
    verify = (struct slsr_verify){.deep = true, .bad = count_bad, .ctx = &count};
    assert_int_equal(slsr_spool_verify(spool, &verify, &err), SLSR_ECORRUPT);
    assert_int_equal(count, 1);
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    while ((rc = slsr_range_next(range, &frame, &err)) != SLSR_ENOMATCH) {
        if (rc == SLSR_ECORRUPT)
            damaged++;
        else
            seen++;
    }
    assert_int_equal(damaged, 1);
    assert_int_equal(seen, 150);
    slsr_range_close(range);
    slsr_spool_close(spool);
}

static void times_find_their_chunk(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t seq;
    uint64_t hits = 0;

    for (int i = 0; i < 8; i++)
        append(spool, box, 1000, 300);
    assert_int_equal(slsr_spool_seek_time(spool, (1000 + 4321) * 1000LL, false, &seq, &err), 0);
    assert_true(seq <= 4322 && seq > 3000);
    assert_int_equal(slsr_range_open(&range, spool, seq, UINT64_MAX, &err), 0);
    slsr_range_time(range, (1000 + 4321) * 1000LL, (1000 + 4331) * 1000LL, false);
    while (slsr_range_next(range, &frame, &err) == 0)
        if (frame.time_s >= 1000 + 4321 && frame.time_s < 1000 + 4331)
            hits++;
    assert_int_equal(hits, 10);
    assert_true(slsr_range_position(range) > 8000); /* passed the rest by the index */
    slsr_range_close(range);
    assert_int_equal(slsr_spool_seek_time(spool, INT64_MAX, true, &seq, &err), 0);
    assert_int_equal(seq, 8001);
    slsr_spool_close(spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_and_out_again, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_equal_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_go_when_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(small_spool_empties_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_larger_than_the_spool_is_called_that, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(forgotten_target_pins_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(second_relay_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(dies_without_closing, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_segment_counts_as_none, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_named_and_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(times_find_their_chunk, setup, teardown),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
