/* The client over a real loopback connection against a server that misbehaves by script.
 *
 * The server is a thread that reads one request at a time and writes the next answer of its script
 * byte by byte as given: nothing repairs what is broken on purpose. Every error text is searched
 * for the secret and the token (I6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "client/client.h"
#include "client/http.h"

#define SECRET "Very+Secret/Key=0123456789"
#define TOKEN  "CAIS/token+0123456789=="

enum { ANSWERS_MAX = 8, REQUEST_MAX = 8192 };

enum after { KEEP, CLOSE, HANG, DROP, SPEAK_FIRST };

struct answer {
    const char *text;
    enum after after;   /* DROP: close without an answer; HANG: fire stop, then say nothing */
    const char *filler; /* repeated `times` behind text */
    unsigned times;
};

struct server {
    int fd, port;
    pthread_t thread;
    const struct answer *answers;
    size_t count;
    struct slsr_stop *stop;
    /* written by the thread, read after server_end */
    size_t requests, connections;
    char seen[ANSWERS_MAX][REQUEST_MAX];
};

/* Head and body of one request; false at the end of the connection. */
static bool read_request(int fd, char *buffer)
{
    size_t n = 0, need = 0;

    for (;;) {
        const char *end, *length;
        const ssize_t got = recv(fd, buffer + n, REQUEST_MAX - 1 - n, 0);

        if (got <= 0)
            return false;
        n += (size_t)got;
        buffer[n] = '\0';
        end = strstr(buffer, "\r\n\r\n");
        if (end == NULL)
            continue;
        length = strcasestr(buffer, "\r\nContent-Length: ");
        need = (size_t)(end - buffer) + 4 + (length != NULL ? strtoul(length + 18, NULL, 10) : 0);
        if (n >= need)
            return true;
    }
}

static void put(int fd, const char *text)
{
    size_t n = strlen(text);

    while (n > 0) {
        const ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return; /* the client has had enough: part of some tests */
        text += sent;
        n -= (size_t)sent;
    }
}

/* "Content-Length: *" becomes the real one. */
static void put_answer(int fd, const char *text)
{
    const char *star = strstr(text, "Content-Length: *");
    const char *body = strstr(text, "\r\n\r\n");
    char *whole;

    if (star == NULL || body == NULL) {
        put(fd, text);
        return;
    }
    star += strlen("Content-Length: ");
    if (asprintf(&whole, "%.*s%zu%s", (int)(star - text), text, strlen(body + 4), star + 1) > 0) {
        put(fd, whole);
        free(whole);
    }
}

/* False: the connection is to be closed. */
static bool serve_one(struct server *s, int fd)
{
    const struct answer *a = &s->answers[s->requests];

    if (s->requests == s->count)
        return false;
    if (a->after != SPEAK_FIRST && !read_request(fd, s->seen[s->requests]))
        return false;
    s->requests++;
    if (a->after == DROP)
        return false;
    if (a->after == HANG) {
        char byte;

        slsr_stop_request(s->stop);
        recv(fd, &byte, 1, 0); /* until the client has gone */
        return false;
    }
    put_answer(fd, a->text);
    for (unsigned i = 0; i < a->times; i++)
        put(fd, a->filler);
    return a->after == KEEP;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        char rest[4096];

        s->connections++;
        while (serve_one(s, fd))
            ;
        shutdown(fd, SHUT_WR);
        while (recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
            ; /* unread bytes would turn the close into a reset */
        close(fd);
    }
    return NULL;
}

static int listen_loopback(int *port, bool listening)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    if (listening)
        assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* One client against one server with a script. */
struct scene {
    struct server server;
    struct slsr_source_config source;
    struct slsr_stop stop;
    struct client *client;
    struct slsr_err err;
    char endpoint[64];
};

static void begin_as(struct scene *scene, const char *scheme, const struct answer *answers,
                     size_t count)
{
    struct server *s = &scene->server;

    assert_true(count <= ANSWERS_MAX);
    *scene = (struct scene){0};
    assert_int_equal(slsr_stop_init(&scene->stop, NULL), 0);
    s->answers = answers;
    s->count = count;
    s->stop = &scene->stop;
    s->fd = listen_loopback(&s->port, true);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    snprintf(scene->endpoint, sizeof scene->endpoint, "%s://127.0.0.1:%d", scheme, s->port);
    scene->source = (struct slsr_source_config){.endpoint = scene->endpoint,
                                                .project = (char *)"my-project",
                                                .consumer_group = (char *)"cg",
                                                .heartbeat_interval_ms = 20000,
                                                .access_key_id = (char *)"id",
                                                .access_key_secret = (char *)SECRET,
                                                .security_token = (char *)TOKEN};
    if (client_open(&scene->client, &scene->source, "c", &scene->stop, &scene->err) != 0)
        fail_msg("client_open: %s", scene->err.text);
}

