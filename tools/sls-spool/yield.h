/* `tail -f` gives way to a writer at full speed.
 *
 * A follower beside a relay that writes as fast as the disk goes reads from that disk what the page
 * cache has not kept, and takes as much of it as it is given: the relay would write a third slower
 * because somebody looks (docs/performance.md, "A writer with company"). So while frames come in
 * faster than YIELD_BUSY_BYTES a second, the follower reads YIELD_PACE_BYTES a second, and falls
 * behind; as soon as they come in slower it reads at full speed again.
 *
 * One thread, no allocation, no clock of its own: times are the caller's, monotonic ns. */
#ifndef SLS_SPOOL_YIELD_H
#define SLS_SPOOL_YIELD_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes a second. */
#define YIELD_BUSY_BYTES INT64_C(64000000)
#define YIELD_PACE_BYTES INT64_C(32000000)

struct yield {
    uint64_t at;            /* all below was read or passed over */
    uint64_t frames, bytes; /* read so far: how large a frame is */
    uint64_t taken;         /* bytes of this slice */
    int64_t slice_ns;       /* when the slice began */
    uint64_t seen;          /* the end of the spool at the last look, and when that was */
    int64_t seen_ns;
    bool busy;
};

/* The follower stands at `at`, the spool ends at `next`. */
void yield_begin(struct yield *yield, uint64_t at, uint64_t next, int64_t now_ns);
/* The frames [first, first + count) were read, `bytes` on the wire; those before `at` were counted
 * already (a search looks at a run again behind each hit). True: the slice is used up, so
 * look where the spool ends, tell it to yield_look, and wait as yield_wait says. */
bool yield_read(struct yield *yield, uint64_t first, uint64_t count, uint64_t bytes);
/* The spool ends at `next`. As often as one likes. */
void yield_look(struct yield *yield, uint64_t next, int64_t now_ns);
/* Begins a new slice: in how many ns. 0: no writer is in a hurry. */
int64_t yield_wait(struct yield *yield, int64_t now_ns);

#endif
