/* What a segment and ack.mdb say, damaged record by record: the spool opens, gives no number twice
 * (I4), hands out what is whole, and goes on. The records are changed in LMDB, behind the spool's
 * back. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lmdb.h>

#include <cmocka.h>

#include "slsrelay/ledger.h"
#include "slsrelay/spool.h"

#include "spool/layout.h"

enum { BATCHES = 6, BATCH_FRAMES = 5, FRAMES = BATCHES * BATCH_FRAMES };

static char dir[64];
static struct slsr_spool_config config;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/slsr-records-XXXXXX");
    assert_non_null(mkdtemp(dir));
    config = (struct slsr_spool_config){.path = dir, .max_size_bytes = 12 << 20};
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static struct slsr_spool *open_it(void)
{
    struct slsr_spool *spool;
    struct slsr_err err;

    if (slsr_spool_open(&spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        fail_msg("open: %s", err.text);
    return spool;
}

/* Frames that say their number; returns the first one. */
static uint64_t append(struct slsr_spool *spool, uint64_t first, unsigned shard, size_t bytes)
{
    struct slsr_checkpoint cp = {.stream = {"proj", "audit", shard}, .cursor = "MTAy"};
    struct slsr_batch batch;
    struct slsr_err err;
    uint64_t given = 0;

    slsr_batch_init(&batch);
    strcpy(batch.cursor, "MTAw");
    batch.data = malloc(BATCH_FRAMES * (bytes + 80));
    batch.meta = calloc(BATCH_FRAMES, sizeof *batch.meta);
    for (size_t i = 0; i < BATCH_FRAMES; i++) {
        char text[64];
        const int n = snprintf(text, sizeof text, "message %llu ", (unsigned long long)(first + i));

        batch.used += (size_t)sprintf(batch.data + batch.used, "%zu ", bytes);
        for (size_t k = 0; k < bytes; k++) /* not to be compressed away */
            batch.data[batch.used + k] = (char)('a' + rand() % 26);
        memcpy(batch.data + batch.used, text, (size_t)n);
        batch.used += bytes;
        batch.meta[i] = (struct slsr_frame_meta){.end = (uint32_t)batch.used, .time_s = 1000};
    }
    batch.frame_count = BATCH_FRAMES;
    if (slsr_spool_append(spool, &batch, &cp, &given, &err) != 0)
        fail_msg("append: %s", err.text);
    slsr_batch_fini(&batch);
    return given;
}

static void fill(void)
{
    struct slsr_spool *spool = open_it();

    for (unsigned i = 0; i < BATCHES; i++)
        assert_int_equal(append(spool, i * BATCH_FRAMES + 1, i % 3, 100), i * BATCH_FRAMES + 1);
    slsr_spool_close(spool);
}

/* How many frames can be read; each says the number that it has. */
static size_t read_all(struct slsr_spool *spool)
{
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t last = 0;
    size_t seen = 0;
    int rc;

    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    while ((rc = slsr_range_next(range, &frame, &err)) != SLSR_ENOMATCH) {
        char expect[64];

        assert_true(rc == 0 || rc == SLSR_ECORRUPT);
        if (rc != 0)
            continue;
        snprintf(expect, sizeof expect, "message %llu ", (unsigned long long)frame.seq);
        assert_memory_equal(frame.message.p, expect, strlen(expect));
        assert_true(frame.seq > last);
        last = frame.seq;
        seen++;
    }
    slsr_range_close(range);
    return seen;
}

/* --- the disk's side --- */

typedef void change(unsigned char *value, size_t size);

static void flip(unsigned char *value, size_t size)
{
    value[size / 2] ^= 1;
}

static void blank(unsigned char *value, size_t size)
{
    memset(value, 0, size);
}

/* The head as version 1 wrote it. */
static void make_old(unsigned char *value, size_t size)
{
    struct layout_head head;

    assert_true(layout_get_head(value, size, &head));
    head.version = 1;
    layout_put_head(value, &head);
}

static void is_new(unsigned char *value, size_t size)
{
    struct layout_head head;

    assert_true(layout_get_head(value, size, &head));
    assert_int_equal(head.version, LAYOUT_VERSION);
    assert_int_equal(head.first, 1);
}

