/* Prefilter of a range. */
#include "spool/sieve.h"

static bool out_of_time(const struct sieve *sieve, int64_t oldest_ms, int64_t newest_ms,
                        uint32_t min_time_s, uint32_t max_time_s)
{
    if (!sieve->timed)
        return false;
    if (sieve->by_arrival)
        return newest_ms < sieve->since_ms || oldest_ms >= sieve->until_ms;
    return (int64_t)max_time_s * 1000 + 999 < sieve->since_ms ||
           (int64_t)min_time_s * 1000 >= sieve->until_ms;
}

bool sieve_refuses(const struct sieve *sieve, struct slsr_spool *spool, struct segment *seg,
                   const struct layout_index *index)
{
    struct stream_name name;

    if (sieve->want != NULL && stream_lookup(spool, seg, index->stream, &name, NULL) == 0 &&
        !sieve->want(sieve->want_ctx, &name.stream))
        return true;
    return out_of_time(sieve, index->arrival_ms, index->arrival_ms, index->min_time_s,
                       index->max_time_s);
}

bool sieve_refuses_segment(const struct sieve *sieve, struct segment *seg)
{
    struct layout_summary sum;

    return sieve->timed && !seg->active && segment_summary(seg, &sum) &&
           out_of_time(sieve, sum.oldest_ms, sum.newest_ms, sum.min_time_s, sum.max_time_s);
}
