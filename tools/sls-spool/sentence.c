/* What is so, since when and why, and what comes of it: the text of `status`.
 *
 * A target's sentence begins with the cause while something is wrong and with its state otherwise.
 * Estimates stand on the last ten minutes: when the spool is full (what comes in against what the
 * configuration and the disk still allow), and when the backlog is gone. What nobody knows is left
 * out, not guessed. Colours on a terminal only, and not with NO_COLOR. */
#include "sentence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/text.h"
#include "slsrelay/control.h"
#include "slsrelay/ledger.h"

enum { GROWTH_S = 600, LOSS_S = 7 * 86400 };

static const char *const RED = "\x1b[31m";
static const char *const YELLOW = "\x1b[33m";
static const char *const GREEN = "\x1b[32m";

static bool coloured(void)
{
    const char *no = getenv("NO_COLOR");

    return isatty(STDOUT_FILENO) == 1 && (no == NULL || no[0] == '\0');
}

static void name_in(const char *colour, const char *name)
{
    if (coloured())
        fputs(colour, stdout);
    cli_text_escape(stdout, slsr_bytes_of(name), 0);
    if (coloured())
        fputs("\x1b[0m", stdout);
}

static void age(char out[TEXT_SMALL], const struct slsr_status *figures, int64_t since_ms)
{
    cli_text_duration(out, (figures->now_ms - since_ms) / 1000);
}

static void spool_line(const struct slsr_status *figures)
{
    const struct slsr_spool_stat *stat = &figures->stat;
    char frames[TEXT_SMALL];
    char bytes[TEXT_SMALL];
    char disk[TEXT_SMALL];

    cli_text_count(frames, stat->frames);
    cli_text_size(bytes, stat->bytes);
    cli_text_size(disk, stat->disk_bytes);
    name_in(stat->live ? GREEN : RED, "spool");
    printf(": %s frame%s, %s, %s on disk", frames, tool_s(stat->frames), bytes, disk);
    if (stat->frames > 0) {
        char oldest[TEXT_SMALL];
        char newest[TEXT_SMALL];
        age(oldest, figures, stat->oldest_arrival_ms);
        age(newest, figures, stat->newest_arrival_ms);
        printf(", oldest %s (seq %" PRIu64 "), newest %s (seq %" PRIu64 ")", oldest,
               stat->oldest_seq, newest, stat->next_seq > 0 ? stat->next_seq - 1 : 0);
    }
    printf("; %s\n", stat->live ? "relay is running" : "no relay running");
}

/* Logs that wait in the service: said when reading is behind or nobody reads. Pulling rests a
 * moment between two looks, and the stored position is a minute old: less is not behind. */
enum { BEHIND_S = 150 };

static bool expiry(const struct slsr_status *figures, const struct slsr_source_state *source,
                   char out[TEXT_SMALL], int64_t *left_s)
{
    *left_s = slsr_source_expires_s(source, figures->now_ms);
    if (*left_s < 0 ||
        (figures->stat.live && slsr_source_behind_s(source, figures->now_ms) < BEHIND_S))
        return false;
    cli_text_duration(out, *left_s);
    return true;
}

static void say_expiry(int64_t left_s, const char *left)
{
    enum { SOON_S = 86400 };

    if (coloured() && left_s < SOON_S)
        fputs(RED, stdout);
    if (left_s == 0)
        fputs("oldest unpulled data is expiring in SLS now", stdout);
    else
        printf("oldest unpulled data expires in SLS in %s", left);
    if (coloured() && left_s < SOON_S)
        fputs("\x1b[0m", stdout);
}

/* Of all logstores the one that loses first. */
static void first_expiry(const struct slsr_status *figures)
{
    int64_t least_s = -1;
    char text[TEXT_SMALL];
    char least[TEXT_SMALL] = "";

    for (size_t i = 0; i < figures->source_count; i++) {
        int64_t left_s;

        if (!expiry(figures, &figures->sources[i], text, &left_s) ||
            (least_s >= 0 && left_s >= least_s))
            continue;
        least_s = left_s;
        memcpy(least, text, sizeof(least));
    }
    if (least_s < 0)
        return;
    fputs(", ", stdout);
    say_expiry(least_s, least);
}

