/* The service of the consume stage tests: what it answers when no hook does. See fake_sls.h. */
#include "fake_sls.h"

bool say_text(struct answer *a, int status, const char *headers, const char *body)
{
    a->status = status;
    snprintf(a->headers, sizeof a->headers, "x-log-requestid: 0123456789ABCDEF01234567\n%s",
             headers);
    snprintf(a->body, sizeof a->body, "%s", body);
    a->body_n = 0;
    return true;
}

bool say(struct answer *a, int status, const char *code)
{
    char body[256] = "";

    if (status != 200)
        snprintf(body, sizeof body,
                 "{\"errorCode\":\"%s\",\"errorMessage\":\"as the case wants it\"}", code);
    return say_text(a, status, "", body);
}

bool say_nothing(struct answer *a, int rc)
{
    a->rc = rc;
    return true;
}

static size_t put_bytes(char *out, uint8_t tag, const char *bytes, size_t n)
{
    out[0] = (char)tag;
    out[1] = (char)n;
    memcpy(out + 2, bytes, n);
    return n + 2;
}

/* One LogGroupList entry: a group with one log {n: <number>}. */
static size_t put_group(char *out, uint64_t number)
{
    char value[24], content[40], log[64], group[72];
    const size_t value_n =
        (size_t)snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    size_t n = put_bytes(content, 0x0a, "n", 1);
    size_t log_n = 0;
    uint32_t time_s = FAKE_START_S;

    n += put_bytes(content + n, 0x12, value, value_n);
    log[log_n++] = 0x08;
    for (; time_s >= 0x80; time_s >>= 7)
        log[log_n++] = (char)(time_s | 0x80);
    log[log_n++] = (char)time_s;
    log_n += put_bytes(log + log_n, 0x12, content, n);
    n = put_bytes(group, 0x0a, log, log_n);
    return put_bytes(out, 0x0a, group, n);
}

bool parameter(const char *target, const char *name, char *out, size_t size)
{
    char key[32];
    const char *at;
    size_t n = 0;

    snprintf(key, sizeof key, "%s=", name);
    at = strchr(target, '?');
    while (at != NULL && strncmp(at + 1, key, strlen(key)) != 0)
        at = strchr(at + 1, '&');
    if (at == NULL)
        return false;
    for (at += 1 + strlen(key); *at != '\0' && *at != '&' && n + 1 < size; at++) {
        unsigned byte = (unsigned char)*at;

        if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1)
            at += 2;
        out[n++] = (char)byte;
    }
    out[n] = '\0';
    return true;
}

static void answer_pull(struct world *w, const struct asked *q, struct answer *a)
{
    struct fake_shard *s = &w->shards[q->shard];
    char cursor[SLSR_CURSOR_MAX + 1], next[SLSR_CURSOR_MAX + 1], count[16], headers[512];
    uint64_t from;
    uint64_t groups;
    size_t n = 0;

    s->pulls++;
    if (!parameter(q->target, "cursor", cursor, sizeof cursor) || !cursor_number(cursor, &from) ||
        from < s->oldest || from > s->next) {
        say(a, 400, "InvalidCursor");
        return;
    }
    groups = s->next - from;
    if (parameter(q->target, "count", count, sizeof count) && groups > strtoull(count, NULL, 10))
        groups = strtoull(count, NULL, 10);
    if (groups > w->per_pull)
        groups = w->per_pull;
    a->status = 200;
    for (uint64_t i = 0; i < groups && n + 80 < sizeof a->body; i++)
        n += put_group(a->body + n, from + i);
    a->body_n = n;
    cursor_text(from + groups, next);
    snprintf(headers, sizeof headers,
             "x-log-cursor: %s\nx-log-count: %llu\nx-log-bodyrawsize: %zu\n", next,
             (unsigned long long)groups, n);
    snprintf(a->headers, sizeof a->headers, "%s", headers);
}

