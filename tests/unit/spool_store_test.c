/* What a spool on disk promises beyond in-and-out: old layouts, compression, keys, summaries. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/ledger.h"
#include "slsrelay/spool.h"

#include "base/cursor.h"
#include "spool_place.h"

struct box {
    char dir[PLACE_DIR];
    char key[PLACE_KEY];
    struct slsr_spool_config config;
    struct slsr_batch batch;
    uint64_t made;
};

static const struct slsr_stream shard0 = {"proj", "audit", 0};

static void run(const char *format, const char *a, const char *b)
{
    char command[512];

    snprintf(command, sizeof command, format, a, b);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    place_make(box->dir, box->key, "store");
    box->config.path = box->dir;
    box->config.max_size_bytes = 20 << 20;
    slsr_batch_init(&box->batch);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;

    slsr_batch_fini(&box->batch);
    place_wipe(box->dir, box->key);
    free(box);
    return 0;
}

static void write_key(struct box *box, const char *text)
{
    place_write_key(&box->config, box->key, text);
}

static struct slsr_spool *open_it(struct box *box, enum slsr_spool_mode mode)
{
    return place_open(&box->config, mode);
}

/* n frames "message <number> ...", event time 1000 + number. */
static void append(struct slsr_spool *spool, struct box *box, const struct slsr_stream *stream,
                   size_t n, size_t bytes)
{
    struct slsr_checkpoint cp = {.stream = *stream};
    struct slsr_batch *b = &box->batch;
    struct slsr_err err;

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
    cursor_text(5000 + box->made, cp.cursor);
    if (slsr_spool_append(spool, b, &cp, NULL, &err) != 0)
        fail_msg("append: %s", err.text);
}

/* Reads from `from` to the end; every frame must say its own number. */
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

        assert_int_equal(frame.seq, seq);
        snprintf(expect, sizeof expect, "message %llu ", (unsigned long long)(seq - 1));
        assert_memory_equal(frame.message.p, expect, strlen(expect));
        seq++;
    }
    if (rc != SLSR_ENOMATCH)
        fail_msg("range: %s", err.text);
    slsr_range_close(range);
    return seq - from;
}

static bool on_disk(struct box *box, const char *text)
{
    char command[256];

    snprintf(command, sizeof command, "grep -q '%s' %s/seg-*.mdb", text, box->dir);
    return system(command) == 0;
}

/* A spool of layout 1 with undelivered frames: opened, drained, appended to. */
static void version_1_is_taken_over(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool;
    struct slsr_target_state target;
    struct slsr_checkpoint cp;
    struct slsr_verify verify = {.deep = true};
    struct slsr_spool_stat stat;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_run all;
    struct slsr_err err;
    uint64_t seq = 31;

    run("cp %s/spool-v1/*.mdb %s/", VECTORS, box->dir);
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(slsr_spool_verify(spool, &verify, &err), 0);
    assert_int_equal(verify.frames, 60);
    slsr_spool_close(spool);

    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    assert_int_equal(target.acked, 31);
    assert_int_equal(
        slsr_spool_checkpoint(spool, &(struct slsr_stream){"project-a", "audit", 1}, &cp, &err), 0);
    assert_string_equal(cp.cursor, "MTAy");
    assert_int_equal(slsr_range_open(&range, spool, target.acked, UINT64_MAX, &err), 0);
    for (; slsr_range_next(range, &frame, &err) == 0; seq++) {
        char expect[64];

        snprintf(expect, sizeof expect, "- - - msg %d ", (int)seq - 1);
        assert_int_equal(frame.seq, seq);
        assert_non_null(memmem(frame.message.p, frame.message.n, expect, strlen(expect)));
    }
    assert_int_equal(seq, 61);
    box->made = 60;
    append(spool, box, &shard0, 5, 100); /* a new segment, of the new layout */
    slsr_range_seek(range, 60);
    assert_int_equal(slsr_range_next_run(range, 100000, &all, &err), 0);
    assert_int_equal(all.first, 60);
    assert_int_equal(slsr_range_next_run(range, 100000, &all, &err), 0);
    assert_int_equal(all.first, 61);
    assert_int_equal(all.count, 5);
    slsr_range_close(range);
    assert_int_equal(slsr_spool_stat(spool, &stat, &err), 0);
    assert_int_equal(stat.segments, 2);
    target.acked = 66;
    assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
    slsr_spool_close(spool);

    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, &shard0, 5, 100);
    assert_int_equal(read_all(spool, 61), 10);
    assert_int_equal(slsr_spool_stat(spool, &stat, &err), 0);
    assert_int_equal(stat.segments, 2);
    verify = (struct slsr_verify){.deep = true};
    assert_int_equal(slsr_spool_verify(spool, &verify, &err), 0);
    assert_int_equal(verify.frames, 70);
    slsr_spool_close(spool);
}

