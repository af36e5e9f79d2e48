/* The receiver of the delivery tests. Frames carry "n=<number>;" somewhere in their text. */
#include "receiver.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUF = 256 * 1024 };

static atomic_uint arrivals;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "receiver: %s: %s\n", what, strerror(errno));
    abort();
}

void receiver_bind(struct receiver *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->port)};
    socklen_t len = sizeof a;
    int one = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(r->listener >= 0, "socket");
    setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (r->small_rcvbuf > 0)
        setsockopt(r->listener, SOL_SOCKET, SO_RCVBUF, &r->small_rcvbuf, sizeof(int));
    must(bind(r->listener, (struct sockaddr *)&a, sizeof a) == 0, "bind");
    must(getsockname(r->listener, (struct sockaddr *)&a, &len) == 0, "getsockname");
    r->port = ntohs(a.sin_port);
}

static void drop(struct receiver *r, int i, bool reset)
{
    struct linger hard = {1, 0};

    if (reset)
        setsockopt(r->conns[i].fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(r->conns[i].fd);
    free(r->conns[i].buf);
    memset(&r->conns[i], 0, sizeof r->conns[i]);
    r->conns[i].fd = -1;
}

/* False: the connection ends here. */
static bool frame(struct receiver *r, int i, const char *p, size_t n)
{
    const char *at = memmem(p, n, "n=", 2);
    unsigned number = at != NULL ? (unsigned)strtoul(at + 2, NULL, 10) : 0;

    if (number == 0 || number >= RECEIVER_FRAMES || p[0] != '<' || p[n - 1] != '.') {
        r->garbage++;
        return true;
    }
    if (number == r->poison && !r->late)
        return false;
    r->conns[i].ate = r->conns[i].ate || number == r->poison;
    if (number <= r->conns[i].last)
        r->disorder++;
    r->conns[i].last = number;
    if (r->seen[number]++ == 0)
        r->first[number] = ++arrivals;
    r->frames++;
    if (r->on_count != NULL)
        r->on_count(r->ctx, r->frames);
    return true;
}

/* Takes whole frames off the front; a started one stays. False: the connection ends. */
static bool parse(struct receiver *r, int i)
{
    char *p = r->conns[i].buf;
    size_t left = r->conns[i].used;

    while (left > 0) {
        char *stop = memchr(p, r->lf ? '\n' : ' ', left);
        size_t head = stop != NULL ? (size_t)(stop - p) + 1 : 0;
        size_t n = r->lf ? head - 1 : head > 0 ? strtoul(p, NULL, 10) : 0;

        if (head == 0 || (!r->lf && left < head + n))
            break;
        if (!frame(r, i, r->lf ? p : p + head, n))
            return false;
        p += r->lf ? head : head + n;
        left -= r->lf ? head : head + n;
    }
    memmove(r->conns[i].buf, p, left);
    r->conns[i].used = (unsigned)left;
    return true;
}

/* What the poison does when it comes late: the present connection ends in order, the next does not.
 */
static bool collapses(struct receiver *r, int i, bool end)
{
    if (r->sick && !r->conns[i].ate) {
        r->sick = false;
        return true;
    }
    r->sick = r->sick || (end && r->conns[i].ate);
    return false;
}

static void serve(struct receiver *r, int i)
{
    size_t room = BUF - r->conns[i].used;
    ssize_t n;

    /* Small bites where it matters how much is left unread. */
    if ((r->fin_at > 0 || r->stall_at > 0) && room > 4096)
        room = 4096;
    n = recv(r->conns[i].fd, r->conns[i].buf + r->conns[i].used, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n >= 0 && collapses(r, i, n == 0)) {
        drop(r, i, true);
        return;
    }
    if (n <= 0 || r->bite) {
        drop(r, i, n > 0 || (n == 0 && r->reset_at_eof));
        return;
    }
    r->conns[i].used += (unsigned)n;
    if (!parse(r, i)) {
        drop(r, i, true);
        return;
    }
    if (r->stall_at > 0 && r->frames >= r->stall_at)
        r->stalled = true;
    if (r->fin_at > 0 && !r->fin_done && r->frames >= r->fin_at) {
        r->fin_done = true;
        r->conns[i].deaf = true;
        shutdown(r->conns[i].fd, SHUT_WR);
    }
}

static bool busy(const struct receiver *r)
{
    for (int i = 0; i < RECEIVER_CONNS; i++)
        if (r->conns[i].fd >= 0)
            return true;
    return false;
}

static void welcome(struct receiver *r)
{
    int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    r->connections++;
    if (r->slam || (r->only_one && busy(r))) {
        close(fd);
        return;
    }
    for (int i = 0; i < RECEIVER_CONNS; i++) {
        if (r->conns[i].fd >= 0)
            continue;
        r->conns[i].fd = fd;
        r->conns[i].buf = malloc(BUF);
        must(r->conns[i].buf != NULL, "malloc");
        return;
    }
    close(fd);
}

/* What another thread wants of this one. */
static void obey(struct receiver *r)
{
    uint64_t eight;

    must(read(r->wake, &eight, sizeof eight) == sizeof eight, "read");
    if (r->unstall) {
        r->stall_at = 0;
        r->stalled = r->unstall = false;
    }
    for (int i = 0; r->hang_up && i < RECEIVER_CONNS; i++)
        if (r->conns[i].fd >= 0)
            drop(r, i, false);
    r->hang_up = false;
}

static void *run(void *arg)
{
    struct receiver *r = arg;

    while (!r->quit) {
        struct pollfd fds[RECEIVER_CONNS + 2];
        int who[RECEIVER_CONNS + 2];
        int n = 2;

        fds[0] = (struct pollfd){r->wake, POLLIN, 0};
        fds[1] = (struct pollfd){r->listener, POLLIN, 0};
        for (int i = 0; i < RECEIVER_CONNS; i++) {
            if (r->conns[i].fd < 0 || r->stalled || r->conns[i].deaf)
                continue;
            who[n] = i;
            fds[n++] = (struct pollfd){r->conns[i].fd, POLLIN, 0};
        }
        must(poll(fds, (nfds_t)n, -1) >= 0 || errno == EINTR, "poll");
        if (fds[0].revents != 0)
            obey(r);
        if (fds[1].revents != 0)
            welcome(r);
        for (int k = 2; k < n && !r->quit; k++)
            if (fds[k].revents != 0 && !r->stalled && r->conns[who[k]].fd == fds[k].fd)
                serve(r, who[k]);
    }
    for (int i = 0; i < RECEIVER_CONNS; i++)
        if (r->conns[i].fd >= 0)
            drop(r, i, r->kill);
    close(r->listener);
    return NULL;
}

void receiver_start(struct receiver *r)
{
    r->quit = r->kill = false;
    r->stalled = false;
    for (int i = 0; i < RECEIVER_CONNS; i++)
        r->conns[i].fd = -1;
    r->wake = eventfd(0, EFD_CLOEXEC);
    must(listen(r->listener, 16) == 0, "listen");
    must(pthread_create(&r->thread, NULL, run, r) == 0, "pthread_create");
    r->running = true;
}

static void wake(struct receiver *r)
{
    const uint64_t one = 1;

    must(write(r->wake, &one, sizeof one) == sizeof one, "write");
}

void receiver_hang_up(struct receiver *r)
{
    r->hang_up = true;
    wake(r);
}

void receiver_resume(struct receiver *r)
{
    r->unstall = true;
    wake(r);
}

static void end(struct receiver *r)
{
    if (!r->running)
        return;
    r->quit = true;
    wake(r);
    pthread_join(r->thread, NULL);
    close(r->wake);
    r->running = false;
}

void receiver_die(struct receiver *r)
{
    r->kill = true;
    end(r);
}

void receiver_fini(struct receiver *r)
{
    end(r);
}
