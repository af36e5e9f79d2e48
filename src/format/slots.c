/* Slots: names resolved to values, once a group and once a log. */
#include <stdio.h>
#include <stdlib.h>

#include "format/flatten.h"
#include "format/plan.h"
#include "format/slots.h"

static const struct {
    const char *name;
    enum slot_kind kind;
} reserved[] = {
    {"__topic__", SLOT_TOPIC},     {"__source__", SLOT_SOURCE},   {"__time__", SLOT_TIME},
    {"__time_ms__", SLOT_TIME_MS}, {"__time_ns_part__", SLOT_NS}, {"__project__", SLOT_FIXED},
    {"__logstore__", SLOT_FIXED},  {"__shard__", SLOT_FIXED},     {"__cursor__", SLOT_CURSOR},
    {"__index__", SLOT_INDEX},     {"__id__", SLOT_ID},
};

int slots_init(struct slots *s, const struct slsr_stream *stream, struct slsr_err *err)
{
    const char *project = stream->project != NULL ? stream->project : "";
    const char *logstore = stream->logstore != NULL ? stream->logstore : "";
    size_t n = strlen(project) + strlen(logstore) + SLSR_CURSOR_MAX + 40;

    *s = (struct slots){0};
    snprintf(s->shard, sizeof(s->shard), "%u", stream->shard);
    s->project = strdup(project);
    s->logstore = strdup(logstore);
    s->id = malloc(n);
    if (s->project == NULL || s->logstore == NULL || s->id == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    s->id_fixed = (size_t)snprintf(s->id, n, "%s/%s/%s/", project, logstore, s->shard);
    return 0;
}

void slots_fini(struct slots *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i].name);
    free(s->items);
    free(s->project);
    free(s->logstore);
    free(s->id);
    *s = (struct slots){0};
}

int slots_mistake(const struct slots *slots, int rc, const struct slsr_err *err)
{
    if (rc != SLSR_ECONFIG || slots->ear == NULL)
        return rc;
    slots->ear->say(slots->ear->ctx, err->text);
    return 0;
}

static enum slot_kind kind_of(struct slsr_bytes name)
{
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (slsr_bytes_equal(name, slsr_bytes_of(reserved[i].name)))
            return reserved[i].kind;
    bool tag =
        name.n > FLAT_TAG_PREFIX_N && memcmp(name.p, FLAT_TAG_PREFIX, FLAT_TAG_PREFIX_N) == 0;
    return tag ? SLOT_TAG : SLOT_FIELD;
}

static bool is_same(const struct slot *slot, enum slot_kind kind, struct slsr_bytes name)
{
    return slot->kind == kind &&
           slsr_bytes_equal(name, (struct slsr_bytes){slot->name, slot->name_n});
}

/* Slots whose value never changes. */
static void set_fixed(struct slots *s, struct slot *slot)
{
    const char *text = slot->name[2] == 'p'   ? s->project
                       : slot->name[2] == 'l' ? s->logstore
                                              : s->shard;
    slot->value = slsr_bytes_of(text);
    slot->found = true;
}

