/* What a replay could not bring to its target: too long for a datagram, or refused each time.
 *
 * Such a frame must not hold up those behind it, also where the spool is only read and its books
 * cannot tell of it; and it must not pass for one that was taken. So it is kept here, and said. */
#include "aside.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/text.h"
#include "slsrelay/ledger.h"

int aside_add(struct aside *aside, struct slsr_spool *spool, const char *target, uint64_t seq,
              const char *reason, const char *evidence, struct slsr_err *err)
{
    struct slsr_err unwritable;

    if (slsr_spans_has(&aside->spans, seq)) /* it comes again after a break */
        return 0;
    if (!slsr_spans_add(&aside->spans, seq, seq + 1))
        return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    if (aside_frames(aside) == 1) {
        fprintf(stderr, "sls-spool: frame %" PRIu64 " is set aside: ", seq);
        cli_text_escape(stderr, slsr_bytes_of(evidence), 0);
        fputc('\n', stderr);
    }
    (void)slsr_spool_dead_add(spool, target, seq, reason, evidence, &unwritable);
    return 0;
}

uint64_t aside_frames(const struct aside *aside)
{
    return slsr_spans_frames(&aside->spans);
}

void aside_say(const struct aside *aside, uint64_t frames)
{
    enum { SHOWN = 8 };
    const struct slsr_spans *spans = &aside->spans;

    if (spans->count == 0)
        return;
    fprintf(stderr,
            "sls-spool: %" PRIu64 " of %" PRIu64
            " frames cannot be taken by this target, replay: send them elsewhere, seq ",
            aside_frames(aside), frames);
    for (size_t i = 0; i < spans->count && i < SHOWN; i++) {
        const struct slsr_span *span = &spans->items[i];

        fprintf(stderr, "%s%" PRIu64, i > 0 ? ", " : "", span->from);
        if (span->to - span->from > 1)
            fprintf(stderr, "..%" PRIu64, span->to - 1);
    }
    fputs(spans->count > SHOWN ? ", ...\n" : "\n", stderr);
}

void aside_free(struct aside *aside)
{
    slsr_spans_free(&aside->spans);
}