/* Changes a record of a file: the one with this key; without, the first or (op) last. */
static void damage_in(const char *file, const char *database, const char *name, MDB_cursor_op op,
                      change *how)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    MDB_cursor *cursor;
    MDB_val key = {name != NULL ? strlen(name) : 0, (void *)(uintptr_t)name};
    MDB_val data;
    unsigned char *own;
    char path[200];

    snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0640), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, database, 0, &db), 0);
    assert_int_equal(mdb_cursor_open(txn, db, &cursor), 0);
    assert_int_equal(mdb_cursor_get(cursor, &key, &data, name != NULL ? MDB_SET_KEY : op), 0);
    own = malloc(data.mv_size);
    memcpy(own, data.mv_data, data.mv_size);
    how(own, data.mv_size);
    data.mv_data = own;
    assert_int_equal(mdb_cursor_put(cursor, &key, &data, MDB_CURRENT), 0);
    mdb_cursor_close(cursor);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    free(own);
}

static const char segment[] = "seg-0000000000000001.mdb";

static void damage(const char *database, const char *name, MDB_cursor_op op, change *how)
{
    damage_in(segment, database, name, op, how);
}

static void shell(const char *format)
{
    char command[300];

    snprintf(command, sizeof command, format, dir, dir);
    assert_int_equal(system(command), 0);
}

/* The only entry of the ledger says so. */
static void expect_entry(struct slsr_spool *spool, const char *kind, const char *reason,
                         uint64_t from, uint64_t to)
{
    struct slsr_ledger_entry *list;
    size_t count;

    assert_int_equal(slsr_ledger_list(spool, 1, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].kind, kind);
    assert_string_equal(list[0].reason, reason);
    assert_int_equal(list[0].from_seq, from);
    assert_int_equal(list[0].to_seq, to);
    free(list);
}

static void take(struct slsr_spool *spool, uint64_t acked)
{
    struct slsr_target_state state;

    assert_int_equal(slsr_spool_target_add(spool, "siem", &state, NULL), 0);
    state.acked = acked;
    assert_int_equal(slsr_spool_ack(spool, &state, NULL), 0);
}

static uint64_t position(struct slsr_spool *spool)
{
    struct slsr_target_state state;

    assert_int_equal(slsr_spool_target_add(spool, "siem", &state, NULL), 0);
    return state.acked;
}

/* --- the tests --- */

/* The chunk's own header says how many frames there are. */
static void last_index_record(void **state)
{
    struct slsr_spool *spool;

    (void)state;
    fill();
    damage("i", NULL, MDB_LAST, flip);
    spool = open_it();
    assert_int_equal(append(spool, FRAMES + 1, 0, 100), FRAMES + 1);
    assert_int_equal(read_all(spool), FRAMES + BATCH_FRAMES);
    slsr_spool_close(spool);
}

/* Both records of the last chunk: it is lost, and its numbers are not given again. */
static void last_chunk_and_its_index(void **state)
{
    struct slsr_spool *spool;
    uint64_t oldest, next;

    (void)state;
    fill();
    damage("i", NULL, MDB_LAST, flip);
    damage("c", NULL, MDB_LAST, blank);
    spool = open_it();
    assert_int_equal(slsr_spool_bounds(spool, &oldest, &next, NULL), 0);
    assert_true(next > FRAMES);
    assert_int_equal(append(spool, next, 0, 100), next);
    assert_int_equal(read_all(spool), FRAMES); /* without the lost ones, with the new ones */
    slsr_spool_close(spool);
}

/* Every index record: the end is that of the chunks. */
static void all_index_records(void **state)
{
    struct slsr_spool *spool;

    (void)state;
    fill();
    damage("i", NULL, MDB_FIRST, flip);
    damage("i", NULL, MDB_LAST, blank);
    spool = open_it();
    assert_int_equal(append(spool, FRAMES + 1, 0, 100), FRAMES + 1);
    assert_int_equal(read_all(spool), FRAMES + BATCH_FRAMES);
    slsr_spool_close(spool);
}

