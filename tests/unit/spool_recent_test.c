/* Batches that stay in memory for the senders: what a live range hands out from there is what the
 * disk has, nothing comes out before its commit or after its deletion, and the memory is bounded.
 * Whether a frame came from memory is told by its address: the batch's own.
 * size: one subject; each case is short and uses the same few helpers. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/spool.h"

#include "spool/internal.h"

#include "base/cursor.h"
#include "spool_place.h"

enum { MIB = 1024 * 1024 };

/* --- between the writer and the disk --- */

static atomic_bool hold_sync; /* the writer's next sync says `held` and waits for `go` */
static atomic_bool fail_sync; /* it fails */
static sem_t held, go;

int fdatasync(int fd)
{
    char name[16] = "";

    if (pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
        strcmp(name, "spool-writer") == 0) {
        if (atomic_exchange(&hold_sync, false)) {
            sem_post(&held);
            while (sem_wait(&go) != 0 && errno == EINTR)
                ;
        }
        if (atomic_exchange(&fail_sync, false)) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* --- a spool and its batches --- */

struct box {
    char dir[PLACE_DIR];
    char key[PLACE_KEY];
    struct slsr_spool_config config;
    struct slsr_spool *spool;
    uint64_t made;
};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    place_make(box->dir, box->key, "recent");
    box->config.path = box->dir;
    sem_init(&held, 0, 0);
    sem_init(&go, 0, 0);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;

    slsr_spool_close(box->spool);
    place_wipe(box->dir, box->key);
    free(box);
    return 0;
}

static void open_spool(struct box *box)
{
    box->spool = place_open(&box->config, SLSR_SPOOL_WRITE);
}

struct delivery {
    struct slsr_batch batch;
    struct slsr_checkpoint cp;
    struct slsr_ticket ticket;
    const char *data; /* where its frames were written */
    size_t bytes;
};

/* Frames that tell number and version; their lengths differ. */
static size_t write_frame(char *out, uint64_t seq, size_t bytes, const char *version)
{
    char message[64];
    const int n =
        snprintf(message, sizeof message, "frame %llu %s ", (unsigned long long)seq, version);
    const size_t size = (size_t)n + bytes + seq % 7;
    const size_t head = (size_t)sprintf(out, "%zu ", size);

    memcpy(out + head, message, (size_t)n);
    memset(out + head + n, 'a' + (int)(seq % 26), size - (size_t)n);
    return head + size;
}

static void make(struct box *box, struct delivery *d, uint32_t shard, size_t frames, size_t bytes,
                 const char *version)
{
    struct slsr_batch *b = &d->batch;

    memset(d, 0, sizeof *d);
    d->cp.stream = (struct slsr_stream){"proj", shard % 2 == 0 ? "audit" : "other", shard};
    cursor_text(7000 + box->made, b->cursor);
    cursor_text(7000 + box->made + frames, d->cp.cursor);
    b->size = frames * (bytes + 96);
    b->data = malloc(b->size);
    b->meta_size = frames;
    b->meta = malloc(frames * sizeof *b->meta);
    for (size_t i = 0; i < frames; i++) {
        const uint64_t seq = box->made + 1 + i;

        b->used += write_frame(b->data + b->used, seq, bytes, version);
        b->meta[i] = (struct slsr_frame_meta){.end = (uint32_t)b->used,
                                              .group = (uint32_t)(i / 3),
                                              .index = (uint32_t)(i % 3),
                                              .time_s = 1700000000 + (uint32_t)seq,
                                              .time_ns = (uint32_t)(seq % 1000000000)};
    }
    b->frame_count = frames;
    d->data = b->data;
    d->bytes = b->used;
    d->ticket.gift = b;
}

static void submit(struct box *box, struct delivery *d)
{
    struct slsr_err err;

    if (slsr_spool_submit(box->spool, &d->ticket, &d->batch, &d->cp, &err) != 0)
        fail_msg("submit: %s", err.text);
}

static int settle(struct box *box, struct delivery *d)
{
    const int rc = slsr_spool_settle(box->spool, &d->ticket, NULL);

    if (rc == 0) {
        assert_int_equal(d->ticket.first, box->made + 1);
        box->made += d->batch.frame_count;
    }
    return rc;
}

/* Writes a batch; was its memory kept? */
static bool append(struct box *box, struct delivery *d, uint32_t shard, size_t frames, size_t bytes)
{
    make(box, d, shard, frames, bytes, "first");
    submit(box, d);
    assert_int_equal(settle(box, d), 0);
    assert_int_equal(d->batch.data == NULL, d->batch.meta == NULL);
    assert_int_equal(d->batch.data == NULL, d->batch.size == 0);
    assert_int_equal(d->batch.frame_count, frames);
    return d->batch.data == NULL;
}

static struct slsr_range *open_range(struct box *box, uint64_t from, uint64_t to)
{
    struct slsr_range *range;
    struct slsr_err err;

    assert_int_equal(slsr_range_open(&range, box->spool, from, to, &err), 0);
    return range;
}

static bool lies_in(const struct delivery *d, struct slsr_bytes piece)
{
    return (uintptr_t)piece.p >= (uintptr_t)d->data &&
           (uintptr_t)piece.p + piece.n <= (uintptr_t)d->data + d->bytes;
}

static void check_wire(struct slsr_bytes wire, uint64_t seq, size_t bytes, const char *version)
{
    char expect[4096];
    const size_t n = write_frame(expect, seq, bytes, version);

    assert_int_equal(wire.n, n);
    assert_memory_equal(wire.p, expect, n);
}

/* --- one road and the other --- */

static void assert_same_frame(const struct slsr_frame *a, const struct slsr_frame *b)
{
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->arrival_ms, b->arrival_ms);
    assert_int_equal(a->time_s, b->time_s);
    assert_int_equal(a->time_ns, b->time_ns);
    assert_string_equal(a->stream.project, b->stream.project);
    assert_string_equal(a->stream.logstore, b->stream.logstore);
    assert_int_equal(a->stream.shard, b->stream.shard);
    assert_true(slsr_bytes_equal(a->cursor, b->cursor));
    assert_int_equal(a->index, b->index);
    assert_true(slsr_bytes_equal(a->message, b->message));
    assert_true(slsr_bytes_equal(a->wire, b->wire));
}

