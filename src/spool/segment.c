/* Segments: one LMDB environment per file seg-<first sequence, 16 hex digits>.mdb.
 *
 * A segment is append-only: nothing in it is ever overwritten or deleted, so a value that lies in
 * overflow pages stays where it is as long as the environment is open. Readers rely on that: they
 * keep a reference to the segment, not a transaction. Within one process a file is opened at most
 * once (LMDB's rule), hence the shared table with references. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/env.h"
#include "spool/internal.h"
#include "spool/pages.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/fault.h"

/* Address space behind the rotation limit, so that even the largest batch fits one transaction. */
static const size_t MAP_SLACK = (size_t)1536 * 1024 * 1024;

void segment_path(const struct slsr_spool *spool, uint64_t first, char *out, size_t size)
{
    snprintf(out, size, "%s/seg-%016llx.mdb", spool->config.path, (unsigned long long)first);
}

static bool name_of_segment(const char *name, uint64_t *first)
{
    char *end;

    if (strncmp(name, "seg-", 4) != 0 || strlen(name) != 4 + 16 + 4)
        return false;
    errno = 0;
    *first = strtoull(name + 4, &end, 16);
    return errno == 0 && strcmp(end, ".mdb") == 0 && *first > 0;
}

static int by_first(const void *a, const void *b)
{
    const uint64_t x = (*(struct segment *const *)a)->first;
    const uint64_t y = (*(struct segment *const *)b)->first;

    return x < y ? -1 : x > y;
}

static struct segment *known(const struct slsr_spool *spool, uint64_t first)
{
    for (size_t i = spool->segment_count; i-- > 0;)
        if (spool->segments[i]->first == first)
            return spool->segments[i];
    return NULL;
}

static int add_segment(struct slsr_spool *spool, uint64_t first, struct segment **out)
{
    struct segment *seg = calloc(1, sizeof *seg);

    if (seg == NULL || spool->segment_count >= SEGMENTS_MAX) {
        free(seg);
        return SLSR_ENOMEM;
    }
    if ((spool->segment_count & (spool->segment_count + 1)) == 0) {
        const size_t room = (spool->segment_count + 1) * 2;
        struct segment **more = realloc(spool->segments, room * sizeof(struct segment *));

        if (more == NULL) {
            free(seg);
            return SLSR_ENOMEM;
        }
        spool->segments = more;
    }
    seg->first = first;
    spool->segments[spool->segment_count++] = seg;
    qsort(spool->segments, spool->segment_count, sizeof(struct segment *), by_first);
    if (out != NULL)
        *out = seg;
    return 0;
}

/* Reader: what is gone from the directory leaves the table; open views stay valid until released.
 */
static void drop_vanished(struct slsr_spool *spool)
{
    size_t kept = 0;

    for (size_t i = 0; i < spool->segment_count; i++) {
        struct segment *seg = spool->segments[i];
        char path[4200];

        segment_path(spool, seg->first, path, sizeof path);
        if (access(path, F_OK) == 0)
            spool->segments[kept++] = seg;
        else
            segment_bury(spool, seg);
    }
    spool->segment_count = kept;
}

int segments_refresh(struct slsr_spool *spool, struct slsr_err *err)
{
    DIR *dir = opendir(spool->config.path);
    struct dirent *entry;
    int rc = 0;

    if (dir == NULL)
        return slsr_fail_errno(err,
                               errno == EACCES   ? SLSR_EPERM
                               : errno == ENOENT ? SLSR_ENOSPOOL
                                                 : SLSR_EIO,
                               errno, "cannot read spool directory %s", spool->config.path);
    if (spool->mode == SLSR_SPOOL_READ)
        drop_vanished(spool);
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        uint64_t first;

        if (name_of_segment(entry->d_name, &first) && known(spool, first) == NULL)
            rc = add_segment(spool, first, NULL);
    }
    closedir(dir);
    if (rc != 0)
        return slsr_fail(err, rc, "too many segments in %s", spool->config.path);
    return 0;
}

void segment_close(struct segment *seg)
{
    if (seg->env != NULL)
        mdb_env_close(seg->env);
    seg->env = NULL;
}

