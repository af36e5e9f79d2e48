/* Indoors of relay/: resolve and connect as two steps. */
#ifndef RELAY_REACH_H
#define RELAY_REACH_H

#include <stdio.h>

#include "slsrelay/err.h"

struct addrinfo;

struct reach {
    struct addrinfo *list;
    char address[64]; /* the one that was tried last, numeric */
};

/* 0 or SLSR_ENET with a sentence; reach_fini either way. */
int reach_resolve(struct reach *reach, const char *host, int port, struct slsr_err *err);
/* Connects to one of the addresses and closes. */
int reach_connect(struct reach *reach, int timeout_ms, struct slsr_err *err);
void reach_fini(struct reach *reach);

#endif
