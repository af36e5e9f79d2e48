/* See fake_sls.h. */
#include <ftw.h>
#include <unistd.h>

#include "fake_sls.h"

enum { PATIENCE = 250 * 1000 }; /* looks per step, 200 us each and more: over a minute */

static struct world *the_world; /* of the case under way: the seam carries no context of ours */

/* --- the seam --- */

struct line { /* one client's connection: its answer lives until the next */
    struct answer answer;
    struct slsr_pair pairs[HTTP_HEADERS_MAX];
};

static enum call call_of(const char *method, const char *target)
{
    if (strstr(target, "type=heartbeat") != NULL)
        return BEAT;
    if (strstr(target, "type=checkpoint") != NULL)
        return PUT;
    if (strstr(target, "type=cursor") != NULL)
        return CURSOR;
    if (strstr(target, "type=log") != NULL)
        return PULL;
    if (strstr(target, "/consumergroups") != NULL)
        return strcmp(method, "POST") == 0 ? CREATE : strcmp(method, "PUT") == 0 ? UPDATE : GET;
    return LIST;
}

static void note_request(struct asked *q, const struct http_request *r)
{
    const char *shard = strstr(r->target, "/shards/");
    char number[16];

    snprintf(q->method, sizeof q->method, "%s", r->method);
    snprintf(q->target, sizeof q->target, "%s", r->target);
    snprintf(q->body, sizeof q->body, "%.*s", (int)r->body.n, r->body.n > 0 ? r->body.p : "");
    q->call = call_of(q->method, q->target);
    q->at_ms = clock_mono_ms();
    q->timeout_ms = r->timeout_ms;
    if (shard != NULL)
        q->shard = (uint32_t)strtoul(shard + 8, NULL, 10);
    else if (parameter(q->target, "shard", number, sizeof number))
        q->shard = (uint32_t)strtoul(number, NULL, 10);
    else if ((shard = strstr(q->body, "{\"shard\":")) != NULL)
        q->shard = (uint32_t)strtoul(shard + 9, NULL, 10);
    assert_true(q->shard < FAKE_SHARDS);
    for (size_t i = 0; i < r->header_count; i++) {
        const size_t used = strlen(q->headers);

        snprintf(q->headers + used, sizeof q->headers - used, "%.*s: %.*s\n",
                 (int)r->headers[i].key.n, r->headers[i].key.p, (int)r->headers[i].value.n,
                 r->headers[i].value.p);
    }
}

static void hand_out(struct line *line, struct http_response *response)
{
    struct answer *a = &line->answer;
    char *at = a->headers;

    *response = (struct http_response){.status = a->status};
    while (*at != '\0' && response->header_count < HTTP_HEADERS_MAX) {
        const size_t n = strcspn(at, "\n"), key = strcspn(at, ":");

        response->headers[response->header_count++] =
            (struct slsr_pair){{at, key}, {at + key + 2, n - key - 2}};
        at += n + 1;
    }
    response->body = (struct slsr_bytes){a->body, a->body_n > 0 ? a->body_n : strlen(a->body)};
}

static int exchange(void *ctx, const struct http_request *request, struct http_response *response,
                    struct slsr_err *err)
{
    struct world *w = the_world;
    struct line *line = ctx;
    struct answer *a = &line->answer;
    struct asked *q;
    struct asked now = {0};

    memset(a, 0, sizeof *a);
    note_request(&now, request);
    pthread_mutex_lock(&w->lock);
    if (w->hook == NULL || !w->hook(w, &now, a))
        model_answer(w, &now, a);
    w->count[now.call]++;
    now.status = a->rc == 0 ? a->status : 0;
    q = &w->asked[w->asked_count++ % FAKE_ASKED];
    *q = now;
    pthread_mutex_unlock(&w->lock);
    if (a->delay_ms > 0) {
        const bool late = a->delay_ms >= request->timeout_ms;

        if (slsr_stop_wait(request->stop, late ? request->timeout_ms : a->delay_ms))
            return slsr_fail(err, SLSR_ESTOPPED, "stopped during a request");
        if (late)
            return slsr_fail(err, SLSR_ENET, "no complete answer in time");
    }
    if (a->rc != 0)
        return slsr_fail(err, a->rc, "the script gives no answer");
    hand_out(line, response);
    return 0;
}

static const struct http_vtable scripted = {.exchange = exchange, .close = free};

static int open_scripted(struct client **out, const struct slsr_source_config *source,
                         const char *consumer, struct slsr_stop *stop, struct slsr_err *err)
{
    struct line *line = calloc(1, sizeof *line);
    int rc;

    assert_non_null(line);
    rc = client_open_with(out, source, consumer, stop, &scripted, line, err);
    if (rc != 0)
        free(line);
    return rc;
}

