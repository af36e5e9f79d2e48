/* Messages over format.max_message_size: cut with a mark, or split into numbered parts.
 *
 * The header is never cut; a limit that has no room for it makes the log dead. Cuts fall between
 * characters. Each part is a whole frame with the header of the log: RFC 5424 gives its number in
 * an element slsPart@..., the others in front of the text. */
#include <stdio.h>

#include "base/batch.h"
#include "format/plan.h"

static const char cut_mark[] = "...";
enum { MARK_N = sizeof(cut_mark) - 1, PART_TEXT_MAX = 96, PART_MIN = 16 };

size_t frame_close(char *start, size_t *guess, size_t length)
{
    size_t n = 1;
    for (size_t rest = length; rest > 9; rest /= 10)
        n++;
    if (n != *guess)
        memmove(start + n + 1, start + *guess + 1, length);
    *guess = n;
    for (size_t i = n, rest = length; i-- > 0; rest /= 10)
        start[i] = (char)('0' + rest % 10);
    start[n] = ' ';
    return n + 1 + length;
}

bool oversize_cut(const struct format_plan *plan, const char *message, char *body, char **end)
{
    size_t head = (size_t)(body - message);
    if (plan->max_message < head + MARK_N)
        return false;
    size_t keep = plan->max_message - MARK_N - head;
    keep = text_cut(body, keep);
    memcpy(body + keep, cut_mark, MARK_N);
    *end = body + keep + MARK_N;
    return true;
}

static bool in_elements(const struct format_plan *plan)
{
    return plan->protocol == SLSR_RFC5424;
}

/* "[slsPart@32473 n="2" of="3"]" or "[2/3] ". */
static size_t part_text(const struct format_plan *plan, char *out, size_t part, size_t count)
{
    int n = in_elements(plan) ? snprintf(out, PART_TEXT_MAX, "[slsPart@%u n=\"%zu\" of=\"%zu\"]",
                                         plan->enterprise, part, count)
                              : snprintf(out, PART_TEXT_MAX, "[%zu/%zu] ", part, count);
    return (size_t)n;
}

struct pieces {
    const char *message;
    size_t sd_end, body, end;
    size_t room; /* bytes of text in one part */
};

static size_t piece_of(const struct pieces *p, size_t at)
{
    return p->end - at <= p->room ? p->end - at : text_cut(p->message + at, p->room);
}

static int add_part(struct format_plan *plan, struct slsr_batch *batch, const struct pieces *p,
                    size_t at, size_t part, size_t count, struct slsr_frame_meta meta,
                    struct slsr_err *err)
{
    char number[PART_TEXT_MAX];
    size_t n = piece_of(p, at), number_n = part_text(plan, number, part, count);
    size_t sd = p->sd_end, after = in_elements(plan) ? 0 : number_n;
    if (!batch_reserve(batch, p->body + number_n + n + FRAME_DIGITS_MAX + 1 + TEXT_SLACK))
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a part of a message");
    char *start = batch->data + batch->used, *out = start + plan->guess + 1, *first = out;
    if (in_elements(plan) && p->message[sd - 1] == '-')
        sd--; /* the element takes the place of "no elements" */
    memcpy(out, p->message, sd);
    out += sd;
    if (after == 0) {
        memcpy(out, number, number_n);
        out += number_n;
    }
    memcpy(out, p->message + p->sd_end, p->body - p->sd_end);
    out += p->body - p->sd_end;
    memcpy(out, number, after);
    out += after;
    memcpy(out, p->message + at, n);
    out += n;
    batch->used += frame_close(start, &plan->guess, (size_t)(out - first));
    meta.end = (uint32_t)batch->used;
    batch->meta[batch->frame_count++] = meta;
    return 0;
}

int oversize_split(struct format_plan *plan, struct slsr_batch *batch, const char *message,
                   size_t sd_end, size_t body, size_t end, const struct slsr_frame_meta *meta,
                   struct slsr_err *err)
{
    char number[PART_TEXT_MAX];
    struct pieces p = {NULL, sd_end, body, end, 0};
    size_t most = part_text(plan, number, end - body, end - body), count = 0;
    size_t used = batch->used, frames = batch->frame_count;

    if (plan->max_message < body + most + PART_MIN)
        return slsr_fail(err, SLSR_ETOOBIG, "no room for parts");
    p.room = plan->max_message - body - most;
    int rc = text_reserve(&plan->whole, end, err);
    if (rc != 0)
        return rc;
    memcpy(plan->whole.p, message, end);
    p.message = plan->whole.p;
    for (size_t at = body; at < end; at += piece_of(&p, at))
        count++;
    size_t part = 0;
    for (size_t at = body; rc == 0 && at < end; at += piece_of(&p, at))
        rc = add_part(plan, batch, &p, at, ++part, count, *meta, err);
    if (rc != 0) {
        batch->used = used;
        batch->frame_count = frames;
    }
    return rc;
}