static void begin(struct scene *scene, const struct answer *answers, size_t count)
{
    begin_as(scene, "http", answers, count);
}

static void end(struct scene *scene)
{
    client_close(scene->client);
    shutdown(scene->server.fd, SHUT_RDWR);
    pthread_join(scene->server.thread, NULL);
    close(scene->server.fd);
    slsr_stop_fini(&scene->stop);
}

static void expect(const struct scene *scene, int got, int want, const char *words)
{
    if (got != want)
        fail_msg("answer '%.300s': got %d, want %d: %s", scene->server.answers[0].text, got, want,
                 scene->err.text);
    if (want == 0)
        return;
    assert_null(strstr(scene->err.text, SECRET));
    assert_null(strstr(scene->err.text, TOKEN));
    assert_null(strchr(scene->err.text, '\n'));
    if (words != NULL && strstr(scene->err.text, words) == NULL)
        fail_msg("'%s' is not in: %s", words, scene->err.text);
}

static int list(struct scene *scene)
{
    struct client_shard *shards;
    size_t n;
    const int rc = client_list_shards(scene->client, "audit", &shards, &n, &scene->err);

    free(shards);
    return rc;
}

#define OK(body_length, body)                                                                      \
    "HTTP/1.1 200 OK\r\nx-log-requestid: 0123456789ABCDEF01234567\r\nContent-Length: " body_length \
    "\r\n\r\n" body
#define SHARDS OK("*", "[{\"shardID\":0,\"status\":\"readwrite\"}  ]")

#define SAY(bytes, then)                                                                           \
    {                                                                                              \
        .text = bytes, .after = then                                                               \
    }

static void keeps_the_connection(void **state)
{
    const struct answer answers[] = {SAY(SHARDS, KEEP), SAY(SHARDS, DROP), SAY(SHARDS, KEEP)};
    struct scene scene;

    (void)state;
    begin(&scene, answers, 3);
    expect(&scene, list(&scene), 0, NULL);
    /* dropped while idle: curl opens another and asks again */
    expect(&scene, list(&scene), 0, NULL);
    end(&scene);
    assert_int_equal(scene.server.requests, 3);
    assert_int_equal(scene.server.connections, 2);
    assert_non_null(strstr(scene.server.seen[0], "GET /logstores/audit/shards HTTP/1.1\r\n"));
    assert_non_null(strstr(scene.server.seen[0], "\r\nHost: my-project.127.0.0.1:"));
    assert_null(strstr(scene.server.seen[0], "Accept-Encoding"));
    assert_null(strstr(scene.server.seen[0], SECRET));
}

struct trouble {
    const char *answer;
    enum after after;
    const char *filler;
    unsigned times;
    int want;
    const char *words;
};

#define ERROR(status, length, body)                                                                \
    "HTTP/1.1 " status " X\r\nx-log-requestid: ABCDEF\r\nContent-Length: " length "\r\n\r\n" body
#define HTML "<html><h1>Bad Gateway</h1></html>"

