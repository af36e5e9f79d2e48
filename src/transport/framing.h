/* Octet counting, LF, bare datagrams: what a frame looks like on the wire. Pure. Indoors. */
#ifndef TRANSPORT_FRAMING_H
#define TRANSPORT_FRAMING_H

#include "slsrelay/err.h"
#include "slsrelay/spool.h"

/* Wire bytes of consecutive frames, written bit by bit. For octet counting it is a view into the
 * run (no copy), for LF it owns its bytes and reuses them. */
struct piece {
    const char *p;
    size_t n;
    const uint32_t *ends; /* behind each frame, relative to p - base */
    uint32_t base;
    uint64_t first; /* sequence of frame 0 */
    uint32_t count;
    size_t done;     /* bytes written */
    uint32_t frames; /* whole frames written */
    char *buf;       /* LF only */
    size_t buf_size;
    uint32_t *own;
    size_t own_size;
};

void piece_fini(struct piece *piece);
void piece_clear(struct piece *piece);
static inline bool piece_empty(const struct piece *piece)
{
    return piece->done == piece->n;
}
static inline uint32_t piece_end(const struct piece *piece, uint32_t i)
{
    return piece->ends[i] - piece->base;
}
/* Takes frames [i, end) of the run as they are. */
void piece_view(struct piece *piece, const struct slsr_run *run, uint32_t i, uint32_t end);
/* The same frames, each without its octet count, line ends inside made spaces, LF behind.
 * SLSR_ENOMEM. */
int piece_lf(struct piece *piece, const struct slsr_run *run, uint32_t i, uint32_t end,
             struct slsr_err *err);
/* The message without its octet count. */
struct slsr_bytes framing_message(struct slsr_bytes wire);
/* Moves `done` by n written bytes; returns how many frames became whole by that. */
uint32_t piece_advance(struct piece *piece, size_t n);

#endif
