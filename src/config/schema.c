/* The option table as JSON Schema (draft 2020-12): etc/sls-relay.schema.json, for editors.
 *
 * It says of each value what value.c would say, as far as a schema can: the range of a duration or
 * size that is written as text, and how settings go together, only --check knows. null is always
 * the default, as in the loader. */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

#define DURATION_PATTERN "^[0-9]+(\\.[0-9]+)?([mM][sS]|[sS]|[mM]([iI][nN])?|[hH]|[dD]|[wW])?$"
#define SIZE_PATTERN     "^[0-9]+(\\.[0-9]+)?([bB]|[kKmMgGtT]([iI]?[bB])?)?$"
#define SHARE_PATTERN    "^(100|[0-9]{1,2})%$"
#define POSITION_PATTERN                                                                           \
    "^([bB][eE][gG][iI][nN]|[eE][nN][dD]|@[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}.*)$"
#define PLAIN_PATTERN "^[^\\u0000-\\u001f\\u007f]*$"

static json_t *type_of(const char *type)
{
    return json_pack("{s:s}", "type", type);
}

static json_t *null_schema(void)
{
    return type_of("null");
}

/* {"anyOf": [a, null]}; takes a and b (which may be NULL). */
static json_t *either(json_t *a, json_t *b)
{
    return b != NULL ? json_pack("{s:[o,o,o]}", "anyOf", a, b, null_schema())
                     : json_pack("{s:[o,o]}", "anyOf", a, null_schema());
}

static json_t *text_schema(const char *pattern)
{
    return pattern != NULL ? json_pack("{s:s,s:s}", "type", "string", "pattern", pattern)
                           : type_of("string");
}

/* Numbers of the file are seconds, bytes or plain: factor is what the loader multiplies with. */
static json_t *number_schema(const struct option *o, const char *type, int64_t factor)
{
    return json_pack("{s:s,s:f,s:f}", "type", type, "minimum", (double)o->min / (double)factor,
                     "maximum", (double)o->max / (double)factor);
}

static json_t *whole_schema(const struct option *o)
{
    return json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum", (json_int_t)o->min, "maximum",
                     (json_int_t)o->max);
}

static json_t *names_schema(const struct option *o)
{
    json_t *list = json_array();

    for (const char *p = o->names; *p != '\0'; p += *p == '|') {
        const size_t n = strcspn(p, "|");

        if (n > 0)
            json_array_append_new(list, json_stringn(p, n));
        p += n;
    }
    return json_pack("{s:o}", "enum", list);
}

/* What other syslog programs call it is fine, too (value.c): any text that stands for a code. */
static json_t *code_schema(const struct option *o)
{
    int top = 0;
    json_t *names = names_schema(o);
    json_t *list = json_object_get(names, "enum");
    static const char *const more[] = {"panic", "emergency", "critical",
                                       "error", "warn",      "informational"};

    for (const char *p = o->names; *p != '\0'; p++)
        top += *p == '|';
    if (top == 7)
        for (size_t i = 0; i < sizeof more / sizeof *more; i++)
            json_array_append_new(list, json_string(more[i]));
    else
        json_array_append_new(list, json_string("security"));
    return either(names,
                  json_pack("{s:s,s:i,s:i}", "type", "integer", "minimum", 0, "maximum", top));
}

static json_t *list_schema(void)
{
    return json_pack("{s:s,s:o}", "type", "array", "items", type_of("string"));
}

static json_t *scalar_schema(void)
{
    return json_pack("{s:[s,s,s]}", "type", "string", "integer", "boolean");
}

static json_t *map_schema(json_t *value)
{
    return json_pack("{s:s,s:o}", "type", "object", "additionalProperties", value);
}

