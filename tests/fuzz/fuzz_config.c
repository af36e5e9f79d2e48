/* A configuration file of any bytes: refused with problems that say where, or loaded; then it
 * prints without a secret and goes. The file lies in memory (memfd). Lines in front that begin with
 * "--set " are flags, the first three of them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "slsrelay/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

static void print(const struct slsr_config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    must(out != NULL);
    must(slsr_config_print(config, out, NULL) == 0);
    fclose(out);
    must(text[0] == '{');
    free(text);
}

enum { SETS_MAX = 3 };

/* Takes the flags off the front. */
static size_t take_sets(const uint8_t **data, size_t *size, char *sets[SETS_MAX])
{
    size_t count = 0;

    while (count<SETS_MAX && * size> 6 && memcmp(*data, "--set ", 6) == 0) {
        const uint8_t *end = memchr(*data, '\n', *size);
        const size_t n = end != NULL ? (size_t)(end - *data) : *size;

        sets[count] = strndup((const char *)*data + 6, n - 6);
        must(sets[count++] != NULL);
        *data += n + (end != NULL);
        *size -= n + (end != NULL);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char secret[] = "hidden-0123456789";
    const char *sets[1 + SETS_MAX] = {"source.access_key_secret=hidden-0123456789"};
    char *more[SETS_MAX] = {NULL};
    const uint8_t *whole = data;
    const size_t whole_size = size;
    const size_t set_count = take_sets(&data, &size, more);
    struct slsr_config_problems problems = {0};
    struct slsr_config *config = NULL;
    struct slsr_err err = {0};
    char path[64];
    int refused = 0;
    const int fd = memfd_create("config", MFD_CLOEXEC);

    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (size_t i = 0; i < set_count; i++)
        sets[1 + i] = more[i];
    const int rc = slsr_config_load(&config, path, sets, 1 + set_count, size % 2, &problems, &err);

    for (size_t i = 0; i < problems.count; i++) {
        must(problems.items[i].path[0] == '$');
        /* from the flag; what the file itself says may be repeated */
        must(strstr(problems.items[i].text, secret) == NULL ||
             memmem(whole, whole_size, secret, strlen(secret)) != NULL);
        refused += !problems.items[i].warning;
    }
    must(rc == 0 || rc == SLSR_ECONFIG || rc == SLSR_ENOMEM);
    must(rc != SLSR_ECONFIG || refused > 0);
    if (rc == 0)
        print(config);
    slsr_config_free(config);
    slsr_config_problems_free(&problems);
    for (size_t i = 0; i < set_count; i++)
        free(more[i]);
    close(fd);
    return 0;
}
