/* What a range leaves out without a look at the frames: by time and by stream. Indoors of the
 * spool.
 *
 * A cheap prefilter over index records and summaries: what it refuses holds nothing that is wanted,
 * what it lets through may. */
#ifndef SPOOL_SIEVE_H
#define SPOOL_SIEVE_H

#include "spool/internal.h"

struct sieve { /* zeroed: lets everything through */
    bool timed, by_arrival;
    int64_t since_ms, until_ms;                                /* [since, until) */
    bool (*want)(void *ctx, const struct slsr_stream *stream); /* NULL: all streams */
    void *want_ctx;
};

static inline bool sieve_is_open(const struct sieve *sieve)
{
    return !sieve->timed && sieve->want == NULL;
}

/* Can nothing in the chunk match? */
bool sieve_refuses(const struct sieve *sieve, struct slsr_spool *spool, struct segment *seg,
                   const struct layout_index *index);
/* The same for a whole segment, which only a sealed one can say. */
bool sieve_refuses_segment(const struct sieve *sieve, struct segment *seg);

#endif
