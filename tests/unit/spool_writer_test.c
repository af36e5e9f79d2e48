/* The writing side's own machinery: group commit, an environment that LMDB gives up, readers that
 * died, the place of the trees, the thread that begins a commit early, the page cache.
 *
 * This program stands between LMDB and the kernel, and between the writer and its clock: pwrite,
 * fdatasync and others are its own, so that a test can hold a sync, count syncs, break the meta
 * page and see the writer wait. size: all of it stands on that one floor. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/spool.h"

#include "spool/internal.h"

#include "base/clock.h"
#include "base/cursor.h"

enum { PAGE = 4096, META_BYTES = 120, OVERFLOW_PAGE = 4 };

/* --- between LMDB and the kernel --- */

static atomic_int break_metas; /* so many writes of a meta page fail */
static atomic_uint syncs;      /* of the writer */
static atomic_bool hold_syncs; /* the writer's next sync says `held` and waits for `go` */
static sem_t held, go;
static atomic_bool hold_gather; /* the writer's wait for other shards says `gathers`, has no end */
static atomic_bool hasten_gather; /* and this one is over at once */
static sem_t gathers;
static sem_t begun; /* sync_file_range was called */
static atomic_llong begun_bytes;
static atomic_bool begun_behind_end;
static atomic_llong dropped_bytes; /* of the page cache, by the writer */

static bool am_writer(void)
{
    char name[16] = "";

    return pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
           strcmp(name, "spool-writer") == 0;
}

static void await(sem_t *sem)
{
    while (sem_wait(sem) != 0 && errno == EINTR)
        ;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    if (n <= META_BYTES && at < 2 * PAGE && am_writer() && break_metas > 0) {
        break_metas--;
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, n, at);
}

int fdatasync(int fd)
{
    if (am_writer()) {
        syncs++;
        if (atomic_exchange(&hold_syncs, false)) {
            sem_post(&held);
            await(&go);
        }
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *at)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    const struct timespec far = {.tv_sec = INT32_MAX};

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (am_writer() && hasten_gather)
        return ETIMEDOUT;
    if (am_writer() && hold_gather) {
        sem_post(&gathers);
        at = &far;
    }
    return real(cond, mutex, at);
}

int sync_file_range(int fd, off_t at, off_t n, unsigned flags)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || at + n > st.st_size)
        begun_behind_end = true;
    begun_bytes += n;
    sem_post(&begun);
    return (int)syscall(SYS_sync_file_range, fd, at, n, flags);
}

int posix_fadvise(int fd, off_t at, off_t n, int advice)
{
    if (am_writer() && advice == POSIX_FADV_DONTNEED)
        dropped_bytes += n;
    return syscall(SYS_fadvise64, fd, at, n, advice) == 0 ? 0 : errno;
}

/* --- a spool --- */

struct box {
    char dir[64];
    struct slsr_spool_config config;
};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    strcpy(box->dir, "/tmp/slsr-writer-XXXXXX");
    assert_non_null(mkdtemp(box->dir));
    box->config.path = box->dir;
    box->config.max_size_bytes = 10LL << 30;
    sem_init(&held, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&gathers, 0, 0);
    sem_init(&begun, 0, 0);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;
    char command[128];

    hold_syncs = hold_gather = hasten_gather = false;
    break_metas = 0;
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

/* One batch of a shard and its way through the spool. */
struct delivery {
    struct slsr_batch batch;
    struct slsr_checkpoint cp;
    struct slsr_ticket ticket;
};

static void make(struct delivery *d, unsigned shard, size_t frames, size_t bytes)
{
    memset(d, 0, sizeof *d);
    d->cp.stream = (struct slsr_stream){"proj", "audit", shard};
    strcpy(d->cp.cursor, "MA==");
    slsr_batch_init(&d->batch);
    d->batch.data = calloc(frames, bytes + 16);
    d->batch.meta = calloc(frames, sizeof *d->batch.meta);
    assert_non_null(d->batch.data);
    assert_non_null(d->batch.meta);
    cursor_text(5000, d->batch.cursor);
    for (size_t i = 0; i < frames; i++) {
        d->batch.used += (size_t)sprintf(d->batch.data + d->batch.used, "%zu ", bytes);
        memset(d->batch.data + d->batch.used, 'a' + (int)(i % 26), bytes);
        d->batch.used += bytes;
        d->batch.meta[i].end = (uint32_t)d->batch.used;
        d->batch.meta[i].time_s = 1700000000;
    }
    d->batch.frame_count = frames;
}

