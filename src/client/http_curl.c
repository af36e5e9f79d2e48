/* HTTP by curl: one easy handle, one connection kept alive, run by a multi handle so that a wait is
 * on the socket and on the stop token at once.
 *
 * TLS is always verified, redirects are never followed, the proxy is the configured one or none
 * (the environment does not count: a daemon's connections should not hang on a shell's settings).
 * Whatever goes wrong below HTTP becomes SLSR_ENET with host, port, cause and advice. The body goes
 * into one buffer that is reused; over the request's limit the exchange ends. Of an error answer
 * only the first bytes are kept: a proxy's page may be long, the status has said it all. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "client/answer.h"
#include "client/client.h"
#include "client/http.h"
#include "client/text.h"

#include "base/clock.h"
#include "base/progress.h"
#include "base/warm.h"

enum {
    CONNECT_TIMEOUT_MS = 10000,
    LOOK_MS = 10000,
    LOW_SPEED_TIME_S = 30, /* a peer that went silent without closing */
    IDLE_S = 50,           /* below the 55 s after which other clients drop connections */
    BELIEVED_BYTES_MAX = 16 * 1024 * 1024, /* of a told length: no memory for an empty promise */
    RECEIVE_BYTES = 128 * 1024,            /* at once: an eighth of the calls of curl's own 16 KB */
    /* curl allocates it for each request, and malloc tidies up whenever 64 KB are freed: after a
     * short answer a small one */
    RECEIVE_SMALL_BYTES = 16 * 1024,
    ERROR_BODY_MAX = 64 * 1024,    /* enough for any errorMessage */
    HEADER_BYTES_MAX = 128 * 1024, /* all header lines of one answer */
    LINES_MAX = 32                 /* header lines of one request: it has some ten */
};

struct curl_http {
    CURL *easy;
    CURLM *multi;
    struct curl_slist *connect_to;
    struct endpoint endpoint;
    char problem[CURL_ERROR_SIZE];
    bool direct; /* no proxy that wants to read the whole URL */
    /* what a request needs; used again, so that a question allocates nothing here */
    struct text url;
    char *lines;
    size_t lines_size;
    struct curl_slist list[LINES_MAX];
    /* the buffer for bodies, reused */
    char *body;
    size_t body_n, body_size;
    bool large;          /* the last answer to a pull was, or none has come yet */
    size_t limit;        /* for this exchange */
    size_t header_bytes; /* so far in this exchange */
    bool head_done;      /* the blank line behind the header has come */
    bool too_big;        /* over limit */
    bool cut;            /* an error body was cut: not a failure */
    bool no_memory;
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_rc;

static void global_init(void)
{
    global_rc = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* The whole of an answer that tells its length at once; of others, twice as much. */
static bool grow(struct curl_http *h, size_t need)
{
    curl_off_t told = -1;
    size_t want = 2 * h->body_size;
    size_t size;
    char *p;

    if (need <= h->body_size)
        return true;
    curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &told);
    if (told > 0 && told <= BELIEVED_BYTES_MAX && want < (size_t)told)
        want = (size_t)told;
    p = warm_take(want > need ? want : need, &size);
    if (p == NULL)
        return false;
    if (h->body_n > 0)
        memcpy(p, h->body, h->body_n);
    warm_give(h->body, h->body_size);
    h->body = p;
    h->body_size = size;
    return true;
}

/* Returning less than it got makes curl end the transfer with CURLE_WRITE_ERROR. */
static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct curl_http *h = user;
    const size_t n = size * count;
    long status = 0;

    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && n > ERROR_BODY_MAX - h->body_n) {
        h->cut = true;
        return 0;
    }
    if (status == 200 && n > h->limit - h->body_n) {
        h->too_big = true;
        return 0;
    }
    if (!grow(h, h->body_n + n)) {
        h->no_memory = true;
        return 0;
    }
    if (n > 0)
        memcpy(h->body + h->body_n, bytes, n);
    h->body_n += n;
    return n;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *user)
{
    struct curl_http *h = user;

    /* curl takes a connection that ends within the header for an answer without a body: only the
     * blank line tells that no header line is missing or cut. */
    if (size * count >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        h->head_done = false; /* "100 Continue" or a proxy's answer stood in front */
    else if (size * count > 0 && (bytes[0] == '\r' || bytes[0] == '\n'))
        h->head_done = true;
    h->header_bytes += size * count;
    return h->header_bytes <= HEADER_BYTES_MAX ? size * count : 0;
}

static void close_curl(void *ctx)
{
    struct curl_http *h = ctx;

    if (h == NULL)
        return;
    curl_easy_cleanup(h->easy);
    if (h->multi != NULL)
        curl_multi_cleanup(h->multi);
    curl_slist_free_all(h->connect_to);
    text_fini(&h->url);
    free(h->lines);
    warm_give(h->body, h->body_size);
    free(h);
}

static void set_fixed_options(struct curl_http *h, const struct http_way *way)
{
    CURL *e = h->easy;

    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->problem);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L); /* the path is signed: send it as it is */
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (way->ca_file != NULL && way->ca_file[0] != '\0') {
        curl_easy_setopt(e, CURLOPT_CAINFO, way->ca_file);
        curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, way->ca_file);
        /* Instead of the system's: without this its folder would be trusted, too. */
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(e, CURLOPT_PROXY_CAPATH, NULL);
        /* Read at each connection: curl would go on with what it read a day ago. */
        curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    }
    curl_easy_setopt(e, CURLOPT_PROXY, way->proxy != NULL ? way->proxy : "");
    curl_easy_setopt(e, CURLOPT_NOPROXY, way->no_proxy != NULL ? way->no_proxy : "");
    curl_easy_setopt(e, CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)LOW_SPEED_TIME_S);
    /* Do not join a resolver thread that hangs: our time limits hold for it too. */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, h);
    if (h->connect_to != NULL)
        curl_easy_setopt(e, CURLOPT_CONNECT_TO, h->connect_to);
}

