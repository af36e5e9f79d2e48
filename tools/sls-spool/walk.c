/* Walks over selected frames, forwards or back, in bounded memory: a block of frames at most.
 *
 * What can go wrong: a chunk fails its checksum. Then the sentence goes to stderr, the walk passes
 * over it and the program ends with 2, so that nobody takes the rest for all of it. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "select.h"

/* Going back: frames looked at in one piece. Their copies are the memory in use (256 frames of at
 * most some 64 KiB); positions alone are small, so counting back takes bigger steps,
 * but the first ones are short: the newest 20 mostly lie at the very end, and chunks that are not
 * looked into are neither read from the disk nor decompressed. */
enum { REVERSE_BLOCK = 256, COUNT_BLOCK = 8192, SEARCH_BYTES = 1024 * 1024 };

static int open_range(struct selection *sel, struct tool *tool, uint64_t from, uint64_t to,
                      struct slsr_range **range, struct slsr_err *err)
{
    int rc = slsr_range_open(range, tool->spool, from, to, err);

    if (rc == 0 && (sel->since_ns != INT64_MIN || sel->until_ns != INT64_MAX)) {
        int64_t since = sel->since_ns == INT64_MIN ? INT64_MIN : sel->since_ns / 1000000 - 1;
        int64_t until = sel->until_ns == INT64_MAX ? INT64_MAX : sel->until_ns / 1000000 + 1;
        slsr_range_time(*range, since, until, sel->by_arrival);
    }
    if (rc == 0 && tool->shard_count > 0)
        slsr_range_streams(*range, select_stream, sel);
    return rc;
}

/* A follower has read `count` frames: it waits when a writer shall go first. What was printed is
 * seen meanwhile. */
static int give_way(struct selection *sel, struct tool *tool, uint64_t first, uint64_t count,
                    uint64_t bytes, struct slsr_err *err)
{
    struct pollfd stop = {.fd = tool->stop.fd, .events = POLLIN};
    uint64_t oldest;
    uint64_t next;

    if (!yield_read(sel->yield, first, count, bytes))
        return 0;
    int rc = slsr_spool_bounds(tool->spool, &oldest, &next, err);
    if (rc != 0)
        return rc;
    yield_look(sel->yield, next, tool_mono_ns());
    const int64_t wait_ns = yield_wait(sel->yield, tool_mono_ns());
    if (wait_ns > 0 && fflush(stdout) == 0)
        (void)poll(&stop, 1, (int)((wait_ns + 999999) / 1000000));
    return 0;
}

/* Retention waits for nobody who only looks. */
static void tell_missed(const struct selection *sel, struct tool *tool, uint64_t missed)
{
    if (missed == 0)
        return;
    tool->damaged = true;
    fprintf(stderr, "sls-spool: %s%" PRIu64 " frame%s left the spool before they were read, %s\n",
            sel->filtered || sel->stated ? "up to " : "", missed, tool_s(missed),
            sel->yield != NULL ? "for the relay is faster than 'tail -f'"
                               : "so this is not all: raise spool.retention_time");
}

/* The next frame that may belong: over what --state leaves out, and over runs without the literal
 * of the pattern, which is what makes a search as fast as memory. */
static int next_frame(struct selection *sel, struct tool *tool, struct slsr_range *range,
                      struct slsr_frame *frame, struct slsr_err *err)
{
    for (;;) {
        struct slsr_run run;
        uint64_t at = slsr_range_position(range);

        if (sel->stated) {
            const struct slsr_span *span = slsr_spans_find(&sel->within, at);
            if (span == NULL)
                return SLSR_ENOMATCH;
            if (span->from > at)
                slsr_range_seek(range, span->from);
        }
        if (sel->literal_n == 0) {
            int rc = slsr_range_next(range, frame, err);
            if (rc == 0 && sel->yield != NULL)
                rc = give_way(sel, tool, frame->seq, 1, frame->wire.n, err);
            return rc;
        }
        int rc = slsr_range_next_run(range, SEARCH_BYTES, &run, err);
        if (rc == 0 && sel->yield != NULL)
            rc = give_way(sel, tool, run.first, run.count, run.wire.n, err);
        if (rc != 0)
            return rc;
        const char *hit = memmem(run.wire.p, run.wire.n, sel->literal, sel->literal_n);
        if (hit == NULL)
            continue;
        uint32_t low = 0; /* the frame that it lies in */
        for (uint32_t high = run.count; low < high;) {
            uint32_t middle = low + (high - low) / 2;
            if (run.ends[middle] > (size_t)(hit - run.wire.p))
                high = middle;
            else
                low = middle + 1;
        }
        slsr_range_seek(range, run.first + low);
        return slsr_range_next(range, frame, err);
    }
}

