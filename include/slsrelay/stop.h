/* One token that many waits share: every wait in the product is on clock, stop or descriptor.
 * Any thread may request; request is async-signal-safe. Once requested it stays requested. */
#ifndef SLSRELAY_STOP_H
#define SLSRELAY_STOP_H

#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/err.h"

struct slsr_stop {
    int fd; /* eventfd; readable for ever once stop is requested. For poll() */
    _Atomic bool requested;
};

int slsr_stop_init(struct slsr_stop *stop, struct slsr_err *err);
void slsr_stop_fini(struct slsr_stop *stop);
void slsr_stop_request(struct slsr_stop *stop);
static inline bool slsr_stop_requested(const struct slsr_stop *stop)
{
    return stop != NULL && stop->requested;
}
/* Sleeps up to ms; true when stop was requested (at once or meanwhile). stop may be NULL. */
bool slsr_stop_wait(struct slsr_stop *stop, int64_t ms);

#endif
