/* Consumer groups: who reads which shard. One automaton per group and shard.
 *
 *   W wait: an ancestor is not finished (order)     N nobody holds it    A allocated
 *   T transfer: held, promised to `next`            O over: read-only and consumed to its end
 *
 * The clock comes in as milliseconds of a monotonic clock; the store's lock is held. */
#ifndef SIM_GROUPS_H
#define SIM_GROUPS_H

#include "store.h"

enum { GROUPS_PER_LOGSTORE = 30, CHECKPOINT_SIZE = 128 };

enum slot_state { SLOT_WAIT, SLOT_FREE, SLOT_HELD, SLOT_TRANSFER, SLOT_OVER };

struct consumer {
    char name[NAME_SIZE];
    int64_t beat_ms;
    size_t load; /* scratch of the balancing */
};

struct slot {
    enum slot_state state;
    struct consumer *holder; /* in A and T */
    struct consumer *next;   /* in T */
    char checkpoint[CHECKPOINT_SIZE];
    int64_t updated_us;
};

struct consumer_group {
    char name[NAME_SIZE];
    unsigned timeout_s;
    bool order;
    struct consumer **consumers;
    size_t consumer_count, consumer_size;
    struct slot *slots; /* index = shard id */
    size_t slot_count;
    uint64_t version; /* grows with every change of consumers and states */
    uint64_t saved;   /* the version that the state file has */
};

struct consumer_group *cg_new(struct logstore *ls, const char *name, unsigned timeout_s,
                              bool order);
void cg_free(struct consumer_group *cg);
void cg_delete(struct logstore *ls, struct consumer_group *cg);
struct consumer_group *cg_find(struct logstore *ls, const char *name);

/* Brings the slots up to date with the shards that exist now. */
void cg_notice_shards(struct logstore *ls, struct consumer_group *cg);

/* Forgets consumers that have been silent for longer than the timeout, or all of one name. */
void cg_expire(struct consumer_group *cg, int64_t now_ms);
void cg_forget(struct consumer_group *cg, const char *consumer);

/* One heartbeat naming `listed` shards. Fills `mine` (room for every shard), returns how many, or
 * -1: shards named by a consumer that is not known. */
int cg_heartbeat(struct logstore *ls, struct consumer_group *cg, const char *consumer,
                 const uint32_t *listed, size_t listed_n, int64_t now_ms, uint32_t *mine);

enum cg_store_result { CG_STORED, CG_NO_CONSUMER, CG_NOT_HOLDER };

/* Stores a checkpoint for an existing shard. Not forced: only the holder may. */
enum cg_store_result cg_checkpoint(struct logstore *ls, struct consumer_group *cg, uint32_t shard,
                                   const char *consumer, bool force, const char *checkpoint,
                                   int64_t now_ms, int64_t now_us);

/* Promises every held shard to the next consumer, as a service that moves its load does. Returns
 * how many. */
size_t cg_rotate(struct consumer_group *cg);

/* For the state file: a consumer as it was, its last heartbeat being now. */
struct consumer *cg_restore_consumer(struct consumer_group *cg, const char *name, int64_t now_ms);

const char *cg_state_name(enum slot_state state);
bool cg_state_parse(const char *name, enum slot_state *state);

#endif
