/* Settings for people: --print-config, and the reference of all keys.
 *
 * --print-config walks the option table and writes every key with its effective value, in the form
 * that the loader takes. Secrets are written as a mask which the loader refuses, so that a printed
 * configuration never runs with wrong keys by accident (I6). */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

/* The user and password of a proxy address as the mask; other texts as they are. */
static json_t *proxy_masked(const char *proxy)
{
    const char *at = strrchr(proxy, '@'), *mark = strstr(proxy, "://");
    int scheme = mark != NULL && mark < at ? (int)(mark + 3 - proxy) : 0;

    return at == NULL ? json_string(proxy)
                      : json_sprintf("%.*s" CONFIG_MASK "%s", scheme, proxy, at);
}

/* Puts value (taken) below root at "retry.initial", making the objects on the way. */
static bool put(json_t *root, const char *path, json_t *value)
{
    char step[64];
    json_t *node = root;

    for (;;) {
        size_t n = strcspn(path, ".");
        json_t *child;

        snprintf(step, sizeof step, "%.*s", (int)n, path);
        if (path[n] == '\0')
            return json_object_set_new(node, step, value) == 0;
        child = json_object_get(node, step);
        if (child == NULL) {
            child = json_object();
            if (json_object_set_new(node, step, child) != 0) {
                json_decref(value);
                return false;
            }
        }
        node = child;
        path += n + 1;
    }
}

/* All rows of the area whose paths begin with prefix, as one object. */
static json_t *area_json(const struct slsr_config *config, const char *prefix, size_t i)
{
    /* config_area hands out what it is given; nothing is written here. */
    void *area = config_area((struct slsr_config *)(uintptr_t)config, prefix, i);
    json_t *object = json_object();
    size_t count, n = strlen(prefix);
    const struct option *options = options_all(&count);

    for (size_t k = 0; object != NULL && k < count; k++) {
        const struct option *o = &options[k];
        json_t *value;

        if (strncmp(o->path, prefix, n) != 0 || o->status != OPT_READY ||
            o->kind == OPT_SECRET_FILE)
            continue;
        if (strcmp(o->path, "source.proxy") == 0 && config->sources[i].proxy != NULL)
            value = proxy_masked(config->sources[i].proxy);
        else
            value = config_value_get(o, area);
        if (!put(object, o->path + n, value)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *list_json(const struct slsr_config *config, const char *prefix, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; list != NULL && i < count; i++)
        if (json_array_append_new(list, area_json(config, prefix, i)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

int slsr_config_print(const struct slsr_config *config, FILE *out, struct slsr_err *err)
{
    json_t *root = json_object();
    int rc = 0;

    if (json_object_set_new(root, config->source_count == 1 ? "source" : "sources",
                            config->source_count == 1
                                ? area_json(config, "source.", 0)
                                : list_json(config, "source.", config->source_count)) != 0 ||
        json_object_set_new(root, "format", area_json(config, "format.", 0)) != 0 ||
        json_object_set_new(root, "spool", area_json(config, "spool.", 0)) != 0 ||
        json_object_set_new(root, "targets", list_json(config, "targets.", config->target_count)) !=
            0 ||
        json_object_set_new(root, "log", area_json(config, "log.", 0)) != 0 ||
        json_object_set_new(root, "metrics", area_json(config, "metrics.", 0)) != 0)
        rc = slsr_fail(err, SLSR_ENOMEM, "configuration: out of memory");
    else if (json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) != 0 ||
             fputc('\n', out) == EOF || fflush(out) != 0)
        rc = slsr_fail(err, SLSR_EIO, "configuration: cannot be written to the output");
    json_decref(root);
    return rc;
}

const char *options_kind_name(enum option_kind kind)
{
    static const char *const names[] = {
        [OPT_STRING] = "text",         [OPT_TEXT] = "text",         [OPT_SECRET] = "secret",
        [OPT_SECRET_FILE] = "path",    [OPT_BOOL] = "bool",         [OPT_INT] = "number",
        [OPT_REAL] = "number",         [OPT_DURATION] = "duration", [OPT_SIZE] = "size",
        [OPT_SHARE] = "size or share", [OPT_ENUM] = "name",         [OPT_CODE] = "name or number",
        [OPT_LIST] = "list of texts",  [OPT_POSITION] = "position", [OPT_ANY] = "-",
        [OPT_TEXTS] = "list of texts", [OPT_MAP] = "object",        [OPT_GROUPS] = "object",
    };

    return names[kind];
}

/* Values or range of a row, "" when there is nothing to say. */
static void reference_range(const struct option *o, FILE *out)
{
    if (o->kind == OPT_ENUM || o->kind == OPT_CODE) {
        for (const char *p = o->names; *p != '\0'; p++)
            if (*p == '|' && p[1] != '|')
                fputs(", ", out);
            else if (*p != '|')
                fputc(*p, out);
    } else if (o->kind == OPT_DURATION) {
        if (o->min % 1000 == 0)
            fprintf(out, "%llds to %llds", (long long)o->min / 1000, (long long)o->max / 1000);
        else
            fprintf(out, "%lldms to %llds", (long long)o->min, (long long)o->max / 1000);
    } else if (o->max > o->min) {
        fprintf(out, "%lld to %lld", (long long)o->min, (long long)o->max);
    }
}

void options_reference(FILE *out)
{
    size_t count;
    const struct option *options = options_all(&count);

    fputs("| key | type | values | default | meaning |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < count; i++) {
        const struct option *o = &options[i];

        fprintf(out, "| `%s` | %s | ", o->path, options_kind_name(o->kind));
        reference_range(o, out);
        fputs(" | `", out);
        for (const char *p = o->initial; *p != '\0'; p++)
            fprintf(out, "%s%c", *p == '|' ? "\\" : "", *p); /* a bar ends a table cell */
        fprintf(out, "` | %s%s |\n", o->help,
                o->status == OPT_LATER ? " (not available in this version)" : "");
    }
}
