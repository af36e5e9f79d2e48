/* list, cat, tail: selected frames on standard output. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "print.h"
#include "select.h"

/* The spool belongs to another process, which tells us nothing: look again this often. */
enum { FOLLOW_POLL_MS = 200, TAIL_LINES = 10 };

struct show {
    struct tool *tool;
    struct printer printer;
    uint64_t seen;
    uint64_t limit; /* frames still to show; UINT64_MAX: all */
    bool count_only;
};

static bool show_frame(void *ctx, const struct slsr_frame *frame)
{
    struct show *show = ctx;

    if (show->limit == 0)
        return false;
    show->seen++;
    if (!show->count_only)
        print_frame(&show->printer, frame);
    if (show->limit != UINT64_MAX)
        show->limit--;
    return show->limit > 0 && !tool_output_broken(show->tool);
}

/* A count that needs no frames, or only those at the ends of the time. False: they all have to be
 * looked at. */
static bool count_by_index(struct selection *sel, struct tool *tool, uint64_t *frames, int *rc,
                           struct slsr_err *err)
{
    if (!sel->filtered)
        *frames = select_frames(sel);
    else if (tool->pattern == NULL && !sel->stated)
        *rc = walk_count(sel, tool, frames, err);
    else
        return false;
    if (tool_given(tool, OPT_LINES) && tool->lines < *frames)
        *frames = tool->lines;
    return true;
}

/* The end of the output, and the exit code. Half a count is none. */
static int end_selected(struct show *show, int rc, const struct slsr_err *err)
{
    const bool stopped = slsr_stop_requested(&show->tool->stop);

    if (rc == 0 && show->count_only && !stopped)
        printf("%" PRIu64 "\n", show->seen);
    else if (rc == 0 && !show->count_only)
        print_end(&show->printer);
    if (rc != 0)
        return tool_fail(err);
    if (stopped)
        return tool_interrupted(show->count_only ? "nothing was counted" : "this is not all");
    return show->seen > 0 ? 0 : tool_no_match(show->tool, "");
}

static int show_selected(struct tool *tool, bool table)
{
    struct selection sel;
    struct show show = {.tool = tool, .limit = UINT64_MAX};
    struct slsr_err err = {0};
    uint64_t from;

    show.count_only = tool_given(tool, OPT_COUNT);
    print_begin(&show.printer, tool->output, table);
    int rc = select_init(&sel, tool, &err);
    from = sel.from;
    if (rc == 0 && show.count_only && count_by_index(&sel, tool, &show.seen, &rc, &err)) {
        select_fini(&sel);
        return end_selected(&show, rc, &err);
    }
    if (rc == 0 && tool_given(tool, OPT_LINES)) {
        show.limit = tool->lines;
        /* The newest N: find where they start, unless we start at the newest anyway. */
        if (!tool->lines_oldest && !tool_given(tool, OPT_REVERSE))
            rc = walk_last(&sel, tool, tool->lines, &from, &err);
        else if (tool->lines_oldest && tool_given(tool, OPT_REVERSE))
            rc = slsr_fail(&err, SLSR_EUSAGE, "-n +N with --reverse: give one of them");
    }
    if (rc == 0 && tool_given(tool, OPT_REVERSE))
        rc = walk_reverse(&sel, tool, show_frame, &show, &err);
    else if (rc == 0)
        rc = walk_forward(&sel, tool, from, sel.to, show_frame, &show, &err);
    select_fini(&sel);
    return end_selected(&show, rc, &err);
}

int verb_list(struct tool *tool)
{
    return show_selected(tool, true);
}

int verb_cat(struct tool *tool)
{
    return show_selected(tool, false);
}

/* Waits a moment; false when stop was requested or the reader of our output is gone. */
static bool wait_moment(struct tool *tool)
{
    struct pollfd fds[2] = {{.fd = tool->stop.fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};

    if (poll(fds, 2, FOLLOW_POLL_MS) < 0 && errno != EINTR)
        return false;
    if ((fds[1].revents & (POLLERR | POLLNVAL)) != 0)
        tool->write_errno = EPIPE;
    return !slsr_stop_requested(&tool->stop) && tool->write_errno == 0;
}

static int follow(struct tool *tool, struct selection *sel, struct show *show, struct slsr_err *err)
{
    struct yield yield;
    uint64_t position = sel->to;
    int rc = 0;

    yield_begin(&yield, position, position, tool_mono_ns());
    sel->yield = &yield;
    while (rc == 0 && fflush(stdout) == 0 && !tool_output_broken(tool) && wait_moment(tool)) {
        uint64_t oldest;
        uint64_t next;
        rc = slsr_spool_bounds(tool->spool, &oldest, &next, err);
        yield_look(&yield, next, tool_mono_ns());
        if (rc != 0 || next <= position)
            continue;
        sel->to = next;
        rc = walk_forward(sel, tool, position, next, show_frame, show, err);
        position = next;
    }
    sel->yield = NULL;
    return rc;
}

int verb_tail(struct tool *tool)
{
    struct selection sel;
    struct show show = {.tool = tool, .limit = UINT64_MAX};
    struct slsr_err err = {0};
    bool follows = tool_given(tool, OPT_FOLLOW);

    if (tool_given(tool, OPT_LINES) && tool->lines_oldest)
        return tool_usage("-n +N with 'tail': give -n N, or use 'cat -n +N'");
    if (follows && (tool->output == OUT_JSON || tool->until != NULL))
        return tool_usage("'tail -f' has no end: give -o jsonl instead of json, and no --until");
    print_begin(&show.printer, tool->output, false);
    int rc = select_init(&sel, tool, &err);
    uint64_t from = sel.from;
    if (rc == 0)
        rc = walk_last(&sel, tool, tool_given(tool, OPT_LINES) ? tool->lines : TAIL_LINES, &from,
                       &err);
    if (rc == 0 && !(tool_given(tool, OPT_LINES) && tool->lines == 0))
        rc = walk_forward(&sel, tool, from, sel.to, show_frame, &show, &err);
    if (rc == 0 && follows)
        rc = follow(tool, &sel, &show, &err);
    if (rc == 0)
        print_end(&show.printer);
    select_fini(&sel);
    if (rc == 0 && !follows && show.seen == 0 && !slsr_stop_requested(&tool->stop) &&
        !(tool_given(tool, OPT_LINES) && tool->lines == 0))
        return tool_no_match(tool, "");
    return rc != 0 ? tool_fail(&err) : 0;
}
