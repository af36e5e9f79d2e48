/* One log -> one frame at the end of a batch. HOT (tests/bench/bench_format.c "format").
 *
 * The good path: room for the worst case is reserved, the message is written four bytes behind the
 * end of the batch, its length goes in front. Most messages have three digits, then the four bytes
 * fit; else the message moves.
 *
 * What can go wrong: a message over its limit (cut, or the log is dead), in the seed format a
 * `__time__` that is no time (dead), no memory. A dead log leaves the batch as it was but for
 * dead_count, and the next log is formatted as if nothing had happened. */
#include <stdlib.h>

#include "base/batch.h"
#include "base/cursor.h"
#include "format/plan.h"

enum { DIGITS_GUESS = 3, DIGITS_MAX = 10 };
static const char cut_mark[] = "...";

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
    int rc = header_group(plan, cursor, log->group, err);
    if (rc == 0 && plan->body == SLSR_BODY_KV)
        rc = kv_group(plan, log, err);
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

/* Puts the length in front of a message that stands DIGITS_GUESS + 1 behind `start`; returns the
 * frame's length. */
static size_t close_frame(char *start, size_t length)
{
    char digits[DIGITS_MAX];
    size_t n = (size_t)(put_number(digits, (uint32_t)length) - digits);
    if (n != DIGITS_GUESS)
        memmove(start + n + 1, start + DIGITS_GUESS + 1, length);
    memcpy(start, digits, n);
    start[n] = ' ';
    return n + 1 + length;
}

/* Brings a message down to the limit. False: it cannot be. */
static bool fit(const struct format_plan *plan, const char *message, char *body, char **end)
{
    size_t keep = plan->max_message - (sizeof(cut_mark) - 1);
    if (plan->oversize != SLSR_OVER_TRUNCATE || plan->max_message < sizeof(cut_mark) ||
        keep < (size_t)(body - message))
        return false;
    keep = utf8_cut(message, keep);
    if (keep < (size_t)(body - message))
        keep = (size_t)(body - message);
    memcpy(body + (keep - (size_t)(body - message)), cut_mark, sizeof(cut_mark) - 1);
    *end = body + (keep - (size_t)(body - message)) + sizeof(cut_mark) - 1;
    return true;
}

static char *put_body(struct format_plan *plan, char *out, const struct slsr_log *log, bool plain)
{
    if (plan->body == SLSR_BODY_RAW)
        return raw_put(plan, out, log);
    if (plan->body == SLSR_BODY_JSON)
        return json_put(plan, out);
    return plain ? kv_put_plain(plan, out, log) : kv_put_flat(plan, out);
}

static uint32_t clamp_u32(int64_t n)
{
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
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

    int64_t time_s = log->time_s;
    bool plain =
        plan->body == SLSR_BODY_RAW ||
        (plan->body == SLSR_BODY_KV && plan->protocol != SLSR_SEED && kv_is_plain(plan, log));
    if (!plain) {
        rc = flatten(&plan->flat, log, plan->protocol == SLSR_SEED, err);
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
    size_t room = plan->header_max + kv_max(plan, log) + DIGITS_MAX + 1 + TEXT_SLACK;
    if (!batch_reserve(batch, room))
        return slsr_fail(err, SLSR_ENOMEM,
                         "no memory for a message of up to %zu bytes behind %zu bytes of the batch",
                         room, batch->used);
    char *start = batch->data + batch->used, *message = start + DIGITS_GUESS + 1;
    char *body = header_put(plan, message, time_s, log->time_ns, index);
    char *end = put_body(plan, body, log, plain);
    size_t length = (size_t)(end - message);
    if (length > plan->max_message && !fit(plan, message, body, &end)) {
        batch->dead_count++;
        return slsr_fail(err, SLSR_ETOOBIG,
                         "log %u of group %u at cursor %s makes a message of %zu bytes, over "
                         "format.max_message_size (%zu)",
                         log->index, log->group, batch->cursor, length, plan->max_message);
    }
    batch->used += close_frame(start, (size_t)(end - message));
    batch->meta[batch->frame_count++] =
        (struct slsr_frame_meta){(uint32_t)batch->used, plan->cursor_is_number ? log->group : 0,
                                 index, clamp_u32(time_s), log->time_ns};
    return 0;
}
