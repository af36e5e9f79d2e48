/* top: what comes in and goes out, second by second. On a terminal it redraws until interrupted;
 * elsewhere it is one sample over a second. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/table.h"
#include "common/text.h"
#include "figures.h"

enum { SAMPLE_MS = 1000 };

struct sample {
    struct slsr_status now;
    int64_t ns;
};

static int take(struct tool *tool, struct sample *sample, struct slsr_err *err)
{
    sample->ns = tool_now_ns();
    return slsr_status_read(&sample->now, tool->spool, err);
}

static double per_second(uint64_t a, uint64_t b, double seconds)
{
    return b > a && seconds > 0 ? (double)(b - a) / seconds : 0;
}

/* Before the sample, of the same target; its own position when it is new. */
static uint64_t acked_before(const struct sample *before, const struct slsr_target_state *state)
{
    for (size_t i = 0; i < before->now.target_count; i++)
        if (strcmp(before->now.targets[i].state.name, state->name) == 0)
            return before->now.targets[i].state.acked;
    return state->acked;
}

static void print_json(const struct sample *a, const struct sample *b, double seconds)
{
    fputs("{\"in_frames_s\":", stdout);
    cli_json_real(stdout, per_second(a->now.stat.next_seq, b->now.stat.next_seq, seconds));
    fputs(",\"targets\":[", stdout);
    for (size_t i = 0; i < b->now.target_count; i++) {
        const struct slsr_target_figures *t = &b->now.targets[i];
        fputs(i == 0 ? "{\"name\":" : ",{\"name\":", stdout);
        cli_json_string(stdout, slsr_bytes_of(t->state.name));
        fputs(",\"out_frames_s\":", stdout);
        cli_json_real(stdout, per_second(acked_before(a, &t->state), t->state.acked, seconds));
        printf(",\"state\":\"%s\",\"backlog_frames\":%" PRIu64 ",\"backlog_bytes\":%" PRIu64 "}",
               slsr_phase_name(t->state.phase), t->backlog_frames, t->backlog_bytes);
    }
    fputs("]}\n", stdout);
}

static void print_text(const struct sample *a, const struct sample *b, double seconds)
{
    struct table table;
    char text[TEXT_SMALL];
    char bytes[TEXT_SMALL];
    double in = per_second(a->now.stat.next_seq, b->now.stat.next_seq, seconds);

    cli_text_size(text, b->now.stat.disk_bytes);
    printf("in %.0f frames/s, newest seq %" PRIu64 ", %s on disk, %s\n\n", in,
           b->now.stat.next_seq > 0 ? b->now.stat.next_seq - 1 : 0, text,
           b->now.stat.live ? "relay is running" : "no relay running");
    cli_table_init(&table, "lrrrrrl");
    static const char *const heads[] = {"TARGET", "OUT/S",     "BEHIND", "BYTES",
                                        "OLDEST", "BALANCE/S", "STATE"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        cli_table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < b->now.target_count; i++) {
        const struct slsr_target_figures *t = &b->now.targets[i];
        double out = per_second(acked_before(a, &t->state), t->state.acked, seconds);
        cli_table_cell(&table, "%s", t->state.name);
        cli_table_cell(&table, "%.0f", out);
        cli_text_count(text, t->backlog_frames);
        cli_table_cell(&table, "%s", text);
        cli_text_size(bytes, t->backlog_bytes);
        cli_table_cell(&table, "%s", bytes);
        cli_text_duration(text, t->oldest_age_s > 0 ? t->oldest_age_s : 0);
        cli_table_cell(&table, "%s", t->oldest_age_s >= 0 ? text : "-");
        cli_table_cell(&table, "%+.0f", out - in); /* what the backlog shrinks by */
        cli_table_cell(&table, "%s", slsr_phase_name(t->state.phase));
    }
    if (b->now.target_count > 0)
        cli_table_print(&table, stdout, "");
    else
        puts("no target has registered yet");
    cli_table_fini(&table);
    if (b->now.shard_count > 0) {
        fputc('\n', stdout);
        figures_table_shards(&b->now, stdout, "");
    }
}

int verb_top(struct tool *tool)
{
    bool terminal = isatty(STDOUT_FILENO) == 1 && tool->output == OUT_TEXT;
    struct sample samples[2] = {0};
    struct slsr_err err = {0};
    int rc;

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'top': give text or json, raw is for frames");
    rc = take(tool, &samples[0], &err);
    for (int turn = 1; rc == 0; turn ^= 1) {
        struct sample *now = &samples[turn];
        const struct sample *before = &samples[turn ^ 1];

        if (slsr_stop_wait(&tool->stop, SAMPLE_MS))
            break;
        slsr_status_free(&now->now);
        rc = take(tool, now, &err);
        if (rc != 0)
            break;
        double seconds = (double)(now->ns - before->ns) / 1e9;
        if (terminal)
            fputs("\x1b[H\x1b[2J", stdout);
        if (tool->output == OUT_TEXT)
            print_text(before, now, seconds);
        else
            print_json(before, now, seconds);
        fflush(stdout);
        if (!terminal || tool_output_broken(tool))
            break;
    }
    slsr_status_free(&samples[0].now);
    slsr_status_free(&samples[1].now);
    return rc == 0 ? 0 : tool_fail(&err);
}
