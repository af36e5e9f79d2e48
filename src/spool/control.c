/* Orders: how a tool writes them and how the relay takes them over.
 *
 * Good path: the tool writes marks or a target's record, the ledger and a new generation number.
 * The keeper sees that ack.mdb has a transaction it did not expect (a memory read), reads the
 * generation, and fires the tokens of the send stages. Each stage ends its run, calls
 * slsr_control_take, which moves the position and tidies the marks, and goes on from there.
 * What can go wrong: the disk. Then the order stays and the stage tries again. */
#include "slsrelay/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/books.h"
#include "spool/env.h"
#include "spool/pack.h"

#include "base/clock.h"
#include "base/diag.h"

enum { PIECE = 2000 }; /* spans per transaction: some 20 ms of the writer lock */

static const char GENERATION[] = "\x01generation"; /* no target's name begins so */

static int generation_get(struct slsr_spool *spool, MDB_txn *txn, uint64_t *generation)
{
    MDB_val key = {sizeof GENERATION - 1, (void *)(uintptr_t)GENERATION};
    MDB_val data;
    int rc = mdb_get(txn, spool->books.orders, &key, &data);

    *generation = 0;
    if (rc == 0 && data.mv_size == 8)
        *generation = unpack_u64_at(data.mv_data);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int generation_next(struct slsr_spool *spool, MDB_txn *txn, uint64_t *generation)
{
    unsigned char value[8];
    MDB_val key = {sizeof GENERATION - 1, (void *)(uintptr_t)GENERATION};
    MDB_val data = {8, value};
    int rc = generation_get(spool, txn, generation);

    pack_u64_at(value, ++*generation);
    return rc == 0 ? mdb_put(txn, spool->books.orders, &key, &data, 0) : rc;
}

static int state_get(struct slsr_spool *spool, MDB_txn *txn, const char *target,
                     struct slsr_control_state *out)
{
    MDB_val key = {strnlen(target, sizeof out->target - 1), (void *)(uintptr_t)target};
    MDB_val data;
    struct unpack in;
    int rc;

    memset(out, 0, sizeof *out);
    memcpy(out->target, target, key.mv_size);
    rc = mdb_get(txn, spool->books.orders, &key, &data);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    in = unpack_open(data.mv_data, data.mv_size);
    out->paused = unpack_u64(&in) != 0;
    out->paused_ms = (int64_t)unpack_u64(&in);
    out->seek = unpack_u64(&in);
    out->taken = unpack_u64(&in);
    unpack_text(&in, out->who, sizeof out->who);
    unpack_text(&in, out->reason, sizeof out->reason);
    return in.bad ? MDB_CORRUPTED : 0;
}

static int state_put(struct slsr_spool *spool, MDB_txn *txn, const struct slsr_control_state *state)
{
    struct pack pack = {.n = 0};
    MDB_val key = {strnlen(state->target, sizeof state->target - 1),
                   (void *)(uintptr_t)state->target};
    MDB_val data;

    pack_u64(&pack, state->paused);
    pack_u64(&pack, (uint64_t)state->paused_ms);
    pack_u64(&pack, state->seek);
    pack_u64(&pack, state->taken);
    pack_text(&pack, state->who, sizeof state->who - 1);
    pack_text(&pack, state->reason, sizeof state->reason - 1);
    pack_seal(&pack);
    data = (MDB_val){pack.n, pack.data};
    return mdb_put(txn, spool->books.orders, &key, &data, 0);
}

static int failed(struct slsr_spool *spool, int rc, struct slsr_err *err)
{
    return rc == 0 ? 0 : env_fail(err, rc, "cannot use the orders of %s", spool->config.path);
}

int slsr_marks_read(struct slsr_spool *spool, enum slsr_mark kind, const char *target,
                    struct slsr_spans *out, struct slsr_err *err)
{
    MDB_txn *txn;
    int rc = books_begin(spool, false, &txn, err);

    if (rc != 0)
        return rc == SLSR_ENOMATCH ? 0 : rc;
    rc = marks_load(spool, txn, (char)kind, target, out);
    books_leave(txn);
    slsr_spans_normalise(out);
    return failed(spool, rc, err);
}

int slsr_control_read(struct slsr_spool *spool, const char *target, struct slsr_control_state *out,
                      struct slsr_err *err)
{
    MDB_txn *txn;
    int rc = books_begin(spool, false, &txn, err);

    if (rc == SLSR_ENOMATCH) {
        memset(out, 0, sizeof *out);
        snprintf(out->target, sizeof out->target, "%s", target);
        return 0;
    }
    if (rc != 0)
        return rc;
    rc = state_get(spool, txn, target, out);
    books_leave(txn);
    return failed(spool, rc, err);
}

/* --- the tool's side --- */

static int order_state(struct slsr_spool *spool, MDB_txn *txn, const struct slsr_order *order,
                       const char *target)
{
    struct slsr_control_state state;
    int rc = state_get(spool, txn, target, &state);

    if (rc == MDB_CORRUPTED)
        rc = 0; /* an order replaces what cannot be read */
    if (order->kind == SLSR_ORDER_PAUSE || order->kind == SLSR_ORDER_RESUME) {
        state.paused = order->kind == SLSR_ORDER_PAUSE;
        state.paused_ms = clock_wall_ms();
        snprintf(state.who, sizeof state.who, "%s", order->entry.who);
        snprintf(state.reason, sizeof state.reason, "%.127s", order->entry.text);
    } else if (order->kind == SLSR_ORDER_SEEK) {
        state.seek = order->seek;
    }
    return rc == 0 ? state_put(spool, txn, &state) : rc;
}

static int order_span(struct slsr_spool *spool, MDB_txn *txn, enum slsr_order_kind kind,
                      const char *target, struct slsr_span span)
{
    /* what each order takes away, and what it puts in its place */
    static const struct {
        const char *remove;
        char add;
    } deeds[] = {
        [SLSR_ORDER_HOLD] = {"r", SLSR_MARK_WANTED},   [SLSR_ORDER_RELEASE] = {"hw", 0},
        [SLSR_ORDER_SKIP] = {"hwr", SLSR_MARK_SKIP},   [SLSR_ORDER_REQUEUE] = {"hwsd", 'r'},
        [SLSR_ORDER_PURGE] = {"hwrd", SLSR_MARK_SKIP},
    };
    struct slsr_spans held = {0};
    int rc = 0;

    if (kind == SLSR_ORDER_RELEASE) /* only what is really held is to be sent */
        rc = marks_load(spool, txn, SLSR_MARK_HOLD, target, &held);
    for (const char *c = deeds[kind].remove; rc == 0 && *c != '\0'; c++)
        rc = marks_remove(spool, txn, *c, target, span);
    if (rc == 0 && deeds[kind].add != 0)
        rc = marks_add(spool, txn, deeds[kind].add, target, span, 0);
    for (size_t i = 0; rc == 0 && i < held.count; i++) {
        struct slsr_span both = held.items[i];

        both.from = both.from < span.from ? span.from : both.from;
        both.to = both.to > span.to ? span.to : both.to;
        if (both.from < both.to)
            rc = marks_add(spool, txn, SLSR_MARK_RESEND, target, both, 0);
    }
    slsr_spans_free(&held);
    return rc;
}

/* Spans [*at, ...) of the order for one target, a piece of them; first: with the ledger entry. */
static int order_piece(struct slsr_spool *spool, struct slsr_order *order, const char *target,
                       size_t *at, bool first, struct slsr_err *err)
{
    MDB_txn *txn;
    const size_t count = order->spans != NULL ? order->spans->count : 0;
    const size_t end = count - *at > PIECE ? *at + PIECE : count;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    if (first)
        rc = ledger_put(spool, txn, &order->entry, &order->entry.id);
    if (rc == 0 && order->kind < SLSR_ORDER_HOLD)
        rc = order_state(spool, txn, order, target);
    for (; rc == 0 && *at < end; ++*at)
        rc = order_span(spool, txn, order->kind, target, order->spans->items[*at]);
    if (rc == 0)
        rc = generation_next(spool, txn, &order->generation);
    return failed(spool, books_end(txn, rc), err);
}

int slsr_control_order(struct slsr_spool *spool, struct slsr_order *order, struct slsr_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < order->target_count; i++) {
        size_t at = 0;

        do
            rc = order_piece(spool, order, order->targets[i], &at, i == 0 && at == 0, err);
        while (rc == 0 && order->spans != NULL && at < order->spans->count);
    }
    return rc;
}