static void submit(struct slsr_spool *spool, struct delivery *d)
{
    struct slsr_err err;

    if (slsr_spool_submit(spool, &d->ticket, &d->batch, &d->cp, &err) != 0)
        fail_msg("submit: %s", err.text);
}

static int settle(struct slsr_spool *spool, struct delivery *d)
{
    struct slsr_err err;

    return slsr_spool_settle(spool, &d->ticket, &err);
}

static void append(struct slsr_spool *spool, struct delivery *d)
{
    d->ticket = (struct slsr_ticket){0};
    submit(spool, d);
    assert_int_equal(settle(spool, d), 0);
}

static size_t count_frames(struct slsr_spool *spool)
{
    struct slsr_range *range;
    struct slsr_frame frame;
    size_t n = 0;

    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX - 1, NULL), 0);
    while (slsr_range_next(range, &frame, NULL) == 0)
        assert_int_equal(frame.seq, ++n);
    slsr_range_close(range);
    return n;
}

/* --- group commit --- */

/* What comes in while a sync lasts shares the next one, whatever the number of shards. */
static void waiting_shards_share_a_sync(void **state)
{
    struct slsr_spool *spool = open_it(*state, SLSR_SPOOL_WRITE);
    struct delivery first;
    struct delivery rest[8];

    make(&first, 0, 3, 100);
    hold_syncs = true;
    submit(spool, &first);
    await(&held);
    for (unsigned i = 0; i < 8; i++) {
        make(&rest[i], i + 1, 3, 100);
        submit(spool, &rest[i]);
    }
    syncs = 0;
    sem_post(&go);
    assert_int_equal(settle(spool, &first), 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(settle(spool, &rest[i]), 0);
        assert_int_equal(rest[i].ticket.first, 4 + 3 * i); /* and keep their order */
        slsr_batch_fini(&rest[i].batch);
    }
    assert_int_equal(syncs, 1);
    assert_int_equal(count_frames(spool), 27);
    slsr_spool_close(spool);
    slsr_batch_fini(&first.batch);
}

/* Two shards are busy: the writer waits for the second before it syncs the first, but not for
 * ever; a single shard never waits. */
static void the_writer_waits_for_a_busy_shard(void **state)
{
    struct slsr_spool *spool = open_it(*state, SLSR_SPOOL_WRITE);
    struct delivery a;
    struct delivery b;

    clock_freeze(1700000000000); /* nobody becomes idle */
    make(&a, 0, 2, 100);
    make(&b, 1, 2, 100);
    hold_gather = true;
    append(spool, &a);
    append(spool, &a); /* would stand still here if a single shard waited */
    hold_gather = false;
    hasten_gather = true;
    append(spool, &b);
    append(spool, &b); /* alone, a is busy, the time is over: it goes */
    hasten_gather = false;

    hold_gather = true;
    while (sem_trywait(&gathers) == 0)
        ;
    syncs = 0;
    a.ticket = b.ticket = (struct slsr_ticket){0};
    submit(spool, &a);
    await(&gathers);
    assert_int_equal(syncs, 0);
    submit(spool, &b);
    assert_int_equal(settle(spool, &a), 0);
    assert_int_equal(settle(spool, &b), 0);
    assert_int_equal(syncs, 1);
    hold_gather = false;
    slsr_spool_close(spool);
    slsr_batch_fini(&a.batch);
    slsr_batch_fini(&b.batch);
}

/* --- LMDB gives up --- */

/* The meta page cannot be written: MDB_PANIC, for ever. The writer leaves the segment by itself,
 * nothing acknowledged is lost, the refused batch goes in when it is handed over again. */
static void a_panic_costs_a_segment_not_a_frame(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct delivery d;

    make(&d, 0, 10, 1000);
    append(spool, &d);
    /* LMDB tries to write the old meta page back before it gives up: that fails, too */
    break_metas = 2;
    d.ticket = (struct slsr_ticket){0};
    submit(spool, &d);
    assert_int_equal(settle(spool, &d), SLSR_EIO);
    assert_int_equal(break_metas, 0);
    assert_int_equal(count_frames(spool), 10); /* a sender goes on at once */
    append(spool, &d);
    assert_int_equal(d.ticket.first, 11);
    assert_int_equal(count_frames(spool), 20);
    assert_int_equal(spool->segment_count, 2);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, &d);
    assert_int_equal(count_frames(spool), 30);
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
}

