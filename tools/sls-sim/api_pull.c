/* Pulls: which groups go out, through which filter, in which compression. The groups are collected
 * under the store's lock, compressed without it. */
#include <string.h>

#include "sim.h"
#include "spl.h"
#include "text.h"

enum { PULL_SCAN_MAX = 64 << 20 };

/* What one pull has read and what goes out. */
struct pulled {
    size_t groups; /* out */
    uint64_t logs;
    size_t raw_n;
    size_t scanned; /* in */
    size_t scanned_n;
    uint64_t scanned_logs;
    bool filtered;
};

struct range {
    uint64_t cursor; /* asked for */
    size_t first;    /* index of the group at the cursor */
    size_t limit;    /* index behind the last one that may go out */
};

static int read_range(struct shard *sh, const struct request *r, struct range *range,
                      struct answer *a)
{
    const char *count_text = request_param(r, "count");
    const char *end_text = request_param(r, "end_cursor");
    uint64_t count = PULL_GROUPS_MAX;
    uint64_t end = shard_end(sh);

    if (count_text != NULL && (!text_number(count_text, PULL_GROUPS_MAX, &count) || count == 0))
        return answer_error(a, 400, "ParameterInvalid", "Invalid loggroup count, (0,1000]");
    if (api_cursor(sh, request_param(r, "cursor"), &range->cursor, a) != 0)
        return -1;
    if (end_text != NULL && *end_text != '\0' && !cursor_decode(end_text, &end))
        return answer_error(a, 400, "InvalidCursor", "this end cursor is invalid");
    if (end > shard_end(sh))
        end = shard_end(sh);
    range->first = (size_t)(range->cursor - sh->base);
    range->limit = end <= range->cursor ? range->first : (size_t)(end - sh->base);
    if (range->limit - range->first > count)
        range->limit = range->first + (size_t)count;
    return 0;
}

static const struct ready *find_ready(const struct shard *sh, const struct range *range)
{
    size_t low = 0;
    size_t high = sh->ready_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sh->ready[middle].first < range->first)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < sh->ready_count && sh->ready[low].first == range->first &&
        sh->ready[low].count <= range->limit - range->first)
        return &sh->ready[low];
    return NULL;
}

static void pull_headers(struct shard *sh, const struct range *range, const struct pulled *p,
                         struct answer *a)
{
    char text[CURSOR_TEXT_MAX];
    uint64_t next = range->cursor + p->scanned;

    cursor_encode(next, text);
    answer_header(a, "x-log-cursor", "%s", text);
    answer_header(a, "x-log-count", "%zu", p->groups);
    answer_header(a, "x-log-bodyrawsize", "%zu", p->raw_n);
    answer_header(a, "x-log-cursor-time", "%lld", (long long)api_time_at(sh, next));
    if (p->scanned != 0)
        answer_header(a, "x-log-read-last-cursor", "%llu", (unsigned long long)(next - 1));
    answer_header(a, "x-log-end-of-cursor", "%d", next == shard_end(sh) ? 1 : 0);
    if (p->filtered) {
        answer_header(a, "x-log-rawdatasize", "%zu", p->scanned_n);
        answer_header(a, "x-log-rawdatacount", "%zu", p->scanned);
        answer_header(a, "x-log-rawdatalines", "%llu", (unsigned long long)p->scanned_logs);
        answer_header(a, "x-log-resultlines", "%llu", (unsigned long long)p->logs);
        answer_header(a, "x-log-failedlines", "0");
    }
    a->type = "application/x-protobuf";
    sh->pulls++;
    sh->pulled_groups += p->groups;
    sh->pulled_logs += p->logs;
    sh->pulled_bytes += p->raw_n;
}

/* Which of its compressions the client gets; NULL: none. */
static const char *choose_compression(const struct request *r)
{
    static const char *const known[] = {"lz4", "zstd", "deflate", "gzip"};
    const char *accept = request_header(r, "accept-encoding");

    for (size_t i = 0; accept != NULL && i < sizeof known / sizeof *known; i++) {
        if (strstr(accept, known[i]) != NULL)
            return i == 3 ? "deflate" : known[i];
    }
    return NULL;
}

/* The bytes of a group; a promised one is made into `made`, which they borrow. */
static struct span read_group(struct shard *sh, struct log_group *g, struct buf *made)
{
    if (g->data != NULL)
        return (struct span){g->data, g->n};
    made->n = 0;
    feed_make(&g->recipe, g->logs, made);
    if (g->n == 0)
        sh->bytes += made->n;
    g->n = (uint32_t)made->n;
    return (struct span){(const uint8_t *)made->p, made->n};
}