static json_t *kind_schema(const struct option *o)
{
    switch (o->kind) {
    case OPT_STRING:
    case OPT_SECRET:
    case OPT_SECRET_FILE:
        return either(text_schema(PLAIN_PATTERN), NULL);
    case OPT_TEXT:
        return either(text_schema(NULL), NULL);
    case OPT_BOOL:
        return either(type_of("boolean"), NULL);
    case OPT_INT:
        return either(whole_schema(o), NULL);
    case OPT_REAL:
        return either(number_schema(o, "number", 1), NULL);
    case OPT_DURATION:
        return either(number_schema(o, "number", 1000), text_schema(DURATION_PATTERN));
    case OPT_SIZE:
        return either(number_schema(o, "number", 1), text_schema(SIZE_PATTERN));
    case OPT_SHARE:
        return either(number_schema(o, "number", 1),
                      text_schema("(" SIZE_PATTERN ")|(" SHARE_PATTERN ")"));
    case OPT_ENUM:
        return either(names_schema(o), NULL);
    case OPT_CODE:
        return code_schema(o);
    case OPT_LIST:
        return either(list_schema(), type_of("string"));
    case OPT_TEXTS:
        return either(list_schema(), NULL);
    case OPT_MAP:
        return either(map_schema(scalar_schema()), NULL);
    case OPT_GROUPS:
        return either(
            map_schema(map_schema(json_pack("{s:[o,o]}", "anyOf", scalar_schema(), list_schema()))),
            NULL);
    case OPT_POSITION:
        return either(text_schema(POSITION_PATTERN), NULL);
    case OPT_ANY:
        break;
    }
    return json_pack("{s:[o,n,s]}", "enum", json_loads(o->initial, JSON_DECODE_ANY, NULL), "");
}

static json_t *row_schema(const struct option *o)
{
    const struct option *real = o->status == OPT_ALIAS ? options_find(o->names) : o;
    json_t *schema = real != NULL ? kind_schema(real) : json_object();

    json_object_set_new(schema, "description", json_string(o->help));
    if (o->status == OPT_READY && o->kind != OPT_SECRET)
        json_object_set_new(schema, "default", json_loads(o->initial, JSON_DECODE_ANY, NULL));
    return schema;
}

/* The "properties" of the object at this step, made on the way. Borrowed. */
static json_t *step_into(json_t *properties, const char *name)
{
    json_t *object = json_object_get(properties, name);

    if (object == NULL) {
        object = json_pack("{s:[s,s],s:b,s:{}}", "type", "object", "null", "additionalProperties",
                           0, "properties");
        json_object_set_new(properties, name, object);
    }
    return json_object_get(object, "properties");
}

static void add_row(json_t *areas, const struct option *o)
{
    const char *path = o->path;
    json_t *at = areas;
    char step[64];

    for (size_t n = strcspn(path, "."); path[n] != '\0'; n = strcspn(path, ".")) {
        snprintf(step, sizeof step, "%.*s", (int)n, path);
        at = step_into(at, step);
        path += n + 1;
    }
    json_object_set_new(at, path, row_schema(o));
}

static json_t *array_of(const char *definition)
{
    return json_pack("{s:[s,s],s:{s:s},s:i}", "type", "array", "null", "items", "$ref", definition,
                     "maxItems", CONFIG_ITEMS_MAX);
}

int options_schema(FILE *out)
{
    size_t count;
    const struct option *options = options_all(&count);
    json_t *areas = json_object();
    json_t *properties = json_object();
    json_t *root;
    const char *name;
    json_t *area;
    void *next;
    int rc;

    for (size_t i = 0; i < count; i++)
        add_row(areas, &options[i]);
    json_object_set_new(properties, "$schema", type_of("string"));
    json_object_set_new(properties, "source", json_pack("{s:s}", "$ref", "#/$defs/source"));
    json_object_set_new(properties, "sources", array_of("#/$defs/source"));
    json_object_set_new(properties, "targets", array_of("#/$defs/target"));
    root = json_pack("{s:s,s:s,s:s,s:b,s:o,s:{s:[s,s]},s:{s:O,s:O}}", "$schema",
                     "https://json-schema.org/draft/2020-12/schema", "title",
                     "sls-relay configuration", "type", "object", "additionalProperties", 0,
                     "properties", properties, "not", "required", "source", "sources", "$defs",
                     "source", json_object_get(areas, "source"), "target",
                     json_object_get(areas, "targets"));
    json_object_foreach_safe(areas, next, name,
                             area) if (strcmp(name, "source") != 0 && strcmp(name, "targets") != 0)
        json_object_set(properties, name, area);
    rc = root == NULL ? -1 : json_dumpf(root, out, JSON_INDENT(1));
    fputc('\n', out);
    json_decref(root);
    json_decref(areas);
    return rc;
}
