/* verify: the library walks everything, this shows it. Damage is the result, on standard output;
 * progress is for a person at a terminal. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/json.h"
#include "common/text.h"
#include "tool.h"

struct view {
    struct tool *tool;
    uint64_t damages;
    int64_t next_ns; /* when to show progress again */
    bool terminal;
};

static void on_bad(void *ctx, const char *sentence)
{
    struct view *view = ctx;

    if (view->terminal)
        fputs("\r\x1b[K", stderr);
    if (view->tool->output == OUT_TEXT) {
        cli_text_escape(stdout, slsr_bytes_of(sentence), 0);
        fputc('\n', stdout);
    } else {
        fputs(view->damages == 0 ? "" : ",", stdout);
        cli_json_string(stdout, slsr_bytes_of(sentence));
    }
    fflush(stdout);
    view->damages++;
}

static bool on_progress(void *ctx, uint64_t done, uint64_t all)
{
    struct view *view = ctx;
    int64_t now = tool_now_ns();
    char text[TEXT_SMALL];
    char total[TEXT_SMALL];

    if (slsr_stop_requested(&view->tool->stop))
        return false;
    if (!view->terminal || now < view->next_ns)
        return true;
    view->next_ns = now + 200000000;
    cli_text_count(text, done);
    cli_text_count(total, all);
    fprintf(stderr, "\rverify: %s of %s frames, %.0f %%\x1b[K", text, total,
            all > 0 ? 100.0 * (double)done / (double)all : 100.0);
    return true;
}

int verb_verify(struct tool *tool)
{
    struct view view = {.tool = tool, .terminal = isatty(STDERR_FILENO) == 1};
    struct slsr_verify verify = {
        .deep = tool_given(tool, OPT_DEEP), .bad = on_bad, .progress = on_progress, .ctx = &view};
    struct slsr_err err = {0};
    char bytes[TEXT_SMALL];

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'verify': give text or json, raw is for frames");
    if (tool->output != OUT_TEXT)
        fputs("{\"damages\":[", stdout);
    int rc = slsr_spool_verify(tool->spool, &verify, &err);
    if (view.terminal)
        fputs("\r\x1b[K", stderr);
    if (rc == SLSR_ESTOPPED)
        return tool_interrupted("not all was read");
    if (rc != 0 && rc != SLSR_ECORRUPT)
        return tool_fail(&err);
    if (rc != 0 && view.damages == 0)
        on_bad(&view, err.text); /* so damaged that the walk could not even begin */
    if (tool->output != OUT_TEXT) {
        printf("],\"segments\":%" PRIu64 ",\"chunks\":%" PRIu64 ",\"frames\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"sealed_chunks\":%" PRIu64
               ",\"deep\":%s}\n",
               verify.segments, verify.chunks, verify.frames, verify.bytes, view.damages,
               verify.sealed_chunks, verify.deep ? "true" : "false");
    } else {
        cli_text_size(bytes, verify.bytes);
        printf("%s: %" PRIu64 " segment%s, %" PRIu64 " chunk%s, %" PRIu64 " frame%s, %s, %" PRIu64
               " damage%s\n",
               rc == 0 ? "sound" : "damaged", verify.segments, tool_s(verify.segments),
               verify.chunks, tool_s(verify.chunks), verify.frames, tool_s(verify.frames), bytes,
               view.damages, tool_s(view.damages));
        if (verify.sealed_chunks > 0)
            printf("%" PRIu64 " chunk%s encrypted with a key that is not at hand: only checksums "
                   "were looked at: give -c with all keys\n",
                   verify.sealed_chunks, tool_s(verify.sealed_chunks));
    }
    return rc == 0 ? 0 : EXIT_DAMAGED;
}
