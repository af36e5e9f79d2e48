/* Resolves and binds. SO_REUSEADDR, so that a sink which was killed can be started again at once.
 */
#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Asked for, the kernel grants what net.core.rmem_max allows: bursts of datagrams are not lost. */
enum { UDP_BUFFER_BYTES = 8 * 1024 * 1024, BACKLOG = 128 };

static const char *scheme_name(enum scheme scheme)
{
    static const char *const names[] = {"tcp", "udp", "tls", "relp", "relp+tls"};

    return names[scheme];
}

void listen_url(enum scheme scheme, const struct sockaddr *a, socklen_t n, char url[URL_MAX])
{
    char host[64] = "?";
    char port[8] = "?";
    bool v6 = a->sa_family == AF_INET6;

    if (getnameinfo(a, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) !=
        0)
        host[0] = '?';
    snprintf(url, URL_MAX, "%s://%s%s%s:%s", scheme_name(scheme), v6 ? "[" : "", host,
             v6 ? "]" : "", port);
}

static int fail(const struct endpoint *e, int error)
{
    fprintf(stderr, "syslog-sink: cannot listen, %s://%s:%s: %s: choose another address or port\n",
            scheme_name(e->scheme), e->host, e->port, strerror(error));
    return error == EADDRINUSE ? EXIT_BUSY : error == EACCES ? EXIT_DENIED : EXIT_CANNOT_CREATE;
}

static int bind_one(const struct endpoint *e, const struct addrinfo *a, int *fd)
{
    int one = 1;
    int size = UDP_BUFFER_BYTES;
    int s = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (s < 0)
        return fail(e, errno);
    if (e->scheme == SCHEME_UDP)
        setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    else
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, a->ai_addr, a->ai_addrlen) != 0 ||
        (e->scheme != SCHEME_UDP && listen(s, BACKLOG) != 0)) {
        int error = errno;

        close(s);
        return fail(e, error);
    }
    *fd = s;
    return 0;
}

int listen_open(const struct endpoint *e, int *fd, char url[URL_MAX])
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE,
                             .ai_socktype = e->scheme == SCHEME_UDP ? SOCK_DGRAM : SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int rc = getaddrinfo(e->host, e->port, &hints, &found);

    if (rc != 0) {
        fprintf(stderr, "syslog-sink: cannot resolve, %s: %s\n", e->host, gai_strerror(rc));
        return EXIT_USAGE;
    }
    rc = bind_one(e, found, fd);
    freeaddrinfo(found);
    if (rc != 0)
        return rc;
    memset(&address, 0, sizeof address);
    if (getsockname(*fd, (struct sockaddr *)&address, &len) != 0) {
        rc = fail(e, errno);
        close(*fd);
        return rc;
    }
    listen_url(e->scheme, (struct sockaddr *)&address, len, url);
    return 0;
}