static void set_descriptors(rlim_t most)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The same while no new segment can be made, and a sender has opened the old one for reading by the
 * time there is a checkpoint to keep: no write goes there any more. */
static void a_segment_that_cannot_be_left_yet_is_not_written_to(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct rlimit usual;
    struct delivery d;
    struct delivery position;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    make(&d, 0, 10, 1000);
    make(&position, 0, 1, 10);
    slsr_batch_reset(&position.batch);
    append(spool, &d);
    break_metas = 2;
    d.ticket = (struct slsr_ticket){0};
    set_descriptors(0);
    submit(spool, &d);
    assert_int_equal(settle(spool, &d), SLSR_EIO);
    set_descriptors(usual.rlim_cur);
    assert_int_equal(spool->segment_count, 1);
    assert_int_equal(count_frames(spool), 10);
    append(spool, &position);
    assert_int_equal(spool->segment_count, 2);
    append(spool, &d);
    assert_int_equal(count_frames(spool), 20);
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
    slsr_batch_fini(&position.batch);
}

/* Worse: the disk has spoiled the start of that file as well. Until the writer has left it, a
 * sender waits: passing its frames one by one would count them as delivered. Then it is set aside
 * as a whole, in the ledger. */
static void a_spoiled_segment_in_use_is_not_passed_over(void **state)
{
    static const char junk[64] = "junk";
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_range *range;
    struct slsr_frame frame;
    struct rlimit usual;
    struct delivery d;
    char path[200];
    int fd;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    make(&d, 0, 10, 1000);
    append(spool, &d);
    break_metas = 2;
    d.ticket = (struct slsr_ticket){0};
    set_descriptors(0);
    submit(spool, &d);
    assert_int_equal(settle(spool, &d), SLSR_EIO);
    set_descriptors(usual.rlim_cur);
    segment_path(spool, 1, path, sizeof path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 0; at < 2 * PAGE; at += PAGE)
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    close(fd);
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX - 1, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(slsr_range_next(range, &frame, NULL), SLSR_ENOMATCH);
        assert_int_equal(slsr_range_position(range), 1);
    }
    append(spool, &d);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    assert_int_equal(frame.seq, 11);
    assert_int_equal(spool->quarantined_count, 1);
    slsr_range_close(range);
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
}

/* --- readers that died --- */

struct look {
    pid_t pid;
    unsigned slots;
};

static void count_slots(void *ctx, const struct slsr_spool_reader *reader)
{
    struct look *look = ctx;

    look->slots += reader->pid == look->pid;
}

static unsigned slots_of(struct slsr_spool *spool, pid_t pid)
{
    struct look look = {.pid = pid};
    unsigned cleared;

    assert_int_equal(slsr_spool_readers(spool, false, count_slots, &look, &cleared, NULL), 0);
    return look.slots;
}

