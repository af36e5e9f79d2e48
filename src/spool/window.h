/* Chunks read past the page cache. Indoors of the spool.
 *
 * A page of the page cache that is used once costs more than the reading of it, so a reader that is
 * far behind takes whole chunks by direct I/O into two buffers of its own: it works in one while
 * the kernel fills the other. Also what the page cache has costs half as much this way as through
 * the mapping, so a reader of much asks for all of it. Only chunks that a transaction of LMDB shows
 * are read, and those never change (segment.c), so there is nothing to be stale. One window belongs
 * to one range and one thread. */
#ifndef SPOOL_WINDOW_H
#define SPOOL_WINDOW_H

#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lmdb.h>

#include "spool/internal.h"

enum { WINDOW_BYTES = 4 * 1024 * 1024 }; /* of each of the two buffers */

/* Who has read so much of a file is not looking something up: from then on the kernel reads ahead,
 * the end of which takes it 35 ms. A test may make it small before any range is open. */
extern size_t window_ahead_bytes;

struct window_half {
    unsigned char *bytes;
    uint64_t from, to;    /* of the file; multiples of a block */
    uint64_t first, last; /* sequences that its first and last chunk begin with; 0: empty */
    bool pending;         /* the kernel is reading */
    int64_t got;          /* bytes read, or -errno */
    struct iocb cb;
};

struct window { /* zeroed, fd -1: closed */
    int fd;
    bool off;                  /* this file cannot be read so: by the mapping until it is closed */
    const unsigned char *base; /* of LMDB's mapping */
    size_t map_bytes;
    unsigned char *memory;
    aio_context_t aio; /* 0: none (yet), then nothing is read ahead */
    bool no_aio;       /* and there will be none */
    struct window_half halves[2];
    unsigned at;   /* half that the last chunk came from */
    size_t reach;  /* read so much at once: grows, so that a short look stays cheap */
    uint64_t read; /* bytes so far without aio */
    unsigned warm;
};

/* Where `value`, which cursor stands on with `key`, can be read: in a buffer, good until the next
 * call; NULL: in the mapping, because it is in memory (unless `always`), or too large, or the file
 * cannot be read directly, or the disk refused. Reads ahead chunks that begin below `to`; 0: none.
 * The cursor may be moved. Only for values with pages of their own. */
const void *window_read(struct window *w, const struct slsr_spool *spool, const struct segment *seg,
                        MDB_cursor *cursor, MDB_val key, MDB_val value, bool always, uint64_t to);
/* No more of this file, for example after a disagreement with the mapping. */
void window_refuse(struct window *w);
void window_close(struct window *w); /* waits for what is under way */

#endif
