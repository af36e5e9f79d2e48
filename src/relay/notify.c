/* sd_notify(3) by hand: one datagram; a library for it would be larger than this file.
 *
 * A service manager that does not read for a while must not hold up the relay. What is said again
 * soon anyway (WATCHDOG=1, STATUS=) is dropped when its queue is full; what is said once waits
 * WAIT_S. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/relay.h"

enum { WAIT_S = 5 };

void notify_systemd(const char *state)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    const bool again = strncmp(state, "WATCHDOG=", 9) == 0 || strncmp(state, "STATUS=", 7) == 0;
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    socklen_t size;
    int fd;

    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof addr.sun_path)
        return;
    memcpy(addr.sun_path, path, strlen(path));
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        addr.sun_path[0] = '\0'; /* abstract name */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL | (again ? MSG_DONTWAIT : 0),
               (struct sockaddr *)&addr, size) < 0) {
        /* nobody listens, or not in time */
    }
    close(fd);
}
