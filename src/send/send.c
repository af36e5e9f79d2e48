/* One target's send stage.
 *
 * Good path: register with the spool, deliver from its ack position for ever; each report moves the
 * ack position (I3). What can go wrong: the link, which deliver handles by itself; the disk, which
 * is tried again with a back-off; a setting that cannot work, which ends the stage and says so. */
#include "send/send.h"

#include <stdio.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/diag.h"
#include "slsrelay/deliver.h"

enum { DRAIN_MS = 5000, DISK_FIRST_MS = 500, DISK_MAX_MS = 30000 };

struct stage {
    struct slsr_spool *spool;
    struct slsr_target_state state; /* as last reported */
    bool failing;                   /* the last ack was refused, and that was said */
};

static void store(void *ctx, const struct slsr_target_state *state)
{
    struct stage *stage = ctx;
    struct slsr_err err;
    int rc = slsr_spool_ack(stage->spool, state, &err);

    stage->state = *state;
    if (rc != 0 && !stage->failing)
        diag(SLSR_LOG_ERROR, "send",
             "target %s: cannot store the ack position: %s; frames may be sent twice after a "
             "restart",
             state->name, err.text);
    stage->failing = rc != 0;
}

static void say(struct stage *stage, int rc, const struct slsr_err *err, char *last, size_t size)
{
    stage->state.phase = SLSR_PHASE_STOPPED;
    stage->state.phase_since_ms = stage->state.written_ms = clock_wall_ms();
    snprintf(stage->state.error, sizeof stage->state.error, "%.199s", err->text);
    store(stage, &stage->state);
    if (strcmp(last, err->text) == 0)
        return;
    snprintf(last, size, "%s", err->text);
    diag(SLSR_LOG_ERROR, "send", "target %s: %s%s", stage->state.name, err->text,
         slsr_err_class(rc) == SLSR_CLASS_RETRY ? "; trying again"
                                                : "; nothing is sent to it until that is mended");
}

int send_run(const struct slsr_target_config *target, struct slsr_spool *spool,
             struct slsr_stop *stop, struct slsr_err *err)
{
    struct slsr_err own;
    struct stage stage = {.spool = spool};
    struct backoff backoff;
    char last[SLSR_ERR_TEXT] = "";
    int rc;

    if (err == NULL)
        err = &own;
    backoff_init(&backoff, DISK_FIRST_MS, DISK_MAX_MS, 2);
    do {
        struct slsr_delivery delivery = {.target = target,
                                         .spool = spool,
                                         .to = UINT64_MAX,
                                         .report = store,
                                         .ctx = &stage,
                                         .drain_ms = DRAIN_MS,
                                         .stop = stop};

        rc = slsr_spool_target_add(spool, target->name, &stage.state, err);
        if (rc == 0) {
            delivery.from = stage.state.acked;
            rc = slsr_deliver_run(&delivery, err);
        }
        if (rc == SLSR_ESTOPPED)
            return rc;
        say(&stage, rc, err, last, sizeof last);
        if (slsr_err_class(rc) != SLSR_CLASS_RETRY)
            return rc;
    } while (!slsr_stop_wait(stop, backoff_next_ms(&backoff)));
    return slsr_fail(err, SLSR_ESTOPPED, "target %s: stopped", target->name);
}
