/* The stop token: an eventfd that becomes readable once and stays so. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "slsrelay/stop.h"

#include "base/clock.h"

int slsr_stop_init(struct slsr_stop *stop, struct slsr_err *err)
{
    stop->requested = false;
    stop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop->fd < 0)
        return slsr_fail_errno(err, SLSR_EIO, errno, "cannot make an event descriptor");
    return 0;
}

void slsr_stop_fini(struct slsr_stop *stop)
{
    if (stop->fd >= 0)
        close(stop->fd);
    stop->fd = -1;
}

void slsr_stop_request(struct slsr_stop *stop)
{
    const uint64_t one = 1;

    stop->requested = true;
    if (write(stop->fd, &one, sizeof one) < 0) {
        /* only possible when the counter is full: then it is readable anyway */
    }
}

bool slsr_stop_wait(struct slsr_stop *stop, int64_t ms)
{
    const int64_t until = clock_mono_ms() + ms;
    struct pollfd pfd = {.fd = stop != NULL ? stop->fd : -1, .events = POLLIN};

    while (!slsr_stop_requested(stop)) {
        if (clock_mono_ms() >= until)
            return false;
        clock_poll(&pfd, pfd.fd >= 0 ? 1 : 0, until);
    }
    return true;
}
