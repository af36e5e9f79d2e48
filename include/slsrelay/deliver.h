/* Sends a stretch of a spool to one target and tells how far the target has taken it.
 *
 * Used by the send stage (to = UINT64_MAX, for ever) and by `sls-spool replay`. What "taken" means
 * per transport: docs/delivery.md. One call blocks its thread until done or stopped. */
#ifndef SLSRELAY_DELIVER_H
#define SLSRELAY_DELIVER_H

#include "slsrelay/config.h"
#include "slsrelay/control.h"
#include "slsrelay/err.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

struct slsr_delivery {
    const struct slsr_target_config *target; /* borrowed */
    struct slsr_spool *spool;
    uint64_t from, to; /* [from, to); to = UINT64_MAX follows */
    /* Frames to leave out (replay by time): false = skip. NULL: all. Called per frame. */
    bool (*want)(void *ctx, const struct slsr_frame *frame);
    /* Told whenever the settled position (I3) or the phase changes, and about once a second while
     * working. state->name is the target's; the callee may store it. Same thread. */
    void (*report)(void *ctx, const struct slsr_target_state *state);
    void *ctx;
    int64_t give_up_ms;    /* 0: never (the relay). Else end with SLSR_ENET after that long down */
    int64_t drain_ms;      /* after stop: go on that long to settle what was sent, default 5000 */
    int64_t rate_frames_s; /* 0: no limit */
    int first_server;      /* of the target's list, the one to prefer */
    struct slsr_stop *stop;
    struct slsr_stop *wake; /* ends the run as stop does: an operator's order; NULL: none */
    /* Frames to pass over, as if taken (held, skipped); unchanged meanwhile. NULL: none. */
    const struct slsr_spans *pass;
    /* Told, in place of the spool's books, that the target can never take a frame, perhaps more
     * than once after a break; reason and evidence as for slsr_spool_dead_add. Not 0 ends the run
     * with it. Same thread. NULL: the books. */
    int (*set_aside)(void *ctx, uint64_t seq, const char *reason, const char *evidence,
                     struct slsr_err *err);
};

/* 0: everything in [from, to) has been taken. SLSR_ESTOPPED: stop fired; the last report says how
 * far it got. SLSR_ENET: give_up_ms is over. SLSR_ECONFIG: impossible level or framing. */
int slsr_deliver_run(const struct slsr_delivery *delivery, struct slsr_err *err);
/* What an attempt has shown of the certificates; "" and 0 without TLS or before its handshake. */
struct slsr_probe {
    char peer[160];         /* subject of the receiver's certificate */
    int64_t peer_expiry_ms; /* wall clock */
    int64_t own_expiry_ms;
};
/* One attempt: resolve, connect, TLS, close. For --test-connection. seen may be NULL. */
int slsr_deliver_probe(const struct slsr_target_config *target, struct slsr_stop *stop,
                       struct slsr_probe *seen, struct slsr_err *err);

#endif