int slots_want(struct slots *s, struct slsr_bytes name, uint32_t *number, struct slsr_err *err)
{
    enum slot_kind kind = kind_of(name);
    if (kind == SLOT_TAG)
        name = (struct slsr_bytes){name.p + FLAT_TAG_PREFIX_N, name.n - FLAT_TAG_PREFIX_N};
    for (size_t i = 0; i < s->count; i++)
        if (is_same(&s->items[i], kind, name)) {
            *number = (uint32_t)i;
            return 0;
        }
    if (s->count >= SLOTS_MAX)
        return slsr_fail(err, SLSR_ECONFIG, "the format names more than %d fields", SLOTS_MAX);
    struct slot *items = realloc(s->items, (s->count + 1) * sizeof(*items));
    if (items != NULL)
        s->items = items;
    char *copy = malloc(name.n + 1);
    if (items == NULL || copy == NULL) {
        free(copy);
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a format");
    }
    memcpy(copy, name.p, name.n);
    copy[name.n] = '\0';
    struct slot *slot = &items[s->count];
    *slot = (struct slot){.kind = kind, .name = copy, .name_n = name.n, .value = {"", 0}};
    *number = (uint32_t)s->count++;
    if (kind == SLOT_FIELD) {
        uint64_t bit = flat_bit((struct slsr_bytes){copy, name.n});
        uint32_t *first = &s->first[__builtin_ctzll(bit)];
        slot->next = *first;
        *first = *number + 1;
        s->bits |= bit;
    } else if (kind == SLOT_FIXED) {
        set_fixed(s, slot);
    }
    s->wants_log = s->wants_log || (kind >= SLOT_TIME && kind != SLOT_FIXED && kind != SLOT_CURSOR);
    return 0;
}

void slots_group(struct slots *s, const struct slsr_log *log, const char *cursor)
{
    size_t n = strlen(cursor);
    memcpy(s->cursor, cursor, n + 1);
    memcpy(s->id + s->id_fixed, cursor, n);
    s->id[s->id_fixed + n] = '/';
    s->id_group = s->id_fixed + n + 1;
    for (size_t i = 0; i < s->count; i++) {
        struct slot *slot = &s->items[i];
        if (slot->kind == SLOT_TOPIC || slot->kind == SLOT_SOURCE) {
            slot->value = slot->kind == SLOT_TOPIC ? log->topic : log->source;
            slot->found = slot->value.n > 0;
        } else if (slot->kind == SLOT_CURSOR) {
            slot->value = (struct slsr_bytes){s->cursor, n};
            slot->found = true;
        } else if (slot->kind == SLOT_TAG) {
            slot->found = false;
            for (size_t k = 0; k < log->tag_count; k++) /* the last one counts */
                if (is_same(slot, SLOT_TAG, log->tags[k].key)) {
                    slot->value = log->tags[k].value;
                    slot->found = true;
                }
        }
    }
}

static void set_number(struct slot *slot, char *text, uint64_t number, bool found)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    memcpy(text, digits + i, sizeof(digits) - i);
    slot->value = (struct slsr_bytes){text, sizeof(digits) - i};
    slot->found = found;
}

static void set_log(struct slots *s, struct slot *slot, const struct slsr_log *log, uint32_t index)
{
    switch (slot->kind) {
    case SLOT_TIME:
        set_number(slot, s->time, log->time_s, true);
        break;
    case SLOT_TIME_MS:
        set_number(slot, s->time_ms, (uint64_t)log->time_s * 1000 + log->time_ns / 1000000, true);
        break;
    case SLOT_NS:
        set_number(slot, s->ns, log->time_ns, log->time_ns != 0);
        break;
    case SLOT_INDEX:
        set_number(slot, s->index, index, true);
        break;
    case SLOT_ID: {
        char *end = put_number(s->id + s->id_group, index);
        slot->value = (struct slsr_bytes){s->id, (size_t)(end - s->id)};
        slot->found = true;
        break;
    }
    default:
        break;
    }
}

void slots_log(struct slots *s, const struct slsr_log *log, uint32_t index)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].kind == SLOT_FIELD)
            s->items[i].found = false;
    for (size_t k = 0; k < log->field_count && s->bits != 0; k++) {
        uint64_t bit = flat_bit(log->fields[k].key);
        if ((s->bits & bit) == 0)
            continue;
        for (uint32_t n = s->first[__builtin_ctzll(bit)]; n != 0; n = s->items[n - 1].next)
            if (is_same(&s->items[n - 1], SLOT_FIELD, log->fields[k].key)) {
                s->items[n - 1].value = log->fields[k].value;
                s->items[n - 1].found = true;
                break;
            }
    }
    for (size_t i = 0; i < s->count && s->wants_log; i++)
        set_log(s, &s->items[i], log, index);
}
