/* RELP frames: TXNR SP COMMAND SP DATALEN [SP DATA] LF. Pure. Indoors of transport/. */
#ifndef TRANSPORT_RELP_FRAME_H
#define TRANSPORT_RELP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/types.h"

enum {
    RELP_TXNR_MAX = 999999999,
    RELP_HEADER_MAX = 64, /* longest header that is waited for */
    RELP_DATA_MAX = 65536 /* answers are a line; an offer is a few */
};

/* The number behind that of `open`. A variable for the tests' sake only: the numbers begin again
 * after RELP_TXNR_MAX, and nobody waits for that. */
extern uint32_t relp_second_txnr;

struct relp_frame {
    uint32_t txnr; /* 0: a hint of the server, such as serverclose */
    struct slsr_bytes command;
    struct slsr_bytes data;
};

/* Takes one frame off the front. Returns the bytes that it takes up, 0 when more must come, -1 when
 * this is no RELP. Views point into p. */
long relp_frame_next(const char *p, size_t n, struct relp_frame *out);
/* Status of a `rsp`: its first three digits, -1 when there are none. */
int relp_status(struct slsr_bytes data);
/* Does the answer to `open` offer the command? ("commands=syslog,...") */
bool relp_offers(struct slsr_bytes data, const char *command);

#endif
