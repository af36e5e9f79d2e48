/* Indoors of the spool: the segment table and who may touch what.
 *
 * lock guards the segment table, streams, targets and figures; it is never held over a commit or an
 * fsync. Only the writer thread starts write transactions in segments; in ack.mdb the
 * keeper stores positions; orders and ledger entries come from anybody, in short ones. */
#ifndef SPOOL_INTERNAL_H
#define SPOOL_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <lmdb.h>

#include "spool/chunk.h"
#include "spool/crypt.h"
#include "spool/layout.h"
#include "spool/recent.h"

#include "slsrelay/spool.h"

struct segment {
    uint64_t first;
    unsigned refs;    /* open as long as > 0 or it is the writer's active one */
    bool active;      /* the writer's */
    bool worn;        /* nothing more goes into it: written by an older layout, or broken */
    uint32_t version; /* of its head */
    bool doomed;      /* unlinked; close at the last release */
    int grave_fd;     /* 1 + descriptor of its file without a name; 0: none */
    struct segment *grave_next;
    uint64_t next;       /* sequence behind its last frame; 0 = look into it */
    uint64_t end_bytes;  /* total wire bytes behind its last frame (with next) */
    int64_t newest_ms;   /* arrival of its last frame (with next) */
    uint64_t disk_bytes; /* of a sealed one */
    uint64_t ahead_to;   /* writer: file offset up to which it has blocks */
    _Atomic bool broken; /* LMDB gave it up: open it again before reading */
    _Atomic bool lent;   /* and it is open again, but for readers: no more writes */
    unsigned page_bytes; /* writer: LMDB's page size; 0: not looked yet */
    bool summed;         /* sum is its summary: it never changes */
    struct layout_summary sum;
    MDB_env *env;
    MDB_dbi chunks, index, streams, meta;
};

struct stream { /* a shard's stream; position in the array = id */
    bool used;
    char key[LAYOUT_KEY_MAX];
    char project[SLSR_NAME_MAX + 1];
    char logstore[SLSR_NAME_MAX + 1];
    uint32_t shard;
    char cursor[SLSR_CURSOR_MAX + 1];
    char reported[SLSR_CURSOR_MAX + 1];
    int64_t lag_s;
    int64_t busy_ms; /* monotonic: when its last batch was handed over */
    bool dirty;      /* note not yet on disk */
};

struct target {
    struct slsr_target_state state;
    bool dirty;
};

/* Databases of ack.mdb beside the positions (books.h). */
struct books {
    bool open, writable;
    MDB_dbi ledger, marks, orders, jobs, sources;
    pthread_rwlock_t gate; /* read: a transaction is open; write: ack.mdb is opened anew */
    _Atomic bool broken;   /* MDB_PANIC: the keeper opens ack.mdb anew */
};

/* A send stage that wants to hear of orders. */
struct waiter {
    char target[64];
    struct slsr_stop *wake;
};

enum { WAITERS_MAX = 128 };

enum { SEGMENTS_MAX = 65536, STREAMS_MAX = 65536, TARGETS_MAX = 64, NEWS_MAX = 128 };

/* Parts of the active file that the transaction under way fills with chunks. */
enum { FILE_RUNS_MAX = 64 };
struct file_run {
    uint64_t from, to;
};
struct file_runs {
    size_t count;
    struct file_run at[FILE_RUNS_MAX];
};

/* Thread that begins the writing of a large commit (early.c); used by the writer alone. */
struct early {
    pthread_mutex_t lock;
    pthread_cond_t turn;
    pthread_t thread;
    bool runs, busy, closing;
    _Atomic bool over; /* the commit needs no more help */
    int fd;
    uint64_t from, to; /* part of the file at its end that the commit fills */
};

/* Something that the ledger shall know, on its way to the keeper. */
struct incident {
    struct incident *next;
    char kind[16], reason[48];
    uint64_t from, to; /* sequences [from, to) */
    uint64_t bytes;
    char text[256];
};

