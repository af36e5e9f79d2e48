/* Shards, cursors and uploads. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sim.h"
#include "text.h"

enum { PUT_RAW_MAX = 10 << 20 };

static json_t *shard_json(const struct shard *sh)
{
    char begin[2 * KEY_BYTES + 1];
    char end[2 * KEY_BYTES + 1];

    text_hex(begin, sh->begin_key, KEY_BYTES, false);
    text_hex(end, sh->end_key, KEY_BYTES, false);
    return json_pack("{s:i, s:s, s:s, s:s, s:I}", "shardID", (int)sh->id, "status",
                     sh->readonly ? "readonly" : "readwrite", "inclusiveBeginKey", begin,
                     "exclusiveEndKey", end, "createTime", (json_int_t)sh->created_s);
}

static int answer_array(json_t *array, struct answer *a)
{
    answer_json(a, json_dumps(array, 0));
    json_decref(array);
    return 0;
}

struct shard *api_shard(struct logstore *ls, const struct request *r, struct answer *a)
{
    uint64_t id;
    struct shard *sh = NULL;

    if (r->segments == 4 && text_number(r->segment[3], UINT32_MAX, &id))
        sh = store_shard(ls, id);
    if (sh == NULL)
        answer_error(a, 400, "ShardNotExist", "shard %.20s does not exist",
                     r->segments > 3 ? r->segment[3] : "");
    return sh;
}

static int split(struct sim *sim, struct logstore *ls, struct shard *sh, const char *key_text,
                 struct answer *a)
{
    int64_t now_s = sim_now_us(sim) / 1000000;
    uint8_t key[KEY_BYTES];
    size_t n;

    shard_middle(sh, key);
    if ((key_text != NULL && !text_unhex(key_text, key, KEY_BYTES)) ||
        store_split(ls, sh, key, now_s) != 0)
        return answer_error(a, 400, "ParameterInvalid",
                            "shard %u cannot be split at this key: read-only, or not inside",
                            sh->id);
    state_split(sim, ls, sh, key, now_s);
    n = ls->shard_count;
    return answer_array(json_pack("[o, o, o]", shard_json(sh), shard_json(ls->shards[n - 2]),
                                  shard_json(ls->shards[n - 1])),
                        a);
}

static int merge(struct sim *sim, struct logstore *ls, struct shard *sh, struct answer *a)
{
    int64_t now_s = sim_now_us(sim) / 1000000;
    struct shard *right;

    if (store_merge(ls, sh, &right, now_s) != 0)
        return answer_error(a, 400, "ParameterInvalid",
                            "shard %u is read-only or has no right neighbour", sh->id);
    state_merge(sim, ls, sh, now_s);
    return answer_array(json_pack("[o, o, o]", shard_json(ls->shards[ls->shard_count - 1]),
                                  shard_json(sh), shard_json(right)),
                        a);
}

int api_change_shard(struct sim *sim, struct logstore *ls, int64_t id, const char *action,
                     const char *key_text, struct answer *a)
{
    bool merging = strcmp(action, "merge") == 0;

    for (size_t i = 0; i < ls->shard_count; i++) {
        struct shard *sh = ls->shards[i];

        if (sh->id == id || (id < 0 && !sh->readonly))
            return merging ? merge(sim, ls, sh, a) : split(sim, ls, sh, key_text, a);
    }
    return answer_error(a, 400, "ShardNotExist", "no such shard");
}

static int change_shard(struct sim *sim, struct logstore *ls, struct shard *sh,
                        const struct request *r, struct answer *a)
{
    const char *action = request_param(r, "action");
    const char *key_text = request_param(r, "key");

    if (action == NULL || (strcmp(action, "merge") != 0 && strcmp(action, "split") != 0))
        return answer_error(a, 400, "ParameterInvalid", "action is split or merge");
    if (strcmp(action, "split") == 0 && key_text == NULL)
        return answer_error(a, 400, "ParameterInvalid", "key is missing");
    return api_change_shard(sim, ls, sh->id, action, key_text, a);
}

int api_cursor(const struct shard *sh, const char *text, uint64_t *cursor, struct answer *a)
{
    if (text == NULL || !cursor_decode(text, cursor) || *cursor < shard_begin(sh) ||
        *cursor > shard_end(sh))
        return answer_error(a, 400, "InvalidCursor", "this cursor is invalid");
    return 0;
}

static int get_cursor(const struct shard *sh, const struct request *r, struct answer *a)
{
    const char *from = request_param(r, "from");
    char text[CURSOR_TEXT_MAX];
    uint64_t time_s;
    uint64_t cursor;
    json_t *o;

    if (from == NULL)
        return answer_error(a, 400, "ParameterInvalid", "from is missing");
    if (strcmp(from, "begin") == 0)
        cursor = shard_begin(sh);
    else if (strcmp(from, "end") == 0)
        cursor = shard_end(sh);
    else if (text_number(from, INT64_MAX, &time_s))
        cursor = shard_cursor_at(sh, (int64_t)time_s);
    else
        return answer_error(a, 400, "ParameterInvalid", "from is begin, end or unix seconds");
    cursor_encode(cursor, text);
    o = json_pack("{s:s}", "cursor", text);
    return answer_array(o, a);
}

int64_t api_time_at(const struct shard *sh, uint64_t cursor)
{
    size_t i = (size_t)(cursor - sh->base);

    if (i < sh->count)
        return sh->groups[i].received_s;
    return sh->count == 0 ? sh->created_s : sh->groups[sh->count - 1].received_s;
}

static int get_cursor_time(const struct shard *sh, const struct request *r, struct answer *a)
{
    uint64_t cursor;

    if (api_cursor(sh, request_param(r, "cursor"), &cursor, a) != 0)
        return -1;
    return answer_array(json_pack("{s:I}", "cursor_time", (json_int_t)api_time_at(sh, cursor)), a);
}

/* By key, and what begins at the same key from the youngest: the service promises no order, and a
 * client that expects parents before their children should learn that here. */
