/* The spool's figures and their JSON: see slsrelay/status.h. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "slsrelay/control.h"
#include "slsrelay/status.h"

#include "base/clock.h"
#include "base/json.h"

static int count_marks(struct slsr_target_figures *target, struct slsr_spool *spool,
                       struct slsr_err *err)
{
    const struct {
        enum slsr_mark kind;
        uint64_t *out;
    } kinds[] = {{SLSR_MARK_HOLD, &target->held_frames},
                 {SLSR_MARK_WANTED, &target->held_frames},
                 {SLSR_MARK_DEAD, &target->dead_frames},
                 {SLSR_MARK_RESEND, &target->resend_frames}};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof kinds / sizeof kinds[0]; i++) {
        struct slsr_spans spans = {0};

        rc = slsr_marks_read(spool, kinds[i].kind, target->state.name, &spans, err);
        *kinds[i].out += slsr_spans_frames(&spans);
        slsr_spans_free(&spans);
    }
    return rc;
}

static int read_target(struct slsr_target_figures *target, const struct slsr_status *status,
                       struct slsr_spool *spool, struct slsr_err *err)
{
    struct slsr_target_state *state = &target->state;
    int64_t arrival_ms = 0;
    int rc = slsr_spool_backlog(spool, state->acked, &target->backlog_frames,
                                &target->backlog_bytes, &arrival_ms, err);

    if (rc != 0)
        return rc;
    rc = count_marks(target, spool, err);
    if (rc != 0)
        return rc;
    target->oldest_age_s = target->next_retry_s = target->eta_s = -1;
    if (target->backlog_frames > 0)
        target->oldest_age_s =
            status->now_ms > arrival_ms ? (status->now_ms - arrival_ms) / 1000 : 0;
    if (!status->stat.live) {
        state->phase = SLSR_PHASE_STOPPED;
        state->rate_frames_s = 0;
        return 0;
    }
    if (state->next_retry_ms > 0)
        target->next_retry_s = state->next_retry_ms > status->now_ms
                                   ? (state->next_retry_ms - status->now_ms + 999) / 1000
                                   : 0;
    if (isfinite(state->rate_frames_s) && state->rate_frames_s > 0) {
        const double eta = ceil((double)target->backlog_frames / state->rate_frames_s);

        target->eta_s = eta < 1e15 ? (int64_t)eta : -1;
    }
    return 0;
}

/* As people look for them: by project, logstore, number. */
static int by_place(const void *a, const void *b)
{
    const struct slsr_shard_state *x = a;
    const struct slsr_shard_state *y = b;
    int order = strcmp(x->project, y->project);

    if (order == 0)
        order = strcmp(x->logstore, y->logstore);
    return order != 0 ? order : (x->shard > y->shard) - (x->shard < y->shard);
}

int slsr_status_read(struct slsr_status *status, struct slsr_spool *spool, struct slsr_err *err)
{
    struct slsr_target_state *states = NULL;
    size_t count = 0;
    int rc;

    *status = (struct slsr_status){.now_ms = clock_wall_ms()};
    rc = slsr_spool_stat(spool, &status->stat, err);
    if (rc == 0)
        rc = slsr_spool_targets(spool, &states, &count, err);
    if (rc == 0)
        rc = slsr_spool_shards(spool, &status->shards, &status->shard_count, err);
    if (rc == 0 && count > 0) {
        status->targets = calloc(count, sizeof *status->targets);
        if (status->targets == NULL)
            rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    }
    if (rc == 0)
        rc = slsr_spool_sources(spool, &status->sources, &status->source_count, err);
    for (size_t i = 0; !status->stat.live && i < status->source_count; i++)
        snprintf(status->sources[i].state, sizeof status->sources[i].state, "stopped");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        status->targets[i].state = states[i];
        rc = read_target(&status->targets[i], status, spool, err);
        status->target_count++;
    }
    if (status->shard_count > 1)
        qsort(status->shards, status->shard_count, sizeof *status->shards, by_place);
    /* The stored lag is from when somebody last measured; it has been growing unseen since. */
    for (size_t i = 0; !status->stat.live && i < status->shard_count; i++)
        status->shards[i].lag_s = -1;
    free(states);
    return rc;
}

void slsr_status_free(struct slsr_status *status)
{
    free(status->targets);
    free(status->shards);
    free(status->sources);
    *status = (struct slsr_status){0};
}

