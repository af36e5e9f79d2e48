/* Which position a shard starts from, and when a position may be told to SLS (pure). */
#ifndef CONSUME_CHECKPOINT_H
#define CONSUME_CHECKPOINT_H

#include "slsrelay/types.h"

enum checkpoint_start {
    CHECKPOINT_LOCAL,     /* our spool's cursor: no gap, no duplicate */
    CHECKPOINT_SERVER,    /* somebody else has moved on, or put it back on purpose */
    CHECKPOINT_CONFIGURED /* neither exists: source.cursor_position */
};

/* local    our durable cursor for this shard, "" when none
 * reported the last position that we know SLS confirmed to us, "" when none
 * server   what SLS has stored now, "" when none
 *
 * Ours counts as long as the server's lies between what we last reported and what we have spooled:
 * then nobody else can have delivered more than we hold. See docs/architecture.md "After a kill".
 */
enum checkpoint_start checkpoint_choose(const char *local, const char *reported,
                                        const char *server);

#endif
