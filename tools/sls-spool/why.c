/* An order that finds frames, but none that it could concern: "hold" of what was delivered hours
 * ago. The person wants to know that, and not that nothing matches. */
#include "why.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "select.h"
#include "state.h"

enum { STATES = 5 }; /* bits as in state.h */

struct stand {
    struct slsr_spans in[STATES];
    uint64_t count[STATES];
    uint64_t all;
};

static bool note(void *ctx, const struct slsr_frame *frame)
{
    struct stand *stand = ctx;

    stand->all++;
    for (size_t i = 0; i < STATES; i++)
        stand->count[i] += slsr_spans_has(&stand->in[i], frame->seq);
    return true;
}

/* Without a look at the frames: the selected stretches against those of each state. */
static int by_spans(struct tool *tool, struct selection *sel, struct stand *stand,
                    struct slsr_err *err)
{
    int rc = 0;

    stand->all = select_frames(sel);
    for (unsigned i = 0; rc == 0 && i < STATES; i++) {
        struct selection part;

        rc = select_init(&part, tool, err);
        if (rc == 0)
            rc = select_states(&part, tool, 1U << i, err);
        if (rc == 0)
            stand->count[i] = select_frames(&part);
        select_fini(&part);
    }
    return rc;
}

static int look(struct tool *tool, struct stand *stand, struct slsr_err *err)
{
    struct selection sel;
    int rc = select_init(&sel, tool, err);

    if (rc == 0 && !sel.filtered) {
        rc = by_spans(tool, &sel, stand, err);
    } else if (rc == 0) {
        for (unsigned i = 0; rc == 0 && i < STATES; i++)
            rc = state_spans(tool, 1U << i, &stand->in[i], err);
        if (rc == 0)
            rc = walk_forward(&sel, tool, sel.from, sel.to, note, stand, err);
    }
    select_fini(&sel);
    return rc;
}

const char *why_states(unsigned states)
{
    if (states == STATE_PENDING)
        return "pending";
    return states == STATE_HELD ? "held" : "pending, held or dead";
}

static void tell(const struct tool *tool, const struct stand *stand, unsigned states)
{
    static const char *const words[STATES] = {"still to be sent", "delivered already", "held",
                                              "dead", "skipped"};
    const char *before = ": ";

    fprintf(stderr, "sls-spool: %s, nothing was ordered: %" PRIu64 " frame%s match, but none is %s",
            tool->verb, stand->all, tool_s(stand->all), why_states(states));
    for (size_t i = 0; i < STATES; i++) {
        if (stand->count[i] == 0)
            continue;
        fprintf(stderr, "%s%" PRIu64 " %s", before, stand->count[i], words[i]);
        before = ", ";
    }
    if (stand->count[1] > 0 && states != STATE_HELD)
        fputs("; requeue sends again what was delivered", stderr);
    fputc('\n', stderr);
}

int why_no_frame(struct tool *tool, unsigned states)
{
    struct stand stand = {0};
    struct slsr_err err = {0};
    int code = EXIT_NOTHING;
    int rc = states != 0 ? look(tool, &stand, &err) : 0;

    if (rc != 0)
        code = tool_fail(&err);
    else if (slsr_stop_requested(&tool->stop))
        code = tool_interrupted("nothing was ordered");
    else if (stand.all == 0)
        code = tool_no_match(tool, ", nothing was ordered");
    else
        tell(tool, &stand, states);
    for (size_t i = 0; i < STATES; i++)
        slsr_spans_free(&stand.in[i]);
    return code;
}
