/* One signed call: build, sign, send, judge the answer. Shared by the files of this folder only. */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/stop.h"
#include "slsrelay/types.h"

#include "client/account.h"
#include "client/answer.h"
#include "client/endpoint.h"
#include "client/http.h"
#include "client/sign.h"
#include "client/text.h"

enum {
    REQUEST_ID_SIZE = 65,
    REQUEST_AGENT_SIZE = 2 * SLSR_NAME_MAX + 64,
    REQUEST_QUERY_MAX = 8,
    REQUEST_WHAT_SIZE = 160
};

struct client {
    const struct slsr_source_config *source; /* borrowed */
    struct account *account;                 /* keys and clock, shared */
    struct account_keys *keys;               /* of the last call, NULL before the first */
    int64_t limit_ms;                        /* for every call, 0 none */
    struct slsr_stop *stop;                  /* borrowed, may be NULL */
    struct endpoint endpoint;
    char agent[REQUEST_AGENT_SIZE];
    const struct http_vtable *http;
    void *http_ctx;
    struct sign_result sign; /* memory reused by all requests, as are the next three */
    struct text path;
    struct text body;
    struct text target;
    struct http_response response;
    struct answer_error error;        /* of the last answer that was not 200 */
    char request_id[REQUEST_ID_SIZE]; /* of the last answer, "-" when it had none */
};

struct request {
    char what[REQUEST_WHAT_SIZE]; /* "pull audit/3": begins every error text */
    const char *method;
    struct slsr_pair query[REQUEST_QUERY_MAX]; /* decoded */
    size_t query_count;
    bool pull;
    bool closing; /* sent and finished in spite of stop: it hands things over in order, and has its
                   * own time limit */
    int64_t timeout_ms;
    size_t limit_bytes;
};

void request_query(struct request *r, const char *key, const char *value);
/* Sends method, client->path, query and client->body (none when empty). On 200 returns 0 and the
 * answer is in client->response. When the service refuses our date, once more by its own clock;
 * when it refuses our keys and there are newer ones, once more with those.
 * Everything else: the codes of client.h, the text complete and without secrets. */
int request_run(struct client *c, const struct request *r, struct slsr_err *err);
/* Puts call and request id in front of a sentence about the answer's content. */
int request_wrap(const struct client *c, const struct request *r, int rc, struct slsr_err *err);

/* The pull's answer: headers and body -> *pull (pull.c). asked: the cursor that was asked for. */
int pull_read(const struct http_response *response, const char *asked, struct client_pull *pull,
              struct slsr_err *err);

#endif
