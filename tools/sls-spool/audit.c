/* audit FILE: a receiver's file against the spool, by the provenance that each line carries.
 *
 * Good path: one pass over the file notes where each provenance stands, in a table as large as the
 * file has lines; one pass over the selected frames asks the table. Missing is a frame that should
 * be there by now (its target has taken it) and is not; duplicate, one that is there more than
 * once; reordered, a line that has to move for its shard to be in order (a longest increasing run
 * stays). Lines without provenance, and lines that the selection does not know, are counted. */
#include "audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "state.h"

enum { RANGES_SHOWN = 20 };

struct audit {
    struct tool *tool;
    struct lines lines;
    struct slsr_spans missing, twice, moved, later; /* later: not sent yet */
    uint64_t extra;                                 /* lines that are repetitions */
    uint64_t matched;
    bool no_memory;
};

static bool compare(void *ctx, const struct slsr_frame *frame)
{
    struct audit *audit = ctx;
    struct line *line = lines_find(&audit->lines, lines_hash_frame(frame));

    if (line == NULL) {
        struct slsr_spans *out = slsr_spans_has(&audit->later, frame->seq) ? NULL : &audit->missing;
        if (out != NULL && !slsr_spans_add(out, frame->seq, frame->seq + 1))
            audit->no_memory = true;
        return !audit->no_memory;
    }
    line->seq = frame->seq;
    audit->matched++;
    if (line->count > 1) {
        audit->extra += line->count - 1;
        if (!slsr_spans_add(&audit->twice, frame->seq, frame->seq + 1))
            audit->no_memory = true;
    }
    return !audit->no_memory;
}

/* Per stream: which of the lines, in the file's order, are not part of a longest increasing run. */
static bool find_moved(struct audit *audit)
{
    struct lines *lines = &audit->lines;
    uint32_t *tails = malloc((lines->count + 1) * sizeof(*tails));
    uint32_t *before = malloc((lines->count + 1) * sizeof(*before));
    bool ok = tails != NULL && before != NULL;

    for (uint32_t stream = 0; ok && stream < lines->stream_count; stream++) {
        uint32_t length = 0;

        for (uint32_t i = 0; i < lines->count; i++) {
            const struct line *line = &lines->items[i];
            uint32_t low = 0;
            if (line->stream != stream || line->seq == 0)
                continue;
            for (uint32_t high = length; low < high;) {
                uint32_t middle = low + (high - low) / 2;
                if (lines->items[tails[middle]].seq < line->seq)
                    low = middle + 1;
                else
                    high = middle;
            }
            before[i] = low > 0 ? tails[low - 1] : UINT32_MAX;
            tails[low] = i;
            length = low == length ? length + 1 : length;
        }
        for (uint32_t i = length > 0 ? tails[length - 1] : UINT32_MAX; i != UINT32_MAX;
             i = before[i])
            lines->items[i].in_order = true;
    }
    for (uint32_t i = 0; ok && i < lines->count; i++)
        if (lines->items[i].seq != 0 && !lines->items[i].in_order)
            ok = slsr_spans_add(&audit->moved, lines->items[i].seq, lines->items[i].seq + 1);
    slsr_spans_normalise(&audit->moved);
    free(tails);
    free(before);
    return ok;
}

static void json_ranges(const char *name, const struct slsr_spans *spans)
{
    printf("\"%s\":{\"frames\":%" PRIu64 ",\"ranges\":[", name, slsr_spans_frames(spans));
    for (size_t i = 0; i < spans->count; i++)
        printf("%s[%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", spans->items[i].from,
               spans->items[i].to - 1);
    fputs("]}", stdout);
}

static void text_ranges(const char *name, const struct slsr_spans *spans)
{
    printf("%-10s %" PRIu64 " frame%s", name, slsr_spans_frames(spans),
           tool_s(slsr_spans_frames(spans)));
    for (size_t i = 0; i < spans->count && i < RANGES_SHOWN; i++) {
        printf("%s%" PRIu64, i == 0 ? ": seq " : ", ", spans->items[i].from);
        if (spans->items[i].to - spans->items[i].from > 1)
            printf("..%" PRIu64, spans->items[i].to - 1);
    }
    if (spans->count > RANGES_SHOWN)
        printf(" and %zu more ranges (-o json names all)", spans->count - RANGES_SHOWN);
    fputc('\n', stdout);
}

static uint64_t unknown_lines(const struct audit *audit)
{
    uint64_t unknown = 0;

    for (uint32_t i = 0; i < audit->lines.count; i++)
        if (audit->lines.items[i].seq == 0)
            unknown += audit->lines.items[i].count;
    return unknown;
}