/* Seconds until there is no room, as things have been going; -1: not in sight, or not known. */
static int64_t full_in_s(struct tool *tool, const struct slsr_status *figures)
{
    const struct slsr_spool_stat *stat = &figures->stat;
    const char *path = tool->dir != NULL ? tool->dir : tool->config->spool.path;
    uint64_t seq;
    uint64_t frames;
    uint64_t bytes = 0;
    int64_t arrival_ms = 0;
    struct statvfs vfs;

    if (!stat->live || stat->bytes == 0 ||
        slsr_spool_seek_time(tool->spool, figures->now_ms - GROWTH_S * INT64_C(1000), true, &seq,
                             NULL) != 0 ||
        slsr_spool_backlog(tool->spool, seq, &frames, &bytes, &arrival_ms, NULL) != 0 ||
        arrival_ms == 0 || statvfs(path, &vfs) != 0)
        return -1;
    const double span = (double)(figures->now_ms - arrival_ms) / 1000;
    /* what a byte of frames costs on the disk, compression and all */
    const double cost = (double)stat->disk_bytes / (double)stat->bytes;
    const double growth = span >= 1 ? (double)bytes * (cost < 1 ? cost : 1) / span : 0;
    double room = (double)vfs.f_bavail * (double)vfs.f_frsize;

    if (tool->config != NULL) {
        const struct slsr_spool_config *c = &tool->config->spool;
        room -= (double)c->min_free_disk_bytes;
        if (c->max_size_bytes > 0 && (double)c->max_size_bytes - (double)stat->disk_bytes < room)
            room = (double)c->max_size_bytes - (double)stat->disk_bytes;
    }
    if (growth <= 0)
        return -1;
    return room <= 0 ? 0 : (int64_t)(room / growth);
}

/* The beginning: the cause while something is wrong, else the state. */
static void cause(const struct slsr_status *figures, const struct slsr_target_state *state)
{
    const bool well = state->phase == SLSR_PHASE_UP || state->phase == SLSR_PHASE_IDLE;
    const bool outage = state->phase == SLSR_PHASE_BACKOFF || state->phase == SLSR_PHASE_CONNECTING;
    static const char paused[] = "paused ";
    char since[TEXT_SMALL];

    name_in(well ? GREEN : state->phase == SLSR_PHASE_PAUSED ? YELLOW : RED, state->name);
    fputs(": ", stdout);
    if (figures->stat.live && outage && state->error[0] != '\0') {
        cli_text_escape(stdout, slsr_bytes_of(state->error), 0);
    } else {
        fputs(slsr_phase_name(state->phase), stdout);
    }
    if (figures->stat.live && state->phase_since_ms > 0) {
        age(since, figures, state->phase_since_ms);
        printf(" for %s", since);
    }
    if (state->error[0] == '\0' || (figures->stat.live && outage))
        return;
    /* "paused for 2h05m by anna: ticket 4711" */
    if (state->phase == SLSR_PHASE_PAUSED && strncmp(state->error, paused, strlen(paused)) == 0) {
        fputc(' ', stdout);
        cli_text_escape(stdout, slsr_bytes_of(state->error + strlen(paused)), 0);
        return;
    }
    /* Of a target that is up it is history, not the cause. */
    fputs(well ? " (last error: " : ": ", stdout);
    cli_text_escape(stdout, slsr_bytes_of(state->error), 0);
    fputs(well ? ")" : "", stdout);
}

/* What was ordered for it. A relay that runs tells of a pause itself. */
static int marks(struct tool *tool, const char *name, bool tells_pause, struct slsr_err *err)
{
    static const struct {
        enum slsr_mark kind;
        const char *text;
    } kinds[] = {{SLSR_MARK_HOLD, "held"},
                 {SLSR_MARK_WANTED, "about to be held"},
                 {SLSR_MARK_DEAD, "dead"},
                 {SLSR_MARK_RESEND, "to be sent again"}};
    struct slsr_control_state order;
    char text[TEXT_SMALL];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct slsr_spans spans = {0};
        rc = slsr_marks_read(tool->spool, kinds[i].kind, name, &spans, err);
        if (rc == 0 && spans.count > 0) {
            cli_text_count(text, slsr_spans_frames(&spans));
            printf(", %s %s", text, kinds[i].text);
        }
        slsr_spans_free(&spans);
    }
    if (rc == 0)
        rc = slsr_control_read(tool->spool, name, &order, err);
    if (rc == 0 && order.paused && !tells_pause) {
        fputs(", paused by ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(order.who), 0);
        fputs(order.reason[0] != '\0' ? ": " : "", stdout);
        cli_text_escape(stdout, slsr_bytes_of(order.reason), 0);
    }
    if (rc == 0 && order.seek != 0)
        printf(", ordered to go on from seq %" PRIu64, order.seek);
    return rc;
}

static int target_line(struct tool *tool, const struct slsr_status *figures,
                       const struct slsr_target_figures *target, int64_t full_s,
                       struct slsr_err *err)
{
    const struct slsr_target_state *state = &target->state;
    char text[TEXT_SMALL];
    char more[TEXT_SMALL];
    int rc;