int http_curl_open(void **ctx, const struct endpoint *endpoint, const struct http_way *way,
                   struct slsr_err *err)
{
    struct curl_http *h;
    struct text to = {0};

    pthread_once(&global_once, global_init);
    if (global_rc != CURLE_OK)
        return slsr_fail(err, SLSR_ENOMEM, "cannot start libcurl: %s",
                         curl_easy_strerror(global_rc));
    h = calloc(1, sizeof *h);
    if (h == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for an HTTP connection");
    h->endpoint = *endpoint;
    h->large = true;
    h->direct = way->proxy == NULL || way->proxy[0] == '\0';
    h->easy = curl_easy_init();
    h->multi = curl_multi_init();
    if (endpoint->connect_to[0] != '\0') {
        text_addf(&to, "::%s", endpoint->connect_to); /* for any host and port */
        if (!to.failed)
            h->connect_to = curl_slist_append(NULL, to.p);
    }
    text_fini(&to);
    if (h->easy == NULL || h->multi == NULL ||
        (endpoint->connect_to[0] != '\0' && h->connect_to == NULL)) {
        close_curl(h);
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for an HTTP connection");
    }
    set_fixed_options(h, way);
    *ctx = h;
    return 0;
}

/* Writes the header lines one after the other and links them: *list is what curl reads. They are
 * wiped after the exchange, so nothing is to be copied when their memory grows. */
static bool list_headers(struct curl_http *h, const struct http_request *request,
                         struct curl_slist **list)
{
    size_t need = 0;
    char *p;

    *list = NULL;
    if (request->header_count > LINES_MAX)
        return false;
    for (size_t i = 0; i < request->header_count; i++)
        need += request->headers[i].key.n + request->headers[i].value.n + sizeof ": ";
    if (need > h->lines_size) {
        free(h->lines);
        h->lines = malloc(need);
        h->lines_size = h->lines != NULL ? need : 0;
    }
    if (need > h->lines_size)
        return false;
    p = h->lines;
    for (size_t i = request->header_count; i-- > 0;) {
        const struct slsr_pair *pair = &request->headers[i];

        h->list[i] = (struct curl_slist){.data = p, .next = *list};
        *list = &h->list[i];
        memcpy(p, pair->key.p, pair->key.n);
        p += pair->key.n;
        memcpy(p, ": ", 2);
        p += 2;
        memcpy(p, pair->value.p, pair->value.n);
        p += pair->value.n;
        *p++ = '\0';
    }
    return true;
}

/* Without a proxy the URL stays the same and the target goes as it is: a URL is taken apart and
 * put together again by curl, letter by letter, at each request. */
static bool set_target(struct curl_http *h, const struct http_request *request)
{
    text_reset(&h->url);
    text_addz(&h->url, h->endpoint.url);
    text_addz(&h->url, h->direct ? "/" : request->target);
    return !h->url.failed && curl_easy_setopt(h->easy, CURLOPT_URL, h->url.p) == CURLE_OK &&
           (!h->direct ||
            curl_easy_setopt(h->easy, CURLOPT_REQUEST_TARGET, request->target) == CURLE_OK);
}

static void set_request(struct curl_http *h, const struct http_request *request,
                        struct curl_slist *headers)
{
    CURL *e = h->easy;
    const bool large = h->large && request->limit_bytes > BELIEVED_BYTES_MAX;
    const long connect_ms =
        request->timeout_ms < CONNECT_TIMEOUT_MS ? (long)request->timeout_ms : CONNECT_TIMEOUT_MS;

