/* Calls on consumer groups: create, update, delete, list, heartbeat, checkpoints. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "sim.h"
#include "text.h"

enum { TIMEOUT_MAX_S = 86400 };

static bool group_name_ok(const char *name)
{
    size_t n = strlen(name);

    return n >= 1 && n <= 128 &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static json_t *read_body(const struct request *r)
{
    return json_loadb(r->body.n == 0 ? "" : r->body.p, r->body.n, 0, NULL);
}

/* Takes timeout and order out of a body where they are present. */
static bool read_settings(json_t *body, unsigned *timeout_s, bool *order)
{
    json_t *timeout = json_object_get(body, "timeout");
    json_t *ordered = json_object_get(body, "order");

    if (timeout != NULL) {
        if (!json_is_integer(timeout) || json_integer_value(timeout) < 1 ||
            json_integer_value(timeout) > TIMEOUT_MAX_S)
            return false;
        *timeout_s = (unsigned)json_integer_value(timeout);
    }
    if (ordered != NULL && !json_is_boolean(ordered))
        return false;
    if (ordered != NULL)
        *order = json_is_true(ordered);
    return true;
}

static int create(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a)
{
    json_t *body = read_body(r);
    const char *name = json_string_value(json_object_get(body, "consumerGroup"));
    unsigned timeout_s = 0;
    bool order = false;
    int rc = 0;

    if (!json_is_object(body) || name == NULL || !read_settings(body, &timeout_s, &order) ||
        timeout_s == 0)
        rc = answer_error(a, 400, "JsonInfoInvalid",
                          "consumerGroup, timeout or order is missing or not valid");
    else if (!group_name_ok(name))
        rc = answer_error(a, 400, "ParameterInvalid", "this consumer group name is not allowed");
    else if (cg_find(ls, name) != NULL)
        rc = answer_error(a, 400, "ConsumerGroupAlreadyExist", "consumer group already exist");
    else if (ls->group_count >= GROUPS_PER_LOGSTORE)
        rc = answer_error(a, 400, "ConsumerGroupQuotaExceed", "a logstore has %d consumer groups",
                          GROUPS_PER_LOGSTORE);
    else
        state_group(sim, ls, cg_new(ls, name, timeout_s, order));
    json_decref(body);
    return rc;
}

static int update(struct sim *sim, struct logstore *ls, struct consumer_group *cg,
                  const struct request *r, struct answer *a)
{
    json_t *body = read_body(r);
    unsigned timeout_s = cg->timeout_s;
    bool order = cg->order;
    bool ok = json_is_object(body) && read_settings(body, &timeout_s, &order);

    json_decref(body);
    if (!ok)
        return answer_error(a, 400, "JsonInfoInvalid", "timeout or order is not valid");
    cg_notice_shards(ls, cg); /* the new order applies to shards born from now on */
    cg->timeout_s = timeout_s;
    cg->order = order;
    state_group(sim, ls, cg);
    return 0;
}

static int answer_value(json_t *value, struct answer *a)
{
    answer_json(a, json_dumps(value, 0));
    json_decref(value);
    return 0;
}

static int list(struct logstore *ls, struct answer *a)
{
    json_t *array = json_array();

    for (size_t i = 0; i < ls->group_count; i++) {
        const struct consumer_group *cg = ls->groups[i];

        json_array_append_new(array, json_pack("{s:s, s:i, s:b}", "name", cg->name, "timeout",
                                               (int)cg->timeout_s, "order", (int)cg->order));
    }
    return answer_value(array, a);
}

/* The shard ids that a heartbeat names. Returns how many, or -1. */
static int read_ids(const struct request *r, uint32_t *ids, size_t room)
{
    json_t *body = read_body(r);
    size_t n = json_array_size(body);
    bool ok = json_is_array(body) && n <= room;

    for (size_t i = 0; ok && i < n; i++) {
        json_t *id = json_array_get(body, i);

        ok = json_is_integer(id) && json_integer_value(id) >= 0 &&
             json_integer_value(id) <= UINT32_MAX;
        if (ok)
            ids[i] = (uint32_t)json_integer_value(id);
    }
    json_decref(body);
    return ok ? (int)n : -1;
}

static int heartbeat(struct sim *sim, struct logstore *ls, struct consumer_group *cg,
                     const struct request *r, struct answer *a)
{
    const char *consumer = request_param(r, "consumer");
    uint32_t listed[SHARDS_MAX];
    uint32_t mine[SHARDS_MAX];
    json_t *array;
    int n;

    array = consumer == NULL ? NULL : json_string(consumer); /* NULL: not UTF-8 */
    json_decref(array);
    if (array == NULL || *consumer == '\0' || strlen(consumer) >= NAME_SIZE)
        return answer_error(a, 400, "ParameterInvalid",
                            "consumer is missing, too long or not UTF-8");
    n = read_ids(r, listed, SHARDS_MAX);
    if (n < 0)
        return answer_error(a, 400, "JsonInfoInvalid", "the body is not an array of shard ids");
    n = cg_heartbeat(ls, cg, consumer, listed, (size_t)n, sim_clock_ms(sim), mine);
    state_owners(sim, ls, cg);
    if (n < 0)
        return answer_error(a, 400, "NotExistConsumerWithBody",
                            "non-exist consumer with non-empty body of heartbeat");
    array = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(array, json_integer(mine[i]));
    return answer_value(array, a);
}

