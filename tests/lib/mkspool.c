/* Makes or extends a spool for tests: generated frames over some shards, at chosen times.
 *
 *   mkspool DIR FRAMES SHARDS FIRST_EVENT_TIME_S STEP_MS [hostile] [targets] [lz4] [batch=N]
 * [size=N] [full=BYTES]
 *
 * Frame k (from 0, in this run) belongs to shard k / 10 % SHARDS (runs of ten, or of `batch`: one
 * batch each), has the event time FIRST + k * STEP and the text "<13>1 ... msg k". "hostile": every
 * seventh frame carries ESC, LF and a byte that is no UTF-8. "targets": registers "siem" (half
 * taken, a cause) and "archive" (all taken). "size": pads messages to so many bytes (with words, so
 * that they neither compress to nothing nor look alike), and gives the frames provenance. "lz4":
 * chunks are compressed, as a relay does. "full": at so many bytes the oldest frames go. Prints
 * "FIRST_SEQ NEXT_SEQ". */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "slsrelay/spool.h"

enum { FRAME_MAX = 4096 };

struct plan {
    uint64_t frames;
    uint32_t shards;
    int64_t first_ms, step_ms;
    bool hostile, targets;
    size_t batch, size;
};

static void fail(const struct slsr_err *err)
{
    fprintf(stderr, "mkspool: %s\n", err->text);
    exit(1);
}

