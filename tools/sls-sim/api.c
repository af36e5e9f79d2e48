/* The API of the service: from method and path to the call. Projects and logstores are here;
 * shards, pulls, uploads and consumer groups have their own files. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sim.h"
#include "text.h"

static bool is(const struct request *r, size_t index, const char *text)
{
    return index < r->segments && strcmp(r->segment[index], text) == 0;
}

enum call api_call_kind(const struct request *r)
{
    const char *type = request_param(r, "type");
    bool get = strcmp(r->method, "GET") == 0;

    if (type == NULL)
        type = "";
    if (r->segments < 2 || !is(r, 0, "logstores"))
        return CALL_ADMIN;
    if (is(r, 2, "consumergroups")) {
        if (r->segments > 3 && get)
            return CALL_GET_CHECKPOINT;
        if (strcmp(type, "heartbeat") == 0)
            return CALL_HEARTBEAT;
        return strcmp(type, "checkpoint") == 0 ? CALL_CHECKPOINT : CALL_GROUP;
    }
    if (is(r, 3, "lb") || is(r, 3, "route") || (r->segments == 2 && strcmp(r->method, "POST") == 0))
        return CALL_PUT;
    if (!is(r, 2, "shards"))
        return CALL_ADMIN;
    if (r->segments == 3 || !get)
        return CALL_SHARDS;
    return strncmp(type, "cursor", 6) == 0 ? CALL_CURSOR : CALL_PULL;
}

/* The body as a JSON object; NULL with an error in the answer. */
static json_t *body_object(const struct request *r, const char *code, struct answer *a)
{
    json_t *object = json_loadb(r->body.n == 0 ? "" : r->body.p, r->body.n, 0, NULL);

    if (json_is_object(object))
        return object;
    json_decref(object);
    answer_error(a, 400, code, "The body is not a JSON object");
    return NULL;
}

static int create_project(struct sim *sim, const struct request *r, struct answer *a)
{
    json_t *body = body_object(r, "ParameterInvalid", a);
    const char *name = json_string_value(json_object_get(body, "projectName"));
    const char *description = json_string_value(json_object_get(body, "description"));
    struct project *p;
    int rc = 0;

    if (body == NULL)
        return -1;
    if (name == NULL || !store_name_ok(name, false)) {
        rc = answer_error(a, 400, "ParameterInvalid", "projectName is missing or not valid");
    } else if (store_project(&sim->store, name) != NULL) {
        rc = answer_error(a, 400, "ProjectAlreadyExist", "Project %s already exist", name);
    } else {
        p = store_add_project(&sim->store, name, sim_now_us(sim) / 1000000);
        free(p->description);
        p->description = xstrdup(description == NULL ? "" : description);
        state_project(sim, p);
    }
    json_decref(body);
    return rc;
}

static int create_logstore(struct sim *sim, struct project *p, const struct request *r,
                           struct answer *a)
{
    json_t *body = body_object(r, "LogStoreInfoInvalid", a);
    const char *name = json_string_value(json_object_get(body, "logstoreName"));
    json_t *shards = json_object_get(body, "shardCount");
    json_t *ttl = json_object_get(body, "ttl");
    struct logstore *ls;
    int rc = 0;

    if (body == NULL)
        return -1;
    if (name == NULL || !store_name_ok(name, true) || !json_is_integer(shards) ||
        json_integer_value(shards) < 1 || json_integer_value(shards) > SHARDS_AT_BIRTH_MAX ||
        (ttl != NULL && (json_integer_value(ttl) < 1 || json_integer_value(ttl) > 3650))) {
        rc = answer_error(a, 400, "LogStoreInfoInvalid",
                          "logstoreName, ttl or shardCount is missing or not valid");
    } else if (store_logstore(p, name) != NULL) {
        rc = answer_error(a, 400, "LogStoreAlreadyExist", "logstore %s already exists", name);
    } else if (p->count >= 200) {
        rc = answer_error(a, 400, "ProjectQuotaExceed", "a project holds 200 logstores");
    } else {
        ls = store_add_logstore(p, name, (unsigned)json_integer_value(shards),
                                sim_now_us(sim) / 1000000);
        ls->append_meta = json_is_true(json_object_get(body, "appendMeta"));
        if (ttl != NULL)
            ls->ttl = (unsigned)json_integer_value(ttl);
        ls->retention_s = sim->retention_s;
        state_logstore(sim, ls);
    }
    json_decref(body);
    return rc;
}