static int open_databases(struct segment *seg, unsigned flags, const char *path,
                          struct slsr_err *err)
{
    static const char *const names[] = {"c", "i", "k", "m"};
    MDB_dbi *const slots[] = {&seg->chunks, &seg->index, &seg->streams, &seg->meta};
    MDB_txn *txn = NULL;
    MDB_val key = {4, (void *)"head"};
    MDB_val data;
    struct layout_head head = {0};
    int rc = mdb_txn_begin(seg->env, NULL, (flags & MDB_CREATE) ? 0 : MDB_RDONLY, &txn);

    for (int i = 0; rc == 0 && i < 4; i++)
        rc = mdb_dbi_open(txn, names[i], flags | (i < 2 ? MDB_INTEGERKEY : 0), slots[i]);
    if (rc == 0 && (flags & MDB_CREATE) == 0) {
        rc = mdb_get(txn, seg->meta, &key, &data);
        if (rc == 0 && !layout_get_head(data.mv_data, data.mv_size, &head))
            rc = MDB_CORRUPTED;
        if (rc == 0 && head.version > LAYOUT_VERSION) {
            mdb_txn_abort(txn);
            return slsr_fail(err, SLSR_EVERSION,
                             "%s has layout %u, this sls-relay reads up to %d: "
                             "use the newer version",
                             path, head.version, LAYOUT_VERSION);
        }
        seg->version = head.version;
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return env_fail(err, rc, "cannot read %s", path);
    }
    rc = mdb_txn_commit(txn); /* an abort would close the handles */
    return rc == 0 ? 0 : env_fail(err, rc, "cannot open the databases of %s", path);
}

int segment_open(struct slsr_spool *spool, struct segment *seg, bool write, struct slsr_err *err)
{
    char path[4200];
    int rc;

    if (seg->env != NULL)
        return 0;
    segment_path(spool, seg->first, path, sizeof path);
    rc = env_open(&seg->env, path, 4, write ? spool->segment_bytes + MAP_SLACK : 0, write,
                  spool->lockless, err);
    if (rc == 0) {
        int dead;

        if (spool->mode == SLSR_SPOOL_WRITE)
            mdb_reader_check(seg->env, &dead);
        rc = open_databases(seg, 0, path, err);
    }
    if (rc != 0)
        segment_close(seg);
    return rc;
}

/* Segment that holds seq or the nearest later one. Lock held. */
static struct segment *locate(const struct slsr_spool *spool, uint64_t seq)
{
    struct segment *found = NULL;

    for (size_t i = spool->segment_count; i-- > 0;) {
        found = spool->segments[i];
        if (found->first <= seq)
            break;
    }
    return found;
}

int segment_acquire(struct slsr_spool *spool, uint64_t seq, struct segment **out,
                    struct slsr_err *err)
{
    struct segment *found;
    struct slsr_err why = {0};
    int rc = SLSR_ENOSPOOL;

