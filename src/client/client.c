/* One function per API call: check the names, write path, query and body, run the request, read the
 * answer into the caller's struct. Everything common is in request.c; shapes of answers in answer.c
 * and pull.c.
 *
 * Nothing is retried here, except that a group which exists already is set instead of created. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/request.h"

enum {
    GROUPS_PER_PULL_MAX = 1000, /* SLS API reference, PullLogs */
    PULL_TIMEOUT_MS = 120000,
    CALL_TIMEOUT_MS = 30000,
    /* A heartbeat that hangs must end well before the group's timeout takes the shards away, and
     * leave room for another try. */
    HEARTBEAT_TIMEOUT_MIN_MS = 1000,
    HEARTBEAT_TIMEOUT_MAX_MS = 10000,
    JSON_LIMIT_BYTES = 1 << 20, /* the parsed tree may take eighty times as much */
    PULL_LIMIT_BYTES = 256 << 20,
    LOGSTORE_NAME_MAX = 80,
    GROUP_NAME_MAX = 128
};

static void set_agent(struct client *c, const char *consumer)
{
    const char *group = c->source->consumer_group != NULL ? c->source->consumer_group : "";

    if (consumer != NULL)
        snprintf(c->agent, sizeof c->agent, "sls-relay/%s %s/%s", SLSR_VERSION, group, consumer);
    else
        snprintf(c->agent, sizeof c->agent, "sls-relay/%s", SLSR_VERSION);
    answer_clean(c->agent); /* a consumer is free text, a header is not */
}