/* PUT of a logstore: the members that have a meaning here may change. */
static int update_logstore(struct sim *sim, struct logstore *ls, const struct request *r,
                           struct answer *a)
{
    json_t *body = body_object(r, "LogStoreInfoInvalid", a);
    json_t *ttl = json_object_get(body, "ttl");
    json_t *meta = json_object_get(body, "appendMeta");
    int rc = 0;

    if (body == NULL)
        return -1;
    if (ttl != NULL && (json_integer_value(ttl) < 1 || json_integer_value(ttl) > 3650)) {
        rc = answer_error(a, 400, "LogStoreInfoInvalid", "ttl is not valid");
    } else {
        if (ttl != NULL)
            ls->ttl = (unsigned)json_integer_value(ttl);
        if (json_is_boolean(meta))
            ls->append_meta = json_is_true(meta);
        state_logstore(sim, ls);
    }
    json_decref(body);
    return rc;
}

static void get_logstore(const struct logstore *ls, struct answer *a)
{
    json_t *o = json_pack("{s:s, s:i, s:i, s:b, s:b, s:i, s:b, s:s, s:I, s:I}", "logstoreName",
                          ls->name, "ttl", (int)ls->ttl, "shardCount", (int)ls->shard_count,
                          "enable_tracking", 0, "autoSplit", 0, "maxSplitShard", 64, "appendMeta",
                          (int)ls->append_meta, "telemetryType", "", "createTime",
                          (json_int_t)ls->created_s, "lastModifyTime", (json_int_t)ls->created_s);

    answer_json(a, json_dumps(o, 0));
    json_decref(o);
}

static json_t *project_json(const struct project *p)
{
    char date[DATE_TEXT_MAX];

    date_http(p->created_s, date);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "projectName", p->name, "description",
                     p->description, "status", "Normal", "owner", "", "region", "sls-sim",
                     "createTime", date, "lastModifyTime", date);
}

static void get_project(const struct project *p, struct answer *a)
{
    json_t *o = project_json(p);

    answer_json(a, json_dumps(o, 0));
    json_decref(o);
}

/* Offset and size of a listing. */
static int read_page(const struct request *r, uint64_t *offset, uint64_t *size, struct answer *a)
{
    const char *offset_text = request_param(r, "offset");
    const char *size_text = request_param(r, "size");

    *offset = 0;
    *size = 500;
    /* An official client sends both empty when its caller gave none. */
    if ((offset_text != NULL && *offset_text != '\0' &&
         !text_number(offset_text, UINT32_MAX, offset)) ||
        (size_text != NULL && *size_text != '\0' && !text_number(size_text, UINT32_MAX, size)))
        return answer_error(a, 400, "ParameterInvalid", "offset and size are numbers");
    return 0;
}

static int list_projects(struct sim *sim, const struct request *r, struct answer *a)
{
    const char *part = request_param(r, "projectName");
    uint64_t offset;
    uint64_t size;
    uint64_t total = 0;
    json_t *projects;
    json_t *o;

    if (read_page(r, &offset, &size, a) != 0)
        return -1;
    projects = json_array();
    for (size_t i = 0; i < sim->store.count; i++) {
        const struct project *p = sim->store.projects[i];

        if (part != NULL && strstr(p->name, part) == NULL)
            continue;
        if (total++ >= offset && json_array_size(projects) < size)
            json_array_append_new(projects, project_json(p));
    }
    o = json_pack("{s:i, s:I, s:o}", "count", (int)json_array_size(projects), "total",
                  (json_int_t)total, "projects", projects);
    answer_json(a, json_dumps(o, 0));
    json_decref(o);
    return 0;
}

