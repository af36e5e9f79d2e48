/* One value: JSON -> member of a settings struct, and back.
 *
 * The kind in the option table decides which JSON types are fine and how they are read; the row's
 * range is checked here, relations between settings in check.c. null always means "the default".
 * Sentences name what is expected; the value itself is only repeated for names and numbers. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"
#include "slsrelay/plain.h"

#include "base/secret.h"

void *config_area(struct slsr_config *config, const char *path, size_t i)
{
    switch (path[0]) {
    case 's':
        if (strncmp(path, "source.", 7) == 0)
            return &config->sources[i];
        return &config->spool;
    case 'f':
        return &config->format;
    case 't':
        return &config->targets[i];
    case 'l':
        return &config->log;
    default:
        return config;
    }
}

static void *member(const struct option *option, void *area)
{
    return (char *)area + option->offset;
}

static void store_integer(const struct option *option, void *area, int64_t value)
{
    void *at = member(option, area);

    if (option->size == sizeof(int64_t)) {
        memcpy(at, &value, sizeof value);
    } else if (option->size == sizeof(bool)) {
        bool b = value != 0;
        memcpy(at, &b, sizeof b);
    } else {
        int narrow = (int)value; /* int or an enumeration; the ranges are far smaller */
        memcpy(at, &narrow, sizeof narrow);
    }
}

static int64_t fetch_integer(const struct option *option, const void *area)
{
    const char *at = (const char *)area + option->offset;
    int64_t wide;
    bool b;
    int narrow;

    if (option->size == sizeof wide) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    if (option->size == sizeof b) {
        memcpy(&b, at, sizeof b);
        return b;
    }
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

static void store_text(struct config_load *load, const struct option *option, void *area,
                       const char *text)
{
    char **at = member(option, area);
    char *copy = NULL;

    if (text != NULL) {
        copy = option->kind == OPT_SECRET ? secret_dup(text) : strdup(text);
        if (copy == NULL)
            load->no_memory = true;
    }
    config_free_text(option, *at);
    *at = copy;
}

static void set_text(struct config_load *load, const struct option *option, void *area,
                     const json_t *value, const char *path)
{
    bool secret = option->kind == OPT_SECRET;
    const char *text = json_string_value(value);

    if (text == NULL) {
        config_problem(load, path, "must be a text in quotes");
        return;
    }
    if (strlen(text) > (secret ? CONFIG_SECRET_MAX : CONFIG_STRING_MAX)) {
        config_problem(load, path, "is too long: at most %d bytes",
                       secret ? CONFIG_SECRET_MAX : CONFIG_STRING_MAX);
        return;
    }
    if (secret && strcmp(text, CONFIG_MASK) == 0) {
        config_problem(load, path,
                       "is the mask that --print-config writes: put the real value here");
        return;
    }
    for (const char *p = text; option->kind != OPT_TEXT && *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c < 0x20 || c == 0x7f || (secret && (c > 0x7f || c == ' '))) {
            config_problem(load, path, "has %s in it: remove it",
                           secret ? "a space, a line break or a byte that no key has"
                                  : "a line break or another control character");
            return;
        }
    }
    store_text(load, option, area, text[0] == '\0' && option->kind != OPT_TEXT ? NULL : text);
}

/* "a|b||c": number of name, -1 when it is none of them. */
static int name_number(const char *names, const char *name)
{
    size_t n = strlen(name);
    int number = 0;

    for (const char *p = names;; p++, number++) {
        size_t length = strcspn(p, "|");

        if (length > 0 && length == n && strncasecmp(p, name, n) == 0)
            return number;
        p += length;
        if (*p == '\0')
            return -1;
    }
}

/* Name of a number; "" when there is none. */
static void number_name(const char *names, int64_t number, char *out, size_t size)
{
    const char *p = names;
    size_t length;

    for (; number > 0 && *p != '\0'; number--) {
        p += strcspn(p, "|");
        if (*p == '|')
            p++;
    }
    length = strcspn(p, "|");
    if (length >= size)
        length = size - 1;
    memcpy(out, p, length);
    out[length] = '\0';
}

/* Names that other syslog programs use for the same thing. */
static const char *usual_name(const char *path, const char *name)
{
    static const struct {
        const char *path, *alias, *name;
    } aliases[] = {
        {"format.severity", "panic", "emerg"},   {"format.severity", "emergency", "emerg"},
        {"format.severity", "critical", "crit"}, {"format.severity", "error", "err"},
        {"format.severity", "warn", "warning"},  {"format.severity", "informational", "info"},
        {"format.facility", "security", "auth"}, {"log.level", "err", "error"},
        {"log.level", "warn", "warning"},
    };

    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i].path, path) == 0 && strcasecmp(aliases[i].alias, name) == 0)
            return aliases[i].name;
    return name;
}

