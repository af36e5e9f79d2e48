/* The spool's figures at one moment: what `sls-spool status`, the relay's /status, /metrics and its
 * page show. One builder, so that they cannot disagree. */
#ifndef SLSRELAY_STATUS_H
#define SLSRELAY_STATUS_H

#include <stdio.h>

#include "slsrelay/err.h"
#include "slsrelay/spool.h"

struct slsr_target_figures {
    struct slsr_target_state state; /* phase is STOPPED when no relay runs */
    uint64_t backlog_frames, backlog_bytes;
    /* Marks (slsrelay/control.h): held, also those about to be; dead; to be sent again. */
    uint64_t held_frames, dead_frames, resend_frames;
    int64_t oldest_age_s; /* of the first frame that it has not taken; -1: none */
    int64_t next_retry_s; /* -1: none planned */
    int64_t eta_s;        /* until the backlog is gone at the present rate; -1: unknown */
};

struct slsr_status {
    int64_t now_ms; /* wall clock of this look */
    struct slsr_spool_stat stat;
    struct slsr_target_figures *targets;
    size_t target_count;
    struct slsr_shard_state *shards;
    size_t shard_count;
    struct slsr_source_state *sources; /* state is "stopped" when no relay runs */
    size_t source_count;
};

/* Reads all of it from the spool, live or not. Frames may come in between two questions, so that
 * differences are cut at zero. 0 or an error; slsr_status_free either way. Any thread. */
int slsr_status_read(struct slsr_status *status, struct slsr_spool *spool, struct slsr_err *err);
void slsr_status_free(struct slsr_status *status);

/* For how long logs may have been lying in the service unpulled; -1: not known. */
int64_t slsr_source_behind_s(const struct slsr_source_state *source, int64_t now_ms);
/* Until the service deletes the oldest of them; 0: it has begun; -1: not known. */
int64_t slsr_source_expires_s(const struct slsr_source_state *source, int64_t now_ms);

/* {"frames":..,"targets":[..],"shards":[..]} as interface names it, then LF. one_line: without line
 * breaks inside. */
void slsr_status_write(FILE *out, const struct slsr_status *status, bool one_line);
/* Parts of it: the object of one target, of one shard, and the totals without braces. */
void slsr_status_write_target(FILE *out, const struct slsr_target_figures *target);
void slsr_status_write_shard(FILE *out, const struct slsr_shard_state *shard);
void slsr_status_write_source(FILE *out, const struct slsr_source_state *source, int64_t now_ms);
void slsr_status_write_totals(FILE *out, const struct slsr_spool_stat *stat);

#endif
