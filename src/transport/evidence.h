/* What counts as taken, computed from numbers alone (docs/delivery.md "Evidence").
 *
 * Pure: no clock, no socket. `evidence` keeps the marks of one connection, `settle` the positions
 * of one destination until they have aged. Positions are spool sequences, "next not yet taken". Not
 * thread-safe: the sending thread owns both. */
#ifndef TRANSPORT_EVIDENCE_H
#define TRANSPORT_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/err.h"

/* A frame's last byte lies below wire_end; with it everything below spool_end was written. */
struct evidence_mark {
    uint64_t wire_end;
    uint64_t spool_end;
    int64_t at_ms;
};

/* The figures of struct tcp_info that we use. */
struct evidence_sample {
    uint64_t bytes_acked;
    uint32_t snd_wnd;
    uint8_t snd_wscale;
    bool has_wnd; /* false before Linux 5.4: the read floor then stays 0 */
};

struct evidence {
    struct evidence_mark *ring;
    size_t head, count, size;
    uint64_t wire_written; /* bytes that send() accepted */
    uint64_t acked0;       /* bytes_acked right after connect: the SYN */
    uint64_t acked_raw;    /* with our FIN, when the peer has acknowledged it */
    uint64_t acked;
    uint64_t edge; /* highest byte that the peer ever offered room for */
    uint64_t wmax;
    uint32_t wnd;
    uint64_t floor;     /* below it the peer's application has read everything */
    uint64_t position;  /* spool position with evidence; only grows */
    uint64_t spool_end; /* spool position behind the last whole frame written */
    int64_t alive_ms;   /* when the newest mark with evidence was written: who has read it lived */
    bool sampled;
};

enum evidence_by { EVIDENCE_SENT, EVIDENCE_ACKED, EVIDENCE_FLOOR };

void evidence_init(struct evidence *e, uint64_t spool_base, uint64_t acked0);
void evidence_fini(struct evidence *e);
/* Frames up to spool_end end at wire_end. Marks at the same byte are merged. SLSR_ENOMEM. */
int evidence_add(struct evidence *e, uint64_t wire_end, uint64_t spool_end, int64_t now_ms,
                 struct slsr_err *err);
/* True when the sample shows progress: more acknowledged, or more room offered. */
bool evidence_take(struct evidence *e, const struct evidence_sample *sample);
/* Moves position as far as that kind of evidence reaches and forgets the marks below. */
uint64_t evidence_move(struct evidence *e, enum evidence_by by);
/* The connection was closed and closed back: everything on it is proven. */
uint64_t evidence_prove(struct evidence *e);
/* Did the connection carry frames without evidence so far? */
static inline bool evidence_open(const struct evidence *e)
{
    return e->count > 0;
}
/* When the oldest mark without evidence was written; only with evidence_open. */
int64_t evidence_oldest_ms(const struct evidence *e);

enum { SETTLE_RING = 1024, SETTLE_STEP_MS = 10 };

struct settle {
    struct {
        int64_t at_ms;
        uint64_t position;
    } ring[SETTLE_RING];
    size_t head, count;
    uint64_t noted;   /* newest position in the ring */
    uint64_t settled; /* only grows */
    int64_t noted_ms; /* when */
};

void settle_init(struct settle *s, uint64_t position);
/* A break: what has not settled is forgotten; settled stays. */
void settle_drop(struct settle *s);
/* Evidence reaches `position` now. At most one entry per SETTLE_STEP_MS: call again later with the
 * same position, it is not lost, only noted later (which errs to the safe side). */
void settle_note(struct settle *s, uint64_t position, int64_t now_ms, int64_t settle_ms);
/* Newest position that is at least settle_ms old. settle_ms 0: the newest. */
uint64_t settle_take(struct settle *s, int64_t now_ms, int64_t settle_ms);
/* Frames up to position were never sent: with nothing unsettled below them, they are done with. */
void settle_pass(struct settle *s, uint64_t position);
/* When the oldest evidence that has not settled was noted; INT64_MAX: there is none. */
int64_t settle_oldest_ms(const struct settle *s);

#endif
