/* HTTP: libmicrohttpd with one thread per connection, so that a delayed answer holds up nobody
 * else.
 *
 * A request is collected whole, then: faults of the clock and delay, signature, faults in place of
 * an answer, the call, faults on the answer, transcript, figures. Header and body leave together.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <jansson.h>
#include <microhttpd.h>

#include "sim.h"
#include "text.h"

enum {
    TRANSCRIPT_BODY_MAX = 4096,
    IDLE_TIMEOUT_S = 300,
    HANG_MS = 3600 * 1000,
    CONNECTIONS_MAX = 8192,
};

struct server {
    struct sim *sim;
    struct MHD_Daemon *daemon;
    atomic_uint_fast64_t requests;
};

struct exchange {
    struct request r;
    bool started;
    bool malformed;
};

/* What happens to the answer on its way out. */
struct outcome {
    struct answer a;
    int64_t skew_s;    /* for this request only */
    bool drop;         /* no answer at all */
    bool drop_in_body; /* half of it */
};

static void *new_exchange(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *x = xalloc(sizeof *x);

    (void)cls;
    (void)connection;
    x->malformed = !request_parse(&x->r, uri);
    return x;
}

static void end_exchange(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *context;

    (void)cls;
    (void)connection;
    (void)code;
    if (x == NULL)
        return;
    request_fini(&x->r);
    free(x);
    *context = NULL;
}

static enum MHD_Result keep_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    pairs_add(cls, name, value == NULL ? "" : value);
    return MHD_YES;
}

static void keep_peer(struct request *r, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    if (info == NULL || info->client_addr == NULL)
        return;
    if (info->client_addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)info->client_addr)->sin_addr, r->peer,
                  sizeof r->peer);
    else if (info->client_addr->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)info->client_addr)->sin6_addr, r->peer,
                  sizeof r->peer);
}

static int64_t shard_of(const struct request *r)
{
    const char *text = request_param(r, "shard");
    uint64_t id;

    if (text == NULL && r->segments > 3 && strcmp(r->segment[2], "shards") == 0)
        text = r->segment[3];
    return text != NULL && text_number(text, UINT32_MAX, &id) ? (int64_t)id : -1;
}

/* Faults that take the place of an answer. True: there is one, or the connection is to be cut. */
static bool fault_instead(struct sim *sim, const struct fault_place *at, struct outcome *o)
{
    struct fault f;

    if (fault_take(&sim->faults, at, FAULT_DROP, DROP_BEFORE, &f)) {
        o->drop = true;
    } else if (fault_take(&sim->faults, at, FAULT_HANG, 0, &f)) {
        sim_wait(sim, HANG_MS);
        o->drop = true;
    } else if (fault_take(&sim->faults, at, FAULT_ERROR, 0, &f)) {
        answer_error(&o->a, (int)f.number, f.code, "injected");
    } else if (fault_take(&sim->faults, at, FAULT_QUOTA, 0, &f)) {
        if (at->call == CALL_PUT)
            answer_error(&o->a, 403, "WriteQuotaExceed", "Write quota is exceeded.");
        else
            answer_error(&o->a, 403, "ReadQuotaExceed", "Read quota is exceeded.");
    } else if (fault_take(&sim->faults, at, FAULT_EXPIRED_TOKEN, 0, &f)) {
        answer_error(&o->a, 401, "SecurityTokenExpired", "The security token has expired");
    } else if (fault_take(&sim->faults, at, FAULT_EMPTY_ERROR, 0, &f)) {
        o->a.status = 500;
    } else if (fault_take(&sim->faults, at, FAULT_HTML, 0, &f)) {
        o->a.status = 502;
        o->a.type = "text/html";
        buf_text(&o->a.body, "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad "
                             "Gateway</h1></body></html>\n");
    } else {
        return false;
    }
    return true;
}

