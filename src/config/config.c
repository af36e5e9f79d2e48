/* Configuration file, environment and flags -> struct slsr_config.
 *
 * The file is read whole and parsed by jansson; our own scanner notes the line of each key. The
 * environment and the flags are written into the tree, every key of it is looked up in the option
 * table and its value stored, then relations are checked. Nothing stops at the first problem: all
 * of them are collected, sorted by line. Only a syntax error ends the load at once, since behind it
 * every line would be a guess. Buffers and trees that held secrets are overwritten before they are
 * freed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"
#include "slsrelay/plain.h"

static const char default_file[] = "/etc/sls-relay/sls-relay.json";

/* Reads all of fd up to the limit. Returns an errno value; EFBIG over the limit. */
static int read_all(int fd, char *text, size_t *length)
{
    *length = 0;
    while (*length <= CONFIG_FILE_MAX) {
        ssize_t n = read(fd, text + *length, CONFIG_FILE_MAX + 1 - *length);

        if (n == 0)
            return 0;
        if (n > 0)
            *length += (size_t)n;
        else if (errno != EINTR)
            return errno;
    }
    return EFBIG;
}

/* jansson quotes the text near the mistake, and that may be a key: only what comes before stays. */
static void syntax_problem(struct config_load *load, const json_error_t *error)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    char *near;

    slsr_plain(text, sizeof text, error->text);
    near = strstr(text, " near ");
    if (near != NULL)
        *near = '\0';
    if (json_error_code(error) == json_error_null_character)
        snprintf(text, sizeof text, "a text cannot hold \\u0000");
    config_problem_at(load, "$", error->line > 0 ? error->line : 1,
                      "is not valid JSON at column %d: %s: correct the file",
                      error->column > 0 ? error->column : 1, text);
}

static void parse_text(struct config_load *load, const char *text, size_t length)
{
    json_error_t error;
    json_t *root = json_loadb(text, length, 0, &error);

    if (root == NULL) {
        syntax_problem(load, &error);
    } else if (!json_is_object(root)) {
        config_problem_at(load, "$", 1, "must be an object: {...}");
        config_wipe_json(root);
        json_decref(root);
    } else {
        json_decref(load->root);
        load->root = root;
        config_lines_scan(load, text, length);
    }
}

/* Reads the file into load->root. Problems with its content are collected, not returned. */
static int read_file(struct config_load *load, const char *file, struct slsr_err *err)
{
    const char *name = file != NULL ? file : default_file;
    int fd = open(name, O_RDONLY | O_CLOEXEC), failed;
    struct stat st;
    size_t length = 0;
    char *text;

    if (fd < 0 && errno == ENOENT && file == NULL)
        return 0;
    if (fd < 0) {
        const bool denied = errno == EACCES || errno == EPERM;

        return slsr_fail(err, denied ? SLSR_EPERM : SLSR_ENOSPOOL,
                         "configuration file %s cannot be opened: %s: %s", name, strerror(errno),
                         denied ? "be root or in the group of the file"
                                : "give the path of one with -c");
    }
    load->file_public = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH) != 0;
    text = malloc(CONFIG_FILE_MAX + 1);
    if (text == NULL) {
        close(fd);
        return slsr_fail(err, SLSR_ENOMEM, "configuration: out of memory");
    }
    failed = read_all(fd, text, &length);
    close(fd);
    if (failed == EFBIG)
        config_problem_at(load, "$", -1, "%s is larger than 1 MiB: is it a configuration?", name);
    else if (failed != 0)
        config_problem_at(load, "$", -1, "%s cannot be read: %s: give the path of a file with -c",
                          name, strerror(failed));
    else
        parse_text(load, text, length);
    explicit_bzero(text, length);
    free(text);
    return 0;
}