static int list_logstores(const struct project *p, const struct request *r, struct answer *a)
{
    const char *part = request_param(r, "logstoreName");
    uint64_t offset;
    uint64_t size;
    uint64_t total = 0;
    json_t *names;
    json_t *o;

    if (read_page(r, &offset, &size, a) != 0)
        return -1;
    names = json_array();
    for (size_t i = 0; i < p->count; i++) {
        if (part != NULL && strstr(p->logstores[i]->name, part) == NULL)
            continue;
        if (total++ >= offset && json_array_size(names) < size)
            json_array_append_new(names, json_string(p->logstores[i]->name));
    }
    o = json_pack("{s:i, s:I, s:o}", "count", (int)json_array_size(names), "total",
                  (json_int_t)total, "logstores", names);
    answer_json(a, json_dumps(o, 0));
    json_decref(o);
    return 0;
}

static int not_supported(const struct request *r, struct answer *a)
{
    return answer_error(a, 400, "ParameterInvalid", "no such call: %.16s %.200s", r->method,
                        r->path);
}

static int in_logstore(struct sim *sim, struct project *p, struct logstore *ls,
                       const struct request *r, struct answer *a)
{
    if (r->segments == 2) {
        if (strcmp(r->method, "POST") == 0)
            return api_put(sim, ls, r, a);
        if (strcmp(r->method, "GET") == 0) {
            get_logstore(ls, a);
            return 0;
        }
        if (strcmp(r->method, "PUT") == 0)
            return update_logstore(sim, ls, r, a);
        if (strcmp(r->method, "DELETE") == 0) {
            state_drop(sim, p, ls);
            store_delete_logstore(p, ls);
            return 0;
        }
    } else if (is(r, 2, "shards")) {
        if (is(r, 3, "lb") || is(r, 3, "route"))
            return api_put(sim, ls, r, a);
        return api_shard_call(sim, ls, r, a);
    } else if (is(r, 2, "consumergroups")) {
        return api_group_call(sim, ls, r, a);
    }
    return not_supported(r, a);
}

/* Under the lock. `pull` is filled when the call is one. */
static int run(struct sim *sim, const struct request *r, struct pull *pull, struct answer *a)
{
    bool get = strcmp(r->method, "GET") == 0;
    bool post = strcmp(r->method, "POST") == 0;
    struct project *p;
    struct logstore *ls;

    if (r->segments == 0 && post) /* some clients send it to the bare endpoint: the body names it */
        return create_project(sim, r, a);
    p = r->project[0] == '\0' ? NULL : store_project(&sim->store, r->project);
    /* Listing goes to the bare endpoint, whose first label is no project. */
    if (p == NULL && r->segments == 0 && get &&
        (r->project[0] == '\0' || request_param(r, "size") != NULL))
        return list_projects(sim, r, a);
    if (p == NULL)
        return answer_error(a, 404, "ProjectNotExist", "The Project does not exist : %s",
                            r->project);
    if (r->segments == 0 && get) {
        get_project(p, a);
        return 0;
    }
    if (r->segments == 0 && strcmp(r->method, "DELETE") == 0) {
        state_drop(sim, p, NULL);
        store_delete_project(&sim->store, p);
        return 0;
    }
    if (!is(r, 0, "logstores"))
        return not_supported(r, a);
    if (r->segments == 1)
        return get ? list_logstores(p, r, a)
                   : (post ? create_logstore(sim, p, r, a) : not_supported(r, a));
    ls = store_logstore(p, r->segment[1]);
    if (ls == NULL)
        return answer_error(a, 404, "LogStoreNotExist", "logstore %.100s does not exist",
                            r->segment[1]);
    logstore_expire(ls, sim_now_us(sim) / 1000000);
    if (api_call_kind(r) == CALL_PULL)
        return api_pull(sim, ls, r, pull, a);
    return in_logstore(sim, p, ls, r, a);
}

void api_run(struct sim *sim, const struct request *r, struct answer *a)
{
    struct pull pull = {0};
    int rc;

    a->status = 200;
    if (r->body_total > r->body.n) {
        answer_error(a, 400, "PostBodyTooLarge", "the body has more than %d bytes",
                     REQUEST_BODY_MAX);
        return;
    }
    if (r->body.n != 0 && request_header(r, "content-type") == NULL) {
        answer_error(a, 400, "MissingContentType", "a body needs a Content-Type");
        return;
    }
    pthread_mutex_lock(&sim->store.lock);
    rc = run(sim, r, &pull, a);
    pthread_mutex_unlock(&sim->store.lock);
    if (rc == 0 && pull.groups != 0)
        api_pull_pack(&pull, a);
    buf_fini(&pull.raw);
}
