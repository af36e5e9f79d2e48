/* What the simulated service holds: projects, their logstores, shards with log groups.
 *
 * Log groups are kept as encoded protobuf, or as the promise to make them, until retention takes
 * them; cursors count them. One
 * lock (struct store) guards everything; functions expect it held unless they say so. */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "request.h"
#include "wire.h"

enum {
    KEY_BYTES = 16,
    SHARDS_MAX = 4096,         /* the service has 400; load tests want more */
    SHARDS_AT_BIRTH_MAX = 100, /* by the API */
    PULL_GROUPS_MAX = 1000,
    PULL_RAW_MAX = 10 << 20, /* one answer; a single larger group still goes out */
};

/* What a group of generated logs is made from, see feed_make. */
struct recipe {
    uint64_t seed;
    uint64_t first; /* number of its first log */
    int64_t made_us;
};

struct log_group {
    const uint8_t *data; /* NULL: promised, or gone by retention */
    uint32_t n;          /* of a promised one: 0 until it was read once */
    uint32_t logs;
    int64_t received_s;
    bool owned; /* a heap block of its own, freed when retention takes it */
    struct recipe recipe;
};

/* Prepared answer: groups [first, first + count) of a shard as one LZ4 block. */
struct ready {
    size_t first;
    size_t count;
    uint64_t logs;
    const void *packed;
    size_t packed_n;
    size_t raw_n;
};

/* A rate limit: tokens come back with time, one second's worth at most. */
struct bucket {
    double tokens;
    int64_t at_ms;
};

/* Limits per shard and second; 0: none. */
struct quota {
    uint64_t read_bytes, reads, write_bytes, writes;
};

struct shard {
    uint32_t id;
    bool readonly;
    uint8_t begin_key[KEY_BYTES];
    uint8_t end_key[KEY_BYTES];
    int64_t created_s;
    int parent[2]; /* ids or -1 */
    uint64_t base; /* cursor of groups[0] */
    struct log_group *groups;
    size_t count, size;
    size_t trimmed; /* groups[0, trimmed) are past retention */
    struct ready *ready;
    size_t ready_count, ready_size;
    uint64_t logs, bytes;
    uint64_t pulls, pulled_groups, pulled_logs, pulled_bytes;
    struct bucket read_bytes, reads, write_bytes, writes;
};

struct consumer_group;

struct logstore {
    char name[NAME_SIZE];
    const char *project;
    unsigned ttl;        /* days, as the API has it */
    int64_t retention_s; /* instead of ttl, 0: ttl counts */
    bool append_meta;
    int64_t created_s;
    struct shard **shards; /* index = id */
    size_t shard_count, shard_size;
    size_t turn; /* next shard for a balanced upload */
    struct consumer_group **groups;
    size_t group_count, group_size;
};

struct project {
    char name[NAME_SIZE];
    char *description;
    int64_t created_s;
    struct logstore **logstores;
    size_t count, size;
    struct logstore **gone; /* deleted; the generator may still append to one */
    size_t gone_count, gone_size;
};

struct store {
    pthread_mutex_t lock;
    struct project **projects;
    size_t count, size;
    struct project **gone; /* deleted, see struct project */
    size_t gone_count, gone_size;
    struct quota quota; /* of every shard */
    void **kept;        /* memory that groups and prepared answers point into */
    size_t kept_count, kept_size;
};

void store_init(struct store *s);
void store_fini(struct store *s);

/* Takes a heap block that lives as long as the store: for groups that share one. */
void store_keep(struct store *s, void *block);

struct project *store_project(struct store *s, const char *name);
struct project *store_add_project(struct store *s, const char *name, int64_t now_s);
struct logstore *store_logstore(struct project *p, const char *name);
struct logstore *store_add_logstore(struct project *p, const char *name, unsigned shards,
                                    int64_t now_s);
void store_delete_logstore(struct project *p, struct logstore *ls);
void store_delete_project(struct store *s, struct project *p);

/* Names as the service limits them: lower-case letters, digits, '-' and, for logstores, '_'. */
bool store_name_ok(const char *name, bool logstore);

struct shard *store_shard(struct logstore *ls, uint64_t id);
uint64_t shard_begin(const struct shard *sh);
uint64_t shard_end(const struct shard *sh);

/* Appends one encoded group. shard_append borrows `data` (see store_keep), shard_take takes it. */
void shard_append(struct shard *sh, const void *data, size_t n, uint32_t logs, int64_t now_s);
void shard_take(struct shard *sh, void *data, size_t n, uint32_t logs, int64_t now_s);

/* Appends a group that is made whenever it is read. */
void shard_promise(struct shard *sh, const struct recipe *recipe, uint32_t logs);

/* Retention: what was received before `before_s` goes, the begin cursor moves. */
void shard_expire(struct shard *sh, int64_t before_s);
/* The same by number: only the newest `keep` groups stay. */
void shard_trim(struct shard *sh, size_t keep);
/* Applies the logstore's retention to all its shards. */
void logstore_expire(struct logstore *ls, int64_t now_s);

/* Takes `n` from the bucket when there is anything left in it (it may go below zero, so that the
 * rate holds over time). A rate of 0 always grants. */
bool bucket_take(struct bucket *b, uint64_t per_second, uint64_t n, int64_t now_ms);

/* The next writable shard in turn, or the one whose range holds the key. NULL: none. */
struct shard *store_next_shard(struct logstore *ls);
struct shard *store_route(struct logstore *ls, const uint8_t key[KEY_BYTES]);

/* The middle of a shard's range: where a split without a key cuts. */
void shard_middle(const struct shard *sh, uint8_t key[KEY_BYTES]);

/* Split at `key` (inside the range), merge with the right neighbour. 0 and the new shards appended,
 * or -1 when the shard is read-only, the key outside or no neighbour there. */
int store_split(struct logstore *ls, struct shard *sh, const uint8_t key[KEY_BYTES], int64_t now_s);
int store_merge(struct logstore *ls, struct shard *left, struct shard **right, int64_t now_s);

/* Cursor of the first group received at or after `from_s`. */
uint64_t shard_cursor_at(const struct shard *sh, int64_t from_s);

#endif
