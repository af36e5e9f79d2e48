/* The addresses that names had when they were last resolved, for when the name service is away too:
 * outages like company. Kept for the life of the process, because transports come and go (several
 * servers, reloads). Any thread. Indoors of transport/. */
#ifndef TRANSPORT_KNOWN_H
#define TRANSPORT_KNOWN_H

#include "transport/dial.h"

enum { KNOWN_NAMES = 32 };

/* Remembers them; of more than KNOWN_NAMES names the ones put in last. A name too long for the
 * domain name system is not remembered. */
void known_put(const char *host, const char *port, int socktype, const struct dial_addr *addrs,
               int count);
/* Fills addrs and returns how many; 0: never resolved. */
int known_get(const char *host, const char *port, int socktype,
              struct dial_addr addrs[DIAL_ADDRS_MAX]);

#endif
