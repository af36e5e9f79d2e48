/* Range -> transport -> taken (I3): the loop that send and replay share.
 *
 * Good path: feed() offers the next frames whenever the transport is ready, transport_turn() writes
 * and gathers evidence, tell() reports the settled position. The loop waits in one poll() for the
 * sockets, news of the spool, stop, and the next due time.
 * What can go wrong: a break; then the range goes back to the settled position and the transport is
 * started again after a back-off with full jitter, for ever unless give_up_ms says otherwise. A
 * damaged chunk is said once and passed. On stop nothing new is taken, and what was sent has
 * drain_ms to be proven; the rest stays in the spool for the next start. */
#include "slsrelay/deliver.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/diag.h"
#include "base/progress.h"
#include "send/feed.h"
#include "send/poison.h"
#include "send/rate.h"
#include "send/servers.h"
#include "slsrelay/ledger.h"
#include "transport/transport.h"

enum {
    REPORT_MS = 1000,
    IDLE_REPORT_MS = 30000,
    NO_NEWS_MS = 500, /* a reading tool hears no news of the spool: look by the clock */
    HEALTH_MS = 60000,
    DRAIN_MS = 5000,
    NEXT_SERVER_MS = 50,
    /* Connections in a row that took nothing, then the next server is asked; fewer than
     * POISON_BREAKS: before a frame is suspected. */
    FRUITLESS_MAX = 2,
    SEARCH_MAX_MS = 2000 /* between two steps of the search for a poison frame */
};

struct run {
    const struct slsr_delivery *d;
    struct transport *t;
    struct feed feed;
    struct backoff backoff;
    struct poison poison;
    struct servers servers;
    int news; /* -1: none */
    struct slsr_target_state state;
    enum slsr_target_phase told_phase;
    uint64_t told_acked;
    int64_t told_ms;
    struct transport_counts counted; /* in the metrics already */
    uint64_t dead;                   /* frames set aside */
    int64_t retry_ms;                /* monotonic; while down */
    int64_t up_ms;                   /* since when up; 0: down */
    int64_t down_ms;   /* since when nothing gets through, over attempts; 0: it does */
    uint64_t up_acked; /* settled when the connection came up */
    int fruitless;     /* connections in a row that broke and had taken nothing */
    int64_t stop_ms;   /* end of the drain; 0: stop has not fired */
    struct rate rate;
    const char *alarm;    /* told */
    char last_error[200]; /* said as a diagnostic */
    unsigned failed;      /* attempts since the last connection */
};

static bool trying(enum slsr_target_phase phase)
{
    return phase == SLSR_PHASE_CONNECTING || phase == SLSR_PHASE_BACKOFF;
}

/* An outage is one, however often it is tried: its beginning stays. */
static void set_phase(struct run *r, enum slsr_target_phase phase)
{
    if (r->state.phase == phase)
        return;
    if (!trying(phase) || !trying(r->state.phase))
        r->state.phase_since_ms = clock_wall_ms();
    r->state.phase = phase;
}

static void set_error(struct run *r, const char *text)
{
    snprintf(r->state.error, sizeof r->state.error, "%.199s", text);
}

/* Why nothing gets through, and since when: one cause lasts over many attempts. "" clears. */
static void set_cause(struct run *r, const char *cause)
{
    if (strcmp(r->state.cause, cause) == 0)
        return;
    snprintf(r->state.cause, sizeof r->state.cause, "%s", cause);
    r->state.cause_since_ms = cause[0] != '\0' ? clock_wall_ms() : 0;
}

/* What the last report did not know yet goes to the metrics: once a report, not per frame. */
static void count(struct run *r)
{
    const char *name = r->state.name;
    int64_t first;

    if (r->state.sent_frames > r->counted.sent_frames)
        count_add(COUNT_TARGET_SENT_FRAMES, name, NULL,
                  r->state.sent_frames - r->counted.sent_frames);
    if (r->state.resent_frames > r->counted.resent_frames)
        count_add(COUNT_TARGET_RESENT_FRAMES, name, NULL,
                  r->state.resent_frames - r->counted.resent_frames);
    r->counted.sent_frames = r->state.sent_frames;
    r->counted.resent_frames = r->state.resent_frames;
    transport_expiry(r->t, &r->state.cert_expires_ms, &r->state.peer_cert_expires_ms);
    first = r->state.cert_expires_ms;
    if (first == 0 || (r->state.peer_cert_expires_ms != 0 && r->state.peer_cert_expires_ms < first))
        first = r->state.peer_cert_expires_ms;
    if (first != 0)
        count_set(COUNT_TARGET_CERT_EXPIRY_SECONDS, name, NULL, (double)first / 1000);
}