/* Every field, from memory and from the disk. */
static void compare_roads(struct box *box)
{
    static const size_t sizes[] = {1, 5000, 3, 900, 40};
    struct delivery d[5];
    struct slsr_range *live;
    struct slsr_range *disk;
    struct slsr_frame a;
    struct slsr_frame b;

    open_spool(box);
    live = open_range(box, 1, UINT64_MAX);
    for (uint32_t i = 0; i < 5; i++)
        assert_true(append(box, &d[i], i, sizes[i], i == 2 ? 3000 : 200));
    disk = open_range(box, 1, box->made + 1);
    for (uint32_t i = 0; i < 5; i++)
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(slsr_range_next(live, &a, NULL), 0);
            assert_int_equal(slsr_range_next(disk, &b, NULL), 0);
            assert_true(lies_in(&d[i], a.wire));
            assert_false(lies_in(&d[i], b.wire));
            assert_same_frame(&a, &b);
            check_wire(a.wire, a.seq, i == 2 ? 3000 : 200, "first");
        }
    assert_int_equal(slsr_range_next(live, &a, NULL), SLSR_ENOMATCH);
    assert_int_equal(slsr_range_next(disk, &b, NULL), SLSR_ENOMATCH);
    slsr_range_close(live);
    slsr_range_close(disk);
}

static void both_roads_agree(void **state)
{
    compare_roads(*state);
}

static void packed_chunks_agree(void **state)
{
    struct box *box = *state;

    box->config.compression = SLSR_COMPRESSION_LZ4;
    compare_roads(box);
}

static void give_key(struct box *box)
{
    place_write_key(&box->config, box->key, PLACE_ONE_KEY);
}

static void sealed_chunks_agree(void **state)
{
    give_key(*state);
    compare_roads(*state);
}