/* A tool that is killed while it holds slots in the reader tables. */
static pid_t kill_a_reader(struct box *box)
{
    int pipes[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        struct slsr_spool *tool;
        struct slsr_range *range;
        struct slsr_frame frame;

        if (slsr_spool_open(&tool, &box->config, SLSR_SPOOL_READ, NULL) != 0 ||
            slsr_range_open(&range, tool, 1, UINT64_MAX, NULL) != 0 ||
            slsr_range_next(range, &frame, NULL) != 0 || write(pipes[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    close(pipes[0]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return pid;
}

static void a_killed_reader_is_cleared_on_open(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_range *range;
    struct slsr_frame frame;
    struct delivery d;
    pid_t dead;
    pid_t pid;
    int status;

    make(&d, 0, 10, 1000);
    append(spool, &d);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, NULL), 0);
    assert_int_equal(slsr_range_next(range, &frame, NULL), 0);
    /* as long as this one has the file open, nobody makes its table anew */
    dead = kill_a_reader(box);
    assert_true(slots_of(spool, dead) > 0);
    pid = fork();
    if (pid == 0) {
        struct slsr_spool *writer;

        _exit(slsr_spool_open(&writer, &box->config, SLSR_SPOOL_WRITE, NULL) == 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(slots_of(spool, dead), 0);
    slsr_range_close(range);
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
}

static void a_killed_reader_is_cleared_in_time(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool;
    struct delivery d;
    pid_t dead;
    int looks = 0;

    clock_freeze(1700000000000);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    make(&d, 0, 10, 1000);
    append(spool, &d);
    dead = kill_a_reader(box);
    assert_true(slots_of(spool, dead) > 0);
    clock_wind(10000);
    while (slots_of(spool, dead) > 0 && looks++ < 6000)
        usleep(10000); /* the keeper looks at the clock three times a second */
    assert_int_equal(slots_of(spool, dead), 0);
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
}

/* --- where the trees lie --- */

/* The pages of the trees stay at the head of the file; what comes behind are chunks. */
static void trees_stay_together(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct delivery d;
    struct stat st;
    unsigned char page[PAGE];
    char path[128];
    unsigned outside = 0;
    int fd;

    make(&d, 0, 300, 1000);
    for (int i = 0; i < 80; i++)
        append(spool, &d);
    slsr_spool_close(spool);
    snprintf(path, sizeof path, "%s/seg-%016x.mdb", box->dir, 1);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 2; at < st.st_size / PAGE;) {
        uint16_t flags;
        uint32_t pages;

        assert_int_equal(pread(fd, page, PAGE, at * PAGE), PAGE);
        memcpy(&flags, page + 10, sizeof flags);
        memcpy(&pages, page + 12, sizeof pages);
        if (flags & OVERFLOW_PAGE) {
            at += pages;
        } else {
            outside += at > 200;
            at++;
        }
    }
    close(fd);
    assert_true(outside <
                8); /* of the first commits; half a dozen more every 100 without the room */
    slsr_batch_fini(&d.batch);
}

/* --- the thread that begins a commit early --- */

/* LMDB has copied, its sync has not begun: the disk works already, and only on what is there. */
static void a_large_commit_is_begun_early(void **state)
{
    struct slsr_spool *spool = open_it(*state, SLSR_SPOOL_WRITE);
    struct delivery d;

    make(&d, 0, 8000, 1000);
    append(spool, &d);
    begun_bytes = 0;
    while (sem_trywait(&begun) == 0)
        ;
    hold_syncs = true;
    d.ticket = (struct slsr_ticket){0};
    submit(spool, &d);
    await(&held);
    await(&begun);
    assert_true(begun_bytes >= 1 << 20);
    sem_post(&go);
    assert_int_equal(settle(spool, &d), 0);
    assert_true(begun_bytes <= 9 << 20);
    assert_false(begun_behind_end);
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
}

/* A commit that fails before it writes anything: nobody is left waiting. */
static void an_early_start_may_be_in_vain(void **state)
{
    struct early early;
    char path[128];
    int fd;

    (void)state;
    memset(&early, 0, sizeof early);
    strcpy(path, "/tmp/slsr-early-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    early_start(&early);
    for (int i = 0; i < 100; i++) {
        early_begin(&early, fd, 0, 8 << 20);
        early_end(&early);
    }
    early_stop(&early);
    early_begin(&early, fd, 0, 8 << 20); /* without a thread: nothing */
    early_end(&early);
    close(fd);
    unlink(path);
}

/* --- the page cache --- */

/* Pages go at once, whoever reads: a live reader has memory of its own or reads past them. */
static void pages_of_chunks_go_at_once(void **state)
{
    struct slsr_spool *spool = open_it(*state, SLSR_SPOOL_WRITE);
    struct slsr_range *range;
    struct delivery d;

    make(&d, 0, 3000, 1000);
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, NULL), 0);
    for (int i = 0; i < 4; i++) {
        dropped_bytes = 0;
        append(spool, &d);
        assert_true(dropped_bytes >= 3000000);
        assert_true(dropped_bytes <= 3400000); /* not those of the trees */
        if (i == 2)
            slsr_range_close(range);
    }
    slsr_spool_close(spool);
    slsr_batch_fini(&d.batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_killed_reader_is_cleared_on_open, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_shards_share_a_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(a_panic_costs_a_segment_not_a_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_that_cannot_be_left_yet_is_not_written_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_spoiled_segment_in_use_is_not_passed_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(trees_stay_together, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_commit_is_begun_early, setup, teardown),
        cmocka_unit_test_setup_teardown(an_early_start_may_be_in_vain, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_of_chunks_go_at_once, setup, teardown),
        /* the clock stands still from here on */
        cmocka_unit_test_setup_teardown(the_writer_waits_for_a_busy_shard, setup, teardown),
        cmocka_unit_test_setup_teardown(a_killed_reader_is_cleared_in_time, setup, teardown),
    };
    return cmocka_run_group_tests_name("spool_writer", tests, NULL, NULL);
}
