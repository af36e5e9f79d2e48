/* Shards, cursors, pulls and uploads. */
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

static struct shard *find_shard(struct logstore *ls, const struct request *r, struct answer *a)
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

static int change_shard(struct sim *sim, struct logstore *ls, struct shard *sh,
                        const struct request *r, struct answer *a)
{
    const char *action = request_param(r, "action");
    const char *key_text = request_param(r, "key");
    int64_t now_s = sim_now_us(sim) / 1000000;
    struct shard *right;
    uint8_t key[KEY_BYTES];
    json_t *array;
    size_t n;

    if (action != NULL && strcmp(action, "split") == 0) {
        if (key_text == NULL || !text_unhex(key_text, key, KEY_BYTES) ||
            store_split(ls, sh, key, now_s) != 0)
            return answer_error(a, 400, "ParameterInvalid",
                                "shard %u cannot be split at this key: read-only, or not inside",
                                sh->id);
        n = ls->shard_count;
        array = json_pack("[o, o, o]", shard_json(sh), shard_json(ls->shards[n - 2]),
                          shard_json(ls->shards[n - 1]));
        return answer_array(array, a);
    }
    if (action == NULL || strcmp(action, "merge") != 0)
        return answer_error(a, 400, "ParameterInvalid", "action is split or merge");
    if (store_merge(ls, sh, &right, now_s) != 0)
        return answer_error(a, 400, "ParameterInvalid",
                            "shard %u is read-only or has no right neighbour", sh->id);
    array = json_pack("[o, o, o]", shard_json(ls->shards[ls->shard_count - 1]), shard_json(sh),
                      shard_json(right));
    return answer_array(array, a);
}

/* Reads a cursor parameter that has to lie in [begin, end] of the shard. */
static int read_cursor(const struct shard *sh, const char *text, uint64_t *cursor, struct answer *a)
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

/* The receive time at a position; at the end that of the newest group. */
static int64_t time_at(const struct shard *sh, uint64_t cursor)
{
    size_t i = (size_t)(cursor - sh->base);

    if (i < sh->count)
        return sh->groups[i].received_s;
    return sh->count == 0 ? sh->created_s : sh->groups[sh->count - 1].received_s;
}

static int get_cursor_time(const struct shard *sh, const struct request *r, struct answer *a)
{
    uint64_t cursor;

    if (read_cursor(sh, request_param(r, "cursor"), &cursor, a) != 0)
        return -1;
    return answer_array(json_pack("{s:I}", "cursor_time", (json_int_t)time_at(sh, cursor)), a);
}

int api_shard_call(struct sim *sim, struct logstore *ls, const struct request *r, struct answer *a)
{
    const char *type = request_param(r, "type");
    bool get = strcmp(r->method, "GET") == 0;
    struct shard *sh;

    if (r->segments == 3 && get) {
        json_t *array = json_array();

        for (size_t i = 0; i < ls->shard_count; i++)
            json_array_append_new(array, shard_json(ls->shards[i]));
        return answer_array(array, a);
    }
    sh = find_shard(ls, r, a);
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

struct range {
    uint64_t cursor; /* asked for */
    size_t first;    /* index of the group at the cursor */
    size_t limit;    /* index behind the last one that may go out */
};

static int read_range(struct shard *sh, const struct request *r, struct range *range,
                      struct answer *a)
{
    const char *count_text = request_param(r, "count");
    const char *end_text = request_param(r, "end_cursor");
    const char *query = request_param(r, "query");
    uint64_t count = PULL_GROUPS_MAX;
    uint64_t end = shard_end(sh);

    if (count_text != NULL && (!text_number(count_text, PULL_GROUPS_MAX, &count) || count == 0))
        return answer_error(a, 400, "ParameterInvalid", "Invalid loggroup count, (0,1000]");
    if (query != NULL && strcmp(query, "*") != 0)
        return answer_error(a, 400, "ParameterInvalid", "sls-sim knows no query but *");
    if (read_cursor(sh, request_param(r, "cursor"), &range->cursor, a) != 0)
        return -1;
    if (end_text != NULL && *end_text != '\0' && !cursor_decode(end_text, &end))
        return answer_error(a, 400, "InvalidCursor", "this end cursor is invalid");
    if (end > shard_end(sh))
        end = shard_end(sh);
    range->first = (size_t)(range->cursor - sh->base);
    range->limit = end <= range->cursor ? range->first : (size_t)(end - sh->base);
    if (range->limit - range->first > count)
        range->limit = range->first + (size_t)count;
    return 0;
}

static const struct ready *find_ready(const struct shard *sh, const struct range *range)
{
    size_t low = 0;
    size_t high = sh->ready_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sh->ready[middle].first < range->first)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < sh->ready_count && sh->ready[low].first == range->first &&
        sh->ready[low].count <= range->limit - range->first)
        return &sh->ready[low];
    return NULL;
}