    pthread_mutex_lock(&spool->lock);
    /* a reader's segment may have been given back since it last looked: look again */
    for (int attempt = 0; rc == SLSR_ENOSPOOL && attempt < 3; attempt++) {
        if (attempt > 0 && segments_refresh(spool, err) != 0)
            break;
        found = locate(spool, seq);
        if (found != NULL && found->broken && found->refs == 0) {
            segment_close(found); /* opened anew it shows the last commit */
            found->lent = found->active;
            found->broken = false;
        }
        if (found == NULL)
            rc = slsr_fail(err, SLSR_ENOMATCH, "the spool is empty");
        else if (found->broken)
            rc = slsr_fail(err, SLSR_ENOMATCH, "no frames for now: a segment is being reopened");
        else
            rc = segment_open(spool, found, false, &why);
        if (rc == SLSR_ECORRUPT && spool->mode == SLSR_SPOOL_WRITE && !found->active) {
            quarantine_segment(spool, found, why.text);
            attempt = -1; /* the next one may be as bad: there are only so many */
            rc = SLSR_ENOSPOOL;
            continue;
        }
        if (rc != 0 && why.code == rc && err != NULL)
            *err = why;
        if (rc == SLSR_ECORRUPT && spool->mode == SLSR_SPOOL_WRITE) {
            rc = slsr_fail(err, SLSR_ENOMATCH,
                           "no frames for now: the writer has to leave a damaged segment first");
            break;
        }
        if (rc == SLSR_ENOMATCH && found != NULL && !found->broken && found != spool->segments[0]) {
            /* made by the relay, its first transaction still to come: the one before is the last */
            found = locate(spool, found->first - 1);
            rc = segment_open(spool, found, false, err);
        }
    }
    if (rc == 0) {
        found->refs++;
        *out = found;
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

bool segment_peek(struct slsr_spool *spool, uint64_t seq, uint64_t *first,
                  struct layout_summary *out)
{
    unsigned char value[LAYOUT_SUMMARY_BYTES];
    struct segment *seg;
    char path[4200];
    bool there = false;

    pthread_mutex_lock(&spool->lock);
    seg = locate(spool, seq);
    if (seg != NULL && !seg->active && !seg->summed) {
        segment_path(spool, seg->first, path, sizeof path);
        seg->summed = pages_value(path, "m", "summary", value, sizeof value) &&
                      layout_get_summary(value, sizeof value, &seg->sum);
    }
    if (seg != NULL && seg->summed) {
        *first = seg->first;
        *out = seg->sum;
        there = true;
    }
    pthread_mutex_unlock(&spool->lock);
    return there;
}

uint64_t segment_end(struct slsr_spool *spool, uint64_t seq, uint64_t otherwise)
{
    uint64_t end = otherwise;

    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->segment_count; i++)
        if (spool->segments[i]->first > seq) {
            end = spool->segments[i]->first;
            break;
        }
    pthread_mutex_unlock(&spool->lock);
    return end;
}

void segment_bury(struct slsr_spool *spool, struct segment *seg)
{
    if (seg->refs > 0) {
        seg->doomed = true; /* its last reader comes back here */
        return;
    }
    if (spool->mode == SLSR_SPOOL_READ) { /* no keeper */
        segment_close(seg);
        free(seg);
        return;
    }
    seg->grave_next = spool->graves;
    spool->graves = seg;
    pthread_cond_signal(&spool->keep);
}

void segments_close_buried(struct slsr_spool *spool)
{
    struct segment *seg;

    pthread_mutex_lock(&spool->lock);
    seg = spool->graves;
    spool->graves = NULL;
    pthread_mutex_unlock(&spool->lock);
    while (seg != NULL) {
        struct segment *next = seg->grave_next;

        segment_close(seg);
        if (seg->grave_fd > 0)
            close(seg->grave_fd - 1);
        free(seg);
        seg = next;
    }
}

void segments_clear_readers(struct slsr_spool *spool)
{
    int dead;

    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->segment_count; i++)
        if (spool->segments[i]->env != NULL)
            mdb_reader_check(spool->segments[i]->env, &dead);
    pthread_mutex_unlock(&spool->lock);
}

void segment_release(struct slsr_spool *spool, struct segment *seg)
{
    if (seg == NULL)
        return;
    pthread_mutex_lock(&spool->lock);
    if (--seg->refs == 0 && seg->doomed)
        segment_bury(spool, seg);
    else if (seg->refs == 0 && !seg->active && spool->segment_count > 0 &&
             seg != spool->segments[spool->segment_count - 1])
        segment_close(seg); /* resident size counts every page read: let go early */
    pthread_mutex_unlock(&spool->lock);
}

static int first_transaction(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err)
{
    unsigned char value[LAYOUT_HEAD_BYTES];
    MDB_val key = {4, (void *)"head"};
    MDB_val data = {sizeof value, value};
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(seg->env, NULL, 0, &txn);

    segment_head(spool, seg, spool->total_bytes, value);
    if (rc == 0)
        rc = mdb_put(txn, seg->meta, &key, &data, 0);
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; rc == 0 && i < spool->stream_count; i++) {
        unsigned char record[LAYOUT_STREAM_BYTES];
        struct stream *stream = spool->streams[i];

        if (stream == NULL || !stream->used)
            continue;
        key = (MDB_val){strlen(stream->key), stream->key};
        data = (MDB_val){layout_put_stream(record, (uint32_t)i, stream->cursor), record};
        rc = mdb_put(txn, seg->streams, &key, &data, 0);
    }
    pthread_mutex_unlock(&spool->lock);
    if (rc == 0)
        rc = segment_tree_room(spool, seg, txn);
    if (rc == 0)
        rc = FAULT(SEGMENT_FIRST_BEFORE);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    FAULT_DIE(SEGMENT_FIRST_AFTER);
    return rc == 0 ? 0 : env_fail(err, rc, "cannot start a segment in %s", spool->config.path);
}

