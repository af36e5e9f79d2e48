/* What the formatter says about its settings, as problems with path and line.
 *
 * config and format are strangers: the judge is a function that the caller brings. Its sentences
 * begin with the setting as docs/configuration.md spells it: "format.sep is empty: ...", or
 * "format.severity_rules[0]: column 4: ...". */
#include <string.h>

#include "config/load.h"

/* A key that stands in a target and means format's has its line there. */
static void find_alias(const struct config_load *load, char path[CONFIG_PATH])
{
    const char *key = path + strlen("$.format.");
    const json_t *targets = json_object_get(load->root, "targets");
    const json_t *format = json_object_get(load->root, "format");
    char target[CONFIG_PATH], full[CONFIG_PATH];
    const struct option *option;

    if (strncmp(path, "$.format.", strlen("$.format.")) != 0)
        return;
    snprintf(full, sizeof full, "targets.%s", key);
    option = options_find(full);
    if (option == NULL || option->status != OPT_ALIAS ||
        (json_object_get(format, key) != NULL && !json_is_null(json_object_get(format, key))))
        return;
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const json_t *value = json_object_get(json_array_get(targets, i), key);

        if (value == NULL || json_is_null(value))
            continue;
        (void)config_path_index(target, "$.targets", i);
        (void)config_path_key(full, target, key);
        memcpy(path, full, sizeof full);
        return;
    }
}

struct hearing {
    struct config_load *load;
    size_t before; /* problems */
};

static void say(void *ctx, const char *text)
{
    const struct hearing *h = ctx;
    struct config_load *load = h->load;
    char path[CONFIG_PATH] = "$.format";
    size_t n = strncmp(text, "format.", 7) == 0 ? strcspn(text, ": ") : 0;

    if (n > 0 && n + 2 < sizeof path) {
        snprintf(path, sizeof path, "$.%.*s", (int)n, text);
        text += n + strspn(text + n, ": ");
    }
    find_alias(load, path);
    /* A value that was refused is not there to be judged. */
    if (n == 0 || !config_told(load, h->before, path))
        config_problem(load, path, "%s", text);
}

void config_judge(struct config_load *load)
{
    struct hearing h = {load, load->problems->count};
    /* Without these two nobody knows what the others are to mean. */
    const bool known = !config_told(load, h.before, "$.format.protocol") &&
                       !config_told(load, h.before, "$.format.body");

    if (load->from->judge == NULL || load->no_memory || !known)
        return;
    if (load->from->judge(&load->config->format, say, &h) != 0)
        load->no_memory = true;
}
