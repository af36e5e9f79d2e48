/* replay: selected frames to a target once more, byte for byte, in order.
 *
 * First a walk counts (the plan: how many, how much, which span), then the same selection goes
 * through the library's delivery with a range of its own; no stored position of any target moves.
 * On INT or TERM what was sent is settled, then the summary names the sequence to go on from. The
 * far side may then have taken a few frames twice, never fewer than the summary says. A job in the
 * spool has the same in it, at most half a second old, for `--resume` after anything. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/text.h"
#include "aside.h"
#include "audit.h"
#include "job.h"
#include "slsrelay/deliver.h"

enum { DRAIN_MS = 5000, SAY_JOB_FRAMES = 10000 };

/* Where slsr_config_load looks when it is given no file. */
#define DEFAULT_CONFIG "/etc/sls-relay/sls-relay.json"

struct replay {
    struct tool *tool;
    struct selection sel;
    const struct slsr_target_config *target;
    /* the plan */
    uint64_t limit; /* -n +N */
    uint64_t frames, bytes, first, last;
    int64_t oldest_ns, newest_ns; /* event times */
    int64_t rate_frames_s;        /* 0: no limit */
    /* under way */
    uint64_t offered; /* selected frames that delivery has asked for, each once */
    uint64_t seen;    /* highest of them */
    uint64_t settled; /* next sequence not yet taken */
    double rate;
    char error[200];  /* of now, "" when it goes well */
    char cause[200];  /* of the last break */
    int64_t down_ns;  /* first break since the target last took something; 0: none */
    bool unreachable; /* we gave up */
    int64_t next_ns;
    int64_t began_ns;
    bool terminal;
    /* the job; id 0: the spool cannot be written, there is none */
    struct slsr_job job;
    bool resumed;
    struct aside aside;            /* what the target can never take */
    const struct slsr_spans *only; /* audit: these and nothing else; NULL: what is selected */
    uint64_t before;               /* frames taken in earlier runs */
    int64_t stored_ns;
    struct {
        uint64_t seq, offered;
    } passed[64]; /* how many had been offered when this sequence was, to count what is settled */
    size_t passed_count;
};

enum { STORE_NS = 500000000 };

static bool count_frame(void *ctx, const struct slsr_frame *frame)
{
    struct replay *replay = ctx;
    int64_t ns = (int64_t)frame->time_s * 1000000000 + frame->time_ns;

    if (replay->frames == replay->limit)
        return false;
    if (replay->frames == 0) {
        replay->first = frame->seq;
        replay->oldest_ns = replay->newest_ns = ns;
    }
    replay->frames++;
    replay->bytes += frame->message.n;
    replay->last = frame->seq;
    if (ns < replay->oldest_ns)
        replay->oldest_ns = ns;
    if (ns > replay->newest_ns)
        replay->newest_ns = ns;
    return replay->frames < replay->limit;
}

static int count(struct replay *replay, struct slsr_err *err)
{
    struct tool *tool = replay->tool;
    int rc = select_init(&replay->sel, tool, err);
    uint64_t from;

    if (rc == 0 && replay->resumed)
        rc = job_select(&replay->job, tool, &replay->sel, err);
    for (size_t i = 0; rc == 0 && replay->only != NULL && i < replay->only->count; i++)
        if (!slsr_spans_add(&replay->sel.within, replay->only->items[i].from,
                            replay->only->items[i].to))
            rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    replay->sel.stated |= replay->only != NULL;
    from = replay->sel.from;
    replay->limit = UINT64_MAX;
    if (rc == 0 && tool_given(tool, OPT_LINES)) {
        replay->limit = tool->lines;
        if (!tool->lines_oldest)
            rc = walk_last(&replay->sel, tool, tool->lines, &from, err);
    }
    if (rc == 0)
        rc = walk_forward(&replay->sel, tool, from, replay->sel.to, count_frame, replay, err);
    return rc;
}

