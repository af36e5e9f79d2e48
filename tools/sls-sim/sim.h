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
    _Atomic int64_t skew_s;
    FILE *transcript; /* NULL: none */
    pthread_mutex_t transcript_lock;
    int64_t started_ms;

    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond; /* CLOCK_MONOTONIC */
    bool stopping;

    atomic_uint_fast64_t generated; /* logs made so far */
};

int64_t sim_now_us(const struct sim *sim); /* wall clock with skew */
int64_t sim_mono_ms(void);

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

/* Pull in two steps: collect under the lock, pack without it. */
struct pull {
    struct buf raw;
    size_t groups;
    bool lz4, zlib;
};
int api_pull(struct logstore *ls, const struct request *r, struct pull *pull, struct answer *a);
void api_pull_pack(struct pull *pull, struct answer *a);

/* control.c: GET and POST /_sim/... */
void control_run(struct sim *sim, const struct request *r, struct answer *a);

/* feed.c: where logs come from besides uploads. */
struct generate {
    uint64_t count;
    uint64_t per_second; /* 0: all at once */
    uint64_t seed;
};
bool feed_parse_generate(const char *text, struct generate *g);
void feed_generate(struct sim *sim, struct logstore *ls, const struct generate *g);
/* Both return an exit code, 0 = fine; they print their own error sentence. */
int feed_load(struct sim *sim, struct logstore *ls, const char *path);
int feed_payloads(struct sim *sim, struct logstore *ls, const char *dir);

/* server.c */
struct server;
struct server *server_start(struct sim *sim, int listen_fd);
void server_stop(struct server *s);

#endif