static int store_checkpoint(struct sim *sim, struct logstore *ls, struct consumer_group *cg,
                            const struct request *r, json_t *body, struct answer *a)
{
    const char *consumer = request_param(r, "consumer");
    const char *forced = request_param(r, "forceSuccess");
    const char *checkpoint = json_string_value(json_object_get(body, "checkpoint"));
    json_t *id = json_object_get(body, "shard");
    bool force = forced != NULL && strcasecmp(forced, "true") == 0;

    if (!json_is_integer(id) || checkpoint == NULL)
        return answer_error(a, 400, "JsonInfoInvalid", "shard or checkpoint is missing");
    if (!force && (consumer == NULL || *consumer == '\0'))
        return answer_error(a, 400, "ParameterInvalid", "without a consumer it has to be forced");
    if (json_integer_value(id) < 0 || store_shard(ls, (uint64_t)json_integer_value(id)) == NULL)
        return answer_error(a, 404, "ShardNotExist", "shard %lld does not exist",
                            (long long)json_integer_value(id));
    if (!text_is_base64(checkpoint) || strlen(checkpoint) >= CHECKPOINT_SIZE)
        return answer_error(a, 400, "InvalidShardCheckPoint", "shard checkpoint is not base64");
    switch (cg_checkpoint(ls, cg, (uint32_t)json_integer_value(id), consumer, force, checkpoint,
                          sim_clock_ms(sim), sim_now_us(sim))) {
    case CG_NO_CONSUMER:
        return answer_error(a, 404, "ConsumerNotExist", "consumer not exist in the consumer group");
    case CG_NOT_HOLDER:
        return answer_error(a, 400, "ConsumerNotMatch", "the shard is not held by this consumer");
    case CG_STORED:
        state_checkpoint(sim, ls, cg, (uint32_t)json_integer_value(id));
        state_owners(sim, ls, cg);
        break;
    }
    return 0;
}

static json_t *checkpoint_json(const struct consumer_group *cg, size_t shard)
{
    const struct slot *slot = &cg->slots[shard];

    return json_pack("{s:I, s:s, s:I, s:s}", "shard", (json_int_t)shard, "checkpoint",
                     slot->checkpoint, "updateTime", (json_int_t)slot->updated_us, "consumer",
                     slot->holder == NULL ? "" : slot->holder->name);
}

static int get_checkpoints(struct logstore *ls, struct consumer_group *cg, const struct request *r,
                           struct answer *a)
{
    const char *shard_text = request_param(r, "shard");
    uint64_t shard = 0;
    json_t *array;

    if (shard_text != NULL && !text_number(shard_text, UINT32_MAX, &shard))
        return answer_error(a, 400, "ParameterInvalid", "shard is not a number");
    cg_notice_shards(ls, cg); /* who is silent is noticed by heartbeats, as in the recorded run */
    array = json_array();
    for (size_t i = 0; i < cg->slot_count; i++) {
        if (shard_text == NULL || shard == i)
            json_array_append_new(array, checkpoint_json(cg, i));
    }
    return answer_value(array, a);
}

static int post(struct sim *sim, struct logstore *ls, struct consumer_group *cg,
                const struct request *r, struct answer *a)
{
    const char *type = request_param(r, "type");
    json_t *body;
    int rc;

    if (type != NULL && strcmp(type, "heartbeat") == 0)
        return heartbeat(sim, ls, cg, r, a);
    if (type == NULL || strcmp(type, "checkpoint") != 0)
        return answer_error(a, 400, "ParameterInvalid", "type is heartbeat or checkpoint");
    body = read_body(r);
    rc = store_checkpoint(sim, ls, cg, r, body, a);
    json_decref(body);
    return rc;
}

int api_group_call(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a)
{
    struct consumer_group *cg;

    if (r->segments == 3 && strcmp(r->method, "GET") == 0)
        return list(ls, a);
    if (r->segments == 3 && strcmp(r->method, "POST") == 0)
        return create(sim, ls, r, a);
    cg = r->segments == 4 ? cg_find(ls, r->segment[3]) : NULL;
    if (cg == NULL)
        return answer_error(a, 404, "ConsumerGroupNotExist", "consumer group not exist");
    if (strcmp(r->method, "GET") == 0)
        return get_checkpoints(ls, cg, r, a);
    if (strcmp(r->method, "POST") == 0)
        return post(sim, ls, cg, r, a);
    if (strcmp(r->method, "PUT") == 0)
        return update(sim, ls, cg, r, a);
    if (strcmp(r->method, "DELETE") != 0)
        return answer_error(a, 400, "ParameterInvalid", "no such call: %.16s", r->method);
    state_drop_group(sim, ls, cg);
    cg_delete(ls, cg);
    return 0;
}
