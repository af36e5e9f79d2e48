/* Mappings key -> template, compiled once: extensions, attributes, elements. */
#include <stdlib.h>
#include <string.h>

#include "format/plan.h"

int compile_as(struct template *t, struct slots *slots, const char *text, const char *key,
               struct slsr_err *err)
{
    return slsr_wrap(err, template_compile(t, slots, text, err), "format.%s", key);
}

int mapping_compile(struct mapping *m, struct slots *slots, const struct slsr_map *map,
                    const char *key, struct slsr_err *err)
{
    *m = (struct mapping){0};
    if (map->count == 0)
        return 0;
    m->items = calloc(map->count, sizeof(*m->items));
    if (m->items == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    for (size_t i = 0; i < map->count; i++) {
        const struct slsr_map_entry *e = &map->items[i];
        struct mapped *item = &m->items[m->count++];
        item->group = e->group != NULL ? strdup(e->group) : NULL;
        item->key = e->name != NULL ? strdup(e->name) : NULL;
        if ((e->group != NULL && item->group == NULL) || (e->name != NULL && item->key == NULL))
            return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
        int rc = template_compile(&item->value, slots, e->value, err);
        if (e->group != NULL && strchr(e->group, '@') != NULL)
            slsr_wrap(err, rc, "format.%s[\"%s\"].%s", key, e->group,
                      item->key != NULL ? e->name : "");
        else
            slsr_wrap(err, rc, "format.%s.%s%s%s", key, e->group != NULL ? e->group : "",
                      e->group != NULL ? "." : "", item->key != NULL ? e->name : "");
        rc = slots_mistake(slots, rc, err);
        if (rc != 0)
            return rc;
        m->dynamic = m->dynamic || item->value.dynamic;
    }
    return 0;
}

void mapping_free(struct mapping *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->items[i].group);
        free(m->items[i].key);
        template_free(&m->items[i].value);
    }
    free(m->items);
    *m = (struct mapping){0};
}

void used_free(struct slsr_texts *used)
{
    for (size_t i = 0; i < used->count; i++)
        free(used->items[i]);
    free(used->items);
    *used = (struct slsr_texts){0};
}

static int use(struct slsr_texts *used, const struct slot *slot, struct slsr_err *err)
{
    char **items = realloc(used->items, (used->count + 1) * sizeof(*items));
    if (items != NULL)
        used->items = items;
    const char *prefix = slot->kind == SLOT_TAG ? FLAT_TAG_PREFIX : "";
    size_t n = strlen(prefix) + slot->name_n + 1;
    char *name = items != NULL ? malloc(n) : NULL;
    if (name == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    memcpy(name, prefix, strlen(prefix));
    memcpy(name + strlen(prefix), slot->name, slot->name_n + 1);
    items[used->count++] = name;
    return 0;
}

int mapping_used(const struct mapping *m, const struct slots *slots, struct slsr_texts *used,
                 struct slsr_err *err)
{
    for (size_t i = 0; i < m->count; i++)
        for (size_t k = 0; k < m->items[i].value.count; k++) {
            const struct step *step = &m->items[i].value.steps[k];
            int rc = step->is_value ? use(used, &slots->items[step->slot], err) : 0;
            if (rc != 0)
                return rc;
        }
    return 0;
}