int client_open_with(struct client **out, const struct slsr_source_config *source,
                     const char *consumer, struct slsr_stop *stop, const struct http_vtable *http,
                     void *ctx, struct slsr_err *err)
{
    struct client *c = calloc(1, sizeof *c);
    int rc;

    *out = NULL;
    if (c == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for a client");
    rc = endpoint_parse(&c->endpoint, source, err);
    if (rc == 0)
        rc = account_acquire(&c->account, source, err);
    if (rc != 0) {
        free(c);
        return rc;
    }
    c->source = source;
    c->stop = stop;
    c->http = http;
    c->http_ctx = ctx;
    set_agent(c, consumer);
    *out = c;
    return 0;
}

int client_open(struct client **out, const struct slsr_source_config *source, const char *consumer,
                struct slsr_stop *stop, struct slsr_err *err)
{
    struct endpoint endpoint;
    void *ctx = NULL;
    int rc;

    *out = NULL;
    rc = endpoint_parse(&endpoint, source, err);
    if (rc == 0)
        rc = http_curl_open(&ctx, &endpoint,
                            &(struct http_way){.proxy = source->proxy,
                                               .no_proxy = source->no_proxy,
                                               .ca_file = source->ca_file},
                            err);
    if (rc != 0)
        return rc;
    rc = client_open_with(out, source, consumer, stop, &http_curl, ctx, err);
    if (rc != 0)
        http_curl.close(ctx);
    return rc;
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    if (c->http->close != NULL)
        c->http->close(c->http_ctx);
    account_drop(c->keys);
    account_release(c->account);
    sign_result_fini(&c->sign);
    text_fini(&c->path);
    text_fini(&c->body);
    text_fini(&c->target);
    free(c);
}

void client_limit_time(struct client *c, int64_t ms)
{
    c->limit_ms = ms;
}

int64_t client_heartbeat_limit_ms(const struct slsr_source_config *source)
{
    const int64_t quarter = source->heartbeat_timeout_ms / 4;
    int64_t ms = source->heartbeat_interval_ms / 2;

    if (ms < HEARTBEAT_TIMEOUT_MIN_MS)
        ms = HEARTBEAT_TIMEOUT_MIN_MS;
    if (ms > HEARTBEAT_TIMEOUT_MAX_MS)
        ms = HEARTBEAT_TIMEOUT_MAX_MS;
    return ms > quarter && quarter > 0 ? quarter : ms;
}

void client_trim(struct client *c)
{
    if (c->http->trim != NULL)
        c->http->trim(c->http_ctx);
    c->response.body = (struct slsr_bytes){NULL, 0};
}

const char *client_last_code(const struct client *c)
{
    return c->error.code;
}

/* Names go into the path unescaped, and into JSON: only what the service allows in them. */
static bool legal_name(const char *name, size_t max)
{
    const size_t n = name != NULL ? strlen(name) : 0;

    return n >= 1 && n <= max &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

/* Starts a call: limits for JSON, "<verb> <logstore>", path "/logstores/<logstore>". */
static int begin(struct client *c, struct request *r, const char *verb, const char *method,
                 const char *logstore, struct slsr_err *err)
{
    *r = (struct request){
        .method = method, .timeout_ms = CALL_TIMEOUT_MS, .limit_bytes = JSON_LIMIT_BYTES};
    text_reset(&c->path);
    text_reset(&c->body);
    if (!legal_name(logstore, LOGSTORE_NAME_MAX))
        return slsr_fail(err, SLSR_ECONFIG,
                         "%s: not a logstore name: check source.logstores (letters, digits, '-', "
                         "'_', at most %d)",
                         verb, LOGSTORE_NAME_MAX);
    snprintf(r->what, sizeof r->what, "%s %s", verb, logstore);
    text_addf(&c->path, "/logstores/%s", logstore);
    return 0;
}

static int begin_shard(struct client *c, struct request *r, const char *verb, const char *logstore,
                       uint32_t shard, struct slsr_err *err)
{
    const int rc = begin(c, r, verb, "GET", logstore, err);

    if (rc != 0)
        return rc;
    snprintf(r->what, sizeof r->what, "%s %s/%" PRIu32, verb, logstore, shard);
    text_addf(&c->path, "/shards/%" PRIu32, shard);
    return 0;
}

/* in_path: the group is part of the path; else it is to be created. */
static int begin_group(struct client *c, struct request *r, const char *verb, const char *method,
                       const char *logstore, const char *group, bool in_path, struct slsr_err *err)
{
    const int rc = begin(c, r, verb, method, logstore, err);

    if (rc != 0)
        return rc;
    if (!legal_name(group, GROUP_NAME_MAX))
        return slsr_fail(err, SLSR_ECONFIG,
                         "%s: not a group name: check source.consumer_group (letters, digits, "
                         "'-', '_', at most %d)",
                         r->what, GROUP_NAME_MAX);
    text_addz(&c->path, "/consumergroups");
    if (in_path)
        text_addf(&c->path, "/%s", group);
    return 0;
}

/* A call whose good answer is empty. */
static int run_for_nothing(struct client *c, const struct request *r, struct slsr_err *err)
{
    const int rc = request_run(c, r, err);

    return rc != 0 ? rc : request_wrap(c, r, answer_nothing(c->response.body, err), err);
}

int client_list_shards(struct client *c, const char *logstore, struct client_shard **shards,
                       size_t *count, struct slsr_err *err)
{
    struct request r;
    int rc;

    *shards = NULL;
    *count = 0;
    rc = begin(c, &r, "list shards", "GET", logstore, err);
    if (rc != 0)
        return rc;
    text_addz(&c->path, "/shards");
    rc = request_run(c, &r, err);
    if (rc != 0)
        return rc;
    return request_wrap(c, &r, answer_shards(c->response.body, shards, count, err), err);
}

int client_logstore_retention(struct client *c, const char *logstore, int64_t *seconds,
                              struct slsr_err *err)
{
    struct request r;
    int rc = begin(c, &r, "get logstore", "GET", logstore, err);

    *seconds = 0;
    if (rc != 0)
        return rc;
    rc = request_run(c, &r, err);
    if (rc != 0)
        return rc;
    return request_wrap(c, &r, answer_retention(c->response.body, seconds, err), err);
}

int client_get_cursor(struct client *c, const char *logstore, uint32_t shard, const char *from,
                      char cursor[SLSR_CURSOR_MAX + 1], struct slsr_err *err)
{
    struct request r;
    int rc = begin_shard(c, &r, "get cursor", logstore, shard, err);

    if (rc != 0)
        return rc;
    request_query(&r, "type", "cursor");
    request_query(&r, "from", from);
    rc = request_run(c, &r, err);
    if (rc != 0)
        return rc;
    return request_wrap(c, &r, answer_cursor(c->response.body, cursor, err), err);
}

int client_pull(struct client *c, const char *logstore, uint32_t shard, const char *cursor,
                int count, struct client_pull *pull, struct slsr_err *err)
{
    const char *query = c->source->query;
    char count_text[16];
    struct request r;
    int rc;

    *pull = (struct client_pull){0};
    rc = begin_shard(c, &r, "pull", logstore, shard, err);
    if (rc != 0)
        return rc;
    if (count < 1 || count > GROUPS_PER_PULL_MAX)
        return slsr_fail(err, SLSR_ECLIENT, "%s: %d log groups asked for: use 1 to %d", r.what,
                         count, GROUPS_PER_PULL_MAX);
    snprintf(count_text, sizeof count_text, "%d", count);
    request_query(&r, "type", "log");
    request_query(&r, "cursor", cursor);
    request_query(&r, "count", count_text);
    if (query != NULL && query[0] != '\0') {
        request_query(&r, "query", query);
        request_query(&r, "pullMode", "scan_on_stream");
    }
    r.pull = true;
    r.timeout_ms = PULL_TIMEOUT_MS;
    r.limit_bytes = PULL_LIMIT_BYTES;
    rc = request_run(c, &r, err);
    if (rc != 0)
        return rc;
    rc = pull_read(&c->response, cursor, pull, err);
    if (rc != 0)
        *pull = (struct client_pull){0};
    return request_wrap(c, &r, rc, err);
}

static int update_group(struct client *c, const char *logstore, const char *group,
                        int64_t timeout_s, bool in_order, struct slsr_err *err)
{
    struct request r;
    const int rc = begin_group(c, &r, "update group", "PUT", logstore, group, true, err);

    if (rc != 0)
        return rc;
    text_addf(&c->body, "{\"timeout\":%" PRId64 ",\"order\":%s}", timeout_s,
              in_order ? "true" : "false");
    return run_for_nothing(c, &r, err);
}

int client_ensure_group(struct client *c, const char *logstore, const char *group,
                        int64_t timeout_s, bool in_order, struct slsr_err *err)
{
    struct slsr_err update_err;
    struct request r;
    bool quota;
    int rc = begin_group(c, &r, "create group", "POST", logstore, group, false, err);

    if (rc != 0)
        return rc;
    text_addf(&c->body, "{\"consumerGroup\":\"%s\",\"timeout\":%" PRId64 ",\"order\":%s}", group,
              timeout_s, in_order ? "true" : "false");
    rc = run_for_nothing(c, &r, err);
    if (rc == 0)
        return 0;
    /* A full logstore may say so before it notices that the group is one of the full number. */
    quota = strcasecmp(c->error.code, "ConsumerGroupQuotaExceed") == 0;
    if (!quota && strcasecmp(c->error.code, "ConsumerGroupAlreadyExist") != 0)
        return rc;
    if (!quota)
        return update_group(c, logstore, group, timeout_s, in_order, err);
    return update_group(c, logstore, group, timeout_s, in_order, &update_err) == 0 ? 0 : rc;
}

int client_heartbeat(struct client *c, const char *logstore, const char *group,
                     const char *consumer, const uint32_t *held, size_t held_count,
                     uint32_t **assigned, size_t *assigned_count, struct slsr_err *err)
{
    struct request r;
    int rc;

    *assigned = NULL;
    *assigned_count = 0;
    rc = begin_group(c, &r, "heartbeat", "POST", logstore, group, true, err);
    if (rc != 0)
        return rc;
    r.closing = true;
    r.timeout_ms = client_heartbeat_limit_ms(c->source);
    request_query(&r, "type", "heartbeat");
    request_query(&r, "consumer", consumer);
    text_addc(&c->body, '[');
    for (size_t i = 0; i < held_count; i++)
        text_addf(&c->body, "%s%" PRIu32, i == 0 ? "" : ",", held[i]);
    text_addc(&c->body, ']');
    rc = request_run(c, &r, err);
    if (rc != 0)
        return rc;
    return request_wrap(c, &r, answer_shard_ids(c->response.body, assigned, assigned_count, err),
                        err);
}

int client_put_checkpoint(struct client *c, const char *logstore, const char *group,
                          const char *consumer, uint32_t shard, const char *cursor, bool force,
                          struct slsr_err *err)
{
    char legal[SLSR_CURSOR_MAX + 1];
    struct request r;
    int rc = begin_group(c, &r, "put checkpoint", "POST", logstore, group, true, err);

    if (rc != 0)
        return rc;
    snprintf(r.what, sizeof r.what, "put checkpoint %s/%" PRIu32, logstore, shard);
    if (!answer_copy_cursor(slsr_bytes_of(cursor), legal))
        return slsr_fail(err, SLSR_ECLIENT, "%s: not a cursor, so it is not sent", r.what);
    r.closing = true;
    request_query(&r, "type", "checkpoint");
    request_query(&r, "consumer", consumer);
    request_query(&r, "forceSuccess", force ? "true" : "false");
    text_addf(&c->body, "{\"shard\":%" PRIu32 ",\"checkpoint\":\"", shard);
    for (const char *p = legal; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            text_addc(&c->body, '\\');
        text_addc(&c->body, *p);
    }
    text_addz(&c->body, "\"}");
    return run_for_nothing(c, &r, err);
}

int client_get_checkpoint(struct client *c, const char *logstore, const char *group, uint32_t shard,
                          struct client_checkpoint *out, struct slsr_err *err)
{
    char shard_text[16];
    struct request r;
    int rc;

    *out = (struct client_checkpoint){.shard = shard};
    rc = begin_group(c, &r, "get checkpoint", "GET", logstore, group, true, err);
    if (rc != 0)
        return rc;
    snprintf(r.what, sizeof r.what, "get checkpoint %s/%" PRIu32, logstore, shard);
    snprintf(shard_text, sizeof shard_text, "%" PRIu32, shard);
    request_query(&r, "shard", shard_text);
    rc = request_run(c, &r, err);
    if (rc != 0)
        return rc;
    return request_wrap(c, &r, answer_checkpoint(c->response.body, shard, out, err), err);
}

int client_renew_keys(const struct slsr_source_config *source,
                      const struct slsr_source_config *fresh, struct slsr_err *err)
{
    return account_renew(source, fresh, err);
}
