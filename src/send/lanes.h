/* Balance by shard: one delivery per server of the target, each with its share of the shards.
 * Indoors of send/. */
#ifndef SEND_LANES_H
#define SEND_LANES_H

#include "slsrelay/deliver.h"

/* Like slsr_deliver_run, over all servers at once. d->report is called by several threads, one at
 * a time; what it says is acked is taken by every lane. */
int lanes_run(const struct slsr_delivery *d, struct slsr_err *err);

#endif
