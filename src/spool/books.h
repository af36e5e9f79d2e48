/* The books: databases of ack.mdb beside the positions. Ledger, marks, control records and jobs.
 *
 * The relay and a tool both write here, in short transactions; LMDB's writer lock is between them.
 * A tool opens ack.mdb for writing only when it has something to write. */
#ifndef SPOOL_BOOKS_H
#define SPOOL_BOOKS_H

#include "spool/internal.h"

#include "slsrelay/control.h"
#include "slsrelay/ledger.h"

/* Opens the databases of an environment that is open for writing (create) or reading. LMDB code;
 * MDB_NOTFOUND: a spool that has no books yet. Inside txn, which is to be committed. */
int books_open(struct slsr_spool *spool, MDB_txn *txn, bool create);
/* A transaction on the books. For reading a spool without books: SLSR_ENOMATCH. */
int books_begin(struct slsr_spool *spool, bool write, MDB_txn **txn, struct slsr_err *err);
/* Commits a write transaction when rc (an LMDB code) is 0, else aborts it; rc or the commit's. */
int books_end(MDB_txn *txn, int rc);
/* Ends a reading transaction. */
void books_leave(MDB_txn *txn);

/* ledger.c: inside a write transaction; LMDB codes. */
int ledger_put(struct slsr_spool *spool, MDB_txn *txn, const struct slsr_ledger_entry *entry,
               uint64_t *id);

/* marks.c: a set of sequences per kind and target, kept as spans that do not touch. LMDB codes. */
int marks_add(struct slsr_spool *spool, MDB_txn *txn, char kind, const char *target,
              struct slsr_span span, uint64_t note);
int marks_remove(struct slsr_spool *spool, MDB_txn *txn, char kind, const char *target,
                 struct slsr_span span);
/* Appends the spans of one kind and target to out (sorted by from). */
int marks_load(struct slsr_spool *spool, MDB_txn *txn, char kind, const char *target,
               struct slsr_spans *out);
/* Forgets everything below seq, for all kinds and targets. */
int marks_trim(struct slsr_spool *spool, MDB_txn *txn, uint64_t seq);
/* Smallest sequence that some hold or order to send again still needs; UINT64_MAX: none. */
int marks_floor(struct slsr_spool *spool, MDB_txn *txn, uint64_t *floor);

/* control.c: called by the keeper about three times a second. Looks whether somebody else wrote an
 * order (a memory read when nothing was committed) and wakes the senders. Lock not held. */
void control_look(struct slsr_spool *spool);
/* Sequence from which nothing may be given back because of marks; as of the last look. */
uint64_t control_floor(const struct slsr_spool *spool);

/* Inside a write transaction: the target's orders and marks go, it is no longer configured. */
int control_forget(struct slsr_spool *spool, MDB_txn *txn, const char *target);

#endif