/* "a|b||c" -> `"a", "b" or "c"`. */
static void list_names(const char *names, char *out, size_t size)
{
    char name[32];
    size_t used = 0;

    out[0] = '\0';
    for (const char *p = names; *p != '\0'; p += *p == '|') {
        size_t length = strcspn(p, "|");
        const char *rest = p + length;

        if (length > 0 && length < sizeof name && used < size) {
            memcpy(name, p, length);
            name[length] = '\0';
            int n = snprintf(out + used, size - used, "%s\"%s\"",
                             used == 0 ? "" : (*rest == '\0' ? " or " : ", "), name);
            used += n > 0 ? (size_t)n : 0;
        }
        p = rest;
    }
}

static void set_enum(struct config_load *load, const struct option *option, void *area,
                     const json_t *value, const char *path)
{
    const char *text = json_string_value(value);
    char names[300], shown[48], digits[24];
    int number = -1, top = 0;

    snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
    if (option->kind == OPT_ENUM && json_is_integer(value))
        text = digits; /* a name may be a number */
    for (const char *p = option->names; *p != '\0'; p++)
        top += *p == '|';
    if (text != NULL)
        number = name_number(option->names, usual_name(option->path, text));
    else if (option->kind == OPT_CODE && json_is_integer(value) && json_integer_value(value) >= 0 &&
             json_integer_value(value) <= top)
        number = (int)json_integer_value(value);
    if (number >= 0) {
        store_integer(option, area, number);
        return;
    }
    list_names(option->names, names, sizeof names);
    if (option->kind == OPT_CODE)
        config_problem(load, path, "must be 0..%d or one of %s", top, names);
    else if (text != NULL) {
        slsr_plain(shown, sizeof shown, text);
        config_problem(load, path, "\"%s\" is unknown: must be %s", shown, names);
    } else
        config_problem(load, path, "must be %s", names);
}

/* A JSON number times factor as an integer; false when it does not fit or is negative. */
static bool scale_number(const json_t *value, int64_t factor, int64_t *out)
{
    double real = json_real_value(value) * (double)factor;

    if (json_is_integer(value))
        return json_integer_value(value) >= 0 &&
               !__builtin_mul_overflow((int64_t)json_integer_value(value), factor, out);
    if (!json_is_real(value) || !isfinite(real) || real < 0 || real > 9e15)
        return false;
    *out = (int64_t)llround(real);
    return true;
}

/* "20%" -> bytes of max_size, which stands in the same struct and has been set before. */
static bool parse_share(const char *text, const struct slsr_spool_config *spool, int64_t *bytes)
{
    char digits[16];
    int64_t percent;
    size_t n = strlen(text);

    if (n < 2 || n > sizeof digits || text[n - 1] != '%')
        return false;
    memcpy(digits, text, n - 1);
    digits[n - 1] = '\0';
    if (strspn(digits, "0123456789") != n - 1 || !slsr_parse_size(digits, &percent) ||
        percent > 100)
        return false;
    *bytes = spool->max_size_bytes / 100 * percent + spool->max_size_bytes % 100 * percent / 100;
    return true;
}

static void range_problem(struct config_load *load, const struct option *option, const char *path)
{
    long long min = option->min, max = option->max;

    if (option->kind == OPT_DURATION && min % 1000 == 0)
        config_problem(load, path, "is out of range: must be %llds to %llds", min / 1000,
                       max / 1000);
    else if (option->kind == OPT_DURATION)
        config_problem(load, path, "is out of range: must be %lldms to %llds", min, max / 1000);
    else if (option->kind == OPT_INT || option->kind == OPT_REAL)
        config_problem(load, path, "is out of range: must be %lld to %lld", min, max);
    else
        config_problem(load, path, "is out of range: must be %lld to %lld bytes", min, max);
}

