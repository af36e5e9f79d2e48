/* Counting failed proofs.
 *
 * Good path: guard_clear() again and again. What can go wrong: a receiver that never proves; then
 * guard_failed() says so once the failures are many and old enough. */
#include "transport/guard.h"

int64_t guard_span_ms = 600 * 1000;

bool guard_failed(const struct guard *g, struct guard_count *count, int64_t now_ms)
{
    int64_t span_ms = g->proven ? guard_span_ms * GUARD_PROVEN_FACTOR : guard_span_ms;

    if (count->failures == 0)
        count->first_ms = now_ms;
    if (count->failures < GUARD_FAILURES)
        count->failures++;
    return count->failures >= GUARD_FAILURES && now_ms - count->first_ms >= span_ms;
}

void guard_clear(struct guard *g, bool by_proof)
{
    g->proofs.failures = g->spares.failures = 0;
    if (by_proof)
        g->proven = true;
}

void guard_rearm(struct guard *g)
{
    if (g->proofs.failures == GUARD_FAILURES)
        g->proofs.failures--;
    if (g->spares.failures == GUARD_FAILURES)
        g->spares.failures--;
}
