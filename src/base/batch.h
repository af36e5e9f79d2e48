/* Room in a batch: the buffer doubles and is kept between pulls, so that the steady state allocates
 * nothing. init, reset and fini live in spool/batch.c. */
#ifndef BASE_BATCH_H
#define BASE_BATCH_H

#include <stdbool.h>
#include <stdlib.h>

#include "slsrelay/types.h"

/* Offsets in slsr_frame_meta are 32 bits wide. */
#define BATCH_DATA_MAX ((size_t)UINT32_MAX)
/* First size: one pull of a busy shard is a few MB, a quiet one a few KB. */
enum { BATCH_DATA_FIRST = 64 * 1024, BATCH_META_FIRST = 256 };

/* Makes room for `bytes` more in data and for one more meta. False: no memory, or the batch would
 * pass BATCH_DATA_MAX; the batch is as it was. */
static inline bool batch_reserve(struct slsr_batch *batch, size_t bytes)
{
    if (bytes > BATCH_DATA_MAX - batch->used)
        return false;
    if (batch->size - batch->used < bytes) {
        size_t need = batch->used + bytes;
        size_t size = batch->size < BATCH_DATA_FIRST ? BATCH_DATA_FIRST : batch->size;
        while (size < need)
            size *= 2;
        char *data = realloc(batch->data, size);
        if (data == NULL)
            return false;
        batch->data = data;
        batch->size = size;
    }
    if (batch->frame_count == batch->meta_size) {
        size_t size = batch->meta_size == 0 ? BATCH_META_FIRST : batch->meta_size * 2;
        struct slsr_frame_meta *meta = realloc(batch->meta, size * sizeof(*meta));
        if (meta == NULL)
            return false;
        batch->meta = meta;
        batch->meta_size = size;
    }
    return true;
}

#endif
