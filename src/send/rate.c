/* A mean that forgets: each second weighs KEEP of the next one. It is divided by the weights that
 * are in it, so that the first second of a flow counts whole: a mean that begins at nothing would
 * rise for five seconds, and the drain ETA with it would be too long just when people look. */
#include "send/rate.h"

enum { LOOK_MS = 1000 };

static const double KEEP = 0.6;
static const double NOTHING_S = 0.01; /* less is silence, and a flow that begins again is new */

void rate_init(struct rate *rate, uint64_t taken, int64_t now_ms)
{
    *rate = (struct rate){.taken = taken, .at_ms = now_ms};
}

void rate_look(struct rate *rate, uint64_t taken, int64_t now_ms)
{
    const int64_t span_ms = now_ms - rate->at_ms;
    const double old = KEEP * rate->weight;

    if (rate->weight == 0 && taken == rate->taken) {
        rate->at_ms = now_ms; /* the first second begins with the flow, not in the silence */
        return;
    }
    if (span_ms < LOOK_MS)
        return;
    rate->weight = old + (1 - KEEP);
    rate->frames_s = (old * rate->frames_s +
                      (1 - KEEP) * (double)(taken - rate->taken) * 1000 / (double)span_ms) /
                     rate->weight;
    if (rate->frames_s < NOTHING_S)
        rate->frames_s = rate->weight = 0;
    rate->taken = taken;
    rate->at_ms = now_ms;
}
