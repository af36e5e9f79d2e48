/* GET /metrics: the counters of base/count.h and what the spool knows, as Prometheus text. */
#include <inttypes.h>
#include <string.h>

#include "relay/metrics.h"

#include "base/count.h"
#include "base/progress.h"

#define PREFIX "sls_relay_"

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void gauge(FILE *out, const char *name, double value, const char *help)
{
    head(out, name, "gauge", help);
    fprintf(out, PREFIX "%s %.17g\n", name, value);
}

enum target_value { UP, ACKED, FRAMES, BYTES, AGE, RATE };

static double value_of(const struct slsr_target_figures *target, enum target_value which)
{
    switch (which) {
    case UP:
        return target->state.phase == SLSR_PHASE_UP;
    case ACKED:
        return target->state.acked > 0 ? (double)(target->state.acked - 1) : 0;
    case FRAMES:
        return (double)target->backlog_frames;
    case BYTES:
        return (double)target->backlog_bytes;
    case AGE:
        return target->oldest_age_s > 0 ? (double)target->oldest_age_s : 0;
    case RATE:
        return target->state.rate_frames_s;
    }
    return 0;
}

static void targets(FILE *out, const struct slsr_status *status)
{
    static const struct {
        const char *name, *type;
        enum target_value value;
        const char *help;
    } rows[] = {
        {"target_up", "gauge", UP, "1 while the target is connected and takes frames."},
        {"target_acked_frames_total", "counter", ACKED,
         "Frames that the target has taken, over all restarts."},
        {"target_backlog_frames", "gauge", FRAMES, "Frames that the target has not yet taken."},
        {"target_backlog_bytes", "gauge", BYTES, "Bytes of these frames."},
        {"target_oldest_age_seconds", "gauge", AGE,
         "Age of the oldest frame that the target has not taken, 0 when there is none."},
        {"target_rate_frames", "gauge", RATE, "Frames taken a second, over the last seconds."},
    };

    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        head(out, rows[r].name, rows[r].type, rows[r].help);
        for (size_t i = 0; i < status->target_count; i++) {
            fprintf(out, PREFIX "%s{target=\"", rows[r].name);
            count_write_label(out, status->targets[i].state.name);
            fprintf(out, "\"} %.17g\n", value_of(&status->targets[i], rows[r].value));
        }
    }
}

static void shards(FILE *out, const struct slsr_status *status)
{
    size_t owned = 0;

    head(out, "shard_lag_seconds", "gauge",
         "How far the shard is behind its newest log; missing while unknown.");
    for (size_t i = 0; i < status->shard_count; i++) {
        const struct slsr_shard_state *shard = &status->shards[i];

        if (shard->lag_s < 0)
            continue;
        owned++;
        fputs(PREFIX "shard_lag_seconds{logstore=\"", out);
        count_write_label(out, shard->logstore);
        fprintf(out, "\",shard=\"%" PRIu32 "\"} %" PRId64 "\n", shard->shard, shard->lag_s);
    }
    head(out, "source_up", "gauge", "1 while the logstore is read without trouble.");
    for (size_t i = 0; i < status->source_count; i++) {
        fputs(PREFIX "source_up{project=\"", out);
        count_write_label(out, status->sources[i].project);
        fputs("\",logstore=\"", out);
        count_write_label(out, status->sources[i].logstore);
        fprintf(out, "\"} %d\n", status->sources[i].error[0] == '\0');
    }
    gauge(out, "shards_owned", (double)owned, "Shards that this relay reads.");
}

int exposition_write(FILE *out, const struct watch *watch, struct slsr_err *err)
{
    struct slsr_status status;
    struct room room;
    struct progress_report progress;
    int rc = slsr_status_read(&status, watch->spool, err);

    if (rc == 0) {
        const int64_t since = status.stat.frames > 0 ? status.stat.oldest_arrival_ms : 0;

        watch_room(watch, &status, &room);
        count_write(out, PREFIX);
        gauge(out, "spool_frames", (double)status.stat.frames, "Frames in the spool.");
        gauge(out, "spool_bytes", (double)status.stat.bytes, "Bytes of these frames.");
        gauge(out, "spool_disk_bytes", (double)status.stat.disk_bytes,
              "Disk space that the spool takes.");
        gauge(out, "spool_max_bytes", (double)room.allowed_bytes,
              "Disk space that it may take: spool.max_size, less when the disk is fuller.");
        gauge(out, "spool_full_ratio", room.full, "spool_disk_bytes of spool_max_bytes, 0 to 1.");
        gauge(out, "spool_needed_ratio", room.needed,
              "The same for frames that a target has not taken yet.");
        gauge(out, "spool_oldest_timestamp_seconds", (double)since / 1000,
              "Arrival of the oldest frame in the spool, since 1970; 0 when empty.");
        shards(out, &status);
        targets(out, &status);
        progress_look(watch->stuck_ms, &progress);
        gauge(out, "progress_age_seconds", (double)progress.oldest_ms / 1000,
              "Time since the laziest thread got on; the watchdog looks at it.");
        gauge(out, "start_time_seconds", (double)watch->started_ms / 1000,
              "Start of the relay, since 1970.");
        head(out, "build_info", "gauge", "Always 1; the version as a label.");
        fputs(PREFIX "build_info{version=\"" SLSR_VERSION "\"} 1\n", out);
    }
    slsr_status_free(&status);
    return rc;
}
