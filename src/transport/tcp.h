/* What tcp.c (carrier, evidence, the turn) and proof.c (spare, rotation, proof) share. Indoors of
 * these two. */
#ifndef TRANSPORT_TCP_H
#define TRANSPORT_TCP_H

#include "transport/guard.h"
#include "transport/internal.h"
#include "transport/stream.h"

enum { SAMPLE_MS = 50, SPARE_YOUNG_MS = 1000 };

#define NO_POSITION UINT64_MAX

enum stage { STAGE_RUN, STAGE_SPARE, STAGE_FLUSH, STAGE_CLOSING };

struct tcp {
    struct transport base;
    struct dial dial, spare_dial;
    struct stream carrier, spare;
    enum stage stage;
    int64_t stage_ms;   /* when it began */
    int64_t flushed_ms; /* FLUSH: since when all is acknowledged; 0: it is not */
    int64_t sample_due_ms;
    int64_t proof_due_ms;
    uint64_t due_wire; /* SPARE: what the carrier had written when it fell due */
    int64_t spare_retry_ms;
    int64_t spare_pause_ms; /* the last one; 0: none yet */
    int64_t spare_ms;       /* when it came up */
    int64_t heir_ms;        /* when the carrier came up, which was a spare before; 0: it was none */
    int64_t healthy_ms;     /* last time that carrier and witness were both seen sound */
    int64_t alive_ms;       /* the receiver's program has read what we sent then, or later */
    int64_t alive_due_ms;   /* a second rotation has to show that it lives on; 0: none is owed */
    bool for_life;          /* this rotation is that one */
    struct guard guard;
    bool fallback; /* the guard has tripped */
    int64_t fallback_end_ms;
    int silent_ends;             /* clean ends in a row, but without close_notify */
    uint64_t floor_at, proof_at; /* evidence that clears the guard once settled; or NO_POSITION */
    uint64_t position;           /* evidence so far, over all connections */
};

/* --- tcp.c --- */
bool tcp_proves(const struct tcp *t); /* its level needs proofs */
struct stream_plan tcp_plan(const struct tcp *t);
bool tcp_unsettled(const struct tcp *t);
int64_t tcp_settle_ms(const struct tcp *t);
/* What was sent at that time was read: evidence that is older by the settle time may count. */
void tcp_alive(struct tcp *t, int64_t sent_ms);
/* Turns the newest figures into evidence and lets it age. */
void tcp_note(struct tcp *t);
void tcp_enter(struct tcp *t, enum stage stage, int64_t now_ms);
/* slsr_fail with SLSR_EREMOTE; cause is the word for it. */
int tcp_fail(struct tcp *t, const char *cause, const char *text, struct slsr_err *err);

/* --- proof.c --- */
/* The peer has closed after our FIN: is that a proof? 0: yes, the spare carries on. */
int proof_finish(struct tcp *t, int64_t now_ms, struct slsr_err *err);
/* What has to happen to the carrier now, if anything. */
int proof_rotate(struct tcp *t, int64_t now_ms, struct slsr_err *err);
/* The break rule's part: counts what says that this peer cannot prove. Before anything is dropped.
 */
void proof_broken(struct tcp *t, int64_t now_ms);
/* Dials, watches, replaces the second connection. */
int spare_watch(struct tcp *t, int64_t now_ms, struct slsr_err *err);

#endif
