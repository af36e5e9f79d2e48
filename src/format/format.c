/* One log -> one frame at the end of a batch. HOT (tests/bench/bench_format.c "format").
 *
 * The good path: the filter (if any) is asked, room for the worst case is reserved, the message is
 * written behind the end of the batch with room for its length, which goes in front. The length is
 * guessed to have as many digits as the last one's; else the message moves.
 *
 * What can go wrong: a message over its limit (cut, or the log is dead), in the seed format a
 * `__time__` that is no time (dead), no memory. A dead log leaves the batch as it was but for
 * dead_count, and the next log is formatted as if nothing had happened. */
#include <stdlib.h>

#include "base/batch.h"
#include "base/cursor.h"
#include "format/plan.h"

/* First log of another group, or one out of turn: renew what is kept per group. */
static int enter_group(struct format_plan *plan, const struct slsr_log *log, const char *cursor,
                       struct slsr_err *err)
{
    uint64_t number;
    bool later = log->group > plan->last.group ||
                 (log->group == plan->last.group && log->index > plan->last.index);
    plan->group_known = false;
    if (!later || strcmp(plan->cursor, cursor) != 0) {
        plan->running = 0; /* another pull */
        memcpy(plan->cursor, cursor, strlen(cursor) + 1);
        plan->cursor_is_number = cursor_number(cursor, &number);
    }
    char own[SLSR_CURSOR_MAX + 1];
    cursor_of_group(cursor, log->group, own);
    slots_group(&plan->slots, log, own);
    int rc = header_group(plan, own, err);
    if (rc == 0 && plan->body == SLSR_BODY_KV)
        rc = kv_group(plan, log, err);
    else if (rc == 0 && plan->body == SLSR_BODY_JSON)
        rc = json_group(plan, log, err);
    plan->group_known = rc == 0;
    return rc;
}

static inline bool same_view(struct slsr_bytes a, struct slsr_bytes b)
{
    return a.p == b.p && a.n == b.n;
}

/* Logs of one group come one after the other, with the same views and the next index; a new pull
 * starts at index 0. So equal views and the next index mean equal bytes. */
static inline bool next_of_group(const struct format_plan *plan, const struct slsr_log *log)
{
    const struct slsr_log *last = &plan->last;
    return plan->group_known && log->group == last->group && log->index == last->index + 1 &&
           same_view(log->topic, last->topic) && same_view(log->source, last->source) &&
           log->tags == last->tags && log->tag_count == last->tag_count;
}

/* Whole decimal number as the sample's int() takes it: blanks around, a sign, single underscores
 * between digits. */
static bool parse_int(struct slsr_bytes text, int64_t *value)
{
    const char *p = text.p, *end = text.p + text.n;
    while (p < end && strchr(" \t\n\v\f\r", *p) != NULL && *p != '\0')
        p++;
    while (p < end && strchr(" \t\n\v\f\r", end[-1]) != NULL && end[-1] != '\0')
        end--;
    bool minus = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    int64_t v = 0;
    bool digit = false;
    for (; p < end; p++) {
        if (*p == '_' && digit && p + 1 < end) {
            digit = false;
            continue;
        }
        if (*p < '0' || *p > '9' || v > INT64_MAX / 10 - 1)
            return false;
        digit = true;
        v = v * 10 + (*p - '0');
    }
    *value = minus ? -v : v;
    return digit;
}

/* The time that the seed format prints: a content may have replaced __time__. */
static bool seed_time(struct format_plan *plan, int64_t *time_s)
{
    /* Years 1..9999 with a day's margin for the zone, as the sample's calendar has them. */
    static const int64_t first = -62135510400, last = 253402214400;
    const struct flat_pair *pair = &plan->flat.pairs[0];
    if (pair->kind != FLAT_CONTENT)
        return true;
    char digits[64 + TEXT_SLACK];
    if (pair->value.n > 64)
        return false;
    char *end = text_put(digits, pair->value, &plan->rules); /* only drops, never grows */
    return parse_int((struct slsr_bytes){digits, (size_t)(end - digits)}, time_s) &&
           *time_s >= first && *time_s < last;
}

