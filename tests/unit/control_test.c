/* Orders, jobs and the ledger: marks against a plain bitmap, dense ids, positions moved and holds
 * taken over by the rules, by a relay that runs and by one that starts later; damaged records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/control.h"
#include "slsrelay/jobs.h"

#include "spool/books.h"
#include "spool/pack.h"

enum { FRAMES = 400 };

static char dir[64];
static struct slsr_spool_config config;

static struct slsr_spool *open_it(enum slsr_spool_mode mode)
{
    struct slsr_spool *spool;
    struct slsr_err err;

    if (slsr_spool_open(&spool, &config, mode, &err) != 0)
        fail_msg("open: %s", err.text);
    return spool;
}

static void add_frames(struct slsr_spool *spool, size_t n)
{
    struct slsr_batch batch;
    struct slsr_checkpoint checkpoint = {.stream = {"proj", "audit", 0}, .cursor = "MTAy"};
    struct slsr_err err;
    uint64_t first;

    slsr_batch_init(&batch);
    strcpy(batch.cursor, "MTAw");
    batch.data = malloc(n * 8);
    batch.meta = calloc(n, sizeof *batch.meta);
    for (size_t i = 0; i < n; i++) {
        memcpy(batch.data + batch.used, "5 abcde", 7);
        batch.used += 7;
        batch.meta[i].end = (uint32_t)batch.used;
    }
    batch.frame_count = n;
    if (slsr_spool_append(spool, &batch, &checkpoint, &first, &err) != 0)
        fail_msg("append: %s", err.text);
    slsr_batch_fini(&batch);
}

static int setup(void **state)
{
    struct slsr_target_state target;
    struct slsr_spool *spool;
    struct slsr_err err;

    (void)state;
    strcpy(dir, "/tmp/slsr-control-XXXXXX");
    assert_non_null(mkdtemp(dir));
    config = (struct slsr_spool_config){.path = dir, .max_size_bytes = 20 << 20};
    spool = open_it(SLSR_SPOOL_WRITE);
    add_frames(spool, FRAMES);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    target.acked = 101;
    assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
    slsr_spool_close(spool);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void order(enum slsr_order_kind kind, uint64_t from, uint64_t to, uint64_t seek)
{
    static const char *const siem[] = {"siem"};
    struct slsr_span span = {from, to};
    struct slsr_spans spans = {&span, 1, 1};
    struct slsr_order o = {.kind = kind,
                           .targets = siem,
                           .target_count = 1,
                           .seek = seek,
                           .spans = from < to ? &spans : NULL,
                           .entry = {.kind = "test", .who = "tester", .text = "because"}};
    struct slsr_spool *spool = open_it(SLSR_SPOOL_READ);
    struct slsr_err err;

    if (slsr_control_order(spool, &o, &err) != 0)
        fail_msg("order: %s", err.text);
    slsr_spool_close(spool);
}

static void expect_marks(struct slsr_spool *spool, enum slsr_mark kind, uint64_t from, uint64_t to)
{
    struct slsr_spans spans = {0};
    struct slsr_err err;

    assert_int_equal(slsr_marks_read(spool, kind, "siem", &spans, &err), 0);
    if (from == to) {
        assert_int_equal(spans.count, 0);
    } else {
        assert_int_equal(spans.count, 1);
        assert_int_equal(spans.items[0].from, from);
        assert_int_equal(spans.items[0].to, to);
    }
    slsr_spans_free(&spans);
}

/* Random adds and removes on disk against a bitmap. */
static void marks_are_a_set(void **state)
{
    struct slsr_spool *spool = open_it(SLSR_SPOOL_WRITE);
    bool want[256] = {false};
    unsigned seed = 7;
    MDB_txn *txn;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct slsr_spans spans = {0};
        uint64_t from = (uint64_t)rand_r(&seed) % 250 + 1;
        uint64_t to = from + (uint64_t)rand_r(&seed) % 9 + 1;
        const bool add = rand_r(&seed) % 2 == 0;
        struct slsr_span span = {from, to > 255 ? 255 : to};

        assert_int_equal(books_begin(spool, true, &txn, NULL), 0);
        for (uint64_t i = span.from; i < span.to; i++)
            want[i] = add;
        /* neighbours in the database must stay as they are */
        if (round == 0)
            assert_int_equal(
                marks_add(spool, txn, SLSR_MARK_HOLD, "sien", (struct slsr_span){1, 9}, 0), 0);
        assert_int_equal(add ? marks_add(spool, txn, SLSR_MARK_HOLD, "siem", span, 1)
                             : marks_remove(spool, txn, SLSR_MARK_HOLD, "siem", span),
                         0);
        assert_int_equal(marks_load(spool, txn, SLSR_MARK_HOLD, "siem", &spans), 0);
        for (size_t i = 1; i < spans.count; i++)
            assert_true(spans.items[i - 1].to < spans.items[i].from);
        for (uint64_t i = 0; i < 256; i++)
            if (slsr_spans_has(&spans, i) != want[i])
                fail_msg("round %d: %llu is wrong", round, (unsigned long long)i);
        assert_int_equal(books_end(txn, 0), 0);
        slsr_spans_free(&spans);
    }
    assert_int_equal(books_begin(spool, true, &txn, NULL), 0);
    assert_int_equal(marks_trim(spool, txn, 100), 0);
    assert_int_equal(books_end(txn, 0), 0);
    struct slsr_spans spans = {0};
    assert_int_equal(slsr_marks_read(spool, SLSR_MARK_HOLD, "siem", &spans, NULL), 0);
    for (uint64_t i = 0; i < 256; i++)
        assert_int_equal(slsr_spans_has(&spans, i), i >= 100 && want[i]);
    slsr_spans_free(&spans);
    assert_int_equal(slsr_marks_read(spool, SLSR_MARK_HOLD, "sien", &spans, NULL), 0);
    assert_int_equal(spans.count, 0);
    slsr_spans_free(&spans);
    slsr_spool_close(spool);
}

