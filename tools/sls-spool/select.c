/* Selectors: the command line's words against the spool as it is now.
 *
 * Numbers become a stretch [from, to); times move its start (the spool knows which chunk a time
 * lies in) and are checked again per frame; shards and the pattern are checked per frame. A word
 * that means nothing is refused: sending the wrong frames is worse than sending none. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/when.h"
#include "select.h"
#include "state.h"

/* One end of --seq: a number, oldest, newest, -N. */
static bool sequence_word(const char *text, size_t n, uint64_t oldest, uint64_t next, uint64_t *out)
{
    uint64_t value = 0;
    bool back = n > 0 && text[0] == '-';

    if (n == 6 && memcmp(text, "oldest", 6) == 0) {
        *out = oldest;
        return true;
    }
    if (n == 6 && memcmp(text, "newest", 6) == 0) {
        *out = next > 0 ? next - 1 : 0;
        return true;
    }
    size_t i = back ? 1 : 0;
    if (i == n || n > 19)
        return false;
    for (; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = !back ? value : value < next ? next - value : 0;
    return true;
}

static int read_sequences(struct selection *sel, const char *text, uint64_t oldest, uint64_t next,
                          struct slsr_err *err)
{
    const char *dots = strstr(text, "..");
    size_t n = dots != NULL ? (size_t)(dots - text) : strlen(text);
    uint64_t a = oldest;
    uint64_t b;

    if (dots == text && dots[2] == '\0')
        n = SIZE_MAX; /* ".." alone */
    if (n == SIZE_MAX || (n > 0 && !sequence_word(text, n, oldest, next, &a)) || (n == 0 && !dots))
        return slsr_fail(err, SLSR_EUSAGE,
                         "sequence '%s', --seq: give A, A..B, A.., oldest, newest or -N", text);
    if (dots == NULL)
        b = text[0] == '-' ? UINT64_MAX - 1 : a; /* "-N": from there to the end */
    else if (dots[2] == '\0')
        b = UINT64_MAX - 1;
    else if (!sequence_word(dots + 2, strlen(dots + 2), oldest, next, &b))
        return slsr_fail(err, SLSR_EUSAGE, "sequence '%s', --seq: give a number behind '..'", text);
    if (dots != NULL && b < a && dots[2] != '\0')
        return slsr_fail(err, SLSR_EUSAGE,
                         "sequence '%s', --seq: the end lies before the start, turn them round",
                         text);
    sel->from = a > oldest ? a : oldest;
    sel->to = b + 1 < next ? b + 1 : next;
    if (sel->to < sel->from)
        sel->to = sel->from;
    return 0;
}

static int64_t floor_ms(int64_t ns)
{
    return ns >= 0 ? ns / 1000000 : -((-ns + 999999) / 1000000);
}

static int read_times(struct selection *sel, struct tool *tool, struct slsr_err *err)
{
    int64_t now = tool_now_ns();
    uint64_t first;

    if (tool->since != NULL && !cli_when_parse(tool->since, now, &sel->since_ns))
        return slsr_fail(err, SLSR_EUSAGE,
                         "time '%s', --since: give \"2026-01-02 03:04:05\", -2h, today or @epoch",
                         tool->since);
    if (tool->until != NULL && !cli_when_parse(tool->until, now, &sel->until_ns))
        return slsr_fail(err, SLSR_EUSAGE,
                         "time '%s', --until: give \"2026-01-02 03:04:05\", -2h, today or @epoch",
                         tool->until);
    if (sel->since_ns > sel->until_ns)
        return slsr_fail(err, SLSR_EUSAGE,
                         "--since lies behind --until: turn them round, or leave one out");
    if (sel->from == sel->to)
        return 0;
    if (tool->until != NULL && sel->until_ns < INT64_MAX - 1000000) {
        uint64_t end = sel->to;
        int rc = slsr_spool_until_time(tool->spool, floor_ms(sel->until_ns) + 1, sel->by_arrival,
                                       &end, err);
        if (rc != 0)
            return rc;
        if (end < sel->to)
            sel->to = end > sel->from ? end : sel->from;
    }
    if (tool->since == NULL || sel->from == sel->to)
        return 0;
    int rc =
        slsr_spool_seek_time(tool->spool, floor_ms(sel->since_ns), sel->by_arrival, &first, err);
    if (rc == SLSR_ENOMATCH)
        first = sel->to;
    else if (rc != 0)
        return rc;
    if (first > sel->from)
        sel->from = first < sel->to ? first : sel->to;
    return 0;
}

static int read_pattern(struct selection *sel, const struct tool *tool, struct slsr_err *err)
{
    uint32_t flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
    int code;
    size_t at;

    if (tool_given(tool, OPT_IGNORE_CASE))
        flags |= PCRE2_CASELESS;
    pcre2_code *pattern =
        pcre2_compile((PCRE2_SPTR)tool->pattern, PCRE2_ZERO_TERMINATED, flags, &code, &at, NULL);
    if (pattern == NULL) {
        PCRE2_UCHAR text[160] = "";
        pcre2_get_error_message(code, text, sizeof(text));
        return slsr_fail(err, SLSR_EUSAGE, "pattern, --grep, character %zu: %s", at + 1,
                         (const char *)text);
    }
    pcre2_jit_compile(pattern, PCRE2_JIT_COMPLETE); /* only faster; without it is fine too */
    sel->pattern = pattern;
    if (!tool_given(tool, OPT_IGNORE_CASE) && !tool_given(tool, OPT_INVERT))
        sel->literal_n = literal_of(tool->pattern, sel->literal);
    sel->match = pcre2_match_data_create(1, NULL);
    if (sel->match == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    return 0;
}

/* A slip in -t selects other frames than were meant, or none. A replay looks its own up. */
static int check_target(struct tool *tool, struct slsr_err *err)
{
    struct slsr_target_state *targets = NULL;
    size_t count;
    int rc = 0;

    if (strcmp(tool->verb, "replay") != 0)
        rc = state_targets(tool, &targets, &count, err);
    free(targets);
    return rc;
}

int select_init(struct selection *sel, struct tool *tool, struct slsr_err *err)
{
    uint64_t oldest;
    uint64_t next;

    *sel = (struct selection){.tool = tool, .since_ns = INT64_MIN, .until_ns = INT64_MAX};
    int rc = slsr_spool_bounds(tool->spool, &oldest, &next, err);
    if (rc != 0)
        return rc;
    sel->from = oldest;
    sel->to = next;
    sel->by_arrival = tool_given(tool, OPT_BY_ARRIVAL);
    if (sel->by_arrival && tool->since == NULL && tool->until == NULL)
        return slsr_fail(err, SLSR_EUSAGE, "--by-arrival without a time: give --since or --until");
    if (tool->pattern == NULL &&
        (tool_given(tool, OPT_IGNORE_CASE) || tool_given(tool, OPT_INVERT)))
        return slsr_fail(err, SLSR_EUSAGE, "-i or -v without a pattern: give --grep");
    if (tool->seq != NULL && (rc = read_sequences(sel, tool->seq, oldest, next, err)) != 0)
        return rc;
    if ((rc = read_times(sel, tool, err)) != 0)
        return rc;
    if (tool->pattern != NULL && (rc = read_pattern(sel, tool, err)) != 0)
        return rc;
    if (tool->target != NULL && (rc = check_target(tool, err)) != 0)
        return rc;
    if (tool->state != NULL) {
        const unsigned states = state_parse(tool->state);
        if (states == 0)
            return slsr_fail(err, SLSR_EUSAGE,
                             "state '%s', --state: give pending, delivered, held, dead or skipped",
                             tool->state);
        if ((rc = select_states(sel, tool, states, err)) != 0)
            return rc;
    }
    sel->filtered = tool->since != NULL || tool->until != NULL || tool->shard_count > 0 ||
                    tool->pattern != NULL;
    return 0;
}

int select_states(struct selection *sel, struct tool *tool, unsigned states, struct slsr_err *err)
{
    struct slsr_spans in = {0};
    struct slsr_spans outside = {0};
    struct slsr_spans both = {0};
    bool ok = true;
    int rc = state_spans(tool, states, &in, err);

    if (rc == 0 && sel->stated) { /* what is in both */
        ok = slsr_spans_without(&sel->within, &in, &outside) &&
             slsr_spans_without(&sel->within, &outside, &both);
        slsr_spans_free(&in);
        in = both;
    }
    slsr_spans_free(&outside);
    slsr_spans_free(&sel->within);
    sel->within = in;
    sel->stated = true;
    if (rc != 0)
        return rc;
    if (!ok)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    if (in.count == 0) {
        sel->to = sel->from;
        return 0;
    }
    if (in.items[0].from > sel->from)
        sel->from = in.items[0].from < sel->to ? in.items[0].from : sel->to;
    if (in.items[in.count - 1].to < sel->to)
        sel->to = in.items[in.count - 1].to > sel->from ? in.items[in.count - 1].to : sel->from;
    return 0;
}

uint64_t select_frames(const struct selection *sel)
{
    uint64_t frames = 0;

    if (!sel->stated)
        return sel->to - sel->from;
    for (size_t i = 0; i < sel->within.count; i++) {
        const struct slsr_span *span = &sel->within.items[i];
        uint64_t from = span->from > sel->from ? span->from : sel->from;
        uint64_t to = span->to < sel->to ? span->to : sel->to;
        frames += from < to ? to - from : 0;
    }
    return frames;
}

void select_fini(struct selection *sel)
{
    slsr_spans_free(&sel->within);
    pcre2_match_data_free(sel->match);
    pcre2_code_free(sel->pattern);
    sel->match = NULL;
    sel->pattern = NULL;
}

static bool time_fits(const struct selection *sel, const struct slsr_frame *frame)
{
    int64_t ns = sel->by_arrival ? frame->arrival_ms * 1000000
                                 : (int64_t)frame->time_s * 1000000000 + frame->time_ns;
    return ns >= sel->since_ns && ns <= sel->until_ns;
}

bool select_stream(void *ctx, const struct slsr_stream *stream)
{
    const struct tool *tool = ((const struct selection *)ctx)->tool;

    for (size_t i = 0; i < tool->shard_count; i++) {
        const struct shard_pick *pick = &tool->shards[i];
        if (pick->shard != stream->shard)
            continue;
        if (pick->logstore == NULL ||
            (strlen(stream->logstore) == pick->logstore_n &&
             memcmp(stream->logstore, pick->logstore, pick->logstore_n) == 0))
            return true;
    }
    return tool->shard_count == 0;
}

static bool pattern_fits(struct selection *sel, const struct slsr_frame *frame)
{
    bool invert = tool_given(sel->tool, OPT_INVERT);
    int rc = pcre2_match(sel->pattern, (PCRE2_SPTR)frame->message.p, frame->message.n, 0, 0,
                         sel->match, NULL);

    if (rc == PCRE2_ERROR_NOMATCH)
        return invert;
    if (rc >= 0)
        return !invert;
    sel->pattern_failed = true;
    slsr_fail(&sel->err, SLSR_EUSAGE,
              "pattern, --grep, frame %" PRIu64 ": it needs too many steps (PCRE2 error %d), write "
              "it simpler",
              frame->seq, rc);
    return false;
}

bool select_wants(struct selection *sel, const struct slsr_frame *frame)
{
    if (sel->stated && !slsr_spans_has(&sel->within, frame->seq))
        return false;
    if (!sel->filtered)
        return frame->seq >= sel->from && frame->seq < sel->to;
    if (sel->pattern_failed || !time_fits(sel, frame) || !select_stream(sel, &frame->stream))
        return false;
    return sel->pattern == NULL || pattern_fits(sel, frame);
}
