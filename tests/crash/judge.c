/* The judge: opens the spool as a relay would after the crash, reads everything, compares.
 * Prints one line: "ok ..." or what is wrong. Exit 0, 1 (wrong), 2 (does not open). */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

struct shard {
    bool seen;
    uint64_t next;         /* number behind its last frame */
    uint64_t acknowledged; /* what the writer was told */
};

struct trial {
    const struct job *job;
    struct slsr_spool *spool;
    struct shard shards[SHARDS];
    uint64_t taken;       /* by the target, as it said */
    uint64_t taken_acked; /* as stored */
    uint64_t oldest, next;
    char damage[400];
};

static int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    return 1;
}

static int read_acknowledged(struct trial *t)
{
    FILE *f = fopen(t->job->acknowledged, "r");
    char line[700];

    if (f == NULL)
        return wrong("cannot read %s", t->job->acknowledged);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned shard;
        unsigned long long n;

        if (strchr(line, '\n') == NULL)
            break; /* cut off by the kill: it was never said */
        if (sscanf(line, "A %u %llu", &shard, &n) == 2 && shard < SHARDS)
            t->shards[shard].acknowledged = n;
        else if (sscanf(line, "T %llu", &n) == 1 && n > t->taken)
            t->taken = n;
    }
    fclose(f);
    return 0;
}

static void note_damage(void *ctx, const char *sentence)
{
    struct trial *t = ctx;

    if (t->damage[0] == '\0')
        snprintf(t->damage, sizeof t->damage, "%s", sentence);
}

static int judge_frame(struct trial *t, const struct slsr_frame *frame, uint64_t seq)
{
    struct shard *shard;
    char text[SLSR_CURSOR_MAX + 1];
    unsigned long long k;
    const char *number;

    if (frame->seq != seq)
        return wrong("frame %llu follows frame %llu", (unsigned long long)frame->seq,
                     (unsigned long long)seq - 1);
    if (frame->stream.shard >= SHARDS)
        return wrong("frame %llu belongs to shard %u", (unsigned long long)seq,
                     frame->stream.shard);
    shard = &t->shards[frame->stream.shard];
    snprintf(text, sizeof text, "%.*s", (int)(frame->message.n < 80 ? frame->message.n : 80),
             frame->message.p);
    number = strstr(text, " frame ");
    k = number != NULL ? strtoull(number + 7, NULL, 10) : 0;
    if (!frame_is(frame, k, t->job->frame_max))
        return wrong("frame %llu has another text: %s", (unsigned long long)seq, text);
    if (shard->seen ? k != shard->next : t->oldest == 1 && k != 0)
        return wrong("shard %u: frame number %llu where %llu was due (sequence %llu)",
                     frame->stream.shard, k, (unsigned long long)shard->next,
                     (unsigned long long)seq);
    shard->seen = true;
    shard->next = k + 1;
    return 0;
}

static int judge_frames(struct trial *t)
{
    struct slsr_range *range = NULL;
    struct slsr_frame frame;
    struct slsr_err err = {0};
    uint64_t seq = t->oldest;
    int rc = slsr_range_open(&range, t->spool, t->oldest, t->next, &err);

    while (rc == 0 && (rc = slsr_range_next(range, &frame, &err)) == 0)
        if ((rc = judge_frame(t, &frame, seq++)) != 0)
            break;
    slsr_range_close(range);
    if (rc == 1)
        return 1;
    if (rc != SLSR_ENOMATCH)
        return wrong("reading frame %llu: %s", (unsigned long long)seq, err.text);
    return seq == t->next ? 0
                          : wrong("frames end at %llu, not %llu", (unsigned long long)seq,
                                  (unsigned long long)t->next);
}

static int judge_cursors(struct trial *t)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct slsr_stream stream = frame_stream(i);
        const struct shard *shard = &t->shards[i];
        struct slsr_checkpoint cp = {.stream = stream};
        uint64_t k = 0;

        if (slsr_spool_checkpoint(t->spool, &stream, &cp, NULL) == 0 &&
            !frame_cursor_number(cp.cursor, &k))
            return wrong("shard %u: cursor %s is no number", i, cp.cursor);
        if (k < shard->acknowledged)
            return wrong("LOST: shard %u: acknowledged up to %llu, the cursor says %llu", i,
                         (unsigned long long)shard->acknowledged, (unsigned long long)k);
        if (shard->seen && shard->next != k)
            return wrong("shard %u: frames end at %llu, the cursor says %llu", i,
                         (unsigned long long)shard->next, (unsigned long long)k);
        if (!shard->seen && k > 0 && t->oldest == 1)
            return wrong("LOST: shard %u: the cursor says %llu, there is no frame", i,
                         (unsigned long long)k);
    }
    return 0;
}

