/* Lists and mappings of texts: JSON -> struct slsr_texts and struct slsr_map, and back.
 *
 * The order of the file is kept: a CEF extension is written in it. Numbers and booleans are taken
 * as the text that stands for them ("severity_map": {"ERROR": 3}). */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

static void texts_free(struct slsr_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (struct slsr_texts){0};
}

static void map_free(struct slsr_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->items[i].group);
        free(map->items[i].name);
        free(map->items[i].value);
    }
    free(map->items);
    *map = (struct slsr_map){0};
}

/* Copy of the text, number or boolean; NULL when it is none (said) or there is no memory. */
static char *scalar(struct config_load *load, const json_t *value, const char *path)
{
    char number[32];
    const char *text = number;
    char *copy;

    if (json_is_string(value))
        text = json_string_value(value);
    else if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        snprintf(number, sizeof number, "%s", json_is_true(value) ? "true" : "false");
    else {
        config_problem(load, path, "must be a text in quotes");
        return NULL;
    }
    if (strlen(text) > CONFIG_STRING_MAX) {
        config_problem(load, path, "is too long: at most %d bytes", CONFIG_STRING_MAX);
        return NULL;
    }
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            config_problem(load, path, "has a line break or another control character: remove it");
            return NULL;
        }
    copy = strdup(text);
    if (copy == NULL)
        load->no_memory = true;
    return copy;
}

static void texts_set(struct config_load *load, struct slsr_texts *texts, const json_t *value,
                      const char *path)
{
    char child[CONFIG_PATH];

    texts_free(texts);
    if (!json_is_array(value)) {
        config_problem(load, path, "must be a list of texts, such as [\"a\", \"b\"]");
        return;
    }
    if (json_array_size(value) > CONFIG_ITEMS_MAX) {
        config_problem(load, path, "there are more than %d entries", CONFIG_ITEMS_MAX);
        return;
    }
    if (json_array_size(value) == 0)
        return;
    texts->items = calloc(json_array_size(value), sizeof *texts->items);
    if (texts->items == NULL) {
        load->no_memory = true;
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        (void)config_path_index(child, path, i);
        char *text = scalar(load, json_array_get(value, i), child);
        if (text != NULL)
            texts->items[texts->count++] = text;
    }
}

static void add(struct config_load *load, struct slsr_map *map, const char *group, const char *name,
                const json_t *value, const char *path)
{
    struct slsr_map_entry *items;
    struct slsr_map_entry e = {0};

    if (value != NULL && (e.value = scalar(load, value, path)) == NULL)
        return;
    e.name = name != NULL ? strdup(name) : NULL;
    e.group = group != NULL ? strdup(group) : NULL;
    items = realloc(map->items, (map->count + 1) * sizeof *items);
    if (items != NULL)
        map->items = items;
    if (items == NULL || (name != NULL && e.name == NULL) || (group != NULL && e.group == NULL)) {
        load->no_memory = true;
        free(e.value);
        free(e.name);
        free(e.group);
        return;
    }
    if (map->count >= CONFIG_ITEMS_MAX) {
        config_problem(load, path, "there are more than %d entries", CONFIG_ITEMS_MAX);
        free(e.value);
        free(e.name);
        free(e.group);
        return;
    }
    items[map->count++] = e;
}

static void add_group(struct config_load *load, struct slsr_map *map, const char *group,
                      json_t *object, const char *path)
{
    char child[CONFIG_PATH];
    const char *name;
    json_t *value;

    if (!json_is_object(object)) {
        config_problem(load, path, "must be an object: {\"name\": \"value\"}");
        return;
    }
    if (json_object_size(object) == 0)
        add(load, map, group, NULL, NULL, path);
    json_object_foreach(object, name, value)
    {
        (void)config_path_key(child, path, name);
        if (!json_is_array(value)) {
            add(load, map, group, name, value, child);
            continue;
        }
        for (size_t i = 0; i < json_array_size(value) && i < CONFIG_ITEMS_MAX; i++)
            add(load, map, group, name, json_array_get(value, i), child);
    }
}

static void map_set(struct config_load *load, struct slsr_map *map, const json_t *value,
                    bool groups, const char *path)
{
    char child[CONFIG_PATH];
    const char *name;
    json_t *item;

    map_free(map);
    if (!json_is_object(value)) {
        config_problem(load, path, "must be an object: {\"name\": \"value\"}");
        return;
    }
    /* jansson's macro casts the object; nothing is changed. */
    json_object_foreach((json_t *)(uintptr_t)value, name, item)
    {
        (void)config_path_key(child, path, name);
        if (groups)
            add_group(load, map, name, item, child);
        else
            add(load, map, NULL, name, item, child);
    }
}

static json_t *texts_get(const struct slsr_texts *texts)
{
    json_t *list = json_array();

    for (size_t i = 0; list != NULL && i < texts->count; i++)
        if (json_array_append_new(list, json_string(texts->items[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* Puts value (taken) under name; a name that comes again makes a list. */
static bool put(json_t *object, const char *name, json_t *value)
{
    json_t *there = json_object_get(object, name);

    if (value == NULL || there == NULL)
        return value != NULL && json_object_set_new(object, name, value) == 0;
    if (json_is_array(there))
        return json_array_append_new(there, value) == 0;
    json_t *list = json_array();
    if (list == NULL || json_array_append(list, there) != 0 ||
        json_array_append_new(list, value) != 0) {
        json_decref(list);
        return false;
    }
    return json_object_set_new(object, name, list) == 0;
}

static json_t *map_get(const struct slsr_map *map, bool groups)
{
    json_t *root = json_object();

    for (size_t i = 0; root != NULL && i < map->count; i++) {
        const struct slsr_map_entry *e = &map->items[i];
        json_t *object = root;

        if (groups) {
            object = json_object_get(root, e->group);
            if (object == NULL) {
                object = json_object();
                if (json_object_set_new(root, e->group, object) != 0) {
                    json_decref(root);
                    return NULL;
                }
            }
        }
        if (e->name != NULL && !put(object, e->name, json_string(e->value))) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

void config_many_set(struct config_load *load, const struct option *option, void *area,
                     const json_t *value, const char *path)
{
    void *at = (char *)area + option->offset;

    if (option->kind == OPT_TEXTS)
        texts_set(load, at, value, path);
    else
        map_set(load, at, value, option->kind == OPT_GROUPS, path);
}

json_t *config_many_get(const struct option *option, const void *area)
{
    const void *at = (const char *)area + option->offset;

    if (option->kind != OPT_TEXTS && option->kind != OPT_MAP && option->kind != OPT_GROUPS)
        return json_null();
    return option->kind == OPT_TEXTS ? texts_get(at) : map_get(at, option->kind == OPT_GROUPS);
}

void config_many_free(const struct option *option, void *area)
{
    void *at = (char *)area + option->offset;

    if (option->kind == OPT_TEXTS)
        texts_free(at);
    else
        map_free(at);
}
