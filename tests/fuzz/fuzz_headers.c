/* Headers of the service's answers: lines "name: value" up to an empty one, then the body, as the
 * answer to a pull. The first byte chooses the status. What is read must keep its promises: sizes
 * within limits, cursors fit, sentences clean, and neither key is in them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "client/client.h"
#include "client/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int statuses[] = {200, 200, 200, 200, 400, 401, 403, 404, 429, 500, 503, 302};

static char endpoint[] = "http://127.0.0.1:1";
static char region[] = "cn-hangzhou";
static char project[] = "demo";
static char group[] = "siem";
static char id[] = "id";
static char key[] = "hidden-key";
static char token[] = "hidden-token";

static struct http_response scripted;

static void must(int holds)
{
    if (!holds)
        abort();
}

static int exchange(void *ctx, const struct http_request *request, struct http_response *response,
                    struct slsr_err *err)
{
    (void)ctx;
    (void)request;
    (void)err;
    *response = scripted;
    return 0;
}

static const struct http_vtable script = {.exchange = exchange};

static struct slsr_bytes cut(const char *from, const char *to)
{
    return (struct slsr_bytes){.p = from, .n = (size_t)(to - from)};
}

/* Fills `scripted`; its texts lie in data. */
static void read_script(const char *at, const char *end)
{
    const size_t kinds = sizeof statuses / sizeof statuses[0];

    memset(&scripted, 0, sizeof scripted);
    scripted.status = statuses[(unsigned char)*at++ % kinds];
    while (at < end && *at != '\n') {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        const char *stop = line != NULL ? line : end;
        const char *colon = memchr(at, ':', (size_t)(stop - at));

        if (colon != NULL && scripted.header_count < HTTP_HEADERS_MAX) {
            struct slsr_pair *pair = &scripted.headers[scripted.header_count++];

            pair->key = cut(at, colon);
            pair->value = cut(colon + 1 < stop && colon[1] == ' ' ? colon + 2 : colon + 1, stop);
        }
        at = line != NULL ? line + 1 : end;
    }
    if (at < end)
        scripted.body = cut(at + 1, end);
}

static void check_pull(struct client *client)
{
    struct client_pull pull;
    struct slsr_err err = {0};
    const int rc = client_pull(client, "audit", 0, "MTA=", 100, &pull, &err);

    must(memchr(err.text, '\0', sizeof err.text) != NULL);
    must(strstr(err.text, "hidden-key") == NULL && strstr(err.text, "hidden-token") == NULL);
    for (const char *p = err.text; *p != '\0'; p++)
        must((unsigned char)*p >= 0x20);
    if (rc != 0) {
        must(rc < 0 && err.text[0] != '\0');
        return;
    }
    must(scripted.status == 200);
    must(pull.raw_size <= 1024u * 1024u * 1024u);
    must(pull.scanned_bytes >= 0 && pull.scanned_groups >= 0 && pull.cursor_time_s >= -1);
    must(pull.next[0] != '\0' && strnlen(pull.next, sizeof pull.next) <= SLSR_CURSOR_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slsr_source_config source = {.endpoint = endpoint,
                                              .region = region,
                                              .project = project,
                                              .consumer_group = group,
                                              .access_key_id = id,
                                              .access_key_secret = key,
                                              .security_token = token,
                                              .max_log_groups = 100,
                                              .heartbeat_interval_ms = 20000};
    /* A wrong date is worth a warning each time; here it comes a million times. */
    const struct slsr_log_config quiet = {.level = SLSR_LOG_ERROR};
    struct slsr_err err = {0};
    struct client *client;
    static bool hushed;

    if (size < 2)
        return 0;
    if (!hushed)
        must(diag_open(&quiet, "fuzz-headers", NULL) == 0);
    hushed = true;
    read_script((const char *)data, (const char *)data + size);
    must(client_open_with(&client, &source, NULL, NULL, &script, NULL, &err) == 0);
    check_pull(client);
    client_close(client);
    return 0;
}