struct slsr_spool {
    struct slsr_spool_config config; /* string owned: path */
    enum slsr_spool_mode mode;
    size_t segment_bytes;
    int lock_fd;
    bool lockless; /* reader of a spool that no relay has open */
    unsigned char lineage[16];
    pthread_mutex_t lock;
    pthread_cond_t work;       /* writer: something in the queue, or closing */
    pthread_cond_t settled;    /* callers: their ticket is done */
    pthread_cond_t keep;       /* keeper: something dirty, or closing */
    struct segment **segments; /* sorted by first */
    size_t segment_count;
    struct stream **streams;
    size_t stream_count;
    struct target *targets;
    size_t target_count;
    int news[NEWS_MAX];
    size_t news_count;
    struct slsr_ticket *queue_head, *queue_tail;
    struct crypt *crypt;          /* keys; NULL: frames are stored as they are */
    struct crypt_box *writer_box; /* the writer's cipher */
    struct segment *graves;       /* unlinked and used by nobody: the keeper closes them */
    struct incident *incidents;   /* newest first */
    uint64_t *quarantined;        /* first sequences of what was set aside and entered */
    size_t quarantined_count;
    struct file_runs runs; /* the writer's */
    struct early early;    /* the writer's */
    struct prepared *pool; /* memory for batches to come */
    size_t pool_count;
    _Atomic uint64_t next_seq; /* writer mode */
    uint64_t total_bytes;      /* wire bytes ever stored (writer mode) */
    struct recent recent;      /* what senders find in memory */
    size_t wanted_bytes;       /* size of the append that found no room */
    bool full;
    bool told_unlink;                 /* that a segment cannot be deleted */
    uint64_t unlinks, unlinks_synced; /* names taken away; of them surely gone from the disk */
    bool closing;
    unsigned failures; /* writer: commits that failed one after the other */
    bool threads;
    pthread_t writer, keeper;
    MDB_env *ack_env;
    MDB_dbi ack_targets, ack_shards;
    bool ack_open;
    struct books books;
    struct waiter waiters[WAITERS_MAX];
    size_t waiter_count;
    size_t seen_txn;              /* keeper: last transaction of ack.mdb that it has looked at */
    uint64_t seen_generation;     /* keeper: last order that it has heard of */
    _Atomic long told_pinned;     /* keeper: process that pins ack.mdb and was named; 0: none */
    uint64_t trimmed_to;          /* keeper: marks below were forgotten */
    _Atomic uint64_t marks_floor; /* nothing from here on may be given back */
    unsigned patience_s;          /* a tool waits so long for the writer lock (patience.c) */
    void (*patience_over)(void *ctx);
    void *patience_ctx;
    void (*on_write)(void *ctx, bool begins); /* a tool hears of its own turns (patience.c) */
    void *on_write_ctx;
};

/* segment.c */
void segment_path(const struct slsr_spool *spool, uint64_t first, char *out, size_t size);
/* Reads the directory: new files join, vanished ones leave. Lock held. */
int segments_refresh(struct slsr_spool *spool, struct slsr_err *err);
/* Segment that holds seq, or the nearest later one; open and referenced. ENOMATCH: none. */
int segment_acquire(struct slsr_spool *spool, uint64_t seq, struct segment **out,
                    struct slsr_err *err);
/* Out of the table and unlinked: closed by the keeper once nobody uses it. Lock held. */
void segment_bury(struct slsr_spool *spool, struct segment *seg);
/* Closes what was buried. Lock not held. */
void segments_close_buried(struct slsr_spool *spool);
/* Clears the slots of readers that died, in everything that is open. Lock not held. */
void segments_clear_readers(struct slsr_spool *spool);
/* First sequence of the segment behind the one that seq lies in, `otherwise` when there is none. */
uint64_t segment_end(struct slsr_spool *spool, uint64_t seq, uint64_t otherwise);
void segment_release(struct slsr_spool *spool, struct segment *seg);
int segment_open(struct slsr_spool *spool, struct segment *seg, bool write, struct slsr_err *err);
void segment_close(struct segment *seg);
/* Fills next, end_bytes and newest_ms from its last index record, or, where that is damaged, from
 * its last chunk. The segment is open. */
int segment_tail(struct segment *seg, struct slsr_err *err);
/* Makes seg-<next_seq> with head and all streams in its first transaction, active. Lock not held.
 */
int segment_create(struct slsr_spool *spool, struct segment **out, struct slsr_err *err);
/* Gives the blocks behind its end back. */
void segment_trim(struct segment *seg);
void segment_unlink(const struct slsr_spool *spool, uint64_t first); /* with its lock file */
/* In its first transaction: leaves free pages side by side at the head of the file. The trees,
 * whose pages move at each commit, then write a few neighbours instead of pages all over the file.
 * LMDB code (records.c, as the six below). */
int segment_tree_room(const struct slsr_spool *spool, const struct segment *seg, MDB_txn *txn);
/* Its head as a value. */
void segment_head(struct slsr_spool *spool, const struct segment *seg, uint64_t bytes_before,
                  unsigned char value[LAYOUT_HEAD_BYTES]);
/* Brings the head of an empty segment of an older layout up to date. */
int segment_upgrade(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err);
/* Writes the summary record of a segment that gets no more frames. */
int segment_seal(struct segment *seg, struct slsr_err *err);
/* Its summary: false when it has none (not sealed, damaged, or of version 1). */
bool segment_summary(struct segment *seg, struct layout_summary *out);
/* Summary of the sealed segment that seq lies in, or the nearest later one, without opening it: so
 * that a look-up passes over hundreds of them. False: it has none, open it. Lock not held. */
bool segment_peek(struct slsr_spool *spool, uint64_t seq, uint64_t *first,
                  struct layout_summary *out);