static void tell(struct run *r, int64_t now_ms, bool force)
{
    struct transport_counts counts = transport_counts(r->t);
    bool working = r->state.acked < feed_end(&r->feed) || r->state.phase != SLSR_PHASE_UP;
    bool changed = r->state.phase != r->told_phase || r->state.acked != r->told_acked;

    r->state.sent_frames = counts.sent_frames;
    r->state.resent_frames = counts.resent_frames;
    rate_look(&r->rate, r->state.acked, now_ms);
    r->state.rate_frames_s = r->rate.frames_s;
    if (!force && !changed && now_ms - r->told_ms < (working ? REPORT_MS : IDLE_REPORT_MS))
        return;
    count(r);
    r->state.written_ms = clock_wall_ms();
    r->told_ms = now_ms;
    r->told_phase = r->state.phase;
    r->told_acked = r->state.acked;
    if (r->d->report != NULL)
        r->d->report(r->d->ctx, &r->state);
}

/* What is there now is backlog, what comes from now on is live. */
static void mark_backlog(struct run *r)
{
    uint64_t oldest, next;

    if (slsr_spool_bounds(r->d->spool, &oldest, &next, NULL) == 0)
        r->feed.backlog_end = next;
}

/* Settled progress is the only good sign that resets patience and back-off, besides long health. */
static void look(struct run *r, int64_t now_ms)
{
    enum slsr_target_phase phase = transport_phase(r->t);
    const char *alarm = transport_alarm(r->t);
    char tries[40] = "";

    r->state.acked = transport_settled(r->t);
    if (phase == SLSR_PHASE_UP || phase == SLSR_PHASE_STALLED) {
        if (r->up_ms == 0) {
            r->up_ms = now_ms;
            r->up_acked = r->state.acked;
            mark_backlog(r);
            poison_up(&r->poison, now_ms, r->d->target->settle_ms);
            r->state.next_retry_ms = 0;
            if (alarm == NULL)
                set_error(r, "");
            if (r->failed > 1)
                snprintf(tries, sizeof tries, " after %u attempts", r->failed);
            r->failed = 0;
            diag(SLSR_LOG_INFO, "send", "target %s: connected to %s port %d%s", r->state.name,
                 servers_now(&r->servers)->host, servers_now(&r->servers)->port, tries);
        }
        if (r->state.acked > r->up_acked || now_ms - r->up_ms >= HEALTH_MS) {
            backoff_reset(&r->backoff);
            r->last_error[0] = '\0';
        }
        /* To connect is nothing yet: right then nothing was offered and all of it is settled. */
        if (r->state.acked > r->up_acked ||
            (feed_idle(&r->feed) && r->state.acked >= feed_end(&r->feed))) {
            r->down_ms = 0;
            set_cause(r, phase == SLSR_PHASE_STALLED ? "slow" : "");
        }
        if (phase == SLSR_PHASE_STALLED)
            set_cause(r, "slow");
    }
    if (alarm != r->alarm) {
        r->alarm = alarm;
        set_error(r, alarm != NULL ? alarm : "");
        if (alarm != NULL)
            diag(SLSR_LOG_WARNING, "send", "target %s: %s", r->state.name, alarm);
    }
    if (phase != SLSR_PHASE_IDLE)
        set_phase(r, phase);
}

/* One frame is set aside for this target, for good and shown as such (I5); the rest goes on. */
static int set_aside(struct run *r, uint64_t seq, const char *reason, const char *evidence,
                     struct slsr_err *err)
{
    int rc = r->d->set_aside != NULL
                 ? r->d->set_aside(r->d->ctx, seq, reason, evidence, err)
                 : slsr_spool_dead_add(r->d->spool, r->state.name, seq, reason, evidence, err);

    if (rc != 0)
        return rc;
    count_add(COUNT_FRAMES_DEAD, reason, NULL, 1);
    r->dead++;
    /* The first one, then at powers of two: said, but no storm. */
    if ((r->dead & (r->dead - 1)) == 0)
        diag(
            SLSR_LOG_WARNING, "send",
            "target %s: frame %llu is set aside (%llu so far): %s; see sls-spool list --state dead",
            r->state.name, (unsigned long long)seq, (unsigned long long)r->dead, evidence);
    return 0;
}

