/* How many frames a second a target takes: the mean of the last seconds, for people. Pure. Indoors
 * of send/. */
#ifndef SEND_RATE_H
#define SEND_RATE_H

#include <stdint.h>

struct rate {
    double frames_s; /* the figure */
    double weight;   /* of all looks in it; 0: none yet */
    uint64_t taken;  /* at the last look */
    int64_t at_ms;
};

/* taken: how many there were before; now_ms: monotonic, as below. */
void rate_init(struct rate *rate, uint64_t taken, int64_t now_ms);
/* Looks at most once a second, and so may be called at any time. taken never falls. */
void rate_look(struct rate *rate, uint64_t taken, int64_t now_ms);

#endif
