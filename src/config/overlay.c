/* Environment and --set on top of the file.
 *
 * Both write into the JSON tree before it is read, the flags last: precedence is the order of
 * writing, and a value from outside passes the very checks that the file's values pass. What was
 * written is remembered, so that a problem names the variable and not some line of the file. */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

enum { STEPS_MAX = 8, STEP_MAX = 96 };

/* "targets.0.port" taken apart. */
struct route {
    char steps[STEPS_MAX][STEP_MAX];
    size_t count;
};

void config_source_path(const struct config_load *load, size_t i, char out[CONFIG_PATH])
{
    if (json_object_get(load->root, "sources") != NULL)
        (void)config_path_index(out, "$.sources", i);
    else
        (void)config_path_key(out, "$", "source");
}

/* "$.a.b", "a.0.b" and "a[0].b" alike. */
static bool parse_route(const char *text, size_t length, struct route *route)
{
    const char *p = text, *end = text + length;

    route->count = 0;
    if (length >= 2 && p[0] == '$' && p[1] == '.')
        p += 2;
    while (p < end) {
        size_t n = 0;

        while (p + n < end && p[n] != '.' && p[n] != '[' && p[n] != ']')
            n++;
        if (n == 0 || n >= STEP_MAX || route->count == STEPS_MAX)
            return false;
        memcpy(route->steps[route->count], p, n);
        route->steps[route->count++][n] = '\0';
        p += n;
        if (p < end && *p == ']')
            p++;
        if (p < end) {
            p++; /* the dot or bracket; something must follow */
            if (p == end)
                return false;
        }
    }
    return route->count > 0;
}

static bool is_index(const char *step, size_t *index)
{
    size_t n = strspn(step, "0123456789");

    if (n == 0 || n > 4 || step[n] != '\0')
        return false;
    *index = (size_t)strtoul(step, NULL, 10);
    return true;
}

/* `source` and `sources.0` are the same place, whichever of them the file has. */
static void follow_file(const struct config_load *load, struct route *route)
{
    bool one = json_object_get(load->root, "source") != NULL;
    bool many = json_object_get(load->root, "sources") != NULL;

    if (strcmp(route->steps[0], "source") == 0 && many && !one && route->count < STEPS_MAX) {
        memmove(route->steps[2], route->steps[1], (route->count - 1) * STEP_MAX);
        strcpy(route->steps[0], "sources");
        strcpy(route->steps[1], "0");
        route->count++;
    } else if (strcmp(route->steps[0], "sources") == 0 && one && !many && route->count > 1 &&
               strcmp(route->steps[1], "0") == 0) {
        strcpy(route->steps[0], "source");
        memmove(route->steps[1], route->steps[2], (route->count - 2) * STEP_MAX);
        route->count--;
    }
}

/* The row that the route leads to, or NULL. */
static const struct option *row_of(const struct route *route)
{
    char path[STEPS_MAX * STEP_MAX] = ""; /* a step is shorter than STEP_MAX: all of them fit */
    size_t index, used = 0;

    for (size_t i = 0; i < route->count; i++) {
        const char *step = route->steps[i];

        if (i == 1 && is_index(step, &index))
            continue;
        used += (size_t)snprintf(path + used, sizeof path - used, "%s%s", i > 0 ? "." : "",
                                 i == 0 && strcmp(step, "sources") == 0 ? "source" : step);
    }
    const struct option *option = options_find(path);

    return option != NULL && option->status == OPT_ALIAS ? options_find(option->names) : option;
}

/* Remembers that path came from origin. */
static void remember(struct config_load *load, const char *path, const char *origin)
{
    struct config_override *items =
        realloc(load->overrides, (load->override_count + 1) * sizeof *items);

    if (items == NULL) {
        load->no_memory = true;
        return;
    }
    load->overrides = items;
    snprintf(items[load->override_count].path, CONFIG_PATH, "%s", path);
    snprintf(items[load->override_count].origin, sizeof items->origin, "%s", origin);
    load->override_count++;
}

/* A secret given here takes the place of the file's, whichever of its two forms that has. */
static void drop_other_form(json_t *object, const char *key, const struct option *option)
{
    char other[STEP_MAX + 8];
    size_t n = strlen(key);

    if (option == NULL)
        return;
    if (option->kind == OPT_SECRET) {
        snprintf(other, sizeof other, "%s_file", key);
        json_object_del(object, other);
    } else if (option->kind == OPT_SECRET_FILE && n > strlen("_file")) {
        snprintf(other, sizeof other, "%.*s", (int)(n - strlen("_file")), key);
        json_object_del(object, other);
    }
}

/* Empty container for what the step behind it names; borrowed by its parent. */
static json_t *container_for(const char *next)
{
    size_t index;

    return is_index(next, &index) ? json_array() : json_object();
}

/* One step into node; makes what is missing. fill: what to put there, NULL: only go. Takes fill.
 * Returns the child (borrowed), NULL when there is no way (said). */
