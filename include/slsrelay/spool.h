/* The durable queue between the two stages: a directory of LMDB segments (docs/spool-format.md).
 *
 * Sequence numbers are dense, start at 1 and are never reused (I4). One process writes (flock on
 * LOCK); any number may read, while it runs or afterwards. A handle may be used by any thread; a
 * range by one thread at a time. Open a spool directory at most once per process. */
#ifndef SLSRELAY_SPOOL_H
#define SLSRELAY_SPOOL_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/stop.h"
#include "slsrelay/types.h"

struct slsr_spool;
struct slsr_range;
struct prepared; /* the spool's own */

enum slsr_spool_mode {
    SLSR_SPOOL_WRITE, /* the daemon: takes LOCK, creates what is missing */
    SLSR_SPOOL_READ   /* a tool: never creates, never writes frames; live or dead spool */
};

/* SLSR_ENOSPOOL (read mode, nothing there), SLSR_EBUSY (another relay has LOCK), SLSR_EPERM,
 * SLSR_ECREATE, SLSR_ECORRUPT, SLSR_EVERSION, SLSR_EIO, SLSR_ECONFIG (key file). config is copied.
 * In read mode only `path` and `encryption_key_file` matter; without the key everything but the
 * frames' content can be read. */
int slsr_spool_open(struct slsr_spool **out, const struct slsr_spool_config *config,
                    enum slsr_spool_mode mode, struct slsr_err *err);
void slsr_spool_close(struct slsr_spool *spool); /* flushes ack positions; NULL is fine */

/* For a program that opened the spool for reading and writes orders into its books: a wait for a
 * relay that stands still inside a transaction of its own ends after `seconds`. Then `over` is
 * called in a thread of the spool's; the caller's thread hangs and nothing of its transaction
 * happens, so `over` ends the process and must not return. Set once, before the first order;
 * without it such a wait has no limit. */
void slsr_spool_patience(struct slsr_spool *spool, unsigned seconds, void (*over)(void *ctx),
                         void *ctx);
/* For the same program, which must not stand still itself while it keeps the books locked, for then
 * the relay does: `turn` is called before each wait for the lock (true) and once it is given back
 * (false), in the thread that writes. Set once, before the first order. */
void slsr_spool_on_write(struct slsr_spool *spool, void (*turn)(void *ctx, bool begins), void *ctx);

/* --- writing (consume) --- */

/* A batch on its way to the disk; the caller's, zeroed, untouched until settle returns. */
struct slsr_ticket {
    struct slsr_ticket *next;
    const struct slsr_batch *batch;
    const struct slsr_checkpoint *checkpoint;
    uint64_t first; /* out: sequence of the first frame */
    /* The same batch, or NULL. When set, the spool may keep its data and meta (blocks of malloc)
     * once they are durable, so that a sender finds the frames in memory: settle then leaves both
     * NULL, the counts stay. */
    struct slsr_batch *gift;
    struct prepared *prepared; /* the spool's: chunks ready to be written */
    int rc;
    bool done;
    bool kept; /* the gift's memory is the spool's */
    struct slsr_err err;
};
/* Hashes, compresses and encrypts the batch in the caller's thread, then hands it and the
 * checkpoint behind it to the writer; both borrowed until settle. SLSR_ENOMEM, SLSR_ETOOBIG,
 * SLSR_EUSAGE. */
int slsr_spool_submit(struct slsr_spool *spool, struct slsr_ticket *ticket,
                      const struct slsr_batch *batch, const struct slsr_checkpoint *checkpoint,
                      struct slsr_err *err);
/* Waits until the ticket is on disk in one transaction (I1), together with others that wait.
 * 0, SLSR_EFULL (limit or disk full: see wait_room), SLSR_EIO (nothing of it visible),
 * SLSR_ECORRUPT. After a failure the same batch may be submitted again. */
int slsr_spool_settle(struct slsr_spool *spool, struct slsr_ticket *ticket, struct slsr_err *err);
/* submit + settle. A batch may be empty: then only the checkpoint moves. */
int slsr_spool_append(struct slsr_spool *spool, const struct slsr_batch *batch,
                      const struct slsr_checkpoint *checkpoint, uint64_t *first,
                      struct slsr_err *err);
