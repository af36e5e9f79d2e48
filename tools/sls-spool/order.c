/* The orders: pause, resume, flush, seek, hold, release, skip, requeue, purge.
 *
 * Each first says what it would do, then writes a record into the spool, where the relay finds it
 * within a second, or when it starts. What is done stands in the ledger with who and why. A set of
 * frames is stored as stretches; a pattern that cuts the spool into too many is refused. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/text.h"
#include "common/when.h"
#include "select.h"
#include "state.h"
#include "why.h"

enum { PIECES_MAX = 100000, BYTES_PIECES = 1000, TAKEN_MS = 10000, ASK_MS = 50 };

struct order_verb {
    const char *name;
    enum slsr_order_kind kind;
    bool frames;        /* takes selectors */
    bool needs_target;  /* else every target when none is given */
    unsigned states;    /* it concerns frames in these only; 0: any */
    const char *effect; /* "will be ..." */
};

static const struct order_verb order_verbs[] = {
    {"pause", SLSR_ORDER_PAUSE, false, true, 0, "nothing is sent until resume"},
    {"resume", SLSR_ORDER_RESUME, false, true, 0, "sending goes on"},
    {"flush", SLSR_ORDER_FLUSH, false, true, 0, "tries again now"},
    {"seek", SLSR_ORDER_SEEK, false, true, 0, ""},
    {"hold", SLSR_ORDER_HOLD, true, false, STATE_PENDING,
     "not sent and kept for as long as it takes, until release"},
    {"release", SLSR_ORDER_RELEASE, true, false, STATE_HELD, "sent"},
    {"skip", SLSR_ORDER_SKIP, true, true, STATE_PENDING | STATE_HELD | STATE_DEAD,
     "never sent to it"},
    {"requeue", SLSR_ORDER_REQUEUE, true, false, 0, "sent again by the relay"},
    {"purge", SLSR_ORDER_PURGE, true, false, STATE_PENDING | STATE_HELD | STATE_DEAD,
     "never sent and given up"},
};

struct work {
    struct tool *tool;
    const struct order_verb *verb;
    struct slsr_target_state *targets;
    const char *names[64];
    size_t count;
    struct selection sel;
    struct slsr_spans spans;
    uint64_t frames, bytes, limit;
    uint64_t selected; /* in any state, where that is known without a look; else 0 */
    bool too_many, no_memory;
    struct slsr_order order;
    bool taken;
};

static bool note_frame(void *ctx, const struct slsr_frame *frame)
{
    struct work *work = ctx;

    if (work->frames == work->limit)
        return false;
    work->frames++;
    work->bytes += frame->wire.n;
    if (!slsr_spans_add(&work->spans, frame->seq, frame->seq + 1))
        work->no_memory = true;
    work->too_many = work->spans.count > PIECES_MAX;
    return !work->too_many && !work->no_memory && work->frames < work->limit;
}

/* Bytes from seq to the newest, by the index; between frames of a chunk by its average. */
static uint64_t bytes_from(struct tool *tool, uint64_t seq)
{
    uint64_t frames = 0;
    uint64_t bytes = 0;
    int64_t arrival;

    return slsr_spool_backlog(tool->spool, seq, &frames, &bytes, &arrival, NULL) == 0 ? bytes : 0;
}

/* No frame has to be looked at: the stretches as they are. */
static int note_spans(struct work *work, struct slsr_err *err)
{
    const struct selection *sel = &work->sel;
    struct slsr_spans all = {0};
    const struct slsr_spans *in = sel->stated ? &sel->within : &all;
    bool ok = slsr_spans_add(&all, sel->from, sel->to);

    for (size_t i = 0; ok && i < in->count; i++) {
        uint64_t from = in->items[i].from > sel->from ? in->items[i].from : sel->from;
        uint64_t to = in->items[i].to < sel->to ? in->items[i].to : sel->to;
        if (from >= to)
            continue;
        ok = slsr_spans_add(&work->spans, from, to);
        work->frames += to - from;
        if (i < BYTES_PIECES) {
            uint64_t a = bytes_from(work->tool, from);
            uint64_t b = bytes_from(work->tool, to);
            work->bytes += a > b ? a - b : 0;
        }
    }
    slsr_spans_free(&all);
    return ok ? 0 : slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
}

