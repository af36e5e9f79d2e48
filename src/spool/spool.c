/* Opening and closing a spool; the stream table; news.
 *
 * Good path of an open for writing: lock the directory, read the segment names, open the newest
 * (one without its first transaction counts as empty and goes), load checkpoints, ack positions and
 * the next sequence from it, start the writer and the keeper thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/internal.h"

static const size_t SEGMENT_MIN = (size_t)1024 * 1024;
static const size_t SEGMENT_MAX = (size_t)1024 * 1024 * 1024;

struct stream *stream_find(struct slsr_spool *spool, const char *key)
{
    for (size_t i = 0; i < spool->stream_count; i++)
        if (spool->streams[i] != NULL && spool->streams[i]->used &&
            strcmp(spool->streams[i]->key, key) == 0)
            return spool->streams[i];
    return NULL;
}

void streams_reserve(struct slsr_spool *spool, size_t count)
{
    struct stream **more;

    if (count <= spool->stream_count || count > STREAMS_MAX)
        return;
    more = realloc(spool->streams, count * sizeof(struct stream *));
    if (more == NULL)
        return;
    memset(more + spool->stream_count, 0, (count - spool->stream_count) * sizeof(struct stream *));
    spool->streams = more;
    spool->stream_count = count;
}

struct stream *stream_put(struct slsr_spool *spool, uint32_t id, const char *key, size_t key_len)
{
    struct stream *stream;

    if (id >= STREAMS_MAX || key_len >= LAYOUT_KEY_MAX)
        return NULL;
    streams_reserve(spool, (size_t)id + 1);
    if (id >= spool->stream_count)
        return NULL;
    stream = spool->streams[id];
    if (stream == NULL) {
        stream = calloc(1, sizeof *stream);
        if (stream == NULL)
            return NULL;
        stream->lag_s = -1;
        spool->streams[id] = stream;
    }
    memcpy(stream->key, key, key_len);
    stream->key[key_len] = '\0';
    if (!layout_get_key(stream->key, key_len, stream->project, stream->logstore, &stream->shard))
        return NULL;
    stream->used = true;
    return stream;
}

static int cannot_create(const char *directory, struct slsr_err *err)
{
    const bool denied = errno == EACCES;

    return slsr_fail(err, denied ? SLSR_EPERM : SLSR_ECREATE, "cannot create %s: %s: %s", directory,
                     strerror(errno),
                     denied ? "make it, for the user that runs the relay"
                            : "look at spool.path; the folders above must be there");
}

/* mkdir -p for the last two levels: /var/lib/sls-relay/spool. */
static int make_dirs(const char *path, struct slsr_err *err)
{
    char parent[4096];
    char *slash;

    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash != NULL && slash != parent) {
        *slash = '\0';
        if (mkdir(parent, 0750) != 0 && errno != EEXIST)
            return cannot_create(parent, err);
    }
    if (mkdir(path, 0750) != 0 && errno != EEXIST)
        return cannot_create(path, err);
    return 0;
}

/* The names of a fresh spool's folders reach the disk before anything in them is acknowledged. A
 * folder above that we may not read was not made by us. */
static int sync_parents(const struct slsr_spool *spool, struct slsr_err *err)
{
    char parent[4096];

    snprintf(parent, sizeof parent, "%s", spool->config.path);
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(parent, '/');
        int rc;

        if (slash == NULL)
            snprintf(parent, sizeof parent, ".");
        else
            slash[slash == parent] = '\0';
        if (access(parent, R_OK) != 0)
            break;
        rc = env_sync_dir(parent, err);
        if (rc != 0 || slash == NULL || slash == parent)
            return rc;
    }
    return 0;
}

/* Which folder this is: its inode and when it was made. Stays through renames, reboots, restores
 * into it and containers; a copy has another one. */
static void home_of(const char *path, char *out, size_t size)
{
    struct statx stx;

    out[0] = '\0';
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &stx) == 0)
        snprintf(out, size, "home %llu %lld.%09u\n", (unsigned long long)stx.stx_ino,
                 (stx.stx_mask & STATX_BTIME) != 0 ? (long long)stx.stx_btime.tv_sec : 0LL,
                 (stx.stx_mask & STATX_BTIME) != 0 ? stx.stx_btime.tv_nsec : 0U);
}

/* Two copies of one spool would both send and both pull: only the folder that LOCK names goes on.
 */
