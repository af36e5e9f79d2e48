/* Sorted sets of sequences in memory (slsrelay/control.h). */
#include <stdlib.h>

#include "slsrelay/control.h"

bool slsr_spans_add(struct slsr_spans *spans, uint64_t from, uint64_t to)
{
    if (from >= to)
        return true;
    if (spans->count > 0 && spans->items[spans->count - 1].to == from) {
        spans->items[spans->count - 1].to = to;
        return true;
    }
    if (spans->count == spans->size) {
        const size_t size = spans->size * 2 + 16;
        struct slsr_span *more = realloc(spans->items, size * sizeof *more);

        if (more == NULL)
            return false;
        spans->items = more;
        spans->size = size;
    }
    spans->items[spans->count++] = (struct slsr_span){from, to};
    return true;
}

static int by_from(const void *a, const void *b)
{
    const struct slsr_span *x = a;
    const struct slsr_span *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

void slsr_spans_normalise(struct slsr_spans *spans)
{
    size_t n = 0;

    if (spans->count == 0)
        return;
    qsort(spans->items, spans->count, sizeof *spans->items, by_from);
    for (size_t i = 1; i < spans->count; i++) {
        struct slsr_span *last = &spans->items[n];

        if (spans->items[i].from > last->to)
            spans->items[++n] = spans->items[i];
        else if (spans->items[i].to > last->to)
            last->to = spans->items[i].to;
    }
    spans->count = n + 1;
}

void slsr_spans_free(struct slsr_spans *spans)
{
    free(spans->items);
    *spans = (struct slsr_spans){0};
}

uint64_t slsr_spans_frames(const struct slsr_spans *spans)
{
    uint64_t frames = 0;

    for (size_t i = 0; i < spans->count; i++)
        frames += spans->items[i].to - spans->items[i].from;
    return frames;
}

const struct slsr_span *slsr_spans_find(const struct slsr_spans *spans, uint64_t seq)
{
    size_t low = 0;
    size_t high = spans->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (spans->items[middle].to > seq)
            high = middle;
        else
            low = middle + 1;
    }
    return low < spans->count ? &spans->items[low] : NULL;
}

bool slsr_spans_without(const struct slsr_spans *spans, const struct slsr_spans *minus,
                        struct slsr_spans *out)
{
    bool ok = true;

    for (size_t i = 0; ok && i < spans->count; i++) {
        uint64_t at = spans->items[i].from;
        const uint64_t to = spans->items[i].to;

        while (ok && at < to) {
            const struct slsr_span *hole = slsr_spans_find(minus, at);

            if (hole == NULL || hole->from >= to) {
                ok = slsr_spans_add(out, at, to);
                break;
            }
            if (hole->from > at)
                ok = slsr_spans_add(out, at, hole->from);
            at = hole->to;
        }
    }
    return ok;
}
