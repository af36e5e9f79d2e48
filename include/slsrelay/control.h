/* Operator control through the spool itself: what sls-spool orders and the relay honours.
 *
 * Nothing but ack.mdb is between the two (docs/spool-format.md "Books"). An order is one durable
 * record, so it holds for a relay that runs, within a second, and for one that starts later.
 *
 * Marks are sets of sequences, per kind and target:
 *   hold    the live cursor passes over them, retention keeps them, a release sends them
 *   wanted  a hold that the send stage has not yet taken over: of these it holds what it had not
 *           delivered by then
 *   skip    the live cursor passes over them for good (skip, purge)
 *   dead    the target cannot take them (slsr_spool_dead_add)
 *   resend  to be sent again, beside the live cursor; shrinks while that is done; kept meanwhile
 * Any thread, but a reading tool calls from one only. */
#ifndef SLSRELAY_CONTROL_H
#define SLSRELAY_CONTROL_H

#include "slsrelay/err.h"
#include "slsrelay/ledger.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

enum slsr_mark {
    SLSR_MARK_HOLD = 'h',
    SLSR_MARK_WANTED = 'w',
    SLSR_MARK_SKIP = 's',
    SLSR_MARK_DEAD = 'd',
    SLSR_MARK_RESEND = 'r'
};

struct slsr_span {
    uint64_t from, to; /* [from, to) */
};

/* Sorted, disjoint, not touching once normalised. Zeroed is empty; slsr_spans_free. */
struct slsr_spans {
    struct slsr_span *items;
    size_t count, size;
};

/* Appends; joins with the last one when they touch. False: no memory. */
bool slsr_spans_add(struct slsr_spans *spans, uint64_t from, uint64_t to);
/* Sorts and joins. */
void slsr_spans_normalise(struct slsr_spans *spans);
/* Appends to out what of `spans` is not in `minus` (both normalised). False: no memory. */
bool slsr_spans_without(const struct slsr_spans *spans, const struct slsr_spans *minus,
                        struct slsr_spans *out);
void slsr_spans_free(struct slsr_spans *spans);
uint64_t slsr_spans_frames(const struct slsr_spans *spans);
/* The first span that ends behind seq; NULL: none. */
const struct slsr_span *slsr_spans_find(const struct slsr_spans *spans, uint64_t seq);
static inline bool slsr_spans_has(const struct slsr_spans *spans, uint64_t seq)
{
    const struct slsr_span *span = slsr_spans_find(spans, seq);

    return span != NULL && span->from <= seq;
}

/* Appends the marks of one kind for a target to out and normalises it. */
int slsr_marks_read(struct slsr_spool *spool, enum slsr_mark kind, const char *target,
                    struct slsr_spans *out, struct slsr_err *err);

/* --- what a tool orders --- */

enum slsr_order_kind {
    SLSR_ORDER_PAUSE,
    SLSR_ORDER_RESUME,
    SLSR_ORDER_FLUSH,
    SLSR_ORDER_SEEK,
    SLSR_ORDER_HOLD,
    SLSR_ORDER_RELEASE,
    SLSR_ORDER_SKIP,
    SLSR_ORDER_REQUEUE,
    SLSR_ORDER_PURGE
};

struct slsr_order {
    enum slsr_order_kind kind;
    const char *const *targets; /* whom it concerns; at least one */
    size_t target_count;
    uint64_t seek;                  /* SEEK: next sequence to send */
    const struct slsr_spans *spans; /* HOLD and those behind it */
    /* kind, who, reason, text, frames, bytes for the ledger; the rest is filled in here. */
    struct slsr_ledger_entry entry;
    uint64_t generation; /* out: see slsr_control_taken */
};

/* Writes the order and its ledger entry durably, marks in pieces so that the relay never waits
 * long. 0; SLSR_EPERM, SLSR_EFULL, SLSR_EIO. */
int slsr_control_order(struct slsr_spool *spool, struct slsr_order *order, struct slsr_err *err);

struct slsr_control_state {
    char target[64];
    bool paused;
    int64_t paused_ms; /* since when */
    char who[64];
    char reason[128];
    uint64_t seek;  /* ordered and not yet taken over; 0: none */
    uint64_t taken; /* generation of the orders that the relay has taken over for it */
};

/* What stands for one target; zeros when nothing was ever ordered. */
int slsr_control_read(struct slsr_spool *spool, const char *target, struct slsr_control_state *out,
                      struct slsr_err *err);

/* --- what the relay's send stage does --- */

/* Registers the token that an order for this target fires. Before slsr_control_take. */
void slsr_control_attach(struct slsr_spool *spool, const char *target, struct slsr_stop *wake);
void slsr_control_detach(struct slsr_spool *spool, struct slsr_stop *wake);

struct slsr_control {
    struct slsr_control_state state;
    struct slsr_spans pass;   /* the live cursor passes over these */
    struct slsr_spans resend; /* to be sent beside it, without what is held */
};

/* Takes over what was ordered for this target while nothing of it is being sent: moves its position
 * (also backwards), drops orders to resend what the live cursor will send anyway. */
int slsr_control_take(struct slsr_spool *spool, const char *target, struct slsr_control *out,
                      struct slsr_err *err);
void slsr_control_free(struct slsr_control *control);
/* These frames of `resend` have been taken by the target: they are ordered no longer. A long list
 * takes several transactions; after a failure a part of it may still be ordered. */
int slsr_control_resent(struct slsr_spool *spool, const char *target, const struct slsr_spans *sent,
                        struct slsr_err *err);

#endif