/* --- the world --- */

static void on_fatal(void *ctx, const struct slsr_err *err)
{
    struct world *w = ctx;

    w->fatal = err->code;
    slsr_stop_request(&w->stop);
}

static void open_spool(struct world *w)
{
    const struct slsr_spool_config config = {.path = w->dir, .max_size_bytes = 64 << 20};
    struct slsr_err err;

    if (slsr_spool_open(&w->spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        fail_msg("%s", err.text);
}

void world_setup(struct world *w, unsigned shards, uint64_t groups)
{
    static char endpoint[] = "http://sls.example.com:8080", project[] = "proj", store[] = "audit",
                group[] = "cg", id[] = "exampleId", secret[] = FAKE_SECRET, sep[] = "||",
                utc[] = "UTC", host[] = "h";
    static char *stores[] = {store};

    if (the_world != NULL)
        fail_msg("not run: the case before failed and its threads are still there");
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->asked = calloc(FAKE_ASKED, sizeof *w->asked);
    assert_non_null(w->asked);
    snprintf(w->dir, sizeof w->dir, "/tmp/consume-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    clock_freeze(FAKE_START_S * INT64_C(1000));
    open_spool(w);
    w->source = (struct slsr_source_config){.endpoint = endpoint,
                                            .project = project,
                                            .logstores = stores,
                                            .logstore_count = 1,
                                            .consumer_group = group,
                                            .cursor_position = SLSR_POS_BEGIN,
                                            .in_order = true,
                                            .heartbeat_interval_ms = 20000,
                                            .heartbeat_timeout_ms = 60000,
                                            .fetch_interval_ms = 200,
                                            .max_log_groups = 1000,
                                            .memory_bytes = 64 << 20,
                                            .checkpoint_interval_ms = 1000,
                                            .on_invalid_cursor = SLSR_POS_BEGIN,
                                            .access_key_id = id,
                                            .access_key_secret = secret};
    w->format = (struct slsr_format_config){.protocol = SLSR_RFC5424,
                                            .body = SLSR_BODY_KV,
                                            .sep = sep,
                                            .hostname = host,
                                            .time_zone = utc,
                                            .max_message_bytes = 65536};
    for (unsigned i = 0; i < shards; i++)
        w->shards[i] = (struct fake_shard){.exists = true,
                                           .assigned = true,
                                           .holder = true,
                                           .oldest = FAKE_FIRST,
                                           .next = FAKE_FIRST + groups};
    w->per_pull = 100;
    the_world = w;
}

void world_start(struct world *w)
{
    const struct consume_options options = {.source = &w->source,
                                            .logstore = w->source.logstores[0],
                                            .consumer = "relay-1",
                                            .format = &w->format,
                                            .spool = w->spool,
                                            .stop = &w->stop,
                                            .abort = &w->abort,
                                            .fatal = on_fatal,
                                            .ctx = w,
                                            .open = open_scripted};
    struct slsr_err err;

    assert_int_equal(slsr_stop_init(&w->stop, &err), 0);
    assert_int_equal(slsr_stop_init(&w->abort, &err), 0);
    if (consume_start(&w->consume, &options, &err) != 0)
        fail_msg("%s", err.text);
}

void figures(struct world *w, struct consume_figures *out)
{
    assert_int_equal(consume_figures(w->consume, out, NULL), 0);
}

struct consume_note note_of(struct world *w, uint32_t shard)
{
    struct consume_figures f;
    struct consume_note note = {"none", "", 0};

    figures(w, &f);
    if (shard == UINT32_MAX)
        note = f.note;
    for (size_t i = 0; i < f.shard_count; i++)
        if (f.shards[i].shard == shard)
            note = f.shards[i].note;
    consume_figures_free(&f);
    return note;
}

/* Waits until every thread of the stage sleeps (or all have left) and returns how many there are:
 * only then is the world looked at or changed. */
static unsigned settle(struct world *w)
{
    for (unsigned patience = PATIENCE; patience > 0; patience--) {
        struct consume_figures f;
        unsigned threads;
        bool gone;

        figures(w, &f);
        threads = (unsigned)f.shard_count + 1; /* the group's */
        gone = strcmp(f.note.state, "left") == 0;
        consume_figures_free(&f);
        if (gone || clock_step(threads, clock_mono_ms()))
            return gone ? 0 : threads;
        usleep(200);
    }
    fail_msg("the stage hangs");
    return 0;
}

bool world_until(struct world *w, condition *holds, int64_t ms)
{
    const int64_t limit = clock_mono_ms() + ms;

    for (;;) {
        const unsigned threads = settle(w);

        if (holds != NULL && holds(w))
            return true;
        if (clock_mono_ms() >= limit)
            return false;
        clock_step(threads, limit);
    }
}

void world_pass(struct world *w, int64_t ms)
{
    world_until(w, NULL, ms);
}

static bool left(struct world *w)
{
    return strcmp(note_of(w, UINT32_MAX).state, "left") == 0;
}

static void end(struct world *w)
{
    RUN_UNTIL(w, left);
    consume_join(w->consume);
    w->consume = NULL;
    slsr_stop_fini(&w->stop);
    slsr_stop_fini(&w->abort);
}

void world_stop(struct world *w)
{
    slsr_stop_request(&w->stop);
    end(w);
}

void world_kill(struct world *w)
{
    slsr_stop_request(&w->abort);
    slsr_stop_request(&w->stop);
    end(w);
}

static int wipe_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void world_teardown(struct world *w)
{
    if (w->consume != NULL)
        world_stop(w);
    the_world = NULL;
    slsr_spool_close(w->spool);
    nftw(w->dir, wipe_one, 8, FTW_DEPTH | FTW_PHYS);
    free(w->asked);
    pthread_mutex_destroy(&w->lock);
}

/* --- looking --- */

uint64_t frames_spooled(struct world *w)
{
    uint64_t oldest;
    uint64_t next;

    assert_int_equal(slsr_spool_bounds(w->spool, &oldest, &next, NULL), 0);
    return next - 1;
}

bool all_spooled(struct world *w)
{
    uint64_t wanted = 0;

    for (unsigned i = 0; i < FAKE_SHARDS; i++)
        wanted += w->shards[i].next - w->shards[i].oldest;
    return frames_spooled(w) >= wanted;
}

bool all_reported(struct world *w)
{
    char end_cursor[SLSR_CURSOR_MAX + 1];
    bool all = all_spooled(w);

    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        cursor_text(w->shards[i].next, end_cursor);
        if (w->shards[i].exists && strcmp(w->shards[i].checkpoint, end_cursor) != 0)
            all = false;
    }
    pthread_mutex_unlock(&w->lock);
    return all;
}

uint64_t spooled_whole(struct world *w, uint32_t shard, uint64_t from)
{
    uint64_t expected = from;
    uint64_t repeated = 0;
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;

    assert_int_equal(slsr_range_open(&range, w->spool, 1, UINT64_MAX, &err), 0);
    while (slsr_range_next(range, &frame, &err) == 0) {
        const char *at = memmem(frame.message.p, frame.message.n, "n=", 2);
        char number[32];
        uint64_t n;

        if (frame.stream.shard != shard)
            continue;
        assert_non_null(at);
        snprintf(number, sizeof number, "%.*s", (int)(frame.message.p + frame.message.n - at - 2),
                 at + 2);
        n = strtoull(number, NULL, 10);
        if (n > expected)
            fail_msg("shard %u: %llu came before %llu", shard, (unsigned long long)n,
                     (unsigned long long)expected);
        if (n < expected)
            repeated++;
        else
            expected++;
    }
    slsr_range_close(range);
    if (expected != w->shards[shard].next)
        fail_msg("shard %u: ends at %llu, not %llu", shard, (unsigned long long)expected,
                 (unsigned long long)w->shards[shard].next);
    return repeated;
}

size_t gaps(struct world *w, struct slsr_ledger_entry *first)
{
    struct slsr_ledger_entry *entries = NULL;
    size_t count = 0;
    size_t found = 0;

    assert_int_equal(slsr_ledger_list(w->spool, 1, &entries, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].kind, "gap") == 0 && found++ == 0 && first != NULL)
            *first = entries[i];
    free(entries);
    return found;
}

const struct asked *last_asked(const struct world *w, enum call call)
{
    for (size_t i = w->asked_count; i > 0; i--)
        if (w->asked[(i - 1) % FAKE_ASKED].call == call)
            return &w->asked[(i - 1) % FAKE_ASKED];
    return NULL;
}

const char *header_of(const struct asked *asked, const char *name, char *out, size_t size)
{
    char key[64];
    const char *at;

    snprintf(key, sizeof key, "\n%s: ", name);
    at = strncasecmp(asked->headers, key + 1, strlen(key + 1)) == 0
             ? asked->headers - 1
             : strcasestr(asked->headers, key);
    if (at == NULL)
        return NULL;
    at += strlen(key);
    snprintf(out, size, "%.*s", (int)strcspn(at, "\n"), at);
    return out;
}

bool header_is(const struct asked *asked, const char *name, const char *value)
{
    char out[512];
    const char *found = header_of(asked, name, out, sizeof out);

    return found != NULL && strcmp(found, value) == 0;
}