/* Removes what a creation that did not end has left. Writer only. */
void segment_sweep(const struct slsr_spool *spool);
uint64_t segment_disk(const struct slsr_spool *spool, const struct segment *seg);
int segment_load_streams(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err);
/* Reads into *data the value of the greatest key <= seq in db. Lock not needed. */
int segment_floor(MDB_cursor *cursor, uint64_t seq, MDB_val *key, MDB_val *data);

/* spool.c */
bool spool_is_live(const struct slsr_spool *spool);                    /* does a relay hold LOCK? */
struct stream *stream_find(struct slsr_spool *spool, const char *key); /* lock held */
struct stream *stream_put(struct slsr_spool *spool, uint32_t id, const char *key, size_t key_len);
/* Names of the stream with this id, from the checkpoints of seg when it is new to us.
 * SLSR_ECORRUPT: unknown; or they cannot be read. `stream` has views into the rest. Lock not held.
 */
struct stream_name {
    struct slsr_stream stream;
    char project[SLSR_NAME_MAX + 1];
    char logstore[SLSR_NAME_MAX + 1];
};
int stream_lookup(struct slsr_spool *spool, struct segment *seg, uint32_t id,
                  struct stream_name *name, struct slsr_err *err);
/* At least so many ids are taken. Lock held, or no threads yet. */
void streams_reserve(struct slsr_spool *spool, size_t count);
void spool_announce(struct slsr_spool *spool); /* wakes news descriptors; lock held */

/* quarantine.c. Lock held, except where said. A reading tool records nothing. */
/* The frames [from, to) of a damaged chunk are left out: once in the ledger. Lock not held. */
void quarantine_chunk(struct slsr_spool *spool, uint64_t from, uint64_t to, uint64_t bytes,
                      const char *why);
/* Renames a sealed segment with a bad tree to seg-....mdb.bad and forgets it. */
void quarantine_segment(struct slsr_spool *spool, struct segment *seg, const char *why);
void incident_add(struct slsr_spool *spool, const char *kind, const char *reason, uint64_t from,
                  uint64_t to, uint64_t bytes, const char *text);
/* Writes what waits to the ledger; the keeper. Lock not held. */
void incidents_flush(struct slsr_spool *spool);
/* What was set aside in earlier runs, so that it is not entered again. Lock not held. */
void quarantine_load(struct slsr_spool *spool);
void quarantine_free(struct slsr_spool *spool);

/* commit.c: makes a group durable; the writer thread only. Codes of slsr_spool_settle. */
struct group {
    struct slsr_ticket *head;
    size_t bytes; /* of all chunks as stored */
    uint64_t frames;
};
int commit_write(struct slsr_spool *spool, struct group *group, struct slsr_err *err);

/* early.c. The writer: between begin and end a commit fills [from, to) of the file, at its end.
 * After end nobody uses fd. Without a thread all of it does nothing. */
void early_start(struct early *early);
void early_stop(struct early *early);
void early_begin(struct early *early, int fd, uint64_t from, uint64_t to);
void early_end(struct early *early);

/* cache.c. The writer, after each commit: the pages of its chunks go back. */
void cache_give_back(const struct slsr_spool *spool, const struct segment *seg);

/* readers.c. The keeper: how often positions are stored, `usual_ms` unless somebody stands still
 * inside a transaction on ack.mdb. Says so once. */
int64_t readers_pace_ms(struct slsr_spool *spool, int64_t usual_ms);

/* patience.c: mdb_txn_begin for writing in ack.mdb; a tool waits for a limited time. LMDB code.
 * Behind the end of a transaction that has begun: patience_end. */
int patience_begin(const struct slsr_spool *spool, MDB_env *env, MDB_txn **txn);
void patience_end(const struct slsr_spool *spool);

/* append.c, ack.c: the two threads */
void *append_thread(void *spool);
void *ack_thread(void *spool);
int ack_open(struct slsr_spool *spool, bool write, struct slsr_err *err);
/* Moves a target's position, also backwards (an operator's order). Lock held. */
void ack_move(struct slsr_spool *spool, const char *name, uint64_t seq);
int ack_flush(struct slsr_spool *spool, struct slsr_err *err); /* lock not held */
/* Opens ack.mdb anew after LMDB has given it up. The keeper, outside of transactions. */
int ack_reopen(struct slsr_spool *spool, struct slsr_err *err);
int ack_load(struct slsr_spool *spool, struct slsr_err *err);
/* shards.c: consumers' notes from ack.mdb into the stream table. */
int notes_load(struct slsr_spool *spool, struct slsr_err *err);

/* retain.c */
/* Has every target taken every frame (or may frames be dropped)? Lock not held. */
bool retain_all_taken(struct slsr_spool *spool);
/* Gives back what retention allows; with need_bytes > 0 also delivered segments that would still be
 * kept, until so much fits. 0 or EFULL. Lock not held. */
int retain_make_room(struct slsr_spool *spool, size_t need_bytes, struct slsr_err *err);

#endif
