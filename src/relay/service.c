/* The clockwork of the main thread: each second the spool hears how reading fares, when that has
 * changed. Samples for the curves are taken at a slower beat, and so is STATUS=, which `systemctl
 * status` shows. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "relay/internal.h"

#include "consume/consume.h"

#include "base/clock.h"
#include "base/progress.h"

/* What an earlier run knew of the n-th logstore and this one cannot know until it has pulled. */
static void recall(struct relay *relay, size_t n, const char *project, const char *logstore,
                   const struct slsr_source_state *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].project, project) == 0 && strcmp(list[i].logstore, logstore) == 0) {
            relay->noted[n].retention_s = list[i].retention_s;
            relay->noted[n].pulled_to_ms = list[i].pulled_to_ms;
        }
}

void service_begin(struct relay *relay)
{
    struct slsr_source_state *list = NULL;
    size_t count = 0;
    size_t n = 0;

    if (slsr_spool_sources(relay->spool, &list, &count, NULL) != 0)
        return;
    for (size_t i = 0; i < relay->config->source_count; i++)
        for (size_t j = 0; j < relay->config->sources[i].logstore_count; j++)
            recall(relay, n++, relay->config->sources[i].project,
                   relay->config->sources[i].logstores[j], list, count);
    free(list);
}

/* "3 of 4 targets up; 1,234 frames behind" */
static void say_status(struct relay *relay)
{
    struct slsr_status status;
    char text[200];
    uint64_t frames;
    uint64_t bytes;
    size_t up = 0;

    if (!watch_alive(&relay->watch, text, sizeof text))
        return; /* the watchdog has said more */
    if (slsr_status_read(&status, relay->spool, NULL) == 0) {
        watch_behind(&status, &frames, &bytes);
        for (size_t i = 0; i < status.target_count; i++)
            up += status.targets[i].state.phase == SLSR_PHASE_UP ||
                  status.targets[i].state.phase == SLSR_PHASE_IDLE;
        snprintf(text, sizeof text,
                 "STATUS=%zu of %zu targets up, %" PRIu64 " frames in the spool, %" PRIu64
                 " not yet delivered%s",
                 up, status.target_count, status.stat.frames, frames,
                 status.stat.full ? "; the spool is full" : "");
        notify_systemd(text);
    }
    slsr_status_free(&status);
}

/* The group's trouble, or the first of a shard. */
static void sum_up(const struct consume_figures *figures, const struct slsr_source_state *noted,
                   struct slsr_source_state *out)
{
    const struct consume_note *note = &figures->note;

    *out = (struct slsr_source_state){.shards = (uint32_t)figures->shard_count};
    for (size_t i = 0; i < figures->shard_count; i++) {
        const struct consume_note *own = &figures->shards[i].note;
        const int64_t to_ms = figures->shards[i].pulled_to_ms;

        if (to_ms > 0 && (out->pulled_to_ms == 0 || to_ms < out->pulled_to_ms))
            out->pulled_to_ms = to_ms;
        if (own->error[0] == '\0')
            continue;
        if (note->error[0] == '\0')
            note = own;
        out->stuck_shards++;
    }
    if (out->pulled_to_ms == 0) /* nothing pulled since the start */
        out->pulled_to_ms = noted->pulled_to_ms;
    snprintf(out->project, sizeof out->project, "%s", figures->project);
    snprintf(out->logstore, sizeof out->logstore, "%s", figures->logstore);
    snprintf(out->consumer_group, sizeof out->consumer_group, "%s", figures->group);
    snprintf(out->state, sizeof out->state, "%s", note->state);
    snprintf(out->error, sizeof out->error, "%.*s", (int)sizeof out->error - 1, note->error);
    out->since_ms = note->since_ms;
}

/* Worth a transaction? Not that a minute more has been pulled a second later. */
static bool same(const struct slsr_source_state *a, const struct slsr_source_state *b)
{
    enum { PULLED_STEP_MS = 60000 };
    const int64_t moved_ms = a->pulled_to_ms - b->pulled_to_ms;

    return strcmp(a->state, b->state) == 0 && strcmp(a->error, b->error) == 0 &&
           a->shards == b->shards && a->stuck_shards == b->stuck_shards &&
           a->retention_s == b->retention_s && (a->pulled_to_ms == 0) == (b->pulled_to_ms == 0) &&
           moved_ms < PULLED_STEP_MS && moved_ms > -PULLED_STEP_MS;
}

/* Tells the spool, and so every tool, how reading fares: when that has changed. */
static void note_sources(struct relay *relay)
{
    if (slsr_stop_requested(&relay->pull_stop))
        return; /* the consumers are leaving, another thread may be freeing them */
    for (size_t i = 0; i < relay->consumer_count; i++) {
        struct consume_figures figures;
        struct slsr_source_state state;
        struct slsr_source_state *noted = &relay->noted[i];

        if (consume_figures(relay->consumers[i], &figures, NULL) != 0)
            continue;
        sum_up(&figures, noted, &state);
        consume_figures_free(&figures);
        state.retention_s = survey_retention_s(relay->survey, i);
        if (state.retention_s == 0)
            state.retention_s = noted->retention_s;
        if (same(&state, noted))
            continue;
        if (slsr_spool_source_note(relay->spool, &state, NULL) == 0)
            *noted = state; /* else again in a second */
    }
}

void service_tick(struct relay *relay)
{
    const int64_t now = clock_mono_ms();

    if (relay->watch.history == NULL)
        return; /* the start failed half-way */
    progress_mark();
    note_sources(relay);
    if (now < relay->next_sample_ms)
        return;
    relay->next_sample_ms = now + HISTORY_STEP_MS;
    watch_sample(&relay->watch);
    if (getenv("NOTIFY_SOCKET") != NULL)
        say_status(relay);
}
