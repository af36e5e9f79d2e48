/* What the stage tells of itself: a note per group and per worker, copied out under the lock. */
#include <stdio.h>
#include <stdlib.h>

#include "consume/internal.h"

#include "base/clock.h"

const char *consume_state(int code)
{
    static const struct {
        int code;
        const char *word;
    } words[] = {{SLSR_OK, "ok"},
                 {SLSR_ENET, "network"},
                 {SLSR_ESERVER, "server"},
                 {SLSR_EQUOTA, "quota"},
                 {SLSR_EAUTH, "credentials"},
                 {SLSR_ECLOCK, "clock"},
                 {SLSR_EFULL, "spool_full"},
                 {SLSR_EIO, "disk"},
                 {SLSR_ENOTFOUND, "not_found"},
                 {SLSR_ELOST, "lost"},
                 {SLSR_ETOOBIG, "answer"},
                 {SLSR_EBADDATA, "answer"},
                 {SLSR_ECURSOR, "cursor"},
                 {SLSR_ECLIENT, "request"}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].code == code)
            return words[i].word;
    return "failed";
}

void note_set(struct consume *group, struct consume_note *note, const char *state,
              const struct slsr_err *err)
{
    pthread_mutex_lock(&group->lock);
    if (strcmp(note->state, state) != 0)
        note->since_ms = clock_wall_ms();
    snprintf(note->state, sizeof note->state, "%s", state);
    snprintf(note->error, sizeof note->error, "%.*s", (int)sizeof note->error - 1,
             err != NULL ? err->text : "");
    pthread_mutex_unlock(&group->lock);
}

static int compare(const void *a, const void *b)
{
    const struct consume_shard_figures *x = a, *y = b;

    return (x->shard > y->shard) - (x->shard < y->shard);
}

/* While the spool is full nobody gives memory back, and who waits for it is as stuck as those that
 * wait for room: with their note, or with one of its own when they read another logstore. Under the
 * lock. */
static void share_cause(const struct consume *g, struct consume_figures *out, bool full)
{
    static const char text[] = "the spool is full: pulling waits until a target takes frames, the "
                               "disk has room or the limits are raised";
    const char *cause = text;

    for (size_t i = 0; i < g->worker_count; i++)
        if (strcmp(g->workers[i]->note.state, consume_state(SLSR_EFULL)) == 0)
            cause = g->workers[i]->note.error;
    for (size_t i = 0; full && i < g->worker_count; i++) {
        struct consume_note *note = &out->shards[i].note;
        const int64_t waits_ms = g->workers[i]->waits_ms;

        if (waits_ms == 0 || note->error[0] != '\0')
            continue;
        snprintf(note->state, sizeof note->state, "%s", consume_state(SLSR_EFULL));
        snprintf(note->error, sizeof note->error, "%s", cause);
        note->since_ms = waits_ms;
    }
}

int consume_figures(struct consume *g, struct consume_figures *out, struct slsr_err *err)
{
    const bool full = slsr_spool_full(g->o.spool);

    *out = (struct consume_figures){.beat_age_ms = -1};
    snprintf(out->project, sizeof out->project, "%s", g->stream.project);
    snprintf(out->logstore, sizeof out->logstore, "%s", g->stream.logstore);
    snprintf(out->group, sizeof out->group, "%s", g->o.source->consumer_group);
    snprintf(out->consumer, sizeof out->consumer, "%s", g->o.consumer);
    if (g->last_beat_ms != 0)
        out->beat_age_ms = clock_mono_ms() - g->last_beat_ms;
    out->pulled_logs = g->pulled_logs;
    out->pulled_bytes = g->pulled_bytes;
    out->dead_logs = g->dead_logs;
    out->dropped_logs = g->dropped_logs;
    out->memory_bytes = (uint64_t)memory_used(g->memory);
    pthread_mutex_lock(&g->lock);
    out->note = g->note;
    out->shards = calloc(g->worker_count + 1, sizeof *out->shards);
    for (size_t i = 0; out->shards != NULL && i < g->worker_count; i++) {
        const struct worker *w = g->workers[i];

        out->shards[out->shard_count++] =
            (struct consume_shard_figures){.shard = w->shard,
                                           .readonly = w->readonly,
                                           .lag_s = w->lag_s,
                                           .pulled_to_ms = w->pulled_to_ms,
                                           .note = w->note};
    }
    if (out->shards != NULL)
        share_cause(g, out, full);
    pthread_mutex_unlock(&g->lock);
    if (out->shards == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the figures of %s", g->stream.logstore);
    qsort(out->shards, out->shard_count, sizeof *out->shards, compare);
    return 0;
}

void consume_figures_free(struct consume_figures *figures)
{
    free(figures->shards);
    figures->shards = NULL;
    figures->shard_count = 0;
}