/* Frames per second from "500/s" or "2MB/s" (by the average size of what is selected). */
static bool read_rate(const struct replay *replay, const char *text, int64_t *frames_s)
{
    char number[32];
    size_t n = strlen(text);
    int64_t value;

    if (n > 2 && strcmp(text + n - 2, "/s") == 0)
        n -= 2;
    if (n == 0 || n >= sizeof(number))
        return false;
    memcpy(number, text, n);
    number[n] = '\0';
    if (!slsr_parse_size(number, &value) || value <= 0)
        return false;
    if (strspn(number, "0123456789") != n && replay->bytes > 0) {
        double average = (double)replay->bytes / (double)replay->frames;
        value = average > 1 ? (int64_t)((double)value / average) : value;
    }
    *frames_s = value > 0 ? value : 1;
    return true;
}

static void print_plan(const struct replay *replay)
{
    char bytes[TEXT_SMALL];
    char oldest[TEXT_SMALL];
    char newest[TEXT_SMALL];

    cli_text_size(bytes, replay->bytes);
    cli_text_time_local(oldest, replay->oldest_ns / 1000000000,
                        (uint32_t)(replay->oldest_ns % 1000000000));
    cli_text_time_local(newest, replay->newest_ns / 1000000000,
                        (uint32_t)(replay->newest_ns % 1000000000));
    fprintf(stderr, "replay: %" PRIu64 " frame%s (seq %" PRIu64 "..%" PRIu64 "), %s, %s to %s, to ",
            replay->frames, tool_s(replay->frames), replay->first, replay->last, bytes, oldest,
            newest);
    cli_text_escape(stderr, slsr_bytes_of(replay->target->name), 0);
    fputs(" (", stderr);
    cli_text_escape(stderr, slsr_bytes_of(replay->target->host), 0);
    fprintf(stderr, " port %d)", replay->target->port);
    if (replay->rate_frames_s > 0) {
        cli_text_duration(oldest, (int64_t)(replay->frames / (uint64_t)replay->rate_frames_s));
        fprintf(stderr, ", ETA %s at %" PRId64 " frames/s", oldest, replay->rate_frames_s);
    }
    fputc('\n', stderr);
}

/* Remembers (sequence, frames offered so far) at growing distances: enough to count what is settled
 * to within a few frames, and exactly at the end. */
static void mark_passed(struct replay *replay)
{
    const size_t most = sizeof(replay->passed) / sizeof(replay->passed[0]);
    const uint64_t step = replay->frames / most + 1;

    if (replay->offered % step != 0 || replay->passed_count == most)
        return;
    replay->passed[replay->passed_count].seq = replay->seen;
    replay->passed[replay->passed_count++].offered = replay->offered;
}

/* Of those settled, the ones set aside among them. */
static uint64_t settled_frames(const struct replay *replay)
{
    uint64_t frames = 0;

    if (replay->settled > replay->seen)
        return replay->offered;
    if (!replay->sel.filtered && !replay->sel.stated) /* all of them count */
        return replay->settled > replay->first ? replay->settled - replay->first : 0;
    for (size_t i = 0; i < replay->passed_count; i++)
        if (replay->passed[i].seq < replay->settled)
            frames = replay->passed[i].offered;
    return frames;
}

static uint64_t taken_frames(const struct replay *replay)
{
    const uint64_t settled = settled_frames(replay), aside = aside_frames(&replay->aside);

    return settled > aside ? settled - aside : 0;
}

static int set_aside(void *ctx, uint64_t seq, const char *reason, const char *evidence,
                     struct slsr_err *err)
{
    struct replay *replay = ctx;

    return aside_add(&replay->aside, replay->tool->spool, replay->target->name, seq, reason,
                     evidence, err);
}

