/* CPU-seconds per GB (10^9 bytes) of raw logs for the two hot areas, on generated audit logs of
 * about 640 bytes of protobuf and 15 fields each; the corpus is the same in every run.
 *
 *   slsr-bench-format [MEGABYTES [ROUNDS]]     default 64 and 7; the best round counts
 *   slsr-bench-format --write DIR MEGABYTES    the corpus as DIR/NNNN.lz4 with NNNN.json, for
 *                                              sls-sim --payloads and sls-relay --preview-file
 *
 * Rows: "memcpy" of the same bytes (what the machine can do), "memcpy+scan" (and every byte of the
 * copy compared as a formatter must: is it a control, is it not ASCII), "decode" (lz4 and the
 * scanner, every log visited), "decode+format" (the same and a kv frame for each log),
 * "decode+json"; then what is left without the decoder, and its ratio to memcpy+scan. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <lz4.h>

#include "codec/codec.h"
#include "format/format.h"
#include "slsrelay/spool.h"

enum { LOGS_PER_GROUP = 100, PULL_BYTES = 4 << 20 };

struct buffer {
    char *p;
    size_t n, size;
};

struct pull {
    char *packed;
    size_t packed_n, raw_n;
};

static uint32_t random_state = 1;

static uint32_t rnd(uint32_t below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % below;
}

static void put(struct buffer *b, const void *p, size_t n)
{
    while (b->n + n > b->size) {
        b->size = b->size == 0 ? 1 << 16 : b->size * 2;
        b->p = realloc(b->p, b->size);
        if (b->p == NULL)
            abort();
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_varint(struct buffer *b, uint64_t v)
{
    for (; v > 0x7f; v >>= 7)
        put(b, &(uint8_t){(uint8_t)(v | 0x80)}, 1);
    put(b, &(uint8_t){(uint8_t)v}, 1);
}

static void put_bytes(struct buffer *b, uint8_t tag, const char *p, size_t n)
{
    put(b, &tag, 1);
    put_varint(b, n);
    put(b, p, n);
}

static void put_pair(struct buffer *b, uint8_t tag, const char *key, const char *value)
{
    struct buffer pair = {0};
    put_bytes(&pair, 0x0a, key, strlen(key));
    put_bytes(&pair, 0x12, value, strlen(value));
    put_bytes(b, tag, pair.p, pair.n);
    free(pair.p);
}

static void put_field(struct buffer *b, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void put_field(struct buffer *b, const char *key, const char *fmt, ...)
{
    char value[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof(value), fmt, args);
    va_end(args);
    put_pair(b, 0x12, key, value);
}

static void put_log(struct buffer *group, uint32_t time_s)
{
    static const char *const users[] = {"alice", "bob", "system:serviceaccount:kube-system:node",
                                        "deploy-bot", "carol@example.com"};
    static const char *const verbs[] = {"get", "list", "watch", "create", "patch", "delete"};
    static const char *const kinds[] = {"pods", "secrets", "configmaps", "deployments", "events"};
    struct buffer log = {0};
    const char *kind = kinds[rnd(5)];
    put(&log, &(uint8_t){0x08}, 1);
    put_varint(&log, time_s);
    put_field(&log, "auditID", "%08x-%04x-4%03x-%04x-%08x%04x", rnd(1u << 24), rnd(65536),
              rnd(4096), rnd(65536), rnd(1u << 24), rnd(65536));
    put_field(&log, "level", "Metadata");
    put_field(&log, "stage", "ResponseComplete");
    put_field(&log, "verb", "%s", verbs[rnd(6)]);
    put_field(&log, "user", "%s", users[rnd(5)]);
    put_field(&log, "groups", "system:authenticated,team-%u", rnd(40));
    put_field(&log, "sourceIPs", "10.%u.%u.%u", rnd(256), rnd(256), rnd(256));
    put_field(&log, "userAgent", "kubectl/v1.28.%u (linux/amd64) kubernetes/%07x", rnd(12),
              rnd(1u << 24));
    put_field(&log, "requestURI", "/api/v1/namespaces/prod-%u/%s/service-%06x?timeout=%us", rnd(30),
              kind, rnd(1u << 20), rnd(60));
    put_field(&log, "resource", "%s", kind);
    put_field(&log, "namespace", "prod-%u", rnd(30));
    put_field(&log, "name", "service-%06x-%05x", rnd(1u << 20), rnd(1u << 20));
    put_field(&log, "code", "%u", rnd(10) == 0 ? 403 : 200);
    put_field(&log, "latency_us", "%u", rnd(900000));
    put_field(&log, "annotations",
              "{\"authorization.k8s.io/decision\":\"%s\",\"authorization.k8s.io/reason\":\"RBAC: "
              "allowed by RoleBinding \\\"deploy-%u/prod\\\" of Role \\\"editor\\\"\"}",
              rnd(10) == 0 ? "forbid" : "allow", rnd(100));
    put_bytes(group, 0x0a, log.p, log.n);
    free(log.p);
}

static struct pull make_pull(uint32_t *time_s, size_t *logs)
{
    struct buffer list = {0};
    while (list.n < PULL_BYTES) {
        struct buffer group = {0};
        char host[32];
        snprintf(host, sizeof(host), "master-%u.cluster", rnd(5));
        for (int i = 0; i < LOGS_PER_GROUP; i++) {
            *time_s += rnd(50) == 0;
            put_log(&group, *time_s);
        }
        *logs += LOGS_PER_GROUP;
        put_bytes(&group, 0x1a, "k8s-audit", 9);
        put_bytes(&group, 0x22, "10.20.30.40", 11);
        put_pair(&group, 0x32, "__hostname__", host);
        put_pair(&group, 0x32, "__path__", "/var/log/kubernetes/audit.log");
        put_pair(&group, 0x32, "__pack_id__", "5F3A9C01D2B4E677-1A2B");
        put_bytes(&list, 0x0a, group.p, group.n);
        free(group.p);
    }
    struct pull pull = {.raw_n = list.n};
    int bound = LZ4_compressBound((int)list.n);
    pull.packed = malloc((size_t)bound);
    if (pull.packed == NULL)
        abort();
    pull.packed_n = (size_t)LZ4_compress_default(list.p, pull.packed, (int)list.n, bound);
    free(list.p);
    return pull;
}

static double cpu_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void or_die(int rc, const struct slsr_err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "slsr-bench-format: %s\n", err->text);
    exit(1);
}

struct bench {
    struct pull *pulls;
    size_t count;
    struct codec *codec;
    struct format_plan *plan;
    struct slsr_batch batch;
    char *from, *to; /* for memcpy */
    uint64_t sum;    /* keeps the work alive */
    size_t out_bytes;
};

