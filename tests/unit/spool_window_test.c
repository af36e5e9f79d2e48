/* Chunks that are not in memory are read past the page cache: same frames, same order, same
 * verdicts on damage. Each case first drops the spool's pages and, where all is sound, looks that
 * reading did not bring them back; on a file system that cannot drop them it is skipped. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/ledger.h"
#include "slsrelay/spool.h"

#include "base/cursor.h"
#include "spool/window.h"
#include "spool_place.h"

enum { FRAME_BYTES = 1000, BATCH_FRAMES = 2000, BATCHES = 16, FRAMES = BATCHES * BATCH_FRAMES };

struct box {
    char dir[PLACE_DIR];
    char key[PLACE_KEY];
    struct slsr_spool_config config;
    struct slsr_spool *spool;
    struct slsr_batch batch;
    uint64_t made;
};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    place_make(box->dir, box->key, "window");
    box->config.path = box->dir;
    box->config.max_size_bytes = 96 << 20; /* segments of 12 MB */
    slsr_batch_init(&box->batch);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;

    slsr_spool_close(box->spool);
    slsr_batch_fini(&box->batch);
    place_wipe(box->dir, box->key);
    free(box);
    return 0;
}

static void reopen(struct box *box, enum slsr_spool_mode mode)
{
    slsr_spool_close(box->spool);
    box->spool = NULL;
    box->spool = place_open(&box->config, mode);
}

/* Text that tells the frame's number and differs in each place. */
static void write_frame(char *out, uint64_t seq)
{
    uint64_t x = seq * 2654435761u + 1;
    int n = snprintf(out, FRAME_BYTES, "message %llu ", (unsigned long long)seq);

    for (; n < FRAME_BYTES; n++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[n] = (char)('a' + x % 26);
    }
}

static void append(struct box *box, size_t n)
{
    struct slsr_checkpoint cp = {.stream = {"proj", "audit", 0}};
    struct slsr_batch *b = &box->batch;
    struct slsr_err err;

    slsr_batch_reset(b);
    cursor_text(5000 + box->made, b->cursor);
    b->data = realloc(b->data, n * (FRAME_BYTES + 16));
    b->meta = realloc(b->meta, n * sizeof *b->meta);
    for (size_t i = 0; i < n; i++) {
        b->used += (size_t)sprintf(b->data + b->used, "%d ", FRAME_BYTES);
        write_frame(b->data + b->used, ++box->made);
        b->used += FRAME_BYTES;
        b->meta[i] =
            (struct slsr_frame_meta){.end = (uint32_t)b->used, .time_s = (uint32_t)box->made};
    }
    b->frame_count = n;
    cursor_text(5000 + box->made, cp.cursor);
    if (slsr_spool_append(box->spool, b, &cp, NULL, &err) != 0)
        fail_msg("append: %s", err.text);
}

static void fill(struct box *box)
{
    reopen(box, SLSR_SPOOL_WRITE);
    for (int i = 0; i < BATCHES; i++)
        append(box, BATCH_FRAMES);
}

/* --- the page cache --- */

static void each_segment(struct box *box, void (*what)(const char *path, void *ctx), void *ctx)
{
    char command[256];
    char path[256];
    FILE *list;

    snprintf(command, sizeof command, "ls %s/seg-*.mdb", box->dir);
    list = popen(command, "r");
    while (fgets(path, sizeof path, list) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        what(path, ctx);
    }
    pclose(list);
}