/* How many frames a sender gets, who needs no names. */
static size_t send_all(struct slsr_spool *spool)
{
    struct slsr_range *range;
    struct slsr_run run;
    size_t seen = 0;

    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, NULL), 0);
    while (slsr_range_next_run(range, 1 << 20, &run, NULL) == 0)
        seen += run.count;
    slsr_range_close(range);
    return seen;
}

/* Frames one by one, with their shards: those of shard 1 have the name "?" or cannot be named,
 * which happens `unnamed` times. How many came. */
static size_t name_all(struct slsr_spool *spool, size_t *unnamed)
{
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    size_t seen = 0;
    int rc;

    *unnamed = 0;
    assert_int_equal(slsr_range_open(&range, spool, 1, UINT64_MAX, &err), 0);
    while ((rc = slsr_range_next(range, &frame, &err)) != SLSR_ENOMATCH) {
        const uint64_t shard = frame.seq > FRAMES ? 77 : (frame.seq - 1) / BATCH_FRAMES % 3;

        if (rc == 0) {
            assert_string_equal(frame.stream.logstore, shard == 1 ? "?" : "audit");
            assert_int_equal(frame.stream.shard, shard);
            seen++;
        }
        *unnamed += rc == SLSR_ECORRUPT;
    }
    slsr_range_close(range);
    return seen;
}

/* That shard has no checkpoint any more, the others keep theirs; a new shard gets an id of its own.
 * A receiver gets all frames, also one that is served by shard; a tool cannot name the shard of
 * some, and says so. */
static void a_checkpoint(void **state)
{
    const struct slsr_stream lost = {"proj", "audit", 1}, kept = {"proj", "audit", 2};
    struct slsr_checkpoint found;
    struct slsr_spool *spool;
    struct slsr_err err;
    size_t unnamed;

    (void)state;
    fill();
    damage("k", "proj/audit/1", MDB_SET, flip);
    spool = open_it();
    assert_int_equal(slsr_spool_checkpoint(spool, &kept, &found, &err), 0);
    assert_string_equal(found.cursor, "MTAy");
    assert_int_equal(slsr_spool_checkpoint(spool, &lost, &found, &err), SLSR_ENOMATCH);
    append(spool, FRAMES + 1, 77, 100);
    assert_int_equal(send_all(spool), FRAMES + BATCH_FRAMES);
    assert_int_equal(name_all(spool, &unnamed), FRAMES + BATCH_FRAMES);
    assert_int_equal(unnamed, 0);
    slsr_spool_close(spool);
    assert_int_equal(slsr_spool_open(&spool, &config, SLSR_SPOOL_READ, &err), 0);
    assert_int_equal(name_all(spool, &unnamed), FRAMES - 2 * BATCH_FRAMES + BATCH_FRAMES);
    assert_int_equal(unnamed, 2); /* chunks of that shard */
    slsr_spool_close(spool);
}

/* A segment cannot be summed up over a damaged index record: it is closed all the same, and the
 * next one goes on. */
static void index_of_a_segment_that_ends(void **state)
{
    struct slsr_spool *spool;
    uint64_t next = FRAMES + 1;
    char pattern[100];
    glob_t found;

    (void)state;
    fill();
    damage("i", NULL, MDB_FIRST, flip);
    spool = open_it();
    for (int i = 0; i < 40; i++, next += BATCH_FRAMES)
        assert_int_equal(append(spool, next, 0, 20000), next);
    assert_int_equal(read_all(spool), next - 1);
    slsr_spool_close(spool);
    snprintf(pattern, sizeof pattern, "%s/seg-*.mdb", dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 1);
    globfree(&found);
    spool = open_it();
    assert_int_equal(read_all(spool), next - 1);
    slsr_spool_close(spool);
}

/* An empty segment of version 1 becomes one of version 2 before a frame goes in. */
static void empty_segment_of_version_1(void **state)
{
    struct slsr_spool *spool = open_it();

    (void)state;
    slsr_spool_close(spool);
    damage("m", "head", MDB_SET, make_old);
    spool = open_it();
    assert_int_equal(append(spool, 1, 0, 100), 1);
    assert_int_equal(read_all(spool), BATCH_FRAMES);
    slsr_spool_close(spool);
    damage("m", "head", MDB_SET, is_new);
}