/* The cursor of a number: base64 of its digits, as the service writes them. */
static void cursor_of(uint64_t number, char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[24];
    size_t n = (size_t)snprintf(text, sizeof(text), "%" PRIu64, number + 100);

    for (size_t i = 0; i < n; i += 3) {
        uint32_t three = 0;
        for (size_t j = 0; j < 3; j++)
            three = three << 8 | (i + j < n ? (unsigned char)text[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            *out++ = i + j > n ? '=' : letters[three >> (18 - 6 * j) & 63];
    }
    *out = '\0';
}

/* A message of plan->size bytes, as an audit log looks: pairs with numbers that differ. */
static int pad(char *out, size_t size, const char *stamp, const struct plan *plan, size_t at,
               uint64_t k)
{
    static const char *const verbs[] = {"GET", "PUT", "POST", "DELETE", "LIST", "HEAD"};
    uint64_t mix = k * UINT64_C(0x9E3779B97F4A7C15);
    char cursor[64];

    cursor_of(k / plan->batch * plan->batch + at / 5, cursor);
    int n = snprintf(out, size,
                     "<13>1 %s.000Z host app - - [slsRelay@32473 project=\"project-a\" "
                     "logstore=\"audit\" shard=\"%u\" cursor=\"%s\" index=\"%zu\"] n=%" PRIu64,
                     stamp, (unsigned)(k / plan->batch % plan->shards), cursor, at % 5, k);

    while (n > 0 && (size_t)n < plan->size && (size_t)n + 64 < size) {
        mix ^= mix >> 29;
        mix *= UINT64_C(0xBF58476D1CE4E5B9);
        n += snprintf(out + n, size - (size_t)n, "||verb=%s||user=u%03u||status=%u", verbs[mix % 6],
                      (unsigned)(mix >> 20) % 1000, 200 + (unsigned)(mix >> 40) % 300);
    }
    return n;
}

/* Appends "LEN MSG" and its meta to the batch; the fixture's sizes are known to fit. */
static void add_frame(struct slsr_batch *batch, const struct plan *plan, uint64_t k)
{
    char message[FRAME_MAX];
    int64_t ms = plan->first_ms + (int64_t)k * plan->step_ms;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char stamp[32];
    struct slsr_frame_meta *meta = &batch->meta[batch->frame_count];

    gmtime_r(&seconds, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(message, sizeof(message), "<13>1 %s.%03dZ host app - - - msg %" PRIu64 "%s",
                     stamp, (int)(ms % 1000), k,
                     plan->hostile && k % 7 == 0 ? " \x1b[31mred\nline \xff end" : " \xc3\xa9");
    if (plan->size > 0)
        n = pad(message, sizeof(message), stamp, plan, batch->frame_count, k);
    batch->used += (size_t)snprintf(batch->data + batch->used, 16, "%d ", n);
    memcpy(batch->data + batch->used, message, (size_t)n);
    batch->used += (size_t)n;
    *meta = (struct slsr_frame_meta){.end = (uint32_t)batch->used,
                                     .group = (uint32_t)(batch->frame_count / 5),
                                     .index = (uint32_t)(batch->frame_count % 5),
                                     .time_s = (uint32_t)seconds,
                                     .time_ns = (uint32_t)(ms % 1000) * 1000000U};
    batch->frame_count++;
}

static void append_all(struct slsr_spool *spool, const struct plan *plan, uint64_t *first)
{
    struct slsr_batch batch;
    struct slsr_err err = {0};

    slsr_batch_init(&batch);
    batch.size = plan->batch * (FRAME_MAX + 16);
    batch.meta_size = plan->batch;
    batch.data = malloc(batch.size);
    batch.meta = malloc(plan->batch * sizeof(*batch.meta));
    if (batch.data == NULL || batch.meta == NULL)
        exit(1);
    for (uint64_t k = 0; k < plan->frames;) {
        struct slsr_checkpoint checkpoint = {
            .stream = {"project-a", "audit", (uint32_t)(k / plan->batch % plan->shards)}};
        uint64_t seq = 0;
        slsr_batch_reset(&batch);
        strcpy(batch.cursor, "MTAw"); /* base64 of "100" */
        if (plan->size > 0)
            cursor_of(k / plan->batch * plan->batch, batch.cursor);
        strcpy(checkpoint.cursor, "MTAy");
        uint64_t start = k;
        for (; k < plan->frames && k < start + plan->batch; k++)
            add_frame(&batch, plan, k);
        if (slsr_spool_append(spool, &batch, &checkpoint, &seq, &err) != 0)
            fail(&err);
        if (start == 0)
            *first = seq;
    }
    slsr_batch_fini(&batch);
}

static void register_targets(struct slsr_spool *spool, uint64_t oldest, uint64_t next)
{
    struct slsr_target_state state;
    struct slsr_err err = {0};

    if (slsr_spool_target_add(spool, "siem", &state, &err) != 0)
        fail(&err);
    state.acked = oldest + (next - oldest) / 2;
    state.phase = SLSR_PHASE_BACKOFF;
    strcpy(state.error, "connection refused, 192.0.2.1:514: \x1b[2Jstart the receiver");
    if (slsr_spool_ack(spool, &state, &err) != 0)
        fail(&err);
    if (slsr_spool_target_add(spool, "archive", &state, &err) != 0)
        fail(&err);
    state.acked = next;
    state.phase = SLSR_PHASE_UP;
    if (slsr_spool_ack(spool, &state, &err) != 0)
        fail(&err);
}

int main(int argc, char **argv)
{
    struct slsr_spool_config config = {.max_size_bytes = INT64_C(1) << 40,
                                       .retention_time_ms = INT64_C(86400000),
                                       .retention_size_bytes = INT64_C(1) << 39};
    struct plan plan = {.batch = 10};
    struct slsr_spool *spool = NULL;
    struct slsr_err err = {0};
    uint64_t first = 0;
    uint64_t oldest;
    uint64_t next;

    if (argc < 6) {
        fputs("usage: mkspool DIR FRAMES SHARDS FIRST_S STEP_MS [hostile] [targets] [lz4]\n",
              stderr);
        return 64;
    }
    config.path = argv[1];
    plan.frames = strtoull(argv[2], NULL, 10);
    plan.shards = (uint32_t)strtoul(argv[3], NULL, 10);
    plan.first_ms = strtoll(argv[4], NULL, 10) * 1000;
    plan.step_ms = strtoll(argv[5], NULL, 10);
    for (int i = 6; i < argc; i++) {
        plan.hostile |= strcmp(argv[i], "hostile") == 0;
        plan.targets |= strcmp(argv[i], "targets") == 0;
        if (strcmp(argv[i], "lz4") == 0)
            config.compression = SLSR_COMPRESSION_LZ4;
        if (strncmp(argv[i], "batch=", 6) == 0)
            plan.batch = strtoul(argv[i] + 6, NULL, 10);
        if (strncmp(argv[i], "size=", 5) == 0)
            plan.size = strtoul(argv[i] + 5, NULL, 10);
        if (strncmp(argv[i], "full=", 5) == 0) {
            config.max_size_bytes = strtoll(argv[i] + 5, NULL, 10);
            config.when_full = SLSR_FULL_DROP_OLDEST;
        }
    }
    if (plan.shards == 0 || plan.batch == 0 || plan.size > FRAME_MAX - 128)
        return 64;
    if (slsr_spool_open(&spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        fail(&err);
    append_all(spool, &plan, &first);
    if (slsr_spool_bounds(spool, &oldest, &next, &err) != 0)
        fail(&err);
    if (plan.targets)
        register_targets(spool, oldest, next);
    printf("%" PRIu64 " %" PRIu64 "\n", first, next);
    slsr_spool_close(spool);
    return 0;
}
