/* gaps: the ledger, that is everything that happened to frames other than delivery. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/text.h"
#include "common/when.h"
#include "slsrelay/ledger.h"
#include "tool.h"

static void json_entry(const struct slsr_ledger_entry *e)
{
    char time[TEXT_SMALL];
    const struct {
        const char *name;
        const char *text;
    } texts[] = {{"kind", e->kind},
                 {"reason", e->reason},
                 {"who", e->who},
                 {"target", e->target},
                 {"project", e->project},
                 {"logstore", e->logstore},
                 {"from_cursor", e->from_cursor},
                 {"to_cursor", e->to_cursor},
                 {"text", e->text}};

    cli_text_time_utc(time, e->time_ms / 1000, (uint32_t)(e->time_ms % 1000) * 1000000U, 3);
    printf("{\"id\":%" PRIu64 ",\"time\":\"%s\"", e->id, time);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        printf(",\"%s\":", texts[i].name);
        if (texts[i].text[0] != '\0')
            cli_json_string(stdout, slsr_bytes_of(texts[i].text));
        else
            fputs("null", stdout);
    }
    if (e->logstore[0] != '\0')
        printf(",\"shard\":%" PRIu32, e->shard);
    else
        fputs(",\"shard\":null", stdout);
    if (e->to_seq > e->from_seq)
        printf(",\"from_seq\":%" PRIu64 ",\"to_seq\":%" PRIu64, e->from_seq, e->to_seq - 1);
    else
        fputs(",\"from_seq\":null,\"to_seq\":null", stdout);
    printf(",\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", e->frames, e->bytes);
}

static void text_entry(const struct slsr_ledger_entry *e)
{
    char text[TEXT_SMALL];

    cli_text_time_local(text, e->time_ms / 1000, (uint32_t)(e->time_ms % 1000) * 1000000U);
    printf("%5" PRIu64 "  %s  %-10s  ", e->id, text, e->kind);
    cli_text_escape(stdout, slsr_bytes_of(e->who), 0);
    if (e->reason[0] != '\0' && strcmp(e->reason, "operator") != 0) {
        fputs(", ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(e->reason), 0);
    }
    if (e->target[0] != '\0') {
        fputs(", target ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(e->target), 0);
    }
    if (e->logstore[0] != '\0') {
        fputs(", shard ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(e->logstore), 0);
        printf("/%" PRIu32, e->shard);
    }
    if (e->from_cursor[0] != '\0' || e->to_cursor[0] != '\0') {
        fputs(", cursor ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(e->from_cursor), 0);
        fputs("..", stdout);
        cli_text_escape(stdout, slsr_bytes_of(e->to_cursor), 0);
    }
    if (e->to_seq > e->from_seq)
        printf(", seq %" PRIu64 "..%" PRIu64, e->from_seq, e->to_seq - 1);
    if (e->frames > 0) {
        cli_text_size(text, e->bytes);
        printf(", %" PRIu64 " frame%s", e->frames, tool_s(e->frames));
        if (e->bytes > 0)
            printf(", %s", text);
    }
    if (e->text[0] != '\0') {
        fputs(": ", stdout);
        cli_text_escape(stdout, slsr_bytes_of(e->text), 0);
    }
    fputc('\n', stdout);
}

static bool fits(const struct tool *tool, const struct slsr_ledger_entry *e, int64_t since,
                 int64_t until)
{
    if (tool->target != NULL && strcmp(tool->target, e->target) != 0)
        return false;
    return e->time_ms * 1000000 >= since && e->time_ms * 1000000 <= until;
}

int verb_gaps(struct tool *tool)
{
    struct slsr_ledger_entry *list = NULL;
    struct slsr_err err = {0};
    size_t count = 0;
    size_t shown = 0;
    int64_t since = INT64_MIN;
    int64_t until = INT64_MAX;

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'gaps': give text or json, raw is for frames");
    if ((tool->since != NULL && !cli_when_parse(tool->since, tool_now_ns(), &since)) ||
        (tool->until != NULL && !cli_when_parse(tool->until, tool_now_ns(), &until)))
        return tool_usage("gaps: --since or --until is no time: give \"2026-01-02 03:04:05\", -2h, "
                          "today or @epoch");
    if (slsr_ledger_list(tool->spool, 0, &list, &count, &err) != 0)
        return tool_fail(&err);
    for (size_t i = 0; i < count; i++) {
        if (!fits(tool, &list[i], since, until))
            continue;
        if (tool->output == OUT_TEXT) {
            text_entry(&list[i]);
        } else {
            if (tool->output == OUT_JSON)
                fputs(shown == 0 ? "[\n" : ",\n", stdout);
            json_entry(&list[i]);
            if (tool->output == OUT_JSONL)
                fputc('\n', stdout);
        }
        shown++;
    }
    free(list);
    if (tool->output == OUT_JSON)
        fputs(shown == 0 ? "[]\n" : "\n]\n", stdout);
    if (shown > 0)
        return 0;
    fputs("sls-spool: the ledger has no entry: nothing was lost, set aside or ordered\n", stderr);
    return 0;
}