static void set_number(struct config_load *load, const struct option *option, void *area,
                       const json_t *value, const char *path)
{
    const char *text = json_string_value(value);
    int64_t number = 0;
    bool fine;

    if (option->kind == OPT_DURATION)
        fine =
            text != NULL ? slsr_parse_duration(text, &number) : scale_number(value, 1000, &number);
    else if (option->kind == OPT_INT)
        fine = json_is_integer(value) && ((number = json_integer_value(value)), true);
    else
        fine = text != NULL ? slsr_parse_size(text, &number) : scale_number(value, 1, &number);
    if (!fine && option->kind == OPT_SHARE && text != NULL)
        fine = parse_share(text, area, &number);
    if (fine && number >= option->min && number <= option->max) {
        store_integer(option, area, number);
        return;
    }
    if (fine)
        range_problem(load, option, path);
    else if (option->kind == OPT_DURATION)
        config_problem(load, path,
                       "must be a duration: seconds, or a text such as \"250ms\", \"30s\", \"2h\"");
    else if (option->kind == OPT_INT)
        config_problem(load, path, "must be a whole number without quotes");
    else
        config_problem(load, path,
                       "must be a size: bytes, or a text such as \"64KiB\", \"10GiB\"%s",
                       option->kind == OPT_SHARE ? ", or a share such as \"20%\"" : "");
}

static void set_real(struct config_load *load, const struct option *option, void *area,
                     const json_t *value, const char *path)
{
    double real = json_number_value(value);

    if (!json_is_number(value))
        config_problem(load, path, "must be a number without quotes");
    else if (!(real >= (double)option->min && real <= (double)option->max))
        range_problem(load, option, path);
    else
        memcpy(member(option, area), &real, sizeof real);
}

/* What a member of kind OPT_LIST and the count behind it look like. */
struct list {
    char **items;
    size_t count;
};

#define FITS(type, list, number)                                                                   \
    static_assert(offsetof(struct type, number) == offsetof(struct type, list) + sizeof(char **),  \
                  #number " must stand right behind " #list)
FITS(slsr_source_config, logstores, logstore_count);
FITS(slsr_target_config, servers, server_count);
FITS(slsr_tls_config, fingerprints, fingerprint_count);
FITS(slsr_config, metrics_hosts, metrics_host_count);

static void free_list(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    list->items = NULL;
    list->count = 0;
}

/* Adds the trimmed text [p, p + n) to the list. */
static void list_add(struct config_load *load, struct list *list, const char *p, size_t n,
                     const char *path)
{
    char **items;

    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->items[i]) == n && memcmp(list->items[i], p, n) == 0) {
            config_problem(load, path, "stands in the list twice: remove one");
            return;
        }
    if (list->count >= CONFIG_ITEMS_MAX) {
        config_problem(load, path, "there are more than %d entries", CONFIG_ITEMS_MAX);
        return;
    }
    items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items != NULL) {
        list->items = items;
        items[list->count] = strndup(p, n);
    }
    if (items == NULL || items[list->count] == NULL)
        load->no_memory = true;
    else
        list->count++;
}

static void set_list(struct config_load *load, const struct option *option, void *area,
                     const json_t *value, const char *path)
{
    struct list *list = member(option, area);
    const char *text = json_string_value(value);
    char child[CONFIG_PATH];

    free_list(list);
    if (text != NULL) {
        while (*text != '\0') {
            size_t n = strcspn(text, ",");

            list_add(load, list, text, n, path);
            text += n + (text[n] == ',');
        }
        return;
    }
    if (!json_is_array(value)) {
        config_problem(load, path, "must be a list of texts, such as [\"audit\"]");
        return;
    }
    for (size_t i = 0; i < json_array_size(value) && !load->no_memory; i++) {
        const json_t *item = json_array_get(value, i);

        (void)config_path_index(child, path, i);
        if (!json_is_string(item))
            config_problem(load, child, "must be a text in quotes");
        else
            list_add(load, list, json_string_value(item), json_string_length(item), child);
        if (list->count >= CONFIG_ITEMS_MAX && i + 1 < json_array_size(value)) {
            config_problem(load, child, "there are more than %d entries", CONFIG_ITEMS_MAX);
            return;
        }
    }
}

static void set_position(struct config_load *load, void *area, const json_t *value,
                         const char *path)
{
    struct slsr_source_config *source = area;
    const char *text = json_string_value(value);
    enum slsr_position position;
    int64_t time_s;

    if (text == NULL || !config_parse_position(text, &position, &time_s)) {
        config_problem(load, path,
                       "must be \"begin\", \"end\", a time such as \"2026-01-02T03:04:05+08:00\" "
                       "or \"@\" and seconds since 1970");
        return;
    }
    source->cursor_position = position;
    source->cursor_time_s = time_s;
}