static int choose_frames(struct work *work, struct slsr_err *err)
{
    const uint64_t some = OPTIONS_SELECT & ~OPTION_BIT(OPT_TARGET) & ~OPTION_BIT(OPT_BY_ARRIVAL) &
                          ~OPTION_BIT(OPT_IGNORE_CASE) & ~OPTION_BIT(OPT_INVERT);
    struct tool *tool = work->tool;
    struct selection *sel = &work->sel;
    uint64_t from;
    int rc;

    if ((tool->given & some) == 0)
        return slsr_fail(err, SLSR_EUSAGE,
                         "%s without selectors: say which frames, --seq oldest..newest for all",
                         tool->verb);
    rc = select_init(sel, tool, err);
    if (rc == 0 && !sel->filtered && !tool_given(tool, OPT_LINES))
        work->selected = select_frames(sel);
    if (rc == 0 && work->verb->states != 0)
        rc = select_states(sel, tool, work->verb->states, err);
    if (rc != 0)
        return rc;
    work->limit = UINT64_MAX;
    from = sel->from;
    if (tool_given(tool, OPT_LINES)) {
        work->limit = tool->lines;
        if (!tool->lines_oldest)
            rc = walk_last(sel, tool, tool->lines, &from, err);
    } else if (!sel->filtered) {
        return note_spans(work, err);
    }
    if (rc == 0)
        rc = walk_forward(sel, tool, from, sel->to, note_frame, work, err);
    if (rc == 0 && work->no_memory)
        rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    if (rc == 0 && work->too_many)
        rc = slsr_fail(err, SLSR_EUSAGE,
                       "%s: these selectors cut the spool into more than %d pieces: select by "
                       "sequence, time or shard, or do it in several steps",
                       tool->verb, PIECES_MAX);
    return rc;
}

/* The position of `seek`: 0 or an error. */
static int choose_position(struct work *work, struct slsr_err *err)
{
    struct tool *tool = work->tool;
    const char *word = tool->word_count > 0 ? tool->words[0] : NULL;
    uint64_t oldest;
    uint64_t next;
    int64_t ns;
    int rc = slsr_spool_bounds(tool->spool, &oldest, &next, err);

    if (rc != 0)
        return rc;
    if (word == NULL)
        return slsr_fail(err, SLSR_EUSAGE, "seek: give SEQ, TIME, oldest or newest behind it");
    if (strcmp(word, "oldest") == 0) {
        work->order.seek = oldest;
    } else if (strcmp(word, "newest") == 0) {
        work->order.seek = next;
    } else if (word[0] != '\0' && strspn(word, "0123456789") == strlen(word) && strlen(word) < 19) {
        work->order.seek = strtoull(word, NULL, 10);
        if (work->order.seek < oldest || work->order.seek > next)
            return slsr_fail(err, SLSR_EUSAGE,
                             "seek to %s: the spool holds %" PRIu64 "..%" PRIu64
                             ", give one of these, or oldest or newest",
                             word, oldest, next > 0 ? next - 1 : 0);
    } else if (cli_when_parse(word, tool_now_ns(), &ns)) {
        rc = slsr_spool_seek_time(tool->spool, ns / 1000000, false, &work->order.seek, err);
    } else {
        return slsr_fail(err, SLSR_EUSAGE,
                         "seek to '%s': give SEQ, \"2026-01-02 03:04:05\", -2h, oldest or newest",
                         word);
    }
    return rc;
}

