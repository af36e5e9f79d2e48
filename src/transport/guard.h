/* Can this receiver prove at all? Counts what says that it cannot (docs/delivery.md "Guard").
 *
 * Pure: no clock, no socket. Giving in means to release frames on less evidence, so a receiver that
 * merely hangs or restarts for a while must not get there: failures alone are not enough, they must
 * also go on for a long time without any settled evidence in between. */
#ifndef TRANSPORT_GUARD_H
#define TRANSPORT_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum { GUARD_FAILURES = 3, GUARD_PROVEN_FACTOR = 6 };

/* Failures must go on for that long; GUARD_PROVEN_FACTOR times as long for a receiver that has
 * proven before. A variable for the tests' sake only. */
extern int64_t guard_span_ms;

struct guard_count {
    int failures; /* in a row */
    int64_t first_ms;
};

struct guard {
    struct guard_count proofs; /* that failed although everything was acknowledged */
    struct guard_count spares; /* second connections refused, or ended at once */
    bool proven;               /* at least once in this run */
};

/* One more failure, of g->proofs or g->spares. True: this receiver cannot prove. */
bool guard_failed(const struct guard *g, struct guard_count *count, int64_t now_ms);
/* Settled evidence: by a proof, or else by the read floor. */
void guard_clear(struct guard *g, bool by_proof);
/* Try once more after having given in: one more failure is enough. */
void guard_rearm(struct guard *g);

#endif
