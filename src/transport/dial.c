/* Resolving and connecting.
 *
 * Good path: a detached thread runs getaddrinfo (it cannot be interrupted, so nobody waits for it
 * longer than DIAL_RESOLVE_MS; it owns a reference to the result and may come home late), then the
 * addresses are tried, families in turn, the next one as soon as the last has failed or after
 * DIAL_NEXT_MS (RFC 8305), each with connect_timeout, beginning at a different one each time; the
 * first that connects wins. When resolving fails, the last good addresses serve (known.c).
 * What can go wrong: everything, and each cause has its own word in the sentence. */
#include "transport/dial.h"

#include "transport/known.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct dial_lookup {
    pthread_mutex_t lock;
    int refs;
    int ready; /* eventfd */
    char *host;
    char port[16];
    int socktype;
    int rc; /* of getaddrinfo; valid once ready */
    bool done;
    struct dial_addr addrs[DIAL_ADDRS_MAX];
    int addr_count;
};

const char *dial_cause(int errnum)
{
    switch (errnum) {
    case ECONNREFUSED:
        return "connection refused";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return "unreachable";
    case ETIMEDOUT:
        return "timed out";
    case ECONNRESET:
    case EPIPE:
        return "reset by peer";
    default:
        return NULL;
    }
}

const char *dial_word(int errnum)
{
    switch (errnum) {
    case ECONNREFUSED:
        return "refused";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return "unreachable";
    case ETIMEDOUT:
        return "timeout";
    case ECONNRESET:
    case EPIPE:
        return "reset";
    default:
        return "local";
    }
}

static void lookup_unref(struct dial_lookup *l)
{
    bool last;

    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    last = --l->refs == 0;
    pthread_mutex_unlock(&l->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&l->lock);
    if (l->ready >= 0)
        close(l->ready);
    free(l->host);
    free(l);
}

static int resolve(struct dial_addr *addrs, int *count, const char *host, const char *port,
                   int socktype, int flags)
{
    struct addrinfo hints, *list = NULL;
    int rc;

    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = socktype;
    hints.ai_flags = flags | AI_NUMERICSERV;
    *count = 0;
    rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0)
        return rc;
    for (struct addrinfo *a = list; a != NULL && *count < DIAL_ADDRS_MAX; a = a->ai_next) {
        if (a->ai_addrlen > sizeof addrs[0].ss)
            continue;
        memset(&addrs[*count], 0, sizeof addrs[0]);
        memcpy(&addrs[*count].ss, a->ai_addr, a->ai_addrlen);
        addrs[*count].len = a->ai_addrlen;
        ++*count;
    }
    freeaddrinfo(list);
    return *count > 0 ? 0 : EAI_NONAME;
}

static void *lookup_thread(void *arg)
{
    struct dial_lookup *l = arg;
    struct dial_addr addrs[DIAL_ADDRS_MAX];
    uint64_t one = 1;
    int count = 0;
    int rc = resolve(addrs, &count, l->host, l->port, l->socktype, AI_ADDRCONFIG);

    pthread_mutex_lock(&l->lock);
    memcpy(l->addrs, addrs, (size_t)count * sizeof addrs[0]);
    l->addr_count = count;
    l->rc = rc;
    l->done = true;
    pthread_mutex_unlock(&l->lock);
    /* An eventfd at 0 always takes a 1; nothing to do about an error but let the deadline pass. */
    if (write(l->ready, &one, sizeof one) < 0) {
    }
    lookup_unref(l);
    return NULL;
}

static int lookup_start(struct dial *d, const char *port, struct slsr_err *err)
{
    struct dial_lookup *l = calloc(1, sizeof *l);
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    if (l == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory to resolve %s", d->target->host);
    pthread_mutex_init(&l->lock, NULL);
    l->refs = 2;
    l->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->host = strdup(d->target->host);
    l->socktype = d->socktype;
    snprintf(l->port, sizeof l->port, "%s", port);
    if (l->ready < 0 || l->host == NULL) {
        rc = slsr_fail(err, SLSR_ENET, "cannot resolve %s: out of memory or descriptors",
                       d->target->host);
        l->refs = 1;
        lookup_unref(l);
        return rc;
    }
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, lookup_thread, l);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        l->refs = 1;
        lookup_unref(l);
        return slsr_fail_errno(err, SLSR_ENET, rc, "cannot resolve %s", d->target->host);
    }
    d->lookup = l;
    return 0;
}

void dial_init(struct dial *d, const struct slsr_target_config *target, int socktype)
{
    memset(d, 0, sizeof *d);
    d->target = target;
    d->socktype = socktype;
}

