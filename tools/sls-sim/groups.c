/* The automaton of consumer groups. A heartbeat expires the dead, notices new shards, releases
 * children of finished parents, completes hand-overs, gives out what is free, evens out the load
 * and answers what is allocated to the caller. See groups.h for the states. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "text.h"

static const char *const state_names[] = {"wait", "free", "held", "transfer", "over"};

const char *cg_state_name(enum slot_state state)
{
    return state_names[state];
}

bool cg_state_parse(const char *name, enum slot_state *state)
{
    for (int i = 0; i < (int)(sizeof state_names / sizeof *state_names); i++) {
        if (strcmp(state_names[i], name) == 0) {
            *state = (enum slot_state)i;
            return true;
        }
    }
    return false;
}

struct consumer_group *cg_new(struct logstore *ls, const char *name, unsigned timeout_s, bool order)
{
    struct consumer_group *cg = xalloc(sizeof *cg);

    snprintf(cg->name, sizeof cg->name, "%s", name);
    cg->version = 1;
    cg->timeout_s = timeout_s;
    cg->order = order;
    ARRAY_ROOM(ls->groups, ls->group_count, ls->group_size);
    ls->groups[ls->group_count++] = cg;
    cg_notice_shards(ls, cg);
    return cg;
}

void cg_free(struct consumer_group *cg)
{
    for (size_t i = 0; i < cg->consumer_count; i++)
        free(cg->consumers[i]);
    free(cg->consumers);
    free(cg->slots);
    free(cg);
}

void cg_delete(struct logstore *ls, struct consumer_group *cg)
{
    for (size_t i = 0; i < ls->group_count; i++) {
        if (ls->groups[i] == cg) {
            ls->groups[i] = ls->groups[--ls->group_count];
            cg_free(cg);
            return;
        }
    }
}

struct consumer_group *cg_find(struct logstore *ls, const char *name)
{
    for (size_t i = 0; i < ls->group_count; i++) {
        if (strcmp(ls->groups[i]->name, name) == 0)
            return ls->groups[i];
    }
    return NULL;
}

/* Whether all that a shard came from is over, given the same of its parents. Ids of parents are
 * smaller than those of their children: asked in order, each is looked at once. */
static bool ancestors_over(const struct logstore *ls, const struct consumer_group *cg, size_t id,
                           const bool *known)
{
    for (int i = 0; i < 2; i++) {
        const int parent = ls->shards[id]->parent[i];

        if (parent >= 0 && (cg->slots[parent].state != SLOT_OVER || !known[parent]))
            return false;
    }
    return true;
}

void cg_notice_shards(struct logstore *ls, struct consumer_group *cg)
{
    bool *over;

    if (cg->slot_count == ls->shard_count)
        return;
    cg->slots = xresize(cg->slots, ls->shard_count * sizeof *cg->slots);
    over = xalloc(ls->shard_count + 1);
    for (size_t i = 0; i < ls->shard_count; i++) {
        over[i] = ancestors_over(ls, cg, i, over);
        if (i < cg->slot_count)
            continue;
        cg->slots[i] = (struct slot){.state = cg->order && !over[i] ? SLOT_WAIT : SLOT_FREE};
    }
    free(over);
    cg->slot_count = ls->shard_count;
    cg->version++;
}

static struct consumer *find_consumer(const struct consumer_group *cg, const char *name)
{
    for (size_t i = 0; i < cg->consumer_count; i++) {
        if (strcmp(cg->consumers[i]->name, name) == 0)
            return cg->consumers[i];
    }
    return NULL;
}

static struct consumer *add_consumer(struct consumer_group *cg, const char *name)
{
    struct consumer *c = xalloc(sizeof *c);

    snprintf(c->name, sizeof c->name, "%s", name);
    ARRAY_ROOM(cg->consumers, cg->consumer_count, cg->consumer_size);
    cg->consumers[cg->consumer_count++] = c;
    cg->version++;
    return c;
}

