/* Exponential back-off with full jitter. */
#include "base/backoff.h"

#include "base/clock.h"

enum { FLOOR_MS = 50 };

void backoff_init(struct backoff *b, int64_t initial_ms, int64_t max_ms, double multiplier)
{
    b->initial_ms = initial_ms;
    b->max_ms = max_ms;
    b->multiplier = multiplier < 1 ? 1 : multiplier;
    b->attempt = 0;
    b->seed = 0;
}

static uint64_t draw(struct backoff *b)
{
    if (b->seed == 0)
        b->seed = (uint64_t)clock_mono_ns() ^ ((uint64_t)(uintptr_t)b << 20) ^ 0x9e3779b97f4a7c15u;
    if (b->seed == 0)
        b->seed = 1;
    b->seed ^= b->seed << 13;
    b->seed ^= b->seed >> 7;
    b->seed ^= b->seed << 17;
    return b->seed;
}

int64_t backoff_next_ms(struct backoff *b)
{
    double ceiling = (double)b->initial_ms;
    int64_t low = b->max_ms < FLOOR_MS ? b->max_ms : FLOOR_MS;
    int64_t limit;

    for (uint32_t i = 0; i < b->attempt && ceiling < (double)b->max_ms; i++)
        ceiling *= b->multiplier;
    limit = ceiling > (double)b->max_ms ? b->max_ms : (int64_t)ceiling;
    if (b->attempt < UINT32_MAX)
        b->attempt++;
    if (limit <= low)
        return low;
    return low + (int64_t)(draw(b) % (uint64_t)(limit - low + 1));
}

void backoff_reset(struct backoff *b)
{
    b->attempt = 0;
}