static void close_race(struct dial *d, int i)
{
    close(d->race[i].fd);
    d->race_count--;
    memmove(&d->race[i], &d->race[i + 1], (size_t)(d->race_count - i) * sizeof d->race[0]);
}

void dial_cancel(struct dial *d)
{
    lookup_unref(d->lookup);
    d->lookup = NULL;
    while (d->race_count > 0)
        close_race(d, d->race_count - 1);
    d->state = DIAL_IDLE;
}

void dial_fini(struct dial *d)
{
    dial_cancel(d);
}

static int fail_connect(struct dial *d, int errnum, struct slsr_err *err)
{
    const char *cause = dial_cause(errnum);

    d->refused = errnum == ECONNREFUSED || errnum == ETIMEDOUT || errnum == ECONNRESET ||
                 errnum == EHOSTUNREACH;
    d->cause = dial_word(errnum);
    if (cause != NULL)
        return slsr_fail(err, SLSR_ENET, "%s port %d: %s", d->target->host, d->target->port, cause);
    return slsr_fail_errno(err, SLSR_ENET, errnum, "%s port %d: cannot connect", d->target->host,
                           d->target->port);
}

/* Nobody listens, but our own port happened to be the one that we connect to: TCP then talks to
 * itself, and so does UDP. */
static bool connected_to_itself(int fd)
{
    struct sockaddr_storage here, there;
    socklen_t here_len = sizeof here, there_len = sizeof there;

    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

/* Begins with the next address. True: it is on its way, or even there. */
static bool start_one(struct dial *d, int64_t now_ms)
{
    const struct dial_addr *a = &d->addrs[(d->first + d->tried++) % d->addr_count];
    struct dial_race *r = &d->race[d->race_count];
    int error;

    r->fd = socket(a->ss.ss_family, d->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->fd < 0) {
        fail_connect(d, errno, &d->last);
        return false;
    }
    r->addr = *a;
    r->due_ms = now_ms + d->target->connect_timeout_ms;
    d->race_count++;
    error = connect(r->fd, (const struct sockaddr *)&a->ss, a->len) == 0 ? 0 : errno;
    if (error == 0 && connected_to_itself(r->fd))
        error = ECONNREFUSED;
    if (error == 0 || error == EINPROGRESS || error == EINTR)
        return true;
    fail_connect(d, error, &d->last);
    close_race(d, d->race_count - 1);
    return false;
}

/* Keeps the race going: a further address at once when none is on its way, or after DIAL_NEXT_MS.
 * Error when all have failed. */
static int go_on(struct dial *d, int64_t now_ms, struct slsr_err *err)
{
    while (d->tried < d->addr_count && d->race_count < DIAL_RACE_MAX &&
           (d->race_count == 0 || now_ms >= d->next_ms))
        if (start_one(d, now_ms))
            d->next_ms = now_ms + DIAL_NEXT_MS;
    if (d->race_count == 0) {
        if (err != NULL)
            *err = d->last;
        dial_cancel(d);
        return d->last.code;
    }
    d->state = DIAL_CONNECTING;
    d->due_ms = d->race[0].due_ms;
    for (int i = 1; i < d->race_count; i++)
        if (d->race[i].due_ms < d->due_ms)
            d->due_ms = d->race[i].due_ms;
    if (d->tried < d->addr_count && d->race_count < DIAL_RACE_MAX && d->next_ms < d->due_ms)
        d->due_ms = d->next_ms;
    return 0;
}

static int begin_connecting(struct dial *d, int64_t now_ms, struct slsr_err *err)
{
    /* A different address first at each attempt: a half-dead one must not cost its time always. */
    d->first = (int)(d->attempts++ % (unsigned)d->addr_count);
    d->tried = 0;
    d->next_ms = now_ms;
    return go_on(d, now_ms, err);
}

int dial_start(struct dial *d, int64_t now_ms, struct slsr_err *err)
{
    struct dial_addr addrs[DIAL_ADDRS_MAX];
    char port[16];
    int count = 0;
    int rc;

    dial_cancel(d);
    snprintf(port, sizeof port, "%d", d->target->port);
    if (resolve(addrs, &count, d->target->host, port, d->socktype, AI_NUMERICHOST) == 0) {
        memcpy(d->addrs, addrs, (size_t)count * sizeof addrs[0]);
        d->addr_count = count;
        return begin_connecting(d, now_ms, err);
    }
    rc = lookup_start(d, port, err);
    if (rc != 0)
        return rc;
    d->state = DIAL_RESOLVING;
    d->due_ms = now_ms + DIAL_RESOLVE_MS;
    return 0;
}

int dial_start_at(struct dial *d, const struct dial_addr *addr, int64_t now_ms,
                  struct slsr_err *err)
{
    dial_cancel(d);
    d->addrs[0] = *addr;
    d->addr_count = 1;
    return begin_connecting(d, now_ms, err);
}

/* Families in turn, as the name service ordered each of them: a family that leads nowhere must not
 * be tried to its end first. */
static void interleave(struct dial *d)
{
    struct dial_addr sorted[DIAL_ADDRS_MAX];
    bool taken[DIAL_ADDRS_MAX] = {false};
    int family = d->addr_count > 0 ? d->addrs[0].ss.ss_family : 0;

    for (int n = 0; n < d->addr_count; n++) {
        int pick = -1;

        for (int i = d->addr_count - 1; i >= 0; i--)
            if (!taken[i] && (pick < 0 || (d->addrs[i].ss.ss_family == family) >=
                                              (d->addrs[pick].ss.ss_family == family)))
                pick = i;
        taken[pick] = true;
        sorted[n] = d->addrs[pick];
        family = sorted[n].ss.ss_family == AF_INET6 ? AF_INET : AF_INET6;
    }
    memcpy(d->addrs, sorted, (size_t)d->addr_count * sizeof sorted[0]);
}

static int turn_resolving(struct dial *d, int64_t now_ms, struct slsr_err *err)
{
    struct dial_lookup *l = d->lookup;
    bool done;
    int rc = 0;

    pthread_mutex_lock(&l->lock);
    done = l->done;
    if (done)
        rc = l->rc;
    if (done && rc == 0) {
        memcpy(d->addrs, l->addrs, (size_t)l->addr_count * sizeof d->addrs[0]);
        d->addr_count = l->addr_count;
        interleave(d);
        known_put(l->host, l->port, d->socktype, d->addrs, d->addr_count);
    }
    pthread_mutex_unlock(&l->lock);
    if (!done && now_ms < d->due_ms)
        return 0;
    if ((!done || rc != 0) && d->addr_count == 0)
        d->addr_count = known_get(l->host, l->port, d->socktype, d->addrs);
    lookup_unref(d->lookup);
    d->lookup = NULL;
    if ((!done || rc != 0) && d->addr_count == 0) {
        d->state = DIAL_IDLE;
        d->cause = "dns";
        d->refused = false;
        return slsr_fail(err, SLSR_ENET, "cannot resolve %s: %s", d->target->host,
                         done ? gai_strerror(rc) : "no answer from the name service in time");
    }
    return begin_connecting(d, now_ms, err);
}

/* 1: connected, 0: on its way, else a negative errno. */
static int look_at(const struct dial_race *r, int64_t now_ms)
{
    struct pollfd p = {r->fd, POLLOUT, 0};
    socklen_t len = sizeof(int);
    int error = 0;

    if (poll(&p, 1, 0) <= 0)
        return now_ms < r->due_ms ? 0 : -ETIMEDOUT;
    if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && connected_to_itself(r->fd))
        error = ECONNREFUSED;
    return error == 0 ? 1 : -error;
}