static int by_key(const void *a, const void *b)
{
    const struct shard *x = *(const struct shard *const *)a;
    const struct shard *y = *(const struct shard *const *)b;
    int order = memcmp(x->begin_key, y->begin_key, KEY_BYTES);

    return order != 0 ? order : (x->id < y->id) - (x->id > y->id);
}

static int list_shards(const struct logstore *ls, struct answer *a)
{
    struct shard **sorted = xalloc((ls->shard_count + 1) * sizeof(struct shard *));
    json_t *array = json_array();

    memcpy(sorted, ls->shards, ls->shard_count * sizeof(struct shard *));
    qsort(sorted, ls->shard_count, sizeof(struct shard *), by_key);
    for (size_t i = 0; i < ls->shard_count; i++)
        json_array_append_new(array, shard_json(sorted[i]));
    free(sorted);
    return answer_array(array, a);
}

int api_shard_call(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a)
{
    const char *type = request_param(r, "type");
    bool get = strcmp(r->method, "GET") == 0;
    struct shard *sh;

    if (r->segments == 3 && get)
        return list_shards(ls, a);
    sh = api_shard(ls, r, a);
    if (sh == NULL)
        return -1;
    if (strcmp(r->method, "POST") == 0)
        return change_shard(sim, ls, sh, r, a);
    if (get && type != NULL && strcmp(type, "cursor") == 0)
        return get_cursor(sh, r, a);
    if (get && type != NULL && strcmp(type, "cursor_time") == 0)
        return get_cursor_time(sh, r, a);
    return answer_error(a, 400, "ParameterInvalid", "type is cursor, cursor_time or log");
}

/* Checks and unpacks an upload into `group`. */
static int unpack_upload(const struct request *r, struct buf *group, uint32_t *logs,
                         struct answer *a)
{
    const char *type = request_header(r, "content-type");
    const char *size_text = request_header(r, "x-log-bodyrawsize");
    const char *method = request_header(r, "x-log-compresstype");
    struct span body = {(const uint8_t *)r->body.p, r->body.n};
    uint64_t raw_size;
    const char *why = "";

