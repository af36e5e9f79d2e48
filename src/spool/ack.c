/* ack.mdb: per target the ack position with what its sender last said, per shard what the consumer
 * last said. A small environment of its own, so that a sender never waits behind a writer.
 *
 * Changes are in memory at once; the keeper thread stores them within 100 ms and at close. Losing
 * the last 100 ms means that some frames are sent twice, never that one is lost (I3). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/internal.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/fault.h"
#include "base/progress.h"

enum { ACK_RESERVE = 1024 * 1024 };
enum {
    ACK_MAP = 256 * 1024 * 1024,
    FLUSH_MS = 100,
    RETAIN_MS = 1000,
    LOOK_MS = 300,
    READERS_MS = 10000
};

const char *slsr_phase_name(enum slsr_target_phase phase)
{
    static const char *const names[] = {"idle",    "connecting", "up",    "backoff",
                                        "stalled", "stopped",    "paused"};

    return (unsigned)phase < sizeof names / sizeof names[0] ? names[phase] : "unknown";
}

static int open_databases(struct slsr_spool *spool, const char *path, bool write,
                          struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    bool turn;
    int rc;
    int dead;

    rc = write ? env_birth(spool->config.path, "ack.mdb", err) : 0;
    if (rc != 0)
        return rc;
    rc = env_open(&spool->ack_env, path, 8, write ? ACK_MAP : 0, write, spool->lockless, err);
    if (rc != 0)
        return rc;
    mdb_env_set_userctx(spool->ack_env, spool);
    if (write) {
        env_reserve(spool->ack_env, ACK_RESERVE);
        mdb_reader_check(spool->ack_env, &dead);
    }
    rc = write ? patience_begin(spool, spool->ack_env, &txn)
               : mdb_txn_begin(spool->ack_env, NULL, MDB_RDONLY, &txn);
    turn = write && rc == 0;
    if (rc == 0)
        rc = mdb_dbi_open(txn, "t", write ? MDB_CREATE : 0, &spool->ack_targets);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "s", write ? MDB_CREATE : 0, &spool->ack_shards);
    if (rc == 0) {
        rc = books_open(spool, txn, write);
        spool->books.open = rc == 0;
        spool->books.writable = rc == 0 && write;
        if (rc == MDB_NOTFOUND)
            rc = 0; /* nothing was ever ordered or entered */
    }
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    if (turn)
        patience_end(spool);
    if (rc == MDB_NOTFOUND && !write)
        return 0; /* its first transaction has not happened yet */
    if (rc != 0)
        return env_fail(err, rc, "cannot open %s", path);
    spool->ack_open = true;
    FAULT_DIE(ACK_OPEN_AFTER);
    return 0;
}

/* A damaged ack.mdb costs positions and books, no frame: targets start again at the oldest one. */
static int start_anew(struct slsr_spool *spool, const char *path, const char *why,
                      struct slsr_err *err)
{
    char aside[4208];
    char text[700];

    if (spool->ack_env != NULL)
        mdb_env_close(spool->ack_env);
    spool->ack_env = NULL;
    snprintf(aside, sizeof aside, "%s-lock", path);
    unlink(aside);
    snprintf(aside, sizeof aside, "%s.bad", path);
    if (rename(path, aside) != 0)
        return slsr_fail_errno(err, SLSR_ECORRUPT, errno, "cannot rename damaged %s", path);
    snprintf(text, sizeof text,
             "ack.mdb is damaged and now called ack.mdb.bad: targets start again at the oldest "
             "frame, ledger and orders are empty: %s",
             why);
    incident_add(spool, "quarantine", "ack", 0, 0, 0, text);
    return open_databases(spool, path, true, err);
}

int ack_open(struct slsr_spool *spool, bool write, struct slsr_err *err)
{
    char path[4200];
    struct slsr_err why = {0};
    int rc;

    snprintf(path, sizeof path, "%s/ack.mdb", spool->config.path);
    if (!write && access(path, F_OK) != 0)
        return 0; /* a copy without it: no targets known */
    rc = open_databases(spool, path, write, &why);
    if (rc == SLSR_ECORRUPT && spool->mode == SLSR_SPOOL_WRITE)
        return start_anew(spool, path, why.text, err);
    if (rc != 0 && err != NULL)
        *err = why;
    return rc;
}

