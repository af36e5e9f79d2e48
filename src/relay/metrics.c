/* The HTTP endpoint: /metrics, /healthz, /readyz, /status, /history and the page.
 *
 * Read-only and small: GET and HEAD alone, no request body, at most CONNECTIONS at a time, each
 * closed after IDLE_S of silence. When KEPT are open, the one whose last request is the oldest
 * makes room for a newcomer: those who open many, or never finish a request, push out each other.
 * A request that means somebody else by its Host header is refused: a page that a browser got
 * elsewhere must not read ours (host.c).
 * Names and counts go out, never a frame and never a secret (I6). One thread of libmicrohttpd
 * answers; a slow disk makes it slow, not the stages. */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/metrics.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/json.h"

enum {
    CONNECTIONS = 64,
    KEPT = 48,              /* fewer: a newcomer is always let in */
    BODY_BYTES = 64 * 1024, /* of a request: nobody needs one, some send one */
    IDLE_S = 15,
    MEMORY_BYTES = 32 * 1024, /* per connection: a request line and its headers */
    ADDRESS_BYTES = 256,
    CURVE_POINTS = 360
};

/* Who is connected. */
struct peer {
    struct MHD_Connection *connection; /* NULL: free */
    int fd;
    int64_t asked_ms; /* last request, else the beginning */
};

struct metrics {
    const struct watch *watch;
    struct MHD_Daemon *daemon;
    struct peer peers[CONNECTIONS]; /* touched by the server's thread alone */
};

static const char csp[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

/* Takes body. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type,
                              char *body, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result rc;

    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy", csp);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    rc = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned code, const char *text)
{
    char *body = NULL;
    const int n = asprintf(&body, "%s\n", text);

    return n < 0 ? MHD_NO : answer(connection, code, "text/plain; charset=utf-8", body, (size_t)n);
}

static int status_write(FILE *out, const struct watch *watch, struct slsr_err *err)
{
    struct slsr_status status;
    const int rc = slsr_status_read(&status, watch->spool, err);

    if (rc == 0)
        slsr_status_write(out, &status, false);
    slsr_status_free(&status);
    return rc;
}

/* The samples behind the curves: {"points":[[time_ms,spooled,delivered,backlog,needed,lag_s]..]} */
static int history_write(FILE *out, const struct watch *watch, struct slsr_err *err)
{
    struct history_point *points = calloc(CURVE_POINTS, sizeof *points);
    size_t count;

    if (points == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the history");
    count = history_read(watch->history, points, CURVE_POINTS);
    fputs("{\"columns\":[\"time_ms\",\"spooled\",\"delivered\",\"backlog\",\"needed_ratio\","
          "\"lag_s\"],\"points\":[",
          out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s\n[%lld,%llu,%llu,%llu,", i == 0 ? "" : ",", (long long)points[i].time_ms,
                (unsigned long long)points[i].spooled, (unsigned long long)points[i].delivered,
                (unsigned long long)points[i].backlog);
        json_put_real(out, points[i].needed);
        fprintf(out, ",%d]", (int)points[i].lag_s);
    }
    fputs("]}\n", out);
    free(points);
    return 0;
}

static const struct document {
    const char *path, *type;
    int (*write)(FILE *out, const struct watch *watch, struct slsr_err *err);
} documents[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", exposition_write},
    {"/status", "application/json", status_write},
    {"/history", "application/json", history_write},
    {"/", "text/html; charset=utf-8", page_write},
};

static enum MHD_Result send_document(struct MHD_Connection *connection, const struct watch *watch,
                                     const struct document *document)
{
    struct slsr_err err = {0};
    char *body = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&body, &size);
    int rc;

    if (out == NULL)
        return MHD_NO;
    rc = document->write(out, watch, &err);
    if (fclose(out) != 0 && rc == 0)
        rc = slsr_fail(&err, SLSR_ENOMEM, "out of memory");
    if (rc == 0)
        return answer(connection, MHD_HTTP_OK, document->type, body, size);
    free(body);
    return say(connection, MHD_HTTP_SERVICE_UNAVAILABLE, err.text);
}

/* The peer of a connection; NULL: a free place. */
static struct peer *find_peer(struct metrics *metrics, const struct MHD_Connection *connection)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (metrics->peers[i].connection == connection)
            return &metrics->peers[i];
    return NULL;
}

static void make_room(struct metrics *metrics)
{
    struct peer *oldest = NULL;
    size_t open = 0;

    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct peer *peer = &metrics->peers[i];

        if (peer->connection == NULL)
            continue;
        open++;
        if (oldest == NULL || peer->asked_ms < oldest->asked_ms)
            oldest = peer;
    }
    if (open < KEPT)
        return;
    shutdown(oldest->fd, SHUT_RDWR); /* the server sees its end, and closes it */
    oldest->asked_ms = INT64_MAX;    /* once */
}

/* No path of ours holds a %: taken as it is, none can hide a NUL or a slash. */
static size_t as_it_is(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct metrics *metrics = cls;
    const union MHD_ConnectionInfo *info;
    struct peer *peer;

    (void)context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        peer = find_peer(metrics, connection);
        if (peer != NULL)
            *peer = (struct peer){0};
        return;
    }
    make_room(metrics);
    peer = find_peer(metrics, NULL);
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (peer != NULL && info != NULL)
        *peer = (struct peer){connection, info->connect_fd, clock_mono_ms()};
}

/* Lets a request come to its end: only then its sender reads our answer, and the connection can be
 * used again (microhttpd closes it behind an answer that comes sooner). True: not yet there. */
