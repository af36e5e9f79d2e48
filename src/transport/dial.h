/* Resolve and connect without blocking, by deadlines. Indoors of transport/.
 *
 * A dial is a little machine: dial_start, then dial_turn whenever its descriptor is ready or its
 * time is due, until it is done (dial_claim takes the socket) or returns an error. */
#ifndef TRANSPORT_DIAL_H
#define TRANSPORT_DIAL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"

enum { DIAL_ADDRS_MAX = 16, DIAL_RESOLVE_MS = 5000, DIAL_RACE_MAX = 3, DIAL_NEXT_MS = 250 };

struct dial_addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

struct dial_lookup; /* shared with the resolving thread */

enum dial_state { DIAL_IDLE, DIAL_RESOLVING, DIAL_CONNECTING, DIAL_DONE };

struct dial {
    const struct slsr_target_config *target; /* borrowed */
    int socktype;                            /* SOCK_STREAM or SOCK_DGRAM */
    enum dial_state state;
    struct dial_lookup *lookup;
    struct dial_addr addrs[DIAL_ADDRS_MAX]; /* last good answer */
    int addr_count;
    int first, tried; /* this attempt began at `first` and has tried so many */
    unsigned attempts;
    struct dial_race { /* attempts on their way; when done: the winner alone */
        int fd;
        struct dial_addr addr;
        int64_t due_ms;
    } race[DIAL_RACE_MAX];
    int race_count;
    int64_t next_ms;   /* when the next address may join the race */
    int64_t due_ms;    /* monotonic; of the present step */
    bool refused;      /* the last failure was the far side's, not ours or the way's */
    const char *cause; /* of the last failure, a word: "dns" "refused" ... */
    struct slsr_err last;
};

void dial_init(struct dial *d, const struct slsr_target_config *target, int socktype);
void dial_fini(struct dial *d); /* cancels */
void dial_cancel(struct dial *d);
/* Begins: resolves anew. */
int dial_start(struct dial *d, int64_t now_ms, struct slsr_err *err);
/* Begins with one given address, no resolving: a witness must be at the same host. */
int dial_start_at(struct dial *d, const struct dial_addr *addr, int64_t now_ms,
                  struct slsr_err *err);
/* 0: look at d->state (DIAL_DONE when connected). SLSR_ENET: this attempt has failed, the sentence
 * says why; d is idle again. */
int dial_turn(struct dial *d, int64_t now_ms, struct slsr_err *err);
/* The connected socket and its peer; the caller's from now on. d is idle again. */
int dial_claim(struct dial *d, struct dial_addr *peer);
/* Fills p[0..] and returns how many there are to wait for, DIAL_RACE_MAX at most. */
int dial_poll(const struct dial *d, struct pollfd *p);

/* The cause in words: "connection refused", "unreachable", "timed out", "reset by peer" ... */
const char *dial_cause(int errnum);
/* The same as one word for states and metrics; never NULL. */
const char *dial_word(int errnum);

#endif