static json_t *step_into(struct config_load *load, json_t *node, const char *step, const char *next,
                         json_t *fill, const char *path, const char *origin)
{
    json_t *child = NULL;
    size_t index;
    bool fine;

    if (json_is_array(node) && is_index(step, &index) && index <= json_array_size(node) &&
        index < CONFIG_ITEMS_MAX) {
        child = json_array_get(node, index);
        if (fill == NULL && child != NULL && !json_is_null(child))
            return child;
        child = fill != NULL ? fill : container_for(next);
        fine = child != NULL &&
               (index < json_array_size(node) ? json_array_set_new(node, index, child) == 0
                                              : json_array_append_new(node, child) == 0);
    } else if (json_is_object(node)) {
        child = json_object_get(node, step);
        if (fill == NULL && child != NULL && !json_is_null(child))
            return child;
        child = fill != NULL ? fill : container_for(next);
        fine = child != NULL && json_object_set_new(node, step, child) == 0;
    } else {
        if (json_is_array(node))
            config_problem_at(load, path, -1,
                              "%s names an entry that is not in the list of %zu: use 0 to %zu",
                              origin, json_array_size(node), json_array_size(node));
        else
            config_problem_at(load, path, -1, "%s cannot be applied: there is no object here",
                              origin);
        json_decref(fill);
        return NULL;
    }
    if (!fine)
        load->no_memory = true;
    return fine ? child : NULL;
}

/* Puts value (taken) where the route leads. */
static void assign(struct config_load *load, struct route *route, json_t *value, const char *origin)
{
    char path[CONFIG_PATH] = "$", longer[CONFIG_PATH];
    json_t *node = load->root;
    size_t index;

    follow_file(load, route);
    for (size_t i = 0; i < route->count; i++) {
        const char *step = route->steps[i];
        bool last = i + 1 == route->count;
        json_t *parent = node;

        node = step_into(load, node, step, last ? "" : route->steps[i + 1], last ? value : NULL,
                         path, origin);
        if (node == NULL) {
            if (!last)
                json_decref(value);
            return;
        }
        if (last && json_is_object(parent))
            drop_other_form(parent, step, row_of(route));
        if (json_is_array(parent) && is_index(step, &index))
            (void)config_path_index(longer, path, index);
        else
            (void)config_path_key(longer, path, step);
        memcpy(path, longer, sizeof path);
    }
    remember(load, path, origin);
}

static void assign_text(struct config_load *load, const char *where, const char *text,
                        const char *origin)
{
    json_t *value = json_string(text);
    struct route route;

    if (value == NULL)
        config_problem_at(load, "$", -1, "%s is not valid UTF-8: set it anew", origin);
    else if (parse_route(where, strlen(where), &route))
        assign(load, &route, value, origin);
    else
        json_decref(value);
}

static void overlay_siem(struct config_load *load, const char *url)
{
    static const char *const names[] = {"tcp", "tls", "udp", "relp", "relp+tls"};
    static const int ports[] = {514, 6514, 514, 2514, 2514};
    struct slsr_err err = {0};
    enum slsr_protocol protocol;
    struct route route;
    char host[256];
    int port;

    if (config_parse_url(url, &protocol, host, sizeof host, &port, &err) != 0) {
        config_problem_at(load, "$.targets[0]", -1, "%s (from SIEM)", err.text);
        return;
    }
    assign_text(load, "targets.0.protocol", names[protocol], "SIEM");
    assign_text(load, "targets.0.host", host, "SIEM");
    if (parse_route("targets.0.port", strlen("targets.0.port"), &route))
        assign(load, &route, json_integer(port != 0 ? port : ports[protocol]), "SIEM");
}

void config_overlay_env(struct config_load *load)
{
    static const struct {
        const char *name, *where;
    } all[] = {
        {"SLS_ENDPOINT", "source.endpoint"},        {"SLS_PROJECT", "source.project"},
        {"SLS_LOGSTORE", "source.logstores"},       {"SLS_CG", "source.consumer_group"},
        {"SLS_AK_ID", "source.access_key_id"},      {"SLS_AK_SECRET", "source.access_key_secret"},
        {"SLS_AK_KEY", "source.access_key_secret"}, /* the older name: wins when both are set */
        {"SLS_STS_TOKEN", "source.security_token"}, {"SLS_SPOOL", "spool.path"},
    };
    const char *siem = getenv("SIEM");

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *text = getenv(all[i].name);

        if (text != NULL && text[0] != '\0')
            assign_text(load, all[i].where, text, all[i].name);
    }
    if (siem != NULL && siem[0] != '\0')
        overlay_siem(load, siem);
}

/* JSON when it parses, else text. Where a text is wanted, only "..." and null are read as JSON: a
 * key may well consist of digits. */
static json_t *value_of(const char *text, const struct option *option)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    bool wants_text =
        option != NULL && (option->kind == OPT_STRING || option->kind == OPT_TEXT ||
                           option->kind == OPT_SECRET || option->kind == OPT_SECRET_FILE);

    if (value != NULL && (!wants_text || json_is_string(value) || json_is_null(value)))
        return value;
    json_decref(value);
    return json_string(text);
}

/* No key of ours is anything else. */
static bool is_ascii(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

void config_overlay_set(struct config_load *load, const char *assignment)
{
    const char *equals = assignment != NULL ? strchr(assignment, '=') : NULL;
    struct route route;
    json_t *value;

    if (equals == NULL || !is_ascii(assignment, (size_t)(equals - assignment)) ||
        !parse_route(assignment, (size_t)(equals - assignment), &route)) {
        config_problem_at(load, "$", -1,
                          "--set wants PATH=VALUE, such as targets.0.port=6514: correct the flag");
        return;
    }
    value = value_of(equals + 1, row_of(&route));
    if (value == NULL)
        config_problem_at(load, "$", -1, "--set has a value that is not valid UTF-8: correct it");
    else
        assign(load, &route, value, "--set");
}