/* --- the relay's side --- */

void slsr_control_attach(struct slsr_spool *spool, const char *target, struct slsr_stop *wake)
{
    pthread_mutex_lock(&spool->lock);
    if (spool->waiter_count < WAITERS_MAX) {
        struct waiter *waiter = &spool->waiters[spool->waiter_count++];

        snprintf(waiter->target, sizeof waiter->target, "%.63s", target);
        waiter->wake = wake;
    }
    pthread_mutex_unlock(&spool->lock);
}

void slsr_control_detach(struct slsr_spool *spool, struct slsr_stop *wake)
{
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->waiter_count; i++)
        if (spool->waiters[i].wake == wake)
            spool->waiters[i--] = spool->waiters[--spool->waiter_count];
    pthread_mutex_unlock(&spool->lock);
}

uint64_t control_floor(const struct slsr_spool *spool)
{
    return spool->marks_floor;
}

static void trim(struct slsr_spool *spool, uint64_t oldest)
{
    MDB_txn *txn;

    if (books_begin(spool, true, &txn, NULL) == 0 &&
        books_end(txn, marks_trim(spool, txn, oldest)) == 0)
        spool->trimmed_to = oldest;
}

void control_look(struct slsr_spool *spool)
{
    MDB_envinfo info;
    MDB_txn *txn;
    uint64_t generation;
    uint64_t floor;
    uint64_t oldest;
    int rc;

    pthread_mutex_lock(&spool->lock);
    oldest = spool->segment_count > 0 ? spool->segments[0]->first : 1;
    pthread_mutex_unlock(&spool->lock);
    if (oldest > spool->trimmed_to)
        trim(spool, oldest);
    if (spool->ack_env == NULL || mdb_env_info(spool->ack_env, &info) != 0 ||
        info.me_last_txnid == spool->seen_txn || books_begin(spool, false, &txn, NULL) != 0)
        return;
    rc = generation_get(spool, txn, &generation);
    if (rc == 0)
        rc = marks_floor(spool, txn, &floor);
    books_leave(txn);
    if (rc != 0)
        return; /* it is read again in a moment, and the stages go on as they are */
    spool->seen_txn = info.me_last_txnid;
    spool->marks_floor = floor;
    if (generation == spool->seen_generation)
        return;
    spool->seen_generation = generation;
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->waiter_count; i++)
        slsr_stop_request(spool->waiters[i].wake);
    pthread_mutex_unlock(&spool->lock);
}