/* Into the spool, at most twice a second unless `final`. A failure costs only the resumption. */
static void store_job(struct replay *replay, enum slsr_job_state state, bool final)
{
    const int64_t now = tool_now_ns();
    struct slsr_err err;

    if (replay->job.id == 0 || (!final && now - replay->stored_ns < STORE_NS))
        return;
    replay->stored_ns = now;
    replay->job.state = state;
    replay->job.cursor = replay->settled;
    replay->job.done = replay->before + taken_frames(replay);
    snprintf(replay->job.error, sizeof(replay->job.error), "%.199s", replay->error);
    if (slsr_job_update(replay->tool->spool, &replay->job, &err) != 0 && final)
        fprintf(stderr, "sls-spool: %s; the job's state is not stored\n", err.text);
    if (replay->job.stop_wanted)
        slsr_stop_request(&replay->tool->stop);
}

static bool want(void *ctx, const struct slsr_frame *frame)
{
    struct replay *replay = ctx;

    if (!select_wants(&replay->sel, frame))
        return false;
    if (frame->seq > replay->seen) { /* delivery asks again after a lost connection */
        replay->seen = frame->seq;
        replay->offered++;
        mark_passed(replay);
    }
    return true;
}

/* On one line of the terminal: what does not fit is left out, for a broken line would stay. */
static void progress(struct replay *replay, int64_t now)
{
    enum { BAR = 30, LINE = 160, ERROR_LEAST = 12 };
    const size_t wide = cli_text_columns(STDERR_FILENO) - 1;
    char line[LINE];
    char bar[BAR + 1];
    char rate[TEXT_SMALL];
    char eta[TEXT_SMALL];
    int64_t elapsed_s = (now - replay->began_ns) / 1000000000;
    double done = (double)replay->offered;
    double speed = elapsed_s > 0 ? done / (double)elapsed_s : 0;

    cli_text_count(rate, (uint64_t)speed);
    cli_text_duration(eta, speed > 0 ? (int64_t)((double)(replay->frames - replay->offered) / speed)
                                     : 0);
    size_t full = (size_t)(BAR * done / (double)replay->frames);
    memset(bar, '.', BAR);
    memset(bar, '#', full < BAR ? full : BAR);
    bar[BAR] = '\0';
    const size_t n =
        (size_t)snprintf(line, sizeof(line), "%" PRIu64 " of %" PRIu64 ", %s/s, ETA %s",
                         replay->offered, replay->frames, rate, speed > 0 ? eta : "unknown");
    const bool with_bar = n + BAR + 3 <= wide;
    const size_t used = n + (with_bar ? BAR + 3 : 0);
    if (with_bar)
        fprintf(stderr, "\r[%s] %s", bar, line);
    else
        fprintf(stderr, "\r%.*s", (int)wide, line);
    if (replay->error[0] != '\0' && used + ERROR_LEAST < wide) {
        fputs(", ", stderr);
        cli_text_escape(stderr, slsr_bytes_of(replay->error), wide - used - 5);
    }
    fputs("\x1b[K", stderr);
}

/* The library gives up on a target that does not connect. A closed UDP port, or a peer that hangs
 * up at once, connects each time and takes nothing: from here that is not reachable either. */
static void judge(struct replay *replay, const struct slsr_target_state *state, int64_t now)
{
    if (state->acked > replay->settled)
        replay->down_ns = 0;
    if (state->phase != SLSR_PHASE_BACKOFF)
        return;
    snprintf(replay->cause, sizeof(replay->cause), "%.199s", state->error);
    if (replay->down_ns == 0)
        replay->down_ns = now;
    if ((now - replay->down_ns) / 1000000 < replay->tool->timeout_ms)
        return;
    replay->unreachable = true;
    slsr_stop_request(&replay->tool->stop);
}