static int add_target(struct slsr_spool *spool, const struct slsr_target_state *state)
{
    struct target *more;

    if (spool->target_count >= TARGETS_MAX)
        return SLSR_ENOMEM;
    more = realloc(spool->targets, (spool->target_count + 1) * sizeof *more);
    if (more == NULL)
        return SLSR_ENOMEM;
    spool->targets = more;
    more[spool->target_count++] = (struct target){.state = *state};
    return 0;
}

static struct target *find_target(struct slsr_spool *spool, const char *name)
{
    for (size_t i = 0; i < spool->target_count; i++)
        if (strcmp(spool->targets[i].state.name, name) == 0)
            return &spool->targets[i];
    return NULL;
}

/* All target records of ack.mdb; the caller frees the array. */
static int read_targets(struct slsr_spool *spool, struct slsr_target_state **out, size_t *count,
                        struct slsr_err *err)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int rc = mdb_txn_begin(spool->ack_env, NULL, MDB_RDONLY, &txn);

    *out = NULL;
    *count = 0;
    if (rc == 0)
        rc = mdb_cursor_open(txn, spool->ack_targets, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        struct slsr_target_state state = {0};
        struct slsr_target_state *more;

        if (key.mv_size >= sizeof state.name ||
            !layout_get_target(data.mv_data, data.mv_size, &state)) {
            if (spool->mode == SLSR_SPOOL_WRITE)
                diag(SLSR_LOG_ERROR, "spool",
                     "the position of a target is damaged: it starts at the oldest frame");
            continue;
        }
        memcpy(state.name, key.mv_data, key.mv_size);
        more = realloc(*out, (*count + 1) * sizeof *more);
        if (more == NULL) {
            rc = ENOMEM;
            break;
        }
        *out = more;
        more[(*count)++] = state;
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND)
        return 0;
    free(*out);
    *out = NULL;
    *count = 0;
    return env_fail(err, rc, "cannot read the target positions of %s", spool->config.path);
}

/* A target has taken frames that the spool no longer knows: its end is lost (segments deleted, an
 * old copy put back). Numbers are not given twice (I4): it goes on behind them in a new segment. */
static void tail_is_lost(struct slsr_spool *spool, const struct slsr_target_state *state)
{
    struct segment *newest = spool->segments[spool->segment_count - 1];
    char text[400];

    snprintf(text, sizeof text,
             "target %s has taken up to %llu but the spool ends at %llu: what was not delivered of "
             "that stretch is lost",
             state->name, (unsigned long long)state->acked - 1,
             (unsigned long long)spool->next_seq - 1);
    incident_add(spool, "gap", "end_lost", spool->next_seq, state->acked, 0, text);
    spool->next_seq = state->acked;
    newest->worn = newest->next != newest->first;
}

int ack_load(struct slsr_spool *spool, struct slsr_err *err)
{
    struct slsr_target_state *states = NULL;
    size_t count = 0;
    int rc = read_targets(spool, &states, &count, err);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (states[i].acked > spool->next_seq)
            tail_is_lost(spool, &states[i]);
        rc = add_target(spool, &states[i]);
        if (rc != 0)
            slsr_fail(err, rc, "more than %d targets in ack.mdb", TARGETS_MAX);
    }
    free(states);
    return rc == 0 ? notes_load(spool, err) : rc;
}

/* Collects what is dirty under the lock, so that the commit runs without it. */
struct dirty {
    struct slsr_target_state targets[TARGETS_MAX];
    size_t target_count;
    struct {
        char key[LAYOUT_KEY_MAX];
        unsigned char value[LAYOUT_NOTE_BYTES];
        size_t size;
    } notes[256];
    size_t note_count;
};