static void unknown_key(struct config_load *load, const char *prefix, const char *key,
                        const char *path)
{
    char nearest[64], plain[64];

    slsr_plain(plain, sizeof plain, key);
    options_nearest(prefix, plain, nearest, sizeof nearest);
    if (nearest[0] != '\0')
        config_problem(load, path, "\"%s\" is unknown: did you mean \"%s\"?", plain, nearest);
    else
        config_problem(load, path, "\"%s\" is unknown: remove it", plain);
}

/* A key of `format` that stands in target i, as older configurations have it. */
static void set_alias(struct config_load *load, const struct option *alias, size_t i,
                      const json_t *value, const char *path)
{
    const struct option *option = options_find(alias->names);
    const char *key = strchr(alias->path, '.') + 1;
    const json_t *own = json_object_get(json_object_get(load->root, "format"), key);
    const json_t *targets = json_object_get(load->root, "targets");

    if (option == NULL || json_is_null(value))
        return;
    if (own != NULL && !json_is_null(own)) {
        if (!json_equal(own, value))
            config_warning(load, path, "has no effect: format.%s is set and wins", key);
        return;
    }
    for (size_t k = 0; k < i; k++) {
        const json_t *other = json_object_get(json_array_get(targets, k), key);

        if (other != NULL && !json_is_null(other)) {
            if (!json_equal(other, value))
                config_problem(load, path,
                               "differs from targets[%zu].%s: all targets get the same frames, "
                               "set format.%s",
                               k, key, key);
            return;
        }
    }
    config_value_set(load, option, config_area(load->config, option->path, 0), value, path);
}

/* Every key of an object. prefix: its rows ("targets.retry"), path: where it stands. */
static void walk(struct config_load *load, json_t *object, const char *prefix, size_t i,
                 const char *path)
{
    char child[CONFIG_PATH], full[CONFIG_PATH];
    const struct option *option;
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        bool fits = snprintf(full, sizeof full, "%s.%s", prefix, key) < (int)sizeof full;

        (void)config_path_key(child, path, key);
        if (!fits || strchr(key, '.') != NULL) {
            unknown_key(load, prefix, key, child);
            continue;
        }
        option = options_find(full);
        if (option != NULL && option->status == OPT_ALIAS)
            set_alias(load, option, i, value, child);
        else if (option != NULL && option->kind == OPT_SHARE)
            continue; /* needs max_size: finish_spool */
        else if (option != NULL)
            config_value_set(load, option, config_area(load->config, full, i), value, child);
        else if (!options_is_group(full))
            unknown_key(load, prefix, key, child);
        else if (json_is_object(value))
            walk(load, value, full, i, child);
        else if (!json_is_null(value))
            config_problem(load, child, "must be an object: {...}");
    }
}

static void walk_list(struct config_load *load, json_t *list, const char *prefix, size_t count,
                      const char *path)
{
    char child[CONFIG_PATH];

    for (size_t i = 0; i < count; i++) {
        (void)config_path_index(child, path, i);
        if (json_is_object(json_array_get(list, i)))
            walk(load, json_array_get(list, i), prefix, i, child);
        else
            config_problem(load, child, "must be an object: {...}");
    }
}

static void walk_root(struct config_load *load)
{
    char path[CONFIG_PATH];
    const char *key;
    json_t *value;

    if (json_object_get(load->root, "source") != NULL &&
        json_object_get(load->root, "sources") != NULL)
        config_problem(load, "$.sources", "stands beside source: keep one of the two");
    json_object_foreach(load->root, key, value)
    {
        bool sources = strcmp(key, "sources") == 0, targets = strcmp(key, "targets") == 0;

        (void)config_path_key(path, "$", key);
        if (strcmp(key, "$schema") == 0 && json_is_string(value))
            continue; /* for editors */
        if (!sources && (strchr(key, '.') != NULL || !options_is_group(key)))
            unknown_key(load, "", key, path);
        else if (json_is_null(value))
            continue;
        else if ((sources || targets) && !json_is_array(value))
            config_problem(load, path, "must be a list: [{...}]");
        else if (sources)
            walk_list(load, value, "source", load->config->source_count, path);
        else if (targets)
            walk_list(load, value, "targets", load->config->target_count, path);
        else if (!json_is_object(value))
            config_problem(load, path, "must be an object: {...}");
        else if (load->config->source_count > 0 || strcmp(key, "source") != 0)
            walk(load, value, key, 0, path);
    }
}

