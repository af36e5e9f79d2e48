/* Projects, logstores and shards, see store.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "store.h"

/* The real service starts a shard near its birth in nanoseconds; these look alike and are stable.
 */
static const uint64_t CURSOR_BASE = 1500000000000000000u;
static const uint64_t CURSOR_STEP = 1000000;

void store_init(struct store *s)
{
    *s = (struct store){0};
    pthread_mutex_init(&s->lock, NULL);
}

static void free_logstore(struct logstore *ls)
{
    for (size_t i = 0; i < ls->shard_count; i++) {
        shard_trim(ls->shards[i], 0);
        free(ls->shards[i]->groups);
        free(ls->shards[i]->ready);
        free(ls->shards[i]);
    }
    for (size_t i = 0; i < ls->group_count; i++)
        cg_free(ls->groups[i]);
    free(ls->shards);
    free(ls->groups);
    free(ls);
}

static void free_project(struct project *p)
{
    for (size_t k = 0; k < p->count; k++)
        free_logstore(p->logstores[k]);
    for (size_t k = 0; k < p->gone_count; k++)
        free_logstore(p->gone[k]);
    free(p->logstores);
    free(p->gone);
    free(p->description);
    free(p);
}

void store_fini(struct store *s)
{
    for (size_t i = 0; i < s->count; i++)
        free_project(s->projects[i]);
    for (size_t i = 0; i < s->gone_count; i++)
        free_project(s->gone[i]);
    for (size_t i = 0; i < s->kept_count; i++)
        free(s->kept[i]);
    free(s->kept);
    free(s->gone);
    free(s->projects);
    pthread_mutex_destroy(&s->lock);
}

void store_keep(struct store *s, void *block)
{
    ARRAY_ROOM(s->kept, s->kept_count, s->kept_size);
    s->kept[s->kept_count++] = block;
}

struct project *store_project(struct store *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->projects[i]->name, name) == 0)
            return s->projects[i];
    }
    return NULL;
}

struct project *store_add_project(struct store *s, const char *name, int64_t now_s)
{
    struct project *p = xalloc(sizeof *p);

    snprintf(p->name, sizeof p->name, "%s", name);
    p->description = xstrdup("");
    p->created_s = now_s;
    ARRAY_ROOM(s->projects, s->count, s->size);
    s->projects[s->count++] = p;
    return p;
}

struct logstore *store_logstore(struct project *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->logstores[i]->name, name) == 0)
            return p->logstores[i];
    }
    return NULL;
}

static struct shard *add_shard(struct logstore *ls, int64_t now_s)
{
    struct shard *sh = xalloc(sizeof *sh);

    sh->id = (uint32_t)ls->shard_count;
    sh->base = CURSOR_BASE + sh->id * CURSOR_STEP;
    sh->created_s = now_s;
    sh->parent[0] = sh->parent[1] = -1;
    ARRAY_ROOM(ls->shards, ls->shard_count, ls->shard_size);
    ls->shards[ls->shard_count++] = sh;
    return sh;
}

/* i/n of the 128-bit key space: floor(2^128 * i / n), long division byte by byte. */
static void key_fraction(uint8_t key[KEY_BYTES], unsigned i, unsigned n)
{
    unsigned rest = i;

    for (int k = 0; k < KEY_BYTES; k++) {
        unsigned value = rest * 256;

        key[k] = (uint8_t)(value / n);
        rest = value % n;
    }
}

struct logstore *store_add_logstore(struct project *p, const char *name, unsigned shards,
                                    int64_t now_s)
{
    struct logstore *ls = xalloc(sizeof *ls);

    snprintf(ls->name, sizeof ls->name, "%s", name);
    ls->project = p->name;
    ls->ttl = 30;
    ls->created_s = now_s;
    for (unsigned i = 0; i < shards; i++) {
        struct shard *sh = add_shard(ls, now_s);

        key_fraction(sh->begin_key, i, shards);
        if (i + 1 < shards)
            key_fraction(sh->end_key, i + 1, shards);
        else
            memset(sh->end_key, 0xff, KEY_BYTES);
    }
    ARRAY_ROOM(p->logstores, p->count, p->size);
    p->logstores[p->count++] = ls;
    return ls;
}

