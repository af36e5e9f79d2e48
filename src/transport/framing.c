/* Framing of stored frames.
 *
 * The spool stores octet-counted frames, so that framing needs no work at all: a piece is a view.
 * LF framing copies each message, because a line end inside it would break the framing: CR and LF
 * become spaces, one trailing line end is dropped. What can go wrong: no memory for the copy. */
#include "transport/framing.h"

#include <stdlib.h>
#include <string.h>

void piece_fini(struct piece *piece)
{
    free(piece->buf);
    free(piece->own);
    memset(piece, 0, sizeof *piece);
}

void piece_clear(struct piece *piece)
{
    piece->n = piece->done = 0;
    piece->count = piece->frames = 0;
}

void piece_view(struct piece *piece, const struct slsr_run *run, uint32_t i, uint32_t end)
{
    piece->base = i > 0 ? run->ends[i - 1] : 0;
    piece->p = run->wire.p + piece->base;
    piece->n = run->ends[end - 1] - piece->base;
    piece->ends = run->ends + i;
    piece->first = run->first + i;
    piece->count = end - i;
    piece->done = 0;
    piece->frames = 0;
}

struct slsr_bytes framing_message(struct slsr_bytes wire)
{
    while (wire.n > 0 && *wire.p >= '0' && *wire.p <= '9') {
        wire.p++;
        wire.n--;
    }
    if (wire.n > 0 && *wire.p == ' ') {
        wire.p++;
        wire.n--;
    }
    return wire;
}

static size_t put_line(char *out, struct slsr_bytes m)
{
    if (m.n > 0 && m.p[m.n - 1] == '\n')
        m.n--;
    for (size_t k = 0; k < m.n; k++)
        out[k] = m.p[k] == '\n' || m.p[k] == '\r' ? ' ' : m.p[k];
    out[m.n] = '\n';
    return m.n + 1;
}

int piece_lf(struct piece *piece, const struct slsr_run *run, uint32_t i, uint32_t end,
             struct slsr_err *err)
{
    uint32_t start = i > 0 ? run->ends[i - 1] : 0;
    /* Each frame loses at least one digit and the space, and gains one LF: it never grows. */
    size_t room = run->ends[end - 1] - start + (end - i);
    size_t used = 0;

    if (room > piece->buf_size) {
        char *buf = realloc(piece->buf, room);

        if (buf == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for %zu bytes of LF framing", room);
        piece->buf = buf;
        piece->buf_size = room;
    }
    if (end - i > piece->own_size) {
        uint32_t *own = realloc(piece->own, (end - i) * sizeof *own);

        if (own == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for %u frames of LF framing", end - i);
        piece->own = own;
        piece->own_size = end - i;
    }
    for (uint32_t k = i; k < end; k++) {
        struct slsr_bytes wire = {run->wire.p + start, run->ends[k] - start};

        used += put_line(piece->buf + used, framing_message(wire));
        piece->own[k - i] = (uint32_t)used;
        start = run->ends[k];
    }
    piece->p = piece->buf;
    piece->n = used;
    piece->ends = piece->own;
    piece->base = 0;
    piece->first = run->first + i;
    piece->count = end - i;
    piece->done = 0;
    piece->frames = 0;
    return 0;
}

uint32_t piece_advance(struct piece *piece, size_t n)
{
    uint32_t before = piece->frames;

    piece->done += n;
    while (piece->frames < piece->count && piece_end(piece, piece->frames) <= piece->done)
        piece->frames++;
    return piece->frames - before;
}
