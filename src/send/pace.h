/* How fast frames may go: token buckets for frames and bytes. Pure. Indoors of send/. */
#ifndef SEND_PACE_H
#define SEND_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/config.h"

enum { PACE_BUCKETS = 5 };

struct pace {
    struct pace_bucket {
        double rate; /* a second; 0: no limit */
        double tokens;
        bool bytes;   /* counts bytes, not frames */
        bool backlog; /* only for frames of a backlog */
    } buckets[PACE_BUCKETS];
    int64_t at_ms; /* tokens are those of then */
    bool any;
};

/* frames_s: one more limit, of a replay; 0: none. */
void pace_init(struct pace *p, const struct slsr_rate_config *rate, int64_t frames_s,
               int64_t now_ms);
/* How many of these frames may go now; they count as sent. ends: behind each frame, relative to
 * the same byte as start. */
uint32_t pace_take(struct pace *p, int64_t now_ms, bool backlog, const uint32_t *ends,
                   uint32_t start, uint32_t count);
/* From now until some may go; 0: now. */
int64_t pace_due_ms(const struct pace *p, int64_t now_ms, bool backlog);

#endif
