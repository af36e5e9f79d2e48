/* A consume stage whose service is a script, and whose clock is wound by hand.
 *
 * The service is a small model behind the HTTP seam: shards with numbered log groups of one log
 * each, a consumer group, checkpoints with an owner. A case tells it which shards to assign and
 * puts a hook in front of it that may answer in its place, in any broken way. Requests are built,
 * signed and judged by the very code that runs; only the socket is missing.
 *
 * Time stands still until every thread of the stage waits; then it jumps to the earliest moment
 * that one of them waits for (clock_step). So nothing here depends on how fast the machine is. */
#ifndef STAGE_FAKE_SLS_H
#define STAGE_FAKE_SLS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "client/client.h"
#include "client/http.h"
#include "consume/consume.h"
#include "slsrelay/ledger.h"

enum { FAKE_SHARDS = 24, FAKE_ASKED = 4096, FAKE_START_S = 1735787045, FAKE_FIRST = 1000000 };
#define FAKE_SECRET "Very+Secret/Key=0123456789"

enum call { LIST, CURSOR, PULL, CREATE, UPDATE, BEAT, PUT, GET, CALLS };

struct fake_shard {
    bool exists, readonly;
    bool assigned;         /* the next heartbeat's answer lists it */
    bool holder;           /* an unforced checkpoint of ours is accepted */
    bool over;             /* its end was reported: never assigned again */
    uint64_t oldest, next; /* numbers of the groups that it holds: [oldest, next) */
    char checkpoint[SLSR_CURSOR_MAX + 1];
    unsigned puts, pulls;
};

struct asked { /* one request, as it came */
    enum call call;
    uint32_t shard;
    int64_t at_ms; /* monotonic, when it was sent */
    int64_t timeout_ms;
    int status; /* of the answer, 0: none */
    char method[8];
    char target[512];
    char body[512];
    char headers[2048]; /* "name: value\n" */
};

struct answer {
    int rc; /* not 0: no answer came, such as SLSR_ENET */
    int status;
    char headers[1024]; /* "name: value\n" */
    char body[8192];
    size_t body_n; /* 0: strlen(body) */
    int64_t
        delay_ms; /* of our clock; beyond the request's time limit it fails as a real one would */
};

struct world;
/* Before the model. True: *answer is what the relay gets. Called under the world's lock. */
typedef bool hook(struct world *w, const struct asked *asked, struct answer *answer);

struct world {
    char dir[64];
    struct slsr_spool *spool;
    struct slsr_source_config source;
    struct slsr_format_config format;
    struct slsr_stop stop, abort;
    struct consume *consume;
    _Atomic int fatal; /* code of the last fatal condition */
    /* the service; change it only while the stage sleeps (between two runs) or in a hook */
    pthread_mutex_t lock;
    struct fake_shard shards[FAKE_SHARDS];
    uint64_t per_pull; /* groups of one answer at most */
    bool group_exists, consumer_known;
    char beating[512]; /* the last heartbeat's body */
    hook *hook;
    _Atomic int step; /* the hook's own */
    struct asked *asked;
    size_t asked_count;
    unsigned count[CALLS];
};

void world_setup(struct world *w, unsigned shards, uint64_t groups); /* nothing runs yet */
void world_start(struct world *w);
/* Stops in order and waits for the end; the spool stays open. */
void world_stop(struct world *w);
void world_kill(struct world *w); /* by abort */
void world_teardown(struct world *w);

/* Lets time pass until the condition holds or `ms` have gone by; the condition's last value. */
typedef bool condition(struct world *w);
bool world_until(struct world *w, condition *holds, int64_t ms);
/* The same, and the case fails when it never holds. */
#define RUN_UNTIL(w, holds)                                                                        \
    do {                                                                                           \
        if (!world_until(w, holds, 3600 * 1000))                                                   \
            fail_msg("never: " #holds);                                                            \
    } while (0)
void world_pass(struct world *w, int64_t ms);
bool all_spooled(struct world *w);  /* the spool holds every group of every shard */
bool all_reported(struct world *w); /* every shard's checkpoint is its end */

/* Checks that the spool holds the groups [from, next) of the shard, in order; how many came more
 * than once is returned. */
uint64_t spooled_whole(struct world *w, uint32_t shard, uint64_t from);
uint64_t frames_spooled(struct world *w);
void figures(struct world *w, struct consume_figures *out);
/* The note of the shard, or of the group with UINT32_MAX. */
struct consume_note note_of(struct world *w, uint32_t shard);
size_t gaps(struct world *w, struct slsr_ledger_entry *first);

/* The last request of a kind (and shard), NULL when there was none. */
const struct asked *last_asked(const struct world *w, enum call call);
bool header_is(const struct asked *asked, const char *name, const char *value);
const char *header_of(const struct asked *asked, const char *name, char *out, size_t size);

/* Answers for hooks. All return true. */
bool say(struct answer *a, int status, const char *code); /* the service's error, or 200 "" */
bool say_text(struct answer *a, int status, const char *headers, const char *body);
bool say_nothing(struct answer *a, int rc); /* no answer */
/* The model's own answer, for a hook that only wants to change it. */
/* A parameter of the query, decoded. */
bool parameter(const char *target, const char *name, char *out, size_t size);
void model_answer(struct world *w, const struct asked *asked, struct answer *a);

#endif