int control_forget(struct slsr_spool *spool, MDB_txn *txn, const char *target)
{
    static const char kinds[] = {SLSR_MARK_HOLD, SLSR_MARK_WANTED, SLSR_MARK_SKIP, SLSR_MARK_DEAD,
                                 SLSR_MARK_RESEND};
    MDB_val key = {strlen(target), (void *)(uintptr_t)target};
    int rc = mdb_del(txn, spool->books.orders, &key, NULL);

    rc = rc == MDB_NOTFOUND ? 0 : rc;
    for (size_t i = 0; rc == 0 && i < sizeof kinds; i++)
        rc = marks_remove(spool, txn, kinds[i], target, (struct slsr_span){0, UINT64_MAX});
    return rc;
}

/* The position as the order wants it, in memory and in this transaction. */
static int take_position(struct slsr_spool *spool, MDB_txn *txn, struct slsr_control_state *state,
                         uint64_t *acked)
{
    struct slsr_target_state position = {0};
    unsigned char value[LAYOUT_TARGET_BYTES];
    MDB_val key = {strlen(state->target), state->target};
    MDB_val data;

    pthread_mutex_lock(&spool->lock);
    if (state->seek != 0)
        ack_move(spool, state->target, state->seek);
    for (size_t i = 0; i < spool->target_count; i++)
        if (strcmp(spool->targets[i].state.name, state->target) == 0)
            position = spool->targets[i].state;
    pthread_mutex_unlock(&spool->lock);
    *acked = position.acked;
    if (state->seek == 0)
        return 0;
    diag(SLSR_LOG_NOTICE, "spool", "target %s: goes on from frame %llu, as ordered", state->target,
         (unsigned long long)position.acked);
    state->seek = 0;
    data = (MDB_val){layout_put_target(value, &position), value};
    return mdb_put(txn, spool->ack_targets, &key, &data, 0);
}

