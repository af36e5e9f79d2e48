/* Which settings differ between two configurations: what a reload has to know. */
#include <string.h>

#include "config/load.h"

static bool equal(const struct option *option, const void *a, const void *b)
{
    json_t *left;
    json_t *right;
    bool same;

    if (option->kind == OPT_SECRET) {
        /* shown as a mask: the values themselves must be compared */
        char *const *x = (char *const *)((const char *)a + option->offset);
        char *const *y = (char *const *)((const char *)b + option->offset);

        return (*x == NULL || *y == NULL) ? *x == *y : strcmp(*x, *y) == 0;
    }
    left = config_value_get(option, a);
    right = config_value_get(option, b);
    same = left != NULL && right != NULL && json_equal(left, right);
    json_decref(left);
    json_decref(right);
    return same;
}

static bool compared(const struct option *option)
{
    return option->status == OPT_READY && option->kind != OPT_SECRET_FILE;
}

bool slsr_target_equal(const struct slsr_target_config *a, const struct slsr_target_config *b)
{
    size_t count;
    const struct option *options = options_all(&count);

    for (size_t i = 0; i < count; i++)
        if (compared(&options[i]) && strncmp(options[i].path, "targets.", 8) == 0 &&
            !equal(&options[i], a, b))
            return false;
    return true;
}

/* How many structs the rows with this path have. */
static size_t areas(const struct slsr_config *config, const char *path)
{
    if (strncmp(path, "source.", 7) == 0)
        return config->source_count;
    return strncmp(path, "targets.", 8) == 0 ? config->target_count : 1;
}

void slsr_config_differ(const struct slsr_config *a, const struct slsr_config *b,
                        void (*say)(void *ctx, const char *path), void *ctx)
{
    /* config_area hands out what it is given; nothing is written here */
    struct slsr_config *left = (struct slsr_config *)(uintptr_t)a;
    struct slsr_config *right = (struct slsr_config *)(uintptr_t)b;
    size_t count;
    const struct option *options = options_all(&count);

    if (a->source_count != b->source_count)
        say(ctx, "sources");
    if (a->target_count != b->target_count)
        say(ctx, "targets");
    for (size_t i = 0; i < count; i++) {
        const size_t n = areas(a, options[i].path);
        bool same = true;

        if (!compared(&options[i]) || n != areas(b, options[i].path))
            continue;
        for (size_t k = 0; same && k < n; k++)
            same = equal(&options[i], config_area(left, options[i].path, k),
                         config_area(right, options[i].path, k));
        if (!same)
            say(ctx, options[i].path);
    }
}
