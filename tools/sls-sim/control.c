/* The simulator's own calls, for tests; no signature, no project. Bodies are JSON:
 *
 *   GET  /_sim/stats                     everything that it counts
 *   POST /_sim/faults                    ["pull:delay=100", ..] adds; {"clear": true} forgets all
 *   POST /_sim/clock  {"skew_s": N}      the wall clock is off by N from now on
 *                     {"advance_s": N}   all clocks go forward, time-outs and retention with them
 *   POST /_sim/token  {"token": T|null}  changes the accepted security token
 *   POST /_sim/keys   {"id", "secret", "token", "expires_in_s"} or {"id", "remove": true}
 *   POST /_sim/quota  {"read_bytes", "reads", "write_bytes", "writes"} per shard and second; 0:
 * none POST /_sim/trim   {"logstore", "shard", "keep": N}   retention: only the newest N groups
 * stay POST /_sim/split  {"logstore", "shard", "key"}, /_sim/merge {"logstore", "shard"} POST
 * /_sim/expire {"logstore", "group", "consumer"}  forgets a consumer (none named: all) POST
 * /_sim/rebalance {"logstore", "group"}           promises every shard to another consumer */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sim.h"
#include "text.h"

static json_t *shard_stats(const struct logstore *ls, const struct shard *sh)
{
    char begin[CURSOR_TEXT_MAX];
    char end[CURSOR_TEXT_MAX];
    json_t *groups = json_object();
    json_t *parents = json_array();

    cursor_encode(shard_begin(sh), begin);
    cursor_encode(shard_end(sh), end);
    for (size_t i = 0; i < ls->group_count; i++) {
        const struct consumer_group *cg = ls->groups[i];
        const struct slot *slot = sh->id < cg->slot_count ? &cg->slots[sh->id] : NULL;
        uint64_t number = 0;

        if (slot == NULL)
            continue;
        if (!cursor_decode(slot->checkpoint, &number) || number < sh->base)
            number = sh->base;
        json_object_set_new(groups, cg->name,
                            json_pack("{s:s, s:s, s:I, s:s, s:s}", "state",
                                      cg_state_name(slot->state), "checkpoint", slot->checkpoint,
                                      "checkpoint_groups", (json_int_t)(number - sh->base),
                                      "holder", slot->holder == NULL ? "" : slot->holder->name,
                                      "next", slot->next == NULL ? "" : slot->next->name));
    }
    for (int i = 0; i < 2; i++) {
        if (sh->parent[i] >= 0)
            json_array_append_new(parents, json_integer(sh->parent[i]));
    }
    return json_pack("{s:o, s:i, s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "parents",
                     parents, "shard", (int)sh->id, "status",
                     sh->readonly ? "readonly" : "readwrite", "groups", (json_int_t)sh->count,
                     "logs", (json_int_t)sh->logs, "bytes", (json_int_t)sh->bytes, "begin_cursor",
                     begin, "end_cursor", end, "pulls", (json_int_t)sh->pulls, "pulled_groups",
                     (json_int_t)sh->pulled_groups, "pulled_logs", (json_int_t)sh->pulled_logs,
                     "pulled_bytes", (json_int_t)sh->pulled_bytes, "consumer_groups", groups);
}

/* Consumers with the time since their last heartbeat and what is allocated to them. */
static json_t *group_stats(const struct sim *sim, const struct consumer_group *cg)
{
    json_t *consumers = json_array();

    for (size_t i = 0; i < cg->consumer_count; i++) {
        const struct consumer *c = cg->consumers[i];
        size_t held = 0;

        for (size_t k = 0; k < cg->slot_count; k++)
            held += cg->slots[k].state == SLOT_HELD && cg->slots[k].holder == c;
        json_array_append_new(consumers, json_pack("{s:s, s:I, s:I}", "consumer", c->name, "held",
                                                   (json_int_t)held, "silent_ms",
                                                   (json_int_t)(sim_clock_ms(sim) - c->beat_ms)));
    }
    return json_pack("{s:s, s:i, s:b, s:o}", "group", cg->name, "timeout", (int)cg->timeout_s,
                     "order", (int)cg->order, "consumers", consumers);
}