static void tell(const struct audit *audit)
{
    const struct lines *lines = &audit->lines;

    if (audit->tool->output != OUT_TEXT) {
        printf("{\"lines\":%" PRIu64 ",\"without_provenance\":%" PRIu64 ",\"unknown\":%" PRIu64
               ",\"matched\":%" PRIu64 ",\"not_sent_yet\":%" PRIu64 ",\"duplicate_lines\":%" PRIu64
               ",",
               lines->read, lines->plain, unknown_lines(audit), audit->matched,
               slsr_spans_frames(&audit->later), audit->extra);
        json_ranges("missing", &audit->missing);
        fputc(',', stdout);
        json_ranges("duplicate", &audit->twice);
        fputc(',', stdout);
        json_ranges("reordered", &audit->moved);
        fputs("}\n", stdout);
        return;
    }
    printf("%" PRIu64 " line%s: %" PRIu64 " frames found, %" PRIu64 " without provenance, %" PRIu64
           " of frames outside of the selection\n",
           lines->read, tool_s(lines->read), audit->matched, lines->plain, unknown_lines(audit));
    text_ranges("missing", &audit->missing);
    text_ranges("duplicate", &audit->twice);
    text_ranges("reordered", &audit->moved);
    if (slsr_spans_frames(&audit->later) > 0)
        printf("%" PRIu64 " frames of the spool were not sent yet and count as neither\n",
               slsr_spans_frames(&audit->later));
}

static int not_sent_yet(struct audit *audit, struct slsr_err *err)
{
    struct slsr_target_state *targets = NULL;
    size_t count = 0;
    int rc = state_targets(audit->tool, &targets, &count, err);

    free(targets);
    if (rc != 0 || count == 0) /* a spool that knows no target: all of it is expected */
        return rc;
    return state_spans(audit->tool, STATE_PENDING | STATE_HELD | STATE_DEAD | STATE_SKIPPED,
                       &audit->later, err);
}

static int judge(struct audit *audit, struct selection *sel, struct slsr_err *err)
{
    struct tool *tool = audit->tool;
    int rc = 0;
    uint64_t from = sel->from;

    if (tool_given(tool, OPT_LINES) && !tool->lines_oldest)
        rc = walk_last(sel, tool, tool->lines, &from, err);
    if (rc == 0)
        rc = not_sent_yet(audit, err);
    if (rc == 0)
        rc = walk_forward(sel, tool, from, sel->to, compare, audit, err);
    if (rc == 0 && (audit->no_memory || !find_moved(audit)))
        rc = slsr_fail(err, SLSR_ENOMEM, "out of memory, audit: select less");
    return rc;
}

int verb_audit(struct tool *tool)
{
    struct audit audit = {.tool = tool};
    struct selection sel;
    struct slsr_err err = {0};
    int code = 0;

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'audit': give text or json, raw is for frames");
    if (tool->word_count == 0)
        return tool_usage("audit without a file: give what the receiver wrote, or - for standard "
                          "input");
    if (tool_given(tool, OPT_REPLAY) && (tool->target != NULL) == (tool->to != NULL))
        return tool_usage("audit --replay: give either -t NAME, or --to URL, to send to");
    int rc = select_init(&sel, tool, &err);
    if (rc == 0)
        rc = lines_read(&audit.lines, tool->words[0], &tool->stop, &err);
    if (rc == 0 && audit.lines.read > 0 && audit.lines.plain == audit.lines.read)
        rc = slsr_fail(&err, SLSR_EUSAGE,
                       "%s, audit: none of its %" PRIu64
                       " lines has our provenance, so that nothing can be said of them: set "
                       "format.provenance, and export whole messages",
                       tool->words[0], audit.lines.read);
    if (rc == 0)
        rc = judge(&audit, &sel, &err);
    select_fini(&sel);
    if (rc == 0 && slsr_stop_requested(&tool->stop)) {
        code = tool_interrupted("nothing was compared");
    } else if (rc == 0) {
        tell(&audit);
        code = audit.missing.count + audit.twice.count + audit.moved.count > 0 ? EXIT_NOTHING : 0;
        fflush(stdout);
        if (tool_given(tool, OPT_REPLAY) && audit.missing.count > 0)
            code = replay_spans(tool, &audit.missing);
    }
    slsr_spans_free(&audit.missing);
    slsr_spans_free(&audit.twice);
    slsr_spans_free(&audit.moved);
    slsr_spans_free(&audit.later);
    lines_free(&audit.lines);
    return rc != 0 ? tool_fail(&err) : code;
}