static void copy_all(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++) {
        memcpy(b->to, b->from, b->pulls[i].raw_n);
        b->sum += (uint8_t)b->to[i];
    }
}

/* Plain C; the compiler may use vectors. */
static void scan_all(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++) {
        size_t n = b->pulls[i].raw_n;
        unsigned found = 0;
        memcpy(b->to, b->from, n);
        for (size_t k = 0; k < n; k++)
            found += (uint8_t)(b->to[k] - 0x20) >= 0x5f;
        b->sum += found;
    }
}

#ifdef __SSE2__
/* The same by 16 bytes at a time: what the copy loop of escape.c is made of. */
static void scan_all_wide(struct bench *b)
{
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f);
    for (size_t i = 0; i < b->count; i++) {
        size_t n = b->pulls[i].raw_n & ~(size_t)15;
        memcpy(b->to, b->from, n);
        for (size_t k = 0; k < n; k += 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(b->to + k));
            b->sum += (unsigned)_mm_movemask_epi8(
                _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_cmpeq_epi8(v, del)));
        }
    }
}
#endif

static void walk(struct bench *b, bool format)
{
    struct slsr_err err;
    struct slsr_log log;
    b->out_bytes = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct slsr_bytes body = {b->pulls[i].packed, b->pulls[i].packed_n};
        or_die(codec_begin_quick(b->codec, body, CODEC_LZ4, b->pulls[i].raw_n, NULL, &err), &err);
        slsr_batch_reset(&b->batch);
        strcpy(b->batch.cursor, "MTUyNDE1NTM3OTM3MzkwODQ5Ng==");
        while (codec_next(b->codec, &log)) {
            b->sum += log.field_count;
            if (format)
                or_die(format_log(b->plan, &log, &b->batch, &err), &err);
        }
        or_die(codec_end(b->codec, &err), &err);
        b->out_bytes += b->batch.used;
    }
}

static void decode_all(struct bench *b)
{
    walk(b, false);
}

static void format_all(struct bench *b)
{
    walk(b, true);
}

static double best(struct bench *b, void (*work)(struct bench *), int rounds, double raw_gb)
{
    double least = 1e9;
    for (int i = 0; i < rounds; i++) {
        double start = cpu_s();
        work(b);
        double took = cpu_s() - start;
        if (took < least)
            least = took;
    }
    return least / raw_gb;
}

static void write_file(const char *dir, size_t number, const char *suffix, const char *p, size_t n)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%04zu.%s", dir, number, suffix);
    file = fopen(path, "wb");
    if (file == NULL || fwrite(p, 1, n, file) != n || fclose(file) != 0) {
        fprintf(stderr, "slsr-bench-format: cannot write %s\n", path);
        exit(73);
    }
}