static json_t *logstore_stats(const struct sim *sim, const struct project *p,
                              const struct logstore *ls)
{
    json_t *shards = json_array();
    json_t *consumer_groups = json_array();
    uint64_t groups = 0;
    uint64_t logs = 0;
    uint64_t pulled = 0;

    for (size_t i = 0; i < ls->shard_count; i++) {
        json_array_append_new(shards, shard_stats(ls, ls->shards[i]));
        groups += ls->shards[i]->count;
        logs += ls->shards[i]->logs;
        pulled += ls->shards[i]->pulled_logs;
    }
    for (size_t i = 0; i < ls->group_count; i++)
        json_array_append_new(consumer_groups, group_stats(sim, ls->groups[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "project", p->name, "logstore",
                     ls->name, "groups", (json_int_t)groups, "logs", (json_int_t)logs,
                     "pulled_logs", (json_int_t)pulled, "consumer_groups", consumer_groups,
                     "shards", shards);
}

static void stats(struct sim *sim, struct answer *a)
{
    json_t *logstores = json_array();
    json_t *calls = json_object();
    json_t *errors = json_object();
    json_t *codes = json_object();
    json_t *all;
    uint64_t fired;

    pthread_mutex_lock(&sim->store.lock);
    for (size_t i = 0; i < sim->store.count; i++) {
        const struct project *p = sim->store.projects[i];

        for (size_t k = 0; k < p->count; k++)
            json_array_append_new(logstores, logstore_stats(sim, p, p->logstores[k]));
    }
    pthread_mutex_unlock(&sim->store.lock);
    pthread_mutex_lock(&sim->stats.lock);
    for (int i = 0; i < CALL_COUNT; i++) {
        json_object_set_new(calls, call_names[i], json_integer((json_int_t)sim->stats.calls[i]));
        json_object_set_new(errors, call_names[i], json_integer((json_int_t)sim->stats.errors[i]));
    }
    for (size_t i = 0; i < sim->stats.codes; i++)
        json_object_set_new(codes, sim->stats.code[i].code,
                            json_integer((json_int_t)sim->stats.code[i].count));
    pthread_mutex_unlock(&sim->stats.lock);
    pthread_mutex_lock(&sim->faults.lock);
    fired = sim->faults.fired;
    pthread_mutex_unlock(&sim->faults.lock);
    all = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "uptime_ms",
                    (json_int_t)(sim_mono_ms() - sim->started_ms), "skew_s",
                    (json_int_t)atomic_load(&sim->skew_s), "generated_logs",
                    (json_int_t)atomic_load(&sim->generated), "faults_fired", (json_int_t)fired,
                    "calls", calls, "call_errors", errors, "error_codes", codes, "logstores",
                    logstores);
    answer_json(a, json_dumps(all, 0));
    json_decref(all);
}

static int add_fault(struct sim *sim, const json_t *item, struct answer *a)
{
    const char *spec = json_string_value(item);
    const char *why = "";

    if (spec == NULL)
        return answer_error(a, 400, "ParameterInvalid",
                            "a fault is a text CALL:KIND[=ARG][:COUNT]");
    if (!fault_add(&sim->faults, spec, &why))
        return answer_error(a, 400, "ParameterInvalid", "fault %.100s: %s", spec, why);
    return 0;
}

static int faults(struct sim *sim, json_t *body, struct answer *a)
{
    json_t *item;
    size_t i;

    if (json_is_object(body) && json_is_true(json_object_get(body, "clear"))) {
        fault_clear(&sim->faults);
        return 0;
    }
    if (json_is_string(body))
        return add_fault(sim, body, a);
    if (!json_is_array(body))
        return answer_error(a, 400, "ParameterInvalid",
                            "send an array of faults or {\"clear\":true}");
    json_array_foreach(body, i, item)
    {
        if (add_fault(sim, item, a) != 0)
            return -1;
    }
    return 0;
}

static int set_clock(struct sim *sim, json_t *body, struct answer *a)
{
    json_t *skew = json_object_get(body, "skew_s");
    json_t *advance = json_object_get(body, "advance_s");

    if ((!json_is_integer(skew) && !json_is_number(advance)) ||
        llabs(json_integer_value(skew)) > INT32_MAX || json_number_value(advance) < 0 ||
        json_number_value(advance) > INT32_MAX)
        return answer_error(a, 400, "ParameterInvalid",
                            "skew_s or advance_s is a number of seconds");
    if (json_is_integer(skew))
        atomic_store(&sim->skew_s, (int64_t)json_integer_value(skew));
    atomic_fetch_add(&sim->ahead_ms, (int64_t)(json_number_value(advance) * 1000));
    return 0;
}

static int set_token(struct sim *sim, json_t *body, struct answer *a)
{
    json_t *token = json_object_get(body, "token");

    if (!json_is_string(token) && !json_is_null(token))
        return answer_error(a, 400, "ParameterInvalid", "token is a text or null");
    free(sim->keys.token);
    sim->keys.token = json_is_null(token) ? NULL : xstrdup(json_string_value(token));
    return 0;
}

static int set_key(struct sim *sim, json_t *body, struct answer *a)
{
    const char *id = json_string_value(json_object_get(body, "id"));
    const char *secret = json_string_value(json_object_get(body, "secret"));
    const char *token = json_string_value(json_object_get(body, "token"));
    json_t *expires = json_object_get(body, "expires_in_s");
    int64_t expires_s = INT64_MAX;

    if (id != NULL && json_is_true(json_object_get(body, "remove"))) {
        if (!auth_remove_key(&sim->keys, id))
            return answer_error(a, 404, "ParameterInvalid", "no key %.64s", id);
        return 0;
    }
    if (id == NULL || secret == NULL || (expires != NULL && !json_is_integer(expires)))
        return answer_error(a, 400, "ParameterInvalid",
                            "id and secret are texts, expires_in_s is a number");
    if (expires != NULL)
        expires_s = sim_now_us(sim) / 1000000 + (int64_t)json_integer_value(expires);
    auth_set_key(&sim->keys, id, secret, token, expires_s);
    return 0;
}

static int set_quota(struct sim *sim, json_t *body, struct answer *a)
{
    struct quota *q = &sim->store.quota;
    const struct {
        const char *name;
        uint64_t *value;
    } members[] = {{"read_bytes", &q->read_bytes},
                   {"reads", &q->reads},
                   {"write_bytes", &q->write_bytes},
                   {"writes", &q->writes}};

    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        json_t *value = json_object_get(body, members[i].name);

        if (value == NULL)
            continue;
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return answer_error(a, 400, "ParameterInvalid", "%s is a number", members[i].name);
        *members[i].value = (uint64_t)json_integer_value(value);
    }
    return 0;
}