    curl_easy_setopt(e, CURLOPT_BUFFERSIZE,
                     large ? (long)RECEIVE_BYTES : (long)RECEIVE_SMALL_BYTES);
    h->body_n = 0;
    h->header_bytes = 0;
    h->head_done = h->too_big = h->cut = h->no_memory = false;
    h->limit = request->limit_bytes;
    h->problem[0] = '\0';
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    if (strcmp(request->method, "GET") == 0) {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, NULL);
    } else {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.n);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, request->body.n > 0 ? request->body.p : "");
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

/* Drives the transfer until it ends or stop fires (*stopped). */
static CURLcode drive(struct curl_http *h, struct slsr_stop *stop, bool *stopped)
{
    struct curl_waitfd wait = {.fd = stop != NULL ? stop->fd : -1, .events = CURL_WAIT_POLLIN};
    int running = 1, left;
    CURLMsg *message;

    *stopped = false;
    for (;;) {
        if (curl_multi_perform(h->multi, &running) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
        if (running == 0)
            break;
        if (slsr_stop_requested(stop)) {
            *stopped = true;
            return CURLE_ABORTED_BY_CALLBACK;
        }
        /* curl shortens the wait to its own next deadline */
        progress_wait(clock_mono_ms() + LOOK_MS);
        if (curl_multi_poll(h->multi, &wait, stop != NULL ? 1 : 0, LOOK_MS, NULL) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
        progress_mark();
    }
    while ((message = curl_multi_info_read(h->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            return message->data.result;
    }
    return CURLE_RECV_ERROR;
}

static int timed_out(struct curl_http *h, const struct http_request *request, struct slsr_err *err)
{
    curl_off_t connected_us = 0;

    curl_easy_getinfo(h->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    if (connected_us == 0)
        return slsr_fail(err, SLSR_ENET,
                         "%s: cannot connect in time: check source.endpoint, routes and firewall",
                         h->endpoint.place);
    return slsr_fail(err, SLSR_ENET,
                     "%s: no complete answer within %lld s, or silence for %d s: the relay tries "
                     "again; check the line if this stays",
                     h->endpoint.place, (long long)(request->timeout_ms / 1000), LOW_SPEED_TIME_S);
}

static int connect_failed(struct curl_http *h, struct slsr_err *err)
{
    long number = 0;

    curl_easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &number);
    if (number == ECONNREFUSED)
        return slsr_fail(err, SLSR_ENET,
                         "%s: connection refused: check host and port in source.endpoint, and "
                         "source.proxy",
                         h->endpoint.place);
    if (number != 0)
        return slsr_fail_errno(err, SLSR_ENET, (int)number,
                               "%s: cannot connect (check source.endpoint, routes and firewall)",
                               h->endpoint.place);
    return slsr_fail(err, SLSR_ENET,
                     "%s: cannot connect: check source.endpoint, source.proxy, routes and firewall",
                     h->endpoint.place);
}

static int transfer_failed(struct curl_http *h, const struct http_request *request, CURLcode code,
                           struct slsr_err *err)
{
    const char *place = h->endpoint.place;

    answer_clean(h->problem);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return slsr_fail(err, SLSR_ENET,
                         "%s: cannot resolve the host name: check source.endpoint, source.project "
                         "and DNS",
                         place);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return slsr_fail(err, SLSR_ENET, "%s: cannot resolve the proxy: check source.proxy", place);
    case CURLE_COULDNT_CONNECT:
        return connect_failed(h, err);
    case CURLE_OPERATION_TIMEDOUT:
        return timed_out(h, request, err);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CIPHER:
        return slsr_fail(err, SLSR_ENET,
                         "%s: TLS: %.200s: check source.endpoint and source.ca_file", place,
                         h->problem[0] != '\0' ? h->problem : curl_easy_strerror(code));
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return slsr_fail(err, SLSR_ENET,
                         "%s: the connection broke before the answer was complete (%s): the relay "
                         "tries again",
                         place, curl_easy_strerror(code));
    case CURLE_OUT_OF_MEMORY:
        return slsr_fail(err, SLSR_ENOMEM, "%s: out of memory during a request", place);
    default:
        return slsr_fail(err, SLSR_ENET, "%s: %s: check source.endpoint and source.proxy", place,
                         curl_easy_strerror(code));
    }
}

/* Header values as curl keeps them may end in blanks, an empty one even in its line end. */
static struct slsr_bytes trimmed(const char *value)
{
    struct slsr_bytes v = slsr_bytes_of(value + strspn(value, " \t\r\n"));

    while (v.n > 0 && strchr(" \t\r\n", v.p[v.n - 1]) != NULL)
        v.n--;
    return v;
}

static void fill(struct curl_http *h, struct http_response *response)
{
    struct curl_header *header = NULL;
    long status = 0;

    *response = (struct http_response){0};
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    response->status = (int)status;
    response->body = (struct slsr_bytes){h->body, h->body_n};
    while (response->header_count < HTTP_HEADERS_MAX &&
           (header = curl_easy_nextheader(h->easy, CURLH_HEADER, -1, header)) != NULL) {
        response->headers[response->header_count].key = slsr_bytes_of(header->name);
        response->headers[response->header_count].value = trimmed(header->value);
        response->header_count++;
    }
}

static int finish(struct curl_http *h, const struct http_request *request, CURLcode code,
                  struct http_response *response, struct slsr_err *err)
{
    if (code != CURLE_OK && h->too_big)
        return slsr_fail(err, SLSR_ETOOBIG,
                         "%s: the answer is longer than the limit of %zu bytes: a pull "
                         "brings less with a lower source.max_log_groups",
                         h->endpoint.place, h->limit);
    if (code != CURLE_OK && h->no_memory)
        return slsr_fail(err, SLSR_ENOMEM, "%s: out of memory for an answer", h->endpoint.place);
    if (code != CURLE_OK && h->header_bytes > HEADER_BYTES_MAX)
        return slsr_fail(err, SLSR_ENET,
                         "%s: the answer's header is longer than %d bytes: check source.endpoint",
                         h->endpoint.place, HEADER_BYTES_MAX);
    if (code != CURLE_OK && !h->cut)
        return transfer_failed(h, request, code, err);
    if (!h->head_done)
        return transfer_failed(h, request, CURLE_PARTIAL_FILE, err);
    fill(h, response);
    return 0;
}

static int exchange(void *ctx, const struct http_request *request, struct http_response *response,
                    struct slsr_err *err)
{
    struct curl_http *h = ctx;
    struct curl_slist *headers;
    bool stopped;
    CURLcode code;
    int rc;

    if (!list_headers(h, request, &headers) || !set_target(h, request)) {
        rc = slsr_fail(err, SLSR_ENOMEM, "%s: out of memory for a request", h->endpoint.place);
        goto out;
    }
    set_request(h, request, headers);
    if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK) {
        rc = slsr_fail(err, SLSR_ENOMEM, "%s: out of memory for a request", h->endpoint.place);
        goto out;
    }
    code = drive(h, request->stop, &stopped);
    curl_multi_remove_handle(h->multi, h->easy);
    if (request->limit_bytes > BELIEVED_BYTES_MAX)
        h->large = h->body_n > RECEIVE_SMALL_BYTES;
    if (stopped)
        rc = slsr_fail(err, SLSR_ESTOPPED, "%s: stopped during a request", h->endpoint.place);
    else
        rc = finish(h, request, code, response, err);
out:
    curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, NULL);
    if (h->lines != NULL)
        explicit_bzero(h->lines, h->lines_size); /* the security token was among them */
    return rc;
}

static void wipe_curl(void *ctx)
{
    struct curl_http *h = ctx;

    if (h->body != NULL)
        explicit_bzero(h->body, h->body_size);
}

static void trim_curl(void *ctx)
{
    struct curl_http *h = ctx;

    warm_give(h->body, h->body_size);
    h->body = NULL;
    h->body_n = h->body_size = 0;
}

const struct http_vtable http_curl = {
    .exchange = exchange, .close = close_curl, .trim = trim_curl, .wipe = wipe_curl};

bool http_header(const struct http_response *response, const char *name, struct slsr_bytes *value)
{
    const size_t n = strlen(name);

    for (size_t i = 0; i < response->header_count; i++) {
        const struct slsr_pair *pair = &response->headers[i];

        if (pair->key.n == n && strncasecmp(pair->key.p, name, n) == 0) {
            *value = pair->value;
            return true;
        }
    }
    return false;
}

void client_libraries(char *out, size_t size)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

    snprintf(out, size, "libcurl %s (%s)", info->version,
             info->ssl_version != NULL ? info->ssl_version : "no TLS");
}