static void collect(struct slsr_spool *spool, struct dirty *dirty)
{
    const int64_t now = clock_wall_ms();

    dirty->target_count = 0;
    dirty->note_count = 0;
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->target_count; i++)
        if (spool->targets[i].dirty) {
            spool->targets[i].dirty = false;
            dirty->targets[dirty->target_count++] = spool->targets[i].state;
        }
    for (size_t i = 0; i < spool->stream_count && dirty->note_count < 256; i++) {
        struct stream *stream = spool->streams[i];

        if (stream == NULL || !stream->dirty)
            continue;
        stream->dirty = false;
        memcpy(dirty->notes[dirty->note_count].key, stream->key, sizeof stream->key);
        dirty->notes[dirty->note_count].size = layout_put_note(
            dirty->notes[dirty->note_count].value, stream->lag_s, now, stream->reported);
        dirty->note_count++;
    }
    pthread_mutex_unlock(&spool->lock);
}

static void put_back(struct slsr_spool *spool, const struct dirty *dirty)
{
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < dirty->target_count; i++) {
        struct target *target = find_target(spool, dirty->targets[i].name);

        if (target != NULL)
            target->dirty = true;
    }
    for (size_t i = 0; i < dirty->note_count; i++) {
        struct stream *stream = stream_find(spool, dirty->notes[i].key);

        if (stream != NULL)
            stream->dirty = true;
    }
    pthread_mutex_unlock(&spool->lock);
}

static bool is_known(struct slsr_spool *spool, const char *name)
{
    bool known;

    pthread_mutex_lock(&spool->lock);
    known = find_target(spool, name) != NULL;
    pthread_mutex_unlock(&spool->lock);
    return known;
}

static int store(struct slsr_spool *spool, struct dirty *dirty)
{
    MDB_txn *txn = NULL;
    int rc = spool->ack_env == NULL ? MDB_PANIC : mdb_txn_begin(spool->ack_env, NULL, 0, &txn);

    for (size_t i = 0; rc == 0 && i < dirty->target_count; i++) {
        unsigned char value[LAYOUT_TARGET_BYTES];
        MDB_val key = {strlen(dirty->targets[i].name), dirty->targets[i].name};
        MDB_val data = {layout_put_target(value, &dirty->targets[i]), value};

        /* Forgotten since it was collected: stays so. Forgotten from now on: `forget` waits for
         * this transaction and deletes the record behind it. */
        if (is_known(spool, dirty->targets[i].name))
            rc = mdb_put(txn, spool->ack_targets, &key, &data, 0);
    }
    for (size_t i = 0; rc == 0 && i < dirty->note_count; i++) {
        MDB_val key = {strlen(dirty->notes[i].key), dirty->notes[i].key};
        MDB_val data = {dirty->notes[i].size, dirty->notes[i].value};

        rc = mdb_put(txn, spool->ack_shards, &key, &data, 0);
    }
    if (rc == 0)
        rc = FAULT(ACK_FLUSH_BEFORE);
    if (rc == 0) {
        if (dirty->note_count > 0)
            FAULT_DIE(SHARD_NOTE_BEFORE);
        rc = mdb_txn_commit(txn);
        FAULT_DIE(ACK_FLUSH_AFTER);
        if (dirty->note_count > 0)
            FAULT_DIE(SHARD_NOTE_AFTER);
        return rc;
    }
    if (txn != NULL)
        mdb_txn_abort(txn);
    return rc;
}