static void report(void *ctx, const struct slsr_target_state *state)
{
    struct replay *replay = ctx;
    int64_t now = tool_now_ns();

    if (!slsr_stop_requested(&replay->tool->stop))
        judge(replay, state, now);
    if (state->acked > replay->settled)
        replay->settled = state->acked;
    memcpy(replay->error, state->error, sizeof(replay->error));
    replay->error[sizeof(replay->error) - 1] = '\0';
    if (state->phase == SLSR_PHASE_UP || state->phase == SLSR_PHASE_IDLE)
        replay->error[0] = '\0';
    store_job(replay, SLSR_JOB_RUNNING, false);
    if (!replay->terminal || now < replay->next_ns)
        return; /* in a file or a pipe the summary is all */
    replay->next_ns = now + INT64_C(200000000);
    progress(replay, now);
}

static void print_resume(const struct replay *replay)
{
    if (replay->settled <= replay->first)
        fputs("no frame was taken", stderr);
    else
        fprintf(stderr, "all selected frames before seq %" PRIu64 " were taken", replay->settled);
    fputs(": go on with ", stderr);
    if (replay->job.id != 0)
        fprintf(stderr, "replay --resume %" PRIu64 ", or ", replay->job.id);
    fprintf(stderr, "the same selectors and --seq %" PRIu64 "..%" PRIu64 "\n", replay->settled,
            replay->last);
}

static int not_reached(const struct replay *replay)
{
    char waited[TEXT_SMALL];

    cli_text_duration(waited,
                      replay->tool->timeout_ms / 1000 + (replay->tool->timeout_ms % 1000 != 0));
    fputs("sls-spool: cannot reach ", stderr);
    cli_text_escape(stderr, slsr_bytes_of(replay->target->name), 0);
    fprintf(stderr, ", gave up after %s: ", waited);
    cli_text_escape(stderr,
                    slsr_bytes_of(replay->cause[0] != '\0' ? replay->cause : "no connection"), 0);
    fputs("; ", stderr);
    print_resume(replay);
    return EXIT_UNREACHABLE;
}

static int summary(struct replay *replay, int rc, const struct slsr_err *err)
{
    char took[TEXT_SMALL];

    if (replay->terminal)
        fputs("\r\x1b[K", stderr);
    aside_say(&replay->aside, replay->frames);
    if (replay->sel.pattern_failed) {
        fputs("sls-spool: replay not complete, ", stderr);
        print_resume(replay);
        return tool_fail(&replay->sel.err);
    }
    if (rc == SLSR_ENET || rc == SLSR_EREMOTE || (rc == SLSR_ESTOPPED && replay->unreachable))
        return not_reached(replay);
    if (rc == 0 && replay->offered < replay->frames) {
        /* Retention does not wait for a replay. */
        fprintf(stderr,
                "sls-spool: %" PRIu64 " of %" PRIu64
                " frames were gone before they could be sent, replay: raise spool.retention_time\n",
                replay->frames - replay->offered, replay->frames);
        return EXIT_DAMAGED;
    }
    if (rc == 0 && aside_frames(&replay->aside) > 0)
        return EXIT_DAMAGED; /* to go on would not help */
    if (rc == 0) {
        cli_text_duration(took, (tool_now_ns() - replay->began_ns) / 1000000000);
        fprintf(stderr, "replay: all %" PRIu64 " frame%s taken, in %s\n", replay->frames,
                tool_s(replay->frames), took);
        return 0;
    }
    int code = rc == SLSR_ESTOPPED ? EXIT_AGAIN : tool_fail(err);
    fputs("sls-spool: replay not complete, ", stderr);
    print_resume(replay);
    return code;
}

static int send_all(struct replay *replay)
{
    struct tool *tool = replay->tool;
    struct slsr_err err = {0};
    struct slsr_delivery delivery = {.target = replay->target,
                                     .spool = tool->spool,
                                     .from = replay->first,
                                     .to = replay->last + 1,
                                     .want = want,
                                     .report = report,
                                     .set_aside = set_aside,
                                     .ctx = replay,
                                     .give_up_ms = tool->timeout_ms,
                                     .drain_ms = DRAIN_MS,
                                     .stop = &tool->stop};

    delivery.rate_frames_s = replay->rate_frames_s;
    replay->settled = replay->first;
    replay->began_ns = tool_now_ns();
    replay->terminal = isatty(STDERR_FILENO) == 1;
    store_job(replay, SLSR_JOB_RUNNING, true);
    int rc = slsr_deliver_run(&delivery, &err);
    if (rc == 0)
        replay->settled = replay->last + 1;
    store_job(replay, rc == 0 ? SLSR_JOB_DONE : SLSR_JOB_STOPPED, true);
    return summary(replay, rc, &err);
}

