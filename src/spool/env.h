/* LMDB behind one door: environments, the one translator of its errors. */
#ifndef SPOOL_ENV_H
#define SPOOL_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <lmdb.h>

#include "slsrelay/err.h"

/* LMDB or errno code -> SLSR code with a sentence that begins with what and where. */
int env_fail(struct slsr_err *err, int lmdb_rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Opens one environment file. write: read-write with map_bytes; else read-only, and, when the lock
 * file cannot be written and lockless allows it, without locks: only for a spool that no relay has
 * open (a copy on read-only media), because a writer reuses pages under a reader without a lock. */
int env_open(MDB_env **out, const char *path, unsigned max_dbs, size_t map_bytes, bool write,
             bool lockless, struct slsr_err *err);
/* A sequence number key; LMDB aligns keys to two bytes only. */
static inline uint64_t env_key(const MDB_val *key)
{
    size_t seq;

    memcpy(&seq, key->mv_data, sizeof seq);
    return seq;
}
/* Makes an empty environment file if there is none: under another name first, so that no crash
 * leaves half a one. */
int env_birth(const char *dir, const char *name, struct slsr_err *err);
/* Takes blocks for what is there and `bytes` more, so that small commits work on a full disk. */
void env_reserve(MDB_env *env, uint64_t bytes);
int env_sync_dir(const char *dir, struct slsr_err *err);

#endif
