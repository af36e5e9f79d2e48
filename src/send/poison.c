/* Looking for a poison frame.
 *
 * Good path: breaks with progress in between; nothing is counted. Three breaks in a row by the peer
 * at the same position begin the search: the suspects are offered by halves, each half is proven or
 * breaks. A proof leads on at once, settled or not: it only says where to look. A single one is
 * offered only when all below it has settled, on a connection that has stood without frames for the
 * settle time, so that a receiver which is ill as a whole is not mistaken for one that dislikes a
 * frame. What can go wrong: the half passes and so does the other: then it was not the frames, and
 * the search ends. Nor are they when one frame after the other is refused: a receiver that dies of
 * any input must not empty the spool. A half that was proven ends a connection after all: it holds
 * the suspects again. */
#include "send/poison.h"

enum { QUIET_MIN_MS = 100 };

void poison_up(struct poison *p, int64_t now_ms, int64_t quiet_ms)
{
    p->up_ms = now_ms;
    p->quiet_ms = quiet_ms > QUIET_MIN_MS ? quiet_ms : QUIET_MIN_MS;
}

void poison_settled(struct poison *p, uint64_t settled)
{
    if (settled > p->at) {
        p->breaks = p->row = 0;
        p->at = settled;
    }
    if (!p->on || settled <= p->low)
        return;
    p->low = settled;
    p->alone = 0;
    if (p->low >= p->high)
        p->on = false;
}

void poison_passed(struct poison *p)
{
    p->at = p->low + 1;
    p->row++;
    p->on = false;
    p->breaks = p->alone = 0;
}

static bool single(const struct poison *p)
{
    return p->high - p->low == 1;
}

void poison_proven(struct poison *p, uint64_t proven)
{
    if (!p->on || p->wary || single(p) || proven <= p->low)
        return;
    p->low = proven < p->high ? proven : p->high - 1;
    p->alone = 0;
}

/* May the lone frame go, apart from the quiet time? */
static bool cleared(const struct poison *p)
{
    return p->on && single(p) && p->up_ms != 0 && p->at >= p->low;
}

uint64_t poison_limit(const struct poison *p, int64_t now_ms)
{
    if (!p->on)
        return UINT64_MAX;
    if (single(p))
        return cleared(p) && now_ms - p->up_ms >= p->quiet_ms ? p->high : p->low;
    return p->low + (p->high - p->low) / 2;
}

int64_t poison_due_ms(const struct poison *p, int64_t now_ms)
{
    int64_t due = p->up_ms + p->quiet_ms;

    if (!cleared(p) || now_ms >= due)
        return -1;
    return due - now_ms;
}

/* The search has ended one half. */
static bool narrow(struct poison *p, uint64_t offered)
{
    if (offered <= p->at) {
        /* It ended a connection without a single frame: not the frames, then. */
        p->on = false;
        p->breaks = p->alone = 0;
        return false;
    }
    if (offered <= p->low) {
        /* What was proven had not settled: from now on it has to. */
        p->wary = true;
        p->low = p->at;
        p->high = offered;
        p->alone = 0;
        return false;
    }
    if (!single(p)) {
        p->high = offered < p->high ? offered : p->high;
        p->alone = 0;
        return false;
    }
    if (++p->alone < POISON_ALONE)
        return false;
    if (p->row < POISON_ROW)
        return true;
    p->on = false; /* it takes nothing at all: that is for a person to mend */
    p->breaks = p->alone = 0;
    return false;
}

bool poison_broken(struct poison *p, uint64_t settled, uint64_t offered, bool by_peer)
{
    bool was_up = p->up_ms != 0;

    p->up_ms = 0;
    poison_settled(p, settled);
    if (!was_up || !by_peer)
        return false;
    if (p->on)
        return narrow(p, offered);
    if (offered <= settled)
        return false;
    p->breaks = settled == p->at ? p->breaks + 1 : 1;
    p->at = settled;
    if (p->breaks < POISON_BREAKS)
        return false;
    p->on = true;
    p->wary = false;
    p->low = settled;
    p->high = offered;
    p->alone = 0;
    return false;
}