int ack_flush(struct slsr_spool *spool, struct slsr_err *err)
{
    struct dirty *dirty = malloc(sizeof *dirty);
    int rc = 0;

    if (dirty == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for ack positions");
    do {
        collect(spool, dirty);
        if (dirty->target_count + dirty->note_count > 0)
            rc = store(spool, dirty);
        if (rc == MDB_MAP_FULL) { /* a dead reader may pin its pages */
            int dead;

            mdb_reader_check(spool->ack_env, &dead);
            rc = store(spool, dirty);
        }
        if (rc == MDB_PANIC)
            spool->books.broken = true;
        if (rc != 0)
            put_back(spool, dirty);
    } while (rc == 0 && dirty->note_count == 256);
    free(dirty);
    return rc == 0 ? 0 : env_fail(err, rc, "cannot store ack positions in %s", spool->config.path);
}

static bool anything_dirty(const struct slsr_spool *spool)
{
    for (size_t i = 0; i < spool->target_count; i++)
        if (spool->targets[i].dirty)
            return true;
    for (size_t i = 0; i < spool->stream_count; i++)
        if (spool->streams[i] != NULL && spool->streams[i]->dirty)
            return true;
    return false;
}

static bool nothing_to_do(const struct slsr_spool *spool)
{
    return !anything_dirty(spool) && spool->incidents == NULL && spool->graves == NULL;
}

/* Until closing, the time is over or (unless all of the time is wanted) something is dirty. */
static void wait_until(struct slsr_spool *spool, int64_t ms, bool all)
{
    const int64_t at = clock_mono_ms() + ms;
    const struct timespec ts = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};

    progress_wait(at);
    while (!spool->closing && (all || nothing_to_do(spool)))
        if (pthread_cond_timedwait(&spool->keep, &spool->lock, &ts) != 0)
            break;
    progress_mark();
}

/* The keeper: stores what changed at most every FLUSH_MS, gives space back about once a second. */
void *ack_thread(void *arg)
{
    struct slsr_spool *spool = arg;
    struct slsr_err err;
    bool complained = false;
    int64_t retained = 0;
    int64_t cleared = clock_mono_ms();
    int64_t flushed = cleared;
    int64_t pace = FLUSH_MS; /* longer while somebody pins what every flush frees */
    bool last = false;
    int dead;
    int rc;

    progress_begin("spool-keeper");
    while (!last) {
        pthread_mutex_lock(&spool->lock);
        wait_until(spool, LOOK_MS, false);
        wait_until(spool, FLUSH_MS, true); /* gather */
        last = spool->closing;
        pthread_mutex_unlock(&spool->lock);
        rc = 0;
        if (last || pace == FLUSH_MS || clock_mono_ms() - flushed >= pace) {
            rc = ack_flush(spool, &err);
            flushed = clock_mono_ms();
        }
        if ((spool->books.broken || (last && rc != 0)) && ack_reopen(spool, &err) == 0)
            rc = ack_flush(spool, &err);
        if (rc == 0) {
            complained = false;
        } else if (!complained) {
            diag(SLSR_LOG_ERROR, "spool", "%s; will try again", err.text);
            complained = true;
        }
        incidents_flush(spool);
        segments_close_buried(spool);
        if (clock_mono_ms() - cleared >= READERS_MS) {
            segments_clear_readers(spool);
            mdb_reader_check(spool->ack_env, &dead);
            cleared = clock_mono_ms();
            pace = readers_pace_ms(spool, FLUSH_MS);
        }
        if (!last)
            control_look(spool);
        if (!last && clock_mono_ms() - retained >= RETAIN_MS) {
            retain_make_room(spool, 0, NULL);
            retained = clock_mono_ms();
        }
    }
    progress_end();
    return NULL;
}

int slsr_spool_target_add(struct slsr_spool *spool, const char *name, struct slsr_target_state *out,
                          struct slsr_err *err)
{
    struct target *target;
    int rc = 0;

    if (strlen(name) >= sizeof out->name)
        return slsr_fail(err, SLSR_ECONFIG, "target name %.70s is too long", name);
    pthread_mutex_lock(&spool->lock);
    target = find_target(spool, name);
    if (target == NULL) {
        struct slsr_target_state fresh = {.phase = SLSR_PHASE_STOPPED};

        memcpy(fresh.name, name, strlen(name) + 1);
        fresh.acked = spool->segment_count > 0 ? spool->segments[0]->first : 1;
        fresh.phase_since_ms = clock_wall_ms();
        fresh.written_ms = fresh.phase_since_ms;
        rc = add_target(spool, &fresh);
        if (rc != 0)
            slsr_fail(err, rc, "more than %d targets", TARGETS_MAX);
        target = find_target(spool, name);
    }
    if (rc == 0) {
        target->dirty = true;
        *out = target->state;
        pthread_cond_signal(&spool->keep);
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

/* Removes a target's record; the caller has taken it out of the table. */
static int forget(struct slsr_spool *spool, const char *name, struct slsr_err *err)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name};
    MDB_txn *txn;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    rc = mdb_del(txn, spool->ack_targets, &key, NULL);
    if (rc == 0 || rc == MDB_NOTFOUND)
        rc = control_forget(spool, txn, name);
    rc = books_end(txn, rc);
    return rc == 0 ? 0 : env_fail(err, rc, "cannot forget target %s", name);
}

