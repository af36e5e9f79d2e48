/* What tests of the spool do around it: a folder of their own, keys beside it, opening. */
#ifndef SPOOL_PLACE_H
#define SPOOL_PLACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "slsrelay/spool.h"

enum { PLACE_DIR = 64, PLACE_KEY = 80 };
#define PLACE_ONE_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

/* A new folder "/tmp/slsr-NAME-...", and the name of a key file beside it. */
static inline void place_make(char dir[PLACE_DIR], char key[PLACE_KEY], const char *name)
{
    snprintf(dir, PLACE_DIR, "/tmp/slsr-%s-XXXXXX", name);
    assert_non_null(mkdtemp(dir));
    snprintf(key, PLACE_KEY, "%s.key", dir);
}

static inline void place_wipe(const char *dir, const char *key)
{
    char command[256];

    snprintf(command, sizeof command, "rm -rf %s %s", dir, key);
    assert_int_equal(system(command), 0);
}

/* From now on the spool is opened with these keys. */
static inline void place_write_key(struct slsr_spool_config *config, char *key, const char *text)
{
    FILE *file = fopen(key, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(key, 0600), 0);
    config->encryption_key_file = key;
}

static inline struct slsr_spool *place_open(const struct slsr_spool_config *config,
                                            enum slsr_spool_mode mode)
{
    struct slsr_spool *spool;
    struct slsr_err err;

    if (slsr_spool_open(&spool, config, mode, &err) != 0)
        fail_msg("open: %s", err.text);
    return spool;
}

#endif