static void packed_and_sealed_chunks_agree(void **state)
{
    give_key(*state);
    packed_chunks_agree(state);
}

/* Runs, and any place again after a break: what was passed comes from the disk, the same. */
static void runs_and_seeks_agree(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_run run;
    struct delivery d;
    uint64_t x = 88172645463325252u;
    uint64_t at = 1;
    unsigned from_memory = 0;

    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    for (int step = 0; step < 600; step++) {
        if (step % 10 == 0)
            append(box, &d, 1, 300 + (size_t)step, 150);
        if (step % 7 == 6) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            at = 1 + x % box->made;
            slsr_range_seek(range, at);
        }
        assert_int_equal(slsr_range_position(range), at);
        if (at > box->made) {
            assert_int_equal(slsr_range_next_run(range, 1000, &run, NULL), SLSR_ENOMATCH);
            continue;
        }
        assert_int_equal(slsr_range_next_run(range, step % 3 == 0 ? 1 : 256 * 1024, &run, NULL), 0);
        assert_int_equal(run.first, at);
        assert_int_equal(run.wire.n, run.ends[run.count - 1]);
        if (step % 3 == 0)
            assert_int_equal(run.count, 1);
        from_memory += lies_in(&d, run.wire);
        for (uint32_t i = 0; i < run.count; i++) {
            const uint32_t begin = i > 0 ? run.ends[i - 1] : 0;

            check_wire((struct slsr_bytes){run.wire.p + begin, run.ends[i] - begin}, at + i, 150,
                       "first");
        }
        at += run.count;
    }
    assert_true(from_memory > 10);
    slsr_range_close(range);
}

/* --- when --- */

/* Nothing is seen before the sync has returned (I1). */
static void nothing_comes_before_the_commit(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct delivery d;

    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    make(box, &d, 0, 100, 200, "first");
    hold_sync = true;
    submit(box, &d);
    while (sem_wait(&held) != 0 && errno == EINTR)
        ;
    assert_int_equal(slsr_range_next(range, &frame, NULL), SLSR_ENOMATCH);
    sem_post(&go);
    assert_int_equal(settle(box, &d), 0);
    assert_null(d.batch.data);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    assert_true(lies_in(&d, frame.wire));
    slsr_range_close(range);
}

/* A commit that failed leaves nothing; the same numbers then belong to what came instead. */
static void a_failed_commit_is_not_seen(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct delivery lost;
    struct delivery d;

    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    make(box, &lost, 0, 100, 200, "lost");
    fail_sync = true;
    submit(box, &lost);
    assert_int_equal(settle(box, &lost), SLSR_EIO);
    assert_non_null(lost.batch.data); /* still the caller's */
    assert_int_equal(slsr_range_next(range, &frame, NULL), SLSR_ENOMATCH);
    assert_true(append(box, &d, 0, 100, 200));
    for (uint64_t seq = 1; seq <= 100; seq++) {
        assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
        assert_int_equal(frame.seq, seq);
        check_wire(frame.wire, seq, 200, "first");
    }
    submit(box, &lost); /* and it may be tried again */
    assert_int_equal(settle(box, &lost), 0);
    assert_null(lost.batch.data);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    assert_int_equal(frame.seq, 101);
    check_wire(frame.wire, 1, 200, "lost");
    slsr_range_close(range);
}

/* --- how much --- */

static void nothing_is_kept_for_nobody(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct delivery d;

    open_spool(box);
    assert_false(append(box, &d, 0, 100, 200)); /* no reader */
    slsr_batch_fini(&d.batch);
    range = open_range(box, 1, 50); /* one with an end */
    assert_false(append(box, &d, 0, 100, 200));
    slsr_batch_fini(&d.batch);
    slsr_range_close(range);
    range = open_range(box, 1, UINT64_MAX);
    assert_true(append(box, &d, 0, 100, 200));
    assert_true(box->spool->recent.bytes > 0);
    make(box, &d, 0, 100, 200, "first");
    d.ticket.gift = NULL; /* not offered */
    submit(box, &d);
    assert_int_equal(settle(box, &d), 0);
    assert_non_null(d.batch.data);
    slsr_batch_fini(&d.batch);
    slsr_range_close(range);
    assert_int_equal(box->spool->recent.bytes, 0); /* the last reader is gone */
}