/* The job of this command: a new one, or the one that is resumed. */
static void begin_job(struct replay *replay)
{
    struct slsr_job *job = &replay->job;
    struct slsr_err err;
    struct slsr_ledger_entry entry = {.kind = "replay", .reason = "operator"};

    replay->before = job->frames > replay->frames ? job->frames - replay->frames : 0;
    job->pid = getpid();
    if (replay->resumed)
        return;
    replay->before = 0;
    job->from = job->cursor = replay->first;
    job->to = replay->last + 1;
    job->frames = replay->frames;
    job->bytes = replay->bytes;
    if (!job_from_tool(job, replay->tool, &replay->sel)) {
        fputs("sls-spool: these selectors are too long to be remembered: this replay cannot be "
              "resumed by its number\n",
              stderr);
    } else if (slsr_job_add(replay->tool->spool, job, &replay->sel.within, &err) != 0) {
        job->id = 0;
        fprintf(stderr,
                "sls-spool: this replay cannot be resumed by its number, for the spool "
                "cannot be written: %s\n",
                err.text);
    } else {
        snprintf(entry.who, sizeof(entry.who), "%s", tool_user());
        snprintf(entry.target, sizeof(entry.target), "%.63s", job->target);
        entry.from_seq = job->from;
        entry.to_seq = job->to;
        entry.frames = job->frames;
        entry.bytes = job->bytes;
        snprintf(entry.text, sizeof(entry.text), "job %" PRIu64, job->id);
        slsr_ledger_add(replay->tool->spool, &entry, NULL);
    }
}

static int unknown_target(const struct tool *tool)
{
    char names[300] = "";
    size_t n = 0;

    for (size_t i = 0; i < tool->config->target_count && n < sizeof(names); i++)
        n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", i == 0 ? "" : ", ",
                              tool->config->targets[i].name);
    return tool_usage("target '%s', -t: the configuration has no such target: it has %s; or give "
                      "--to URL",
                      tool->target, n > 0 ? names : "none");
}

/* The target by -t (configuration) or --to (URL, then ours to free). 0 or the exit code. */
static int find_target(struct replay *replay, struct slsr_target_config *own)
{
    struct tool *tool = replay->tool;
    struct slsr_err err = {0};

    if ((tool->target != NULL) == (tool->to != NULL))
        return tool_usage("replay: give either -t NAME, or --to tcp://HOST:PORT, tls, udp or relp");
    if (tool->timeout_ms <= 0)
        return tool_usage("--timeout 0, replay: give a time longer than that");
    if (tool->to != NULL) {
        int rc = slsr_target_from_url(own, tool->to, &err);
        if (rc == SLSR_ECONFIG)
            return tool_usage("'%s', --to: %s", tool->to, err.text);
        if (rc != 0)
            return tool_fail(&err);
        replay->target = own;
        return 0;
    }
    int code = tool_load_config(tool);
    if (code != 0)
        return code;
    for (size_t i = 0; i < tool->config->target_count; i++) {
        if (strcmp(tool->config->targets[i].name, tool->target) == 0) {
            replay->target = &tool->config->targets[i];
            return 0;
        }
    }
    if (tool->config_file == NULL && access(DEFAULT_CONFIG, F_OK) != 0)
        return tool_usage(
            "target '%s', -t: no configuration was loaded, for there is no " DEFAULT_CONFIG
            ": give -c FILE or --to URL",
            tool->target);
    return unknown_target(tool);
}

