/* Finds the one frame that a receiver ends its connection at (docs/delivery.md "Poison"). Pure: no
 * clock, no socket, no spool. Indoors of send/. */
#ifndef SEND_POISON_H
#define SEND_POISON_H

#include <stdbool.h>
#include <stdint.h>

enum {
    POISON_BREAKS = 3, /* in a row, by the peer, without progress: then it is looked for */
    POISON_ALONE = 2,  /* a frame that alone ends the connection so often is set aside */
    POISON_ROW = 3     /* so many one behind the other: then it is the receiver, not the frames */
};

struct poison {
    uint64_t at; /* settled position, of the breaks that are counted and later */
    int breaks;
    bool on;            /* looking: the suspect lies in [low, high) */
    bool wary;          /* what was proven has ended a connection after all: let it settle first */
    uint64_t low, high; /* everything below low was taken; at or above `at` that may be revoked */
    int alone;          /* ended by [low, low + 1) alone */
    int row;            /* set aside since a frame was taken */
    int64_t quiet_ms;   /* how long a connection must stand before the lone frame goes */
    int64_t up_ms;      /* when the connection came up; 0: down */
};

/* A connection is up, nothing was offered on it. quiet_ms: the settle time. */
void poison_up(struct poison *p, int64_t now_ms, int64_t quiet_ms);
/* Everything below was taken. Not for what was passed: poison_passed. */
void poison_settled(struct poison *p, uint64_t settled);
/* Everything below was proven since the connection came up; it may not have settled yet. */
void poison_proven(struct poison *p, uint64_t proven);
/* Frames below may be offered now; UINT64_MAX: all. The result may equal the settled position:
 * nothing for now, see poison_due_ms. */
uint64_t poison_limit(const struct poison *p, int64_t now_ms);
/* When the limit will be another one; -1: only by progress. */
int64_t poison_due_ms(const struct poison *p, int64_t now_ms);
/* The connection broke. by_peer: it ended it, as opposed to a time-out or a dead path. offered:
 * frames below were offered. True: frame p->low is the one; the caller sets it aside and passes it.
 */
bool poison_broken(struct poison *p, uint64_t settled, uint64_t offered, bool by_peer);
/* Frame p->low was set aside. */
void poison_passed(struct poison *p);

#endif
