/* What the relay says of each logstore that it reads: one record each, written when it changes. A
 * damaged record is passed over: the next change writes it anew. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/pack.h"

/* "project/logstore"; its length. */
static size_t source_key(char out[LAYOUT_KEY_MAX], const char *project, const char *logstore)
{
    const int n = snprintf(out, LAYOUT_KEY_MAX, "%s/%s", project, logstore);

    return n < LAYOUT_KEY_MAX ? (size_t)n : LAYOUT_KEY_MAX - 1;
}

int slsr_spool_source_note(struct slsr_spool *spool, const struct slsr_source_state *state,
                           struct slsr_err *err)
{
    char name[LAYOUT_KEY_MAX];
    MDB_txn *txn;
    MDB_val key = {source_key(name, state->project, state->logstore), name};
    MDB_val data;
    struct pack pack = {.n = 0};
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    pack_text(&pack, state->project, sizeof state->project - 1);
    pack_text(&pack, state->logstore, sizeof state->logstore - 1);
    pack_text(&pack, state->consumer_group, sizeof state->consumer_group - 1);
    pack_text(&pack, state->state, sizeof state->state - 1);
    pack_text(&pack, state->error, sizeof state->error - 1);
    pack_u64(&pack, (uint64_t)state->since_ms);
    pack_u64(&pack, state->shards);
    pack_u64(&pack, state->stuck_shards);
    pack_u64(&pack, (uint64_t)state->retention_s);
    pack_u64(&pack, (uint64_t)state->pulled_to_ms);
    pack_seal(&pack);
    data = (MDB_val){pack.n, pack.data};
    rc = books_end(txn, mdb_put(txn, spool->books.sources, &key, &data, 0));
    if (rc == 0)
        return 0;
    return env_fail(err, rc, "cannot note the state of %s/%s in %s", state->project,
                    state->logstore, spool->config.path);
}

static bool decode(MDB_val data, struct slsr_source_state *out)
{
    struct unpack in = unpack_open(data.mv_data, data.mv_size);

    *out = (struct slsr_source_state){0};
    unpack_text(&in, out->project, sizeof out->project);
    unpack_text(&in, out->logstore, sizeof out->logstore);
    unpack_text(&in, out->consumer_group, sizeof out->consumer_group);
    unpack_text(&in, out->state, sizeof out->state);
    unpack_text(&in, out->error, sizeof out->error);
    out->since_ms = (int64_t)unpack_u64(&in);
    out->shards = (uint32_t)unpack_u64(&in);
    out->stuck_shards = (uint32_t)unpack_u64(&in);
    if (!in.bad && in.left > 0) { /* a relay that did not know them yet has no such fields */
        out->retention_s = (int64_t)unpack_u64(&in);
        out->pulled_to_ms = (int64_t)unpack_u64(&in);
    }
    return !in.bad;
}

int slsr_spool_sources(struct slsr_spool *spool, struct slsr_source_state **out, size_t *count,
                       struct slsr_err *err)
{
    MDB_cursor *cursor = NULL;
    MDB_txn *txn;
    MDB_val key;
    MDB_val data;
    int rc = books_begin(spool, false, &txn, err);

    *out = NULL;
    *count = 0;
    if (rc != 0)
        return rc == SLSR_ENOMATCH ? 0 : rc;
    rc = mdb_cursor_open(txn, spool->books.sources, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        struct slsr_source_state state;
        struct slsr_source_state *more;

        if (!decode(data, &state))
            continue;
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
    books_leave(txn);
    if (rc == MDB_NOTFOUND)
        return 0;
    free(*out);
    *out = NULL;
    *count = 0;
    return env_fail(err, rc, "cannot read the states of the sources of %s", spool->config.path);
}

int slsr_spool_sources_keep(struct slsr_spool *spool, const struct slsr_stream *streams,
                            size_t count, struct slsr_err *err)
{
    MDB_cursor *cursor = NULL;
    MDB_txn *txn;
    MDB_val key;
    MDB_val data;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    rc = mdb_cursor_open(txn, spool->books.sources, &cursor);
    while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        bool wanted = false;

        for (size_t i = 0; i < count; i++) {
            char name[LAYOUT_KEY_MAX];
            const size_t n = source_key(name, streams[i].project, streams[i].logstore);

            wanted = wanted || (n == key.mv_size && memcmp(name, key.mv_data, n) == 0);
        }
        if (!wanted)
            rc = mdb_cursor_del(cursor, 0);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    rc = books_end(txn, rc == MDB_NOTFOUND ? 0 : rc);
    if (rc == 0)
        return 0;
    return env_fail(err, rc, "cannot tidy the states of the sources of %s", spool->config.path);
}