static void plan_seek(struct work *work)
{
    const uint64_t now = work->targets[0].acked;
    const uint64_t to = work->order.seek;
    char bytes[TEXT_SMALL];
    const uint64_t a = bytes_from(work->tool, now < to ? now : to);
    const uint64_t b = bytes_from(work->tool, now < to ? to : now);

    work->frames = now < to ? to - now : now - to;
    work->bytes = a > b ? a - b : 0;
    cli_text_size(bytes, work->bytes);
    fprintf(stderr,
            "seek: %s goes from seq %" PRIu64 " to seq %" PRIu64 ": %" PRIu64 " frame%s, %s, %s\n",
            work->names[0], now, to, work->frames, tool_s(work->frames), bytes,
            now < to ? "will not be sent to it" : "will be sent to it again");
}

/* For pause and resume: that it is so already. */
static const char *already(const struct work *work)
{
    struct slsr_control_state state;
    const bool pause = work->verb->kind == SLSR_ORDER_PAUSE;

    if ((!pause && work->verb->kind != SLSR_ORDER_RESUME) ||
        slsr_control_read(work->tool->spool, work->names[0], &state, NULL) != 0 ||
        state.paused != pause)
        return "";
    return pause ? " (it was paused already)" : " (it was not paused)";
}

static void plan(struct work *work)
{
    const struct order_verb *verb = work->verb;
    char bytes[TEXT_SMALL];

    if (verb->kind == SLSR_ORDER_SEEK) {
        plan_seek(work);
        return;
    }
    if (!verb->frames) {
        fprintf(stderr, "%s: %s: %s%s\n", verb->name, work->names[0], verb->effect, already(work));
        return;
    }
    cli_text_size(bytes, work->bytes);
    fprintf(stderr, "%s: %" PRIu64 " frame%s (seq %" PRIu64 "..%" PRIu64 " in %zu piece%s), %s, ",
            verb->name, work->frames, tool_s(work->frames), work->spans.items[0].from,
            work->spans.items[work->spans.count - 1].to - 1, work->spans.count,
            tool_s(work->spans.count), bytes);
    for (size_t i = 0; i < work->count; i++) {
        fputs(i == 0 ? "for " : ", ", stderr);
        cli_text_escape(stderr, slsr_bytes_of(work->names[i]), 0);
    }
    fprintf(stderr, ": %s", verb->effect);
    if (work->selected > work->frames)
        fprintf(stderr, "; the other %" PRIu64 " selected are not %s",
                work->selected - work->frames, why_states(verb->states));
    fputc('\n', stderr);
}

static void fill_entry(struct work *work)
{
    struct slsr_ledger_entry *entry = &work->order.entry;
    struct tool *tool = work->tool;

    snprintf(entry->kind, sizeof(entry->kind), "%s", work->verb->name);
    snprintf(entry->reason, sizeof(entry->reason), "operator");
    snprintf(entry->who, sizeof(entry->who), "%s", tool_user());
    if (work->count == 1)
        snprintf(entry->target, sizeof(entry->target), "%.63s", work->names[0]);
    entry->frames = work->frames;
    entry->bytes = work->bytes;
    if (work->spans.count > 0) {
        entry->from_seq = work->spans.items[0].from;
        entry->to_seq = work->spans.items[work->spans.count - 1].to;
    } else if (work->verb->kind == SLSR_ORDER_SEEK) {
        uint64_t now = work->targets[0].acked;
        entry->from_seq = now < work->order.seek ? now : work->order.seek;
        entry->to_seq = now < work->order.seek ? work->order.seek : now;
    }
    if (tool->reason != NULL)
        snprintf(entry->text, sizeof(entry->text), "%s", tool->reason);
}

/* With a relay that runs: until its send stages have taken it over, or a deadline. */
static void await_relay(struct work *work)
{
    struct slsr_spool_stat stat;
    const int64_t until = tool_now_ns() / 1000000 + TAKEN_MS;

    if (slsr_spool_stat(work->tool->spool, &stat, NULL) != 0 || !stat.live)
        return;
    for (size_t i = 0; i < work->count;) {
        struct slsr_control_state state;
        if (slsr_control_read(work->tool->spool, work->names[i], &state, NULL) != 0)
            return;
        if (state.taken >= work->order.generation) {
            i++;
            continue;
        }
        if (tool_now_ns() / 1000000 > until || slsr_stop_wait(&work->tool->stop, ASK_MS))
            return;
    }
    work->taken = true;
}

