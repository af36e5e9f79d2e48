/* Indoors of relay/: the running relay. Owned and changed by the main thread alone, but for `fatal`
 * (its lock) and what is atomic in `watch`. */
#ifndef RELAY_INTERNAL_H
#define RELAY_INTERNAL_H

#include <pthread.h>

#include "relay/metrics.h"
#include "relay/relay.h"

#include "slsrelay/stop.h"

struct consume;

/* One target's thread. Its settings are its own copy of the configuration that it began with. */
struct sender {
    struct relay *relay;
    const struct slsr_target_config *target;
    struct slsr_stop stop;
    pthread_t thread;
};

enum { CONFIGS_MAX = 64 }; /* reloads with changes until the next restart */

struct relay {
    const struct slsr_config *config; /* the one that consumers and spool run with */
    const struct slsr_config *now;    /* of the last reload: targets and log */
    const struct relay_options *options;
    struct slsr_config *loaded[CONFIGS_MAX]; /* by reloads; senders may still look at any */
    size_t loaded_count;
    struct slsr_spool *spool;
    struct slsr_stop pull_stop; /* consumers: leave in order */
    struct slsr_stop abort;     /* everybody, at once */
    struct consume **consumers;
    size_t consumer_count;
    struct sender **senders;
    size_t sender_count;
    char consumer_name[SLSR_NAME_MAX + 1];
    int signal_fd;
    pthread_mutex_t lock;
    struct slsr_err fatal; /* first one wins; code 0: none */
    struct watch watch;
    struct metrics *metrics;
    struct survey *survey;
    struct slsr_source_state *noted; /* of each consumer, as the spool has it */
    struct watchdog *watchdog;
    int64_t next_sample_ms; /* monotonic */
};

/* --- relay.c --- */
int relay_sender_start(struct relay *relay, const struct slsr_target_config *target,
                       struct slsr_err *err);
/* Ends the sender, waits for it (it settles what it sent) and forgets it. */
void relay_sender_stop(struct relay *relay, size_t i);
/* Tells the spool which targets there are now. */
int relay_register_targets(struct relay *relay, const struct slsr_config *config,
                           struct slsr_err *err);

/* --- service.c: what happens while it runs --- */
/* Before the first tick: recalls what an earlier run noted of the sources. */
void service_begin(struct relay *relay);
/* Sample, status line for systemd: whatever is due. */
void service_tick(struct relay *relay);

/* --- greeting.c --- */
/* Versions and limits, among the diagnostics. */
void relay_greet(const struct relay *relay);

/* --- reload.c --- */
/* Reads the settings again; changes what can be changed, says what waits for a restart. */
void relay_reload(struct relay *relay);

#endif
