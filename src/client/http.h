/* One HTTP request, one response (seam): http_curl.c does it with curl, tests script it.
 *
 * An implementation is used by one thread and handles one exchange at a time. */
#ifndef CLIENT_HTTP_H
#define CLIENT_HTTP_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/stop.h"
#include "slsrelay/types.h"

#include "client/client.h"
#include "client/endpoint.h"

struct http_request {
    const char *method;              /* "GET", "POST", "PUT" */
    const char *target;              /* path and encoded query: begins with '/' */
    const struct slsr_pair *headers; /* all to send, Host and Authorization included */
    size_t header_count;
    struct slsr_bytes body; /* n == 0: none */
    int64_t timeout_ms;     /* for the whole exchange */
    size_t limit_bytes;     /* of the answer's body, for status 200 */
    struct slsr_stop *stop; /* abort when it fires; NULL: never */
};

enum { HTTP_HEADERS_MAX = 64 };

/* Everything is the implementation's and lives until its next exchange. */
struct http_response {
    int status;
    struct slsr_pair headers[HTTP_HEADERS_MAX]; /* names in any case; further ones are left out */
    size_t header_count;
    struct slsr_bytes body; /* of an error answer perhaps only the beginning */
};

struct http_vtable {
    /* 0 when an answer with any status came. Else SLSR_ENET (no or half an answer), SLSR_ETOOBIG
     * (over limit_bytes), SLSR_ESTOPPED, SLSR_ENOMEM. Follows no redirect, repeats nothing. */
    int (*exchange)(void *ctx, const struct http_request *request, struct http_response *response,
                    struct slsr_err *err);
    void (*close)(void *ctx); /* NULL: nothing to close */
    void (*trim)(void *ctx);  /* gives the buffer of the last answer back; NULL: has none */
    void (*wipe)(void *ctx);  /* overwrites it: it held a secret; NULL: has none */
};

/* The value of a header by name, case ignored. False when it is absent. Of several, the first. */
bool http_header(const struct http_response *response, const char *name, struct slsr_bytes *value);

/* The way to a service. Borrowed texts, NULL for none. */
struct http_way {
    const char *proxy;    /* http://, https://, socks5:// (we resolve), socks5h:// (it does) */
    const char *no_proxy; /* hosts reached directly: "a.example.com,.example.org,10.0.0.0/8" */
    const char *ca_file;  /* instead of the system's, for the service and an https proxy */
};

/* The curl implementation; connects when first used. Close *ctx with http_curl.close. */
extern const struct http_vtable http_curl;
int http_curl_open(void **ctx, const struct endpoint *endpoint, const struct http_way *way,
                   struct slsr_err *err);

/* client_open with another implementation. The client calls http->close(ctx) when it is closed;
 * when this function fails it does not. */
int client_open_with(struct client **out, const struct slsr_source_config *source,
                     const char *consumer, struct slsr_stop *stop, const struct http_vtable *http,
                     void *ctx, struct slsr_err *err);

#endif