/* The logstore that a body names, in any project. */
static struct logstore *named_logstore(struct sim *sim, json_t *body, struct answer *a)
{
    const char *name = json_string_value(json_object_get(body, "logstore"));

    for (size_t i = 0; name != NULL && i < sim->store.count; i++) {
        struct logstore *ls = store_logstore(sim->store.projects[i], name);

        if (ls != NULL)
            return ls;
    }
    answer_error(a, 404, "LogStoreNotExist", "logstore is missing or does not exist");
    return NULL;
}

static int trim(struct sim *sim, json_t *body, struct answer *a)
{
    struct logstore *ls = named_logstore(sim, body, a);
    json_t *keep = json_object_get(body, "keep");
    json_int_t id = json_integer_value(json_object_get(body, "shard"));
    struct shard *sh = ls == NULL || id < 0 ? NULL : store_shard(ls, (uint64_t)id);

    if (ls == NULL)
        return -1;
    if (sh == NULL)
        return answer_error(a, 400, "ShardNotExist", "no such shard");
    if (!json_is_integer(keep) || json_integer_value(keep) < 0)
        return answer_error(a, 400, "ParameterInvalid", "keep is a number of groups");
    shard_trim(sh, (size_t)json_integer_value(keep));
    state_trim(sim, ls, sh, (size_t)json_integer_value(keep));
    return 0;
}

