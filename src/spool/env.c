/* Opening LMDB environments and translating its errors.
 *
 * A commit on a full disk comes back as ENOSPC or as EIO (LMDB turns a short write into EIO; the
 * writer looks which it was, commit.c); in both cases the transaction is gone and the environment
 * is fine, so both are RETRY. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "spool/env.h"

#include "slsrelay/spool.h"
#include "spool/pages.h"

#include "base/fault.h"

enum { LOCK_BYTES = 8192 }; /* of LMDB with 126 readers */

static int code_of(int rc)
{
    switch (rc) {
    case ENOSPC:
    case EDQUOT:
    case MDB_MAP_FULL:
        return SLSR_EFULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_VALSIZE:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
        return SLSR_ECORRUPT;
    case MDB_VERSION_MISMATCH:
        return SLSR_EVERSION;
    case EACCES:
    case EPERM:
    case EROFS:
        return SLSR_EPERM;
    case ENOENT:
        return SLSR_ENOSPOOL;
    case ENOMEM:
        return SLSR_ENOMEM;
    case MDB_NOTFOUND:
        return SLSR_ENOMATCH;
    default:
        return SLSR_EIO;
    }
}

int env_fail(struct slsr_err *err, int lmdb_rc, const char *fmt, ...)
{
    char what[300];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return slsr_fail(err, code_of(lmdb_rc), "%s: %s", what, mdb_strerror(lmdb_rc));
}

/* Blocks for the lock file, which LMDB maps and writes to: on a full disk a hole in it would be a
 * SIGBUS. Only before this process has it open: closing any descriptor of it drops LMDB's locks. A
 * file that we may not make or a file system without the call is LMDB's to judge. */
static int reserve_lock(const char *path)
{
    char lock[4208];
    int rc = 0;
    int fd;

    snprintf(lock, sizeof lock, "%s-lock", path);
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return errno == ENOSPC ? ENOSPC : 0;
    if (fallocate(fd, 0, 0, LOCK_BYTES) != 0 && (errno == ENOSPC || errno == EDQUOT))
        rc = errno;
    close(fd);
    return rc;
}

void env_reserve(MDB_env *env, uint64_t bytes)
{
    MDB_envinfo info;
    MDB_stat st;
    int fd;

    if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &st) != 0 ||
        mdb_env_get_fd(env, &fd) != 0)
        return;
    bytes += ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) != 0) {
        /* no room or no such call: then a full disk is met when it comes */
    }
}

/* LMDB would crash on a damaged tree: look at all of it first, as of a transaction that keeps its
 * pages. A busy writer may be two commits ahead before its root is read: then once more. */
static int check_trees(MDB_env *env, const char *path, struct slsr_err *err)
{
    int rc = SLSR_ENOMATCH;

    for (int attempt = 0; attempt < 20 && rc == SLSR_ENOMATCH; attempt++) {
        MDB_txn *txn = NULL;
        int fd;

        rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
        if (rc == 0)
            rc = mdb_env_get_fd(env, &fd);
        if (rc == 0)
            rc = pages_check_trees(fd, path, mdb_txn_id(txn), err);
        else
            rc = env_fail(err, rc, "cannot read %s", path);
        if (txn != NULL)
            mdb_txn_abort(txn);
    }
    return rc == SLSR_ENOMATCH ? slsr_fail(err, SLSR_EIO, "%s changes too fast to be opened", path)
                               : rc;
}

int env_open(MDB_env **out, const char *path, unsigned max_dbs, size_t map_bytes, bool write,
             bool lockless, struct slsr_err *err)
{
    MDB_env *env = NULL;
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (write ? 0 : MDB_RDONLY);
    int rc;

    *out = NULL;
    rc = pages_check_metas(path, err);
    if (rc != 0)
        return rc;
    rc = mdb_env_create(&env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(env, max_dbs);
    if (rc == 0 && map_bytes != 0)
        rc = mdb_env_set_mapsize(env, map_bytes);
    if (rc == 0 && (write || access(path, F_OK) == 0))
        rc = reserve_lock(path);
    if (rc == 0)
        rc = mdb_env_open(env, path, flags, 0640);
    if (!write && lockless && (rc == EACCES || rc == EROFS || rc == EPERM)) {
        mdb_env_close(env);
        env = NULL;
        rc = mdb_env_create(&env);
        if (rc == 0)
            rc = mdb_env_set_maxdbs(env, max_dbs);
        if (rc == 0)
            rc = mdb_env_open(env, path, flags | MDB_NOLOCK, 0640);
    }
    if (rc != 0) {
        if (env != NULL)
            mdb_env_close(env);
        return env_fail(err, rc, "cannot open %s", path);
    }
    rc = check_trees(env, path, err);
    if (rc != 0)
        mdb_env_close(env);
    else
        *out = env;
    return rc;
}

int env_birth(const char *dir, const char *name, struct slsr_err *err)
{
    char young[4200];
    char lock[4208];
    char path[4200];
    MDB_env *env = NULL;
    int rc;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, F_OK) == 0)
        return 0;
    snprintf(young, sizeof young, "%s/new-%s", dir, name);
    snprintf(lock, sizeof lock, "%s-lock", young);
    unlink(young);
    rc = env_open(&env, young, 1, 0, true, false, err);
    if (rc == 0 && (rc = mdb_env_sync(env, 1)) != 0)
        rc = env_fail(err, rc, "cannot write %s", young);
    if (env != NULL)
        mdb_env_close(env);
    if (rc == 0 && rename(young, path) != 0)
        rc = slsr_fail_errno(err, SLSR_EIO, errno, "cannot make %s", path);
    if (rc != 0)
        unlink(young);
    unlink(lock);
    return rc == 0 ? env_sync_dir(dir, err) : rc;
}

int env_sync_dir(const char *dir, struct slsr_err *err)
{
    const int fault = FAULT(DIR_SYNC_BEFORE);
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fault != 0)
        errno = fault;
    if (fault != 0 || fd < 0 || fsync(fd) != 0)
        rc = slsr_fail_errno(err, SLSR_EIO, errno, "cannot sync spool directory %s", dir);
    if (fd >= 0)
        close(fd);
    FAULT_DIE(DIR_SYNC_AFTER);
    return rc;
}

void slsr_spool_libraries(char *out, size_t size)
{
    const unsigned hash = XXH_versionNumber(); /* MMmmpp */
    int major;
    int minor;
    int patch;

    mdb_version(&major, &minor, &patch);
    snprintf(out, size, "LMDB %d.%d.%d, xxHash %u.%u.%u", major, minor, patch, hash / 10000,
             hash / 100 % 100, hash % 100);
}