static void troubles(void **state)
{
    static const struct trouble cases[] = {
        {OK("100", "[{\"sha"), CLOSE, NULL, 0, SLSR_ENET, "broke before"},
        {"HTTP/1.1 200 OK\r\nContent-Le", CLOSE, NULL, 0, SLSR_ENET, NULL},
        {"", CLOSE, NULL, 0, SLSR_ENET, "127.0.0.1:"},
        {"SSH-2.0-OpenSSH_9.2\r\n", CLOSE, NULL, 0, SLSR_ENET, "source.endpoint"},
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", CLOSE, NULL, 0, SLSR_ENET, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", CLOSE, NULL, 0, SLSR_ENET,
         NULL},
        {"HTTP/1.1 200 OK\r\nx: ", CLOSE, "0123456789abcdef0123456789abcdef\r\nx: ", 8192,
         SLSR_ENET, "header"},
        {OK("*", ""), KEEP, NULL, 0, SLSR_ESERVER, "empty"},
        {OK("*", HTML), KEEP, NULL, 0, SLSR_ESERVER, "0123456789ABCDEF01234567"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]", KEEP, NULL, 0,
         SLSR_ESERVER, "Content-Encoding"},
        {"HTTP/1.1 204 No Content\r\n\r\n", KEEP, NULL, 0, SLSR_ESERVER, "204"},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", KEEP,
         NULL, 0, SLSR_ESERVER, "HTTP 302"},
        {ERROR("502", "*", HTML), KEEP, NULL, 0, SLSR_ESERVER, "HTTP 502"},
        {ERROR("500", "*", ""), KEEP, NULL, 0, SLSR_ESERVER, "list shards audit: HTTP 500"},
        {ERROR("500", "9999999", ""), CLOSE, HTML, 4000, SLSR_ESERVER, "HTTP 500"},
        {ERROR("404", "*", HTML), KEEP, NULL, 0, SLSR_ESERVER, "not an answer of SLS"},
        {ERROR("401", "*", "{\"errorCode\":\"Unauthorized\",\"errorMessage\":\"no\\nway\"}"), KEEP,
         NULL, 0, SLSR_EAUTH, "Unauthorized (HTTP 401, request ABCDEF): no?way: check"},
        {ERROR("401", "*",
               "{\"errorCode\":\"SignatureNotMatch\",\"errorMessage\":\"x-acs-security-token:" TOKEN
               " and " SECRET " and " SECRET "\"}"),
         CLOSE, NULL, 0, SLSR_EAUTH, "*****"},
        {ERROR("404", "*", "{\"errorCode\":\"LogStoreNotExist\",\"errorMessage\":\"none\"}"), KEEP,
         NULL, 0, SLSR_ENOTFOUND, "check source.logstores"},
        {ERROR("403", "*", "{\"errorCode\":\"ReadQuotaExceed\",\"errorMessage\":\"slow\"}"), KEEP,
         NULL, 0, SLSR_EQUOTA, "ReadQuotaExceed"},
        {"HTTP/1.1 500 X\r\nx-log-requestid: " TOKEN "\r\nContent-Length: 0\r\n\r\n", KEEP, NULL, 0,
         SLSR_ESERVER, "request -)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct answer answers[] = {
            {cases[i].answer, cases[i].after, cases[i].filler, cases[i].times}};
        struct scene scene;

        begin(&scene, answers, 1);
        expect(&scene, list(&scene), cases[i].want, cases[i].words);
        end(&scene);
    }
}

#define PULL(headers, length, body)                                                                \
    "HTTP/1.1 200 OK\r\n" headers "Content-Length: " length "\r\n\r\n" body
#define CURSOR "x-log-cursor: MTM=\r\n"
#define COUNT1 "x-log-count: 1\r\n"
#define COUNT0 "x-log-count: 0\r\n"
#define LZ4    "x-log-compresstype: lz4\r\n"