static void pull_headers(struct shard *sh, const struct range *range, size_t groups, size_t raw_n,
                         struct answer *a)
{
    char text[CURSOR_TEXT_MAX];
    uint64_t next = range->cursor + groups;

    cursor_encode(next, text);
    answer_header(a, "x-log-cursor", "%s", text);
    answer_header(a, "x-log-count", "%zu", groups);
    answer_header(a, "x-log-bodyrawsize", "%zu", raw_n);
    answer_header(a, "x-log-cursor-time", "%lld", (long long)time_at(sh, next));
    if (groups != 0)
        answer_header(a, "x-log-read-last-cursor", "%llu", (unsigned long long)(next - 1));
    answer_header(a, "x-log-end-of-cursor", "%d", next == shard_end(sh) ? 1 : 0);
    a->type = "application/x-protobuf";
    sh->pulls++;
    sh->pulled_groups += groups;
    sh->pulled_bytes += raw_n;
}

int api_pull(struct logstore *ls, const struct request *r, struct pull *pull, struct answer *a)
{
    const char *type = request_param(r, "type");
    const char *accept = request_header(r, "accept-encoding");
    struct shard *sh = find_shard(ls, r, a);
    const struct ready *ready;
    struct range range;

    if (sh == NULL)
        return -1;
    if (type == NULL || (strcmp(type, "log") != 0 && strcmp(type, "logs") != 0))
        return answer_error(a, 400, "ParameterInvalid", "type is cursor, cursor_time or log");
    if (read_range(sh, r, &range, a) != 0)
        return -1;
    pull->lz4 = accept != NULL && strstr(accept, "lz4") != NULL;
    pull->zlib =
        accept != NULL && (strstr(accept, "deflate") != NULL || strstr(accept, "gzip") != NULL);
    ready = pull->lz4 ? find_ready(sh, &range) : NULL;
    if (ready != NULL) {
        a->fixed = ready->packed;
        a->fixed_n = ready->packed_n;
        pull_headers(sh, &range, ready->count, ready->raw_n, a);
        sh->pulled_logs += ready->logs;
        answer_header(a, "x-log-compresstype", "lz4");
        return 0;
    }
    for (size_t i = range.first; i < range.limit; i++) {
        const struct log_group *g = &sh->groups[i];

        if (pull->groups != 0 && pull->raw.n + g->n > PULL_RAW_MAX)
            break;
        wire_bytes(&pull->raw, 1, g->data, g->n);
        pull->groups++;
        sh->pulled_logs += g->logs;
    }
    pull_headers(sh, &range, pull->groups, pull->raw.n, a);
    return 0;
}

void api_pull_pack(struct pull *pull, struct answer *a)
{
    struct span raw = {(const uint8_t *)pull->raw.p, pull->raw.n};

    if (pull->lz4) {
        wire_pack_lz4(raw, &a->body);
        answer_header(a, "x-log-compresstype", "lz4");
    } else if (pull->zlib && wire_pack_zlib(raw, &a->body)) {
        answer_header(a, "x-log-compresstype", "deflate");
    } else {
        a->body = pull->raw;
        pull->raw = (struct buf){0};
    }
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
    if (!wire_check_group(body, logs, &why) || *logs == 0)
        return answer_error(a, 400, "PostBodyInvalid", "%s", *logs == 0 ? "no logs in it" : why);
    return 0;
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
    if (ls->append_meta)
        append_meta(&group, r->peer, now_s);
    store_keep(&sim->store, group.p);
    shard_append(sh, group.p, group.n, logs, now_s);
    return 0;
}