static void drop(const char *path, void *ctx)
{
    const int fd = open(path, O_RDONLY);

    (void)ctx;
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void count_pages(const char *path, void *ctx)
{
    size_t *pages = ctx;
    const int fd = open(path, O_RDONLY);
    struct stat st;
    unsigned char *there;
    void *map;

    assert_int_equal(fstat(fd, &st), 0);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    there = malloc((size_t)st.st_size / 4096 + 1);
    assert_int_equal(mincore(map, (size_t)st.st_size, there), 0);
    for (size_t i = 0; i < (size_t)st.st_size / 4096; i++)
        *pages += there[i] & 1;
    free(there);
    munmap(map, (size_t)st.st_size);
    close(fd);
}

static size_t pages_in_memory(struct box *box)
{
    size_t pages = 0;

    each_segment(box, count_pages, &pages);
    return pages;
}

/* Nothing but the trees is in memory, and nobody has the files mapped. */
static void chill(struct box *box, enum slsr_spool_mode mode)
{
    slsr_spool_close(box->spool);
    box->spool = NULL;
    each_segment(box, drop, NULL);
    if (pages_in_memory(box) > 0)
        skip();
    reopen(box, mode);
}

/* Chunks were read, but not through the page cache: it has some pages of trees at most. */
static void assert_read_past_it(struct box *box, uint64_t frames)
{
    const size_t pages = pages_in_memory(box);

    if (pages * 4096 > frames * FRAME_BYTES / 8)
        fail_msg("%zu pages are in memory after reading %llu frames", pages,
                 (unsigned long long)frames);
}

/* --- reading --- */

static void check_frame(const struct slsr_frame *frame, uint64_t seq)
{
    char expect[FRAME_BYTES];

    write_frame(expect, seq);
    assert_int_equal(frame->seq, seq);
    assert_int_equal(frame->message.n, FRAME_BYTES);
    assert_memory_equal(frame->message.p, expect, FRAME_BYTES);
}

static struct slsr_range *open_range(struct box *box, uint64_t from, uint64_t to)
{
    struct slsr_range *range;
    struct slsr_err err;

    assert_int_equal(slsr_range_open(&range, box->spool, from, to, &err), 0);
    return range;
}

/* All of [from, to); err: what the last call said. Returns the sequence behind the last frame. */
static uint64_t read_stretch(struct box *box, uint64_t from, uint64_t to, struct slsr_err *err)
{
    struct slsr_range *range = open_range(box, from, to);
    struct slsr_frame frame;

    while (slsr_range_next(range, &frame, err) == 0)
        check_frame(&frame, from++);
    slsr_range_close(range);
    return from;
}

static void a_cold_spool_is_read_past_the_page_cache(void **state)
{
    struct box *box = *state;
    struct slsr_err err;

    fill(box);
    for (int mode = 0; mode < 3; mode++) { /* a sender, a reader with an end, a tool */
        chill(box, mode < 2 ? SLSR_SPOOL_WRITE : SLSR_SPOOL_READ);
        assert_int_equal(read_stretch(box, 1, mode == 0 ? UINT64_MAX : FRAMES + 1, &err),
                         FRAMES + 1);
        assert_int_equal(err.code, SLSR_ENOMATCH);
        assert_read_past_it(box, FRAMES);
    }
}

/* Runs, as a sender takes them, and back to any place, as after a break. */
static void seeking_finds_the_same_frames(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_run run;
    struct slsr_err err;
    uint64_t x = 88172645463325252u;

    fill(box);
    chill(box, SLSR_SPOOL_WRITE);
    range = open_range(box, 1, UINT64_MAX);
    for (int step = 0; step < 400; step++) {
        if (step % 5 == 4) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            slsr_range_seek(range, 1 + x % FRAMES);
        }
        if (slsr_range_next_run(range, step % 3 == 0 ? 20000 : 256 * 1024, &run, &err) != 0) {
            assert_int_equal(err.code, SLSR_ENOMATCH);
            slsr_range_seek(range, 1);
            continue;
        }
        for (uint32_t i = 0; i < run.count; i++) {
            const uint32_t begin = i > 0 ? run.ends[i - 1] : 0;
            char expect[FRAME_BYTES];

            write_frame(expect, run.first + i);
            assert_int_equal(run.ends[i] - begin, FRAME_BYTES + 5);
            assert_memory_equal(run.wire.p + begin + 5, expect, FRAME_BYTES);
        }
    }
    slsr_range_close(range);
    assert_read_past_it(box, FRAMES);
}