/* Is value as good as not setting the key at all? */
static bool is_nothing(const struct option *option, const json_t *value)
{
    json_t *initial = json_loads(option->initial, JSON_DECODE_ANY, NULL);
    bool same = initial != NULL && json_equal(initial, value);

    json_decref(initial);
    return same || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

void config_value_set(struct config_load *load, const struct option *option, void *area,
                      const json_t *value, const char *path)
{
    if (option->status == OPT_LATER) {
        if (!is_nothing(option, value))
            config_problem(load, path,
                           "is not available in this version: remove it or set it to %s",
                           option->initial);
        return;
    }
    if (json_is_null(value)) {
        config_value_initial(load, option, area);
        return;
    }
    switch (option->kind) {
    case OPT_STRING:
    case OPT_TEXT:
    case OPT_SECRET:
        set_text(load, option, area, value, path);
        break;
    case OPT_SECRET_FILE:
        if (!json_is_string(value))
            config_problem(load, path, "must be the path of a file, in quotes");
        break;
    case OPT_BOOL:
        if (json_is_boolean(value))
            store_integer(option, area, json_is_true(value));
        else
            config_problem(load, path, "must be true or false, without quotes");
        break;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_SHARE:
        set_number(load, option, area, value, path);
        break;
    case OPT_REAL:
        set_real(load, option, area, value, path);
        break;
    case OPT_ENUM:
    case OPT_CODE:
        set_enum(load, option, area, value, path);
        break;
    case OPT_LIST:
        set_list(load, option, area, value, path);
        break;
    case OPT_POSITION:
        set_position(load, area, value, path);
        break;
    case OPT_TEXTS:
    case OPT_MAP:
    case OPT_GROUPS:
        config_many_set(load, option, area, value, path);
        break;
    case OPT_ANY:
        break;
    }
}

void config_value_initial(struct config_load *load, const struct option *option, void *area)
{
    json_t *value;

    if (option->status != OPT_READY || option->kind == OPT_SECRET_FILE)
        return;
    value = json_loads(option->initial, JSON_DECODE_ANY, NULL);
    if (value == NULL)
        load->no_memory = true;
    else if (json_is_null(value))
        store_text(load, option, area, NULL); /* only texts have the default null */
    else
        config_value_set(load, option, area, value, "$");
    json_decref(value);
}

static json_t *get_duration(int64_t ms)
{
    return ms % 1000 == 0 ? json_sprintf("%llds", (long long)(ms / 1000))
                          : json_sprintf("%lldms", (long long)ms);
}

static json_t *get_list(const struct option *option, const void *area)
{
    json_t *array = json_array();
    struct list list;

    memcpy(&list, (const char *)area + option->offset, sizeof list);
    for (size_t i = 0; array != NULL && i < list.count; i++)
        if (json_array_append_new(array, json_string(list.items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *get_position(const struct slsr_source_config *source)
{
    if (source->cursor_position == SLSR_POS_TIME)
        return json_sprintf("@%lld", (long long)source->cursor_time_s);
    return json_string(source->cursor_position == SLSR_POS_END ? "end" : "begin");
}

json_t *config_value_get(const struct option *option, const void *area)
{
    const char *text = NULL;
    char name[32];
    double real;

    switch (option->kind) {
    case OPT_STRING:
    case OPT_TEXT:
    case OPT_SECRET:
        memcpy(&text, (const char *)area + option->offset, sizeof text);
        if (text == NULL)
            return json_null();
        return json_string(option->kind == OPT_SECRET ? CONFIG_MASK : text);
    case OPT_BOOL:
        return json_boolean(fetch_integer(option, area) != 0);
    case OPT_INT:
    case OPT_SIZE:
    case OPT_SHARE:
        return json_integer(fetch_integer(option, area));
    case OPT_DURATION:
        return get_duration(fetch_integer(option, area));
    case OPT_REAL:
        memcpy(&real, (const char *)area + option->offset, sizeof real);
        return json_real(real);
    case OPT_ENUM:
    case OPT_CODE:
        number_name(option->names, fetch_integer(option, area), name, sizeof name);
        return json_string(name);
    case OPT_LIST:
        return get_list(option, area);
    case OPT_POSITION:
        return get_position(area);
    default:
        return config_many_get(option, area);
    }
}

void config_value_free(const struct option *option, void *area)
{
    char **at = member(option, area);

    if (option->status != OPT_READY)
        return;
    if (option->kind == OPT_LIST) {
        free_list(member(option, area));
    } else if (option->kind == OPT_TEXTS || option->kind == OPT_MAP || option->kind == OPT_GROUPS) {
        config_many_free(option, area);
    } else if (option->kind == OPT_STRING || option->kind == OPT_TEXT ||
               option->kind == OPT_SECRET) {
        config_free_text(option, *at);
        *at = NULL;
    }
}