/* Faults of the service itself, which happen just before the call that triggers them. */
static void fault_service(struct sim *sim, const struct fault_place *at, const struct request *r)
{
    static const enum fault_kind kinds[] = {FAULT_SPLIT, FAULT_MERGE, FAULT_REBALANCE};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct answer ignored = {0};
        struct project *p;
        struct logstore *ls;
        struct fault f;

        if (!fault_take(&sim->faults, at, kinds[i], 0, &f))
            continue;
        pthread_mutex_lock(&sim->store.lock);
        p = store_project(&sim->store, r->project);
        ls = p == NULL || r->segments < 2 ? NULL : store_logstore(p, r->segment[1]);
        if (ls != NULL && kinds[i] != FAULT_REBALANCE)
            api_change_shard(sim, ls, f.number >= 0 ? f.number : at->shard,
                             kinds[i] == FAULT_SPLIT ? "split" : "merge", NULL, &ignored);
        for (size_t k = 0; ls != NULL && kinds[i] == FAULT_REBALANCE && k < ls->group_count; k++) {
            cg_rotate(ls->groups[k]);
            state_owners(sim, ls, ls->groups[k]);
        }
        pthread_mutex_unlock(&sim->store.lock);
        answer_fini(&ignored);
    }
}

/* The header that tells the next cursor goes, or its value does. */
static void spoil_cursor(struct answer *a, bool whole)
{
    for (size_t i = 0; i < a->headers; i++) {
        if (strcmp(a->header[i].name, "x-log-cursor") != 0)
            continue;
        if (whole)
            a->header[i] = a->header[--a->headers];
        else
            strcpy(a->header[i].value, " "); /* the HTTP library drops headers without a value */
        return;
    }
}

/* Faults that spoil a good answer with a body. */
static void fault_body(struct sim *sim, const struct fault_place *at, struct outcome *o)
{
    struct answer *a = &o->a;
    struct fault f;

    o->drop_in_body = fault_take(&sim->faults, at, FAULT_DROP, DROP_BODY, &f);
    if (fault_take(&sim->faults, at, FAULT_CORRUPT, 0, &f)) {
        if (a->fixed != NULL) /* shared by all: spoil a copy */
            buf_add(&a->body, a->fixed, a->fixed_n);
        a->fixed = NULL;
        for (size_t i = 0; i < a->body.n; i += 7)
            a->body.p[i] = (char)~a->body.p[i];
    }
    if (fault_take(&sim->faults, at, FAULT_TRUNCATE, 0, &f)) {
        a->body.n /= 2;
        a->fixed_n /= 2;
    }
    for (size_t i = 0; i < a->headers; i++) {
        if (strcmp(a->header[i].name, "x-log-bodyrawsize") == 0 &&
            fault_take(&sim->faults, at, FAULT_RAWSIZE, 0, &f))
            snprintf(a->header[i].value, sizeof a->header[i].value, "%lld",
                     atoll(a->header[i].value) + (long long)f.number);
    }
}

static void fault_answer(struct sim *sim, const struct fault_place *at, struct outcome *o)
{
    struct fault f;

    if (fault_take(&sim->faults, at, FAULT_LATE, 0, &f) && sim_wait(sim, f.number))
        o->drop = true;
    if (o->a.status != 200)
        return;
    if (fault_take(&sim->faults, at, FAULT_DROP, DROP_ANSWER, &f))
        o->drop = true;
    if (o->drop)
        return;
    if (fault_take(&sim->faults, at, FAULT_NO_CURSOR, 0, &f))
        spoil_cursor(&o->a, true);
    if (fault_take(&sim->faults, at, FAULT_EMPTY_CURSOR, 0, &f))
        spoil_cursor(&o->a, false);
    if (o->a.body.n != 0 || o->a.fixed_n != 0)
        fault_body(sim, at, o);
}

static json_t *body_json(const void *data, size_t n)
{
    size_t shown = n < TRANSCRIPT_BODY_MAX ? n : TRANSCRIPT_BODY_MAX;
    char *hex = xalloc(2 * shown + 1);
    json_t *text;

    text_hex(hex, data, shown, false);
    text = json_string(hex);
    free(hex);
    return text;
}