/* A resumed job of which nothing is left. */
static void finish_job(struct replay *replay)
{
    fprintf(stderr, "replay: job %" PRIu64 " has nothing left to send\n", replay->job.id);
    replay->job.state = SLSR_JOB_DONE;
    replay->job.done = replay->job.frames;
    slsr_job_update(replay->tool->spool, &replay->job, NULL);
}

static void tell_json(const struct replay *replay, int code)
{
    const bool dry = tool_given(replay->tool, OPT_DRY_RUN);
    const uint64_t next = replay->settled > replay->first ? replay->settled : replay->first;

    fputs("{\"job\":", stdout);
    if (replay->job.id != 0)
        printf("%" PRIu64, replay->job.id);
    else
        fputs("null", stdout);
    printf(",\"dry_run\":%s,\"target\":", dry ? "true" : "false");
    cli_json_string(stdout, slsr_bytes_of(replay->target->name));
    printf(",\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"from_seq\":%" PRIu64
           ",\"to_seq\":%" PRIu64 ",\"taken\":%" PRIu64 ",\"next_seq\":%" PRIu64
           ",\"complete\":%s}\n",
           replay->frames, replay->bytes, replay->first, replay->last, taken_frames(replay), next,
           code == 0 && !dry ? "true" : "false");
}

/* Plans, asks, sends. The exit code. */
static int replay_run(struct replay *replay)
{
    struct tool *tool = replay->tool;
    struct slsr_target_config own = {0};
    struct slsr_err err = {0};
    int code = find_target(replay, &own);

    if (code == 0 && count(replay, &err) != 0)
        code = tool_fail(&err);
    else if (code == 0 && slsr_stop_requested(&tool->stop))
        code = tool_interrupted("nothing was sent");
    else if (code == 0 && replay->frames == 0 && replay->resumed && !tool->damaged)
        finish_job(replay);
    else if (code == 0 && replay->frames == 0)
        code = tool_no_match(tool, ", nothing was sent");
    if (code == 0 && tool->rate != NULL && !read_rate(replay, tool->rate, &replay->rate_frames_s))
        code = tool_usage("rate '%s', --rate: give frames (500/s) or bytes (2MB/s)", tool->rate);
    if (code == 0 && replay->frames > 0) {
        print_plan(replay);
        if (!tool_given(tool, OPT_DRY_RUN) && !replay->resumed)
            code = tool_confirm(tool, replay->frames, "replay");
    }
    if (code == 0 && replay->frames > 0 && !tool_given(tool, OPT_DRY_RUN)) {
        begin_job(replay);
        if (replay->job.id != 0 && replay->frames > SAY_JOB_FRAMES)
            fprintf(stderr,
                    "replay: job %" PRIu64 "; after an interruption: replay --resume %" PRIu64 "\n",
                    replay->job.id, replay->job.id);
        code = send_all(replay);
    }
    if (tool->output != OUT_TEXT && replay->only == NULL && replay->frames > 0)
        tell_json(replay, code);
    select_fini(&replay->sel);
    aside_free(&replay->aside);
    slsr_target_free(&own);
    return code;
}

int replay_spans(struct tool *tool, const struct slsr_spans *spans)
{
    struct replay replay = {.tool = tool, .only = spans};

    return replay_run(&replay);
}

int verb_replay(struct tool *tool)
{
    struct replay replay = {.tool = tool};
    int code = job_options(tool);

    if (code != 0)
        return code;
    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'replay': give text or json, raw is for frames");
    if (tool_given(tool, OPT_LIST))
        return job_list(tool);
    if (tool_given(tool, OPT_STOP))
        return job_stop(tool);
    if (tool_given(tool, OPT_RESUME)) {
        replay.resumed = true;
        code = job_to_tool(&replay.job, tool);
    }
    return code != 0 ? code : replay_run(&replay);
}
