/* What is known of the shards: their checkpoints, and what the consumers last said of them (lag,
 * confirmed checkpoint), which the keeper stores in ack.mdb. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/env.h"
#include "spool/internal.h"

int notes_load(struct slsr_spool *spool, struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int rc = mdb_txn_begin(spool->ack_env, NULL, MDB_RDONLY, &txn);

    if (rc == 0)
        rc = mdb_cursor_open(txn, spool->ack_shards, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        char name[LAYOUT_KEY_MAX];
        struct stream *stream;
        int64_t written_ms;

        if (key.mv_size >= sizeof name)
            continue;
        memcpy(name, key.mv_data, key.mv_size);
        name[key.mv_size] = '\0';
        stream = stream_find(spool, name);
        if (stream != NULL && !layout_get_note(data.mv_data, data.mv_size, &stream->lag_s,
                                               &written_ms, stream->reported))
            stream->reported[0] = '\0';
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND
               ? 0
               : env_fail(err, rc, "cannot read the shard notes of %s", spool->config.path);
}

int stream_lookup(struct slsr_spool *spool, struct segment *seg, uint32_t id,
                  struct stream_name *name, struct slsr_err *err)
{
    const struct stream *stream;
    int rc = 0;

    pthread_mutex_lock(&spool->lock);
    stream = id < spool->stream_count ? spool->streams[id] : NULL;
    if ((stream == NULL || !stream->used) && spool->mode == SLSR_SPOOL_READ) {
        rc = segment_load_streams(spool, seg, err);
        stream = id < spool->stream_count ? spool->streams[id] : NULL;
    }
    if (rc == 0 && (stream == NULL || !stream->used))
        rc = slsr_fail(err, SLSR_ECORRUPT, "stream %u is unknown", id);
    if (rc == 0) {
        memcpy(name->project, stream->project, sizeof name->project);
        memcpy(name->logstore, stream->logstore, sizeof name->logstore);
        name->stream = (struct slsr_stream){name->project, name->logstore, stream->shard};
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

int slsr_spool_shard_note(struct slsr_spool *spool, const struct slsr_stream *stream,
                          const char *reported, int64_t lag_s, struct slsr_err *err)
{
    char key[LAYOUT_KEY_MAX];
    struct stream *found;

    layout_key(key, stream);
    pthread_mutex_lock(&spool->lock);
    found = stream_find(spool, key);
    if (found != NULL) {
        found->lag_s = lag_s;
        if (reported != NULL)
            snprintf(found->reported, sizeof found->reported, "%s", reported);
        found->dirty = true;
        pthread_cond_signal(&spool->keep);
    }
    pthread_mutex_unlock(&spool->lock);
    return found != NULL ? 0 : slsr_fail(err, SLSR_ENOMATCH, "no frames of %s yet", key);
}

static int fresh_streams(struct slsr_spool *spool, struct slsr_err *err)
{
    struct segment *seg = NULL;
    int rc;

    pthread_mutex_lock(&spool->lock);
    rc = segments_refresh(spool, err);
    pthread_mutex_unlock(&spool->lock);
    if (rc == 0)
        rc = segment_acquire(spool, UINT64_MAX, &seg, err);
    pthread_mutex_lock(&spool->lock);
    if (rc == 0)
        rc = segment_load_streams(spool, seg, err);
    if (rc == 0 && spool->ack_open)
        rc = notes_load(spool, err);
    pthread_mutex_unlock(&spool->lock);
    segment_release(spool, seg);
    return rc;
}

int slsr_spool_shards(struct slsr_spool *spool, struct slsr_shard_state **out, size_t *count,
                      struct slsr_err *err)
{
    int rc = spool->mode == SLSR_SPOOL_READ ? fresh_streams(spool, err) : 0;

    *out = NULL;
    *count = 0;
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&spool->lock);
    *out = calloc(spool->stream_count + 1, sizeof **out);
    if (*out == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for shards");
    for (size_t i = 0; rc == 0 && i < spool->stream_count; i++) {
        const struct stream *stream = spool->streams[i];
        struct slsr_shard_state *state = &(*out)[*count];

        if (stream == NULL || !stream->used)
            continue;
        memcpy(state->project, stream->project, sizeof state->project);
        memcpy(state->logstore, stream->logstore, sizeof state->logstore);
        state->shard = stream->shard;
        memcpy(state->cursor, stream->cursor, sizeof state->cursor);
        memcpy(state->checkpoint, stream->reported, sizeof state->checkpoint);
        state->lag_s = stream->lag_s;
        (*count)++;
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}