/* Entries of a list, limited; says when there are more. */
static size_t list_size(struct config_load *load, const char *key)
{
    size_t n = json_array_size(json_object_get(load->root, key));
    char path[CONFIG_PATH];

    if (n <= CONFIG_ITEMS_MAX)
        return n;
    (void)config_path_key(path, "$", key);
    config_problem(load, path, "has %zu entries: at most %d", n, CONFIG_ITEMS_MAX);
    return CONFIG_ITEMS_MAX;
}

/* Room for all sources and targets, everything at its default. */
static void set_defaults(struct config_load *load)
{
    struct slsr_config *c = load->config;
    size_t count, sources = 1, targets = list_size(load, "targets");
    const struct option *options = options_all(&count);

    if (json_is_array(json_object_get(load->root, "sources")))
        sources = list_size(load, "sources");
    c->sources = calloc(sources + 1, sizeof *c->sources);
    c->targets = calloc(targets + 1, sizeof *c->targets);
    if (c->sources == NULL || c->targets == NULL) {
        load->no_memory = true;
        return;
    }
    c->source_count = sources;
    c->target_count = targets;
    for (size_t k = 0; k < count; k++) {
        size_t times = strncmp(options[k].path, "source.", 7) == 0    ? sources
                       : strncmp(options[k].path, "targets.", 8) == 0 ? targets
                                                                      : 1;
        for (size_t i = 0; i < times; i++)
            config_value_initial(load, &options[k], config_area(c, options[k].path, i));
    }
}

static bool given(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return value != NULL && !json_is_null(value);
}

/* What depends on other values of the same file. */
static void finish(struct config_load *load)
{
    const json_t *spool = json_object_get(load->root, "spool");
    const json_t *targets = json_object_get(load->root, "targets");
    const struct option *share = options_find("spool.retention_size");

    if (given(spool, "retention_size"))
        config_value_set(load, share, &load->config->spool,
                         json_object_get(spool, "retention_size"), "$.spool.retention_size");
    else
        config_value_initial(load, share, &load->config->spool);
    for (size_t i = 0; i < load->config->target_count; i++) {
        const json_t *object = json_array_get(targets, i);
        struct slsr_target_config *target = &load->config->targets[i];

        /* `timeout` and `stall_timeout` mean the same until both are given. */
        if (given(object, "timeout") && !given(object, "stall_timeout"))
            target->stall_timeout_ms = target->timeout_ms;
        else if (given(object, "stall_timeout") && !given(object, "timeout"))
            target->timeout_ms = target->stall_timeout_ms;
    }
}

static void fill(struct config_load *load)
{
    config_overlay_env(load);
    for (size_t i = 0; i < load->from->set_count; i++)
        config_overlay_set(load, load->from->sets[i]);
    set_defaults(load);
    if (load->no_memory)
        return;
    walk_root(load);
    finish(load);
    config_secrets_load(load);
    config_check(load);
    config_judge(load);
}

/* The first problem that is no warning, as the error's sentence. */
static int refuse(const struct slsr_config_problems *problems, struct slsr_err *err)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct slsr_config_problem *p = &problems->items[i];

        if (p->warning)
            continue;
        if (p->line > 0)
            return slsr_fail(err, SLSR_ECONFIG, "configuration: %s (line %d) %s", p->path, p->line,
                             p->text);
        return slsr_fail(err, SLSR_ECONFIG, "configuration: %s %s", p->path, p->text);
    }
    return slsr_fail(err, SLSR_ECONFIG, "configuration: refused");
}

