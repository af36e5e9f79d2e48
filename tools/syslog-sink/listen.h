/* Sockets to receive on. */
#ifndef SINK_LISTEN_H
#define SINK_LISTEN_H

#include <stddef.h>
#include <sys/socket.h>

#include "options.h"

/* "tcp://127.0.0.1:5514", IPv6 in brackets. */
enum { URL_MAX = 96 };

/* Binds e (and listens unless it is UDP), non-blocking. Returns 0 with *fd, or an exit code (told
 * on stderr). url receives the address that was bound. */
int listen_open(const struct endpoint *e, int *fd, char url[URL_MAX]);
void listen_url(enum scheme scheme, const struct sockaddr *a, socklen_t n, char url[URL_MAX]);

#endif