static void answer_beat(struct world *w, const struct asked *q, struct answer *a)
{
    char list[256] = "[";

    if (!w->group_exists) {
        say(a, 404, "ConsumerGroupNotExist");
        return;
    }
    snprintf(w->beating, sizeof w->beating, "%s", q->body);
    if (!w->consumer_known && strcmp(q->body, "[]") != 0) {
        say(a, 400, "NotExistConsumerWithBody");
        return;
    }
    w->consumer_known = true;
    for (unsigned i = 0; i < FAKE_SHARDS; i++)
        if (w->shards[i].exists && w->shards[i].assigned && !w->shards[i].over)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%u",
                     strlen(list) > 1 ? "," : "", i);
    snprintf(list + strlen(list), sizeof list - strlen(list), "]");
    say_text(a, 200, "", list);
}

static void answer_put(struct world *w, const struct asked *q, struct answer *a)
{
    struct fake_shard *s = &w->shards[q->shard];
    const char *at = strstr(q->body, "\"checkpoint\":\"");
    uint64_t number;

    s->puts++;
    if (!w->group_exists) {
        say(a, 404, "ConsumerGroupNotExist");
    } else if (!w->consumer_known) {
        say(a, 404, "ConsumerNotExist");
    } else if (!s->holder) {
        say(a, 400, "ConsumerNotMatch");
    } else {
        assert_non_null(at);
        at += strlen("\"checkpoint\":\"");
        snprintf(s->checkpoint, sizeof s->checkpoint, "%.*s", (int)strcspn(at, "\""), at);
        if (s->readonly && cursor_number(s->checkpoint, &number) && number == s->next)
            s->over = true;
        say(a, 200, "");
    }
}

static void answer_list(struct world *w, struct answer *a)
{
    char body[FAKE_SHARDS * 64] = "[";

    for (unsigned i = 0; i < FAKE_SHARDS; i++)
        if (w->shards[i].exists)
            snprintf(body + strlen(body), sizeof body - strlen(body),
                     "%s{\"shardID\":%u,\"status\":\"%s\",\"createTime\":1}",
                     strlen(body) > 1 ? "," : "", i,
                     w->shards[i].readonly ? "readonly" : "readwrite");
    snprintf(body + strlen(body), sizeof body - strlen(body), "]");
    say_text(a, 200, "", body);
}

void model_answer(struct world *w, const struct asked *q, struct answer *a)
{
    const struct fake_shard *s = &w->shards[q->shard];
    char from[32] = "", cursor[SLSR_CURSOR_MAX + 1], body[512];

    switch (q->call) {
    case PULL:
        answer_pull(w, q, a);
        return;
    case BEAT:
        answer_beat(w, q, a);
        return;
    case PUT:
        answer_put(w, q, a);
        return;
    case LIST:
        answer_list(w, a);
        return;
    case CREATE:
        say(a, w->group_exists ? 400 : 200, "ConsumerGroupAlreadyExist");
        if (!w->group_exists)
            for (unsigned i = 0; i < FAKE_SHARDS; i++)
                w->shards[i].checkpoint[0] = '\0';
        w->group_exists = true;
        return;
    case UPDATE:
        say(a, w->group_exists ? 200 : 404, "ConsumerGroupNotExist");
        return;
    case CURSOR:
        parameter(q->target, "from", from, sizeof from);
        cursor_text(strcmp(from, "end") == 0 ? s->next : s->oldest, cursor);
        snprintf(body, sizeof body, "{\"cursor\":\"%s\"}", cursor);
        say_text(a, 200, "", body);
        return;
    default:
        if (!w->group_exists) {
            say(a, 404, "ConsumerGroupNotExist");
            return;
        }
        snprintf(body, sizeof body,
                 "[{\"shard\":%u,\"checkpoint\":\"%s\",\"updateTime\":0,\"consumer\":\"\"}]",
                 q->shard, s->checkpoint);
        say_text(a, 200, "", body);
    }
}