static void put_raw(struct slsr_spool *spool, MDB_txn *txn, const void *name, size_t name_size,
                    uint64_t from, uint64_t to)
{
    unsigned char key[100], value[16] = {0};
    MDB_val k = {name_size + 8, key};
    MDB_val v = {sizeof value, value};

    memcpy(key, name, name_size);
    pack_u64_at(key + name_size, from);
    pack_u64_at(value, to);
    assert_int_equal(mdb_put(txn, spool->books.marks, &k, &v, 0), 0);
}

/* A mark has no hash: whatever a disk makes of one, the keeper gets past it and it goes. */
static void damaged_marks_are_passed(void **state)
{
    struct slsr_spool *spool = open_it(SLSR_SPOOL_WRITE);
    MDB_txn *txn;
    MDB_stat stat;
    uint64_t floor;

    (void)state;
    assert_int_equal(books_begin(spool, true, &txn, NULL), 0);
    put_raw(spool, txn, "hsiem", 6, 20, 30);
    put_raw(spool, txn, "hsiem", 6, 40, 31);                 /* ends before it begins */
    put_raw(spool, txn, "hsiem", 6, UINT64_MAX, UINT64_MAX); /* no frame has that number */
    put_raw(spool, txn, "hsi\0em", 7, UINT64_MAX, 3);        /* a NUL in the name */
    put_raw(spool, txn, "h", 1, 5, 6);                       /* cut */
    assert_int_equal(marks_floor(spool, txn, &floor), 0);
    assert_int_equal(floor, 20);
    assert_int_equal(marks_trim(spool, txn, 25), 0);
    assert_int_equal(marks_floor(spool, txn, &floor), 0);
    assert_int_equal(floor, 25);
    assert_int_equal(marks_trim(spool, txn, 1000), 0);
    assert_int_equal(mdb_stat(txn, spool->books.marks, &stat), 0);
    assert_int_equal(stat.ms_entries, 0);
    assert_int_equal(books_end(txn, 0), 0);
    slsr_spool_close(spool);
}

static struct slsr_job a_job(bool stated)
{
    struct slsr_job job = {.state = SLSR_JOB_RUNNING,
                           .pid = 77,
                           .from = 1,
                           .to = 90,
                           .frames = 89,
                           .bytes = 8900,
                           .cursor = 1,
                           .stated = stated,
                           .who = "tester",
                           .target = "tcp://127.0.0.1:514",
                           .rate = "500/s"};

    memset(job.selectors, 's', sizeof job.selectors - 1);
    return job;
}