/* Waits until an append may work again, stop fires, or timeout. SLSR_EFULL on timeout. */
int slsr_spool_wait_room(struct slsr_spool *spool, struct slsr_stop *stop, int64_t timeout_ms,
                         struct slsr_err *err);
/* Local checkpoint of a stream: 0 and filled (strings of stream are the caller's), or ENOMATCH. */
int slsr_spool_checkpoint(struct slsr_spool *spool, const struct slsr_stream *stream,
                          struct slsr_checkpoint *out, struct slsr_err *err);

/* --- batches (memory only) --- */
void slsr_batch_init(struct slsr_batch *batch);
void slsr_batch_fini(struct slsr_batch *batch);
void slsr_batch_reset(struct slsr_batch *batch); /* empties it, keeps the memory */

/* --- reading --- */

/* Reader over [from, to); to = UINT64_MAX follows the spool as it grows. from is raised to the
 * oldest frame there is. Holds no LMDB transaction between calls: a stopped reader pins nothing. */
int slsr_range_open(struct slsr_range **out, struct slsr_spool *spool, uint64_t from, uint64_t to,
                    struct slsr_err *err);
void slsr_range_close(struct slsr_range *range);
/* Next frame: 0; SLSR_ENOMATCH at the end for now (a follower may call again later);
 * SLSR_ECORRUPT for a chunk that fails its checksum (call again: it is skipped; err names the
 * sequences); SLSR_ECONFIG when its key is missing (not skipped: seek past it to go on). */
int slsr_range_next(struct slsr_range *range, struct slsr_frame *frame, struct slsr_err *err);
/* A run of frames as stored, back to back with octet counts, at most max_bytes (but at least one
 * frame), for senders: no copy. `ends` has count offsets, one behind each frame's last byte,
 * relative to wire.p. Valid until the next call on the range. Codes as slsr_range_next. */
struct slsr_run {
    uint64_t first; /* sequence */
    uint32_t count;
    struct slsr_bytes wire;
    const uint32_t *ends;
};
int slsr_range_next_run(struct slsr_range *range, size_t max_bytes, struct slsr_run *run,
                        struct slsr_err *err);
/* Continue at seq (forwards or back). */
void slsr_range_seek(struct slsr_range *range, uint64_t seq);
/* Frames that left the spool before the range came to them (whatever it was to look for). */
uint64_t slsr_range_missed(const struct slsr_range *range);
/* From now on it ends at `to`. Not for a follower. */
void slsr_range_limit(struct slsr_range *range, uint64_t to);
uint64_t slsr_range_position(const struct slsr_range *range); /* next sequence it would hand out */
/* From now on skip whole chunks that hold no frame with event (or arrival) time in [since, until):
 * a cheap prefilter; the caller still checks each frame. Milliseconds; INT64_MIN/MAX: open. */
void slsr_range_time(struct slsr_range *range, int64_t since_ms, int64_t until_ms, bool by_arrival);

/* The same for streams: whole chunks of one that `want` refuses are skipped. */
void slsr_range_streams(struct slsr_range *range,
                        bool (*want)(void *ctx, const struct slsr_stream *stream), void *ctx);

/* Oldest kept sequence and the next one to be given; equal when empty. */
int slsr_spool_bounds(struct slsr_spool *spool, uint64_t *oldest, uint64_t *next,
                      struct slsr_err *err);
/* A descriptor that becomes readable when frames are added (same process; read 8 bytes to re-arm,
 * eventfd). Close with slsr_spool_news_close. In a reading tool it never fires: use a timer. */
int slsr_spool_news_open(struct slsr_spool *spool, int *fd, struct slsr_err *err);
void slsr_spool_news_close(struct slsr_spool *spool, int fd);

/* --- targets --- */

enum slsr_target_phase {
    SLSR_PHASE_IDLE,
    SLSR_PHASE_CONNECTING,
    SLSR_PHASE_UP,
    SLSR_PHASE_BACKOFF,
    SLSR_PHASE_STALLED,
    SLSR_PHASE_STOPPED,
    SLSR_PHASE_PAUSED /* an operator's order */
};
const char *slsr_phase_name(enum slsr_target_phase phase); /* "idle" "connecting" "up" ... */

