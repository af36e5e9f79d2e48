/* What both configuration tests need: a clean environment, files, and one load. */
#ifndef CONFIG_HELP_H
#define CONFIG_HELP_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "slsrelay/config.h"

struct loaded {
    struct slsr_config *config;
    struct slsr_config_problems problems;
    struct slsr_err err;
    int rc;
};

static inline void clean_environment(void)
{
    static const char *const names[] = {
        "SLS_ENDPOINT", "SLS_PROJECT", "SLS_LOGSTORE",         "SLS_CG",
        "SLS_AK_ID",    "SLS_AK_KEY",  "SLS_AK_SECRET",        "SLS_STS_TOKEN",
        "SLS_SPOOL",    "SIEM",        "CREDENTIALS_DIRECTORY"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

/* New file with this content; the caller unlinks and frees the name. */
static inline char *make_file(const char *text, size_t length, mode_t mode)
{
    const char *dir = getenv("TMPDIR");
    char name[512];
    int fd;

    snprintf(name, sizeof name, "%s/slsr-config-XXXXXX", dir != NULL ? dir : "/tmp");
    fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), (ssize_t)length);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return strdup(name);
}

static inline struct loaded load_sets(const char *text, const char *const *sets, size_t count,
                                      bool need_relay)
{
    struct loaded l = {0};
    char *name = make_file(text, strlen(text), 0600);

    l.rc = slsr_config_load(&l.config, name, sets, count, need_relay, &l.problems, &l.err);
    unlink(name);
    free(name);
    assert_true((l.rc == 0) == (l.config != NULL));
    return l;
}

static inline struct loaded load_text(const char *text, bool need_relay)
{
    return load_sets(text, NULL, 0, need_relay);
}

static inline void unload(struct loaded *l)
{
    slsr_config_free(l->config);
    slsr_config_problems_free(&l->problems);
}

/* "path:line path:line!" (! = warning) of all problems; the caller frees. */
static inline char *list_problems(const struct slsr_config_problems *problems)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    assert_non_null(f);
    for (size_t i = 0; i < problems->count; i++)
        fprintf(f, "%s%s:%d%s", i > 0 ? " " : "", problems->items[i].path, problems->items[i].line,
                problems->items[i].warning ? "!" : "");
    fclose(f);
    return text;
}

static inline char *print_text(const struct slsr_config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    assert_non_null(f);
    assert_int_equal(slsr_config_print(config, f, NULL), 0);
    fclose(f);
    return text;
}

static inline char *read_project_file(const char *path)
{
    char name[1024];
    char *text = calloc(1, 256 * 1024);
    FILE *f;

    snprintf(name, sizeof name, "%s/%s", PROJECT_DIR, path);
    f = fopen(name, "r");
    assert_non_null(f);
    assert_non_null(text);
    assert_true(fread(text, 1, 256 * 1024 - 1, f) > 0);
    fclose(f);
    return text;
}

#endif