/* What a tool stores comes back whole; a wish to stop is for the run that goes on; two of whom each
 * wants to go on: one gets it; of too many the oldest finished one goes, with its stretches. */
static void jobs_are_kept(void **state)
{
    const struct slsr_span stretch = {5, 9};
    struct slsr_spans within = {(struct slsr_span *)(uintptr_t)&stretch, 1, 1};
    struct slsr_spool *spool = open_it(SLSR_SPOOL_WRITE);
    struct slsr_job first = a_job(true), other, *list;
    struct slsr_spans spans = {0};
    struct slsr_err err = {0};
    size_t count;

    (void)state;
    assert_int_equal(slsr_job_stop(spool, 1, &err), SLSR_ENOMATCH);
    assert_int_equal(slsr_job_add(spool, &first, &within, &err), 0);
    assert_int_equal(first.id, 1);
    assert_int_equal(slsr_job_within(spool, 1, &spans, &err), 0);
    assert_int_equal(spans.count, 1);
    assert_int_equal(spans.items[0].to, 9);
    slsr_spans_free(&spans);
    assert_int_equal(slsr_job_list(spool, &list, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].selectors, first.selectors);
    assert_string_equal(list[0].target, first.target);
    assert_int_equal(list[0].pid, 77);
    other = list[0];
    free(list);
    /* no transaction of theirs stays open: the keeper could open the books anew */
    assert_int_equal(pthread_rwlock_trywrlock(&spool->books.gate), 0);
    pthread_rwlock_unlock(&spool->books.gate);

    assert_int_equal(slsr_job_stop(spool, 1, &err), 0);
    first.done = 40;
    assert_int_equal(slsr_job_update(spool, &first, &err), 0);
    assert_true(first.stop_wanted);
    assert_int_equal(slsr_job_claim(spool, &other, &err), SLSR_EBUSY); /* it was read before that */
    other = first;
    assert_int_equal(slsr_job_claim(spool, &first, &err), 0);
    assert_false(first.stop_wanted);
    assert_int_equal(slsr_job_claim(spool, &other, &err), SLSR_EBUSY);
    first.state = SLSR_JOB_DONE;
    assert_int_equal(slsr_job_update(spool, &first, &err), 0);
    assert_int_equal(slsr_job_within(spool, 1, &spans, &err), 0);
    assert_int_equal(spans.count, 0);

    for (int i = 0; i < 99; i++) { /* none of these is finished: all stay */
        other = a_job(i == 0);
        assert_int_equal(slsr_job_add(spool, &other, &within, &err), 0);
    }
    other = a_job(false);
    assert_int_equal(slsr_job_add(spool, &other, NULL, &err), 0);
    assert_int_equal(other.id, 101);
    assert_int_equal(slsr_job_list(spool, &list, &count, &err), 0);
    assert_int_equal(count, 100);
    assert_int_equal(list[0].id, 2);
    free(list);
    other = a_job(false);
    assert_int_equal(slsr_job_add(spool, &other, NULL, &err), 0); /* nothing that may go */
    assert_int_equal(slsr_job_list(spool, &list, &count, &err), 0);
    assert_int_equal(count, 101);
    free(list);
    slsr_spool_close(spool);
}

/* Records that a disk has changed: the others are still there, and an order replaces what cannot be
 * read. */