static void compression_saves_and_can_change(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_spool_stat plain;
    struct slsr_spool_stat both;
    struct slsr_err err;

    append(spool, box, &shard0, 2000, 1000);
    assert_int_equal(slsr_spool_stat(spool, &plain, &err), 0);
    slsr_spool_close(spool);
    box->config.compression = SLSR_COMPRESSION_LZ4;
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, &shard0, 2000, 1000);
    assert_int_equal(slsr_spool_stat(spool, &both, &err), 0);
    assert_int_equal(both.bytes, 2 * plain.bytes);
    assert_int_equal(read_all(spool, 1), 4000);
    slsr_spool_close(spool);
    box->config.compression = SLSR_COMPRESSION_NONE;
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(read_all(spool, 1), 4000);
    slsr_spool_close(spool);
    /* both halves lie in one file; what LMDB has allocated for the second is a fraction */
    assert_true(both.disk_bytes - plain.disk_bytes < plain.bytes / 4);
}

static void keys_come_and_go(void **state)
{
    static const char a[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    static const char b[] = "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_verify verify = {.deep = true};
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    char two[160];

    append(spool, box, &shard0, 100, 200); /* before there was a key */
    slsr_spool_close(spool);
    write_key(box, a);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, &shard0, 100, 200);
    assert_int_equal(read_all(spool, 1), 200);
    slsr_spool_close(spool);
    assert_true(on_disk(box, "message 50 "));
    assert_false(on_disk(box, "message 150 "));
    snprintf(two, sizeof two, "%s%s", b, a); /* rotated: the new one writes, both read */
    write_key(box, two);
    box->config.compression = SLSR_COMPRESSION_LZ4;
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, &shard0, 100, 200);
    assert_int_equal(read_all(spool, 1), 300);
    slsr_spool_close(spool);

    box->config.encryption_key_file = NULL; /* lost: integrity, figures and plain frames remain */
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(slsr_spool_verify(spool, &verify, &err), 0);
    assert_int_equal(verify.frames, 300);
    assert_int_equal(verify.sealed_chunks, 2);
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(slsr_range_next(range, &frame, &err), 0);
    for (int i = 0; i < 2; i++) { /* it stays there: nothing is skipped */
        assert_int_equal(slsr_range_next(range, &frame, &err), SLSR_ECONFIG);
        assert_non_null(strstr(err.text, "spool.encryption_key_file"));
        assert_int_equal(slsr_range_position(range), 101);
    }
    slsr_range_close(range);
    slsr_spool_close(spool);

    write_key(box, b); /* the old one gone too early */
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_range_open(&range, spool, 101, UINT64_MAX, &err), 0);
    assert_int_equal(slsr_range_next(range, &frame, &err), SLSR_ECONFIG);
    slsr_range_close(range);
    assert_int_equal(read_all(spool, 201), 100);
    slsr_spool_close(spool);
    write_key(box, two);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(read_all(spool, 1), 300); /* nothing was lost */
    slsr_spool_close(spool);
}

static void a_bad_key_file_opens_nothing(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool;
    struct slsr_err err;

    write_key(box, "nonsense\n");
    assert_int_equal(slsr_spool_open(&spool, &box->config, SLSR_SPOOL_WRITE, &err), SLSR_ECONFIG);
    assert_null(strstr(err.text, "nonsense"));
    box->config.encryption_key_file = (char *)"/nonexistent/key";
    assert_int_equal(slsr_spool_open(&spool, &box->config, SLSR_SPOOL_WRITE, &err), SLSR_ENOSPOOL);
    assert_null(spool);
}

/* drop_oldest: what goes undelivered is in the ledger, each time with its sequences. */
static void what_is_dropped_is_entered(void **state)
{
    struct box *box = *state;
    struct slsr_ledger_entry *entries;
    struct slsr_target_state target;
    struct slsr_spool *spool;
    struct slsr_err err;
    uint64_t oldest, next, expected = 1;
    size_t count;

    box->config.when_full = SLSR_FULL_DROP_OLDEST;
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    for (int i = 0; i < 40; i++)
        append(spool, box, &shard0, 1000, 1000);
    assert_int_equal(slsr_spool_bounds(spool, &oldest, &next, &err), 0);
    assert_true(oldest > 1);
    assert_int_equal(read_all(spool, oldest), next - oldest);
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(slsr_ledger_list(spool, 1, &entries, &count, &err), 0);
    assert_true(count > 1);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(entries[i].kind, "drop");
        assert_string_equal(entries[i].reason, "spool_full");
        assert_int_equal(entries[i].from_seq, expected);
        assert_int_equal(entries[i].frames, entries[i].to_seq - entries[i].from_seq);
        expected = entries[i].to_seq;
    }
    assert_int_equal(expected, oldest);
    free(entries);
    slsr_spool_close(spool);
}

