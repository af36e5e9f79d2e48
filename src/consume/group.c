/* The group thread: makes the consumer group known, beats, starts and stops shard workers.
 *
 * A beat lists every shard on which a worker still runs, also one that is being given up: only when
 * its final checkpoint is stored may the server pass it on. On stop it goes on beating until all
 * workers are done. When no beat has succeeded for nearly the group's time-out, the workers are
 * fenced: they stop and report nothing, because the server may have given their shards away. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "consume/internal.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/diag.h"
#include "base/progress.h"

/* Early beats (a worker is done, an end was reported) keep this distance, or a service that gives
 * and takes the same shard would be asked without pause. */
enum { EARLY_BEAT_MS = 250, SLOW_PAUSE_MS = 5000 };

int64_t group_holds_ms(const struct consume *group)
{
    const int64_t timeout = group->o.source->heartbeat_timeout_ms;
    const int64_t margin = timeout / 10 > 1000 ? timeout / 10 : timeout / 4;

    return group->held_from_ms + timeout - margin - clock_boot_ms();
}

void group_hurry(struct consume *group)
{
    const uint64_t one = 1;

    group->hurry = true;
    if (write(group->wake, &one, sizeof one) < 0) {
        /* the group looks again at its next beat */
    }
}

static struct worker *find_worker(struct consume *g, uint32_t shard)
{
    for (size_t i = 0; i < g->worker_count; i++)
        if (g->workers[i]->shard == shard)
            return g->workers[i];
    return NULL;
}

static void start_worker(struct consume *g, uint32_t shard)
{
    struct worker *w = calloc(1, sizeof *w);
    struct worker **more;
    struct slsr_err err = {0};

    pthread_mutex_lock(&g->lock);
    more = realloc(g->workers, (g->worker_count + 1) * sizeof(struct worker *));
    if (more != NULL)
        g->workers = more;
    pthread_mutex_unlock(&g->lock);
    if (w == NULL || more == NULL || slsr_stop_init(&w->stop, &err) != 0) {
        free(w);
        return; /* the next beat tries again */
    }
    w->group = g;
    w->shard = shard;
    w->lag_s = -1;
    note_set(g, &w->note, "starting", NULL);
    pthread_mutex_lock(&g->lock);
    g->workers[g->worker_count++] = w;
    count_add(COUNT_REBALANCES, g->stream.logstore, "gained", 1);
    pthread_mutex_unlock(&g->lock);
    if (pthread_create(&w->thread, NULL, shard_run, w) == 0)
        return;
    diag(SLSR_LOG_ERROR, "consume", "%s/%s shard %u: cannot start a thread; will try again",
         g->stream.project, g->stream.logstore, shard);
    pthread_mutex_lock(&g->lock);
    g->worker_count--;
    pthread_mutex_unlock(&g->lock);
    slsr_stop_fini(&w->stop);
    free(w);
}

/* Joins the workers that have finished. */
static void reap(struct consume *g)
{
    size_t kept = 0;

    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->worker_count; i++) {
        struct worker *w = g->workers[i];

        if (!w->done) {
            g->workers[kept++] = w;
            continue;
        }
        count_add(COUNT_REBALANCES, g->stream.logstore, "lost", 1);
        pthread_join(w->thread, NULL); /* it has nothing left to do */
        slsr_stop_fini(&w->stop);
        free(w);
    }
    g->worker_count = kept;
    pthread_mutex_unlock(&g->lock);
}

static void stop_workers(struct consume *g, bool lost)
{
    for (size_t i = 0; i < g->worker_count; i++) {
        if (lost)
            g->workers[i]->lost = true;
        slsr_stop_request(&g->workers[i]->stop);
    }
}

static bool listed(const uint32_t *ids, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void apply(struct consume *g, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < g->worker_count; i++)
        if (!listed(ids, count, g->workers[i]->shard) &&
            !slsr_stop_requested(&g->workers[i]->stop)) {
            diag(SLSR_LOG_INFO, "consume", "%s/%s shard %u: goes to another consumer",
                 g->stream.project, g->stream.logstore, g->workers[i]->shard);
            slsr_stop_request(&g->workers[i]->stop);
        }
    if (slsr_stop_requested(g->o.stop))
        return;
    for (size_t i = 0; i < count; i++)
        if (find_worker(g, ids[i]) == NULL) /* one still stopping must end first */
            start_worker(g, ids[i]);
}

