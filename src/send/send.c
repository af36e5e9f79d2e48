/* One target's send stage.
 *
 * Good path: register with the spool, take over what an operator ordered, deliver from the ack
 * position for ever; each report moves the ack position (I3). A new order ends the delivery and the
 * stage begins again from there: paused, elsewhere, or with other frames to pass over. What can go
 * wrong: the link, which deliver handles by itself; the disk, which is tried again with a back-off;
 * a setting that cannot work, which ends the stage and says so. */
#include "send/send.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/fault.h"
#include "base/progress.h"
#include "send/lanes.h"
#include "send/resend.h"
#include "slsrelay/control.h"
#include "slsrelay/deliver.h"

enum { DRAIN_MS = 5000, DISK_FIRST_MS = 500, DISK_MAX_MS = 30000 };

struct sums {
    uint64_t sent, resent, reconnects;
};

struct stage {
    struct slsr_spool *spool;
    struct slsr_target_state state; /* as last reported */
    struct sums before;             /* of deliveries that have ended: an order begins a new one */
    struct sums sums;               /* with the one under way: since the stage began */
    bool failing;                   /* the last ack was refused, and that was said */
    bool paused;                    /* so it is, and that was said */
};

/* Stores stage->state. */
static void store(struct stage *stage)
{
    struct slsr_target_state *state = &stage->state;
    struct slsr_err err;
    int rc;

    state->sent_frames = stage->sums.sent;
    state->resent_frames = stage->sums.resent;
    state->reconnects = stage->sums.reconnects;
    FAULT_DIE(SEND_ACK_BEFORE);
    rc = slsr_spool_ack(stage->spool, state, &err);
    FAULT_DIE(SEND_ACK_AFTER);
    if (rc != 0 && !stage->failing)
        diag(SLSR_LOG_ERROR, "send",
             "target %s: cannot store the ack position: %s; frames may be sent twice after a "
             "restart",
             state->name, err.text);
    stage->failing = rc != 0;
}

/* What a delivery reports; it counts from its own beginning. */
static void report(void *ctx, const struct slsr_target_state *state)
{
    struct stage *stage = ctx;

    stage->state = *state;
    stage->sums = (struct sums){stage->before.sent + state->sent_frames,
                                stage->before.resent + state->resent_frames,
                                stage->before.reconnects + state->reconnects};
    store(stage);
}

static void say(struct stage *stage, int rc, const struct slsr_err *err, char *last, size_t size)
{
    stage->state.phase = SLSR_PHASE_STOPPED;
    stage->state.phase_since_ms = stage->state.written_ms = clock_wall_ms();
    snprintf(stage->state.error, sizeof stage->state.error, "%.199s", err->text);
    store(stage);
    if (strcmp(last, err->text) == 0)
        return;
    snprintf(last, size, "%s", err->text);
    diag(SLSR_LOG_ERROR, "send", "target %s: %s%s", stage->state.name, err->text,
         slsr_err_class(rc) == SLSR_CLASS_RETRY ? "; trying again"
                                                : "; nothing is sent to it until that is mended");
}

/* Nothing goes out until another order, or stop. */
static void stay_paused(struct stage *stage, const struct slsr_control_state *order,
                        struct slsr_stop *stop, struct slsr_stop *wake)
{
    struct pollfd fds[] = {{wake->fd, POLLIN, 0}, {stop != NULL ? stop->fd : -1, POLLIN, 0}};

    stage->state.phase = SLSR_PHASE_PAUSED;
    stage->state.phase_since_ms = order->paused_ms;
    stage->state.next_retry_ms = 0;
    stage->state.rate_frames_s = 0;
    stage->state.written_ms = clock_wall_ms();
    snprintf(stage->state.error, sizeof stage->state.error, "paused by %.60s%s%.120s", order->who,
             order->reason[0] != '\0' ? ": " : "", order->reason);
    store(stage);
    if (!stage->paused)
        diag(SLSR_LOG_NOTICE, "send", "target %s: %s; its frames stay in the spool",
             stage->state.name, stage->state.error);
    stage->paused = true;
    progress_park(); /* for as long as the operator likes */
    while (!slsr_stop_requested(stop) && !slsr_stop_requested(wake))
        poll(fds, 2, -1);
    progress_mark();
}

/* From the orders that stand now to the next one, stop, or a failure. */
static int until_ordered(struct stage *stage, const struct slsr_target_config *target,
                         struct slsr_stop *stop, struct slsr_stop *wake, struct slsr_err *err)
{
    struct slsr_control control;
    struct resend *resend = NULL;
    struct slsr_delivery delivery = {.target = target,
                                     .spool = stage->spool,
                                     .to = UINT64_MAX,
                                     .report = report,
                                     .ctx = stage,
                                     .drain_ms = DRAIN_MS,
                                     .stop = stop,
                                     .wake = wake};
    int rc = slsr_spool_target_add(stage->spool, target->name, &stage->state, err);

    if (rc == 0)
        rc = slsr_control_take(stage->spool, target->name, &control, err);
    if (rc != 0)
        return rc;
    rc = slsr_spool_target_add(stage->spool, target->name, &stage->state, err);
    if (rc == 0 && control.state.paused) {
        stay_paused(stage, &control.state, stop, wake);
        rc = SLSR_ESTOPPED;
    } else if (rc == 0) {
        if (control.resend.count > 0)
            resend = resend_start(target, stage->spool, &control.resend);
        stage->paused = false;
        stage->before = stage->sums;
        delivery.from = stage->state.acked;
        delivery.pass = control.pass.count > 0 ? &control.pass : NULL;
        rc = target->balance == SLSR_BALANCE_SHARD && target->server_count > 0
                 ? lanes_run(&delivery, err)
                 : slsr_deliver_run(&delivery, err);
        resend_end(resend);
    }
    slsr_control_free(&control);
    return rc;
}

int send_run(const struct slsr_target_config *target, struct slsr_spool *spool,
             struct slsr_stop *stop, struct slsr_err *err)
{
    struct slsr_err own;
    struct stage stage = {.spool = spool};
    struct backoff backoff;
    char last[SLSR_ERR_TEXT] = "";
    int64_t wait = 0;
    int rc;

    if (err == NULL)
        err = &own;
    backoff_init(&backoff, DISK_FIRST_MS, DISK_MAX_MS, 2);
    do {
        struct slsr_stop wake;

        wait = 0;
        rc = slsr_stop_init(&wake, err);
        if (rc == 0) {
            slsr_control_attach(spool, target->name, &wake);
            rc = until_ordered(&stage, target, stop, &wake, err);
            slsr_control_detach(spool, &wake);
            slsr_stop_fini(&wake);
        }
        if (rc == SLSR_ESTOPPED)
            continue; /* by an order, or for good */
        say(&stage, rc, err, last, sizeof last);
        if (slsr_err_class(rc) != SLSR_CLASS_RETRY)
            return rc;
        wait = backoff_next_ms(&backoff);
    } while (!slsr_stop_requested(stop) && !slsr_stop_wait(stop, wait));
    return slsr_fail(err, SLSR_ESTOPPED, "target %s: stopped", target->name);
}