static void wrong_pulls(void **state)
{
    static const struct trouble cases[] = {
        {PULL(COUNT1 "x-log-bodyrawsize: 9\r\n" LZ4, "3", "abc"), KEEP, NULL, 0, SLSR_ESERVER,
         "x-log-cursor"},
        {PULL("x-log-cursor: a b\r\n" COUNT0, "0", ""), KEEP, NULL, 0, SLSR_ESERVER, "no cursor"},
        {PULL(CURSOR "x-log-cursor: MTQ=\r\n" COUNT0, "0", ""), KEEP, NULL, 0, SLSR_ESERVER,
         "two different"},
        {PULL(CURSOR, "0", ""), KEEP, NULL, 0, SLSR_ESERVER, "x-log-count"},
        {PULL(CURSOR "x-log-count: -1\r\n", "0", ""), KEEP, NULL, 0, SLSR_ESERVER, "x-log-count"},
        {PULL(CURSOR COUNT1 LZ4 "x-log-bodyrawsize: 268435457\r\n", "3", "abc"), KEEP, NULL, 0,
         SLSR_ETOOBIG, "max_log_groups"},
        {PULL(CURSOR COUNT1 LZ4 "x-log-bodyrawsize: 99999999999999999999\r\n", "3", "abc"), KEEP,
         NULL, 0, SLSR_ESERVER, "x-log-bodyrawsize"},
        {PULL(CURSOR COUNT1 LZ4 "x-log-bodyrawsize: 1e3\r\n", "3", "abc"), KEEP, NULL, 0,
         SLSR_ESERVER, "x-log-bodyrawsize"},
        {PULL(CURSOR COUNT1 LZ4, "3", "abc"), KEEP, NULL, 0, SLSR_ESERVER, "x-log-bodyrawsize"},
        {PULL(CURSOR COUNT1 "x-log-compresstype: zstd\r\nx-log-bodyrawsize: 9\r\n", "3", "abc"),
         KEEP, NULL, 0, SLSR_EBADDATA, "lz4"},
        {PULL(CURSOR COUNT1 "x-log-bodyrawsize: 4\r\n", "3", "abc"), KEEP, NULL, 0, SLSR_ESERVER,
         "not as long"},
        {PULL(CURSOR COUNT1 LZ4 "x-log-bodyrawsize: 4\r\n", "0", ""), KEEP, NULL, 0, SLSR_ESERVER,
         "body is missing"},
        {PULL(CURSOR COUNT0 LZ4 "x-log-bodyrawsize: 0\r\n", "3", "abc"), KEEP, NULL, 0,
         SLSR_ESERVER, "says 0"},
        {PULL(CURSOR COUNT1 "x-log-bodyrawsize: 0\r\n", "0", ""), KEEP, NULL, 0, SLSR_ESERVER,
         "no body"},
        {PULL("x-log-cursor: MTI=\r\n" COUNT1, "3", "abc"), KEEP, NULL, 0, SLSR_ESERVER,
         "does not move"},
        {PULL(CURSOR COUNT1 LZ4 "x-log-bodyrawsize: 9\r\n", "30", "abc"), CLOSE, NULL, 0, SLSR_ENET,
         "broke"},
        {ERROR("400", "*", "{\"errorCode\":\"ParameterInvalid\",\"errorMessage\":\"x\"}"), KEEP,
         NULL, 0, SLSR_ECURSOR, "on_invalid_cursor"},
        {ERROR("404", "*", "{\"errorCode\":\"ShardNotExist\",\"errorMessage\":\"x\"}"), KEEP, NULL,
         0, SLSR_ELOST, "pull audit/3"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct answer answers[] = {{cases[i].answer, cases[i].after, NULL, 0}};
        struct client_pull pull;
        struct scene scene;

        begin(&scene, answers, 1);
        expect(&scene, client_pull(scene.client, "audit", 3, "MTI=", 100, &pull, &scene.err),
               cases[i].want, cases[i].words);
        assert_null(pull.body.p);
        end(&scene);
    }
}

static void good_pulls(void **state)
{
    const struct answer answers[] = {
        SAY(PULL(CURSOR COUNT1 LZ4 "x-log-bodyrawsize: 9\r\nX-Log-Cursor-Time: 77\r\n", "3",
                 "a\xff"
                 "c"),
            KEEP),
        SAY(PULL("X-Log-Cursor: \r\n" COUNT0 "X-Log-BodyRawSize: 0\r\n", "0", ""), KEEP),
        SAY(PULL(CURSOR COUNT0 "x-log-bodyrawsize: 0\r\n", "0", ""),
            KEEP), /* filtered to nothing */
        SAY("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" CURSOR COUNT1
            "Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
            KEEP)};
    struct client_pull pull;
    struct scene scene;

    (void)state;
    begin(&scene, answers, 4);
    expect(&scene, client_pull(scene.client, "audit", 3, "MTI=", 100, &pull, &scene.err), 0, NULL);
    assert_true(pull.lz4);
    assert_int_equal(pull.body.n, 3);
    assert_memory_equal(pull.body.p,
                        "a\xff"
                        "c",
                        3);
    assert_int_equal(pull.raw_size, 9);
    assert_int_equal(pull.groups, 1);
    assert_int_equal(pull.cursor_time_s, 77);
    assert_string_equal(pull.next, "MTM=");
    expect(&scene, client_pull(scene.client, "audit", 3, "MTI=", 100, &pull, &scene.err), 0, NULL);
    assert_string_equal(pull.next, "MTI=");
    assert_int_equal(pull.body.n, 0);
    assert_int_equal(pull.cursor_time_s, -1);
    expect(&scene, client_pull(scene.client, "audit", 3, "MTI=", 100, &pull, &scene.err), 0, NULL);
    assert_string_equal(pull.next, "MTM=");
    expect(&scene, client_pull(scene.client, "audit", 3, "MTI=", 100, &pull, &scene.err), 0, NULL);
    assert_false(pull.lz4);
    assert_int_equal(pull.raw_size, 3);
    end(&scene);
    assert_int_equal(scene.server.connections, 1);
    assert_non_null(strstr(scene.server.seen[0], "\r\nAccept-Encoding: lz4\r\n"));
    assert_non_null(strstr(scene.server.seen[0], "?type=log&cursor=MTI%3D&count=100 HTTP/1.1"));
}

#define SKEW          "{\"errorCode\":\"RequestTimeTooSkewed\",\"errorMessage\":\"x\"}"
#define SKEW_AT(date) "HTTP/1.1 400 X\r\nDate: " date "\r\nContent-Length: *\r\n\r\n" SKEW

static void clock_is_corrected(void **state)
{
    const struct answer answers[] = {SAY(SKEW_AT("Thu, 02 Jan 2025 03:04:05 GMT"), KEEP),
                                     SAY(SHARDS, KEEP), SAY(SHARDS, KEEP)};
    struct scene scene;

    (void)state;
    clock_freeze((1735787045 + 3600) * INT64_C(1000)); /* an hour ahead */
    begin(&scene, answers, 3);
    expect(&scene, list(&scene), 0, NULL);
    expect(&scene, list(&scene), 0, NULL);
    end(&scene);
    assert_int_equal(scene.server.requests, 3);
    assert_non_null(strstr(scene.server.seen[0], "\r\nDate: Thu, 02 Jan 2025 04:04:05 GMT\r\n"));
    assert_non_null(strstr(scene.server.seen[1], "\r\nDate: Thu, 02 Jan 2025 03:04:05 GMT\r\n"));
    assert_non_null(strstr(scene.server.seen[2], "\r\nDate: Thu, 02 Jan 2025 03:04:05 GMT\r\n"));
}

static void clock_stays_refused(void **state)
{
    const struct answer twice[] = {SAY(SKEW_AT("Thu, 02 Jan 2025 03:04:05 GMT"), KEEP),
                                   SAY(SKEW_AT("Thu, 02 Jan 2025 03:04:05 GMT"), KEEP)};
    const struct answer dateless[] = {SAY(SKEW_AT("soon"), KEEP)};
    struct scene scene;

    (void)state;
    clock_freeze((1735787045 - 1200) * INT64_C(1000));
    begin(&scene, twice, 2);
    expect(&scene, list(&scene), SLSR_ECLOCK, "20 min behind SLS");
    end(&scene);
    assert_int_equal(scene.server.requests, 2);
    begin(&scene, dateless, 1);
    expect(&scene, list(&scene), SLSR_ECLOCK, "set this machine's clock");
    end(&scene);
    assert_int_equal(scene.server.requests, 1);
}

#define EXISTS "{\"errorCode\":\"consumergroupalreadyexist\",\"errorMessage\":\"\"}"
#define FULL   "{\"errorCode\":\"ConsumerGroupQuotaExceed\",\"errorMessage\":\"\"}"
#define GONE   "{\"errorCode\":\"ConsumerGroupNotExist\",\"errorMessage\":\"\"}"

static void group_is_set_when_it_exists(void **state)
{
    const struct answer answers[] = {SAY(OK("*", ""), KEEP), SAY(ERROR("400", "*", EXISTS), KEEP),
                                     SAY(OK("*", ""), KEEP), SAY(ERROR("400", "*", FULL), KEEP),
                                     SAY(ERROR("404", "*", GONE), KEEP)};
    struct scene scene;
    int rc;

    (void)state;
    begin(&scene, answers, 5);
    rc = client_ensure_group(scene.client, "audit", "cg", 60, true, &scene.err);
    expect(&scene, rc, 0, NULL);
    rc = client_ensure_group(scene.client, "audit", "cg", 60, false, &scene.err);
    expect(&scene, rc, 0, NULL);
    rc = client_ensure_group(scene.client, "audit", "cg", 60, false, &scene.err);
    expect(&scene, rc, SLSR_EQUOTA, "delete a consumer group");
    end(&scene);
    assert_non_null(strstr(scene.server.seen[0],
                           "\r\n\r\n{\"consumerGroup\":\"cg\",\"timeout\":60,\"order\":true}"));
    assert_non_null(strstr(scene.server.seen[2], "PUT /logstores/audit/consumergroups/cg HTTP"));
    assert_non_null(strstr(scene.server.seen[2], "\r\n\r\n{\"timeout\":60,\"order\":false}"));
}

static void stop_ends_a_call(void **state)
{
    const struct answer answers[] = {SAY("", HANG), SAY(OK("*", "[4]"), KEEP)};
    struct client_pull pull;
    struct scene scene;
    uint32_t *ids;
    size_t n;

    (void)state;
    begin(&scene, answers, 2);
    expect(&scene, client_pull(scene.client, "audit", 0, "MTI=", 1, &pull, &scene.err),
           SLSR_ESTOPPED, NULL);
    /* reading has ended; handing over in order goes on */
    expect(&scene, list(&scene), SLSR_ESTOPPED, NULL);
    expect(&scene,
           client_heartbeat(scene.client, "audit", "cg", "c", NULL, 0, &ids, &n, &scene.err), 0,
           NULL);
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], 4);
    free(ids);
    end(&scene);
    assert_int_equal(scene.server.requests, 2);
}