static bool swallow(size_t *size, void **context, enum MHD_Result *rc)
{
    const uintptr_t seen = (uintptr_t)*context; /* 1 + the bytes of its body */

    *rc = MHD_YES;
    if (seen != 0 && *size == 0)
        return false;
    if (seen + *size > BODY_BYTES)
        *rc = MHD_NO; /* it goes on and on: closed */
    *context = (void *)((seen == 0 ? 1 : seen) + *size);
    *size = 0;
    return true;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **context)
{
    struct metrics *metrics = cls;
    struct peer *peer = find_peer(metrics, connection);
    enum MHD_Result rc;
    char why[400];

    (void)version;
    (void)data;
    if (peer != NULL && peer->asked_ms != INT64_MAX)
        peer->asked_ms = clock_mono_ms();
    if (swallow(data_size, context, &rc))
        return rc;
    if (!host_is_ours(
            MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST),
            metrics->watch->config))
        return say(connection, MHD_HTTP_MISDIRECTED_REQUEST,
                   "the name in Host is not one of this endpoint: use an address or localhost, or "
                   "add it to metrics.allowed_hosts");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                   "only GET and HEAD: this is to look at");
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        if (strcmp(url, documents[i].path) == 0)
            return send_document(connection, metrics->watch, &documents[i]);
    if (strcmp(url, "/healthz") == 0)
        return say(connection,
                   watch_alive(metrics->watch, why, sizeof why) ? MHD_HTTP_OK
                                                                : MHD_HTTP_SERVICE_UNAVAILABLE,
                   why);
    if (strcmp(url, "/readyz") == 0)
        return say(connection,
                   watch_ready(metrics->watch, why, sizeof why) ? MHD_HTTP_OK
                                                                : MHD_HTTP_SERVICE_UNAVAILABLE,
                   why);
    return say(connection, MHD_HTTP_NOT_FOUND,
               "there are /, /metrics, /healthz, /readyz, /status and /history");
}

/* "host:port" or "port" into two texts; "" host is loopback. */
static bool split(const char *listen, char host[ADDRESS_BYTES], char port[8])
{
    const char *colon = strrchr(listen, ':');
    const char *digits = colon == NULL ? listen : colon + 1;
    size_t n = colon == NULL ? 0 : (size_t)(colon - listen);

    if (n >= ADDRESS_BYTES || strlen(digits) > 5 || *digits == '\0' ||
        strspn(digits, "0123456789") != strlen(digits))
        return false;
    if (n > 2 && listen[0] == '[' && listen[n - 1] == ']') {
        listen++;
        n -= 2;
    }
    memcpy(host, listen, n);
    host[n] = '\0';
    if (n == 0)
        snprintf(host, ADDRESS_BYTES, "127.0.0.1");
    snprintf(port, 8, "%s", digits);
    return true;
}

static int open_socket(const char *listen_on, int *out, struct slsr_err *err)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char host[ADDRESS_BYTES];
    char port[8];
    const int on = 1;
    int fd = -1;
    int failed = 0;

    if (!split(listen_on, host, port))
        return slsr_fail(err, SLSR_ECONFIG, "%s must be HOST:PORT", listen_on);
    failed = getaddrinfo(host, port, &hints, &list);
    if (failed != 0)
        return slsr_fail(err, SLSR_ECONFIG, "%s: %s", listen_on, gai_strerror(failed));
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, CONNECTIONS) == 0)
            break;
        failed = errno;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0)
        return slsr_fail(err, failed == EADDRINUSE ? SLSR_EBUSY : SLSR_ECREATE,
                         "cannot listen on metrics.listen %s: %s: choose another address or port",
                         listen_on, strerror(failed));
    *out = fd;
    return 0;
}

static void say_where(int fd)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof addr;
    char host[ADDRESS_BYTES];
    char port[8];

    if (getsockname(fd, (struct sockaddr *)&addr, &size) == 0 &&
        getnameinfo((struct sockaddr *)&addr, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        diag(SLSR_LOG_NOTICE, "metrics",
             addr.ss_family == AF_INET6 ? "listening on http://[%s]:%s/"
                                        : "listening on http://%s:%s/",
             host, port);
}

int metrics_start(struct metrics **out, const struct watch *watch, struct slsr_err *err)
{
    struct metrics *metrics;
    int fd = -1;
    int rc;

    *out = NULL;
    if (watch->config->metrics_listen == NULL)
        return 0;
    rc = open_socket(watch->config->metrics_listen, &fd, err);
    if (rc != 0)
        return rc;
    metrics = calloc(1, sizeof *metrics);
    if (metrics != NULL) {
        metrics->watch = watch;
        metrics->daemon = MHD_start_daemon(
            MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request, metrics,
            MHD_OPTION_NOTIFY_CONNECTION, on_connection, metrics, MHD_OPTION_UNESCAPE_CALLBACK,
            as_it_is, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES, MHD_OPTION_END);
    }
    if (metrics == NULL || metrics->daemon == NULL) {
        free(metrics);
        close(fd);
        return slsr_fail(err, SLSR_ENOMEM, "cannot start the metrics endpoint");
    }
    say_where(fd);
    *out = metrics;
    return 0;
}

void metrics_stop(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    MHD_stop_daemon(metrics->daemon); /* closes the socket, joins its thread */
    free(metrics);
}

void metrics_libraries(char *out, size_t size)
{
    snprintf(out, size, "libmicrohttpd %s", MHD_get_version());
}
