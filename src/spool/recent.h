/* The newest batches, kept in memory for readers that keep up. Indoors of the spool.
 *
 * What was just made durable is what a sender asks for next. So a batch's buffers are not given
 * back after the commit but stay here until every live reader that is near has passed them: such a
 * reader needs no transaction, no page of the file, no checksum and no key. At most RECENT_BYTES
 * are listed; a reader that is further behind reads the disk. Only what the disk has, and what has
 * not been deleted or set aside, is listed.
 *
 * The lock is taken last: nothing is locked under it. Batches count their users under it, too. */
#ifndef SPOOL_RECENT_H
#define SPOOL_RECENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/types.h"

enum { RECENT_BYTES = 32 * 1024 * 1024 };

struct recent_batch {
    struct recent_batch *next; /* newer one */
    unsigned users;            /* the list and readers that stand on it; 0: gone */
    size_t bytes;              /* of memory */
    uint64_t first;            /* sequence of its first frame */
    uint32_t stream;           /* id */
    int64_t arrival_ms;
    struct slsr_batch batch; /* owned; data and meta are blocks of base/warm.h */
};

/* A live reader; one thread uses it. Zeroed and joined. */
struct recent_reader {
    struct recent_reader *next;
    uint64_t seq;              /* reads from here on */
    struct recent_batch *held; /* that its views point into; NULL: none */
};

struct recent {
    pthread_mutex_t lock;
    struct recent_batch *oldest, *newest;
    size_t bytes; /* of those listed */
    struct recent_reader *readers;
    uint64_t end;         /* behind the newest frame on the disk */
    uint64_t frame_bytes; /* of one, on average */
};

void recent_init(struct recent *recent);
/* No reader is left. */
void recent_fini(struct recent *recent);

/* --- the writer --- */

/* Will anybody read soon what is put now? */
bool recent_wanted(struct recent *recent);
/* A batch that is on the disk and about to become visible, in the order of their sequences. True:
 * its data and meta are not the caller's any more, and may be gone already. */
bool recent_put(struct recent *recent, const struct slsr_batch *batch, uint64_t first,
                uint32_t stream, int64_t arrival_ms);
/* After each commit: where the spool ends now and the wire bytes in it since the beginning. */
void recent_end(struct recent *recent, uint64_t end, uint64_t total_bytes);

/* --- readers --- */

void recent_join(struct recent *recent, struct recent_reader *reader, uint64_t seq);
void recent_leave(struct recent *recent, struct recent_reader *reader);
/* Lets go of what the reader held and moves it to seq. The batch that seq lies in, held by the
 * reader until its next call; NULL: not here, ask the disk. */
const struct recent_batch *recent_find(struct recent *recent, struct recent_reader *reader,
                                       uint64_t seq);

/* --- what happens to the spool --- */

/* Frames below seq were deleted, UINT64_MAX: nobody shall find any. Held ones stay good. */
void recent_forget(struct recent *recent, uint64_t seq);

#endif
