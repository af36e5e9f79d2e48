/* Reads the answer to a pull: what its headers promise against what came.
 *
 * The next cursor decides what is never read again, so an answer whose parts contradict each other
 * (a size but no body, groups but no size, groups but a cursor that stands still) is refused and
 * asked for once more. Nothing is allocated by a number from outside: the codec gets raw_size only
 * below PULL_RAW_MAX. */
#include <string.h>
#include <strings.h>

#include "client/request.h"

/* The service sends some 10 MiB at most, more for one huge group; this is 25 times that. */
static const uint64_t PULL_RAW_MAX = (uint64_t)256 << 20;

static int refuse(struct slsr_err *err, const char *what)
{
    return slsr_fail(err, SLSR_ESERVER, "the answer makes no sense: %s", what);
}

static bool parse_number(struct slsr_bytes text, uint64_t *number)
{
    uint64_t value = 0;

    if (text.n == 0 || text.n > 18)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.p[i] - '0');
    }
    *number = value;
    return true;
}

/* Two different values of one header cannot both be meant. */
static bool contradictory(const struct http_response *response, const char *name)
{
    const size_t n = strlen(name);
    struct slsr_bytes first;

    if (!http_header(response, name, &first))
        return false;
    for (size_t i = 0; i < response->header_count; i++) {
        const struct slsr_pair *pair = &response->headers[i];

        if (pair->key.n == n && strncasecmp(pair->key.p, name, n) == 0 &&
            !slsr_bytes_equal(pair->value, first))
            return true;
    }
    return false;
}

static int check_headers(const struct http_response *response, struct slsr_err *err)
{
    static const char *const names[] = {"x-log-cursor", "x-log-count", "x-log-bodyrawsize",
                                        "x-log-compresstype"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (contradictory(response, names[i]))
            return slsr_fail(err, SLSR_ESERVER,
                             "the answer makes no sense: it has two different %s headers",
                             names[i]);
    }
    return 0;
}

static int read_position(const struct http_response *response, const char *asked,
                         struct client_pull *pull, struct slsr_err *err)
{
    struct slsr_bytes value;
    uint64_t number;

    if (!http_header(response, "x-log-cursor", &value))
        return refuse(err, "it has no x-log-cursor header");
    if (value.n == 0)
        value = slsr_bytes_of(asked);
    if (!answer_copy_cursor(value, pull->next))
        return refuse(err, "its x-log-cursor is no cursor");
    if (!http_header(response, "x-log-count", &value) || !parse_number(value, &number) ||
        number > UINT32_MAX)
        return refuse(err, "its x-log-count is missing or no number");
    pull->groups = (uint32_t)number;
    pull->cursor_time_s = -1;
    if (http_header(response, "x-log-cursor-time", &value) && parse_number(value, &number))
        pull->cursor_time_s = (int64_t)number;
    return 0;
}

static int read_body(const struct http_response *response, struct client_pull *pull,
                     struct slsr_err *err)
{
    struct slsr_bytes value;
    uint64_t raw = 0;

    pull->lz4 = http_header(response, "x-log-compresstype", &value) && value.n > 0;
    if (pull->lz4 && !(value.n == 3 && strncasecmp(value.p, "lz4", 3) == 0))
        return slsr_fail(err, SLSR_EBADDATA,
                         "the answer is compressed by a method that was not asked for "
                         "(x-log-compresstype is not lz4): check what lies between here and SLS");
    if (http_header(response, "x-log-bodyrawsize", &value)) {
        if (!parse_number(value, &raw))
            return refuse(err, "its x-log-bodyrawsize is no number");
    } else if (pull->lz4 && response->body.n > 0) {
        return refuse(err, "it is compressed and has no x-log-bodyrawsize header");
    } else {
        raw = response->body.n;
    }
    if (raw > PULL_RAW_MAX)
        return slsr_fail(err, SLSR_ETOOBIG,
                         "the answer holds %llu bytes, more than the limit of %llu: lower "
                         "source.max_log_groups",
                         (unsigned long long)raw, (unsigned long long)PULL_RAW_MAX);
    if (raw == 0 && response->body.n > 0)
        return refuse(err, "it has a body but x-log-bodyrawsize says 0");
    if (raw > 0 && response->body.n == 0)
        return refuse(err, "its body is missing");
    if (!pull->lz4 && raw != response->body.n)
        return refuse(err, "its body is not as long as x-log-bodyrawsize says");
    pull->raw_size = (size_t)raw;
    pull->body = response->body;
    pull->scanned_bytes = (int64_t)raw;
    pull->scanned_groups = pull->groups;
    if (http_header(response, "x-log-rawdatasize", &value) && parse_number(value, &raw))
        pull->scanned_bytes = (int64_t)raw;
    if (http_header(response, "x-log-rawdatacount", &value) && parse_number(value, &raw))
        pull->scanned_groups = (int64_t)raw;
    return 0;
}

int pull_read(const struct http_response *response, const char *asked, struct client_pull *pull,
              struct slsr_err *err)
{
    int rc = check_headers(response, err);

    *pull = (struct client_pull){0};
    if (rc == 0)
        rc = read_position(response, asked, pull, err);
    if (rc == 0)
        rc = read_body(response, pull, err);
    if (rc != 0)
        return rc;
    if (pull->groups > 0 && pull->raw_size == 0)
        return refuse(err, "x-log-count is not 0 but there is no body");
    if (pull->groups > 0 && strcmp(pull->next, asked) == 0)
        return refuse(err, "it brings log groups but its cursor does not move");
    return 0;
}