/* How a kv or json body is written. */
enum shape {
    SHAPE_KNOWN, /* all keys are known and different */
    SHAPE_PLAIN, /* kv: all keys are different, none is reserved */
    SHAPE_OTHER  /* as a map of text; all other bodies too */
};

static enum shape shape_of(struct format_plan *plan, const struct slsr_log *log)
{
    if ((plan->body != SLSR_BODY_KV && plan->body != SLSR_BODY_JSON) || plan->protocol == SLSR_SEED)
        return SHAPE_OTHER;
    if (keys_match(plan, log))
        return SHAPE_KNOWN;
    return plan->body == SLSR_BODY_KV && kv_is_plain(plan, log) ? SHAPE_PLAIN : SHAPE_OTHER;
}

/* The body, or NULL when there is no MSG at all. */
static char *put_body(struct format_plan *plan, char *out, const struct slsr_log *log,
                      enum shape shape)
{
    char *end;
    switch (plan->body) {
    case SLSR_BODY_RAW: {
        const struct slsr_bytes *text = raw_find(plan, log);
        return text == NULL ? NULL : text_put(out, *text, &plan->rules);
    }
    case SLSR_BODY_JSON:
        return shape == SHAPE_KNOWN ? json_put_known(plan, out, log) : json_put(plan, out);
    case SLSR_BODY_KV:
        if (shape == SHAPE_KNOWN)
            return kv_put_known(plan, out, log);
        if (shape == SHAPE_OTHER)
            return kv_put_flat(plan, out);
        end = plan->quote == SLSR_KV_ESCAPE || plan->quote == SLSR_KV_ALWAYS
                  ? NULL
                  : kv_put_plain(plan, out, log);
        return end != NULL ? end : kv_put_careful(plan, out, log);
    default:
        if (plan->built.n > 0)
            memcpy(out, plan->built.p, plan->built.n);
        return out + plan->built.n;
    }
}

/* Bytes that the body can take; bodies of templates are built here. */
static int prepare_body(struct format_plan *plan, const struct slsr_log *log, enum shape shape,
                        size_t *most, struct slsr_err *err)
{
    if (shape == SHAPE_KNOWN) {
        *most = max_known(plan, log);
        return 0;
    }
    bool event = plan->body == SLSR_BODY_CEF || plan->body == SLSR_BODY_LEEF;
    int rc = 0;
    if (!event && plan->body != SLSR_BODY_TEMPLATE) {
        *most = kv_max(plan, log);
        if (plan->has_raw_slot) /* may be a tag or a number of ours */
            *most += plan->slots.items[plan->raw_slot].value.n * TEXT_GROWTH;
        return 0;
    }
    rc = event ? event_build(plan, err) : template_build(plan, err);
    *most = plan->built.n;
    return rc;
}

/* False: the filter leaves this log out. One that cannot be decided is kept. */
static bool wanted(struct format_plan *plan, const struct slsr_log *log, uint32_t index)
{
    if (plan->slots.count > 0)
        slots_log(&plan->slots, log, index);
    return plan->filter == NULL || filter_run(plan->filter, &plan->slots) != FILTER_FALSE;
}

/* Is the log a map of text before it is printed? */
static bool needs_flat(const struct format_plan *plan, enum shape shape)
{
    if (plan->body == SLSR_BODY_CEF || plan->body == SLSR_BODY_LEEF)
        return plan->event.rest;
    return shape == SHAPE_OTHER && (plan->body == SLSR_BODY_JSON || plan->body == SLSR_BODY_KV);
}