static void the_memory_is_bounded(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct delivery d;
    unsigned kept = 0;

    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    for (int i = 0; i < 40; i++) { /* 80 MB, and nobody reads */
        const bool taken = append(box, &d, 0, 2000, 1000);

        kept += taken;
        if (!taken)
            slsr_batch_fini(&d.batch);
        assert_true(box->spool->recent.bytes <= RECENT_BYTES);
    }
    assert_true(kept >= 16 && kept < 20);          /* as long as the reader was near */
    assert_int_equal(box->spool->recent.bytes, 0); /* and then nothing: it reads the disk */
    for (uint64_t seq = 1; seq <= box->made; seq++) {
        assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
        assert_int_equal(frame.seq, seq);
    }
    assert_int_equal(slsr_range_next(range, &frame, NULL), SLSR_ENOMATCH);
    assert_true(append(box, &d, 0, 2000, 1000)); /* it has caught up */
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    assert_true(lies_in(&d, frame.wire));
    make(box, &d, 0, 1, 40, "first"); /* one that is larger than all that may be kept */
    d.batch.data = realloc(d.batch.data, (size_t)33 * MIB);
    d.batch.size = (size_t)33 * MIB;
    submit(box, &d);
    assert_int_equal(settle(box, &d), 0);
    assert_non_null(d.batch.data);
    slsr_batch_fini(&d.batch);
    slsr_range_seek(range, box->made);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    check_wire(frame.wire, box->made, 40, "first");
    slsr_range_close(range);
}

/* The one ahead and the one behind; memory goes when the last has passed. */
static void readers_at_different_places(void **state)
{
    struct box *box = *state;
    struct slsr_range *ahead;
    struct slsr_range *behind;
    struct slsr_frame frame;
    struct delivery d[3];
    size_t full;

    open_spool(box);
    ahead = open_range(box, 1, UINT64_MAX);
    behind = open_range(box, 1, UINT64_MAX);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(append(box, &d[i], 0, 100, 200));
    full = box->spool->recent.bytes;
    for (uint64_t seq = 1; seq <= 300; seq++)
        assert_int_equal(slsr_range_next(ahead, &frame, NULL), 0);
    assert_int_equal(slsr_range_next(ahead, &frame, NULL), SLSR_ENOMATCH);
    assert_int_equal(box->spool->recent.bytes, full);
    for (uint64_t seq = 1; seq <= 101; seq++) {
        assert_int_equal(slsr_range_next(behind, &frame, NULL), 0);
        assert_true(lies_in(&d[(seq - 1) / 100], frame.wire));
        check_wire(frame.wire, seq, 200, "first");
    }
    assert_true(box->spool->recent.bytes < full);
    slsr_range_close(ahead);
    for (uint64_t seq = 102; seq <= 300; seq++)
        assert_int_equal(slsr_range_next(behind, &frame, NULL), 0);
    assert_int_equal(slsr_range_next(behind, &frame, NULL), SLSR_ENOMATCH);
    assert_int_equal(box->spool->recent.bytes, 0);
    slsr_range_close(behind);
}

/* --- what is not in the spool any more --- */

