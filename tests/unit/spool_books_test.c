/* ack.mdb under the feet of its users: a target that is forgotten while positions are being stored,
 * and one that is forgotten while the file cannot be opened. This program stands before LMDB's
 * transactions, so that the keeper waits where a test wants it to. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "spool_place.h"

#include "slsrelay/stop.h"

#include "spool/internal.h"

static atomic_bool hold_store; /* the keeper's next write says `held` and waits for `go` */
static sem_t held, go;

static bool am_keeper(void)
{
    char name[16] = "";

    return pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
           strcmp(name, "spool-keeper") == 0;
}

static void await(sem_t *sem)
{
    while (sem_wait(sem) != 0 && errno == EINTR)
        ;
}

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    static int (*real)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_begin");
    if ((flags & MDB_RDONLY) == 0 && am_keeper() && atomic_exchange(&hold_store, false)) {
        sem_post(&held);
        await(&go);
    }
    return real(env, parent, flags, txn);
}

struct box {
    char dir[PLACE_DIR], key[PLACE_KEY];
    struct slsr_spool_config config;
};

static int setup(void **state)
{
    struct box *box = calloc(1, sizeof *box);

    place_make(box->dir, box->key, "books");
    box->config = (struct slsr_spool_config){.path = box->dir, .max_size_bytes = 20 << 20};
    *state = box;
    return sem_init(&held, 0, 0) + sem_init(&go, 0, 0);
}

static int teardown(void **state)
{
    struct box *box = *state;

    place_wipe(box->dir, box->key);
    free(box);
    return 0;
}

static const char *const kept[] = {"other"};

static void register_two(struct slsr_spool *spool)
{
    struct slsr_target_state target;

    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, NULL), 0);
    assert_int_equal(slsr_spool_target_add(spool, "other", &target, NULL), 0);
}

/* What a tool sees. */
static void expect_one_target(const struct box *box)
{
    struct slsr_spool *spool = place_open(&box->config, SLSR_SPOOL_READ);
    struct slsr_target_state *targets;
    struct slsr_err err;
    size_t count;

    assert_int_equal(slsr_spool_targets(spool, &targets, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(targets[0].name, "other");
    free(targets);
    slsr_spool_close(spool);
}

/* The keeper has gathered its position and waits for the writer's turn: meanwhile it goes. */
static void forgotten_while_positions_are_stored(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = place_open(&box->config, SLSR_SPOOL_WRITE);
    struct slsr_err err = {0};

    hold_store = true;
    register_two(spool);
    await(&held);
    if (slsr_spool_targets_keep(spool, kept, 1, &err) != 0)
        fail_msg("%s", err.text);
    sem_post(&go);
    slsr_spool_close(spool);
    expect_one_target(box);
}

static bool is_closed(struct slsr_spool *spool)
{
    bool closed;

    pthread_rwlock_rdlock(&spool->books.gate);
    closed = spool->ack_env == NULL;
    pthread_rwlock_unlock(&spool->books.gate);
    return closed;
}

/* LMDB has given ack.mdb up and no descriptor is left to open it anew: a reload that takes a target
 * away is told so, and works once there is one. */
static void forgotten_while_the_file_cannot_be_opened(void **state)
{
    struct box *box = *state;
    struct slsr_spool *spool = place_open(&box->config, SLSR_SPOOL_WRITE);
    struct rlimit usual;
    struct rlimit none;
    struct slsr_err err = {0};
    struct slsr_target_state target;

    register_two(spool);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){0, usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    spool->books.broken = true;
    while (!is_closed(spool))
        slsr_stop_wait(NULL, 10);
    assert_int_equal(slsr_spool_targets_keep(spool, kept, 1, &err), SLSR_EIO);
    assert_non_null(strstr(err.text, "opened anew"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    while (is_closed(spool))
        slsr_stop_wait(NULL, 10);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, NULL), 0);
    if (slsr_spool_targets_keep(spool, kept, 1, &err) != 0)
        fail_msg("%s", err.text);
    slsr_spool_close(spool);
    expect_one_target(box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forgotten_while_positions_are_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(forgotten_while_the_file_cannot_be_opened, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