/* Frames that the transport can never carry. */
static int set_too_long_aside(struct run *r, struct slsr_err *err)
{
    struct transport_dead dead;
    char evidence[160];

    while (transport_take_dead(r->t, &dead)) {
        int rc;

        snprintf(evidence, sizeof evidence, "%zu bytes do not fit into a datagram", dead.bytes);
        rc = set_aside(r, dead.seq, "too_long", evidence, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Did the receiver itself end it, as opposed to the path? */
static bool by_peer(const char *cause)
{
    return strcmp(cause, "closed") == 0 || strcmp(cause, "reset") == 0 ||
           strcmp(cause, "tls") == 0 || strcmp(cause, "rejected") == 0;
}

static int look_for_poison(struct run *r, const struct slsr_err *why, struct slsr_err *err)
{
    struct poison *p = &r->poison;
    bool was_on = p->on;
    char evidence[240];
    int rc;

    if (poison_broken(p, transport_settled(r->t), feed_end(&r->feed),
                      by_peer(transport_cause(r->t)))) {
        snprintf(evidence, sizeof evidence, "sent alone, it ended the connection %d times: %.180s",
                 POISON_ALONE, why->text);
        rc = set_aside(r, p->low, "poison", evidence, err);
        if (rc != 0)
            return rc;
        transport_pass(r->t, p->low + 1);
        poison_passed(p);
        backoff_reset(&r->backoff);
    }
    if (p->on && !was_on)
        diag(SLSR_LOG_WARNING, "send",
             "target %s: the receiver ended %d connections at frame %llu: looking for the frame "
             "that it does not take",
             r->state.name, POISON_BREAKS, (unsigned long long)p->low);
    return 0;
}

static void tell_server(struct run *r)
{
    const struct slsr_target_config *at = servers_now(&r->servers);

    snprintf(r->state.server, sizeof r->state.server, "%.120s:%d", at->host, at->port);
}

/* A transport to the server that is the present one now, from the settled position. */
static int change_server(struct run *r, int64_t now_ms, struct slsr_err *err)
{
    struct transport *t;
    int rc = transport_open(&t, servers_now(&r->servers), transport_settled(r->t), err);

    if (rc != 0)
        return rc;
    transport_inherit(t, r->t);
    transport_close(r->t);
    r->t = t;
    r->up_ms = 0;
    r->retry_ms = now_ms;
    feed_seek(&r->feed, transport_settled(t));
    tell_server(r);
    diag(SLSR_LOG_NOTICE, "send", "target %s: goes to %s", r->state.name, r->state.server);
    return 0;
}

/* Tries the first server while another one is used, and goes back to it when all is settled. */
static int mind_servers(struct run *r, int64_t now_ms, struct slsr_err *err)
{
    servers_turn(&r->servers, now_ms);
    if (!r->servers.back)
        return 0;
    if (r->feed.limit > feed_end(&r->feed))
        r->feed.limit = feed_end(&r->feed);
    if (transport_settled(r->t) < feed_end(&r->feed))
        return 0;
    servers_go_back(&r->servers);
    r->feed.limit = UINT64_MAX;
    return change_server(r, now_ms, err);
}

/* Was this connection worth nothing, although there was something to send? Who ends each one at
 * once is no better than who refuses it. */
static bool was_fruitless(const struct run *r)
{
    uint64_t settled = transport_settled(r->t);

    return settled == r->up_acked && !(feed_idle(&r->feed) && feed_end(&r->feed) <= settled);
}

/* True when another server is the one to try now. */
static bool leave_server(struct run *r, int64_t now_ms)
{
    bool again = r->up_ms != 0;

    if (again)
        r->fruitless = was_fruitless(r) ? r->fruitless + 1 : 0;
    if (r->fruitless >= FRUITLESS_MAX && !r->poison.on)
        again = false;
    if (!servers_failed(&r->servers, again, now_ms))
        return false;
    r->fruitless = 0;
    return true;
}

/* One line per cause, not one per attempt. */
static void say_down(struct run *r)
{
    if (strcmp(r->last_error, r->state.error) == 0)
        return;
    snprintf(r->last_error, sizeof r->last_error, "%s", r->state.error);
    diag(SLSR_LOG_WARNING, "send",
         "target %s: %s; frames stay in the spool and the relay keeps trying", r->state.name,
         r->state.error);
}

/* The pause within the search, at most. A break of a connection that stood is a step of it, and the
 * number of steps is known: no reason to grow more patient with each. */
static int64_t search_wait_ms(const struct run *r)
{
    int64_t initial = r->d->target->retry_initial_ms;

    return r->up_ms != 0 && initial < SEARCH_MAX_MS ? initial : SEARCH_MAX_MS;
}

static int went_down(struct run *r, int64_t now_ms, const struct slsr_err *why,
                     struct slsr_err *err)
{
    const char *cause = transport_cause(r->t); /* static text: it outlives the transport */
    int64_t wait = backoff_next_ms(&r->backoff);
    int rc = look_for_poison(r, why, err);

    if (rc != 0)
        return rc;
    if (r->up_ms != 0)
        r->state.reconnects++;
    if (leave_server(r, now_ms)) {
        rc = change_server(r, now_ms, err);
        if (rc != 0)
            return rc;
        if (r->servers.now != 0)
            wait = NEXT_SERVER_MS; /* the pause comes when all have been tried */
    }
    if (r->poison.on && wait > search_wait_ms(r))
        wait = search_wait_ms(r);
    r->failed++;
    set_cause(r, cause);
    count_add(COUNT_TARGET_RECONNECTS, r->state.name, cause, 1);
    r->up_ms = 0;
    if (r->down_ms == 0)
        r->down_ms = now_ms;
    r->state.acked = transport_settled(r->t);
    feed_seek(&r->feed, r->state.acked);
    r->retry_ms = now_ms + wait;
    r->state.next_retry_ms = clock_wall_ms() + wait;
    set_error(r, why->text);
    set_phase(r, SLSR_PHASE_BACKOFF);
    say_down(r);
    return 0;
}

/* One step of connecting and sending. Errors of the link are handled here; others end the run. */
static int step(struct run *r, int64_t now_ms, struct slsr_err *err)
{
    struct slsr_err why = {0, ""};
    int rc;

    r->feed.limit = poison_limit(&r->poison, now_ms);
    rc = mind_servers(r, now_ms, err); /* in a pause, too */
    if (rc != 0)
        return rc;
    if (transport_phase(r->t) == SLSR_PHASE_IDLE) {
        if (now_ms < r->retry_ms)
            return 0;
        set_phase(r, SLSR_PHASE_CONNECTING);
        rc = transport_start(r->t, now_ms, &why);
    }
    if (rc == 0 && r->stop_ms == 0) {
        rc = feed_step(&r->feed, r->t, now_ms, err);
        if (rc != 0)
            return rc;
    }
    if (rc == 0) {
        transport_careful(r->t, r->poison.on);
        transport_flush(r->t, r->stop_ms != 0 || feed_complete(&r->feed) || feed_held(&r->feed));
        now_ms = clock_mono_ms(); /* reading the spool takes time, evidence must not look older */
        rc = transport_turn(r->t, now_ms, &why);
        if (set_too_long_aside(r, err) != 0)
            return err->code;
        poison_settled(&r->poison, transport_settled(r->t));
        poison_proven(&r->poison, transport_proven(r->t));
    }
    return rc != 0 ? went_down(r, now_ms, &why, err) : 0;
}

static int ended(struct run *r, int64_t now_ms, struct slsr_err *err)
{
    const struct slsr_delivery *d = r->d;

    if (feed_complete(&r->feed) && r->state.acked >= feed_end(&r->feed))
        return 1;
    if (r->stop_ms == 0 && (slsr_stop_requested(d->stop) || slsr_stop_requested(d->wake)))
        r->stop_ms = now_ms + (d->drain_ms > 0 ? d->drain_ms : DRAIN_MS);
    if (r->stop_ms != 0 &&
        (now_ms >= r->stop_ms || r->up_ms == 0 || r->state.acked >= feed_end(&r->feed)))
        return slsr_fail(err, SLSR_ESTOPPED, "target %s: stopped at frame %llu", r->state.name,
                         (unsigned long long)r->state.acked);
    if (d->give_up_ms > 0 && r->up_ms == 0 && r->down_ms != 0 &&
        now_ms - r->down_ms >= d->give_up_ms)
        return slsr_fail(err, SLSR_ENET, "target %s: not reachable for %lld ms, gave up: %s",
                         r->state.name, (long long)d->give_up_ms, r->state.error);
    return 0;
}

static void sooner(int64_t *wait, int64_t ms)
{
    if (ms >= 0 && ms < *wait)
        *wait = ms;
}

static void await(struct run *r, int64_t now_ms)
{
    struct pollfd fds[2 * TRANSPORT_POLL_MAX + 3];
    int n = transport_poll(r->t, fds);
    int news = -1;
    int64_t wait = REPORT_MS;
    bool can_feed = r->stop_ms == 0 && !feed_complete(&r->feed) && !feed_held(&r->feed) &&
                    transport_ready(r->t);
    uint64_t eight;

    n += servers_poll(&r->servers, fds + n);
    sooner(&wait, servers_due_ms(&r->servers, now_ms));
    if (can_feed && !feed_idle(&r->feed))
        sooner(&wait, feed_due_ms(&r->feed, now_ms));
    if (can_feed && feed_idle(&r->feed)) {
        sooner(&wait, r->d->to != UINT64_MAX || r->news < 0 ? NO_NEWS_MS : -1);
        if (r->news >= 0) {
            news = n;
            fds[n++] = (struct pollfd){r->news, POLLIN, 0};
        }
    }
    if (r->d->stop != NULL && r->stop_ms == 0)
        fds[n++] = (struct pollfd){r->d->stop->fd, POLLIN, 0};
    if (r->d->wake != NULL && r->stop_ms == 0)
        fds[n++] = (struct pollfd){r->d->wake->fd, POLLIN, 0};
    if (transport_phase(r->t) == SLSR_PHASE_IDLE)
        sooner(&wait, r->retry_ms > now_ms ? r->retry_ms - now_ms : 0);
    else
        sooner(&wait, transport_due_ms(r->t, now_ms));
    sooner(&wait, poison_due_ms(&r->poison, now_ms));
    if (r->stop_ms != 0)
        sooner(&wait, r->stop_ms > now_ms ? r->stop_ms - now_ms : 0);
    if (r->d->give_up_ms > 0 && r->down_ms != 0 && r->up_ms == 0)
        sooner(&wait,
               r->down_ms + r->d->give_up_ms > now_ms ? r->down_ms + r->d->give_up_ms - now_ms : 0);
    if (wait == 0 && can_feed && !feed_idle(&r->feed))
        return; /* more to write at once: no need to ask */
    progress_wait(now_ms + wait);
    if (poll(fds, (nfds_t)n, (int)wait) <= 0) {
        feed_wake(&r->feed);
        return;
    }
    if (news >= 0 && fds[news].revents != 0) {
        /* Whatever it counts: the range is asked anew. */
        if (read(r->news, &eight, sizeof eight) < 0 && errno != EAGAIN && errno != EINTR)
            r->news = -1;
        feed_wake(&r->feed);
    }
}

static int loop(struct run *r, struct slsr_err *err)
{
    int rc;

    for (;;) {
        int64_t now = clock_mono_ms();

        progress_mark();
        rc = step(r, now, err);
        if (rc != 0)
            return rc;
        look(r, now);
        tell(r, now, false);
        rc = ended(r, now, err);
        if (rc != 0)
            return rc > 0 ? 0 : rc;
        await(r, now);
    }
}

int slsr_deliver_run(const struct slsr_delivery *delivery, struct slsr_err *err)
{
    const struct slsr_target_config *target = delivery->target;
    struct run *r = calloc(1, sizeof *r);
    int news = -1;
    int rc;

    if (delivery->from >= delivery->to) {
        free(r);
        return 0;
    }
    if (r == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory to send to %s", target->name);
    r->d = delivery;
    r->news = -1;
    r->down_ms = clock_mono_ms();
    snprintf(r->state.name, sizeof r->state.name, "%s", target->name != NULL ? target->name : "");
    r->state.acked = r->told_acked = delivery->from;
    rate_init(&r->rate, delivery->from, r->down_ms);
    r->state.phase_since_ms = clock_wall_ms();
    backoff_init(&r->backoff, target->retry_initial_ms, target->retry_max_ms,
                 target->retry_multiplier);
    rc = servers_init(&r->servers, target, delivery->first_server, err);
    if (rc == 0)
        rc = transport_open(&r->t, servers_now(&r->servers), delivery->from, err);
    if (rc != 0)
        goto out;
    tell_server(r);
    rc = feed_init(&r->feed, delivery, err);
    if (rc != 0)
        goto out;
    if (slsr_spool_news_open(delivery->spool, &news, NULL) == 0)
        r->news = news;
    rc = loop(r, err);
    set_phase(r, SLSR_PHASE_STOPPED);
    r->state.next_retry_ms = 0;
    tell(r, clock_mono_ms(), true);
out:
    if (news >= 0)
        slsr_spool_news_close(delivery->spool, news);
    transport_close(r->t);
    servers_fini(&r->servers);
    feed_fini(&r->feed);
    free(r);
    return rc;
}

int slsr_deliver_probe(const struct slsr_target_config *target, struct slsr_stop *stop,
                       struct slsr_probe *seen, struct slsr_err *err)
{
    return transport_probe(target, stop, seen, err);
}
