/* Where logs come from besides uploads: generated audit logs, and a JSON-lines file.
 *
 * A generated log depends on the seed and its number alone, so two runs agree in everything but the
 * time. Groups go round the shards; the n-th log carries n. Logs that are all there from the
 * beginning are made when they are read, each time anew: millions cost neither memory nor a start
 * that takes minutes. With a state file they are made at once, for it has to hold them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sim.h"
#include "text.h"

enum { GROUP_LOGS = 100, EXIT_NO_INPUT = 66, EXIT_BAD_INPUT = 78, LINE_TAGS = 2, TICK_MS = 100 };

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static const char *pick(uint64_t *state, const char *const *list, size_t n)
{
    *state = mix(*state);
    return list[*state % n];
}
#define PICK(state, list) pick((state), (list), sizeof(list) / sizeof *(list))

static uint64_t below(uint64_t *state, uint64_t limit)
{
    *state = mix(*state);
    return *state % limit;
}

static void content(struct buf *out, const char *key, const char *value)
{
    wire_pair(out, 2, span_of(key), span_of(value));
}

static void content_number(struct buf *out, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    content(out, key, text);
}

static void request_fields(struct buf *out, uint64_t *s)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    static const char *const paths[] = {"/api/v2/accounts/%llu/keys", "/api/v2/secrets/%llu",
                                        "/console/users/%llu/roles", "/api/v2/clusters/%llu/exec"};
    static const char *const agents[] = {
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
        "kubectl/v1.30.2 (linux/amd64) kubernetes/3968350",
        "aliyun-cli/3.0.210 (linux; amd64) golang/1.22"};
    static const char *const codes[] = {"200", "200", "200", "204", "403", "500"};
    const char *path = PICK(s, paths);
    uint64_t id = below(s, 100000);
    char text[64];

    content(out, "method", PICK(s, methods));
    /* "%llu" stands once in each path: put the number in by hand, formats stay literal. */
    snprintf(text, sizeof text, "%.*s%llu%s", (int)(strchr(path, '%') - path), path,
             (unsigned long long)id, strchr(path, '%') + 4);
    content(out, "uri", text);
    content(out, "status", PICK(s, codes));
    content_number(out, "latency_us", 200 + below(s, 900000));
    content_number(out, "bytes_sent", below(s, 1 << 20));
    content(out, "user_agent", PICK(s, agents));
}

static void audit_log(struct buf *out, uint64_t seed, uint64_t n)
{
    static const char *const actions[] = {"Login",        "Logout",       "CreateAccessKey",
                                          "AttachPolicy", "DeleteBucket", "AssumeRole",
                                          "UpdateSecret"};
    static const char *const users[] = {"alice", "bob.smith", "svc-backup", "王小明", "root"};
    static const char *const results[] = {"success", "success", "success", "denied"};
    static const char *const messages[] = {
        "policy \"AuditReadOnly\" attached to role ops-reader [ticket=OPS-4711]",
        "session opened from a new device; second factor: totp; risk score 12 of 100",
        "quota check passed for resource acs:oss:*:*:logs-archive/2025/\\*",
        "用户通过控制台修改了访问策略 (two reviewers required)",
        "exec failed: exit status 1\nstderr: permission denied, open '/etc/shadow'"};
    uint64_t s = mix(seed ^ mix(n));
    char text[96];

    content_number(out, "n", n);
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)mix(s),
             (unsigned long long)mix(s + 1));
    content(out, "event_id", text);
    content(out, "event_type", "ApiCall");
    content(out, "action", PICK(&s, actions));
    content(out, "user", PICK(&s, users));
    content_number(out, "account_id", 1000000000000000u + below(&s, 1000));
    snprintf(text, sizeof text, "10.%u.%u.%u", (unsigned)below(&s, 256), (unsigned)below(&s, 256),
             (unsigned)below(&s, 256));
    content(out, "source_ip", text);
    content(out, "region", "cn-hangzhou");
    request_fields(out, &s);
    snprintf(text, sizeof text, "sess-%012llx", (unsigned long long)below(&s, 1ull << 48));
    content(out, "session", text);
    content(out, "result", PICK(&s, results));
    content(out, "message", PICK(&s, messages));
}

void feed_make(const struct recipe *r, uint32_t logs, struct buf *group)
{
    struct buf contents = {0};

    for (uint64_t n = r->first; n < r->first + logs; n++) {
        contents.n = 0;
        audit_log(&contents, r->seed, n);
        wire_log(group, (uint32_t)(r->made_us / 1000000),
                 (uint32_t)(r->made_us % 1000000 * 1000 + (int64_t)(n % 1000)), &contents);
    }
    wire_bytes(group, 3, "audit", 5);
    wire_bytes(group, 4, "10.0.0.1", 8);
    wire_pair(group, 6, span_of("__hostname__"), span_of("audit-1"));
    wire_pair(group, 6, span_of("__path__"), span_of("/var/log/audit/audit.log"));
    buf_fini(&contents);
}

/* Appends logs [first, first + count) as one group to the next shard: made now, or promised. */
static void append_generated(struct sim *sim, struct logstore *ls, const struct generate *g,
                             uint64_t first, uint64_t count)
{
    struct recipe recipe = {g->seed, first, sim_now_us(sim)};
    bool later = g->per_second == 0 && sim->state_fd < 0;
    struct buf group = {0};
    struct shard *sh;

    if (!later)
        feed_make(&recipe, (uint32_t)count, &group);
    pthread_mutex_lock(&sim->store.lock);
    sh = store_next_shard(ls);
    if (sh != NULL && later)
        shard_promise(sh, &recipe, (uint32_t)count);
    else if (sh != NULL)
        api_append(sim, ls, sh, &group, (uint32_t)count, true);
    buf_fini(&group);
    pthread_mutex_unlock(&sim->store.lock);
    atomic_fetch_add(&sim->generated, count);
}

