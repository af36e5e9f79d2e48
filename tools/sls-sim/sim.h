/* The simulator as one object: store, keys, faults, clock, figures. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdatomic.h>
#include <stdio.h>

#include "auth.h"
#include "fault.h"
#include "groups.h"
#include "store.h"

enum { ERROR_KINDS = 64 };

struct sim_stats {
    pthread_mutex_t lock;
    uint64_t calls[CALL_COUNT];
    uint64_t errors[CALL_COUNT];
    struct {
        char code[ERROR_CODE_SIZE];
        uint64_t count;
    } code[ERROR_KINDS];
    size_t codes;
};

struct sim {
    struct store store;
    struct auth_keys keys; /* the token may change: under store.lock */
    struct fault_list faults;
    struct sim_stats stats;
    _Atomic int64_t skew_s;   /* the wall clock is off by that much */
    _Atomic int64_t ahead_ms; /* all clocks were moved on by that much */
    _Atomic int64_t
        wound_us;        /* not 0: the wall clock stands at this time, only ahead_ms moves it */
    int64_t retention_s; /* of new logstores; 0: by their ttl */
    int state_fd;        /* -1: nothing is kept */
    FILE *transcript;    /* NULL: none */
    bool transcribed[CALL_COUNT];
    pthread_mutex_t transcript_lock;
    int64_t started_ms;

    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond; /* CLOCK_MONOTONIC */
    bool stopping;

    atomic_uint_fast64_t generated; /* logs made so far */
};

int64_t sim_now_us(const struct sim *sim);   /* wall clock as the service shows it */
int64_t sim_clock_ms(const struct sim *sim); /* for time-outs of consumers and quotas */
int64_t sim_mono_ms(void);                   /* real time, for waiting */

/* Waits; true when the program is to stop instead. */
bool sim_wait(struct sim *sim, int64_t ms);

void sim_count(struct sim *sim, enum call call, const struct answer *a);

/* api.c: executes one call of the service API (authenticated already). `call` tells its kind for
 * faults and figures; it depends on method, path and query alone. */
enum call api_call_kind(const struct request *r);
void api_run(struct sim *sim, const struct request *r, struct answer *a);

/* Calls in their own files; all under the store's lock unless noted. Return 0, or -1 with an error
 * in the answer. */
int api_shard_call(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a);
int api_group_call(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a);
int api_put(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a);

/* The shard that the path names, a cursor parameter that has to lie in [begin, end], the receive
 * time at a position (at the end that of the newest group). */
struct shard *api_shard(struct logstore *ls, const struct request *r, struct answer *a);
int api_cursor(const struct shard *sh, const char *text, uint64_t *cursor, struct answer *a);
int64_t api_time_at(const struct shard *sh, uint64_t cursor);

/* Splits or merges a shard; id < 0: the first writable one, no key: in the middle. */
int api_change_shard(struct sim *sim, struct logstore *ls, int64_t id, const char *action,
                     const char *key_text, struct answer *a);

/* Appends a group, which it takes, and notes that in the state file. */
void api_append(struct sim *sim, struct logstore *ls, struct shard *sh, struct buf *group,
                uint32_t logs, bool generated);

/* Pull in two steps: collect under the lock, pack without it. */
struct pull {
    struct buf raw;
    size_t groups;
    const char *method; /* NULL: plain */
};
int api_pull(struct sim *sim, struct logstore *ls, const struct request *r, struct pull *pull,
             struct answer *a);
void api_pull_pack(struct pull *pull, struct answer *a);

/* state.c: what a service does not forget when its process dies, kept in a file (--state). All
 * calls do nothing without one; all but the first under the store's lock. */
int state_open(struct sim *sim, const char *path, bool *fresh); /* reads it back; an exit code */
void state_close(struct sim *sim);
void state_project(struct sim *sim, const struct project *p);
void state_logstore(struct sim *sim, const struct logstore *ls); /* new or changed */
void state_drop(struct sim *sim, const struct project *p, const struct logstore *ls);
void state_put(struct sim *sim, const struct logstore *ls, const struct shard *sh,
               const struct buf *group, uint32_t logs, int64_t now_s, bool generated);
void state_trim(struct sim *sim, const struct logstore *ls, const struct shard *sh, size_t keep);
void state_split(struct sim *sim, const struct logstore *ls, const struct shard *sh,
                 const uint8_t key[KEY_BYTES], int64_t now_s);
void state_merge(struct sim *sim, const struct logstore *ls, const struct shard *left,
                 int64_t now_s);
void state_group(struct sim *sim, const struct logstore *ls, const struct consumer_group *cg);
void state_drop_group(struct sim *sim, const struct logstore *ls, const struct consumer_group *cg);
void state_checkpoint(struct sim *sim, const struct logstore *ls, const struct consumer_group *cg,
                      uint32_t shard);
void state_owners(struct sim *sim, const struct logstore *ls, struct consumer_group *cg);

/* control.c: GET and POST /_sim/... */
void control_run(struct sim *sim, const struct request *r, struct answer *a);

/* feed.c: where logs come from besides uploads. */
struct generate {
    uint64_t count;
    uint64_t per_second; /* 0: all at once */
    uint64_t seed;
};
bool feed_parse_generate(const char *text, struct generate *g);
void feed_make(const struct recipe *r, uint32_t logs, struct buf *group); /* appends to `group` */
void feed_generate(struct sim *sim, struct logstore *ls, const struct generate *g);
/* Both return an exit code, 0 = fine; they print their own error sentence. */
int feed_load(struct sim *sim, struct logstore *ls, const char *path);
int feed_payloads(struct sim *sim, struct logstore *ls, const char *dir);

/* server.c */
struct server;
struct server *server_start(struct sim *sim, int listen_fd);
void server_stop(struct server *s);

#endif
