/* Keys from the settings, a file, the metadata service of an ECS instance.
 *
 * A key set is one mapping of its own: kept out of core dumps, overwritten before it goes. The
 * metadata service is asked the hardened way first (a session token by PUT, source: Alibaba Cloud
 * ECS "instance metadata, security hardening mode"); where that is not offered, plainly. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/answer.h"
#include "client/http.h"
#include "client/keys.h"
#include "client/text.h"

#include "base/diag.h"

enum { FILE_MAX = 64 * 1024, ECS_TIMEOUT_MS = 3000, ECS_BODY_MAX = 64 * 1024, ROLE_MAX = 128 };

static const char ecs_path[] = "/latest/meta-data/ram/security-credentials/";

static bool fits_header(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= 0x20 || *text >= 0x7f)
            return false;
    }
    return true;
}

int keys_make(struct account_keys **out, const char *id, const char *secret, const char *token,
              int64_t expires_s, struct slsr_err *err)
{
    const size_t id_n = strlen(id) + 1, secret_n = strlen(secret) + 1, token_n = strlen(token) + 1;
    const size_t size = sizeof(struct account_keys) + id_n + secret_n + token_n;
    struct account_keys *keys;
    char *at;

    *out = NULL;
    if (!fits_header(id) || !fits_header(token))
        return slsr_fail(err, SLSR_ECONFIG,
                         "source.access_key_id or source.security_token holds a blank, a line end "
                         "or another character that no key has: copy it again");
    keys = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (keys == MAP_FAILED)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for keys");
    (void)madvise(keys, size, MADV_DONTDUMP); /* no core dump holds them, where the kernel can */
    (void)mlock(keys, size);                  /* nor the swap space, where we may */
    at = (char *)(keys + 1);
    keys->users = 1;
    keys->size = size;
    keys->expires_s = expires_s;
    keys->id = memcpy(at, id, id_n);
    keys->secret = memcpy(at + id_n, secret, secret_n);
    keys->token = memcpy(at + id_n + secret_n, token, token_n);
    *out = keys;
    return 0;
}

void account_drop(struct account_keys *keys)
{
    size_t size;

    if (keys == NULL || --keys->users > 0)
        return;
    size = keys->size;
    explicit_bzero(keys, size);
    munmap(keys, size);
}

