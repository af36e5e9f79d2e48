/* A file of LMDB with hostile pages. The input is a list of changes: offset (three bytes), length
 * (one), the bytes to put there. What must hold: it is refused with a sentence, or LMDB walks all
 * of it, key by key and byte by byte, without a crash (LMDB 0.9 checks almost nothing that it
 * reads). */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lmdb.h>

#include "spool/env.h"
#include "spool/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEYS = 150, NAMES = 3, IMAGE_MAX = 4 << 20 };

static char dir[64], path[80];
static unsigned char *image;
static size_t image_bytes;
static int file = -1;

static void must(int holds)
{
    if (!holds)
        abort();
}

static void leave(void)
{
    char command[128];

    free(image);
    close(file);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    must(system(command) == 0);
}

/* Databases with number keys and text keys, small and big values, branches, pages given back. */
static void write_file(void)
{
    static const char *const names[NAMES] = {"c", "i", "m"};
    static unsigned char value[9000];
    MDB_env *env;
    MDB_txn *txn;

    must(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 &&
         mdb_env_set_mapsize(env, IMAGE_MAX) == 0 &&
         mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOSYNC, 0600) == 0);
    for (size_t turn = 0; turn < 3; turn++) {
        must(mdb_txn_begin(env, NULL, 0, &txn) == 0);
        for (size_t name = 0; name < NAMES; name++) {
            MDB_dbi db;

            must(mdb_dbi_open(txn, names[name], MDB_CREATE | (name < 2 ? MDB_INTEGERKEY : 0),
                              &db) == 0);
            for (size_t i = turn; i < KEYS; i += 1 + turn) {
                char text[32];
                MDB_val key = {sizeof i, (void *)&i};
                MDB_val data = {name == 0 && i % 7 == 0 ? sizeof value : 40 + i % 90, value};

                if (name == 2)
                    key = (MDB_val){(size_t)snprintf(text, sizeof text, "record %zu", i * i), text};
                memset(value, (int)(turn + i), 64);
                if (turn == 2 && i % 5 == 0)
                    (void)mdb_del(txn, db, &key, NULL);
                else
                    must(mdb_put(txn, db, &key, &data, 0) == 0);
            }
        }
        must(mdb_txn_commit(txn) == 0);
    }
    mdb_env_close(env);
}

static void enter(void)
{
    FILE *in;

    strcpy(dir,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/slsr-fuzz-XXXXXX" : "/tmp/slsr-fuzz-XXXXXX");
    must(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/pages.mdb", dir);
    write_file();
    image = malloc(IMAGE_MAX);
    in = fopen(path, "rb");
    must(image != NULL && in != NULL);
    image_bytes = fread(image, 1, IMAGE_MAX, in);
    fclose(in);
    file = open(path, O_RDWR | O_CLOEXEC);
    must(file >= 0 && image_bytes > 50 * 4096);
    atexit(leave);
}

static uint64_t walk_database(MDB_txn *txn, MDB_dbi db)
{
    MDB_cursor *cursor;
    MDB_val key, data;
    uint64_t sum = 0;

    must(mdb_cursor_open(txn, db, &cursor) == 0);
    while (mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == 0) {
        for (size_t i = 0; i < key.mv_size; i++)
            sum += ((const unsigned char *)key.mv_data)[i];
        for (size_t i = 0; i < data.mv_size; i++)
            sum += ((const unsigned char *)data.mv_data)[i];
    }
    mdb_cursor_close(cursor);
    return sum;
}

static void walk(MDB_env *env)
{
    static const char *const names[NAMES] = {"c", "i", "m"};
    uint64_t sum = 0;
    MDB_txn *txn;
    MDB_dbi db;

    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
        return;
    for (size_t name = 0; name < NAMES; name++)
        if (mdb_dbi_open(txn, names[name], 0, &db) == 0)
            sum += walk_database(txn, db);
    mdb_txn_abort(txn);
    must(sum != UINT64_MAX); /* keeps the reads */
}

/* Puts the changes into the file; undo: what was there before. */
static void change(const uint8_t *data, size_t size, int undo)
{
    while (size >= 4) {
        const size_t at =
            ((size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % image_bytes;
        size_t n = data[3] & 31;

        data += 4;
        size -= 4;
        n = n < size ? n : size;
        if (at + n <= image_bytes)
            must(pwrite(file, undo ? image + at : data, n, (off_t)at) == (ssize_t)n);
        data += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slsr_err err = {0};
    MDB_env *env = NULL;
    unsigned char out[56];
    int rc;

    if (file < 0)
        enter();
    change(data, size, 0);
    (void)pages_value(path, "m", "record 4", out, sizeof out);
    rc = env_open(&env, path, 8, 0, false, true, &err);
    if (rc == 0)
        walk(env);
    else
        must(err.text[0] != '\0');
    mdb_env_close(env);
    change(data, size, 1);
    return 0;
}
