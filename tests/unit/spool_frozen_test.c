/* A process that stands still inside a transaction on ack.mdb: the relay stores positions less
 * often, so that the file does not fill its map, and as often as before once that process is gone.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "slsrelay/spool.h"

#include "spool/internal.h"

#include "base/clock.h"

enum { USUAL_MS = 100 };

struct box {
    char dir[64];
    struct slsr_spool *spool;
    struct slsr_target_state target;
};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);
    struct slsr_spool_config config = {.path = box->dir};

    strcpy(box->dir, "/tmp/slsr-frozen-XXXXXX");
    assert_non_null(mkdtemp(box->dir));
    clock_freeze(1700000000000); /* the keeper's own looks are out of the way */
    assert_int_equal(slsr_spool_open(&box->spool, &config, SLSR_SPOOL_WRITE, NULL), 0);
    assert_int_equal(slsr_spool_target_add(box->spool, "siem", &box->target, NULL), 0);
    *state = box;
    return 0;
}

static int teardown(void **state)
{
    struct box *box = *state;
    char command[100];
    int rc;

    slsr_spool_close(box->spool);
    snprintf(command, sizeof command, "rm -rf %s", box->dir);
    rc = system(command);
    free(box);
    return rc;
}

/* Stores positions so often. */
static void store(struct box *box, int times)
{
    for (int i = 0; i < times; i++) {
        assert_int_equal(slsr_spool_ack(box->spool, &box->target, NULL), 0);
        assert_int_equal(ack_flush(box->spool, NULL), 0);
    }
}

/* A child with a transaction open on ack.mdb. */
static pid_t stand_still(const struct box *box)
{
    int pipes[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        char path[100];
        MDB_env *env;
        MDB_txn *txn;

        snprintf(path, sizeof path, "%s/ack.mdb", box->dir);
        if (mdb_env_create(&env) != 0 ||
            mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_RDONLY, 0640) != 0 ||
            mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || write(pipes[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    close(pipes[0]);
    return pid;
}

static void a_pinned_file_is_written_less_often(void **state)
{
    struct box *box = *state;
    struct stat before;
    struct stat after;
    char path[100];
    pid_t pid;

    snprintf(path, sizeof path, "%s/ack.mdb", box->dir);
    pid = stand_still(box);
    store(box, 900);
    assert_int_equal(readers_pace_ms(box->spool, USUAL_MS), USUAL_MS);
    store(box, 200);
    assert_int_equal(readers_pace_ms(box->spool, USUAL_MS), 2 * USUAL_MS);
    assert_int_equal(box->spool->told_pinned, pid);
    store(box, 1000);
    assert_int_equal(readers_pace_ms(box->spool, USUAL_MS), 4 * USUAL_MS);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    /* its slot is cleared; the next pages come from what it pinned */
    int dead = 0;
    assert_int_equal(mdb_reader_check(box->spool->ack_env, &dead), 0);
    assert_int_equal(dead, 1);
    assert_int_equal(readers_pace_ms(box->spool, USUAL_MS), USUAL_MS);
    assert_int_equal(box->spool->told_pinned, 0);
    store(box, 2);
    assert_int_equal(stat(path, &before), 0);
    store(box, 500);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pinned_file_is_written_less_often, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