static int write_corpus(const char *dir, long megabytes)
{
    uint32_t time_s = 1767323045;
    size_t raw = 0;
    size_t logs = 0;

    for (size_t i = 0; raw < (size_t)megabytes * 1000000; i++) {
        struct pull pull = make_pull(&time_s, &logs);
        char json[64];
        int n = snprintf(json, sizeof(json), "{\"rawsize\": %zu}\n", pull.raw_n);

        write_file(dir, i, "lz4", pull.packed, pull.packed_n);
        write_file(dir, i, "json", json, (size_t)n);
        raw += pull.raw_n;
        free(pull.packed);
    }
    printf("%zu logs %zu bytes\n", logs, raw);
    return 0;
}

int main(int argc, char **argv)
{
    long megabytes = argc > 1 ? strtol(argv[1], NULL, 10) : 64;
    int rounds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 7;
    struct bench b = {0};
    struct slsr_err err;
    struct slsr_format_config config = {.facility = 1,
                                        .severity = 6,
                                        .hostname = (char *)"relay-1.example.com",
                                        .tag = (char *)"sls",
                                        .max_message_bytes = 65536};
    struct slsr_stream stream = {"bench", "audit", 0};
    size_t raw = 0, logs = 0, packed = 0;
    uint32_t time_s = 1767323045;

    if (argc == 4 && strcmp(argv[1], "--write") == 0 && strtol(argv[3], NULL, 10) > 0)
        return write_corpus(argv[2], strtol(argv[3], NULL, 10));
    if (megabytes < 1 || megabytes > 4096 || rounds < 1) {
        fprintf(stderr, "usage: slsr-bench-format [MEGABYTES [ROUNDS]] | --write DIR MEGABYTES\n");
        return 64;
    }
    b.count = ((size_t)megabytes * 1000000 + PULL_BYTES - 1) / PULL_BYTES;
    b.pulls = calloc(b.count, sizeof(*b.pulls));
    b.from = malloc(2 * PULL_BYTES);
    b.to = malloc(2 * PULL_BYTES);
    if (b.pulls == NULL || b.from == NULL || b.to == NULL)
        abort();
    memset(b.from, 'x', 2 * PULL_BYTES); /* pages of its own, not the one page of zeros */
    memset(b.to, 'x', 2 * PULL_BYTES);
    for (size_t i = 0; i < b.count; i++) {
        b.pulls[i] = make_pull(&time_s, &logs);
        raw += b.pulls[i].raw_n;
        packed += b.pulls[i].packed_n;
    }
    slsr_batch_init(&b.batch);
    or_die(codec_new(&b.codec, &err), &err);
    or_die(format_plan_new(&b.plan, &config, &stream, &err), &err);

    double gb = (double)raw / 1e9;
    printf("%zu logs, %zu bytes of protobuf each, lz4 %.2f\n", logs, raw / logs,
           (double)packed / (double)raw);
    printf("%-16s %s\n", "step", "CPU-s per raw GB");
    printf("%-16s %.3f\n", "memcpy", best(&b, copy_all, rounds, gb));
    double scanned = best(&b, scan_all, rounds, gb);
    printf("%-16s %.3f   (a byte at a time)\n", "memcpy+scan", scanned);
#ifdef __SSE2__
    printf("%-16s %.3f   (16 bytes at a time)\n", "memcpy+scan",
           best(&b, scan_all_wide, rounds, gb));
#endif
    double decoded = best(&b, decode_all, rounds, gb);
    printf("%-16s %.3f\n", "decode", decoded);
    double formatted = best(&b, format_all, rounds, gb);
    printf("%-16s %.3f   (%zu bytes per frame)\n", "decode+format", formatted, b.out_bytes / logs);
    format_plan_free(b.plan);
    config.body = SLSR_BODY_JSON;
    or_die(format_plan_new(&b.plan, &config, &stream, &err), &err);
    double json = best(&b, format_all, rounds, gb);
    printf("%-16s %.3f   (%zu bytes per frame)\n", "decode+json", json, b.out_bytes / logs);
    printf("%-16s %.3f   (%.1f x memcpy+scan)\n", "format kv", formatted - decoded,
           (formatted - decoded) / scanned);
    printf("%-16s %.3f   (%.1f x memcpy+scan)\n", "format json", json - decoded,
           (json - decoded) / scanned);

    for (size_t i = 0; i < b.count; i++)
        free(b.pulls[i].packed);
    free(b.pulls);
    free(b.from);
    free(b.to);
    slsr_batch_fini(&b.batch);
    codec_free(b.codec);
    format_plan_free(b.plan);
    return b.sum == 0; /* never: there are logs */
}
