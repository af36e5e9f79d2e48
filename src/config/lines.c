/* Which line of the file does a JSON path stand on?
 *
 * jansson has accepted the text before, so that this scanner only has to find its way through valid
 * JSON: it walks the text once, notes "path, line" for each member and element down to the depth
 * that settings have, and sorts the notes. Neighbours with the same path are a repeated key, of
 * which a JSON parser keeps one in silence: that becomes a problem. Text that is not valid JSON
 * after all ends the scan early; then some lines are missing, nothing else. */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "slsrelay/plain.h"

enum { DEPTH_MAX = 6 }; /* the deepest key is targets[0].tls.fingerprints[0]: 4 */

struct scan {
    struct config_load *load;
    const char *p, *end;
    int line;
};

static void skip_space(struct scan *s)
{
    while (s->p < s->end && strchr(" \t\r\n", *s->p) != NULL && *s->p != '\0') {
        if (*s->p == '\n')
            s->line++;
        s->p++;
    }
}

/* Behind the closing quote of the string that begins here. */
static void skip_string(struct scan *s)
{
    s->p++;
    while (s->p < s->end && *s->p != '"')
        s->p += *s->p == '\\' && s->end - s->p > 1 ? 2 : 1;
    if (s->p < s->end)
        s->p++;
}

/* Behind the value that begins here; no recursion whatever its depth. */
static void skip_value(struct scan *s)
{
    size_t depth = 0;

    while (s->p < s->end) {
        char c = *s->p;

        if (c == '"') {
            skip_string(s);
            if (depth == 0)
                return;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return;
        if (c == '{' || c == '[')
            depth++;
        if (c == '\n')
            s->line++;
        s->p++;
        if ((c == '}' || c == ']') && --depth == 0)
            return;
    }
}

static void note(struct scan *s, const char *path, int line)
{
    struct config_lines *lines = &s->load->lines;

    if (lines->count == lines->size) {
        size_t size = lines->size == 0 ? 128 : lines->size * 2;
        struct config_line *items = realloc(lines->items, size * sizeof *items);

        if (items == NULL) {
            s->load->no_memory = true;
            return;
        }
        lines->items = items;
        lines->size = size;
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        s->load->no_memory = true;
        return;
    }
    lines->items[lines->count] = (struct config_line){copy, line, lines->count};
    lines->count++;
}

static void scan_value(struct scan *s, const char *path, int depth);

/* One `"key": value`. jansson undoes the escapes, so that both sides name the key alike. */
static void scan_member(struct scan *s, const char *path, int depth)
{
    const char *start = s->p;
    char child[CONFIG_PATH] = "";
    bool whole = false;
    int line = s->line;
    json_t *key;

    skip_string(s);
    key = json_loadb(start, (size_t)(s->p - start), JSON_DECODE_ANY, NULL);
    if (key != NULL && json_is_string(key)) {
        whole = config_path_key(child, path, json_string_value(key));
        if (whole)
            note(s, child, line);
    }
    json_decref(key);
    skip_space(s);
    if (s->p < s->end && *s->p == ':')
        s->p++;
    skip_space(s);
    if (whole)
        scan_value(s, child, depth + 1);
    else
        skip_value(s); /* too long to be a setting */
}

static void scan_value(struct scan *s, const char *path, int depth)
{
    char child[CONFIG_PATH];
    char open = s->p < s->end ? *s->p : '\0';
    size_t index = 0;

    if ((open != '{' && open != '[') || depth >= DEPTH_MAX) {
        skip_value(s);
        return;
    }
    s->p++;
    for (;;) {
        skip_space(s);
        if (s->p >= s->end || s->load->no_memory)
            return;
        if (*s->p == '}' || *s->p == ']') {
            s->p++;
            return;
        }
        if (*s->p == ',') {
            s->p++;
            continue;
        }
        if (open == '{' && *s->p == '"') {
            scan_member(s, path, depth);
        } else if (open == '[' && config_path_index(child, path, index++)) {
            note(s, child, s->line);
            scan_value(s, child, depth + 1);
        } else if (open == '[') {
            skip_value(s);
        } else {
            s->p = s->end; /* not JSON */
        }
    }
}

static int by_path(const void *a, const void *b)
{
    const struct config_line *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

void config_lines_scan(struct config_load *load, const char *text, size_t length)
{
    struct scan s = {load, text, text + length, 1};
    struct config_lines *lines = &load->lines;

    skip_space(&s);
    note(&s, "$", s.line);
    scan_value(&s, "$", 0);
    if (lines->count > 1)
        qsort(lines->items, lines->count, sizeof *lines->items, by_path);
    for (size_t i = 1; i < lines->count; i++)
        if (strcmp(lines->items[i - 1].path, lines->items[i].path) == 0)
            config_problem_at(load, lines->items[i].path, lines->items[i].line,
                              "this key stands here a second time (first on line %d): remove one",
                              lines->items[i - 1].line);
}

static int find_exact(const struct config_lines *lines, const char *path)
{
    size_t low = 0, high = lines->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(lines->items[mid].path, path);

        if (order == 0)
            return lines->items[mid].line;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

bool config_lines_has(const struct config_lines *lines, const char *path)
{
    return find_exact(lines, path) != 0;
}

int config_lines_find(const struct config_lines *lines, const char *path)
{
    char shorter[CONFIG_PATH];
    size_t n;
    int line;

    slsr_plain(shorter, sizeof shorter, path);
    n = strlen(shorter);
    for (;;) {
        line = find_exact(lines, shorter);
        if (line != 0)
            return line;
        while (n > 1 && shorter[n - 1] != '.' && shorter[n - 1] != '[')
            n--;
        if (n <= 1)
            return 0;
        shorter[--n] = '\0';
    }
}

void config_lines_fini(struct config_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->items[i].path);
    free(lines->items);
    memset(lines, 0, sizeof *lines);
}