/* A position costs its target repeats, never a frame. */
static void a_position(void **state)
{
    struct slsr_spool *spool;

    (void)state;
    fill();
    spool = open_it();
    take(spool, 21);
    slsr_spool_close(spool);
    spool = open_it();
    assert_int_equal(position(spool), 21);
    slsr_spool_close(spool);
    damage_in("ack.mdb", "t", "siem", MDB_SET, flip);
    spool = open_it();
    assert_int_equal(position(spool), 1);
    slsr_spool_close(spool);
}

/* Both meta pages of ack.mdb: it is set aside and begun anew, which the ledger says. */
static void all_positions(void **state)
{
    struct slsr_spool *spool;
    char path[100];

    (void)state;
    fill();
    spool = open_it();
    take(spool, 21);
    slsr_spool_close(spool);
    shell("dd if=/dev/zero of=%s/ack.mdb bs=4096 count=2 conv=notrunc status=none");
    spool = open_it();
    assert_int_equal(position(spool), 1);
    assert_int_equal(read_all(spool), FRAMES);
    slsr_spool_close(spool); /* what has happened is in the ledger by then */
    snprintf(path, sizeof path, "%s/ack.mdb.bad", dir);
    assert_int_equal(access(path, F_OK), 0);
    spool = open_it();
    expect_entry(spool, "quarantine", "ack", 0, 0);
    slsr_spool_close(spool);
}

/* An old copy of the segment is put back: what a target has taken since then has numbers that are
 * not given again. */
static void the_end(void **state)
{
    struct slsr_spool *spool;

    (void)state;
    fill();
    shell("cp %s/seg-0000000000000001.mdb %s/old");
    spool = open_it();
    assert_int_equal(append(spool, FRAMES + 1, 0, 100), FRAMES + 1);
    take(spool, FRAMES + BATCH_FRAMES + 1);
    slsr_spool_close(spool);
    shell("mv %s/old %s/seg-0000000000000001.mdb");
    spool = open_it();
    assert_int_equal(append(spool, FRAMES + BATCH_FRAMES + 1, 0, 100), FRAMES + BATCH_FRAMES + 1);
    assert_int_equal(position(spool), FRAMES + BATCH_FRAMES + 1);
    assert_int_equal(read_all(spool), FRAMES + BATCH_FRAMES);
    slsr_spool_close(spool);
    spool = open_it();
    expect_entry(spool, "gap", "end_lost", FRAMES + 1, FRAMES + BATCH_FRAMES + 1);
    slsr_spool_close(spool);
}

/* What no sender of ours would say. */
static void impossible_targets(void **state)
{
    struct slsr_target_state target = {.name = "nobody"};
    struct slsr_spool *spool = open_it();
    struct slsr_err err = {0};
    char name[80];

    (void)state;
    assert_int_equal(slsr_spool_ack(spool, &target, &err), SLSR_EUSAGE);
    assert_non_null(strstr(err.text, "nobody"));
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(slsr_spool_target_add(spool, name, &target, &err), SLSR_ECONFIG);
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "target-%d", i);
        assert_int_equal(slsr_spool_target_add(spool, name, &target, &err), 0);
    }
    assert_int_not_equal(slsr_spool_target_add(spool, "one-more", &target, &err), 0);
    assert_non_null(strstr(err.text, "64"));
    target.acked = 1000000; /* of frames that there are not */
    assert_int_equal(slsr_spool_ack(spool, &target, &err), 0);
    assert_int_equal(slsr_spool_target_add(spool, "target-63", &target, &err), 0);
    assert_int_equal(target.acked, 1);
    slsr_spool_close(spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(last_index_record, setup, teardown),
        cmocka_unit_test_setup_teardown(last_chunk_and_its_index, setup, teardown),
        cmocka_unit_test_setup_teardown(all_index_records, setup, teardown),
        cmocka_unit_test_setup_teardown(a_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(index_of_a_segment_that_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_segment_of_version_1, setup, teardown),
        cmocka_unit_test_setup_teardown(a_position, setup, teardown),
        cmocka_unit_test_setup_teardown(all_positions, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_targets, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
