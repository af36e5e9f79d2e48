/* shape: how old the backlog is, per target, as bars. By the index alone: no frame is read, and a
 * border lies at the next chunk. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/text.h"
#include "state.h"

static const struct {
    const char *name;
    int64_t s;
} ages[] = {{"1m", 60},     {"5m", 300},   {"15m", 900},   {"1h", 3600},   {"3h", 10800},
            {"12h", 43200}, {"1d", 86400}, {"3d", 259200}, {"7d", 604800}, {"older", INT64_MAX}};
enum { AGES = sizeof(ages) / sizeof(ages[0]), BAR = 40 };

struct borders {
    uint64_t from[AGES]; /* first sequence that is at most so old */
    uint64_t next;
};

static int find_borders(struct tool *tool, struct borders *borders, struct slsr_err *err)
{
    const int64_t now_ms = tool_now_ns() / 1000000;
    uint64_t oldest;
    int rc = slsr_spool_bounds(tool->spool, &oldest, &borders->next, err);

    for (size_t i = 0; rc == 0 && i < AGES; i++) {
        borders->from[i] = oldest;
        if (ages[i].s != INT64_MAX)
            rc = slsr_spool_seek_time(tool->spool, now_ms - ages[i].s * 1000, true,
                                      &borders->from[i], err);
        if (rc == SLSR_ENOMATCH) {
            borders->from[i] = borders->next;
            rc = 0;
        }
    }
    return rc;
}

static void counts(const struct borders *borders, const struct slsr_spans *pending,
                   uint64_t out[AGES])
{
    for (size_t i = 0; i < AGES; i++) {
        const uint64_t from = borders->from[i];
        const uint64_t to = i == 0 ? borders->next : borders->from[i - 1];
        out[i] = 0;
        for (size_t j = 0; j < pending->count; j++) {
            uint64_t a = pending->items[j].from > from ? pending->items[j].from : from;
            uint64_t b = pending->items[j].to < to ? pending->items[j].to : to;
            out[i] += a < b ? b - a : 0;
        }
    }
}

static void print_json(const char *name, const uint64_t count[AGES], size_t index)
{
    fputs(index == 0 ? "" : ",", stdout);
    fputs("{\"target\":", stdout);
    cli_json_string(stdout, slsr_bytes_of(name));
    fputs(",\"ages\":[", stdout);
    for (size_t i = 0; i < AGES; i++) {
        printf("%s{\"up_to_s\":", i == 0 ? "" : ",");
        if (ages[i].s == INT64_MAX)
            fputs("null", stdout);
        else
            printf("%" PRId64, ages[i].s);
        printf(",\"frames\":%" PRIu64 "}", count[i]);
    }
    fputs("]}", stdout);
}

static void print_text(const char *name, const uint64_t count[AGES])
{
    uint64_t most = 1;
    uint64_t all = 0;
    char text[TEXT_SMALL];

    for (size_t i = 0; i < AGES; i++) {
        most = count[i] > most ? count[i] : most;
        all += count[i];
    }
    cli_text_count(text, all);
    cli_text_escape(stdout, slsr_bytes_of(name), 0);
    printf(": %s frame%s behind, by time in the spool\n", text, tool_s(all));
    for (size_t i = 0; all > 0 && i < AGES; i++) {
        char bar[BAR + 1];
        size_t n = (size_t)((double)count[i] * BAR / (double)most + 0.5);
        if (count[i] > 0 && n == 0)
            n = 1;
        memset(bar, '#', n);
        bar[n] = '\0';
        cli_text_count(text, count[i]);
        printf("  %s%-5s %10s%s%s\n", ages[i].s == INT64_MAX ? "  " : "<=", ages[i].name, text,
               n > 0 ? "  " : "", bar);
    }
}

int verb_shape(struct tool *tool)
{
    struct slsr_target_state *targets = NULL;
    struct borders borders;
    struct slsr_err err = {0};
    size_t count = 0;
    const char *asked = tool->target;

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'shape': give text or json, raw is for frames");
    int rc = find_borders(tool, &borders, &err);
    if (rc == 0)
        rc = state_targets(tool, &targets, &count, &err);
    if (rc == 0 && tool->output == OUT_JSON)
        fputc('[', stdout);
    for (size_t i = 0; rc == 0 && i < (count > 0 ? count : 1); i++) {
        const char *name = count > 0 ? targets[i].name : "no target yet";
        struct slsr_spans pending = {0};
        uint64_t out[AGES];

        tool->target = count > 0 ? targets[i].name : NULL;
        rc = state_spans(tool, STATE_PENDING, &pending, &err);
        tool->target = asked;
        if (rc == 0) {
            counts(&borders, &pending, out);
            if (tool->output == OUT_TEXT)
                print_text(name, out);
            else
                print_json(name, out, tool->output == OUT_JSONL ? 0 : i);
            if (tool->output == OUT_JSONL)
                fputc('\n', stdout);
        }
        slsr_spans_free(&pending);
    }
    if (rc == 0 && tool->output == OUT_JSON)
        fputs("]\n", stdout);
    free(targets);
    return rc == 0 ? 0 : tool_fail(&err);
}