/* Small totals still reach every shard several times. */
static uint64_t group_logs(const struct logstore *ls, uint64_t total)
{
    uint64_t n = total / (ls->shard_count * 8);

    return n < 1 ? 1 : (n > GROUP_LOGS ? GROUP_LOGS : n);
}

void feed_generate(struct sim *sim, struct logstore *ls, const struct generate *g)
{
    uint64_t before = atomic_load(&sim->generated); /* by the program that left us its state */
    uint64_t done = before;
    int64_t start_ms = sim_mono_ms();
    uint64_t in_group =
        group_logs(ls, g->per_second == 0 ? g->count : g->per_second * TICK_MS / 1000);

    while (done < g->count) {
        uint64_t due = g->count;

        if (g->per_second != 0) {
            if (sim_wait(sim, TICK_MS))
                return;
            due = before + (uint64_t)(sim_mono_ms() - start_ms) * g->per_second / 1000;
        }
        if (due > g->count)
            due = g->count;
        while (done < due) {
            uint64_t n = due - done < in_group ? due - done : in_group;

            append_generated(sim, ls, g, done, n);
            done += n;
        }
    }
}

bool feed_parse_generate(const char *text, struct generate *g)
{
    char count[32];
    const char *at = strchr(text, '@');
    size_t n = at == NULL ? strlen(text) : (size_t)(at - text);

    if (n >= sizeof count)
        return false;
    memcpy(count, text, n);
    count[n] = '\0';
    g->per_second = 0;
    return text_number(count, UINT32_MAX, &g->count) &&
           (at == NULL || (text_number(at + 1, 10000000, &g->per_second) && g->per_second != 0));
}

static struct span json_span(const json_t *text)
{
    return (struct span){(const uint8_t *)json_string_value(text), json_string_length(text)};
}

/* Contents or tags: an object, or an array of [key, value]. */
static bool add_pairs(struct buf *out, uint32_t number, json_t *pairs)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_array(pairs)) {
        json_array_foreach(pairs, i, value)
        {
            json_t *k = json_array_get(value, 0);
            json_t *v = json_array_get(value, 1);

            if (json_array_size(value) != 2 || !json_is_string(k) || !json_is_string(v))
                return false;
            wire_pair(out, number, json_span(k), json_span(v));
        }
        return true;
    }
    json_object_foreach(pairs, key, value)
    {
        if (!json_is_string(value))
            return false;
        wire_pair(out, number, span_of(key), json_span(value));
    }
    return pairs == NULL || json_is_object(pairs);
}

static const char *optional_text(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL ? "" : text;
}

/* One line of the file as one group with one log. NULL, or what is wrong with it. */
static const char *load_line(struct sim *sim, struct logstore *ls, json_t *line)
{
    json_int_t id = json_integer_value(json_object_get(line, "shard"));
    json_int_t time_s = json_integer_value(json_object_get(line, "time"));
    json_int_t time_ns = json_integer_value(json_object_get(line, "time_ns"));
    const char *topic = optional_text(line, "topic");
    const char *source = optional_text(line, "source");
    struct shard *sh = id < 0 ? NULL : store_shard(ls, (uint64_t)id);
    struct buf contents = {0};
    struct buf group = {0};
    bool ok;

    if (sh == NULL)
        return "shard does not exist in the first logstore";
    if (time_s < 0 || time_s > UINT32_MAX || time_ns < 0 || time_ns > 999999999)
        return "time or time_ns is out of range";
    ok = add_pairs(&contents, 2, json_object_get(line, "contents"));
    wire_log(&group, (uint32_t)time_s, (uint32_t)time_ns, &contents);
    buf_fini(&contents);
    if (*topic != '\0')
        wire_bytes(&group, 3, topic, strlen(topic));
    if (*source != '\0')
        wire_bytes(&group, 4, source, strlen(source));
    ok = ok && add_pairs(&group, 6, json_object_get(line, "tags"));
    if (!ok) {
        buf_fini(&group);
        return "contents and tags are objects of texts or arrays of [key, value]";
    }
    api_append(sim, ls, sh, &group, 1, false);
    return NULL;
}

int feed_load(struct sim *sim, struct logstore *ls, const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    size_t number = 0;
    ssize_t n;
    int rc = 0;

    if (file == NULL) {
        fprintf(stderr, "sls-sim: %s, %s: give a readable file to --load\n", path, strerror(errno));
        return EXIT_NO_INPUT;
    }
    while (rc == 0 && (n = getline(&text, &room, file)) >= 0) {
        const char *why = "not a JSON object";
        json_t *line;

        number++;
        if (strspn(text, " \t\r\n") == (size_t)n)
            continue;
        line = json_loadb(text, (size_t)n, JSON_ALLOW_NUL, NULL);
        if (json_is_object(line))
            why = load_line(sim, ls, line);
        json_decref(line);
        if (why != NULL) {
            fprintf(stderr, "sls-sim: %s line %zu, %s: correct the line\n", path, number, why);
            rc = EXIT_BAD_INPUT;
        }
    }
    if (rc == 0 && ferror(file)) {
        fprintf(stderr, "sls-sim: %s, %s: give a readable file to --load\n", path, strerror(errno));
        rc = EXIT_NO_INPUT;
    }
    free(text);
    fclose(file);
    return rc;
}