static uint32_t clamp_u32(int64_t n)
{
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static int too_big(const struct format_plan *plan, const struct slsr_log *log,
                   struct slsr_batch *batch, size_t length, struct slsr_err *err)
{
    batch->dead_count++;
    return slsr_fail(err, SLSR_ETOOBIG,
                     "log %u of group %u at cursor %s makes a message of %zu bytes, over "
                     "format.max_message_size (%zu)",
                     log->index, log->group, batch->cursor, length, plan->max_message);
}

/* Header and body behind each other at the end of the batch; the frame is closed here. */
static int put_frame(struct format_plan *plan, const struct slsr_log *log, struct slsr_batch *batch,
                     struct slsr_frame_meta meta, int64_t time_s, enum shape shape,
                     struct slsr_err *err)
{
    size_t most = 0;
    int rc = header_log(plan, err);
    if (rc == 0)
        rc = prepare_body(plan, log, shape, &most, err);
    if (rc != 0)
        return rc;
    size_t room = header_max(plan) + most + FRAME_DIGITS_MAX + 1 + TEXT_SLACK + KNOWN_TEXT_MAX;
    if (!batch_reserve(batch, room))
        return slsr_fail(err, SLSR_ENOMEM,
                         "no memory for a message of up to %zu bytes behind %zu bytes of the batch",
                         room, batch->used);
    char *start = batch->data + batch->used, *message = start + plan->guess + 1;
    char *sd_end = header_put(plan, message, time_s, log->time_ns, meta.index);
    char *body = sd_end + plan->lead_in_n;
    memcpy(sd_end, plan->lead_in, sizeof(plan->lead_in));
    char *end = put_body(plan, body, log, shape);
    if (end == NULL)
        end = body = sd_end; /* no MSG: no space behind the header either */
    if (plan->lead_in_n > 1 && plan->rules.utf8 == SLSR_UTF8_KEEP && end > body &&
        !utf8_valid((struct slsr_bytes){body, (size_t)(end - body)})) {
        memmove(sd_end + 1, body, (size_t)(end - body)); /* the mark would say UTF-8 */
        end -= body - sd_end - 1;
        body = sd_end + 1;
    }
    size_t length = (size_t)(end - message);
    if (length > plan->max_message) {
        if (plan->oversize == SLSR_OVER_SPLIT)
            rc = oversize_split(plan, batch, message, (size_t)(sd_end - message),
                                (size_t)(body - message), length, &meta, err);
        else if (plan->oversize == SLSR_OVER_DEAD || !oversize_cut(plan, message, body, &end))
            rc = SLSR_ETOOBIG;
        if (rc == SLSR_ETOOBIG)
            return too_big(plan, log, batch, length, err);
        if (rc != 0 || plan->oversize == SLSR_OVER_SPLIT)
            return rc;
    }
    batch->used += frame_close(start, &plan->guess, (size_t)(end - message));
    meta.end = (uint32_t)batch->used;
    batch->meta[batch->frame_count++] = meta;
    return 0;
}

int format_log(struct format_plan *plan, const struct slsr_log *log, struct slsr_batch *batch,
               struct slsr_err *err)
{
    int rc = 0;
    if (!next_of_group(plan, log))
        rc = enter_group(plan, log, batch->cursor, err);
    plan->last = *log;
    if (rc != 0)
        return rc;
    uint32_t index = plan->cursor_is_number ? log->index : plan->running;
    plan->running++;
    if (!wanted(plan, log, index)) {
        batch->dropped_count++;
        return 0;
    }

    int64_t time_s = log->time_s;
    enum shape shape = shape_of(plan, log);
    if (needs_flat(plan, shape)) {
        rc = flatten(&plan->flat, log, plan->protocol == SLSR_SEED, plan->select, err);
        if (rc != 0)
            return rc;
        if (plan->protocol == SLSR_SEED && !seed_time(plan, &time_s)) {
            batch->dead_count++;
            return slsr_fail(err, SLSR_EBADDATA,
                             "log %u of group %u at cursor %s has a __time__ that is no time in "
                             "seconds",
                             log->index, log->group, batch->cursor);
        }
    }
    struct slsr_frame_meta meta = {0, plan->cursor_is_number ? log->group : 0, index,
                                   clamp_u32(time_s), log->time_ns};
    return put_frame(plan, log, batch, meta, time_s, shape, err);
}