/* The segment that is being written to: what was not there when it read ahead is read later. */
static void a_growing_segment_is_followed(void **state)
{
    struct box *box = *state;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t seq = 1;

    reopen(box, SLSR_SPOOL_WRITE);
    append(box, BATCH_FRAMES);
    chill(box, SLSR_SPOOL_WRITE);
    range = open_range(box, 1, UINT64_MAX);
    for (int round = 0; round < 30; round++) {
        /* reads half of what there is, so that buffers are full while the writer goes on */
        for (uint64_t stop = (seq + box->made) / 2; seq < stop; seq++) {
            assert_int_equal(slsr_range_next(range, &frame, &err), 0);
            check_frame(&frame, seq);
        }
        append(box, 100 + (size_t)round * 17);
        each_segment(box, drop, NULL);
    }
    while (slsr_range_next(range, &frame, &err) == 0)
        check_frame(&frame, seq++);
    assert_int_equal(err.code, SLSR_ENOMATCH);
    assert_int_equal(seq, box->made + 1);
    slsr_range_close(range);
}

/* The process that writes: appends when it is told how much, and says when it is on the disk. */
static void write_as_told(struct box *box, int in, int out)
{
    size_t n;

    reopen(box, SLSR_SPOOL_WRITE);
    while (read(in, &n, sizeof n) == sizeof n) {
        append(box, n);
        each_segment(box, drop, NULL);
        if (write(out, &n, sizeof n) != sizeof n)
            break;
    }
}

static pid_t start_writer(struct box *box, int *to, int *from)
{
    int orders[2];
    int answers[2];
    pid_t pid;

    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    pid = fork();
    if (pid == 0) {
        close(orders[1]);
        close(answers[0]);
        write_as_told(box, orders[0], answers[1]);
        slsr_spool_close(box->spool);
        _exit(0);
    }
    close(orders[0]);
    close(answers[1]);
    *to = orders[1];
    *from = answers[0];
    return pid;
}