/* A stopped reader in another process pins nothing: segments are never written to again, and what
 * is deleted leaves the folder. */
static void a_stopped_tool_pins_nothing(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    struct slsr_target_state target;
    struct slsr_spool_stat stat;
    struct slsr_err err;
    uint64_t most = 0;
    int pipes[2];
    pid_t pid;
    char byte;

    box->config.retention_size_bytes = 1;
    slsr_spool_close(spool);
    spool = open_it(box, SLSR_SPOOL_WRITE);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    append(spool, box, &shard0, 3000, 1000);
    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        struct slsr_spool *tool = open_it(box, SLSR_SPOOL_READ);
        struct slsr_range *range;
        struct slsr_frame frame;

        if (slsr_range_open(&range, tool, 1, UINT64_MAX, NULL) != 0 ||
            slsr_range_next(range, &frame, NULL) != 0 || write(pipes[1], "x", 1) != 1)
            _exit(1);
        raise(SIGSTOP); /* in the middle of a chunk */
        _exit(0);
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    for (int i = 0; i < 60; i++) { /* 60 MB through a spool of 20 */
        append(spool, box, &shard0, 1000, 1000);
        target.acked = box->made + 1;
        assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
        assert_int_equal(slsr_spool_wait_room(spool, NULL, 60000, &err), 0);
        assert_int_equal(slsr_spool_stat(spool, &stat, &err), 0);
        if (stat.disk_bytes > most)
            most = stat.disk_bytes;
    }
    assert_true(most < 20 << 20);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    slsr_spool_close(spool);
}

/* A copied spool is refused for writing until somebody says that it is the one; a renamed one is
 * not a copy, and a tool reads either. */
static void a_copy_does_not_send(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    char copy[80];
    char moved[80];
    struct slsr_err err;

    append(spool, box, &shard0, 10, 100);
    slsr_spool_close(spool);
    snprintf(copy, sizeof copy, "%s-copy", box->dir);
    snprintf(moved, sizeof moved, "%s-moved", box->dir);
    run("cp -a %s %s", box->dir, copy);
    run("mv %s %s", box->dir, moved);
    box->config.path = moved;
    slsr_spool_close(open_it(box, SLSR_SPOOL_WRITE));
    box->config.path = copy;
    assert_int_equal(slsr_spool_open(&spool, &box->config, SLSR_SPOOL_WRITE, &err), SLSR_EBUSY);
    assert_non_null(strstr(err.text, "LOCK"));
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(read_all(spool, 1), 10);
    slsr_spool_close(spool);
    run("rm %s/LOCK%s", copy, "");
    slsr_spool_close(open_it(box, SLSR_SPOOL_WRITE));
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, &shard0, 10, 100);
    assert_int_equal(read_all(spool, 1), 20);
    slsr_spool_close(spool);
    run("rm -rf %s %s", copy, moved);
}

/* A backup is a spool for every reader, and for a relay once its LOCK is gone; also when it was put
 * in the original's place. */
static void a_backup_waits_for_a_word(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = open_it(box, SLSR_SPOOL_WRITE);
    char copy[80];
    uint64_t files;
    uint64_t bytes;
    struct slsr_err err;

    append(spool, box, &shard0, 10, 100);
    snprintf(copy, sizeof copy, "%s-backup", box->dir);
    assert_int_equal(mkdir(copy, 0750), 0);
    if (slsr_spool_backup(spool, copy, NULL, &files, &bytes, &err) != 0)
        fail_msg("backup: %s", err.text);
    slsr_spool_close(spool);
    box->config.path = copy;
    assert_int_equal(slsr_spool_open(&spool, &box->config, SLSR_SPOOL_WRITE, &err), SLSR_EBUSY);
    spool = open_it(box, SLSR_SPOOL_READ);
    assert_int_equal(read_all(spool, 1), 10);
    slsr_spool_close(spool);
    run("rm -r %s%s", box->dir, "");
    assert_int_equal(rename(copy, box->dir), 0);
    box->config.path = box->dir;
    assert_int_equal(slsr_spool_open(&spool, &box->config, SLSR_SPOOL_WRITE, &err), SLSR_EBUSY);
    run("rm %s/LOCK%s", box->dir, "");
    spool = open_it(box, SLSR_SPOOL_WRITE);
    append(spool, box, &shard0, 10, 100);
    assert_int_equal(read_all(spool, 1), 20);
    slsr_spool_close(spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(version_1_is_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(compression_saves_and_can_change, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_dropped_is_entered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_tool_pins_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_does_not_send, setup, teardown),
        cmocka_unit_test_setup_teardown(a_backup_waits_for_a_word, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_key_file_opens_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name("spool_store", tests, NULL, NULL);
}