static bool fits(const struct pulled *p, const struct buf *raw, size_t n)
{
    /* What goes out is limited, and so is what one pull reads. */
    return p->scanned == 0 || (raw->n + n <= PULL_RAW_MAX && p->scanned_n + n <= PULL_SCAN_MAX);
}

static void collect(struct shard *sh, const struct range *range, const struct spl *spl,
                    struct buf *raw, struct pulled *p)
{
    struct buf made = {0};

    for (size_t i = range->first; i < range->limit && fits(p, raw, sh->groups[i].n); i++) {
        struct span g = read_group(sh, &sh->groups[i], &made);
        uint32_t passed = sh->groups[i].logs;

        if (!fits(p, raw, g.n))
            break;
        if (spl == NULL)
            wire_bytes(raw, 1, g.p, g.n);
        else
            passed = spl_filter(spl, g, raw, &(uint32_t){0});
        p->groups += passed != 0 || spl == NULL;
        p->logs += passed;
        p->scanned++;
        p->scanned_n += g.n;
        p->scanned_logs += sh->groups[i].logs;
    }
    buf_fini(&made);
    p->raw_n = raw->n;
}

/* The filter of a pull. *spl stays NULL when there is none. */
static int read_query(const struct request *r, struct spl **spl, struct answer *a)
{
    const char *query = request_param(r, "query");
    const char *mode = request_param(r, "pullMode");
    const char *processor = request_param(r, "processor");
    char why[128];

    if (processor != NULL && *processor != '\0')
        return answer_error(a, 400, "ParameterInvalid", "processor %.64s does not exist",
                            processor);
    if (query == NULL || *query == '\0')
        return 0;
    if (mode == NULL || strcmp(mode, "scan_on_stream") != 0)
        return answer_error(a, 400, "ParameterInvalid", "a query needs pullMode=scan_on_stream");
    *spl = spl_parse(query, why);
    if (*spl == NULL)
        return answer_error(a, 400, "ParameterInvalid", "query not supported by sls-sim: %s", why);
    return 0;
}

static int check_quota(struct sim *sim, struct shard *sh, struct answer *a)
{
    const struct quota *quota = &sim->store.quota;
    int64_t now_ms = sim_clock_ms(sim);

    if (!bucket_take(&sh->reads, quota->reads, 1, now_ms) ||
        !bucket_take(&sh->read_bytes, quota->read_bytes, 0, now_ms))
        return answer_error(a, 403, "ShardReadQuotaExceed", "shard read quota exceed: shard %u",
                            sh->id);
    return 0;
}

int api_pull(struct sim *sim, struct logstore *ls, const struct request *r, struct pull *pull,
             struct answer *a)
{
    const char *type = request_param(r, "type");
    struct shard *sh = api_shard(ls, r, a);
    struct pulled p = {0};
    struct spl *spl = NULL;
    const struct ready *ready;
    struct range range;

    if (sh == NULL)
        return -1;
    if (type == NULL || (strcmp(type, "log") != 0 && strcmp(type, "logs") != 0))
        return answer_error(a, 400, "ParameterInvalid", "type is cursor, cursor_time or log");
    if (read_range(sh, r, &range, a) != 0 || check_quota(sim, sh, a) != 0 ||
        read_query(r, &spl, a) != 0)
        return -1;
    pull->method = choose_compression(r);
    ready = spl == NULL && pull->method != NULL && strcmp(pull->method, "lz4") == 0
                ? find_ready(sh, &range)
                : NULL;
    if (ready != NULL) {
        a->fixed = ready->packed;
        a->fixed_n = ready->packed_n;
        p = (struct pulled){ready->count, ready->logs, ready->raw_n, ready->count,
                            ready->raw_n, ready->logs, false};
    } else {
        p.filtered = spl != NULL;
        collect(sh, &range, spl, &pull->raw, &p);
        pull->groups = p.groups;
    }
    spl_free(spl);
    pull_headers(sh, &range, &p, a);
    bucket_take(&sh->read_bytes, sim->store.quota.read_bytes, p.scanned_n, sim_clock_ms(sim));
    if (ready != NULL)
        answer_header(a, "x-log-compresstype", "lz4");
    return 0;
}

void api_pull_pack(struct pull *pull, struct answer *a)
{
    struct span raw = {(const uint8_t *)pull->raw.p, pull->raw.n};

    if (pull->method != NULL && wire_pack(pull->method, raw, &a->body)) {
        answer_header(a, "x-log-compresstype", "%s", pull->method);
    } else {
        a->body = pull->raw;
        pull->raw = (struct buf){0};
    }
}