/* What the sender knows about its target; stored with the ack position, shown by sls-spool. */
struct slsr_target_state {
    char name[64];
    uint64_t acked; /* next sequence that the target has not yet taken */
    enum slsr_target_phase phase;
    int64_t phase_since_ms; /* wall clock */
    int64_t next_retry_ms;  /* wall clock, 0 when none is planned */
    int64_t written_ms;     /* wall clock of this record */
    uint64_t sent_frames;   /* since the relay started */
    uint64_t resent_frames;
    uint64_t reconnects;
    double rate_frames_s; /* frames taken per second, last seconds */
    char error[200];      /* last error, "" when none */
    /* Why nothing gets through just now: "dns" "refused" "unreachable" "timeout" "tls" "reset"
     * "closed" "half-open" "stalled" "proof" "slow" "rejected" "local" "protocol"; "" when it
     * does. */
    char cause[24];
    int64_t cause_since_ms;       /* wall clock; since the first failure with this cause */
    int64_t cert_expires_ms;      /* our certificate, wall clock; 0: none */
    int64_t peer_cert_expires_ms; /* the receiver's */
    char server[128];             /* "host:port" that is used now, or was last */
};
/* Registers a target: its frames are kept until it has taken them. A new target starts at the
 * oldest frame. Read its position from out->acked. */
int slsr_spool_target_add(struct slsr_spool *spool, const char *name, struct slsr_target_state *out,
                          struct slsr_err *err);
/* Adds all these targets and forgets every other one: what is no longer configured must not keep
 * frames for ever. Before the senders start. */
int slsr_spool_targets_keep(struct slsr_spool *spool, const char *const *names, size_t count,
                            struct slsr_err *err);
/* Moves the ack position (only forwards, I3) and replaces the state. In memory at once, on disk
 * within 100 ms and at close. */
int slsr_spool_ack(struct slsr_spool *spool, const struct slsr_target_state *state,
                   struct slsr_err *err);
/* All targets; the caller frees the array with free(). */
int slsr_spool_targets(struct slsr_spool *spool, struct slsr_target_state **out, size_t *count,
                       struct slsr_err *err);

/* --- shards --- */
struct slsr_shard_state {
    char project[SLSR_NAME_MAX + 1];
    char logstore[SLSR_NAME_MAX + 1];
    uint32_t shard;
    char cursor[SLSR_CURSOR_MAX + 1];     /* local, durable: next to read */
    char checkpoint[SLSR_CURSOR_MAX + 1]; /* last one SLS confirmed, as far as stored */
    int64_t lag_s;                        /* behind the newest, -1 unknown */
};
int slsr_spool_shards(struct slsr_spool *spool, struct slsr_shard_state **out, size_t *count,
                      struct slsr_err *err);
/* Consumer's word on a shard: lag and confirmed checkpoint. On disk within 100 ms. */
int slsr_spool_shard_note(struct slsr_spool *spool, const struct slsr_stream *stream,
                          const char *reported, int64_t lag_s, struct slsr_err *err);

/* --- sources --- */
/* How reading one logstore fares, in the relay's words, so that a tool can tell why nothing comes.
 */
struct slsr_source_state {
    char project[SLSR_NAME_MAX + 1];
    char logstore[SLSR_NAME_MAX + 1];
    char consumer_group[SLSR_NAME_MAX + 1];
    char state[16];   /* "ok", "starting", or the trouble's word: "network" "credentials" ... */
    char error[256];  /* one sentence, "" when all is well; never a secret */
    int64_t since_ms; /* wall clock: since when it is so */
    uint32_t shards;  /* that the relay works on */
    uint32_t stuck_shards; /* of these with a trouble of their own */
    /* The service deletes what it received longer ago than that; 0: not known. */
    int64_t retention_s;
    /* Wall clock: what it received before has been pulled from all of these shards (to a minute);
     * 0: not known. Unpulled logs are deleted from pulled_to_ms + retention_s on. */
    int64_t pulled_to_ms;
};
/* The relay's word on a logstore; on disk on return. Any thread. */
int slsr_spool_source_note(struct slsr_spool *spool, const struct slsr_source_state *state,
                           struct slsr_err *err);
/* All of them, as last noted; the caller frees the array with free(). */
int slsr_spool_sources(struct slsr_spool *spool, struct slsr_source_state **out, size_t *count,
                       struct slsr_err *err);
/* Forgets what is no longer read: every logstore that is not among these. */
int slsr_spool_sources_keep(struct slsr_spool *spool, const struct slsr_stream *streams,
                            size_t count, struct slsr_err *err);

