/* The orders to send again, of one target.
 *
 * Good path: one delivery from the first ordered frame to the last, passing over what lies between;
 * each report strikes off what the target has taken. What can go wrong: the link, which deliver
 * handles; the disk, after which the order stands as it was and frames may come twice; a frame that
 * retention has taken meanwhile, which is passed. Live delivery goes on all the while. */
#include "send/resend.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/progress.h"

enum { STRIKE_MS = 500, DRAIN_MS = 2000, DISK_MS = 5000 };

struct resend {
    const struct slsr_target_config *target;
    struct slsr_spool *spool;
    struct slsr_spans spans, between;
    struct slsr_stop stop;
    uint64_t struck; /* everything below is off the order */
    size_t at;       /* first of the spans that reaches beyond it */
    uint64_t taken;  /* as last reported */
    int64_t struck_ms;
    pthread_t thread;
};

/* Only what was sent: what lies between may have been ordered meanwhile. */
static void strike(struct resend *r, uint64_t taken)
{
    struct slsr_spans sent = {0};
    struct slsr_err err;
    size_t at = r->at;
    int rc = 0;

    if (taken <= r->struck)
        return;
    for (; rc == 0 && at < r->spans.count && r->spans.items[at].from < taken; at++) {
        const struct slsr_span *span = &r->spans.items[at];

        if (!slsr_spans_add(&sent, span->from > r->struck ? span->from : r->struck,
                            span->to < taken ? span->to : taken))
            rc = slsr_fail(&err, SLSR_ENOMEM, "no memory to strike off what was sent");
        if (span->to > taken)
            break;
    }
    if (rc == 0)
        rc = slsr_control_resent(r->spool, r->target->name, &sent, &err);
    slsr_spans_free(&sent);
    if (rc == 0) {
        r->struck = taken;
        r->at = at;
    } else {
        diag(SLSR_LOG_WARNING, "send",
             "target %s: %s; frames that were sent again may be sent once more", r->target->name,
             err.text);
    }
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct resend *r = ctx;
    const int64_t now = clock_mono_ms();

    r->taken = state->acked;
    if (now - r->struck_ms < STRIKE_MS)
        return;
    r->struck_ms = now;
    strike(r, state->acked);
}

static void *run(void *arg)
{
    struct resend *r = arg;
    const uint64_t to = r->spans.items[r->spans.count - 1].to;
    struct slsr_delivery delivery = {.target = r->target,
                                     .spool = r->spool,
                                     .from = r->struck,
                                     .to = to,
                                     .report = report,
                                     .ctx = r,
                                     .drain_ms = DRAIN_MS,
                                     .stop = &r->stop,
                                     .pass = &r->between};
    const unsigned long long frames = slsr_spans_frames(&r->spans);
    struct slsr_err err;
    char name[PROGRESS_NAME];
    int rc;

    snprintf(name, sizeof name, "resend %.40s", r->target->name);
    progress_begin(name);
    diag(SLSR_LOG_NOTICE, "send", "target %s: sends %llu frames again, as ordered", r->target->name,
         frames);
    do {
        delivery.from = r->struck;
        rc = slsr_deliver_run(&delivery, &err);
        strike(r, rc == 0 ? to : r->taken);
    } while (rc != 0 && slsr_err_class(rc) == SLSR_CLASS_RETRY &&
             !slsr_stop_wait(&r->stop, DISK_MS));
    if (rc == 0)
        diag(SLSR_LOG_NOTICE, "send",
             "target %s: has taken all %llu frames that were ordered again", r->target->name,
             frames);
    else if (rc != SLSR_ESTOPPED)
        diag(SLSR_LOG_ERROR, "send", "target %s: sending again failed: %s; the order stands",
             r->target->name, err.text);
    progress_end();
    return NULL;
}

struct resend *resend_start(const struct slsr_target_config *target, struct slsr_spool *spool,
                            struct slsr_spans *spans)
{
    struct resend *r = calloc(1, sizeof *r);
    bool ok = r != NULL && spans->count > 0;

    for (size_t i = 1; ok && i < spans->count; i++)
        ok = slsr_spans_add(&r->between, spans->items[i - 1].to, spans->items[i].from);
    ok = ok && slsr_stop_init(&r->stop, NULL) == 0;
    if (ok) {
        r->target = target;
        r->spool = spool;
        r->spans = *spans;
        r->struck = r->taken = spans->items[0].from;
        if (pthread_create(&r->thread, NULL, run, r) == 0) {
            *spans = (struct slsr_spans){0};
            return r;
        }
        slsr_stop_fini(&r->stop);
    }
    if (r != NULL)
        slsr_spans_free(&r->between);
    free(r);
    diag(SLSR_LOG_ERROR, "send", "target %s: no memory to send frames again; the order stands",
         target->name);
    return NULL;
}

void resend_end(struct resend *r)
{
    if (r == NULL)
        return;
    slsr_stop_request(&r->stop);
    pthread_join(r->thread, NULL);
    slsr_stop_fini(&r->stop);
    slsr_spans_free(&r->spans);
    slsr_spans_free(&r->between);
    free(r);
}