static int claim_home(struct slsr_spool *spool, const char *text, struct slsr_err *err)
{
    const char *said = strstr(text, "home ");
    char home[80];
    char all[100];
    int n;

    home_of(spool->config.path, home, sizeof home);
    if (said != NULL && home[0] != '\0' && strcmp(said, home) != 0)
        return slsr_fail(err, SLSR_EBUSY,
                         "spool %s is a copy: both it and the original would send the same frames; "
                         "if the original is no longer used, delete %s/LOCK and start again",
                         spool->config.path, spool->config.path);
    n = snprintf(all, sizeof all, "%d\n%s", (int)getpid(), home);
    if (pwrite(spool->lock_fd, all, (size_t)n, 0) != n || ftruncate(spool->lock_fd, n) != 0 ||
        (said == NULL && fdatasync(spool->lock_fd) != 0)) {
        /* a courtesy and a guard: a full disk must not keep the relay from draining */
    }
    return 0;
}

static int take_lock(struct slsr_spool *spool, struct slsr_err *err)
{
    char path[4200];
    char text[128] = "";
    bool held = false;
    ssize_t n;

    snprintf(path, sizeof path, "%s/LOCK", spool->config.path);
    spool->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (spool->lock_fd < 0)
        return slsr_fail(err, errno == EACCES ? SLSR_EPERM : SLSR_ECREATE,
                         "cannot write in spool directory %s: %s: give it to the user that runs "
                         "the relay, or choose another spool.path",
                         spool->config.path, strerror(errno));
    /* a tool that looks whether a relay runs holds it for a moment */
    for (int i = 0; i < 10 && flock(spool->lock_fd, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK)
            return slsr_fail_errno(err, SLSR_EIO, errno, "cannot lock spool %s",
                                   spool->config.path);
        held = i == 9;
        if (!held)
            slsr_stop_wait(NULL, 50);
    }
    n = pread(spool->lock_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    if (held) {
        text[strcspn(text, "\n")] = '\0';
        return slsr_fail(err, SLSR_EBUSY,
                         "spool %s is in use by another relay (pid %s): stop it or choose another "
                         "spool.path",
                         spool->config.path, text[0] != '\0' ? text : "unknown");
    }
    return claim_home(spool, text, err);
}

bool spool_is_live(const struct slsr_spool *spool)
{
    char path[4200];
    bool live = false;
    int fd;

    snprintf(path, sizeof path, "%s/LOCK", spool->config.path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        live = flock(fd, LOCK_SH | LOCK_NB) != 0;
        close(fd);
    }
    return live;
}

static int read_lineage(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    MDB_val key = {4, (void *)"head"};
    MDB_val data;
    struct layout_head head;
    int rc = mdb_txn_begin(seg->env, NULL, MDB_RDONLY, &txn);

    if (rc == 0)
        rc = mdb_get(txn, seg->meta, &key, &data);
    if (rc == 0 && layout_get_head(data.mv_data, data.mv_size, &head))
        memcpy(spool->lineage, head.lineage, sizeof head.lineage);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc == 0 ? 0 : env_fail(err, rc, "cannot read the head of a segment");
}

/* A damaged newest segment: its frames are gone for us, their numbers must not be given again. No
 * frame is shorter than two bytes. The checkpoints of the segment before are the ones that count
 * now: what lies between is pulled again as long as the service has it. */
static void set_newest_aside(struct slsr_spool *spool, struct segment *seg, const char *why)
{
    const uint64_t first = seg->first;
    struct stat st;
    char path[4200];

    segment_path(spool, first, path, sizeof path);
    if (stat(path, &st) == 0 && first + (uint64_t)st.st_size / 2 > spool->next_seq)
        spool->next_seq = first + (uint64_t)st.st_size / 2;
    pthread_mutex_lock(&spool->lock);
    quarantine_segment(spool, seg, why);
    pthread_mutex_unlock(&spool->lock);
}

static int take_newest(struct slsr_spool *spool, struct segment *seg, struct slsr_err *err)
{
    struct layout_summary sum;
    int rc = segment_tail(seg, err);

    if (rc == 0)
        rc = segment_load_streams(spool, seg, err);
    if (rc == 0)
        rc = read_lineage(spool, seg, err);
    if (rc == 0 && seg->version < LAYOUT_VERSION) { /* a segment is of one version */
        seg->worn = seg->next != seg->first;
        rc = seg->worn ? 0 : segment_upgrade(spool, seg, err);
    }
    if (rc != 0)
        return rc;
    if (segment_summary(seg, &sum) || seg->next < spool->next_seq)
        seg->worn = true; /* it was sealed, or what came behind it is set aside */
    seg->active = true;
    if (seg->next > spool->next_seq)
        spool->next_seq = seg->next;
    spool->total_bytes = seg->end_bytes;
    return 0;
}

/* The newest segment becomes the writer's again. Before the threads exist: no lock needed. */
static int adopt_newest(struct slsr_spool *spool, struct slsr_err *err)
{
    spool->next_seq = 1;
    while (spool->segment_count > 0) {
        struct segment *seg = spool->segments[spool->segment_count - 1];
        struct slsr_err why = {0};
        int rc = segment_open(spool, seg, true, &why);

        if (rc == SLSR_ENOMATCH) { /* died right after creating the file: nothing was in it */
            segment_unlink(spool, seg->first);
            free(seg);
            spool->segment_count--;
            continue;
        }
        if (rc == 0)
            rc = take_newest(spool, seg, &why);
        if (rc == 0)
            return 0;
        if (rc != SLSR_ECORRUPT)
            return slsr_fail(err, rc == SLSR_ENOSPOOL ? SLSR_ECORRUPT : rc,
                             "%s: run sls-spool verify -D %s", why.text, spool->config.path);
        set_newest_aside(spool, seg, why.text);
    }
    if (getrandom(spool->lineage, sizeof spool->lineage, 0) != (ssize_t)sizeof spool->lineage)
        return slsr_fail(err, SLSR_EIO, "no random numbers from the kernel");
    return 0;
}

static int open_for_write(struct slsr_spool *spool, struct slsr_err *err)
{
    struct segment *seg;
    int rc = make_dirs(spool->config.path, err);

    if (rc == 0)
        rc = take_lock(spool, err);
    if (rc == 0) {
        segment_sweep(spool);
        rc = segments_refresh(spool, err);
    }
    if (rc == 0)
        rc = adopt_newest(spool, err);
    if (rc == 0 && spool->segment_count == 0)
        rc = sync_parents(spool, err);
    if (rc == 0 && spool->segment_count == 0)
        rc = segment_create(spool, &seg, err);
    if (rc == 0)
        rc = ack_open(spool, true, err);
    if (rc == 0) /* ack.mdb may be new; a segment may stem from a relay that died making it */
        rc = env_sync_dir(spool->config.path, err);
    if (rc == 0)
        rc = ack_load(spool, err);
    if (rc != 0)
        return rc;
    quarantine_load(spool);
    control_look(spool); /* what was ordered meanwhile, before anything is given back */
    if (pthread_create(&spool->writer, NULL, append_thread, spool) != 0)
        return slsr_fail(err, SLSR_ENOMEM, "cannot start the spool writer");
    if (pthread_create(&spool->keeper, NULL, ack_thread, spool) != 0) {
        pthread_mutex_lock(&spool->lock);
        spool->closing = true;
        pthread_cond_broadcast(&spool->work);
        pthread_mutex_unlock(&spool->lock);
        pthread_join(spool->writer, NULL);
        return slsr_fail(err, SLSR_ENOMEM, "cannot start the spool keeper");
    }
    spool->threads = true;
    return 0;
}

static int open_for_read(struct slsr_spool *spool, struct slsr_err *err)
{
    int rc = segments_refresh(spool, err);

    if (rc == SLSR_ENOSPOOL)
        return slsr_fail(err, rc, "no spool at %s: check -D or spool.path", spool->config.path);
    if (rc == 0 && spool->segment_count == 0)
        return slsr_fail(err, SLSR_ENOSPOOL, "%s holds no spool (no seg-*.mdb): check -D",
                         spool->config.path);
    spool->lockless = !spool_is_live(spool);
    if (rc == 0)
        rc = ack_open(spool, false, err);
    return rc == SLSR_ECORRUPT ? 0 : rc; /* the frames can be read all the same */
}

static size_t segment_size(int64_t max_size)
{
    const size_t part = max_size > 0 ? (size_t)max_size / 10 : SEGMENT_MAX;

    return part < SEGMENT_MIN ? SEGMENT_MIN : part > SEGMENT_MAX ? SEGMENT_MAX : part;
}

int slsr_spool_open(struct slsr_spool **out, const struct slsr_spool_config *config,
                    enum slsr_spool_mode mode, struct slsr_err *err)
{
    struct slsr_spool *spool = calloc(1, sizeof *spool);
    pthread_condattr_t attr;
    int rc;

    *out = NULL;
    if (spool == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a spool");
    spool->config = *config;
    spool->config.path = strdup(config->path != NULL ? config->path : ".");
    spool->config.encryption_key_file = NULL; /* read once, below */
    spool->mode = mode;
    spool->lock_fd = -1;
    spool->marks_floor = UINT64_MAX;
    spool->segment_bytes = segment_size(config->max_size_bytes);
    pthread_mutex_init(&spool->lock, NULL);
    recent_init(&spool->recent);
    pthread_rwlock_init(&spool->books.gate, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->work, &attr);
    pthread_cond_init(&spool->settled, &attr);
    pthread_cond_init(&spool->keep, &attr);
    pthread_condattr_destroy(&attr);
    if (spool->config.path == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for a spool");
    else
        rc = crypt_load(&spool->crypt, config->encryption_key_file, err);
    if (rc == 0 && spool->crypt != NULL && (spool->writer_box = crypt_box_new()) == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for the spool's cipher");
    if (rc == 0)
        rc = mode == SLSR_SPOOL_WRITE ? open_for_write(spool, err) : open_for_read(spool, err);
    if (rc != 0) {
        slsr_spool_close(spool);
        return rc;
    }
    *out = spool;
    return 0;
}

void slsr_spool_close(struct slsr_spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->threads) {
        pthread_mutex_lock(&spool->lock);
        spool->closing = true;
        pthread_cond_broadcast(&spool->work);
        pthread_cond_broadcast(&spool->keep);
        pthread_mutex_unlock(&spool->lock);
        pthread_join(spool->writer, NULL);
        pthread_join(spool->keeper, NULL); /* flushes the ack positions on its way out */
    }
    for (size_t i = 0; i < spool->segment_count; i++) {
        if (spool->segments[i]->active)
            segment_trim(spool->segments[i]);
        segment_close(spool->segments[i]);
        free(spool->segments[i]);
    }
    for (size_t i = 0; i < spool->stream_count; i++)
        free(spool->streams[i]);
    if (spool->ack_env != NULL)
        mdb_env_close(spool->ack_env);
    if (spool->lock_fd >= 0)
        close(spool->lock_fd);
    free(spool->segments);
    free(spool->streams);
    free(spool->targets);
    segments_close_buried(spool);
    quarantine_free(spool);
    while (spool->pool != NULL) {
        struct prepared *p = spool->pool;

        spool->pool = p->next;
        prepared_free(p);
    }
    recent_fini(&spool->recent);
    crypt_box_free(spool->writer_box);
    crypt_free(spool->crypt);
    free(spool->config.path);
    pthread_cond_destroy(&spool->work);
    pthread_cond_destroy(&spool->settled);
    pthread_cond_destroy(&spool->keep);
    pthread_mutex_destroy(&spool->lock);
    pthread_rwlock_destroy(&spool->books.gate);
    free(spool);
}

int slsr_spool_checkpoint(struct slsr_spool *spool, const struct slsr_stream *stream,
                          struct slsr_checkpoint *out, struct slsr_err *err)
{
    char key[LAYOUT_KEY_MAX];
    struct stream *found;
    int rc = 0;

    layout_key(key, stream);
    pthread_mutex_lock(&spool->lock);
    found = stream_find(spool, key);
    if (found == NULL) {
        rc = slsr_fail(err, SLSR_ENOMATCH, "no local checkpoint for %s", key);
    } else {
        out->stream = *stream;
        memcpy(out->cursor, found->cursor, sizeof out->cursor);
        memcpy(out->reported, found->reported, sizeof out->reported);
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

int slsr_spool_news_open(struct slsr_spool *spool, int *fd, struct slsr_err *err)
{
    int rc = 0;

    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*fd < 0)
        return slsr_fail_errno(err, SLSR_EIO, errno, "cannot make an event descriptor");
    pthread_mutex_lock(&spool->lock);
    if (spool->news_count >= NEWS_MAX)
        rc = slsr_fail(err, SLSR_ENOMEM, "more than %d readers wait for news", NEWS_MAX);
    else
        spool->news[spool->news_count++] = *fd;
    pthread_mutex_unlock(&spool->lock);
    if (rc != 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

void slsr_spool_news_close(struct slsr_spool *spool, int fd)
{
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->news_count; i++)
        if (spool->news[i] == fd) {
            spool->news[i] = spool->news[--spool->news_count];
            close(fd);
            break;
        }
    pthread_mutex_unlock(&spool->lock);
}

void spool_announce(struct slsr_spool *spool)
{
    const uint64_t one = 1;

    for (size_t i = 0; i < spool->news_count; i++)
        if (write(spool->news[i], &one, sizeof one) < 0) {
            /* full counter: it is readable already */
        }
}
