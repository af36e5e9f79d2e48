/* Indoors of one shard's worker: what its files share. All of it belongs to the worker thread. */
#ifndef CONSUME_SHARD_H
#define CONSUME_SHARD_H

#include "client/client.h"
#include "consume/intake.h"
#include "consume/internal.h"

#include "base/backoff.h"

struct lane { /* one of the two batches */
    struct slsr_batch batch;
    size_t last_bytes, last_frames; /* of the last batch in it */
    struct slsr_checkpoint cp;
    struct slsr_ticket ticket;
    bool under_way;
};

/* A position that SLS may hear of once every target has taken all frames below `seq`. */
struct pending {
    uint64_t seq;
    char cursor[SLSR_CURSOR_MAX + 1];
};
enum { PENDING_MAX = 64 };
enum { SMALL_RAW_BYTES = 64 * 1024 }; /* buffers below this are not worth a token */

struct run {
    struct worker *w;
    struct consume *g;
    struct client *client;
    struct slsr_stream stream;
    struct intake intake;
    struct lane lanes[2];
    int turn;
    char cursor[SLSR_CURSOR_MAX + 1];   /* next to pull */
    char durable[SLSR_CURSOR_MAX + 1];  /* committed locally */
    char free_to[SLSR_CURSOR_MAX + 1];  /* what SLS may hear: durable, or what is delivered of it */
    char reported[SLSR_CURSOR_MAX + 1]; /* confirmed by SLS */
    char leapt_from[SLSR_CURSOR_MAX + 1]; /* no longer valid in SLS, and that is on record */
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    bool end_reported; /* at a read-only end: told once, even if unchanged */
    bool end_tried;    /* at once, then by checkpoint_interval */
    int64_t reported_ms;
    int64_t lag_s, noted_lag_s;
    struct backoff backoff;
    int last_error;   /* of pull and spool: for one line per state change */
    unsigned failed;  /* calls in a row */
    int report_error; /* of checkpoints, likewise */
    /* size of pulls */
    int64_t count;    /* log groups to ask for now, 1 .. max_log_groups */
    int64_t last_raw; /* raw bytes of the last pull that brought something */
    int64_t body_max; /* longest body since the buffers were given back */
    int64_t held;     /* memory tokens */
    bool busy;        /* counted as such in the source's memory */
};

/* --- buffers.c --- */
/* Memory that the worker's buffers take now, as far as it is worth counting. */
int64_t buffers_held(const struct run *r);
/* A batch that has none gets buffers of the size that the last one needed; the first one by the
 * bytes of the pull's protobuf. */
void buffers_warm(struct lane *lane, size_t raw_size);
/* Gives all back that no commit needs. No pull may be in hand. */
void buffers_pass(struct run *r);
/* Gives all of them back. Nothing may be under way, no pull in hand. */
void buffers_shed(struct run *r);
/* The last word on the worker's part of source.memory. */
void buffers_end(struct run *r);

/* --- shard.c --- */
/* Waits for the commit of both lanes; a full or failing spool is waited out, the batch stays in
 * hand. */
int shard_settle_all(struct run *r);

/* --- position.c --- */
/* Where to begin: docs/sls.md "Where a shard goes on". */
int position_find(struct run *r, struct slsr_err *err);
/* InvalidCursor: what lies between is gone from SLS; the setting says where to go on. Leaves a gap
 * record in the spool's ledger. */
int position_leap(struct run *r, struct slsr_err *err);

/* --- report.c --- */
/* The worker starts at r->durable; server: the group's checkpoint, "" when none. */
void report_begins(struct run *r, const char *server);
/* A lane is on disk. */
void report_committed(struct run *r, const struct lane *lane);
/* After each turn. at_end: everything that the shard holds now is on disk. */
void report_when_due(struct run *r, bool at_end);
/* The last word on leaving: tries until SLS has it, the shard is lost or it takes too long. */
void report_last(struct run *r);

#endif