/* A tool's tail: one range for hours, moved on whenever there is more, from segment to segment. */
static void a_tool_follows_another_process(void **state)
{
    struct box *box = *state;
    struct slsr_range *range = NULL;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t seq = 1;
    uint64_t oldest;
    uint64_t next;
    int to;
    int from;
    int status;
    const pid_t pid = start_writer(box, &to, &from);

    for (size_t round = 0; round < 40; round++) {
        size_t n = 300 + round % 7 * 300;

        assert_int_equal(write(to, &n, sizeof n), sizeof n);
        assert_int_equal(read(from, &n, sizeof n), sizeof n);
        if (box->spool == NULL)
            reopen(box, SLSR_SPOOL_READ);
        assert_int_equal(slsr_spool_bounds(box->spool, &oldest, &next, &err), 0);
        assert_int_equal(next, seq + n);
        if (range == NULL)
            range = open_range(box, seq, next);
        slsr_range_seek(range, seq);
        slsr_range_limit(range, next);
        while (slsr_range_next(range, &frame, &err) == 0)
            check_frame(&frame, seq++);
        assert_int_equal(err.code, SLSR_ENOMATCH);
        assert_int_equal(seq, next);
    }
    slsr_range_close(range);
    close(to);
    close(from);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void packed_and_sealed_chunks_too(void **state)
{
    struct box *box = *state;
    struct slsr_err err;

    box->config.compression = SLSR_COMPRESSION_LZ4;
    place_write_key(&box->config, box->key, PLACE_ONE_KEY);
    fill(box);
    chill(box, SLSR_SPOOL_WRITE);
    assert_int_equal(read_stretch(box, 1, UINT64_MAX, &err), FRAMES + 1);
    assert_read_past_it(box, FRAMES / 2);
}

/* --- damage --- */

struct hit {
    char text[FRAME_BYTES];
    char path[256];
    off_t at; /* -1: not found */
};

static void look_for(const char *path, void *ctx)
{
    struct hit *hit = ctx;
    const int fd = open(path, O_RDONLY);
    struct stat st;
    const char *map;
    const char *found;

    assert_int_equal(fstat(fd, &st), 0);
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    found = memmem(map, (size_t)st.st_size, hit->text, FRAME_BYTES);
    if (found != NULL) {
        hit->at = found - map;
        snprintf(hit->path, sizeof hit->path, "%s", path);
    }
    munmap((void *)(uintptr_t)map, (size_t)st.st_size);
    close(fd);
}

static struct hit place_of(struct box *box, uint64_t seq)
{
    struct hit hit = {.at = -1};

    write_frame(hit.text, seq);
    each_segment(box, look_for, &hit);
    assert_true(hit.at > 0);
    return hit;
}

static void expect_quarantine(struct box *box, uint64_t seq)
{
    struct slsr_ledger_entry *entries;
    struct slsr_err err;
    size_t count;

    reopen(box, SLSR_SPOOL_READ);
    assert_int_equal(slsr_ledger_list(box->spool, 1, &entries, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(entries[0].kind, "quarantine");
    assert_true(entries[0].from_seq <= seq && entries[0].to_seq > seq);
    free(entries);
}

/* One bit, on the disk, in a segment that is sealed, in a chunk that is read ahead. */
static void a_flipped_bit_is_quarantined(void **state)
{
    struct box *box = *state;
    const uint64_t victim = 5000;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    struct hit hit;
    uint64_t seq = 1;
    int bad = 0;
    int rc;
    int fd;

    fill(box);
    hit = place_of(box, victim);
    fd = open(hit.path, O_WRONLY);
    hit.text[500] ^= 4;
    assert_int_equal(pwrite(fd, &hit.text[500], 1, hit.at + 500), 1);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    chill(box, SLSR_SPOOL_WRITE);
    range = open_range(box, 1, UINT64_MAX);
    while ((rc = slsr_range_next(range, &frame, &err)) != SLSR_ENOMATCH) {
        if (rc == SLSR_ECORRUPT) {
            assert_non_null(strstr(err.text, "checksum"));
            bad++;
            continue;
        }
        if (bad == 1 && frame.seq > victim && seq <= victim)
            seq = frame.seq; /* the gap */
        check_frame(&frame, seq++);
    }
    assert_int_equal(bad, 1);
    assert_int_equal(seq, FRAMES + 1);
    slsr_range_close(range);
    expect_quarantine(box, victim);
}

/* The file ends in the middle of a chunk although LMDB knows better. */
static void a_truncated_file_is_a_sentence(void **state)
{
    struct box *box = *state;
    const uint64_t victim = 9000;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    struct hit hit;
    uint64_t seq = 1;
    int rc;

    fill(box);
    hit = place_of(box, victim);
    chill(box, SLSR_SPOOL_WRITE);
    range = open_range(box, 1, UINT64_MAX);
    assert_int_equal(slsr_range_next(range, &frame, &err), 0); /* the segment is open */
    assert_int_equal(truncate(hit.path, hit.at), 0);
    do
        check_frame(&frame, seq++);
    while ((rc = slsr_range_next(range, &frame, &err)) == 0);
    assert_int_equal(rc, SLSR_ECORRUPT);
    assert_non_null(strstr(err.text, "the disk cannot read them"));
    assert_true(seq > victim - 300 && seq <= victim);
    slsr_range_close(range);
    expect_quarantine(box, victim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_cold_spool_is_read_past_the_page_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(seeking_finds_the_same_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(a_growing_segment_is_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tool_follows_another_process, setup, teardown),
        cmocka_unit_test_setup_teardown(packed_and_sealed_chunks_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_bit_is_quarantined, setup, teardown),
        cmocka_unit_test_setup_teardown(a_truncated_file_is_a_sentence, setup, teardown),
    };

    window_ahead_bytes = (size_t)2 * 1024 * 1024; /* so that it happens in small files */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
