/* The spool's figures at one moment: what status, targets, shards and stats show. */
#ifndef SLS_SPOOL_FIGURES_H
#define SLS_SPOOL_FIGURES_H

#include <stdio.h>

#include "tool.h"

struct target_figures {
    struct slsr_target_state state; /* phase is STOPPED when no relay runs */
    uint64_t backlog_frames, backlog_bytes;
    int64_t oldest_age_s; /* of the first frame that it has not taken; -1: none */
    int64_t next_retry_s; /* -1: none planned */
    int64_t eta_s;        /* -1: unknown */
};

struct figures {
    int64_t now_ms;
    struct slsr_spool_stat stat;
    struct target_figures *targets;
    size_t target_count;
    struct slsr_shard_state *shards;
    size_t shard_count;
};

/* 0 or an error; figures_free either way. */
int figures_read(struct figures *figures, struct slsr_spool *spool, struct slsr_err *err);
void figures_free(struct figures *figures);
void figures_json_target(FILE *out, const struct target_figures *target);
void figures_json_shard(FILE *out, const struct slsr_shard_state *shard);
void figures_table_shards(const struct figures *figures, FILE *out, const char *indent);

#endif