int slsr_config_load_from(struct slsr_config **out, const struct slsr_config_from *from,
                          struct slsr_config_problems *problems, struct slsr_err *err)
{
    struct config_load load = {.problems = problems, .from = from, .need_relay = from->need_relay};
    int rc;

    *out = NULL;
    *problems = (struct slsr_config_problems){0};
    load.config = calloc(1, sizeof *load.config);
    load.root = json_object();
    load.no_memory = load.config == NULL || load.root == NULL;
    rc = load.no_memory ? 0 : read_file(&load, from->file, err);
    if (rc == 0 && !load.no_memory && (load.lines.count > 0 || !load.has_error))
        fill(&load);
    config_problems_sort(problems);
    if (rc == 0 && load.no_memory)
        rc = slsr_fail(err, SLSR_ENOMEM, "configuration: out of memory");
    else if (rc == 0 && load.has_error)
        rc = refuse(problems, err);
    if (rc == 0 && !config_places_keep(&load))
        rc = slsr_fail(err, SLSR_ENOMEM, "configuration: out of memory");
    if (rc == 0) {
        *out = load.config;
        load.config = NULL; /* the caller's now */
    }
    slsr_config_free(load.config);
    config_wipe_json(load.root);
    json_decref(load.root);
    config_lines_fini(&load.lines);
    free(load.overrides);
    return rc;
}

int slsr_config_load(struct slsr_config **out, const char *file, const char *const *sets,
                     size_t set_count, bool need_relay, struct slsr_config_problems *problems,
                     struct slsr_err *err)
{
    const struct slsr_config_from from = {
        .file = file, .sets = sets, .set_count = set_count, .need_relay = need_relay};

    return slsr_config_load_from(out, &from, problems, err);
}

void slsr_config_free(struct slsr_config *config)
{
    size_t count;
    const struct option *options = options_all(&count);

    if (config == NULL)
        return;
    for (size_t k = 0; k < count; k++) {
        size_t times = strncmp(options[k].path, "source.", 7) == 0    ? config->source_count
                       : strncmp(options[k].path, "targets.", 8) == 0 ? config->target_count
                                                                      : 1;
        for (size_t i = 0; i < times; i++)
            config_value_free(&options[k], config_area(config, options[k].path, i));
    }
    free(config->sources);
    free(config->targets);
    config_places_free(config->places);
    free(config);
}

int slsr_target_from_url(struct slsr_target_config *out, const char *url, struct slsr_err *err)
{
    struct slsr_config_problems problems = {0};
    struct slsr_config config = {.targets = out, .target_count = 1};
    struct config_load load = {.config = &config, .problems = &problems};
    enum slsr_protocol protocol;
    char host[256];
    int port, rc;
    size_t count;
    const struct option *options = options_all(&count);

    memset(out, 0, sizeof *out);
    rc = config_parse_url(url, &protocol, host, sizeof host, &port, err);
    if (rc != 0)
        return rc;
    for (size_t k = 0; k < count; k++)
        if (strncmp(options[k].path, "targets.", 8) == 0)
            config_value_initial(&load, &options[k], out);
    slsr_config_problems_free(&problems);
    out->protocol = protocol;
    out->port = port != 0 ? port : 514;
    out->host = strdup(host);
    out->name = strdup(url);
    if (load.no_memory || out->host == NULL || out->name == NULL) {
        slsr_target_free(out);
        return slsr_fail(err, SLSR_ENOMEM, "target address: out of memory");
    }
    return 0;
}

void slsr_target_free(struct slsr_target_config *target)
{
    if (target == NULL)
        return;
    free(target->name);
    free(target->host);
    target->name = NULL;
    target->host = NULL;
}

void slsr_config_libraries(char *out, size_t size)
{
    snprintf(out, size, "jansson %s", jansson_version_str());
}
