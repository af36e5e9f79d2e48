/* status, targets, shards, stats: the figures as a screen, as tables, as JSON, as a check.
 *
 * Without a running relay nobody sends: targets show as stopped, with the last cause that the relay
 * left in the spool. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/table.h"
#include "common/text.h"
#include "figures.h"
#include "sentence.h"

enum { WATCH_MS = 1000 };

static int no_raw(const struct tool *tool)
{
    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with '%s': give text or json, raw is for frames", tool->verb);
    return 0;
}

static void json_targets(const struct slsr_status *figures, const char *only)
{
    bool first = true;

    fputc('[', stdout);
    for (size_t i = 0; i < figures->target_count; i++) {
        if (only != NULL && strcmp(figures->targets[i].state.name, only) != 0)
            continue;
        fputs(first ? "\n  " : ",\n  ", stdout);
        slsr_status_write_target(stdout, &figures->targets[i]);
        first = false;
    }
    fputc(']', stdout);
}

static void json_shards(const struct slsr_status *figures)
{
    fputc('[', stdout);
    for (size_t i = 0; i < figures->shard_count; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", stdout);
        slsr_status_write_shard(stdout, &figures->shards[i]);
    }
    fputc(']', stdout);
}

/* One backlog against the thresholds; tells what passed. */
static bool behind(const struct tool *tool, const char *name, uint64_t frames, int64_t age_s)
{
    FILE *out = tool->output == OUT_TEXT ? stdout : stderr;
    bool over = false;
    char text[TEXT_SMALL];
    char limit[TEXT_SMALL];

    if (frames > tool->max_backlog) {
        cli_text_escape(out, slsr_bytes_of(name), 0);
        fprintf(out, ": %" PRIu64 " frame%s behind, more than %" PRIu64 "\n", frames,
                tool_s(frames), tool->max_backlog);
        over = true;
    }
    if (age_s >= 0 && age_s > tool->max_age_s) {
        cli_text_duration(text, age_s);
        cli_text_duration(limit, tool->max_age_s);
        cli_text_escape(out, slsr_bytes_of(name), 0);
        fprintf(out, ": oldest frame behind is %s old, more than %s\n", text, limit);
        over = true;
    }
    return over;
}

/* Before a target has registered, nothing has been delivered: the whole spool is behind. Without a
 * relay nothing flows at all, however small the backlog still is. */
static bool check(const struct tool *tool, const struct slsr_status *figures)
{
    bool over = !figures->stat.live;

    if (over)
        fputs("no relay is running: frames are neither taken in nor sent, start sls-relay\n",
              tool->output == OUT_TEXT ? stdout : stderr);
    for (size_t i = 0; i < figures->target_count; i++) {
        const struct slsr_target_figures *target = &figures->targets[i];
        over |= behind(tool, target->state.name, target->backlog_frames, target->oldest_age_s);
    }
    if (figures->target_count == 0) {
        int64_t age_s = -1;
        if (figures->stat.frames > 0)
            age_s = (figures->now_ms - figures->stat.oldest_arrival_ms) / 1000;
        over |= behind(tool, "no target has registered", figures->stat.frames, age_s);
    }
    if (!over && tool->output == OUT_TEXT)
        fputs("ok: no target is further behind than allowed\n", stdout);
    return over;
}

static int status_once(struct tool *tool)
{
    struct slsr_status figures;
    struct slsr_err err = {0};
    int code = 0;

    int rc = slsr_status_read(&figures, tool->spool, &err);
    if (rc == 0) {
        if (tool->output != OUT_TEXT)
            /* one line a second with -o jsonl --watch */
            slsr_status_write(stdout, &figures, tool->output == OUT_JSONL);
        else if (!tool_given(tool, OPT_CHECK))
            rc = sentence_status(tool, &figures, &err);
        if (tool_given(tool, OPT_CHECK) && check(tool, &figures))
            code = EXIT_NOTHING;
    }
    slsr_status_free(&figures);
    return rc != 0 ? tool_fail(&err) : code;
}

int verb_status(struct tool *tool)
{
    bool terminal = isatty(STDOUT_FILENO) == 1 && tool->output == OUT_TEXT;
    bool limits = tool_given(tool, OPT_MAX_AGE) || tool_given(tool, OPT_MAX_BACKLOG);
    int code = no_raw(tool);

    if (code != 0)
        return code;
    if (limits != tool_given(tool, OPT_CHECK))
        return tool_usage("--check goes with --max-age S, --max-backlog N or both: give them "
                          "together");
    if (!tool_given(tool, OPT_WATCH))
        return status_once(tool);
    do {
        if (terminal)
            fputs("\x1b[H\x1b[2J", stdout);
        code = status_once(tool);
        fflush(stdout);
    } while ((code == 0 || code == EXIT_NOTHING) && !tool_output_broken(tool) &&
             !slsr_stop_wait(&tool->stop, WATCH_MS));
    return code;
}

