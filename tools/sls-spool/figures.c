/* Figures: see figures.h. One consistent enough look: frames may come in between two questions, so
 * differences are cut at zero, never shown as huge numbers. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/table.h"
#include "common/text.h"
#include "figures.h"

static int read_target(struct target_figures *target, const struct figures *figures,
                       struct slsr_spool *spool, struct slsr_err *err)
{
    struct slsr_target_state *state = &target->state;
    int64_t arrival_ms = 0;
    int rc = slsr_spool_backlog(spool, state->acked, &target->backlog_frames,
                                &target->backlog_bytes, &arrival_ms, err);

    if (rc != 0)
        return rc;
    target->oldest_age_s = target->next_retry_s = target->eta_s = -1;
    if (target->backlog_frames > 0)
        target->oldest_age_s =
            figures->now_ms > arrival_ms ? (figures->now_ms - arrival_ms) / 1000 : 0;
    if (!figures->stat.live) {
        state->phase = SLSR_PHASE_STOPPED;
        state->rate_frames_s = 0;
        return 0;
    }
    if (state->next_retry_ms > 0)
        target->next_retry_s = state->next_retry_ms > figures->now_ms
                                   ? (state->next_retry_ms - figures->now_ms + 999) / 1000
                                   : 0;
    if (isfinite(state->rate_frames_s) && state->rate_frames_s > 0) {
        double eta = ceil((double)target->backlog_frames / state->rate_frames_s);
        target->eta_s = eta < 1e15 ? (int64_t)eta : -1;
    }
    return 0;
}

int figures_read(struct figures *figures, struct slsr_spool *spool, struct slsr_err *err)
{
    struct slsr_target_state *states = NULL;
    size_t count = 0;

    *figures = (struct figures){.now_ms = tool_now_ns() / 1000000};
    int rc = slsr_spool_stat(spool, &figures->stat, err);
    if (rc == 0)
        rc = slsr_spool_targets(spool, &states, &count, err);
    if (rc == 0)
        rc = slsr_spool_shards(spool, &figures->shards, &figures->shard_count, err);
    if (rc == 0 && count > 0) {
        figures->targets = calloc(count, sizeof(*figures->targets));
        if (figures->targets == NULL)
            rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        figures->targets[i].state = states[i];
        rc = read_target(&figures->targets[i], figures, spool, err);
        figures->target_count++;
    }
    /* The stored lag is from when somebody last measured; it has been growing unseen since. */
    for (size_t i = 0; !figures->stat.live && i < figures->shard_count; i++)
        figures->shards[i].lag_s = -1;
    free(states);
    return rc;
}

void figures_free(struct figures *figures)
{
    free(figures->targets);
    free(figures->shards);
    *figures = (struct figures){0};
}

static void number_or_null(FILE *out, const char *name, int64_t value)
{
    if (value >= 0)
        fprintf(out, ",\"%s\":%" PRId64, name, value);
    else
        fprintf(out, ",\"%s\":null", name);
}

static void text_or_null(FILE *out, const char *name, const char *text)
{
    fprintf(out, ",\"%s\":", name);
    if (text[0] == '\0')
        fputs("null", out);
    else
        cli_json_string(out, slsr_bytes_of(text));
}

void figures_json_target(FILE *out, const struct target_figures *target)
{
    const struct slsr_target_state *state = &target->state;

    fputs("{\"name\":", out);
    cli_json_string(out, slsr_bytes_of(state->name));
    fprintf(out, ",\"state\":\"%s\",\"acked_seq\":%" PRIu64, slsr_phase_name(state->phase),
            state->acked > 0 ? state->acked - 1 : 0);
    fprintf(out, ",\"backlog_frames\":%" PRIu64 ",\"backlog_bytes\":%" PRIu64,
            target->backlog_frames, target->backlog_bytes);
    number_or_null(out, "oldest_age_s", target->oldest_age_s);
    text_or_null(out, "last_error", state->error);
    number_or_null(out, "next_retry_s", target->next_retry_s);
    fputs(",\"rate_frames_s\":", out);
    cli_json_real(out, isfinite(state->rate_frames_s) ? state->rate_frames_s : 0);
    number_or_null(out, "eta_s", target->eta_s);
    fputc('}', out);
}

void figures_json_shard(FILE *out, const struct slsr_shard_state *shard)
{
    fputs("{\"project\":", out);
    cli_json_string(out, slsr_bytes_of(shard->project));
    fputs(",\"logstore\":", out);
    cli_json_string(out, slsr_bytes_of(shard->logstore));
    fprintf(out, ",\"shard\":%" PRIu32, shard->shard);
    text_or_null(out, "cursor", shard->cursor);
    text_or_null(out, "checkpoint", shard->checkpoint);
    number_or_null(out, "lag_s", shard->lag_s);
    fputc('}', out);
}

void figures_table_shards(const struct figures *figures, FILE *out, const char *indent)
{
    struct table table;

    cli_table_init(&table, "lllr");
    cli_table_cell(&table, "SHARD");
    cli_table_cell(&table, "CURSOR");
    cli_table_cell(&table, "CHECKPOINT");
    cli_table_cell(&table, "LAG");
    for (size_t i = 0; i < figures->shard_count; i++) {
        const struct slsr_shard_state *shard = &figures->shards[i];
        char lag[TEXT_SMALL] = "unknown";
        if (shard->lag_s >= 0)
            cli_text_duration(lag, shard->lag_s);
        cli_table_cell(&table, "%s/%s/%" PRIu32, shard->project, shard->logstore, shard->shard);
        cli_table_cell(&table, "%s", shard->cursor[0] != '\0' ? shard->cursor : "-");
        cli_table_cell(&table, "%s", shard->checkpoint[0] != '\0' ? shard->checkpoint : "-");
        cli_table_cell(&table, "%s", lag);
    }
    cli_table_print(&table, out, indent);
    cli_table_fini(&table);
}
