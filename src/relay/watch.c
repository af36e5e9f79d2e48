/* What the relay knows of its own health: room, backlog, stuck threads, readiness. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "relay/metrics.h"

#include "base/progress.h"

void watch_behind(const struct slsr_status *status, uint64_t *frames, uint64_t *bytes)
{
    *frames = *bytes = 0;
    for (size_t i = 0; i < status->target_count; i++) {
        if (status->targets[i].backlog_frames > *frames)
            *frames = status->targets[i].backlog_frames;
        if (status->targets[i].backlog_bytes > *bytes)
            *bytes = status->targets[i].backlog_bytes;
    }
}

bool watch_drains(const struct slsr_target_state *state, uint64_t next)
{
    if (state->acked >= next)
        return false;
    return state->phase == SLSR_PHASE_UP || state->phase == SLSR_PHASE_IDLE ||
           state->phase == SLSR_PHASE_CONNECTING;
}

void watch_room(const struct watch *watch, const struct slsr_status *status, struct room *out)
{
    const struct slsr_spool_config *config = &watch->config->spool;
    const double disk = (double)status->stat.disk_bytes;
    double allowed = (double)config->max_size_bytes;
    uint64_t frames;
    uint64_t bytes;
    struct statvfs fs;

    if (statvfs(config->path, &fs) == 0) {
        double left =
            (double)fs.f_bavail * (double)fs.f_frsize - (double)config->min_free_disk_bytes;

        left = left > 0 ? left : 0;
        if (disk + left < allowed)
            allowed = disk + left;
    }
    watch_behind(status, &frames, &bytes);
    *out = (struct room){.allowed_bytes = (uint64_t)allowed};
    out->full = allowed > 0 ? disk / allowed : 1;
    /* the disk's overhead is shared out evenly */
    out->needed =
        status->stat.bytes > 0 ? out->full * (double)bytes / (double)status->stat.bytes : 0;
    out->full = out->full > 1 ? 1 : out->full;
    out->needed = out->needed > 1 ? 1 : out->needed;
}

void watch_sample(const struct watch *watch)
{
    struct slsr_status status;
    struct history_point point = {.lag_s = -1};
    struct room room;
    uint64_t bytes;

    if (slsr_status_read(&status, watch->spool, NULL) == 0) {
        watch_room(watch, &status, &room);
        watch_behind(&status, &point.backlog, &bytes);
        point.time_ms = status.now_ms;
        point.spooled = status.stat.next_seq;
        point.delivered = status.stat.next_seq;
        point.needed = room.needed;
        for (size_t i = 0; i < status.target_count; i++) {
            const struct slsr_target_state *state = &status.targets[i].state;

            if (state->acked < point.delivered)
                point.delivered = state->acked;
            if (state->phase == SLSR_PHASE_UP)
                point.targets_up++;
            else
                point.targets_down++;
        }
        for (size_t i = 0; i < status.shard_count; i++)
            if (status.shards[i].lag_s > point.lag_s)
                point.lag_s = status.shards[i].lag_s < INT32_MAX ? (int32_t)status.shards[i].lag_s
                                                                 : INT32_MAX;
        history_add(watch->history, &point);
    }
    slsr_status_free(&status);
}

bool watch_alive(const struct watch *watch, char *why, size_t size)
{
    struct progress_report report;
    char more[40] = "";

    progress_look(watch->stuck_ms, &report);
    if (report.stuck == 0) {
        snprintf(why, size, "ok");
        return true;
    }
    if (report.stuck > 1)
        snprintf(more, sizeof more, " (and %zu more)", report.stuck - 1);
    snprintf(why, size,
             "thread %s has made no progress for %lld s%s: look at the disk and the diagnostics",
             report.who, (long long)(report.oldest_ms / 1000), more);
    return false;
}

bool watch_ready(const struct watch *watch, char *why, size_t size)
{
    struct slsr_spool_stat stat;
    struct slsr_err err = {0};

    if (!watch->ready) {
        snprintf(why, size, "starting or stopping");
        return false;
    }
    if (slsr_spool_stat(watch->spool, &stat, &err) != 0) {
        snprintf(why, size, "the spool cannot be read: %s", err.text);
        return false;
    }
    if (stat.full) {
        snprintf(why, size, "the spool is full: no logs are pulled until a target takes frames");
        return false;
    }
    return watch_alive(watch, why, size);
}
