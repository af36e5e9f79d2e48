/* Lanes.
 *
 * Good path: a thread per server delivers the frames of its shards and passes over all others; the
 * ack position is that of the slowest lane. A shard belongs to one lane for ever, so its order is
 * kept; a lane whose server is down uses the next server meanwhile, like any target with several.
 * What can go wrong: one lane fails for good; then all end, and the first reason is returned. After
 * a restart lanes that were ahead send again from the common position. */
#include "send/lanes.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "send/servers.h"

struct lanes;

struct lane {
    struct lanes *all;
    int number;
    struct slsr_delivery delivery;
    struct slsr_target_config target; /* with this lane's part of the pace */
    struct slsr_target_state state;
    struct slsr_err err;
    int rc;
    bool started;
    pthread_t thread;
};

struct lanes {
    const struct slsr_delivery *d;
    pthread_mutex_t lock;
    struct slsr_stop halt; /* ends all lanes */
    struct slsr_stop over; /* one lane has ended */
    int count;
    struct lane *items;
};

/* FNV-1a of a stream's name: the same in every run. */
static uint32_t stream_hash(const struct slsr_stream *s)
{
    uint32_t h = 2166136261u;

    for (const char *p = s->project; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    for (const char *p = s->logstore; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    return h;
}

static bool mine(void *ctx, const struct slsr_frame *frame)
{
    const struct lane *lane = ctx;
    const struct slsr_delivery *d = lane->all->d;
    const struct slsr_span *span;

    /* Neighbouring shards go to different lanes. */
    if ((stream_hash(&frame->stream) + frame->stream.shard) % (uint32_t)lane->all->count !=
        (uint32_t)lane->number)
        return false;
    span = d->pass != NULL ? slsr_spans_find(d->pass, frame->seq) : NULL;
    if (span != NULL && span->from <= frame->seq)
        return false;
    return d->want == NULL || d->want(d->ctx, frame);
}

/* How bad a phase is: the worst one is shown. */
static int badness(enum slsr_target_phase phase)
{
    return phase == SLSR_PHASE_UP ? 0 : phase == SLSR_PHASE_STALLED ? 1 : 2;
}

static void merge(const struct lanes *all, struct slsr_target_state *out)
{
    *out = all->items[0].state;
    for (int i = 1; i < all->count; i++) {
        const struct slsr_target_state *s = &all->items[i].state;
        struct slsr_target_state sum = *out;

        if (badness(s->phase) > badness(out->phase))
            *out = *s;
        out->acked = s->acked < sum.acked ? s->acked : sum.acked;
        out->sent_frames = sum.sent_frames + s->sent_frames;
        out->resent_frames = sum.resent_frames + s->resent_frames;
        out->reconnects = sum.reconnects + s->reconnects;
        out->rate_frames_s = sum.rate_frames_s + s->rate_frames_s;
    }
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct lane *lane = ctx;
    struct lanes *all = lane->all;
    struct slsr_target_state merged;

    pthread_mutex_lock(&all->lock);
    lane->state = *state;
    merge(all, &merged);
    if (all->d->report != NULL)
        all->d->report(all->d->ctx, &merged);
    pthread_mutex_unlock(&all->lock);
}

static void *run(void *arg)
{
    struct lane *lane = arg;
    char name[PROGRESS_NAME];

    snprintf(name, sizeof name, "send %.40s lane %d", lane->state.name, lane->number + 1);
    progress_begin(name);
    lane->rc = slsr_deliver_run(&lane->delivery, &lane->err);
    progress_end();
    slsr_stop_request(&lane->all->over);
    return NULL;
}

/* This lane's part of a limit: all parts together are the limit. 0: none. */
static int64_t part(const struct lane *lane, int64_t limit)
{
    int64_t count = lane->all->count;
    int64_t share = limit / count + (lane->number < limit % count ? 1 : 0);

    return limit > 0 && share == 0 ? 1 : share;
}

/* A limit is the target's, however many servers share the work. */
static void divide_pace(struct lane *lane, const struct slsr_delivery *d)
{
    struct slsr_rate_config *rate = &lane->target.rate;

    lane->target = *d->target;
    rate->messages = part(lane, rate->messages);
    rate->bytes = part(lane, rate->bytes);
    rate->backlog_messages = part(lane, rate->backlog_messages);
    rate->backlog_bytes = part(lane, rate->backlog_bytes);
    lane->delivery.target = &lane->target;
    lane->delivery.rate_frames_s = part(lane, d->rate_frames_s);
}

/* Before any of them runs: the first report of one lane looks at the states of all. */
static void prepare(struct lanes *all, int number)
{
    const struct slsr_delivery *d = all->d;
    struct lane *lane = &all->items[number];

    lane->all = all;
    lane->number = number;
    lane->delivery = *d;
    divide_pace(lane, d);
    lane->delivery.want = mine;
    lane->delivery.report = report;
    lane->delivery.ctx = lane;
    lane->delivery.set_aside = NULL; /* the context is ours: the books it is */
    lane->delivery.pass = NULL;      /* `mine` sees to it */
    lane->delivery.first_server = number;
    lane->delivery.wake = &all->halt;
    lane->state.acked = d->from;
    strncat(lane->state.name, d->target->name, sizeof lane->state.name - 1);
    lane->state.phase = SLSR_PHASE_CONNECTING;
}

static void start(struct lane *lane)
{
    lane->started = pthread_create(&lane->thread, NULL, run, lane) == 0;
    if (!lane->started) {
        lane->rc = slsr_fail(&lane->err, SLSR_ENOMEM, "no thread for server %d", lane->number + 1);
        slsr_stop_request(&lane->all->over);
    }
}

/* Until a lane ends, or somebody wants all of them to. */
static void await(struct lanes *all)
{
    const struct slsr_delivery *d = all->d;
    struct pollfd fds[] = {{all->over.fd, POLLIN, 0},
                           {d->stop != NULL ? d->stop->fd : -1, POLLIN, 0},
                           {d->wake != NULL ? d->wake->fd : -1, POLLIN, 0}};

    progress_park(); /* the lanes are watched themselves */
    while (!slsr_stop_requested(&all->over) && !slsr_stop_requested(d->stop) &&
           !slsr_stop_requested(d->wake))
        poll(fds, 3, -1);
    progress_mark();
}

/* Waits for all; the first failure counts, to be stopped is none. */
static int finish(struct lanes *all, struct slsr_err *err)
{
    int rc = 0;

    slsr_stop_request(&all->halt);
    for (int i = 0; i < all->count; i++) {
        struct lane *lane = &all->items[i];

        if (lane->started)
            pthread_join(lane->thread, NULL);
        if (lane->rc == 0 || (rc != 0 && rc != SLSR_ESTOPPED))
            continue;
        rc = lane->rc;
        if (err != NULL)
            *err = lane->err;
    }
    return rc;
}

int lanes_run(const struct slsr_delivery *d, struct slsr_err *err)
{
    struct lanes all = {.d = d, .halt = {.fd = -1}, .over = {.fd = -1}};
    int rc = slsr_stop_init(&all.halt, err);

    if (rc == 0)
        rc = slsr_stop_init(&all.over, err);
    all.items = calloc((size_t)servers_count(d->target), sizeof *all.items);
    if (rc == 0 && all.items == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for %d servers", servers_count(d->target));
    if (rc == 0) {
        pthread_mutex_init(&all.lock, NULL);
        all.count = servers_count(d->target);
        for (int i = 0; i < all.count; i++)
            prepare(&all, i);
        for (int i = 0; i < all.count; i++)
            start(&all.items[i]);
        await(&all);
        rc = finish(&all, err);
        pthread_mutex_destroy(&all.lock);
    }
    free(all.items);
    slsr_stop_fini(&all.over);
    slsr_stop_fini(&all.halt);
    return rc;
}