struct consumer *cg_restore_consumer(struct consumer_group *cg, const char *name, int64_t now_ms)
{
    struct consumer *c = find_consumer(cg, name);

    if (c == NULL)
        c = add_consumer(cg, name);
    c->beat_ms = now_ms;
    return c;
}

static void drop_consumer(struct consumer_group *cg, size_t index)
{
    struct consumer *dead = cg->consumers[index];

    cg->version++;
    for (size_t i = 0; i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];

        if (slot->holder == dead) {
            slot->state = SLOT_FREE;
            slot->holder = slot->next = NULL;
        } else if (slot->next == dead) {
            slot->state = SLOT_HELD;
            slot->next = NULL;
        }
    }
    free(dead);
    cg->consumers[index] = cg->consumers[--cg->consumer_count];
}

void cg_expire(struct consumer_group *cg, int64_t now_ms)
{
    for (size_t i = cg->consumer_count; i-- > 0;) {
        if (now_ms - cg->consumers[i]->beat_ms > (int64_t)cg->timeout_s * 1000)
            drop_consumer(cg, i);
    }
}

void cg_forget(struct consumer_group *cg, const char *consumer)
{
    for (size_t i = cg->consumer_count; i-- > 0;) {
        if (consumer == NULL || strcmp(cg->consumers[i]->name, consumer) == 0)
            drop_consumer(cg, i);
    }
}

static bool at_end(const struct shard *sh, const struct slot *slot)
{
    uint64_t number;

    return cursor_decode(slot->checkpoint, &number) && number == shard_end(sh);
}

/* Edge 8: consumed to the end of a read-only shard. */
static void finish_if_at_end(struct consumer_group *cg, const struct shard *sh, struct slot *slot)
{
    if (sh->readonly && slot->state != SLOT_WAIT && slot->state != SLOT_OVER && at_end(sh, slot)) {
        cg->version++;
        slot->state = SLOT_OVER;
        slot->holder = slot->next = NULL;
    }
}

static void advance_slots(struct logstore *ls, struct consumer_group *cg)
{
    bool *over = xalloc(cg->slot_count + 1);

    for (size_t i = 0; i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];

        over[i] = ancestors_over(ls, cg, i, over);
        if (slot->state == SLOT_WAIT && (!cg->order || over[i])) {
            slot->state = SLOT_FREE;
            cg->version++;
        }
    }
    free(over);
    /* Afterwards, so that the children of a shard that ends here start one heartbeat later. */
    for (size_t i = 0; i < cg->slot_count; i++)
        finish_if_at_end(cg, ls->shards[i], &cg->slots[i]);
}

/* Edge 6: what the holder has let go of becomes the property of whom it was promised to. */
static void complete_transfers(struct consumer_group *cg, const struct consumer *me,
                               const uint32_t *listed, size_t listed_n)
{
    bool *named = xalloc(cg->slot_count + 1);

    for (size_t i = 0; i < listed_n; i++) {
        if (listed[i] < cg->slot_count)
            named[listed[i]] = true;
    }
    for (size_t i = 0; i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];

        if (slot->state != SLOT_TRANSFER || slot->holder != me || named[i])
            continue;
        slot->state = SLOT_HELD;
        slot->holder = slot->next;
        slot->next = NULL;
        cg->version++;
    }
    free(named);
}

/* What each consumer has or has been promised. */
static void count_loads(struct consumer_group *cg)
{
    for (size_t i = 0; i < cg->consumer_count; i++)
        cg->consumers[i]->load = 0;
    for (size_t i = 0; i < cg->slot_count; i++) {
        const struct slot *slot = &cg->slots[i];

        if (slot->state == SLOT_HELD)
            slot->holder->load++;
        else if (slot->state == SLOT_TRANSFER)
            slot->next->load++;
    }
}

