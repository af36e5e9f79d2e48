/* Faults to order: what shall go wrong, at which call, how often. Thread-safe. */
#ifndef SIM_FAULT_H
#define SIM_FAULT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum call {
    CALL_PULL,
    CALL_HEARTBEAT,
    CALL_CHECKPOINT,
    CALL_GET_CHECKPOINT,
    CALL_CURSOR,
    CALL_SHARDS,
    CALL_GROUP,
    CALL_PUT,
    CALL_ADMIN, /* projects and logstores: only "any" faults reach them */
    CALL_COUNT,
};

enum fault_kind {
    FAULT_SKEW,
    FAULT_DELAY,
    FAULT_ERROR,
    FAULT_QUOTA,
    FAULT_EMPTY_ERROR,
    FAULT_HTML,
    FAULT_DROP,
    FAULT_TRUNCATE,
    FAULT_CORRUPT,
    FAULT_RAWSIZE,
    FAULT_EXPIRED_TOKEN,
    FAULT_HANG,
    FAULT_LATE,
    FAULT_NO_CURSOR,
    FAULT_EMPTY_CURSOR,
    FAULT_SPLIT,
    FAULT_MERGE,
    FAULT_REBALANCE,
    FAULT_KINDS,
};

enum { FAULT_CODE_SIZE = 48 };

enum drop_when { DROP_BEFORE, DROP_ANSWER, DROP_BODY };

struct fault {
    int call;      /* enum call, or CALL_COUNT for any */
    int64_t shard; /* only there; -1: anywhere */
    enum fault_kind kind;
    int64_t number; /* milliseconds, seconds, bytes, status, shard or enum drop_when */
    char code[FAULT_CODE_SIZE];
    uint64_t left; /* UINT64_MAX: for ever */
    struct fault *next;
};

struct fault_list {
    pthread_mutex_t lock;
    struct fault *first;
    uint64_t fired;
};

extern const char *const call_names[CALL_COUNT];
extern const char fault_grammar[]; /* for --help and error sentences */

void fault_init(struct fault_list *list);
void fault_clear(struct fault_list *list);

/* Adds CALL[/SHARD]:KIND[=ARG][:COUNT]. False: the text is not of that form, `why` says what is
 * wrong. */
bool fault_add(struct fault_list *list, const char *spec, const char **why);

/* Which call it is, and about which shard; -1: none. */
struct fault_place {
    enum call call;
    int64_t shard;
};

/* Takes one firing of the first fault of this kind that fits the place. `when` matters for drops:
 * only one with that argument is taken. False: none. */
bool fault_take(struct fault_list *list, const struct fault_place *place, enum fault_kind kind,
                int64_t when, struct fault *out);

#endif
