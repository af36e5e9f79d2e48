/* Sends again what an operator ordered (requeue, release), beside the live cursor. Indoors of
 * send/.
 */
#ifndef SEND_RESEND_H
#define SEND_RESEND_H

#include "slsrelay/control.h"
#include "slsrelay/deliver.h"

struct resend; /* one thread and one connection of its own */

/* Starts on these spans, which it takes over (*spans is emptied). NULL: no thread; the order stays
 * in the spool and the next start tries again. */
struct resend *resend_start(const struct slsr_target_config *target, struct slsr_spool *spool,
                            struct slsr_spans *spans);
/* Ends it, waits for it. NULL is fine. What was not taken stays ordered. */
void resend_end(struct resend *resend);

#endif
