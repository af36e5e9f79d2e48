/* Open the spool, start the senders, start the consumers, watch, drain, close.
 *
 * Order: senders first, so that room appears before new frames do. TERM stops the consumers (they
 * finish the batch in hand and store their checkpoints), then the senders get DRAIN_MS to hand over
 * what the spool holds, then they settle what they sent. A second TERM ends everything at once.
 * What is not delivered stays in the spool. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "relay/internal.h"

#include "consume/consume.h"
#include "send/send.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/progress.h"

enum { DRAIN_MS = 10000, TICK_MS = 200, SECOND_MS = 1000 };

static void on_fatal(void *ctx, const struct slsr_err *err)
{
    struct relay *relay = ctx;

    pthread_mutex_lock(&relay->lock);
    if (relay->fatal.code == 0)
        relay->fatal = *err;
    pthread_mutex_unlock(&relay->lock);
    slsr_stop_request(&relay->pull_stop);
}

static void *sender_run(void *arg)
{
    struct sender *sender = arg;
    struct relay *relay = sender->relay;
    struct slsr_err err = {0};
    char name[PROGRESS_NAME];
    int rc;

    snprintf(name, sizeof name, "send %.40s", sender->target->name);
    progress_begin(name);
    rc = send_run(sender->target, relay->spool, &sender->stop, &err);
    progress_end();
    if (rc != 0 && rc != SLSR_ESTOPPED)
        on_fatal(relay, &err);
    return NULL;
}

int relay_register_targets(struct relay *relay, const struct slsr_config *config,
                           struct slsr_err *err)
{
    const char **names = calloc(config->target_count + 1, sizeof(const char *));
    int rc;

    if (names == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the targets");
    for (size_t i = 0; i < config->target_count; i++)
        names[i] = config->targets[i].name;
    rc = slsr_spool_targets_keep(relay->spool, names, config->target_count, err);
    free(names);
    return rc;
}

int relay_sender_start(struct relay *relay, const struct slsr_target_config *target,
                       struct slsr_err *err)
{
    struct sender *sender = calloc(1, sizeof *sender);
    struct sender **more =
        realloc(relay->senders, (relay->sender_count + 1) * sizeof(struct sender *));
    int rc = 0;

    if (more != NULL)
        relay->senders = more;
    if (sender == NULL || more == NULL) {
        free(sender);
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the sender of target %s", target->name);
    }
    sender->relay = relay;
    sender->target = target;
    rc = slsr_stop_init(&sender->stop, err);
    if (rc == 0 && pthread_create(&sender->thread, NULL, sender_run, sender) != 0) {
        slsr_stop_fini(&sender->stop);
        rc = slsr_fail(err, SLSR_ENOMEM, "cannot start the sender of target %s", target->name);
    }
    if (rc != 0) {
        free(sender);
        return rc;
    }
    relay->senders[relay->sender_count++] = sender;
    return 0;
}

void relay_sender_stop(struct relay *relay, size_t i)
{
    struct sender *sender = relay->senders[i];

    slsr_stop_request(&sender->stop);
    progress_park(); /* it is watched itself */
    pthread_join(sender->thread, NULL);
    progress_mark();
    slsr_stop_fini(&sender->stop);
    free(sender);
    relay->senders[i] = relay->senders[--relay->sender_count];
}

static void stop_senders(struct relay *relay)
{
    for (size_t i = 0; i < relay->sender_count; i++)
        slsr_stop_request(&relay->senders[i]->stop);
}

static int start_senders(struct relay *relay, struct slsr_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < relay->config->target_count; i++)
        rc = relay_sender_start(relay, &relay->config->targets[i], err);
    return rc;
}

