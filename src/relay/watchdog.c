/* A thread of its own that judges all others: once a second it looks whether every watched thread
 * gets on (base/progress.h), the main thread among them.
 *
 * While they do, systemd hears WATCHDOG=1. As soon as one does not, it hears nothing more (and ends
 * the relay with a core and starts it anew) but STATUS= with that thread's name, which is one line
 * among the diagnostics, too. This thread itself touches neither spool nor network: what hangs the
 * others does not hang it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/metrics.h"
#include "relay/relay.h"

#include "base/clock.h"
#include "base/diag.h"

enum { LOOK_MS = 1000, PINGS_PER_TURN = 4, STUCK_PER_TURN = 2 };

struct watchdog {
    const struct watch *watch;
    int64_t ping_ms; /* 0: the service manager does not want to hear */
    struct slsr_stop stop;
    pthread_t thread;
};

/* $WATCHDOG_USEC is ours when $WATCHDOG_PID is not another process (sd_watchdog_enabled(3)). */
static int64_t turn_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 1000;
}

int64_t watchdog_stuck_ms(void)
{
    const int64_t half = turn_ms() / STUCK_PER_TURN;

    return half > 0 && half < STUCK_MS ? half : STUCK_MS;
}

static void *run(void *arg)
{
    struct watchdog *dog = arg;
    const int64_t look_ms = dog->ping_ms > 0 && dog->ping_ms < LOOK_MS ? dog->ping_ms : LOOK_MS;
    int64_t next_ms = clock_mono_ms();
    bool stuck = false;
    char why[WATCH_WHY];
    char status[WATCH_WHY + 16];

    do {
        const bool alive = watch_alive(dog->watch, why, sizeof why);
        const int64_t now = clock_mono_ms();

        if (alive && dog->ping_ms > 0 && now >= next_ms) {
            next_ms = now + dog->ping_ms;
            notify_systemd("WATCHDOG=1");
        }
        if (alive && stuck)
            diag(SLSR_LOG_NOTICE, "relay", "all threads get on again");
        if (!alive && !stuck) {
            snprintf(status, sizeof status, "STATUS=%s", why);
            notify_systemd(status);
            diag(SLSR_LOG_ERROR, "relay", "%s%s", why,
                 dog->ping_ms > 0 ? "; the service manager will start the relay anew" : "");
        }
        stuck = !alive;
        diag_settle();
    } while (!slsr_stop_wait(&dog->stop, look_ms));
    return NULL;
}

int watchdog_start(struct watchdog **out, const struct watch *watch, struct slsr_err *err)
{
    struct watchdog *dog = calloc(1, sizeof *dog);
    int rc = 0;

    *out = NULL;
    if (dog == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the watchdog");
    dog->watch = watch;
    dog->ping_ms = turn_ms() / PINGS_PER_TURN;
    rc = slsr_stop_init(&dog->stop, err);
    if (rc == 0 && pthread_create(&dog->thread, NULL, run, dog) != 0) {
        slsr_stop_fini(&dog->stop);
        rc = slsr_fail(err, SLSR_ENOMEM, "cannot start the watchdog's thread");
    }
    if (rc != 0) {
        free(dog);
        return rc;
    }
    pthread_setname_np(dog->thread, "watchdog");
    *out = dog;
    return 0;
}

void watchdog_stop(struct watchdog *dog)
{
    if (dog == NULL)
        return;
    slsr_stop_request(&dog->stop);
    pthread_join(dog->thread, NULL);
    slsr_stop_fini(&dog->stop);
    free(dog);
}