static void damaged_records_are_passed(void **state)
{
    struct slsr_spool *spool = open_it(SLSR_SPOOL_WRITE);
    struct slsr_control_state standing;
    struct slsr_ledger_entry entry = {.kind = "gap"}, *entries;
    struct slsr_job job = a_job(false), *list;
    struct slsr_control control;
    struct slsr_err err = {0};
    unsigned char name[8];
    MDB_val key = {sizeof name, name}, bad = {5, (void *)(uintptr_t) "wrong"};
    MDB_txn *txn;
    size_t count;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(slsr_job_add(spool, &job, NULL, &err), 0);
        assert_int_equal(slsr_ledger_add(spool, &entry, &err), 0);
    }
    pack_u64_at(name, 2);
    assert_int_equal(books_begin(spool, true, &txn, NULL), 0);
    assert_int_equal(mdb_put(txn, spool->books.jobs, &key, &bad, 0), 0);
    assert_int_equal(mdb_put(txn, spool->books.ledger, &key, &bad, 0), 0);
    key = (MDB_val){4, (void *)(uintptr_t) "siem"};
    assert_int_equal(mdb_put(txn, spool->books.orders, &key, &bad, 0), 0);
    assert_int_equal(books_end(txn, 0), 0);

    assert_int_equal(slsr_job_list(spool, &list, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(list[1].id, 3);
    free(list);
    assert_int_equal(slsr_job_stop(spool, 2, &err), SLSR_ECORRUPT);
    job.id = 2;
    assert_int_equal(slsr_job_update(spool, &job, &err), 0); /* its owner writes it anew */
    assert_int_equal(slsr_job_stop(spool, 2, &err), 0);
    assert_int_equal(slsr_ledger_list(spool, 0, &entries, &count, &err), 0);
    assert_int_equal(count, 2);
    free(entries);
    assert_int_equal(slsr_control_read(spool, "siem", &standing, &err), SLSR_ECORRUPT);
    assert_int_equal(slsr_control_take(spool, "siem", &control, &err), 0);
    slsr_control_free(&control);
    assert_int_equal(slsr_control_read(spool, "siem", &standing, &err), 0);
    slsr_spool_close(spool);
    order(SLSR_ORDER_PAUSE, 0, 0, 0);
    spool = open_it(SLSR_SPOOL_READ);
    assert_int_equal(slsr_control_read(spool, "siem", &standing, &err), 0);
    assert_true(standing.paused);
    slsr_spool_close(spool);
}

/* A tool on a spool that was never written to by a relay with books. */
static void no_books_yet(void **state)
{
    struct slsr_spool *spool;
    struct slsr_ledger_entry *entries;
    struct slsr_control_state standing;
    struct slsr_spans spans = {0};
    struct slsr_err err = {0};
    struct slsr_job *list;
    char path[100];
    size_t count = 7;

    (void)state;
    snprintf(path, sizeof path, "%s/ack.mdb", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/ack.mdb-lock", dir);
    assert_int_equal(unlink(path), 0);
    spool = open_it(SLSR_SPOOL_READ);
    assert_int_equal(slsr_job_list(spool, &list, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(slsr_job_within(spool, 1, &spans, &err), SLSR_ENOMATCH);
    assert_int_equal(slsr_ledger_list(spool, 0, &entries, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(slsr_marks_read(spool, SLSR_MARK_HOLD, "siem", &spans, &err), 0);
    assert_int_equal(spans.count, 0);
    assert_int_equal(slsr_control_read(spool, "siem", &standing, &err), 0);
    assert_string_equal(standing.target, "siem");
    assert_false(standing.paused);
    slsr_spool_close(spool);
}

static void ledger_is_dense(void **state)
{
    struct slsr_ledger_entry entry = {.kind = "gap",
                                      .reason = "invalid_cursor",
                                      .project = "p",
                                      .logstore = "l",
                                      .shard = 3,
                                      .from_cursor = "a",
                                      .to_cursor = "b",
                                      .text = "older than the service keeps"};
    struct slsr_ledger_entry *list;
    struct slsr_spool *spool = open_it(SLSR_SPOOL_WRITE);
    struct slsr_err err;
    size_t count;

    (void)state;
    for (int i = 0; i < 50; i++)
        assert_int_equal(slsr_ledger_add(spool, &entry, &err), 0);
    assert_int_equal(slsr_spool_dead_add(spool, "siem", 5, "too_long", "900 bytes", &err), 0);
    expect_marks(spool, SLSR_MARK_DEAD, 5, 6);
    slsr_spool_close(spool);
    spool = open_it(SLSR_SPOOL_READ); /* a tool, on the dead spool */
    memset(entry.text, 'x', sizeof entry.text);
    assert_int_equal(slsr_ledger_add(spool, &entry, &err), 0);
    assert_int_equal(slsr_ledger_list(spool, 50, &list, &count, &err), 0);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(list[i].id, 50 + i);
    assert_string_equal(list[0].who, "sls-relay");
    assert_string_equal(list[0].to_cursor, "b");
    assert_int_equal(list[0].shard, 3);
    assert_true(list[0].time_ms > 0);
    assert_string_equal(list[1].kind, "dead");
    assert_string_equal(list[1].text, "900 bytes");
    assert_int_equal(strlen(list[2].text), 255);
    free(list);
    slsr_spool_close(spool);
}

/* Orders to a spool without a relay are honoured by the next one. */
static void stored_orders_are_taken_over(void **state)
{
    struct slsr_control control;
    struct slsr_target_state *targets;
    struct slsr_spool *spool;
    struct slsr_err err;
    size_t count;

    (void)state;
    order(SLSR_ORDER_PAUSE, 0, 0, 0);
    order(SLSR_ORDER_HOLD, 51, 151, 0); /* half of it was delivered: only the rest is held */
    order(SLSR_ORDER_SKIP, 201, 211, 0);
    spool = open_it(SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_control_take(spool, "siem", &control, &err), 0);
    assert_true(control.state.paused);
    assert_string_equal(control.state.who, "tester");
    assert_int_equal(control.pass.count, 2);
    assert_int_equal(control.pass.items[0].from, 101);
    assert_int_equal(control.pass.items[0].to, 151);
    assert_int_equal(control.pass.items[1].to, 211);
    slsr_control_free(&control);
    assert_int_equal(slsr_spool_targets(spool, &targets, &count, &err), 0);
    targets[0].acked = 301; /* the cursor has passed them */
    assert_int_equal(slsr_spool_ack(spool, &targets[0], &err), 0);
    free(targets);
    slsr_spool_close(spool);

    order(SLSR_ORDER_RELEASE, 1, 401, 0);
    order(SLSR_ORDER_REQUEUE, 205, 207, 0);
    order(SLSR_ORDER_REQUEUE, 300, 303, 0);
    spool = open_it(SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_control_take(spool, "siem", &control, &err), 0);
    assert_int_equal(control.pass.count, 2);   /* 201..205 and 207..211 */
    assert_int_equal(control.resend.count, 3); /* 101..151, 205..207, 300 */
    assert_int_equal(control.resend.items[0].from, 101);
    assert_int_equal(control.resend.items[2].from, 300);
    assert_int_equal(control.resend.items[2].to, 301); /* the rest is the live cursor's */
    slsr_control_free(&control);
    const struct slsr_spans sent = {&(struct slsr_span){101, 151}, 1, 1};
    assert_int_equal(slsr_control_resent(spool, "siem", &sent, &err), 0);
    assert_int_equal(slsr_control_take(spool, "siem", &control, &err), 0);
    assert_int_equal(control.resend.count, 2);
    slsr_control_free(&control);
    slsr_spool_close(spool);

    order(SLSR_ORDER_SEEK, 0, 0, 11);
    spool = open_it(SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_control_take(spool, "siem", &control, &err), 0);
    assert_int_equal(control.resend.count, 0);
    slsr_control_free(&control);
    assert_int_equal(slsr_spool_targets(spool, &targets, &count, &err), 0);
    assert_int_equal(targets[0].acked, 11);
    free(targets);
    slsr_spool_close(spool);
}

/* A relay that runs hears of an order from another process without being asked. */
static void a_running_relay_hears(void **state)
{
    struct slsr_spool *spool;
    struct slsr_stop wake;
    struct slsr_err err;
    struct slsr_control control;
    int ready[2]; /* the parent waits for news: only then the order comes */
    int status;
    char c = 0;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    fflush(stdout);
    child = fork(); /* before the environment is open: LMDB does not survive a fork */
    if (child == 0) {
        if (read(ready[0], &c, 1) != 1)
            _exit(1);
        order(SLSR_ORDER_PAUSE, 0, 0, 0);
        _exit(0);
    }
    spool = open_it(SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_stop_init(&wake, &err), 0);
    slsr_control_attach(spool, "siem", &wake);
    assert_int_equal(write(ready[1], &c, 1), 1);
    assert_true(slsr_stop_wait(&wake, 60000));
    slsr_control_detach(spool, &wake);
    slsr_stop_fini(&wake);
    close(ready[0]);
    close(ready[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(slsr_control_take(spool, "siem", &control, &err), 0);
    assert_true(control.state.paused);
    slsr_control_free(&control);
    slsr_spool_close(spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(marks_are_a_set, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_marks_are_passed, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_records_are_passed, setup, teardown),
        cmocka_unit_test_setup_teardown(no_books_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(ledger_is_dense, setup, teardown),
        cmocka_unit_test_setup_teardown(stored_orders_are_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_running_relay_hears, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