/* The spool forgets the logstores that are no longer read. */
static int keep_sources(struct relay *relay, size_t count, struct slsr_err *err)
{
    struct slsr_stream *streams = calloc(count, sizeof *streams);
    size_t n = 0;
    int rc;

    if (streams == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the sources");
    for (size_t i = 0; i < relay->config->source_count; i++)
        for (size_t j = 0; j < relay->config->sources[i].logstore_count; j++)
            streams[n++] = (struct slsr_stream){.project = relay->config->sources[i].project,
                                                .logstore = relay->config->sources[i].logstores[j]};
    rc = slsr_spool_sources_keep(relay->spool, streams, n, err);
    free(streams);
    return rc;
}

static int start_consumers(struct relay *relay, struct slsr_err *err)
{
    const struct slsr_config *config = relay->config;
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < config->source_count; i++)
        count += config->sources[i].logstore_count;
    relay->consumers = calloc(count, sizeof(struct consume *));
    relay->noted = calloc(count, sizeof *relay->noted);
    if (relay->consumers == NULL || relay->noted == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the consumers");
    rc = keep_sources(relay, count, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < config->source_count; i++)
        for (size_t j = 0; j < config->sources[i].logstore_count; j++) {
            const struct slsr_source_config *source = &config->sources[i];
            const struct consume_options options = {
                .source = source,
                .logstore = source->logstores[j],
                .consumer = source->consumer != NULL ? source->consumer : relay->consumer_name,
                .format = &config->format,
                .spool = relay->spool,
                .stop = &relay->pull_stop,
                .abort = &relay->abort,
                .fatal = on_fatal,
                .ctx = relay};
            rc = consume_start(&relay->consumers[relay->consumer_count], &options, err);

            if (rc != 0)
                return rc;
            relay->consumer_count++;
        }
    return 0;
}

static int catch_signals(struct relay *relay, struct slsr_err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return slsr_fail(err, SLSR_EIO, "cannot block signals");
    signal(SIGPIPE, SIG_IGN);
    relay->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (relay->signal_fd < 0)
        return slsr_fail_errno(err, SLSR_EIO, errno, "cannot make a signal descriptor");
    return 0;
}

/* Waits up to ms for a signal or a fatal condition. True when TERM or INT came. */
static bool wait_signal(struct relay *relay, int ms)
{
    const int64_t until_ms = clock_mono_ms() + ms;
    struct pollfd fds[] = {{.fd = relay->signal_fd, .events = POLLIN},
                           /* once stopping, this token would fire for ever */
                           {.fd = slsr_stop_requested(&relay->pull_stop) ? -1 : relay->pull_stop.fd,
                            .events = POLLIN}};
    struct signalfd_siginfo info;

    clock_poll(fds, 2, until_ms);
    if (read(relay->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
        return true;
    if (info.ssi_signo == SIGUSR1)
        diag_reopen();
    else if (slsr_stop_requested(&relay->pull_stop))
        diag(SLSR_LOG_NOTICE, "relay", "HUP: ignored, the relay is stopping");
    else
        relay_reload(relay);
    return false;
}

/* Has every target that takes anything taken everything? */
static bool drained(struct relay *relay)
{
    struct slsr_target_state *states;
    size_t count;
    uint64_t oldest;
    uint64_t next;
    bool all = true;

    if (slsr_spool_bounds(relay->spool, &oldest, &next, NULL) != 0 ||
        slsr_spool_targets(relay->spool, &states, &count, NULL) != 0)
        return true;
    for (size_t i = 0; i < count; i++)
        if (watch_drains(&states[i], next))
            all = false;
    free(states);
    return all;
}

/* The consumers leave while we go on listening for a second TERM. */
struct joiner {
    struct relay *relay;
    struct slsr_stop done;
};

static void *join_consumers(void *arg)
{
    struct joiner *joiner = arg;

    for (size_t i = 0; i < joiner->relay->consumer_count; i++)
        consume_join(joiner->relay->consumers[i]);
    joiner->relay->consumer_count = 0;
    slsr_stop_request(&joiner->done);
    return NULL;
}

static void abort_all(struct relay *relay)
{
    diag(SLSR_LOG_WARNING, "relay", "second signal: leaving at once; the spool keeps the rest");
    slsr_stop_request(&relay->abort);
    stop_senders(relay);
}

static bool end_or_tick(struct relay *relay)
{
    const bool end = wait_signal(relay, TICK_MS);

    service_tick(relay);
    return end;
}

static void wind_down(struct relay *relay)
{
    struct joiner joiner = {.relay = relay};
    pthread_t thread;
    const int64_t until = clock_mono_ms() + DRAIN_MS;

    notify_systemd("STOPPING=1");
    slsr_stop_request(&relay->pull_stop);
    if (slsr_stop_init(&joiner.done, NULL) == 0) {
        if (pthread_create(&thread, NULL, join_consumers, &joiner) == 0) {
            while (!slsr_stop_requested(&joiner.done))
                if (end_or_tick(relay))
                    abort_all(relay);
            pthread_join(thread, NULL);
        } else {
            join_consumers(&joiner);
        }
        slsr_stop_fini(&joiner.done);
    } else {
        for (size_t i = 0; i < relay->consumer_count; i++)
            consume_join(relay->consumers[i]);
    }
    /* after half a start nobody sends, whatever the states say that a relay before us left */
    while (relay->sender_count > 0 && !slsr_stop_requested(&relay->abort) &&
           clock_mono_ms() < until && !drained(relay))
        if (end_or_tick(relay))
            abort_all(relay);
    stop_senders(relay);
    while (relay->sender_count > 0) {
        relay_sender_stop(relay, relay->sender_count - 1);
        service_tick(relay);
    }
}

/* A setting that only the start can judge: with the place where it stands. */
static int placed(const struct relay *relay, int rc, const char *setting, struct slsr_err *err)
{
    char where[SLSR_CONFIG_WHERE];

    if (rc != SLSR_ECONFIG)
        return rc;
    slsr_config_where(relay->config, setting, where);
    return slsr_wrap(err, rc, "%s", where);
}

static int start(struct relay *relay, struct slsr_err *err)
{
    int rc = catch_signals(relay, err);

    if (rc == 0)
        rc = slsr_stop_init(&relay->pull_stop, err);
    if (rc == 0)
        rc = slsr_stop_init(&relay->abort, err);
    if (rc == 0)
        rc = placed(relay,
                    slsr_spool_open(&relay->spool, &relay->config->spool, SLSR_SPOOL_WRITE, err),
                    "spool.encryption_key_file", err);
    if (rc != 0)
        return rc;
    consume_default_name(relay->config->spool.path, relay->consumer_name,
                         sizeof relay->consumer_name);
    relay->watch.consumer = relay->config->sources[0].consumer != NULL
                                ? relay->config->sources[0].consumer
                                : relay->consumer_name;
    relay_greet(relay);
    relay->watch.history = history_new();
    if (relay->watch.history == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the history");
    relay->watch.spool = relay->spool;
    rc = placed(relay, metrics_start(&relay->metrics, &relay->watch, err), "metrics.listen", err);
    if (rc == 0)
        rc = relay_register_targets(relay, relay->config, err);
    if (rc == 0)
        rc = start_senders(relay, err);
    if (rc == 0)
        rc = start_consumers(relay, err);
    if (rc == 0)
        rc = watchdog_start(&relay->watchdog, &relay->watch, err);
    return rc;
}

/* Until TERM, INT or a condition that only a person can mend. */
static void serve(struct relay *relay)
{
    bool end = false;

    progress_begin("sls-relay"); /* so the kernel calls the process */
    service_begin(relay);
    relay->survey = survey_start(relay->config);
    relay->watch.ready = true;
    notify_systemd("READY=1");
    while (!end && !slsr_stop_requested(&relay->pull_stop)) {
        service_tick(relay);
        end = wait_signal(relay, SECOND_MS);
    }
    relay->watch.ready = false;
    survey_stop(relay->survey);
    relay->survey = NULL;
    diag(SLSR_LOG_NOTICE, "relay", "stopping: no more pulls, delivering what is spooled");
}

/* Copes with half a start. */
static void close_all(struct relay *relay)
{
    watchdog_stop(relay->watchdog);
    progress_end();
    metrics_stop(relay->metrics);
    slsr_spool_close(relay->spool);
    history_free(relay->watch.history);
    slsr_stop_fini(&relay->pull_stop);
    slsr_stop_fini(&relay->abort);
    if (relay->signal_fd >= 0)
        close(relay->signal_fd);
    free(relay->consumers);
    free(relay->noted);
    free(relay->senders);
    for (size_t i = 0; i < relay->loaded_count; i++)
        slsr_config_free(relay->loaded[i]);
    pthread_mutex_destroy(&relay->lock);
}

int relay_run(const struct slsr_config *config, const struct relay_options *options,
              struct slsr_err *err)
{
    struct relay relay = {.config = config,
                          .now = config,
                          .options = options,
                          .signal_fd = -1,
                          .pull_stop.fd = -1,
                          .abort.fd = -1};
    int rc;

    relay.watch.config = config;
    relay.watch.started_ms = clock_wall_ms();
    relay.watch.stuck_ms = watchdog_stuck_ms();
    pthread_mutex_init(&relay.lock, NULL);
    rc = start(&relay, err);
    if (rc == 0)
        serve(&relay);
    if (relay.spool != NULL)
        wind_down(&relay);
    if (rc == 0 && relay.fatal.code != 0) {
        rc = relay.fatal.code;
        if (err != NULL)
            *err = relay.fatal;
    }
    close_all(&relay);
    if (rc == 0)
        diag(SLSR_LOG_NOTICE, "relay", "stopped");
    return rc;
}
