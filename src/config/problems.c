/* The list of everything that is wrong with a configuration.
 *
 * A problem names the place by JSON path and, when the value came from the file, by line. A value
 * that the environment or a flag has put there says so instead. Nothing here ever sees a secret:
 * the callers pass no values of secret keys. When memory ends the load as a whole says so. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "slsrelay/plain.h"

enum { TEXT_MAX = sizeof(((struct slsr_config_problem *)0)->text) };

static bool key_is_plain(const char *key)
{
    size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return n > 0 && key[n] == '\0';
}

bool config_path_key(char out[CONFIG_PATH], const char *base, const char *key)
{
    char plain[CONFIG_PATH];
    int n;

    if (key_is_plain(key))
        n = snprintf(out, CONFIG_PATH, "%s.%s", base, key);
    else
        n = snprintf(out, CONFIG_PATH, "%s[\"%s\"]", base, slsr_plain(plain, sizeof plain, key));
    return n >= 0 && n < CONFIG_PATH;
}

bool config_path_index(char out[CONFIG_PATH], const char *base, size_t index)
{
    int n = snprintf(out, CONFIG_PATH, "%s[%zu]", base, index);

    return n >= 0 && n < CONFIG_PATH;
}

/* Is `path` the place `top` or somewhere in it? */
static bool within(const char *path, const char *top)
{
    size_t n = strlen(top);

    return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '.' || path[n] == '[');
}

/* The override that covers path, or that made path on its way to something inside; else NULL. */
static const struct config_override *override_of(const struct config_load *load, const char *path)
{
    const struct config_override *found = NULL;
    bool made = strcmp(path, "$") != 0 && !config_lines_has(&load->lines, path);

    for (size_t i = 0; i < load->override_count; i++)
        if (within(path, load->overrides[i].path) ||
            (made && within(load->overrides[i].path, path)))
            found = &load->overrides[i]; /* the last one won */
    return found;
}

bool config_overridden(const struct config_load *load, const char *path)
{
    return override_of(load, path) != NULL;
}

bool config_told(const struct config_load *load, size_t first, const char *path)
{
    for (size_t i = 0; i < first; i++)
        if (!load->problems->items[i].warning && within(load->problems->items[i].path, path))
            return true;
    return false;
}

static void add(struct config_load *load, const char *path, int line, bool warning,
                const char *text)
{
    struct slsr_config_problems *all = load->problems;
    const struct config_override *over = override_of(load, path);
    struct slsr_config_problem *items, *p;
    size_t n;

    load->has_error |= !warning;
    if (all->count >= CONFIG_PROBLEMS_MAX)
        return;
    items = realloc(all->items, (all->count + 1) * sizeof *items);
    if (items == NULL) {
        load->no_memory = true;
        return;
    }
    all->items = items;
    p = &items[all->count++];
    memset(p, 0, sizeof *p);
    snprintf(p->path, sizeof p->path, "%s", path);
    p->warning = warning;
    snprintf(p->text, sizeof p->text, "%s", text);
    if (line != 0) {
        p->line = line > 0 ? line : 0;
    } else if (over != NULL) {
        n = strlen(p->text);
        snprintf(p->text + n, sizeof p->text - n, " (from %s)", over->origin);
    } else {
        p->line = config_lines_find(&load->lines, path);
    }
}

void config_problem(struct config_load *load, const char *path, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    add(load, path, 0, false, text);
}

void config_warning(struct config_load *load, const char *path, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    add(load, path, 0, true, text);
}

void config_problem_at(struct config_load *load, const char *path, int line, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    add(load, path, line, false, text);
}

void config_problems_sort(struct slsr_config_problems *problems)
{
    /* Insertion sort: stable, and there are CONFIG_PROBLEMS_MAX at most. */
    for (size_t i = 1; i < problems->count; i++) {
        struct slsr_config_problem moving = problems->items[i];
        size_t at = i;

        while (at > 0 && problems->items[at - 1].line > moving.line) {
            problems->items[at] = problems->items[at - 1];
            at--;
        }
        problems->items[at] = moving;
    }
}

void slsr_config_problems_free(struct slsr_config_problems *problems)
{
    if (problems == NULL)
        return;
    free(problems->items);
    problems->items = NULL;
    problems->count = 0;
}
