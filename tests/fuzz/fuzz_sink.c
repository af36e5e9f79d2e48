/* What a sender may put on syslog-sink's connections, any bytes: first byte chooses the framing
 * (auto, octet, LF, RELP), the rest is the stream. Each message goes through the strict parser and
 * the tally. What must hold: messages lie inside the stream and are taken off the front. */
#include <stdint.h>
#include <stdlib.h>

#include "deframe.h"
#include "parse.h"
#include "relp.h"
#include "tally.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 1000 };

static void must(int holds)
{
    if (!holds)
        abort();
}

static void report(void *arg, const struct violation *v)
{
    (void)arg;
    must(v->rule != NULL && v->sentence != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data + 1;
    struct deframer deframer;
    struct talk talk;
    struct tally tally;
    size_t n = size - 1, at = 0;

    if (size == 0)
        return 0;
    tally_init(&tally);
    deframe_init(&deframer, (enum framing)(data[0] % 3), MESSAGE_MAX);
    talk_init(&talk, MESSAGE_MAX);
    for (;;) {
        struct deframed f;
        struct parsed parsed;
        enum deframe_result r = data[0] % 4 == 3 ? talk_next(&talk, p + at, n - at, &f)
                                                 : deframe_next(&deframer, p + at, n - at, &f);

        if (r == DEFRAME_ERROR)
            must(f.why != NULL && f.where <= n - at);
        if (r != DEFRAME_MESSAGE)
            break;
        must(f.used > 0 && f.used <= n - at && f.at >= p + at && f.at + f.n <= p + at + f.used);
        must(f.n <= MESSAGE_MAX);
        parse_syslog(f.at, f.n, &parsed, report, NULL);
        must(tally_message(&tally, f.at, f.n));
        at += f.used;
    }
    talk_fini(&talk);
    tally_free(&tally);
    return 0;
}
