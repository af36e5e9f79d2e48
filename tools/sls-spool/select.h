/* Which frames a command means: sequences, times, shards, a pattern. */
#ifndef SLS_SPOOL_SELECT_H
#define SLS_SPOOL_SELECT_H

#include "slsrelay/control.h"

#include "literal.h"
#include "tool.h"
#include "yield.h"

struct selection {
    const struct tool *tool;
    uint64_t from, to;          /* [from, to): what a walk has to look at */
    int64_t since_ns, until_ns; /* inclusive both; INT64_MIN/MAX: open */
    bool by_arrival;
    bool filtered;            /* frames inside [from, to) may be left out */
    struct slsr_spans within; /* --state: only these, when `stated` */
    bool stated;
    char literal[LITERAL_MAX]; /* every match contains it */
    size_t literal_n;          /* 0: no such text is known */
    void *pattern;             /* compiled PCRE2, or NULL */
    void *match;
    struct yield *yield; /* the walk follows a writer: it gives way to it; NULL: it does not */
    bool pattern_failed; /* a frame was too costly for the pattern; err has the sentence */
    struct slsr_err err;
};

/* Reads the selectors against the spool as it is now. 0 or an error. End with select_fini. */
int select_init(struct selection *sel, struct tool *tool, struct slsr_err *err);
/* Narrows it to frames in these states (state.h), beside --state. Before the walks. */
int select_states(struct selection *sel, struct tool *tool, unsigned states, struct slsr_err *err);
/* Exact number of frames when no frame has to be looked at. */
uint64_t select_frames(const struct selection *sel);
void select_fini(struct selection *sel);
/* Does the frame belong? Also false once pattern_failed. */
bool select_wants(struct selection *sel, const struct slsr_frame *frame);

/* Is the stream among the chosen shards? ctx: the selection. */
bool select_stream(void *ctx, const struct slsr_stream *stream);

/* Called per selected frame; false ends the walk. */
typedef bool select_visit(void *ctx, const struct slsr_frame *frame);

/* walk.c. All end early on visit's false, stop, or an error (0 otherwise). A damaged stretch is
 * told on stderr, remembered in tool->damaged and passed over; so are frames that the writer gave
 * back before walk_forward came to them. Memory does not depend on how much
 * is selected. */
int walk_forward(struct selection *sel, struct tool *tool, uint64_t from, uint64_t to,
                 select_visit *visit, void *ctx, struct slsr_err *err);
int walk_reverse(struct selection *sel, struct tool *tool, select_visit *visit, void *ctx,
                 struct slsr_err *err);
/* How many are selected, when only times and shards choose (no pattern, no state): by the index,
 * but for the chunks at the ends. */
int walk_count(struct selection *sel, struct tool *tool, uint64_t *frames, struct slsr_err *err);
/* Sequence of the n-th selected frame from the end (sel->from when there are fewer). */
int walk_last(struct selection *sel, struct tool *tool, uint64_t n, uint64_t *seq,
              struct slsr_err *err);

#endif
