/* From the spool into a transport: runs, filter, pace. Indoors of send/. One thread. */
#ifndef SEND_FEED_H
#define SEND_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "send/pace.h"
#include "slsrelay/deliver.h"
#include "transport/transport.h"

struct feed {
    const struct slsr_delivery *d; /* borrowed */
    struct slsr_range *range;
    struct slsr_run run; /* being offered */
    uint32_t at;         /* next frame of it */
    uint64_t end;        /* everything below was offered, or needs no sending */
    uint64_t stuck;      /* position of the last damage since the last seek; 0: none */
    uint64_t said;       /* damage up to this position was told */
    uint64_t limit;      /* frames below may be offered; UINT64_MAX: all */
    bool idle;           /* the spool has no more for now */
    struct pace pace;
    uint64_t backlog_end; /* frames below were there when the connection came up */
    char *buf;            /* wanted frames, when there is a filter */
    size_t buf_size;
    uint32_t *ends;
};

int feed_init(struct feed *f, const struct slsr_delivery *d, struct slsr_err *err);
void feed_fini(struct feed *f);
/* Offers what the transport, the spool and the rate allow now. Errors are the spool's: damage is
 * said and passed over, anything else is returned. */
int feed_step(struct feed *f, struct transport *t, int64_t now_ms, struct slsr_err *err);
void feed_seek(struct feed *f, uint64_t seq); /* after a break: offer again from there */
void feed_wake(struct feed *f);               /* there may be new frames */
bool feed_idle(const struct feed *f);
bool feed_complete(const struct feed *f); /* everything up to d->to was offered */
bool feed_held(const struct feed *f);     /* everything below the limit was offered */
uint64_t feed_end(const struct feed *f);
int64_t feed_due_ms(const struct feed *f, int64_t now_ms); /* until the rate allows one more */

#endif
