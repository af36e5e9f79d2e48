/* The automaton of consumer groups. A heartbeat expires the dead, notices new shards, releases
 * children of finished parents, completes hand-overs, gives out what is free, evens out the load
 * and answers what is allocated to the caller. See groups.h for the states. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "text.h"

const char *cg_state_name(enum slot_state state)
{
    static const char *const names[] = {"wait", "free", "held", "transfer", "over"};

    return names[state];
}

struct consumer_group *cg_new(struct logstore *ls, const char *name, unsigned timeout_s, bool order)
{
    struct consumer_group *cg = xalloc(sizeof *cg);

    snprintf(cg->name, sizeof cg->name, "%s", name);
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

struct consumer_group *cg_find(struct logstore *ls, const char *name)
{
    for (size_t i = 0; i < ls->group_count; i++) {
        if (strcmp(ls->groups[i]->name, name) == 0)
            return ls->groups[i];
    }
    return NULL;
}

static bool ancestors_over(const struct logstore *ls, const struct consumer_group *cg, size_t id)
{
    for (int i = 0; i < 2; i++) {
        int parent = ls->shards[id]->parent[i];

        /* Ids of parents are smaller than those of their children: this ends. */
        if (parent >= 0 &&
            (cg->slots[parent].state != SLOT_OVER || !ancestors_over(ls, cg, (size_t)parent)))
            return false;
    }
    return true;
}

void cg_notice_shards(struct logstore *ls, struct consumer_group *cg)
{
    if (cg->slot_count == ls->shard_count)
        return;
    cg->slots = xresize(cg->slots, ls->shard_count * sizeof *cg->slots);
    for (size_t i = cg->slot_count; i < ls->shard_count; i++) {
        cg->slots[i] = (struct slot){.state = SLOT_FREE};
        if (cg->order && !ancestors_over(ls, cg, i))
            cg->slots[i].state = SLOT_WAIT;
    }
    cg->slot_count = ls->shard_count;
}

static struct consumer *find_consumer(const struct consumer_group *cg, const char *name)
{
    for (size_t i = 0; i < cg->consumer_count; i++) {
        if (strcmp(cg->consumers[i]->name, name) == 0)
            return cg->consumers[i];
    }
    return NULL;
}

static void drop_consumer(struct consumer_group *cg, size_t index)
{
    struct consumer *dead = cg->consumers[index];

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

/* Consumed to the end of a read-only shard: over. */
static void finish_if_at_end(const struct shard *sh, struct slot *slot)
{
    if (sh->readonly && slot->state != SLOT_WAIT && slot->state != SLOT_OVER && at_end(sh, slot)) {
        slot->state = SLOT_OVER;
        slot->holder = slot->next = NULL;
    }
}

static void advance_slots(struct logstore *ls, struct consumer_group *cg)
{
    for (size_t i = 0; i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];

        if (slot->state == SLOT_WAIT && (!cg->order || ancestors_over(ls, cg, i)))
            slot->state = SLOT_FREE;
    }
    /* Afterwards, so that the children of a shard that ends here start one heartbeat later. */
    for (size_t i = 0; i < cg->slot_count; i++)
        finish_if_at_end(ls->shards[i], &cg->slots[i]);
}

static void complete_transfers(struct consumer_group *cg, const struct consumer *me,
                               const uint32_t *listed, size_t listed_n)
{
    for (size_t i = 0; i < cg->slot_count; i++) {
        struct slot *slot = &cg->slots[i];
        bool still = false;

        if (slot->state != SLOT_TRANSFER || slot->holder != me)
            continue;
        for (size_t k = 0; k < listed_n; k++)
            still = still || listed[k] == i;
        if (!still) {
            slot->state = SLOT_HELD;
            slot->holder = slot->next;
            slot->next = NULL;
        }
    }
}

static size_t load_of(const struct consumer_group *cg, const struct consumer *c)
{
    size_t load = 0;

    for (size_t i = 0; i < cg->slot_count; i++) {
        const struct slot *slot = &cg->slots[i];

        load += (slot->state == SLOT_HELD && slot->holder == c) ||
                (slot->state == SLOT_TRANSFER && slot->next == c);
    }
    return load;
}

/* The consumer with the fewest (or most) shards, ties by name. There is at least one consumer. */
static struct consumer *extreme(const struct consumer_group *cg, bool fewest, size_t *load)
{
    struct consumer *best = NULL;

    for (size_t i = 0; i < cg->consumer_count; i++) {
        struct consumer *c = cg->consumers[i];
        size_t n = load_of(cg, c);

        if (best == NULL || (fewest ? n < *load : n > *load) ||
            (n == *load && strcmp(c->name, best->name) < 0)) {
            best = c;
            *load = n;
        }
    }
    return best;
}

static void balance(struct consumer_group *cg)
{
    size_t low = 0;
    size_t high = 0;

    for (size_t i = 0; i < cg->slot_count; i++) {
        if (cg->slots[i].state == SLOT_FREE) {
            cg->slots[i].holder = extreme(cg, true, &low);
            cg->slots[i].state = SLOT_HELD;
        }
    }
    for (;;) {
        struct consumer *from = extreme(cg, false, &high);
        struct consumer *to = extreme(cg, true, &low);
        struct slot *move = NULL;

        if (high - low <= 1)
            return;
        for (size_t i = 0; i < cg->slot_count; i++) {
            if (cg->slots[i].state == SLOT_HELD && cg->slots[i].holder == from)
                move = &cg->slots[i];
        }
        if (move == NULL) /* all it has is only promised to it */
            return;
        move->state = SLOT_TRANSFER;
        move->next = to;
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
    if (me == NULL) {
        me = xalloc(sizeof *me);
        snprintf(me->name, sizeof me->name, "%s", consumer);
        ARRAY_ROOM(cg->consumers, cg->consumer_count, cg->consumer_size);
        cg->consumers[cg->consumer_count++] = me;
    }
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
    finish_if_at_end(ls->shards[shard], slot);
    if (slot->state == SLOT_OVER && !at_end(ls->shards[shard], slot))
        slot->state = SLOT_FREE;
    return CG_STORED;
}
