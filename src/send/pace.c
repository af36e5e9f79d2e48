/* Token buckets.
 *
 * Good path: no limit, or tokens that grow with time; every BITE_PART of a second a bite of frames
 * goes, so that the stream is smooth and wakes nobody a thousand times a second. A bucket holds a
 * tenth of a second at most: an outage is not made good by a burst. A frame larger than the bytes
 * at hand goes when the bucket is not in debt, and puts it there: the mean stays exact. */
#include "send/pace.h"

#include <math.h>
#include <string.h>

enum { DEPTH_PART = 10, BITE_PART = 50 };

static double at_least(double value, double least)
{
    return value < least ? least : value;
}

/* What must be there before anything goes. */
static double bite(const struct pace_bucket *b)
{
    return b->bytes ? b->rate / BITE_PART : at_least(floor(b->rate / BITE_PART), 1);
}

static double depth(const struct pace_bucket *b)
{
    return at_least(b->rate / DEPTH_PART, bite(b));
}

static bool applies(const struct pace_bucket *b, bool backlog)
{
    return b->rate > 0 && (backlog || !b->backlog);
}

void pace_init(struct pace *p, const struct slsr_rate_config *rate, int64_t frames_s,
               int64_t now_ms)
{
    const struct pace_bucket buckets[PACE_BUCKETS] = {
        {.rate = (double)rate->messages},
        {.rate = (double)rate->bytes, .bytes = true},
        {.rate = (double)rate->backlog_messages, .backlog = true},
        {.rate = (double)rate->backlog_bytes, .bytes = true, .backlog = true},
        {.rate = (double)frames_s},
    };

    memset(p, 0, sizeof *p);
    memcpy(p->buckets, buckets, sizeof buckets);
    p->at_ms = now_ms;
    for (int i = 0; i < PACE_BUCKETS; i++)
        p->any = p->any || p->buckets[i].rate > 0;
}

static void refill(struct pace *p, int64_t now_ms)
{
    for (int i = 0; i < PACE_BUCKETS; i++) {
        struct pace_bucket *b = &p->buckets[i];

        b->tokens += (double)(now_ms - p->at_ms) * b->rate / 1000;
        if (b->tokens > depth(b))
            b->tokens = depth(b);
    }
    p->at_ms = now_ms;
}

uint32_t pace_take(struct pace *p, int64_t now_ms, bool backlog, const uint32_t *ends,
                   uint32_t start, uint32_t count)
{
    uint32_t n = count;

    if (!p->any)
        return count;
    refill(p, now_ms);
    for (int i = 0; i < PACE_BUCKETS; i++) {
        const struct pace_bucket *b = &p->buckets[i];
        uint32_t fit = 0;

        if (!applies(b, backlog))
            continue;
        if (b->tokens < bite(b))
            return 0;
        if (!b->bytes && (double)n > b->tokens)
            n = (uint32_t)b->tokens;
        /* Frames that begin within what is at hand. */
        while (b->bytes && fit < n &&
               (double)((fit > 0 ? ends[fit - 1] : start) - start) < b->tokens)
            fit++;
        if (b->bytes)
            n = fit;
    }
    for (int i = 0; i < PACE_BUCKETS; i++) {
        struct pace_bucket *b = &p->buckets[i];

        if (n > 0 && applies(b, backlog))
            b->tokens -= b->bytes ? (double)(ends[n - 1] - start) : (double)n;
    }
    return n;
}

int64_t pace_due_ms(const struct pace *p, int64_t now_ms, bool backlog)
{
    int64_t due = 0;

    for (int i = 0; p->any && i < PACE_BUCKETS; i++) {
        const struct pace_bucket *b = &p->buckets[i];
        double have = b->tokens + (double)(now_ms - p->at_ms) * b->rate / 1000;
        int64_t wait;

        if (!applies(b, backlog) || have >= bite(b))
            continue;
        wait = (int64_t)ceil((bite(b) - have) * 1000 / b->rate);
        if (wait > due)
            due = wait;
    }
    return due;
}
