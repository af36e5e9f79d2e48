/* The spool's ledger: what happened to frames other than delivery, and who wanted it.
 *
 * Entries live in ack.mdb and are never changed; the oldest go when there are LEDGER_MAX of them
 * (src/spool/ledger.c). The relay writes gaps, drops and dead frames; sls-spool writes what an
 * operator ordered. Any thread; each add is one durable transaction, so once per event, never per
 * frame. In a reading tool an add opens ack.mdb for writing for that moment. */
#ifndef SLSRELAY_LEDGER_H
#define SLSRELAY_LEDGER_H

#include "slsrelay/err.h"
#include "slsrelay/spool.h"
#include "slsrelay/types.h"

struct slsr_ledger_entry {
    uint64_t id;     /* out: dense, from 1 */
    int64_t time_ms; /* 0: now */
    char kind[16];   /* "gap" "drop" "dead" "hold" "skip" "seek" "replay" ... */
    char reason[48]; /* a word for metrics: "invalid_cursor" "spool_full" "checksum" ... */
    char who[64];    /* "sls-relay" or the operator's user name */
    char target[64]; /* or "" */
    char project[SLSR_NAME_MAX + 1];
    char logstore[SLSR_NAME_MAX + 1]; /* or "" */
    uint32_t shard;
    char from_cursor[SLSR_CURSOR_MAX + 1];
    char to_cursor[SLSR_CURSOR_MAX + 1];
    uint64_t from_seq, to_seq; /* [from, to), 0 when none */
    uint64_t frames, bytes;
    char text[256]; /* one sentence */
};

/* 0; SLSR_EPERM (ack.mdb cannot be written), SLSR_EFULL, SLSR_EIO. Texts that are not terminated
 * are cut. */
int slsr_ledger_add(struct slsr_spool *spool, const struct slsr_ledger_entry *entry,
                    struct slsr_err *err);
/* All entries with id >= from_id, by id; the caller frees *out with free(). */
int slsr_ledger_list(struct slsr_spool *spool, uint64_t from_id, struct slsr_ledger_entry **out,
                     size_t *count, struct slsr_err *err);

/* Sets one frame aside for one target: it is not offered again (`--state dead`) until `requeue`.
 * reason is a word, evidence a sentence (what the receiver said, which limit). Writes the ledger in
 * the same transaction. The caller passes the frame as taken afterwards (I5: it stays in the spool
 * as long as retention keeps it). */
int slsr_spool_dead_add(struct slsr_spool *spool, const char *target, uint64_t seq,
                        const char *reason, const char *evidence, struct slsr_err *err);

#endif