static void tell_json(const struct work *work, bool dry)
{
    const struct slsr_ledger_entry *entry = &work->order.entry;

    printf("{\"order\":\"%s\",\"dry_run\":%s,\"targets\":[", work->verb->name,
           dry ? "true" : "false");
    for (size_t i = 0; i < work->count; i++) {
        fputs(i > 0 ? "," : "", stdout);
        cli_json_string(stdout, slsr_bytes_of(work->names[i]));
    }
    printf("],\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"pieces\":%zu,\"from_seq\":%" PRIu64
           ",\"to_seq\":%" PRIu64 ",\"ledger_id\":%" PRIu64 ",\"taken_over\":%s}\n",
           work->frames, work->bytes, work->spans.count, entry->from_seq,
           entry->to_seq > 0 ? entry->to_seq - 1 : 0, entry->id, work->taken ? "true" : "false");
}

static int give(struct work *work)
{
    struct slsr_err err = {0};
    int code = 0;
    bool dry = tool_given(work->tool, OPT_DRY_RUN);

    plan(work);
    fill_entry(work);
    if (!dry) {
        code = tool_confirm(work->tool, work->frames, work->verb->name);
        if (code != 0)
            return code;
        work->order.kind = work->verb->kind;
        work->order.targets = work->names;
        work->order.target_count = work->count;
        work->order.spans = work->verb->frames ? &work->spans : NULL;
        if (slsr_control_order(work->tool->spool, &work->order, &err) != 0)
            return tool_fail(&err);
        await_relay(work);
    }
    if (work->tool->output != OUT_TEXT)
        tell_json(work, dry);
    else if (dry)
        puts("dry run: nothing was changed");
    else if (work->taken)
        printf("ordered (ledger %" PRIu64 "), and the relay has taken it over\n",
               work->order.entry.id);
    else
        printf("ordered (ledger %" PRIu64 "): it stands in the spool, and the relay honours it "
               "when it runs\n",
               work->order.entry.id);
    return 0;
}

static int choose(struct work *work, struct slsr_err *err)
{
    struct tool *tool = work->tool;
    int rc;

    if (work->verb->needs_target && tool->target == NULL)
        return slsr_fail(err, SLSR_EUSAGE, "%s without -t: say for which target", tool->verb);
    if (work->verb->kind == SLSR_ORDER_SKIP && (tool->reason == NULL || tool->reason[0] == '\0'))
        return slsr_fail(err, SLSR_EUSAGE, "skip without --reason: say why, the ledger keeps it");
    rc = state_targets(tool, &work->targets, &work->count, err);
    if (rc != 0)
        return rc;
    if (work->count > 64)
        work->count = 64;
    if (work->count == 0)
        return slsr_fail(err, SLSR_EUSAGE,
                         "%s: no target has registered yet: start the relay with one", tool->verb);
    for (size_t i = 0; i < work->count; i++)
        work->names[i] = work->targets[i].name;
    if (work->verb->frames)
        return choose_frames(work, err);
    return work->verb->kind == SLSR_ORDER_SEEK ? choose_position(work, err) : 0;
}

int verb_order(struct tool *tool)
{
    struct work work = {.tool = tool};
    struct slsr_err err = {0};
    int code;

    for (size_t i = 0; i < sizeof(order_verbs) / sizeof(order_verbs[0]); i++)
        if (strcmp(order_verbs[i].name, tool->verb) == 0)
            work.verb = &order_verbs[i];
    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with '%s': give text or json, raw is for frames", tool->verb);
    int rc = choose(&work, &err);
    if (rc == 0 &&
        slsr_stop_requested(&tool->stop)) /* what was found by then is not what is meant */
        code = tool_interrupted("nothing was ordered");
    else if (rc == 0 && work.verb->frames && work.frames == 0)
        code = why_no_frame(tool, work.verb->states);
    else
        code = rc == 0 ? give(&work) : tool_fail(&err);
    select_fini(&work.sel);
    slsr_spans_free(&work.spans);
    free(work.targets);
    return code;
}
