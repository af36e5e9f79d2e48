/* The first two steps towards a partner, each alone, so that --test-connection can tell a name that
 * does not resolve from a port that does not answer. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/reach.h"

int reach_resolve(struct reach *reach, const char *host, int port, struct slsr_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char service[8];
    int failed;

    reach->list = NULL;
    snprintf(service, sizeof service, "%d", port);
    failed = getaddrinfo(host, service, &hints, &reach->list);
    if (failed != 0)
        return slsr_fail(err, SLSR_ENET, "%s does not resolve: %s: look at the name and at DNS",
                         host, gai_strerror(failed));
    getnameinfo(reach->list->ai_addr, reach->list->ai_addrlen, reach->address,
                sizeof reach->address, NULL, 0, NI_NUMERICHOST);
    return 0;
}

static int connect_one(const struct addrinfo *to, int timeout_ms)
{
    const int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(int);
    int failed = 0;

    if (fd < 0)
        return errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        failed = errno;
        if (failed == EINPROGRESS) {
            failed = ETIMEDOUT;
            if (poll(&pfd, 1, timeout_ms) == 1 &&
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0)
                failed = errno;
        }
    }
    close(fd);
    return failed;
}

int reach_connect(struct reach *reach, int timeout_ms, struct slsr_err *err)
{
    int failed = 0;

    for (const struct addrinfo *a = reach->list; a != NULL; a = a->ai_next) {
        failed = connect_one(a, timeout_ms);
        getnameinfo(a->ai_addr, a->ai_addrlen, reach->address, sizeof reach->address, NULL, 0,
                    NI_NUMERICHOST);
        if (failed == 0)
            return 0;
    }
    return slsr_fail(err, SLSR_ENET,
                     "%s does not answer: %s: look at source.endpoint, the firewall and "
                     "source.proxy",
                     reach->address, strerror(failed));
}

void reach_fini(struct reach *reach)
{
    if (reach->list != NULL)
        freeaddrinfo(reach->list);
    reach->list = NULL;
}