static int judge_target(struct trial *t)
{
    struct slsr_target_state *states = NULL;
    struct slsr_err err = {0};
    size_t count;

    if (slsr_spool_targets(t->spool, &states, &count, &err) != 0)
        return wrong("targets: %s", err.text);
    for (size_t i = 0; i < count; i++)
        if (strcmp(states[i].name, "siem") == 0)
            t->taken_acked = states[i].acked;
    free(states);
    if (t->taken_acked > t->next)
        return wrong("the target's position %llu lies behind the end %llu",
                     (unsigned long long)t->taken_acked, (unsigned long long)t->next);
    if (t->taken_acked > t->taken && t->taken_acked > 1)
        return wrong("the target's position %llu lies behind what it took, %llu",
                     (unsigned long long)t->taken_acked, (unsigned long long)t->taken);
    if (t->oldest > 1 && t->oldest > t->taken)
        return wrong("LOST: frames below %llu are gone, the target took only those below %llu",
                     (unsigned long long)t->oldest, (unsigned long long)t->taken);
    return 0;
}

/* A relay that dies again and again within the 100 ms of its positions fills its spool: what it has
 * sent counts as pending. The target takes that again, as far as it had. */
static int take_again(struct trial *t)
{
    struct slsr_target_state state;
    int rc = slsr_spool_target_add(t->spool, "siem", &state, NULL);

    if (t->taken > state.acked)
        state.acked = t->taken;
    return rc == 0 ? slsr_spool_ack(t->spool, &state, NULL) : rc;
}

/* Life goes on: one more frame goes in and is durable. */
static int go_on(struct trial *t)
{
    const struct slsr_stream stream = frame_stream(0);
    struct slsr_checkpoint cp = {.stream = stream};
    struct slsr_batch batch;
    struct slsr_err err = {0};
    uint64_t first = 0;
    uint64_t k = 0;
    int rc;

    if (slsr_spool_checkpoint(t->spool, &stream, &cp, NULL) == 0)
        frame_cursor_number(cp.cursor, &k);
    slsr_batch_init(&batch);
    frame_cursor(batch.cursor, k);
    frame_add(&batch, 0, k, t->job->frame_max);
    frame_cursor(cp.cursor, k + 1);
    rc = slsr_spool_append(t->spool, &batch, &cp, &first, &err);
    if (rc == SLSR_EFULL && !t->job->no_target && take_again(t) == 0)
        rc = slsr_spool_append(t->spool, &batch, &cp, &first, &err);
    slsr_batch_fini(&batch);
    if (rc != 0)
        return wrong("cannot append after the crash: %s", err.text);
    return first == t->next ? 0
                            : wrong("the next frame became %llu instead of %llu",
                                    (unsigned long long)first, (unsigned long long)t->next);
}

int judge_run(const struct job *job)
{
    struct trial t = {.job = job};
    const struct slsr_spool_config config = job_config(job);
    struct slsr_verify verify = {.deep = true, .bad = note_damage, .ctx = &t};
    struct slsr_err err = {0};
    int rc = job->acknowledged != NULL ? read_acknowledged(&t) : 0;

    if (rc != 0)
        return rc;
    if (slsr_spool_open(&t.spool, &config, SLSR_SPOOL_WRITE, &err) != 0) {
        wrong("does not open: %s", err.text);
        return 2;
    }
    if (slsr_spool_bounds(t.spool, &t.oldest, &t.next, &err) != 0)
        rc = wrong("no bounds: %s", err.text);
    if (rc == 0 && slsr_spool_verify(t.spool, &verify, &err) != 0)
        rc = wrong("verify: %s: %s", err.text, t.damage);
    if (rc == 0)
        rc = judge_frames(&t);
    if (rc == 0)
        rc = judge_cursors(&t);
    if (rc == 0 && !job->no_target)
        rc = judge_target(&t);
    if (rc == 0)
        rc = go_on(&t);
    slsr_spool_close(t.spool);
    if (rc == 0)
        printf("ok %llu..%llu, target at %llu\n", (unsigned long long)t.oldest,
               (unsigned long long)t.next, (unsigned long long)t.taken_acked);
    return rc;
}