/* The selected frames of [from, to) by a range that is open already. */
static int walk(struct selection *sel, struct tool *tool, struct slsr_range *range, uint64_t from,
                uint64_t to, select_visit *visit, void *ctx, struct slsr_err *err)
{
    struct slsr_frame frame;
    uint64_t stuck = UINT64_MAX;
    int rc = 0;

    slsr_range_seek(range, from);
    slsr_range_limit(range, to);
    while (rc == 0 && !slsr_stop_requested(&tool->stop)) {
        rc = next_frame(sel, tool, range, &frame, err);
        if (rc == SLSR_ECORRUPT) {
            uint64_t position = slsr_range_position(range);
            tool->damaged = true;
            if (position == stuck)
                break; /* not only a chunk: what leads to the chunks is damaged */
            stuck = position;
            fprintf(stderr, "sls-spool: %s\n", err->text);
            rc = 0;
            continue;
        }
        if (rc != 0 || frame.seq >= to)
            break;
        if (select_wants(sel, &frame) && !visit(ctx, &frame))
            break;
        if (sel->pattern_failed) {
            *err = sel->err;
            rc = err->code;
        }
    }
    return rc == SLSR_ENOMATCH ? 0 : rc;
}

int walk_forward(struct selection *sel, struct tool *tool, uint64_t from, uint64_t to,
                 select_visit *visit, void *ctx, struct slsr_err *err)
{
    struct slsr_range *range = NULL;

    if (from >= to)
        return 0;
    int rc = open_range(sel, tool, from, to, &range, err);
    if (rc == 0)
        rc = walk(sel, tool, range, from, to, visit, ctx, err);
    if (range != NULL)
        tell_missed(sel, tool, slsr_range_missed(range));
    slsr_range_close(range);
    return rc;
}

/* What lies across an end of the time is looked at frame by frame. */
struct edges {
    struct selection *sel;
    struct slsr_spans spans;
    bool no_memory;
};

static void note_edge(void *ctx, uint64_t from, uint64_t to)
{
    struct edges *edges = ctx;

    if (!slsr_spans_add(&edges->spans, from, to))
        edges->no_memory = true;
}

static bool want_stream(void *ctx, const struct slsr_stream *stream)
{
    return select_stream(((struct edges *)ctx)->sel, stream);
}

static bool add_one(void *ctx, const struct slsr_frame *frame)
{
    (void)frame;
    ++*(uint64_t *)ctx;
    return true;
}

int walk_count(struct selection *sel, struct tool *tool, uint64_t *frames, struct slsr_err *err)
{
    struct edges edges = {.sel = sel};
    const struct slsr_count count = {.from = sel->from,
                                     .to = sel->to,
                                     .since_ns = sel->since_ns,
                                     .until_ns = sel->until_ns,
                                     .by_arrival = sel->by_arrival,
                                     .want = tool->shard_count > 0 ? want_stream : NULL,
                                     .edge = note_edge,
                                     .ctx = &edges};

    *frames = 0;
    int rc = slsr_spool_count(tool->spool, &count, frames, err);
    if (rc == 0 && edges.no_memory)
        rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    for (size_t i = 0; rc == 0 && i < edges.spans.count; i++)
        rc = walk_forward(sel, tool, edges.spans.items[i].from, edges.spans.items[i].to, add_one,
                          frames, err);
    slsr_spans_free(&edges.spans);
    return rc;
}

/* Positions of the selected frames of one block. */
struct positions {
    uint64_t *seqs;
    size_t count;
};

static bool note_position(void *ctx, const struct slsr_frame *frame)
{
    struct positions *positions = ctx;

    if (positions->count < COUNT_BLOCK)
        positions->seqs[positions->count++] = frame->seq;
    return true;
}

int walk_last(struct selection *sel, struct tool *tool, uint64_t n, uint64_t *seq,
              struct slsr_err *err)
{
    struct positions block = {0};
    struct slsr_range *range = NULL;
    uint64_t high = sel->to;
    uint64_t step = REVERSE_BLOCK / 4;