/* The consumer with the fewest (or most) shards, ties by name. There is at least one consumer. */
static struct consumer *extreme(const struct consumer_group *cg, bool fewest)
{
    struct consumer *best = NULL;

    for (size_t i = 0; i < cg->consumer_count; i++) {
        struct consumer *c = cg->consumers[i];

        if (best == NULL || (fewest ? c->load < best->load : c->load > best->load) ||
            (c->load == best->load && strcmp(c->name, best->name) < 0))
            best = c;
    }
    return best;
}

/* The shard with the highest id that this consumer could hand over; NULL: all it has is only
 * promised to it, or already on its way to another. */
static struct slot *movable(const struct consumer_group *cg, const struct consumer *from)
{
    for (size_t i = cg->slot_count; i-- > 0;) {
        if (cg->slots[i].state == SLOT_HELD && cg->slots[i].holder == from)
            return &cg->slots[i];
    }
    return NULL;
}

static void balance(struct consumer_group *cg)
{
    count_loads(cg);
    for (size_t i = 0; i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];

        if (slot->state == SLOT_FREE) {
            slot->holder = extreme(cg, true);
            slot->holder->load++;
            slot->state = SLOT_HELD;
            cg->version++;
        }
    }
    for (;;) {
        struct consumer *from = extreme(cg, false);
        struct consumer *to = extreme(cg, true);
        struct slot *move = from->load - to->load <= 1 ? NULL : movable(cg, from);

        if (move == NULL)
            return;
        move->state = SLOT_TRANSFER;
        move->next = to;
        from->load--;
        to->load++;
        cg->version++;
    }
}

int cg_heartbeat(struct logstore *ls, struct consumer_group *cg, const char *consumer,
                 const uint32_t *listed, size_t listed_n, int64_t now_ms, uint32_t *mine)
{
    struct consumer *me;
    int n = 0;

    cg_expire(cg, now_ms);
    me = find_consumer(cg, consumer);
    if (me == NULL && listed_n != 0)
        return -1;
    if (me == NULL)
        me = add_consumer(cg, consumer);
    me->beat_ms = now_ms;
    cg_notice_shards(ls, cg);
    advance_slots(ls, cg);
    complete_transfers(cg, me, listed, listed_n);
    balance(cg);
    for (size_t i = 0; i < cg->slot_count; i++) {
        if (cg->slots[i].state == SLOT_HELD && cg->slots[i].holder == me)
            mine[n++] = (uint32_t)i;
    }
    return n;
}

enum cg_store_result cg_checkpoint(struct logstore *ls, struct consumer_group *cg, uint32_t shard,
                                   const char *consumer, bool force, const char *checkpoint,
                                   int64_t now_ms, int64_t now_us)
{
    struct slot *slot;

    cg_notice_shards(ls, cg);
    cg_expire(cg, now_ms);
    slot = &cg->slots[shard];
    if (!force) {
        struct consumer *c = find_consumer(cg, consumer);

        if (c == NULL)
            return CG_NO_CONSUMER;
        if (slot->holder != c)
            return CG_NOT_HOLDER;
    }
    snprintf(slot->checkpoint, sizeof slot->checkpoint, "%s", checkpoint);
    slot->updated_us = now_us;
    finish_if_at_end(cg, ls->shards[shard], slot);
    if (slot->state == SLOT_OVER && !at_end(ls->shards[shard], slot)) { /* edge 7 */
        slot->state = SLOT_FREE;
        cg->version++;
    }
    return CG_STORED;
}

size_t cg_rotate(struct consumer_group *cg)
{
    size_t moved = 0;

    for (size_t i = 0; cg->consumer_count > 1 && i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];
        size_t k = 0;

        if (slot->state != SLOT_HELD)
            continue;
        while (cg->consumers[k] != slot->holder)
            k++;
        slot->state = SLOT_TRANSFER;
        slot->next = cg->consumers[(k + 1) % cg->consumer_count];
        moved++;
        cg->version++;
    }
    return moved;
}
