/* The send stage for one target: a blocking loop for a thread of its own. */
#ifndef SEND_SEND_H
#define SEND_SEND_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

/* Registers the target with the spool and delivers to it until stop fires: SLSR_ESTOPPED. Anything
 * else is a failure of class STOP (SLSR_ECONFIG, SLSR_ECORRUPT ...): said once, state stored. */
int send_run(const struct slsr_target_config *target, struct slsr_spool *spool,
             struct slsr_stop *stop, struct slsr_err *err);

#endif