void slsr_status_write_target(FILE *out, const struct slsr_target_figures *target)
{
    const struct slsr_target_state *state = &target->state;

    fputs("{\"name\":", out);
    json_put_string(out, state->name);
    fprintf(out, ",\"state\":\"%s\",\"acked_seq\":%" PRIu64, slsr_phase_name(state->phase),
            state->acked > 0 ? state->acked - 1 : 0);
    fprintf(out, ",\"backlog_frames\":%" PRIu64 ",\"backlog_bytes\":%" PRIu64,
            target->backlog_frames, target->backlog_bytes);
    json_put_number(out, "oldest_age_s", target->oldest_age_s);
    json_put_text(out, "last_error", state->error);
    json_put_number(out, "next_retry_s", target->next_retry_s);
    fputs(",\"rate_frames_s\":", out);
    json_put_real(out, state->rate_frames_s);
    json_put_number(out, "eta_s", target->eta_s);
    json_put_text(out, "cause", state->cause);
    json_put_text(out, "server", state->server);
    fprintf(out,
            ",\"sent_frames\":%" PRIu64 ",\"resent_frames\":%" PRIu64 ",\"reconnects\":%" PRIu64,
            state->sent_frames, state->resent_frames, state->reconnects);
    fprintf(out,
            ",\"held_frames\":%" PRIu64 ",\"dead_frames\":%" PRIu64 ",\"resend_frames\":%" PRIu64,
            target->held_frames, target->dead_frames, target->resend_frames);
    fputc('}', out);
}

void slsr_status_write_shard(FILE *out, const struct slsr_shard_state *shard)
{
    fputs("{\"project\":", out);
    json_put_string(out, shard->project);
    fputs(",\"logstore\":", out);
    json_put_string(out, shard->logstore);
    fprintf(out, ",\"shard\":%" PRIu32, shard->shard);
    json_put_text(out, "cursor", shard->cursor);
    json_put_text(out, "checkpoint", shard->checkpoint);
    json_put_number(out, "lag_s", shard->lag_s);
    fputc('}', out);
}

void slsr_status_write_source(FILE *out, const struct slsr_source_state *source, int64_t now_ms)
{
    fputs("{\"project\":", out);
    json_put_string(out, source->project);
    fputs(",\"logstore\":", out);
    json_put_string(out, source->logstore);
    fputs(",\"consumer_group\":", out);
    json_put_string(out, source->consumer_group);
    fputs(",\"state\":", out);
    json_put_string(out, source->state);
    json_put_number(out, "since_s",
                    now_ms > source->since_ms ? (now_ms - source->since_ms) / 1000 : 0);
    fprintf(out, ",\"shards\":%" PRIu32 ",\"stuck_shards\":%" PRIu32, source->shards,
            source->stuck_shards);
    json_put_text(out, "last_error", source->error);
    json_put_number(out, "retention_s", source->retention_s > 0 ? source->retention_s : -1);
    json_put_number(out, "oldest_unpulled_age_s", slsr_source_behind_s(source, now_ms));
    json_put_number(out, "expires_s", slsr_source_expires_s(source, now_ms));
    fputc('}', out);
}

int64_t slsr_source_behind_s(const struct slsr_source_state *source, int64_t now_ms)
{
    if (source->pulled_to_ms <= 0)
        return -1;
    return now_ms > source->pulled_to_ms ? (now_ms - source->pulled_to_ms) / 1000 : 0;
}

int64_t slsr_source_expires_s(const struct slsr_source_state *source, int64_t now_ms)
{
    const int64_t behind_s = slsr_source_behind_s(source, now_ms);

    if (behind_s < 0 || source->retention_s <= 0)
        return -1;
    return source->retention_s > behind_s ? source->retention_s - behind_s : 0;
}

void slsr_status_write_totals(FILE *out, const struct slsr_spool_stat *stat)
{
    fprintf(out,
            "\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"oldest_seq\":%" PRIu64
            ",\"newest_seq\":%" PRIu64 ",\"next_seq\":%" PRIu64 ",\"disk_bytes\":%" PRIu64
            ",\"segments\":%" PRIu32 ",\"live\":%s",
            stat->frames, stat->bytes, stat->oldest_seq,
            stat->next_seq > 0 ? stat->next_seq - 1 : 0, stat->next_seq, stat->disk_bytes,
            stat->segments, stat->live ? "true" : "false");
}

void slsr_status_write(FILE *out, const struct slsr_status *status, bool one_line)
{
    const char *group = one_line ? "" : "\n ";
    const char *item = one_line ? "" : "\n  ";

    fputc('{', out);
    slsr_status_write_totals(out, &status->stat);
    fprintf(out, ",%s\"targets\":[", group);
    for (size_t i = 0; i < status->target_count; i++) {
        fprintf(out, "%s%s", i == 0 ? "" : ",", item);
        slsr_status_write_target(out, &status->targets[i]);
    }
    fprintf(out, "],%s\"shards\":[", group);
    for (size_t i = 0; i < status->shard_count; i++) {
        fprintf(out, "%s%s", i == 0 ? "" : ",", item);
        slsr_status_write_shard(out, &status->shards[i]);
    }
    fprintf(out, "],%s\"sources\":[", group);
    for (size_t i = 0; i < status->source_count; i++) {
        fprintf(out, "%s%s", i == 0 ? "" : ",", item);
        slsr_status_write_source(out, &status->sources[i], status->now_ms);
    }
    fputs("]}\n", out);
}