static int turn_connecting(struct dial *d, int64_t now_ms, struct slsr_err *err)
{
    for (int i = 0; i < d->race_count;) {
        int rc = look_at(&d->race[i], now_ms);

        if (rc > 0) {
            /* The first one there wins, the others go. */
            while (d->race_count > i + 1)
                close_race(d, d->race_count - 1);
            while (d->race_count > 1)
                close_race(d, 0);
            d->state = DIAL_DONE;
            return 0;
        }
        if (rc == 0) {
            i++;
            continue;
        }
        fail_connect(d, -rc, &d->last);
        close_race(d, i);
        d->next_ms = now_ms; /* its successor need not wait */
    }
    return go_on(d, now_ms, err);
}

int dial_turn(struct dial *d, int64_t now_ms, struct slsr_err *err)
{
    int rc = 0;

    if (d->state == DIAL_RESOLVING)
        rc = turn_resolving(d, now_ms, err);
    if (rc == 0 && d->state == DIAL_CONNECTING)
        rc = turn_connecting(d, now_ms, err);
    return rc;
}

int dial_claim(struct dial *d, struct dial_addr *peer)
{
    int fd = d->race[0].fd;

    *peer = d->race[0].addr;
    d->race_count = 0;
    d->state = DIAL_IDLE;
    return fd;
}

int dial_poll(const struct dial *d, struct pollfd *p)
{
    int n = 0;

    if (d->state == DIAL_RESOLVING)
        p[n++] = (struct pollfd){d->lookup->ready, POLLIN, 0};
    else if (d->state == DIAL_CONNECTING)
        for (; n < d->race_count; n++)
            p[n] = (struct pollfd){d->race[n].fd, POLLOUT, 0};
    return n;
}