static void write_transcript(struct sim *sim, const struct request *r, const struct outcome *o)
{
    const struct answer *a = &o->a;
    const void *body = a->fixed != NULL ? a->fixed : a->body.p;
    size_t n = a->fixed != NULL ? a->fixed_n : a->body.n;
    const char *query = strchr(r->target, '?');
    json_t *sent = json_array();
    json_t *got = json_array();
    json_t *line;
    char *text;

    for (size_t i = 0; i < r->headers.n; i++) {
        const char *name = r->headers.v[i].name;
        bool secret =
            strcasecmp(name, "x-acs-security-token") == 0 || strcasecmp(name, "authorization") == 0;

        json_array_append_new(
            sent, json_pack("[s, s]", name, secret ? "(hidden)" : r->headers.v[i].value));
    }
    for (size_t i = 0; i < a->headers; i++)
        json_array_append_new(got, json_pack("[s, s]", a->header[i].name, a->header[i].value));
    line = json_pack("{s:f, s:f, s:{s:s, s:s, s:s, s:o, s:o, s:I}, s:{s:i, s:o, s:o, s:I, s:b}}",
                     "t", (double)(sim_clock_ms(sim) - sim->started_ms) / 1000.0, "at",
                     (double)sim_now_us(sim) / 1e6, "request", "method", r->method, "path", r->path,
                     "query", query == NULL ? "" : query + 1, "headers", sent, "body_hex",
                     body_json(r->body.p, r->body.n), "body_bytes", (json_int_t)r->body_total,
                     "response", "status", o->drop ? 0 : a->status, "headers", got, "body_hex",
                     body_json(body, n), "body_bytes", (json_int_t)n, "dropped",
                     (int)(o->drop || o->drop_in_body));
    text = line == NULL ? NULL : json_dumps(line, 0);
    pthread_mutex_lock(&sim->transcript_lock);
    if (text != NULL)
        fprintf(sim->transcript, "%s\n", text);
    fflush(sim->transcript);
    pthread_mutex_unlock(&sim->transcript_lock);
    free(text);
    json_decref(line);
}

static int check_signature(struct sim *sim, struct exchange *x, struct outcome *o)
{
    int rc;

    pthread_mutex_lock(&sim->store.lock); /* the token may change */
    rc = auth_check(&sim->keys, &x->r, sim_now_us(sim) / 1000000 + o->skew_s, &o->a);
    pthread_mutex_unlock(&sim->store.lock);
    return rc;
}

static void run_api(struct sim *sim, struct exchange *x, struct outcome *o)
{
    struct fault_place at = {api_call_kind(&x->r), shard_of(&x->r)};
    struct fault f;

    if (fault_take(&sim->faults, &at, FAULT_SKEW, 0, &f))
        o->skew_s = f.number;
    if (fault_take(&sim->faults, &at, FAULT_DELAY, 0, &f) && sim_wait(sim, f.number))
        o->drop = true;
    request_find_project(&x->r);
    if (!o->drop && check_signature(sim, x, o) == 0 && !fault_instead(sim, &at, o)) {
        fault_service(sim, &at, &x->r);
        api_run(sim, &x->r, &o->a);
        fault_answer(sim, &at, o);
    }
    sim_count(sim, at.call, &o->a);
    if (sim->transcript != NULL && sim->transcribed[at.call])
        write_transcript(sim, &x->r, o);
}

struct half {
    char *data;
    size_t n;
};

/* Body callback for a cut in the middle: half of what was announced, then the connection breaks. */
static ssize_t give_half(void *cls, uint64_t position, char *out, size_t room)
{
    struct half *half = cls;
    size_t left;

    if (position >= half->n)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    left = half->n - (size_t)position;
    if (left > room)
        left = room;
    memcpy(out, half->data + position, left);
    return (ssize_t)left;
}

