/* readers: who has the spool open for reading, and the slots that dead ones have left behind. */
#include <inttypes.h>
#include <stdio.h>

#include "common/json.h"
#include "common/text.h"
#include "tool.h"

struct view {
    struct tool *tool;
    uint64_t shown, stale;
};

static void show(void *ctx, const struct slsr_spool_reader *reader)
{
    struct view *view = ctx;

    if (view->tool->output == OUT_TEXT) {
        if (view->shown == 0)
            printf("%8s  %-6s  %12s  %s\n", "PID", "STATE", "TRANSACTION", "FILE");
        printf("%8ld  %-6s  %12" PRIu64 "  ", reader->pid, reader->alive ? "alive" : "stale",
               reader->txn);
        cli_text_escape(stdout, slsr_bytes_of(reader->file), 0);
        fputc('\n', stdout);
    } else {
        if (view->tool->output == OUT_JSON)
            fputs(view->shown == 0 ? "" : ",", stdout);
        printf("{\"pid\":%ld,\"alive\":%s,\"transaction\":%" PRIu64 ",\"file\":", reader->pid,
               reader->alive ? "true" : "false", reader->txn);
        cli_json_string(stdout, slsr_bytes_of(reader->file));
        fputs(view->tool->output == OUT_JSONL ? "}\n" : "}", stdout);
    }
    view->shown++;
    view->stale += !reader->alive;
}

int verb_readers(struct tool *tool)
{
    struct view view = {.tool = tool};
    struct slsr_err err = {0};
    unsigned cleared = 0;
    bool clear = tool_given(tool, OPT_CLEAR_STALE);

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'readers': give text or json, raw is for frames");
    if (tool->output == OUT_JSON)
        fputc('[', stdout);
    if (slsr_spool_readers(tool->spool, clear, show, &view, &cleared, &err) != 0)
        return tool_fail(&err);
    if (tool->output == OUT_JSON)
        fputs("]\n", stdout);
    if (tool->output != OUT_TEXT)
        return 0;
    if (view.shown == 0)
        puts("no reader");
    if (clear)
        printf("%u stale slot%s cleared\n", cleared, tool_s(cleared));
    else if (view.stale > 0)
        printf("%" PRIu64 " stale: the relay clears them by itself, --clear-stale does it now\n",
               view.stale);
    return 0;
}