    if (type == NULL || strncmp(type, "application/x-protobuf", 22) != 0)
        return answer_error(a, 415, "InvalidContentType", "logs come as application/x-protobuf");
    if (size_text == NULL)
        return answer_error(a, 400, "MissingBodyRawSize", "x-log-bodyrawsize is missing");
    if (!text_number(size_text, UINT32_MAX, &raw_size))
        return answer_error(a, 400, "InvalidBodyRawSize", "x-log-bodyrawsize is not a number");
    if (raw_size > PUT_RAW_MAX)
        return answer_error(a, 400, "PostBodyTooLarge", "a log group has at most %d bytes",
                            PUT_RAW_MAX);
    if (method != NULL && !wire_can_unpack(method))
        return answer_error(a, 400, "InvalidCompressType", "compress type %.32s is not known",
                            method);
    if (method != NULL && !wire_unpack(method, body, (size_t)raw_size, group))
        return answer_error(a, 400, "PostBodyUncompressError",
                            "the body does not unpack to the %llu bytes of x-log-bodyrawsize",
                            (unsigned long long)raw_size);
    if (method == NULL && raw_size != body.n)
        return answer_error(a, 400, "InvalidBodyRawSize", "the body has %zu bytes, not %llu",
                            body.n, (unsigned long long)raw_size);
    if (method == NULL)
        buf_add(group, body.p, body.n);
    body = (struct span){(const uint8_t *)group->p, group->n};
    if (raw_size == 0)
        return answer_error(a, 400, "PostBodyInvalid", "the log group is empty");
    if (!wire_check_group(body, logs, &why) || *logs == 0)
        return answer_error(a, 400, "PostBodyInvalid", "%s", *logs == 0 ? "no logs in it" : why);
    return 0;
}

void api_append(struct sim *sim, struct logstore *ls, struct shard *sh, struct buf *group,
                uint32_t logs, bool generated)
{
    int64_t now_s = sim_now_us(sim) / 1000000;

    state_put(sim, ls, sh, group, logs, now_s, generated);
    shard_take(sh, xresize(group->p, group->n), group->n, logs, now_s);
    *group = (struct buf){0};
}

static void append_meta(struct buf *group, const char *peer, int64_t now_s)
{
    struct buf time = {0};

    wire_pair(group, 6, span_of("__client_ip__"), span_of(peer));
    buf_printf(&time, "%lld", (long long)now_s);
    wire_pair(group, 6, span_of("__receive_time__"), (struct span){(uint8_t *)time.p, time.n});
    buf_fini(&time);
}

int api_put(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a)
{
    const char *key_text = request_param(r, "key");
    bool route = r->segments == 4 && strcmp(r->segment[3], "route") == 0;
    int64_t now_s = sim_now_us(sim) / 1000000;
    uint8_t key[KEY_BYTES];
    struct buf group = {0};
    struct shard *sh;
    uint32_t logs = 0;

    if (strcmp(r->method, "POST") != 0)
        return answer_error(a, 400, "ParameterInvalid", "logs come by POST");
    if (route && (key_text == NULL || !text_unhex(key_text, key, KEY_BYTES)))
        return answer_error(a, 400, "ParameterInvalid", "key has 32 hex digits");
    if (unpack_upload(r, &group, &logs, a) != 0) {
        buf_fini(&group);
        return -1;
    }
    sh = route ? store_route(ls, key) : store_next_shard(ls);
    if (sh == NULL) {
        buf_fini(&group);
        return answer_error(a, 500, "InternalServerError", "no shard takes this key");
    }
    if (!bucket_take(&sh->writes, sim->store.quota.writes, 1, sim_clock_ms(sim)) ||
        !bucket_take(&sh->write_bytes, sim->store.quota.write_bytes, group.n, sim_clock_ms(sim))) {
        buf_fini(&group);
        return answer_error(a, 403, "ShardWriteQuotaExceed", "shard write quota exceed: shard %u",
                            sh->id);
    }
    if (ls->append_meta)
        append_meta(&group, r->peer, now_s);
    api_append(sim, ls, sh, &group, logs, false);
    return 0;
}
