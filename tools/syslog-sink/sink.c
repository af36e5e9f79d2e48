/* What happens to one message: count, write, tally, check; and the gates --rate, --stall-after and
 * --die-after. HOT: without --output and --strict nothing here touches the message but a look for
 * its provenance. */
#include "sink.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "parse.h"

enum { NS_PER_S = 1000000000 };
/* How late --rate may catch up, so that timer resolution does not lower the rate. */
enum { RATE_SLACK_NS = 50 * 1000 * 1000 };

int64_t sink_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

bool sink_ready(struct sink *s)
{
    int64_t now = 0;

    if (s->stalled || s->failed)
        return false;
    if (s->o->rate == 0)
        return true;
    now = sink_now_ns();
    if (s->next_ns < now - RATE_SLACK_NS)
        s->next_ns = now - RATE_SLACK_NS;
    return s->next_ns <= now;
}

static void report(void *arg, const struct violation *v)
{
    struct sink *s = arg;

    s->violations++;
    fprintf(stderr, "syslog-sink: message %" PRIu64 ": %s at byte %zu: %s\n", s->messages, v->rule,
            v->offset, v->sentence);
}

void sink_take(struct sink *s, const char *p, size_t n)
{
    struct parsed ignored;

    s->messages++;
    s->bytes += n;
    s->changed = true;
    if (s->o->rate != 0)
        s->next_ns += (int64_t)((NS_PER_S + s->o->rate - 1) / s->o->rate);
    if (!output_message(&s->out, p, n))
        s->failed = true;
    if (!tally_message(&s->tally, p, n)) {
        fputs("syslog-sink: out of memory while tallying: use fewer messages\n", stderr);
        s->failed = true;
    }
    if (s->o->strict)
        parse_syslog(p, n, &ignored, report, s);
    if (s->messages == s->o->die_after)
        _exit(1); /* on purpose with everything unflushed lost, as in a real crash */
    if (s->messages == s->o->stall_after)
        s->stalled = true;
}

void sink_framing_error(struct sink *s, const char *peer, const char *why, size_t offset)
{
    s->framing_errors++;
    s->changed = true;
    if (s->o->strict)
        s->violations++;
    fprintf(stderr, "syslog-sink: after message %" PRIu64 ", %s: framing at byte %zu: %s\n",
            s->messages, peer, offset, why);
}

void sink_truncated(struct sink *s, const char *peer, size_t bytes)
{
    s->truncated++;
    s->changed = true;
    if (s->o->strict)
        s->violations++;
    fprintf(stderr,
            "syslog-sink: after message %" PRIu64
            ", %s: the stream ended inside a frame, %zu bytes "
            "of it arrived\n",
            s->messages, peer, bytes);
}
