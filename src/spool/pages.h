/* LMDB's pages looked at before LMDB walks them: a flipped bit in a tree must be a sentence, not a
 * crash. LMDB 0.9 checks almost nothing it reads and ends the process when a page makes no sense.
 */
#ifndef SPOOL_PAGES_H
#define SPOOL_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/err.h"

/* The two meta pages of the file at `path`: what mdb_env_open relies on. 0; SLSR_ECORRUPT with a
 * sentence; SLSR_EIO. A file that is absent or empty is fine. */
int pages_check_metas(const char *path, struct slsr_err *err);
/* Every page of every tree as of transaction `txnid`, by pread: a page that the disk cannot read is
 * an error here and no SIGBUS. Reads branches and leaves only, about 100 pages for a segment of
 * 1 GiB. The transaction is open in LMDB, so that its pages are not reused meanwhile. 0;
 * SLSR_ECORRUPT; SLSR_EIO; SLSR_ENOMATCH: the file has moved on, begin again. */
int pages_check_trees(int fd, const char *path, uint64_t txnid, struct slsr_err *err);
/* Maps the pages of a value at once: cheaper than a fault for each few of them, and a page that the
 * disk cannot read is an error here, where it would be a SIGBUS later. False: it cannot be read. */
bool pages_fault_in(const void *value, size_t size);

/* A value of exactly `size` bytes in a named database, by four reads and without opening the file
 * in LMDB: for a file that gets no more transactions, and a value that has its own hash. False: not
 * there, or anything looks odd (a tree of more than one page, too): ask LMDB. */
bool pages_value(const char *path, const char *name, const char *key, unsigned char *out,
                 size_t size);

#endif