int slsr_spool_targets_keep(struct slsr_spool *spool, const char *const *names, size_t count,
                            struct slsr_err *err)
{
    struct slsr_target_state out;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = slsr_spool_target_add(spool, names[i], &out, err);
    for (size_t i = 0; rc == 0; i++) {
        char gone[sizeof out.name] = "";
        bool wanted = false;

        pthread_mutex_lock(&spool->lock);
        const bool end = i >= spool->target_count;
        if (!end) {
            memcpy(gone, spool->targets[i].state.name, sizeof gone);
            for (size_t j = 0; j < count; j++)
                wanted = wanted || strcmp(names[j], gone) == 0;
            if (!wanted) {
                out = spool->targets[i].state;
                spool->targets[i--] = spool->targets[--spool->target_count];
            }
        }
        pthread_mutex_unlock(&spool->lock);
        if (end)
            break;
        if (wanted)
            continue;
        diag(SLSR_LOG_WARNING, "spool",
             "target %s is no longer configured: its position (frame %llu) is forgotten", gone,
             (unsigned long long)out.acked);
        rc = forget(spool, gone, err);
    }
    return rc;
}

int slsr_spool_ack(struct slsr_spool *spool, const struct slsr_target_state *state,
                   struct slsr_err *err)
{
    struct target *target;
    int rc = 0;

    pthread_mutex_lock(&spool->lock);
    target = find_target(spool, state->name);
    if (target == NULL) {
        rc = slsr_fail(err, SLSR_EUSAGE, "unknown target %s", state->name);
    } else {
        const uint64_t acked = target->state.acked;

        target->state = *state;
        if (acked > state->acked) /* only forwards (I3) */
            target->state.acked = acked;
        if (target->state.acked > spool->next_seq)
            target->state.acked = spool->next_seq;
        target->state.written_ms = clock_wall_ms();
        target->dirty = true;
        pthread_cond_signal(&spool->keep);
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}

void ack_move(struct slsr_spool *spool, const char *name, uint64_t seq)
{
    struct target *target = find_target(spool, name);
    const uint64_t oldest = spool->segment_count > 0 ? spool->segments[0]->first : 1;

    if (target == NULL)
        return;
    target->state.acked = seq < oldest ? oldest : seq > spool->next_seq ? spool->next_seq : seq;
    target->state.written_ms = clock_wall_ms();
    target->dirty = true;
    pthread_cond_signal(&spool->keep);
}

int slsr_spool_targets(struct slsr_spool *spool, struct slsr_target_state **out, size_t *count,
                       struct slsr_err *err)
{
    int rc = 0;

    *out = NULL;
    *count = 0;
    if (spool->mode == SLSR_SPOOL_READ) {
        if (!spool->ack_open && spool->ack_env != NULL) {
            mdb_env_close(spool->ack_env);
            spool->ack_env = NULL;
        }
        if (!spool->ack_open)
            rc = ack_open(spool, false, err);
        return rc == 0 && spool->ack_open ? read_targets(spool, out, count, err) : rc;
    }
    pthread_mutex_lock(&spool->lock);
    if (spool->target_count > 0) {
        *out = calloc(spool->target_count, sizeof **out);
        if (*out == NULL)
            rc = slsr_fail(err, SLSR_ENOMEM, "no memory for targets");
        for (size_t i = 0; rc == 0 && i < spool->target_count; i++)
            (*out)[i] = spool->targets[i].state;
        *count = rc == 0 ? spool->target_count : 0;
    }
    pthread_mutex_unlock(&spool->lock);
    return rc;
}