static int change(struct sim *sim, json_t *body, const char *action, struct answer *a)
{
    struct logstore *ls = named_logstore(sim, body, a);
    json_t *id = json_object_get(body, "shard");

    if (ls == NULL)
        return -1;
    if (id != NULL && (!json_is_integer(id) || json_integer_value(id) < 0))
        return answer_error(a, 400, "ParameterInvalid", "shard is a number");
    return api_change_shard(sim, ls, id == NULL ? -1 : (int64_t)json_integer_value(id), action,
                            json_string_value(json_object_get(body, "key")), a);
}

static int split(struct sim *sim, json_t *body, struct answer *a)
{
    return change(sim, body, "split", a);
}

static int merge(struct sim *sim, json_t *body, struct answer *a)
{
    return change(sim, body, "merge", a);
}

static struct consumer_group *named_group(struct sim *sim, json_t *body, struct logstore **ls,
                                          struct answer *a)
{
    const char *name = json_string_value(json_object_get(body, "group"));
    struct consumer_group *cg;

    *ls = named_logstore(sim, body, a);
    if (*ls == NULL)
        return NULL;
    cg = name == NULL ? NULL : cg_find(*ls, name);
    if (cg == NULL)
        answer_error(a, 404, "ConsumerGroupNotExist", "consumer group not exist");
    return cg;
}

static int expire(struct sim *sim, json_t *body, struct answer *a)
{
    struct logstore *ls;
    struct consumer_group *cg = named_group(sim, body, &ls, a);

    if (cg == NULL)
        return -1;
    cg_forget(cg, json_string_value(json_object_get(body, "consumer")));
    state_owners(sim, ls, cg);
    return 0;
}

static int rebalance(struct sim *sim, json_t *body, struct answer *a)
{
    struct logstore *ls;
    struct consumer_group *cg = named_group(sim, body, &ls, a);

    if (cg == NULL)
        return -1;
    cg_rotate(cg);
    state_owners(sim, ls, cg);
    return 0;
}

void control_run(struct sim *sim, const struct request *r, struct answer *a)
{
    static const struct {
        const char *name;
        int (*run)(struct sim *sim, json_t *body, struct answer *a);
    } verbs[] = {{"faults", faults},      {"clock", set_clock}, {"token", set_token},
                 {"keys", set_key},       {"quota", set_quota}, {"trim", trim},
                 {"split", split},        {"merge", merge},     {"expire", expire},
                 {"rebalance", rebalance}};
    json_t *body;

    a->status = 200;
    if (r->segments == 2 && strcmp(r->segment[1], "stats") == 0 && strcmp(r->method, "GET") == 0) {
        stats(sim, a);
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (r->segments != 2 || strcmp(r->segment[1], verbs[i].name) != 0 ||
            strcmp(r->method, "POST") != 0)
            continue;
        body = json_loadb(r->body.n == 0 ? "" : r->body.p, r->body.n, JSON_DECODE_ANY, NULL);
        pthread_mutex_lock(&sim->store.lock);
        if (body == NULL)
            answer_error(a, 400, "ParameterInvalid", "the body is not JSON");
        else
            verbs[i].run(sim, body, a);
        pthread_mutex_unlock(&sim->store.lock);
        json_decref(body);
        return;
    }
    answer_error(a, 404, "ParameterInvalid", "no such call: %.16s %.200s", r->method, r->path);
}