static void free_half(void *cls)
{
    struct half *half = cls;

    free(half->data);
    free(half);
}

static struct MHD_Response *make_response(struct outcome *o)
{
    struct answer *a = &o->a;
    size_t n = a->fixed != NULL ? a->fixed_n : a->body.n;
    struct MHD_Response *response;

    if (o->drop_in_body) {
        struct half *half = xalloc(sizeof *half);

        half->n = n / 2;
        half->data = xalloc(half->n);
        memcpy(half->data, a->fixed != NULL ? a->fixed : a->body.p, half->n);
        return MHD_create_response_from_callback(n, 1 << 16, give_half, half, free_half);
    }
    if (a->fixed != NULL)
        return MHD_create_response_from_buffer(n, (void *)(uintptr_t)a->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    response = MHD_create_response_from_buffer(n, a->body.p, MHD_RESPMEM_MUST_FREE);
    if (response != NULL)
        a->body = (struct buf){0};
    return response;
}

static enum MHD_Result send_answer(struct server *s, struct MHD_Connection *connection,
                                   struct outcome *o)
{
    struct MHD_Response *response = make_response(o);
    uint64_t id = atomic_fetch_add(&s->requests, 1) + 1;
    char text[DATE_TEXT_MAX];
    enum MHD_Result queued;

    if (response == NULL)
        return MHD_NO;
    date_http(sim_now_us(s->sim) / 1000000 + o->skew_s, text);
    MHD_add_response_header(response, "Server", "sls-sim/" SLSR_VERSION);
    MHD_add_response_header(response, "Date", text);
    snprintf(text, sizeof text, "%024llX", (unsigned long long)id);
    MHD_add_response_header(response, "x-log-requestid", text);
    if (o->a.type != NULL)
        MHD_add_response_header(response, "Content-Type", o->a.type);
    for (size_t i = 0; i < o->a.headers; i++)
        MHD_add_response_header(response, o->a.header[i].name, o->a.header[i].value);
    queued = MHD_queue_response(connection, (unsigned)o->a.status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer(struct server *s, struct MHD_Connection *connection,
                              struct exchange *x, const char *method)
{
    struct outcome o = {.a = {.status = 200}};
    enum MHD_Result result = MHD_NO;

    x->r.method = method;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, keep_header, &x->r.headers);
    keep_peer(&x->r, connection);
    if (x->malformed)
        answer_error(&o.a, 400, "ParameterInvalid", "the request target is malformed");
    else if (x->r.segments > 0 && strcmp(x->r.segment[0], "_sim") == 0)
        control_run(s->sim, &x->r, &o.a);
    else
        run_api(s->sim, x, &o);
    if (!o.drop)
        result = send_answer(s, connection, &o);
    answer_fini(&o.a);
    return result;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_n, void **context)
{
    struct exchange *x = *context;

    (void)url;
    (void)version;
    if (!x->started) {
        x->started = true;
        return MHD_YES;
    }
    if (*data_n != 0) {
        size_t room = REQUEST_BODY_MAX - x->r.body.n;

        buf_add(&x->r.body, data, *data_n < room ? *data_n : room);
        x->r.body_total += *data_n;
        *data_n = 0;
        return MHD_YES;
    }
    return answer(cls, connection, x, method);
}

struct server *server_start(struct sim *sim, int listen_fd)
{
    struct server *s = xalloc(sizeof *s);

    s->sim = sim;
    s->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_SUPPRESS_DATE_NO_CLOCK,
        0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_URI_LOG_CALLBACK, new_exchange, s, MHD_OPTION_NOTIFY_COMPLETED, end_exchange, s,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)(256 << 10), MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)(512 << 10), MHD_OPTION_END);
    if (s->daemon == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void server_stop(struct server *s)
{
    if (s == NULL)
        return;
    MHD_stop_daemon(s->daemon);
    free(s);
}
