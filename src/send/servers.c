/* Failover and fail-back.
 *
 * Good path: the first server, for ever. When an attempt to connect to it fails, the next one is
 * tried; a connection that merely broke is tried again first. While another one is used, a
 * connection without frames to the first one is kept; once it has stood for failback_after, the
 * owner lets everything settle and goes back: nothing is sent twice for that.
 * What can go wrong: the first one comes and goes; then its connection never gets old enough. */
#include "send/servers.h"

#include <stdlib.h>
#include <string.h>

enum { PROBE_RETRY_MS = 10000, PROBE_RETRY_MIN_MS = 200 };

int servers_count(const struct slsr_target_config *target)
{
    return 1 + (int)target->server_count;
}

/* "host:port" or "[::1]:port"; the configuration has checked it. */
static int split(struct slsr_target_config *to, const char *text, struct slsr_err *err)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;

    if (n == 0 || (to->port = atoi(colon + 1)) < 1)
        return slsr_fail(err, SLSR_ECONFIG, "target %s: server %s is not host:port", to->name,
                         text);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        n -= 2;
    }
    to->host = strndup(text, n);
    return to->host != NULL ? 0 : slsr_fail(err, SLSR_ENOMEM, "no memory for %s", text);
}

int servers_init(struct servers *s, const struct slsr_target_config *target, int first,
                 struct slsr_err *err)
{
    int n = servers_count(target), rc = 0;

    memset(s, 0, sizeof *s);
    s->list = calloc((size_t)n, sizeof *s->list);
    if (s->list == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for %d servers", n);
    for (int i = 0; i < n && rc == 0; i++) {
        int k = (first + i) % n;

        s->list[i] = *target;
        s->list[i].host = NULL;
        s->count++;
        if (k > 0)
            rc = split(&s->list[i], target->servers[k - 1], err);
        else if (target->host != NULL && (s->list[i].host = strdup(target->host)) == NULL)
            rc = slsr_fail(err, SLSR_ENOMEM, "no memory for %s", target->host);
    }
    return rc;
}

static void drop_probe(struct servers *s)
{
    transport_close(s->probe);
    s->probe = NULL;
    s->probe_ms = 0;
    s->back = false;
}

void servers_fini(struct servers *s)
{
    drop_probe(s);
    for (int i = 0; i < s->count; i++)
        free(s->list[i].host);
    free(s->list);
    s->list = NULL;
    s->count = 0;
}

const struct slsr_target_config *servers_now(const struct servers *s)
{
    return &s->list[s->now];
}

bool servers_failed(struct servers *s, bool was_up, int64_t now_ms)
{
    bool first_fine = s->probe_ms != 0;

    if (s->count == 1 || (was_up && !first_fine))
        return false;
    /* The first one answers already: no need to look any further. */
    s->now = first_fine ? 0 : (s->now + 1) % s->count;
    drop_probe(s);
    s->retry_ms = now_ms + PROBE_RETRY_MIN_MS;
    return true;
}

static void probe_failed(struct servers *s, int64_t now_ms)
{
    int64_t pause = s->list[0].failback_after_ms;

    drop_probe(s);
    pause = pause > PROBE_RETRY_MS       ? PROBE_RETRY_MS
            : pause < PROBE_RETRY_MIN_MS ? PROBE_RETRY_MIN_MS
                                         : pause;
    s->retry_ms = now_ms + pause;
}

void servers_turn(struct servers *s, int64_t now_ms)
{
    struct slsr_err ignored;
    int rc = 0;

    if (s->now == 0 || (s->probe == NULL && now_ms < s->retry_ms))
        return;
    if (s->probe == NULL) {
        rc = transport_open(&s->probe, &s->list[0], 1, &ignored);
        if (rc == 0)
            rc = transport_start(s->probe, now_ms, &ignored);
    }
    if (rc == 0)
        rc = transport_turn(s->probe, now_ms, &ignored);
    if (rc != 0) {
        probe_failed(s, now_ms);
        return;
    }
    if (transport_phase(s->probe) != SLSR_PHASE_UP)
        return;
    if (s->probe_ms == 0)
        s->probe_ms = now_ms;
    s->back = now_ms - s->probe_ms >= s->list[0].failback_after_ms;
}

void servers_go_back(struct servers *s)
{
    drop_probe(s);
    s->now = 0;
}

int servers_poll(const struct servers *s, struct pollfd fds[TRANSPORT_POLL_MAX])
{
    return s->probe != NULL ? transport_poll(s->probe, fds) : 0;
}

int64_t servers_due_ms(const struct servers *s, int64_t now_ms)
{
    int64_t due, own;

    if (s->now == 0)
        return -1;
    if (s->probe == NULL)
        return s->retry_ms > now_ms ? s->retry_ms - now_ms : 0;
    own = transport_due_ms(s->probe, now_ms);
    if (s->probe_ms == 0 || s->back)
        return own;
    due = s->probe_ms + s->list[0].failback_after_ms - now_ms;
    due = due > 0 ? due : 0;
    return own >= 0 && own < due ? own : due;
}
