/* Indoors of relay/: the HTTP endpoint and what it shows. */
#ifndef RELAY_METRICS_H
#define RELAY_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "slsrelay/config.h"
#include "slsrelay/spool.h"
#include "slsrelay/status.h"
#include "slsrelay/stop.h"

/* A thread that has not marked for so long is stuck (base/progress.h): longer than any single call
 * to the service or the disk should take. */
enum { STUCK_MS = 120000, WATCH_WHY = 240 };

/* --- history.c: figures of the last hours, in a ring --- */

enum { HISTORY_STEP_MS = 5000, HISTORY_SIZE = 4320 }; /* 6 hours */

struct history_point {
    int64_t time_ms;    /* wall clock */
    uint64_t spooled;   /* frames ever spooled */
    uint64_t delivered; /* frames that the slowest target has taken */
    uint64_t backlog;   /* frames that the slowest target has not taken */
    double needed;      /* 0..1: share of the room that undelivered frames take */
    int32_t lag_s;      /* of the slowest shard, -1 unknown */
    int16_t targets_up, targets_down;
};

struct history; /* any thread */
struct history *history_new(void);
void history_free(struct history *history);
void history_add(struct history *history, const struct history_point *point);
/* At most `max` points, oldest first, thinned out evenly; returns their number. */
size_t history_read(struct history *history, struct history_point *out, size_t max);
/* Frames a second over about the last `seconds`; negative when there is no such stretch yet. */
struct history_rates {
    double spooled, delivered; /* frames a second */
    double full_eta_s;         /* until undelivered frames fill the spool; -1: not filling */
};
void history_rates(struct history *history, struct history_rates *out);

/* --- what all of them look at --- */

struct room {
    uint64_t allowed_bytes; /* what the spool may take: max_size, or less when the disk is fuller */
    double full;            /* disk_bytes of allowed_bytes, 0..1 */
    double needed;          /* the same for frames that some target has not taken */
};

struct watch {
    const struct slsr_config *config;
    struct slsr_spool *spool;
    struct history *history;
    const char *consumer;
    int64_t started_ms;     /* wall clock */
    int64_t stuck_ms;       /* watchdog_stuck_ms() */
    _Atomic bool ready;     /* started, not stopping */
    _Atomic bool reloading; /* between RELOADING and READY */
};

void watch_room(const struct watch *watch, const struct slsr_status *status, struct room *out);
/* Frames and bytes that the slowest target has not taken. */
void watch_behind(const struct slsr_status *status, uint64_t *frames, uint64_t *bytes);
/* Is TERM to wait for this target, of a spool that ends before next? Not for one that takes
 * nothing: down, stalled, stopped, or paused by an operator. */
bool watch_drains(const struct slsr_target_state *state, uint64_t next);
/* One sample into the history. */
void watch_sample(const struct watch *watch);
/* Are all watched threads getting on? Otherwise a sentence. */
bool watch_alive(const struct watch *watch, char *why, size_t size);
/* Is the relay able to do its work now? Otherwise a sentence. */
bool watch_ready(const struct watch *watch, char *why, size_t size);

/* --- watchdog.c: tells the service manager, as long as all get on --- */

struct watchdog;
/* STUCK_MS, or half of the service manager's WatchdogSec= when that is sooner. */
int64_t watchdog_stuck_ms(void);
/* watch is borrowed until watchdog_stop. SLSR_ENOMEM, SLSR_EIO. */
int watchdog_start(struct watchdog **out, const struct watch *watch, struct slsr_err *err);
void watchdog_stop(struct watchdog *dog); /* NULL is fine */

/* --- exposition.c, page.c: bodies; 0 or an error --- */

int exposition_write(FILE *out, const struct watch *watch, struct slsr_err *err);
int page_write(FILE *out, const struct watch *watch, struct slsr_err *err);

/* --- survey.c: how long the service keeps logs --- */

struct survey;
/* NULL when it cannot start: then that figure is missing. config is borrowed until survey_stop. */
struct survey *survey_start(const struct slsr_config *config);
/* Of the n-th logstore of the configuration, counted over all sources; 0: not known (yet), also
 * without a survey. Any thread. */
int64_t survey_retention_s(const struct survey *survey, size_t n);
void survey_stop(struct survey *survey); /* NULL is fine */

/* --- host.c --- */

/* May the endpoint answer a request with this Host header (NULL: none)? Addresses, localhost, this
 * machine's name, the host of metrics.listen and metrics.allowed_hosts, with or without a port. */
bool host_is_ours(const char *host, const struct slsr_config *config);

/* --- metrics.c: the server --- */

struct metrics;
/* Listens on config->metrics_listen: "host:port", "port" alone is on loopback; port 0 takes any and
 * says which. NULL config: *out is NULL. watch is borrowed until metrics_stop. SLSR_ECONFIG,
 * SLSR_ENET. */
int metrics_start(struct metrics **out, const struct watch *watch, struct slsr_err *err);
void metrics_stop(struct metrics *metrics); /* NULL is fine */
/* "libmicrohttpd 0.9.75" */
void metrics_libraries(char *out, size_t size);

#endif