void store_delete_logstore(struct project *p, struct logstore *ls)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->logstores[i] == ls) {
            p->logstores[i] = p->logstores[--p->count];
            ARRAY_ROOM(p->gone, p->gone_count, p->gone_size);
            p->gone[p->gone_count++] = ls;
            return;
        }
    }
}

void store_delete_project(struct store *s, struct project *p)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->projects[i] == p) {
            s->projects[i] = s->projects[--s->count];
            ARRAY_ROOM(s->gone, s->gone_count, s->gone_size);
            s->gone[s->gone_count++] = p;
            return;
        }
    }
}

bool store_name_ok(const char *name, bool logstore)
{
    size_t n = strlen(name);

    /* Old projects are bare numbers and short ones exist: only the shape is judged. */
    if (n == 0 || n > (logstore ? 80 : 63) || !isalnum((unsigned char)name[0]) ||
        !isalnum((unsigned char)name[n - 1]))
        return false;
    return strspn(name, logstore ? "abcdefghijklmnopqrstuvwxyz0123456789-_"
                                 : "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

struct shard *store_shard(struct logstore *ls, uint64_t id)
{
    return id < ls->shard_count ? ls->shards[id] : NULL;
}

uint64_t shard_begin(const struct shard *sh)
{
    return sh->base + sh->trimmed;
}

uint64_t shard_end(const struct shard *sh)
{
    return sh->base + sh->count;
}

static void append(struct shard *sh, const void *data, size_t n, uint32_t logs, int64_t now_s,
                   bool owned)
{
    ARRAY_ROOM(sh->groups, sh->count, sh->size);
    sh->groups[sh->count++] = (struct log_group){
        .data = data, .n = (uint32_t)n, .logs = logs, .received_s = now_s, .owned = owned};
    sh->logs += logs;
    sh->bytes += n;
}

void shard_append(struct shard *sh, const void *data, size_t n, uint32_t logs, int64_t now_s)
{
    append(sh, data, n, logs, now_s, false);
}

void shard_take(struct shard *sh, void *data, size_t n, uint32_t logs, int64_t now_s)
{
    append(sh, data, n, logs, now_s, true);
}

void shard_promise(struct shard *sh, const struct recipe *recipe, uint32_t logs)
{
    append(sh, NULL, 0, logs, recipe->made_us / 1000000, false);
    sh->groups[sh->count - 1].recipe = *recipe;
}

static void drop_oldest(struct shard *sh)
{
    struct log_group *g = &sh->groups[sh->trimmed++];

    if (g->owned)
        free((void *)(uintptr_t)g->data);
    g->data = NULL;
    g->owned = false;
}

void shard_expire(struct shard *sh, int64_t before_s)
{
    while (sh->trimmed < sh->count && sh->groups[sh->trimmed].received_s < before_s)
        drop_oldest(sh);
}

void shard_trim(struct shard *sh, size_t keep)
{
    while (sh->count - sh->trimmed > keep)
        drop_oldest(sh);
}

void logstore_expire(struct logstore *ls, int64_t now_s)
{
    int64_t keep_s = ls->retention_s != 0 ? ls->retention_s : (int64_t)ls->ttl * 86400;

    for (size_t i = 0; i < ls->shard_count; i++)
        shard_expire(ls->shards[i], now_s - keep_s);
}

bool bucket_take(struct bucket *b, uint64_t per_second, uint64_t n, int64_t now_ms)
{
    double full = (double)per_second;

    if (per_second == 0)
        return true;
    if (b->at_ms == 0)
        b->tokens = full;
    else if (now_ms > b->at_ms)
        b->tokens += full * (double)(now_ms - b->at_ms) / 1000.0;
    b->at_ms = now_ms;
    if (b->tokens > full)
        b->tokens = full;
    if (b->tokens <= 0)
        return false;
    b->tokens -= (double)n;
    return true;
}

struct shard *store_next_shard(struct logstore *ls)
{
    for (size_t i = 0; i < ls->shard_count; i++) {
        struct shard *sh = ls->shards[(ls->turn + i) % ls->shard_count];

        if (!sh->readonly) {
            ls->turn = (sh->id + 1) % ls->shard_count;
            return sh;
        }
    }
    return NULL;
}

struct shard *store_route(struct logstore *ls, const uint8_t key[KEY_BYTES])
{
    uint8_t last[KEY_BYTES];

    memset(last, 0xff, sizeof last);
    for (size_t i = 0; i < ls->shard_count; i++) {
        struct shard *sh = ls->shards[i];

        /* ffff.. itself has no shard in half-open ranges; it belongs to the last one. */
        if (!sh->readonly && memcmp(sh->begin_key, key, KEY_BYTES) <= 0 &&
            (memcmp(key, sh->end_key, KEY_BYTES) < 0 || memcmp(sh->end_key, last, KEY_BYTES) == 0))
            return sh;
    }
    return NULL;
}

void shard_middle(const struct shard *sh, uint8_t key[KEY_BYTES])
{
    unsigned carry = 0; /* of the sum, from the low end */
    uint8_t sum[KEY_BYTES];

    for (int i = KEY_BYTES; i-- > 0;) {
        unsigned value = (unsigned)sh->begin_key[i] + sh->end_key[i] + carry;

        sum[i] = (uint8_t)value;
        carry = value >> 8;
    }
    for (int i = 0; i < KEY_BYTES; i++) { /* halved, from the high end */
        key[i] = (uint8_t)((carry << 7) | (sum[i] >> 1));
        carry = sum[i] & 1u;
    }
}

int store_split(struct logstore *ls, struct shard *sh, const uint8_t key[KEY_BYTES], int64_t now_s)
{
    struct shard *child[2];

    if (sh->readonly || ls->shard_count + 2 > SHARDS_MAX ||
        memcmp(key, sh->begin_key, KEY_BYTES) <= 0 || memcmp(key, sh->end_key, KEY_BYTES) >= 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        child[i] = add_shard(ls, now_s);
        child[i]->parent[0] = (int)sh->id;
        memcpy(child[i]->begin_key, i == 0 ? sh->begin_key : key, KEY_BYTES);
        memcpy(child[i]->end_key, i == 0 ? key : sh->end_key, KEY_BYTES);
    }
    sh->readonly = true;
    return 0;
}

int store_merge(struct logstore *ls, struct shard *left, struct shard **right, int64_t now_s)
{
    struct shard *merged;

    *right = NULL;
    for (size_t i = 0; i < ls->shard_count; i++) {
        if (!ls->shards[i]->readonly &&
            memcmp(ls->shards[i]->begin_key, left->end_key, KEY_BYTES) == 0)
            *right = ls->shards[i];
    }
    if (left->readonly || *right == NULL || ls->shard_count + 1 > SHARDS_MAX)
        return -1;
    merged = add_shard(ls, now_s);
    merged->parent[0] = (int)left->id;
    merged->parent[1] = (int)(*right)->id;
    memcpy(merged->begin_key, left->begin_key, KEY_BYTES);
    memcpy(merged->end_key, (*right)->end_key, KEY_BYTES);
    left->readonly = (*right)->readonly = true;
    return 0;
}

uint64_t shard_cursor_at(const struct shard *sh, int64_t from_s)
{
    size_t i = sh->trimmed;

    while (i < sh->count && sh->groups[i].received_s < from_s)
        i++;
    return sh->base + i;
}
