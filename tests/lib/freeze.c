/* Stops a program inside an LMDB transaction (LD_PRELOAD), as an operator's ^Z or a debugger may.
 *
 *   SLSR_FREEZE=read|write:FILE:N   at the N-th transaction of that kind (from 1) in a file whose
 *                                   name begins with FILE the process stops itself (SIGSTOP), the
 *                                   transaction open; SIGCONT lets it go on. */
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lmdb.h>

static void look(MDB_env *env, int write)
{
    static atomic_long seen;
    const char *plan = getenv("SLSR_FREEZE");
    const char *path = NULL;
    char kind[8];
    char file[64];
    long at;

    if (plan == NULL || sscanf(plan, "%7[^:]:%63[^:]:%ld", kind, file, &at) != 3 ||
        (strcmp(kind, "write") == 0) != write || mdb_env_get_path(env, &path) != 0 || path == NULL)
        return;
    path = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    if (strncmp(path, file, strlen(file)) == 0 && ++seen == at)
        kill(getpid(), SIGSTOP);
}

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    static int (*real)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);
    int rc;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_begin");
    rc = real(env, parent, flags, txn);
    if (rc == 0)
        look(env, (flags & MDB_RDONLY) == 0);
    return rc;
}

int mdb_txn_renew(MDB_txn *txn)
{
    static int (*real)(MDB_txn *);
    int rc;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_renew");
    rc = real(txn);
    if (rc == 0)
        look(mdb_txn_env(txn), 0);
    return rc;
}