/* --- figures --- */
struct slsr_spool_stat {
    uint64_t frames, bytes; /* stored: frames and their wire bytes */
    uint64_t oldest_seq, next_seq;
    int64_t oldest_arrival_ms, newest_arrival_ms; /* 0 when empty */
    uint64_t disk_bytes;
    uint32_t segments;
    bool live; /* a relay holds LOCK now */
    bool full; /* writer: at its limit now */
};
int slsr_spool_stat(struct slsr_spool *spool, struct slsr_spool_stat *out, struct slsr_err *err);
/* The writer is at its limit now, as in stat; cheap. Any thread. */
bool slsr_spool_full(struct slsr_spool *spool);
/* Frames, wire bytes and the arrival time of the first frame from seq to the newest. */
int slsr_spool_backlog(struct slsr_spool *spool, uint64_t seq, uint64_t *frames, uint64_t *bytes,
                       int64_t *arrival_ms, struct slsr_err *err);
/* First sequence whose chunk may hold a time >= ms; by arrival it is exact to the chunk. */
int slsr_spool_seek_time(struct slsr_spool *spool, int64_t ms, bool by_arrival, uint64_t *seq,
                         struct slsr_err *err);
/* End (exclusive) of what may hold a time < ms: nothing from there on does, by the index. */
int slsr_spool_until_time(struct slsr_spool *spool, int64_t ms, bool by_arrival, uint64_t *end,
                          struct slsr_err *err);

/* How many frames of [from, to) have an event (arrival) time in [since, until], both included, and
 * are of a wanted stream: by summaries and index records, no frame is read. */
struct slsr_count {
    uint64_t from, to;
    int64_t since_ns, until_ns; /* INT64_MIN/MAX: open */
    bool by_arrival;
    bool (*want)(void *ctx, const struct slsr_stream *stream); /* NULL: all */
    /* Called, oldest first, with frames that the index cannot judge (a chunk across an end of the
     * time, a damaged record): the caller looks at each. */
    void (*edge)(void *ctx, uint64_t from, uint64_t to);
    void *ctx;
};
/* sure: out, those that count without a look. Codes as slsr_spool_bounds. */
int slsr_spool_count(struct slsr_spool *spool, const struct slsr_count *count, uint64_t *sure,
                     struct slsr_err *err);

/* Walks everything. `bad` is called for each damage with a sentence. deep also parses each frame.
 * `progress` (may be NULL) is called for each chunk; when it says false, the walk ends with
 * SLSR_ESTOPPED. Returns 0 (no damage), SLSR_ECORRUPT (damage was reported), or another error. */
struct slsr_verify {
    uint64_t segments, chunks, frames, bytes, damaged;
    uint64_t sealed_chunks; /* encrypted, key not at hand: only their checksums were looked at */
    bool deep;
    void (*bad)(void *ctx, const char *sentence);
    bool (*progress)(void *ctx, uint64_t done_frames, uint64_t all_frames);
    void *ctx;
};
int slsr_spool_verify(struct slsr_spool *spool, struct slsr_verify *verify, struct slsr_err *err);

/* A slot in a reader table; this process's own are left out. */
struct slsr_spool_reader {
    long pid;
    bool alive;       /* false: it died and pins what it last read until the slot is cleared */
    uint64_t txn;     /* that it reads now; 0: none */
    const char *file; /* until the callback returns */
};
/* Calls `each` per slot of every file; with `clear` dead slots are then given back. */
int slsr_spool_readers(struct slsr_spool *spool, bool clear,
                       void (*each)(void *ctx, const struct slsr_spool_reader *reader), void *ctx,
                       unsigned *cleared, struct slsr_err *err);

/* Copies the spool into an empty directory, also while a relay works in it: consistent, on the disk
 * on return. A relay refuses the copy until its LOCK is deleted. SLSR_ECREATE, SLSR_EFULL,
 * SLSR_EIO, SLSR_ESTOPPED. */
int slsr_spool_backup(struct slsr_spool *spool, const char *dir, struct slsr_stop *stop,
                      uint64_t *files, uint64_t *bytes, struct slsr_err *err);

/* "LMDB 0.9.24, xxHash 0.8.1", of the libraries that run here. */
void slsr_spool_libraries(char *out, size_t size);

#endif
