#include "yield.h"

/* Short enough that lines come smoothly, long enough that a writer's groups of 12 MB do not count
 * as its pace: it is measured over two slices at least. */
enum { SLICE_MS = 50, NS_PER_MS = 1000000 };

static const int64_t slice_ns = (int64_t)SLICE_MS * NS_PER_MS;
static const uint64_t slice_bytes = YIELD_PACE_BYTES / 1000 * SLICE_MS;

void yield_begin(struct yield *yield, uint64_t at, uint64_t next, int64_t now_ns)
{
    *yield = (struct yield){.at = at, .slice_ns = now_ns, .seen = next, .seen_ns = now_ns};
}

bool yield_read(struct yield *yield, uint64_t first, uint64_t count, uint64_t bytes)
{
    const uint64_t end = first + count;

    if (end > yield->at) {
        const uint64_t fresh = first < yield->at ? end - yield->at : count;
        const uint64_t part = fresh == count ? bytes : bytes / count * fresh;

        yield->at = end;
        yield->frames += fresh;
        yield->bytes += part;
        yield->taken += part;
    }
    return yield->taken >= slice_bytes;
}

void yield_look(struct yield *yield, uint64_t next, int64_t now_ns)
{
    const int64_t since_ns = now_ns - yield->seen_ns;

    if (since_ns < 2 * slice_ns || yield->frames == 0) /* 0: nobody knows how large a frame is */
        return;
    /* in doubles: frames times bytes may pass 64 bits */
    const double came = next > yield->seen ? (double)(next - yield->seen) : 0;
    const double size = (double)yield->bytes / (double)yield->frames;
    yield->busy = came * size * 1e9 > (double)YIELD_BUSY_BYTES * (double)since_ns;
    yield->seen = next;
    yield->seen_ns = now_ns;
}

int64_t yield_wait(struct yield *yield, int64_t now_ns)
{
    int64_t wait_ns = yield->slice_ns + slice_ns - now_ns;

    if (!yield->busy || wait_ns < 0)
        wait_ns = 0;
    yield->taken = 0;
    yield->slice_ns = now_ns + wait_ns;
    return wait_ns;
}
