/* A guard beside a program that writes into a live spool's books.
 *
 * LMDB's writer lock belongs to a process until its transaction ends, and the relay waits for the
 * same lock. A tool that is stopped inside (SIGSTOP, ^Z, a debugger) would keep the relay from
 * storing positions, and a new one from starting, for as long as it stands. So a child watches:
 * when the tool has stood still inside for `seconds`, it is killed; the lock and the half
 * transaction then go as with any process that dies. One thread; needs /proc. */
#ifndef SLS_SPOOL_VIGIL_H
#define SLS_SPOOL_VIGIL_H

#include <stdbool.h>
#include <sys/types.h>

struct vigil_page;

struct vigil { /* zeroed, with `seconds` and `name`, before the first turn */
    unsigned seconds;
    const char *name;        /* of the command, for what is said */
    pid_t child;             /* 0: not yet, or there is none */
    int line;                /* it ends when this closes, so also when we die */
    struct vigil_page *page; /* shared with it */
};

/* For slsr_spool_on_write; ctx is a struct vigil. The first turn starts the child. */
void vigil_turn(void *ctx, bool begins);
/* Ends the child. */
void vigil_end(struct vigil *vigil);

#endif