    *seq = sel->from;
    if ((!sel->filtered && !sel->stated) || n == 0) {
        if (n < sel->to - sel->from)
            *seq = sel->to - n;
        return 0;
    }
    block.seqs = malloc(COUNT_BLOCK * sizeof(*block.seqs));
    if (block.seqs == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    int rc = open_range(sel, tool, sel->from, sel->to, &range, err);
    while (rc == 0 && high > sel->from && !slsr_stop_requested(&tool->stop)) {
        step = step * 4 < COUNT_BLOCK ? step * 4 : COUNT_BLOCK;
        uint64_t low = high - sel->from > step ? high - step : sel->from;
        block.count = 0;
        rc = walk(sel, tool, range, low, high, note_position, &block, err);
        if (rc == 0 && block.count >= n) {
            *seq = block.seqs[block.count - n];
            break;
        }
        n -= block.count;
        high = low;
    }
    slsr_range_close(range);
    free(block.seqs);
    return rc;
}

/* A block of copied frames: views become offsets into `bytes`, which may move while it grows. */
struct copies {
    struct slsr_frame frames[REVERSE_BLOCK];
    size_t offsets[REVERSE_BLOCK];
    size_t count;
    char *bytes;
    size_t used, size;
    bool no_memory;
};

static bool copy_bytes(struct copies *copies, const char *p, size_t n)
{
    if (copies->size - copies->used < n) {
        size_t size = copies->size * 2 + n + 4096;
        char *bytes = realloc(copies->bytes, size);
        if (bytes == NULL)
            return false;
        copies->bytes = bytes;
        copies->size = size;
    }
    if (n > 0)
        memcpy(copies->bytes + copies->used, p, n);
    copies->used += n;
    return true;
}

static bool copy_frame(void *ctx, const struct slsr_frame *frame)
{
    struct copies *copies = ctx;

    if (copies->count == REVERSE_BLOCK)
        return false;
    copies->frames[copies->count] = *frame;
    copies->offsets[copies->count] = copies->used;
    if (!copy_bytes(copies, frame->stream.project, strlen(frame->stream.project) + 1) ||
        !copy_bytes(copies, frame->stream.logstore, strlen(frame->stream.logstore) + 1) ||
        !copy_bytes(copies, frame->cursor.p, frame->cursor.n) ||
        !copy_bytes(copies, frame->wire.p, frame->wire.n) ||
        !copy_bytes(copies, frame->message.p, frame->message.n)) {
        copies->no_memory = true;
        return false;
    }
    copies->count++;
    return true;
}

/* The frame with its views pointing into the copies. */
static struct slsr_frame copied(const struct copies *copies, size_t i)
{
    struct slsr_frame frame = copies->frames[i];
    const char *p = copies->bytes + copies->offsets[i];

    frame.stream.project = p;
    p += strlen(p) + 1;
    frame.stream.logstore = p;
    p += strlen(p) + 1;
    frame.cursor.p = p;
    p += frame.cursor.n;
    frame.wire.p = p;
    p += frame.wire.n;
    frame.message.p = p;
    return frame;
}

int walk_reverse(struct selection *sel, struct tool *tool, select_visit *visit, void *ctx,
                 struct slsr_err *err)
{
    struct copies *copies = calloc(1, sizeof(*copies));
    struct slsr_range *range = NULL;
    uint64_t high = sel->to;
    bool more = true;

    if (copies == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    int rc = open_range(sel, tool, sel->from, sel->to, &range, err);
    while (rc == 0 && more && high > sel->from && !slsr_stop_requested(&tool->stop)) {
        uint64_t low = high - sel->from > REVERSE_BLOCK ? high - REVERSE_BLOCK : sel->from;
        copies->count = copies->used = 0;
        rc = walk(sel, tool, range, low, high, copy_frame, copies, err);
        if (rc == 0 && copies->no_memory)
            rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
        if (rc != 0)
            break;
        for (size_t i = copies->count; more && i > 0; i--) {
            struct slsr_frame frame = copied(copies, i - 1);
            more = visit(ctx, &frame);
        }
        high = low;
    }
    slsr_range_close(range);
    free(copies->bytes);
    free(copies);
    return rc;
}