static void refused_port(void **state)
{
    struct slsr_source_config source = {.endpoint = (char *)"https://x.example",
                                        .project = (char *)"p",
                                        .access_key_id = (char *)"id",
                                        .access_key_secret = (char *)SECRET};
    const struct answer none = SAY("", CLOSE);
    struct scene scene = {.server.answers = &none};
    char to[64], place[64];
    int port;
    const int fd = listen_loopback(&port, false); /* ours, so nobody listens there */

    (void)state;
    snprintf(to, sizeof to, "127.0.0.1:%d", port);
    snprintf(place, sizeof place, "127.0.0.1:%d: connection refused", port);
    source.connect_to = to;
    assert_int_equal(client_open(&scene.client, &source, NULL, NULL, &scene.err), 0);
    expect(&scene, list(&scene), SLSR_ENET, place);
    client_close(scene.client);
    close(fd);
}

static void tls_against_plain_text(void **state)
{
    const struct answer answers[] = {SAY("220 smtp.example ready\r\n", SPEAK_FIRST)};
    struct scene scene;

    (void)state;
    begin_as(&scene, "https", answers, 1);
    expect(&scene, list(&scene), SLSR_ENET, "TLS: ");
    end(&scene);
}

static void body_limit(void **state)
{
    const struct answer answers[] = {SAY(OK("*", "0123456789a"), KEEP),
                                     SAY(OK("*", "0123456789"), KEEP)};
    const struct slsr_pair host = {slsr_bytes_of("Host"), slsr_bytes_of("x")};
    const struct http_request request = {.method = "GET",
                                         .target = "/a/../b",
                                         .headers = &host,
                                         .header_count = 1,
                                         .timeout_ms = 30000,
                                         .limit_bytes = 10};
    struct http_response response;
    struct endpoint endpoint;
    struct scene scene;
    void *http = NULL;

    (void)state;
    begin(&scene, answers, 2);
    assert_int_equal(endpoint_parse(&endpoint, &scene.source, &scene.err), 0);
    assert_int_equal(
        http_curl_open(&http, &endpoint, &(struct http_way){.proxy = NULL}, &scene.err), 0);
    expect(&scene, http_curl.exchange(http, &request, &response, &scene.err), SLSR_ETOOBIG, "10");
    expect(&scene, http_curl.exchange(http, &request, &response, &scene.err), 0, NULL);
    assert_int_equal(response.body.n, 10);
    http_curl.close(http);
    end(&scene);
    assert_non_null(strstr(scene.server.seen[0], "GET /a/../b HTTP")); /* signed as it is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_connection),
        cmocka_unit_test(troubles),
        cmocka_unit_test(wrong_pulls),
        cmocka_unit_test(good_pulls),
        cmocka_unit_test(clock_is_corrected),
        cmocka_unit_test(clock_stays_refused),
        cmocka_unit_test(stop_ends_a_call),
        cmocka_unit_test(group_is_set_when_it_exists),
        cmocka_unit_test(tls_against_plain_text),
        cmocka_unit_test(refused_port),
        cmocka_unit_test(body_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