/* A wanted hold becomes one, as far as it was not delivered before. */
static int take_holds(struct slsr_spool *spool, MDB_txn *txn, const char *target, uint64_t acked)
{
    struct slsr_spans wanted = {0};
    int rc = marks_load(spool, txn, SLSR_MARK_WANTED, target, &wanted);

    for (size_t i = 0; rc == 0 && i < wanted.count; i++) {
        struct slsr_span span = wanted.items[i];

        rc = marks_remove(spool, txn, SLSR_MARK_WANTED, target, span);
        span.from = span.from < acked ? acked : span.from;
        if (rc == 0 && span.from < span.to)
            rc = marks_add(spool, txn, SLSR_MARK_HOLD, target, span, 0);
    }
    slsr_spans_free(&wanted);
    return rc;
}

static int take_marks(struct slsr_spool *spool, MDB_txn *txn, const char *target, uint64_t acked,
                      struct slsr_control *out)
{
    static const char passed[] = {SLSR_MARK_HOLD, SLSR_MARK_SKIP, SLSR_MARK_DEAD};
    struct slsr_spans again = {0};
    struct slsr_spans held = {0};
    int rc = take_holds(spool, txn, target, acked);

    if (rc == 0) /* the live cursor comes by there anyway */
        rc = marks_remove(spool, txn, SLSR_MARK_RESEND, target,
                          (struct slsr_span){acked, UINT64_MAX});
    for (size_t i = 0; rc == 0 && i < sizeof passed; i++)
        rc = marks_load(spool, txn, passed[i], target, &out->pass);
    slsr_spans_normalise(&out->pass);
    if (rc == 0)
        rc = marks_load(spool, txn, SLSR_MARK_HOLD, target, &held);
    if (rc == 0)
        rc = marks_load(spool, txn, SLSR_MARK_RESEND, target, &again);
    if (rc == 0 && !slsr_spans_without(&again, &held, &out->resend))
        rc = ENOMEM;
    slsr_spans_free(&again);
    slsr_spans_free(&held);
    return rc;
}

int slsr_control_take(struct slsr_spool *spool, const char *target, struct slsr_control *out,
                      struct slsr_err *err)
{
    MDB_txn *txn;
    uint64_t generation;
    uint64_t acked = 0;
    int rc;

    memset(out, 0, sizeof *out);
    rc = books_begin(spool, true, &txn, err);
    if (rc != 0)
        return rc;
    rc = state_get(spool, txn, target, &out->state);
    if (rc == MDB_CORRUPTED) {
        diag(SLSR_LOG_ERROR, "spool", "target %s: its orders cannot be read: order them again",
             target);
        rc = 0;
    }
    if (rc == 0)
        rc = generation_get(spool, txn, &generation);
    if (rc == 0)
        rc = take_position(spool, txn, &out->state, &acked);
    if (rc == 0)
        rc = take_marks(spool, txn, out->state.target, acked, out);
    if (rc == 0) {
        out->state.taken = generation;
        rc = state_put(spool, txn, &out->state);
    }
    rc = books_end(txn, rc);
    if (rc != 0)
        slsr_control_free(out);
    return failed(spool, rc, err);
}

void slsr_control_free(struct slsr_control *control)
{
    slsr_spans_free(&control->pass);
    slsr_spans_free(&control->resend);
}

/* A piece of the spans, from *at. */
static int resent_piece(struct slsr_spool *spool, const char *target, const struct slsr_spans *sent,
                        size_t *at, struct slsr_err *err)
{
    const size_t end = sent->count - *at > PIECE ? *at + PIECE : sent->count;
    MDB_txn *txn;
    int rc = books_begin(spool, true, &txn, err);

    if (rc != 0)
        return rc;
    for (; rc == 0 && *at < end; ++*at)
        rc = marks_remove(spool, txn, SLSR_MARK_RESEND, target, sent->items[*at]);
    return failed(spool, books_end(txn, rc), err);
}

int slsr_control_resent(struct slsr_spool *spool, const char *target, const struct slsr_spans *sent,
                        struct slsr_err *err)
{
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && at < sent->count)
        rc = resent_piece(spool, target, sent, &at, err);
    return rc;
}