static void targets_table(const struct slsr_status *figures, const char *only)
{
    struct table table;

    cli_table_init(&table, "llrrrrrl");
    static const char *const heads[] = {"TARGET", "STATE",  "ACKED",  "BEHIND",
                                        "BYTES",  "OLDEST", "RATE/S", "LAST ERROR"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        cli_table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < figures->target_count; i++) {
        const struct slsr_target_figures *target = &figures->targets[i];
        const struct slsr_target_state *state = &target->state;
        char bytes[TEXT_SMALL];
        char oldest[TEXT_SMALL] = "-";
        if (only != NULL && strcmp(state->name, only) != 0)
            continue;
        cli_text_size(bytes, target->backlog_bytes);
        if (target->oldest_age_s >= 0)
            cli_text_duration(oldest, target->oldest_age_s);
        cli_table_cell(&table, "%s", state->name);
        cli_table_cell(&table, "%s", slsr_phase_name(state->phase));
        cli_table_cell(&table, "%" PRIu64, state->acked > 0 ? state->acked - 1 : 0);
        cli_table_cell(&table, "%" PRIu64, target->backlog_frames);
        cli_table_cell(&table, "%s", bytes);
        cli_table_cell(&table, "%s", oldest);
        cli_table_cell(&table, "%.0f", state->rate_frames_s);
        cli_table_cell(&table, "%s", state->error[0] != '\0' ? state->error : "-");
    }
    cli_table_print(&table, stdout, "");
    cli_table_fini(&table);
}

/* Nothing to show: says which names there are. */
static int no_target(const struct slsr_status *figures, const char *name)
{
    if (figures->target_count == 0) {
        fputs("sls-spool: no target has registered yet: start the relay with one\n", stderr);
        return EXIT_NOTHING;
    }
    fputs("sls-spool: no target ", stderr);
    cli_text_escape(stderr, slsr_bytes_of(name), 0);
    fputs(": known are ", stderr);
    for (size_t i = 0; i < figures->target_count; i++) {
        fputs(i == 0 ? "" : ", ", stderr);
        cli_text_escape(stderr, slsr_bytes_of(figures->targets[i].state.name), 0);
    }
    fputc('\n', stderr);
    return EXIT_NOTHING;
}

int verb_targets(struct tool *tool)
{
    struct slsr_status figures;
    struct slsr_err err = {0};
    bool found = false;
    int code = no_raw(tool);

    if (code != 0)
        return code;
    int rc = slsr_status_read(&figures, tool->spool, &err);
    for (size_t i = 0; i < figures.target_count; i++)
        found |= tool->target == NULL || strcmp(figures.targets[i].state.name, tool->target) == 0;
    if (rc == 0 && tool->output == OUT_TEXT && found) {
        targets_table(&figures, tool->target);
    } else if (rc == 0 && tool->output == OUT_JSON) {
        json_targets(&figures, tool->target);
        fputc('\n', stdout);
    } else if (rc == 0 && tool->output == OUT_JSONL) {
        for (size_t i = 0; i < figures.target_count; i++) {
            if (tool->target != NULL && strcmp(figures.targets[i].state.name, tool->target) != 0)
                continue;
            slsr_status_write_target(stdout, &figures.targets[i]);
            fputc('\n', stdout);
        }
    }
    if (rc == 0 && !found)
        code = no_target(&figures, tool->target);
    slsr_status_free(&figures);
    return rc != 0 ? tool_fail(&err) : code;
}

int verb_shards(struct tool *tool)
{
    struct slsr_status figures;
    struct slsr_err err = {0};
    int code = no_raw(tool);

    if (code != 0)
        return code;
    int rc = slsr_status_read(&figures, tool->spool, &err);
    size_t count = figures.shard_count;
    if (rc == 0 && tool->output == OUT_TEXT && count > 0) {
        figures_table_shards(&figures, stdout, "");
    } else if (rc == 0 && tool->output == OUT_JSON) {
        json_shards(&figures);
        fputc('\n', stdout);
    } else if (rc == 0 && tool->output == OUT_JSONL) {
        for (size_t i = 0; i < count; i++) {
            slsr_status_write_shard(stdout, &figures.shards[i]);
            fputc('\n', stdout);
        }
    }
    slsr_status_free(&figures);
    if (rc != 0)
        return tool_fail(&err);
    if (count > 0)
        return 0;
    fputs("sls-spool: no shard has been read yet\n", stderr);
    return EXIT_NOTHING;
}

int verb_stats(struct tool *tool)
{
    struct slsr_spool_stat stat;
    struct slsr_err err = {0};
    char text[TEXT_SMALL];
    int code = no_raw(tool);

    if (code != 0)
        return code;
    if (slsr_spool_stat(tool->spool, &stat, &err) != 0)
        return tool_fail(&err);
    double average = stat.frames > 0 ? (double)stat.bytes / (double)stat.frames : 0;
    if (tool->output != OUT_TEXT) {
        fputc('{', stdout);
        slsr_status_write_totals(stdout, &stat);
        fputs(",\"average_frame_bytes\":", stdout);
        cli_json_real(stdout, average);
        fputs("}\n", stdout);
        return 0;
    }
    printf("frames         %" PRIu64 "\n", stat.frames);
    cli_text_size(text, stat.bytes);
    printf("bytes          %" PRIu64 " (%s)\n", stat.bytes, text);
    printf("average frame  %.1f bytes\n", average);
    if (stat.frames > 0)
        printf("sequences      %" PRIu64 "..%" PRIu64 "\n", stat.oldest_seq, stat.next_seq - 1);
    else
        printf("sequences      none, the next is %" PRIu64 "\n", stat.next_seq);
    printf("segments       %" PRIu32 "\n", stat.segments);
    cli_text_size(text, stat.disk_bytes);
    printf("disk           %" PRIu64 " (%s)\n", stat.disk_bytes, text);
    return 0;
}