/* A range stands on a batch that is deleted: what it has stays good, nothing more comes. */
static void dropped_frames_do_not_come_out(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_range *other;
    struct slsr_run run;
    struct delivery d;
    uint64_t oldest;
    uint64_t next;

    box->config.max_size_bytes = 8 * MIB;
    box->config.when_full = SLSR_FULL_DROP_OLDEST;
    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    other = open_range(box, 1, UINT64_MAX);
    assert_true(append(box, &d, 0, 300, 1000));
    assert_int_equal(slsr_range_next_run(range, 256 * 1024, &run, NULL), 0);
    assert_true(lies_in(&d, run.wire));
    for (int i = 0; i < 60; i++) {
        append(box, &d, 0, 300, 1000);
        if (d.batch.data != NULL)
            slsr_batch_fini(&d.batch);
    }
    assert_int_equal(slsr_spool_bounds(box->spool, &oldest, &next, NULL), 0);
    assert_true(oldest > 300);
    assert_true(box->spool->recent.oldest == NULL || /* 18 MB were not more than may be kept */
                box->spool->recent.oldest->first + 300 > oldest);
    for (uint32_t i = 0; i < run.count; i++) {
        const uint32_t begin = i > 0 ? run.ends[i - 1] : 0;

        check_wire((struct slsr_bytes){run.wire.p + begin, run.ends[i] - begin}, run.first + i,
                   1000, "first");
    }
    slsr_range_seek(other, 1);
    assert_int_equal(slsr_range_next_run(other, 1, &run, NULL), 0);
    assert_int_equal(run.first, oldest);
    slsr_range_close(range);
    slsr_range_close(other);
}

static void what_is_set_aside_comes_from_nowhere(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct delivery d;

    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    assert_true(append(box, &d, 0, 300, 1000));
    quarantine_chunk(box->spool, 1, 2, 1000, "a test");
    assert_int_equal(box->spool->recent.bytes, 0);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    check_wire(frame.wire, 1, 1000, "first"); /* the disk's word, and it is sound */
    slsr_range_close(range);
}

/* Views outlast the list, the list outlasts nobody. */
static void a_reader_may_leave_last(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct delivery d;

    open_spool(box);
    range = open_range(box, 1, UINT64_MAX);
    assert_true(append(box, &d, 0, 300, 1000));
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    recent_forget(&box->spool->recent, UINT64_MAX);
    check_wire(frame.wire, 1, 1000, "first");
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    check_wire(frame.wire, 2, 1000, "first");
    slsr_range_close(range);
}

/* --- all at once --- */

enum { ROUNDS = 150 };

struct crowd {
    struct box *box;
    unsigned seed;
};

static void *read_along(void *arg)
{
    struct crowd *c = arg;
    struct slsr_range *range = open_range(c->box, 1, UINT64_MAX);
    struct slsr_run run;
    uint64_t at = 1;
    int news;

    assert_int_equal(slsr_spool_news_open(c->box->spool, &news, NULL), 0);
    while (at <= (uint64_t)ROUNDS * 500) {
        struct pollfd more = {.fd = news, .events = POLLIN};
        uint64_t eight;

        if (slsr_range_next_run(range, 256 * 1024, &run, NULL) != 0) {
            assert_int_equal(poll(&more, 1, -1), 1); /* counted since the last read of it */
            assert_int_equal(read(news, &eight, sizeof eight), sizeof eight);
            continue;
        }
        assert_int_equal(run.first, at);
        check_wire((struct slsr_bytes){run.wire.p, run.ends[0]}, at, 900, "first");
        at += run.count;
        if (rand_r(&c->seed) % 40 == 0) { /* a break */
            at -= at > 400 ? 400 : at - 1;
            slsr_range_seek(range, at);
        }
    }
    slsr_spool_news_close(c->box->spool, news);
    slsr_range_close(range);
    return NULL;
}

static void many_read_while_one_writes(void **state)
{
    struct box *box = *state;
    struct crowd crowd[3];
    pthread_t threads[3];
    unsigned kept = 0;

    open_spool(box);
    for (unsigned i = 0; i < 3; i++) {
        crowd[i] = (struct crowd){box, i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, read_along, &crowd[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct delivery d;
        const bool taken = append(box, &d, 0, 500, 900);

        kept += taken;
        if (!taken)
            slsr_batch_fini(&d.batch);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(kept > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_roads_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(packed_chunks_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(sealed_chunks_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(packed_and_sealed_chunks_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_and_seeks_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_comes_before_the_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_commit_is_not_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_kept_for_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(the_memory_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_at_different_places, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped_frames_do_not_come_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_set_aside_comes_from_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_may_leave_last, setup, teardown),
        cmocka_unit_test_setup_teardown(many_read_while_one_writes, setup, teardown),
    };

    return cmocka_run_group_tests_name("spool_recent", tests, NULL, NULL);
}