/* Which of our shards have an end. Its time limit is a heartbeat's: it must not delay the next. */
static void learn_readonly(struct consume *g, struct client *client)
{
    struct client_shard *shards = NULL;
    size_t count = 0;

    if (client_list_shards(client, g->o.logstore, &shards, &count, NULL) != 0)
        return; /* known at the next beat */
    for (size_t i = 0; i < count; i++) {
        struct worker *w = find_worker(g, shards[i].id);

        if (w != NULL && shards[i].readonly)
            w->readonly = true;
    }
    free(shards);
}

static int beat(struct consume *g, struct client *client, struct slsr_err *err)
{
    const int64_t sent = clock_mono_ms();
    const int64_t sent_boot = clock_boot_ms();
    const bool lapsed = group_holds_ms(g) <= 0;
    uint32_t *held = calloc(g->worker_count + 1, sizeof *held);
    uint32_t *ids = NULL;
    size_t count = 0;
    int rc;

    if (held == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a heartbeat");
    for (size_t i = 0; i < g->worker_count; i++)
        held[i] = g->workers[i]->shard;
    rc = client_heartbeat(client, g->o.logstore, g->o.source->consumer_group, g->o.consumer, held,
                          g->worker_count, &ids, &count, err);
    if (rc == 0) {
        if (lapsed) /* in between a shard may have been another's, who went on with it */
            stop_workers(g, true);
        g->last_beat_ms = sent;
        g->held_from_ms = sent_boot;
        apply(g, ids, count);
    } else if (slsr_err_class(rc) == SLSR_CLASS_LOST) {
        stop_workers(g, true); /* expired: drop everything, beat with [] once they are done */
    } else if (group_holds_ms(g) <= 0 && g->worker_count > 0) {
        diag(
            SLSR_LOG_WARNING, "consume",
            "%s/%s: no heartbeat went through for nearly the group's time-out: shards are given up",
            g->stream.project, g->stream.logstore);
        stop_workers(g, true);
    }
    free(ids);
    free(held);
    return rc;
}

/* One line when the state changes, none per retry. */
static void tell(struct consume *g, int rc, int *last, const struct slsr_err *err)
{
    if (rc == SLSR_ESTOPPED)
        return;
    g->failed += rc != 0;
    note_set(g, &g->note, consume_state(rc), rc != 0 ? err : NULL);
    if (rc == *last)
        return;
    if (rc != 0)
        diag(SLSR_LOG_ERROR, "consume", "%s/%s: %s%s", g->stream.project, g->stream.logstore,
             err->text, strstr(err->text, "again") != NULL ? "" : "; will try again");
    else if (*last != 1)
        diag(SLSR_LOG_NOTICE, "consume", "%s/%s: SLS answers again, after %u failure%s",
             g->stream.project, g->stream.logstore, g->failed, g->failed == 1 ? "" : "s");
    if (rc == 0)
        g->failed = 0;
    *last = rc;
}

static int64_t pause_ms(struct backoff *backoff, int rc)
{
    const int64_t ms = backoff_next_ms(backoff);

    /* full jitter on top of the floor: a thousand relays that met one quota must not meet again */
    return rc == SLSR_EAUTH || rc == SLSR_EQUOTA || rc == SLSR_ENOTFOUND ? SLOW_PAUSE_MS + ms : ms;
}

/* Until SLS knows our group. False when told to stop. */
static bool join_group(struct consume *g, struct client *client, int *last)
{
    struct backoff backoff;
    struct slsr_err err;

    backoff_init(&backoff, 500, 30000, 2);
    for (;;) {
        const int rc = client_ensure_group(client, g->o.logstore, g->o.source->consumer_group,
                                           (g->o.source->heartbeat_timeout_ms + 999) / 1000,
                                           g->o.source->in_order, &err);

        tell(g, rc, last, &err);
        if (rc == 0)
            return true;
        if (slsr_err_class(rc) == SLSR_CLASS_STOP && rc != SLSR_ECLIENT && rc != SLSR_ESTOPPED) {
            g->o.fatal(g->o.ctx, &err);
            return false;
        }
        if (slsr_stop_wait(g->o.stop, pause_ms(&backoff, rc)))
            return false;
    }
}

/* Waits for the next beat, a finished worker, or stop. */
static void wait_event(struct consume *g, int64_t until_ms)
{
    /* a token that has fired would fire for ever: then only the workers' end is news */
    const struct slsr_stop *next = !slsr_stop_requested(g->o.stop)    ? g->o.stop
                                   : !slsr_stop_requested(g->o.abort) ? g->o.abort
                                                                      : NULL;
    struct pollfd fds[] = {{.fd = g->wake, .events = POLLIN},
                           {.fd = next != NULL ? next->fd : -1, .events = POLLIN}};
    uint64_t drained;

    if (clock_poll(fds, 2, until_ms) > 0 && fds[0].revents != 0 &&
        read(g->wake, &drained, sizeof drained) < 0) {
        /* another read took it: no harm */
    }
}

/* Two clients: one whose calls end with abort only, for beats that go on while the workers leave;
 * one that ends with stop, for the rest. */
struct clients {
    struct client *beats;
    struct client *asker;
};

static bool open_clients(struct consume *g, struct clients *c)
{
    struct slsr_err err;

    if (g->o.open(&c->beats, g->o.source, g->o.consumer, g->o.abort, &err) == 0 &&
        g->o.open(&c->asker, g->o.source, g->o.consumer, g->o.stop, &err) == 0)
        return true;
    g->o.fatal(g->o.ctx, &err);
    return false;
}

/* One beat and what follows from it; the monotonic time of the next. */
static int64_t beat_and_plan(struct consume *g, struct clients *c, struct backoff *backoff,
                             int *last)
{
    const struct slsr_source_config *source = g->o.source;
    struct slsr_err err;
    const int rc = beat(g, c->beats, &err);

    tell(g, rc, last, &err);
    if (rc == 0) {
        backoff_reset(backoff);
        if (g->worker_count > 0)
            learn_readonly(g, c->asker);
        return g->last_beat_ms + source->heartbeat_interval_ms;
    }
    if (rc == SLSR_ENOTFOUND && /* somebody deleted the group: make it again */
        client_ensure_group(c->asker, g->o.logstore, source->consumer_group,
                            (source->heartbeat_timeout_ms + 999) / 1000, source->in_order,
                            NULL) == 0)
        diag(SLSR_LOG_WARNING, "consume",
             "%s/%s: consumer group %s was gone and is made anew; its checkpoints are gone, too: "
             "shards go on from this spool where it knows them",
             g->stream.project, g->stream.logstore, source->consumer_group);
    return clock_mono_ms() + backoff_next_ms(backoff);
}

static void run(struct consume *g, struct clients *c, int *last)
{
    struct backoff backoff;
    int64_t next = 0;

    backoff_init(&backoff, 250, g->o.source->heartbeat_interval_ms, 2);
    for (;;) {
        const size_t before = g->worker_count;
        int64_t early;

        reap(g);
        if (slsr_stop_requested(g->o.stop)) {
            stop_workers(g, slsr_stop_requested(g->o.abort));
            if (g->worker_count == 0)
                return;
        }
        if (before != g->worker_count || g->hurry) {
            g->hurry = false;
            early = g->last_beat_ms + EARLY_BEAT_MS;
            next = next < early ? next : early;
        }
        if (!slsr_stop_requested(g->o.abort) && clock_mono_ms() >= next)
            next = beat_and_plan(g, c, &backoff, last);
        wait_event(g, slsr_stop_requested(g->o.abort) ? INT64_MAX : next);
    }
}

void *group_run(void *arg)
{
    struct consume *g = arg;
    struct clients c = {NULL, NULL};
    int last = 1; /* neither good nor bad yet */
    char name[PROGRESS_NAME];

    snprintf(name, sizeof name, "group of %.40s", g->stream.logstore);
    progress_begin(name);
    if (open_clients(g, &c) && join_group(g, c.asker, &last)) {
        /* what asks between beats may hang no longer than a beat */
        client_limit_time(c.asker, client_heartbeat_limit_ms(g->o.source));
        run(g, &c, &last);
    }
    client_close(c.beats);
    client_close(c.asker);
    progress_end();
    note_set(g, &g->note, "left", NULL);
    return NULL;
}
