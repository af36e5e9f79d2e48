/* Where frames stand with the targets, as sets of sequences: positions and marks, no frame is read.
 *
 * For one target: passed = held, skipped or dead; pending = behind its position and not passed, or
 * ordered again; delivered = before its position and neither. For all targets together: pending,
 * held, dead and skipped are what is so for any of them; delivered is what is none of these. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "state.h"

static const char *const names[] = {"pending", "delivered", "held", "dead", "skipped"};
enum { NAMES = sizeof(names) / sizeof(names[0]) };

unsigned state_parse(const char *text)
{
    for (unsigned i = 0; i < NAMES; i++)
        if (strcmp(text, names[i]) == 0)
            return 1U << i;
    return 0;
}

static int unknown_target(const char *name, const char *const *known, size_t count,
                          struct slsr_err *err)
{
    const char *near = cli_args_nearest(name, known, count);
    char list[300] = "";
    size_t n = 0;

    if (count == 0)
        return slsr_fail(err, SLSR_EUSAGE,
                         "target '%s', -t: no target has registered yet: start the relay with one",
                         name);
    if (near != NULL)
        return slsr_fail(err, SLSR_EUSAGE,
                         "target '%s', -t: the spool knows no such target: did you mean '%s'?",
                         name, near);
    for (size_t i = 0; i < count && n < sizeof(list); i++)
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i == 0 ? "" : ", ", known[i]);
    return slsr_fail(err, SLSR_EUSAGE,
                     "target '%s', -t: the spool knows no such target: known are %s", name, list);
}

int state_targets(struct tool *tool, struct slsr_target_state **out, size_t *count,
                  struct slsr_err *err)
{
    struct slsr_target_state *all = NULL;
    size_t n = 0;
    int rc = slsr_spool_targets(tool->spool, &all, &n, err);
    const char *known[64];

    *out = NULL;
    *count = 0;
    if (rc != 0)
        return rc;
    if (tool->target == NULL) {
        *out = all;
        *count = n;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].name, tool->target) == 0) {
            all[0] = all[i];
            *out = all;
            *count = 1;
            return 0;
        }
        known[i < 64 ? i : 63] = all[i].name;
    }
    rc = unknown_target(tool->target, known, n < 64 ? n : 64, err);
    free(all);
    return rc;
}

static bool add_all(struct slsr_spans *out, const struct slsr_spans *more)
{
    bool ok = true;

    for (size_t i = 0; ok && i < more->count; i++)
        ok = slsr_spans_add(out, more->items[i].from, more->items[i].to);
    return ok;
}

struct sets {
    struct slsr_spans held, skipped, dead, again, passed, pending, done;
};

static void sets_free(struct sets *sets)
{
    slsr_spans_free(&sets->held);
    slsr_spans_free(&sets->skipped);
    slsr_spans_free(&sets->dead);
    slsr_spans_free(&sets->again);
    slsr_spans_free(&sets->passed);
    slsr_spans_free(&sets->pending);
    slsr_spans_free(&sets->done);
}

static int read_marks(struct tool *tool, const char *target, struct sets *sets,
                      struct slsr_err *err)
{
    const struct {
        enum slsr_mark kind;
        struct slsr_spans *out;
    } wanted[] = {{SLSR_MARK_HOLD, &sets->held},
                  {SLSR_MARK_WANTED, &sets->held},
                  {SLSR_MARK_SKIP, &sets->skipped},
                  {SLSR_MARK_DEAD, &sets->dead},
                  {SLSR_MARK_RESEND, &sets->again}};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(wanted) / sizeof(wanted[0]); i++)
        rc = slsr_marks_read(tool->spool, wanted[i].kind, target, wanted[i].out, err);
    return rc;
}

/* The sets of one target over [oldest, next). */
static int read_sets(struct tool *tool, const struct slsr_target_state *target, uint64_t oldest,
                     uint64_t next, struct sets *sets, struct slsr_err *err)
{
    struct slsr_control_state order;
    struct slsr_spans rest = {0};
    struct slsr_spans before = {0};
    int rc = read_marks(tool, target->name, sets, err);
    bool ok = true;

    if (rc == 0)
        rc = slsr_control_read(tool->spool, target->name, &order, err);
    if (rc != 0)
        return rc;
    uint64_t acked = order.seek != 0 ? order.seek : target->acked;
    acked = acked < oldest ? oldest : acked > next ? next : acked;
    ok = add_all(&sets->passed, &sets->held) && add_all(&sets->passed, &sets->skipped) &&
         add_all(&sets->passed, &sets->dead);
    slsr_spans_normalise(&sets->passed);
    ok = ok && slsr_spans_add(&rest, acked, next) &&
         slsr_spans_without(&rest, &sets->passed, &sets->pending) &&
         slsr_spans_without(&sets->again, &sets->passed, &sets->pending);
    slsr_spans_normalise(&sets->pending);
    ok = ok && slsr_spans_add(&before, oldest, acked);
    struct slsr_spans open = {0};
    ok = ok && add_all(&open, &sets->passed) && add_all(&open, &sets->pending);
    slsr_spans_normalise(&open);
    ok = ok && slsr_spans_without(&before, &open, &sets->done);
    slsr_spans_free(&open);
    slsr_spans_free(&rest);
    slsr_spans_free(&before);
    return ok ? 0 : slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
}

static bool gather(const struct sets *sets, unsigned states, struct slsr_spans *out,
                   struct slsr_spans *open)
{
    const struct slsr_spans *const by_bit[] = {&sets->pending, &sets->done, &sets->held,
                                               &sets->dead, &sets->skipped};
    bool ok = true;

    for (unsigned i = 0; ok && i < NAMES; i++)
        if ((states >> i & 1) != 0 && (1U << i) != STATE_DELIVERED)
            ok = add_all(out, by_bit[i]);
    return ok && add_all(open, &sets->pending) && add_all(open, &sets->held) &&
           add_all(open, &sets->dead) && add_all(open, &sets->skipped);
}

int state_spans(struct tool *tool, unsigned states, struct slsr_spans *out, struct slsr_err *err)
{
    struct slsr_target_state *targets = NULL;
    struct slsr_spans open = {0};
    struct slsr_spans all = {0};
    uint64_t oldest;
    uint64_t next;
    size_t count = 0;
    bool ok = true;
    int rc = slsr_spool_bounds(tool->spool, &oldest, &next, err);

    if (rc == 0)
        rc = state_targets(tool, &targets, &count, err);
    for (size_t i = 0; rc == 0 && ok && i < count; i++) {
        struct sets sets = {0};

        rc = read_sets(tool, &targets[i], oldest, next, &sets, err);
        ok = rc != 0 || gather(&sets, states, out, &open);
        sets_free(&sets);
    }
    if (rc == 0 && ok && count == 0) /* nobody has taken anything yet */
        ok = slsr_spans_add((states & STATE_PENDING) != 0 ? out : &open, oldest, next);
    if (rc == 0 && ok && (states & STATE_DELIVERED) != 0 && count > 0) {
        slsr_spans_normalise(&open);
        ok = slsr_spans_add(&all, oldest, next) && slsr_spans_without(&all, &open, out);
    }
    slsr_spans_normalise(out);
    slsr_spans_free(&open);
    slsr_spans_free(&all);
    free(targets);
    if (rc == 0 && !ok)
        rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    return rc;
}
