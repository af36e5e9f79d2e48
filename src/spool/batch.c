/* A batch: frames and their descriptions in two growing arrays that live as long as their shard. */
#include <stdlib.h>

#include "slsrelay/spool.h"

void slsr_batch_init(struct slsr_batch *batch)
{
    memset(batch, 0, sizeof *batch);
}

void slsr_batch_fini(struct slsr_batch *batch)
{
    free(batch->data);
    free(batch->meta);
    memset(batch, 0, sizeof *batch);
}

void slsr_batch_reset(struct slsr_batch *batch)
{
    batch->used = 0;
    batch->frame_count = 0;
    batch->cursor[0] = '\0';
    batch->dead_count = 0;
    batch->dropped_count = 0;
}
