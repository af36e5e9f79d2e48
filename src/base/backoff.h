/* Attempt number -> delay: exponential, full jitter (docs/delivery.md "Back-off"). Not thread-safe.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t initial_ms, max_ms;
    double multiplier;
    uint32_t attempt;
    uint64_t seed; /* xorshift state; 0 seeds itself */
};

void backoff_init(struct backoff *b, int64_t initial_ms, int64_t max_ms, double multiplier);
/* random(0, min(max, initial * multiplier^attempt)), at least 50 ms (or max if smaller); counts up
 */
int64_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b); /* only after real progress, not on connect */

#endif