    cause(figures, state);
    if (target->backlog_frames == 0) {
        fputs(", nothing behind", stdout);
    } else {
        cli_text_count(text, target->backlog_frames);
        cli_text_size(more, target->backlog_bytes);
        printf(", %s frame%s / %s behind", text, tool_s(target->backlog_frames), more);
        cli_text_duration(text, target->oldest_age_s);
        printf(", oldest %s", text);
        if (target->next_retry_s >= 0) {
            cli_text_duration(text, target->next_retry_s);
            printf(", next try in %s", text);
        }
        if (target->eta_s >= 0) {
            cli_text_duration(text, target->eta_s);
            printf(", %.0f frames/s, drain ETA %s", state->rate_frames_s, text);
        }
        if (full_s >= 0 && state->phase != SLSR_PHASE_UP) {
            cli_text_duration(text, full_s);
            printf(", spool full in %s", text);
        }
        if (state->phase != SLSR_PHASE_UP)
            first_expiry(figures);
    }
    rc = marks(tool, state->name, figures->stat.live && state->phase == SLSR_PHASE_PAUSED, err);
    fputc('\n', stdout);
    return rc;
}

/* Is anything lost? What the ledger has of it, newest last. */
static int losses(struct tool *tool, const struct slsr_status *figures, struct slsr_err *err)
{
    static const char *const kinds[] = {"gap", "drop", "dead", "quarantine", "repair", "damage"};
    struct slsr_ledger_entry *list = NULL;
    const struct slsr_ledger_entry *last = NULL;
    size_t count = 0;
    uint64_t found = 0;
    char text[TEXT_SMALL];
    int rc = slsr_ledger_list(tool->spool, 0, &list, &count, err);

    for (size_t i = 0; i < count; i++) {
        bool loss = false;
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
            loss |= strcmp(list[i].kind, kinds[k]) == 0;
        if (!loss || figures->now_ms - list[i].time_ms > LOSS_S * INT64_C(1000))
            continue;
        found++;
        last = &list[i];
    }
    if (rc == 0 && last != NULL) {
        name_in(RED, "lost or set aside");
        age(text, figures, last->time_ms);
        printf(": %" PRIu64 " ledger entr%s in seven days, the last %s ago: ", found,
               found == 1 ? "y" : "ies", text);
        cli_text_escape(stdout, slsr_bytes_of(last->kind), 0);
        if (last->text[0] != '\0') {
            fputs(", ", stdout);
            cli_text_escape(stdout, slsr_bytes_of(last->text), 100);
        }
        fputs(" (sls-spool gaps)\n", stdout);
    } else if (rc == 0) {
        puts("lost or set aside: nothing in seven days, by the ledger");
    }
    free(list);
    return rc;
}

/* "source demo/audit: credentials for 3m12s: ..., 4 of 8 shards" */
static void source_line(const struct slsr_status *figures, const struct slsr_source_state *source)
{
    char since[TEXT_SMALL];
    char left[TEXT_SMALL];
    int64_t left_s;

    fputs("source ", stdout);
    cli_text_escape(stdout, slsr_bytes_of(source->project), 0);
    fputc('/', stdout);
    cli_text_escape(stdout, slsr_bytes_of(source->logstore), 0);
    const bool waits = expiry(figures, source, left, &left_s);
    if (!figures->stat.live) {
        fputs(": no relay runs", stdout);
        fputs(waits ? ", " : "", stdout);
        if (waits)
            say_expiry(left_s, left);
        fputc('\n', stdout);
        return;
    }
    cli_text_duration(since, figures->now_ms > source->since_ms
                                 ? (figures->now_ms - source->since_ms) / 1000
                                 : 0);
    printf(": %s for %s, %" PRIu32 " shard%s", source->state, since, source->shards,
           source->shards == 1 ? "" : "s");
    if (source->stuck_shards > 0)
        printf(", %" PRIu32 " of them stuck", source->stuck_shards);
    if (waits) {
        fputs(", ", stdout);
        say_expiry(left_s, left);
    }
    if (source->error[0] != '\0') {
        fputs(": ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(source->error), 0);
    }
    fputc('\n', stdout);
}

int sentence_status(struct tool *tool, const struct slsr_status *figures, struct slsr_err *err)
{
    const int64_t full_s = full_in_s(tool, figures);
    int rc = 0;

    spool_line(figures);
    for (size_t i = 0; i < figures->source_count; i++)
        source_line(figures, &figures->sources[i]);
    if (figures->target_count == 0)
        fputs("no target has registered yet\n", stdout);
    for (size_t i = 0; rc == 0 && i < figures->target_count; i++)
        rc = target_line(tool, figures, &figures->targets[i], full_s, err);
    if (rc == 0)
        rc = losses(tool, figures, err);
    if (rc != 0)
        return rc;
    if (figures->shard_count > 0)
        figures_table_shards(figures, stdout, "");
    else
        fputs("no shard has been read yet\n", stdout);
    return 0;
}
