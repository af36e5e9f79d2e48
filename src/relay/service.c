/* The clockwork of the main thread: one look each second.
 *
 * systemd hears WATCHDOG=1 only while every watched thread gets on, so that a relay that hangs is
 * ended (with a core) and started again; STATUS= is what `systemctl status` shows. Samples for the
 * curves are taken here, too. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/internal.h"

#include "base/clock.h"
#include "base/diag.h"

/* $WATCHDOG_USEC is ours when $WATCHDOG_PID is not another process (sd_watchdog_enabled(3)). */
static int64_t watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 1000;
}

void service_begin(struct relay *relay)
{
    relay->ping_ms = watchdog_ms() / 4;
    relay->next_sample_ms = relay->next_ping_ms = clock_mono_ms();
}

/* "3 of 4 targets up; 1,234 frames behind" */
static void say_status(struct relay *relay)
{
    struct slsr_status status;
    char text[200];
    uint64_t frames;
    uint64_t bytes;
    size_t up = 0;

    if (slsr_status_read(&status, relay->spool, NULL) == 0) {
        watch_behind(&status, &frames, &bytes);
        for (size_t i = 0; i < status.target_count; i++)
            up += status.targets[i].state.phase == SLSR_PHASE_UP ||
                  status.targets[i].state.phase == SLSR_PHASE_IDLE;
        snprintf(text, sizeof text,
                 "STATUS=%zu of %zu targets up, %" PRIu64 " frames in the spool, %" PRIu64
                 " not yet delivered%s",
                 up, status.target_count, status.stat.frames, frames,
                 status.stat.full ? "; the spool is full" : "");
        notify_systemd(text);
    }
    slsr_status_free(&status);
}

void service_tick(struct relay *relay)
{
    const int64_t now = clock_mono_ms();
    char why[160];

    if (relay->watch.history == NULL)
        return; /* the start failed half-way */
    if (now >= relay->next_sample_ms) {
        relay->next_sample_ms = now + HISTORY_STEP_MS;
        watch_sample(&relay->watch);
        if (getenv("NOTIFY_SOCKET") != NULL)
            say_status(relay);
    }
    if (watch_alive(why, sizeof why)) {
        if (relay->ping_ms > 0 && now >= relay->next_ping_ms) {
            relay->next_ping_ms = now + relay->ping_ms;
            notify_systemd("WATCHDOG=1");
        }
        relay->said_stuck = false;
    } else if (!relay->said_stuck) {
        relay->said_stuck = true;
        diag(SLSR_LOG_ERROR, "relay", "%s%s", why,
             relay->ping_ms > 0 ? "; the service manager will start the relay anew" : "");
    }
}