/* JSON text -> keys; the text is overwritten by the caller. */
static int keys_from_json(struct account_keys **out, struct slsr_bytes text, struct slsr_err *err)
{
    struct answer_keys *found = calloc(1, sizeof *found);
    int rc;

    if (found == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for keys");
    rc = answer_keys(text, found, err);
    if (rc == 0)
        rc = keys_make(out, found->id, found->secret, found->token, found->expires_s, err);
    explicit_bzero(found, sizeof *found);
    free(found);
    return rc == SLSR_ECONFIG || rc == SLSR_ESERVER ? (err->code = SLSR_EAUTH) : rc;
}

static int read_file(const char *file, char *text, size_t *n, struct stat *seen)
{
    const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int failed = 0;

    *n = 0;
    *seen = (struct stat){0};
    if (fd < 0)
        return errno;
    if (fstat(fd, seen) != 0)
        failed = errno;
    else if (!S_ISREG(seen->st_mode))
        failed = EINVAL;
    while (failed == 0 && *n < FILE_MAX) {
        const ssize_t got = read(fd, text + *n, FILE_MAX - *n);

        if (got == 0)
            break;
        if (got > 0)
            *n += (size_t)got;
        else if (errno != EINTR)
            failed = errno;
    }
    close(fd);
    return failed == 0 && *n >= FILE_MAX ? EFBIG : failed;
}

int keys_from_file(struct account_keys **out, const char *file, struct stat *seen,
                   struct slsr_err *err)
{
    char *text = malloc(FILE_MAX);
    size_t n;
    int failed;
    int rc;

    *out = NULL;
    if (text == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for a credentials file");
    failed = read_file(file, text, &n, seen);
    if (failed != 0)
        rc = slsr_fail(err, SLSR_EAUTH, "source.credentials_file %s cannot be read: %s", file,
                       failed == EINVAL ? "it is not an ordinary file" : strerror(failed));
    else
        rc = slsr_wrap(err, keys_from_json(out, (struct slsr_bytes){text, n}, err),
                       "source.credentials_file %s", file);
    explicit_bzero(text, FILE_MAX);
    free(text);
    if (rc == 0 && (seen->st_mode & S_IROTH) != 0)
        diag(SLSR_LOG_WARNING, "client",
             "source.credentials_file %s can be read by every user: chmod o-r it", file);
    return rc;
}

/* A conversation with the metadata service. */
struct ecs {
    void *http;
    struct endpoint endpoint;
    struct slsr_stop *stop;
    struct http_response response;
};

static int ask(struct ecs *e, const char *method, const char *path, const struct slsr_pair *extra,
               struct slsr_err *err)
{
    struct slsr_pair headers[] = {{slsr_bytes_of("Host"), slsr_bytes_of(e->endpoint.host)},
                                  extra != NULL ? *extra : (struct slsr_pair){{0}, {0}}};
    const struct http_request request = {.method = method,
                                         .target = path,
                                         .headers = headers,
                                         .header_count = extra != NULL ? 2 : 1,
                                         .timeout_ms = ECS_TIMEOUT_MS,
                                         .limit_bytes = ECS_BODY_MAX,
                                         .stop = e->stop};

    return http_curl.exchange(e->http, &request, &e->response, err);
}

static int ecs_open(struct ecs *e, const char *service, struct slsr_err *err)
{
    const char *host = strstr(service, "://");
    size_t n;

    host = host != NULL ? host + 3 : service;
    n = strcspn(host, "/");
    snprintf(e->endpoint.host, sizeof e->endpoint.host, "%.*s", (int)n, host);
    snprintf(e->endpoint.place, sizeof e->endpoint.place, "metadata service %.*s", (int)n, host);
    snprintf(e->endpoint.url, sizeof e->endpoint.url, "http://%.*s", (int)n, host);
    return http_curl_open(&e->http, &e->endpoint, &(struct http_way){.proxy = NULL}, err);
}

/* Body of the last answer as one line. */
static bool line(const struct ecs *e, char *out, size_t size)
{
    struct slsr_bytes body = e->response.body;

    while (body.n > 0 && strchr(" \t\r\n", body.p[body.n - 1]) != NULL)
        body.n--;
    if (body.n == 0 || body.n >= size)
        return false;
    memcpy(out, body.p, body.n);
    out[body.n] = '\0';
    return fits_header(out);
}

static int ecs_keys(struct ecs *e, const char *role, struct account_keys **out,
                    struct slsr_err *err)
{
    const struct slsr_pair ttl = {slsr_bytes_of("X-aliyun-ecs-metadata-token-ttl-seconds"),
                                  slsr_bytes_of("300")};
    struct slsr_pair session = {slsr_bytes_of("X-aliyun-ecs-metadata-token"), {0}};
    char token[1024], name[ROLE_MAX + 1], path[sizeof ecs_path + ROLE_MAX];
    int rc = ask(e, "PUT", "/latest/api/token", &ttl, err);

    if (rc != 0)
        return rc;
    if (e->response.status == 200 && line(e, token, sizeof token))
        session.value = slsr_bytes_of(token);
    snprintf(name, sizeof name, "%s", role);
    if (strcmp(role, "auto") == 0) {
        rc = ask(e, "GET", ecs_path, session.value.n > 0 ? &session : NULL, err);
        if (rc != 0)
            return rc;
        if (e->response.status != 200 || !line(e, name, sizeof name))
            return slsr_fail(err, SLSR_EAUTH,
                             "this instance has no RAM role (HTTP %d): attach one or name "
                             "other credentials",
                             e->response.status);
    }
    snprintf(path, sizeof path, "%s%s", ecs_path, name);
    rc = ask(e, "GET", path, session.value.n > 0 ? &session : NULL, err);
    if (rc != 0)
        return rc;
    if (e->response.status != 200)
        return slsr_fail(err, SLSR_EAUTH,
                         "no credentials for role %s (HTTP %d): check source.ecs_ram_role", name,
                         e->response.status);
    return keys_from_json(out, e->response.body, err);
}

int keys_from_ecs(struct account_keys **out, const char *service, const char *role,
                  struct slsr_stop *stop, struct slsr_err *err)
{
    struct ecs e = {.stop = stop};
    int rc = ecs_open(&e, service, err);

    *out = NULL;
    if (rc != 0)
        return rc;
    rc = ecs_keys(&e, role, out, err);
    http_curl.wipe(e.http); /* the answer held the keys */
    http_curl.close(e.http);
    if (rc == SLSR_ENET || rc == SLSR_ETOOBIG)
        err->code = rc = SLSR_EAUTH; /* what it means: there are no keys */
    return slsr_wrap(err, rc, "%s", e.endpoint.place);
}