/* A segment is made under a name that nobody looks at and gets its own once its first
 * transaction is durable: no crash leaves a seg-*.mdb that is not whole. */
static void unfinished_path(const struct slsr_spool *spool, const char *suffix, char *out,
                            size_t size)
{
    snprintf(out, size, "%s/new-segment%s", spool->config.path, suffix);
}

void segment_sweep(const struct slsr_spool *spool)
{
    char path[4200];

    unfinished_path(spool, "", path, sizeof path);
    unlink(path);
    unfinished_path(spool, "-lock", path, sizeof path);
    unlink(path);
}

static int give_name(const struct slsr_spool *spool, const char *path, struct slsr_err *err)
{
    char from[4200];
    char to[4208];

    unfinished_path(spool, "-lock", from, sizeof from);
    snprintf(to, sizeof to, "%s-lock", path);
    if (rename(from, to) == 0) {
        unfinished_path(spool, "", from, sizeof from);
        if (rename(from, path) == 0)
            return env_sync_dir(spool->config.path, err);
    }
    return slsr_fail_errno(err, errno == ENOSPC ? SLSR_EFULL : SLSR_EIO, errno,
                           "cannot give segment %s its name", path);
}

static int list_active(struct slsr_spool *spool, const struct segment *seg, struct segment **out)
{
    int rc;

    pthread_mutex_lock(&spool->lock);
    rc = add_segment(spool, seg->first, out);
    if (rc == 0) {
        **out = *seg;
        (*out)->active = true;
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

int segment_create(struct slsr_spool *spool, struct segment **out, struct slsr_err *err)
{
    struct segment *seg = calloc(1, sizeof *seg);
    char path[4200];
    int rc;

    if (seg == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a segment");
    seg->first = spool->next_seq;
    seg->version = LAYOUT_VERSION;
    segment_sweep(spool);
    unfinished_path(spool, "", path, sizeof path);
    FAULT_DIE(SEGMENT_CREATE_BEFORE);
    rc = env_open(&seg->env, path, 4, spool->segment_bytes + MAP_SLACK, true, false, err);
    FAULT_DIE(SEGMENT_OPENED);
    if (rc == 0)
        rc = open_databases(seg, MDB_CREATE, path, err);
    if (rc == 0)
        rc = first_transaction(spool, seg, err);
    segment_path(spool, seg->first, path, sizeof path);
    if (rc == 0)
        rc = give_name(spool, path, err);
    if (rc == 0)
        rc = segment_tail(seg, err);
    FAULT_DIE(SEGMENT_CREATE_AFTER);
    if (rc == 0 && (rc = list_active(spool, seg, out)) != 0)
        slsr_fail(err, rc, "too many segments in %s", spool->config.path);
    if (rc != 0) {
        segment_close(seg);
        segment_sweep(spool);
        segment_unlink(spool, seg->first); /* nothing was acknowledged in it */
    }
    free(seg);
    return rc;
}

void segment_trim(struct segment *seg)
{
    struct stat st;
    int fd;

    if (seg->env != NULL && mdb_env_get_fd(seg->env, &fd) == 0 && fstat(fd, &st) == 0 &&
        ftruncate(fd, st.st_size) != 0) {
        /* the blocks go with the file */
    }
}

void segment_unlink(const struct slsr_spool *spool, uint64_t first)
{
    char path[4200];
    char lock_path[4208];

    segment_path(spool, first, path, sizeof path);
    snprintf(lock_path, sizeof lock_path, "%s-lock", path);
    unlink(path);
    unlink(lock_path);
}

uint64_t segment_disk(const struct slsr_spool *spool, const struct segment *seg)
{
    char path[4200];
    struct stat st;

    segment_path(spool, seg->first, path, sizeof path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}
