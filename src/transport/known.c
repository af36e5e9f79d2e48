/* Addresses of names, remembered.
 *
 * Good path: each answer of the name service replaces the one before. What can go wrong: more names
 * than places; then the place that was taken longest ago is given away. */
#include "transport/known.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 256 };

struct known {
    char host[NAME_MAX_BYTES]; /* "": free */
    char port[8];
    int socktype;
    struct dial_addr addrs[DIAL_ADDRS_MAX];
    int count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known names[KNOWN_NAMES];
static unsigned next;

static struct known *find(const char *host, const char *port, int socktype)
{
    for (unsigned i = 0; i < KNOWN_NAMES; i++)
        if (names[i].socktype == socktype && strcmp(names[i].host, host) == 0 &&
            strcmp(names[i].port, port) == 0)
            return &names[i];
    return NULL;
}

void known_put(const char *host, const char *port, int socktype, const struct dial_addr *addrs,
               int count)
{
    struct known *k;

    if (strlen(host) >= sizeof k->host || strlen(port) >= sizeof k->port || count < 1 ||
        count > DIAL_ADDRS_MAX)
        return;
    pthread_mutex_lock(&lock);
    k = find(host, port, socktype);
    if (k == NULL) {
        k = &names[next++ % KNOWN_NAMES];
        snprintf(k->host, sizeof k->host, "%s", host);
        snprintf(k->port, sizeof k->port, "%s", port);
        k->socktype = socktype;
    }
    memcpy(k->addrs, addrs, (size_t)count * sizeof *addrs);
    k->count = count;
    pthread_mutex_unlock(&lock);
}

int known_get(const char *host, const char *port, int socktype,
              struct dial_addr addrs[DIAL_ADDRS_MAX])
{
    const struct known *k;
    int count = 0;

    pthread_mutex_lock(&lock);
    k = find(host, port, socktype);
    if (k != NULL) {
        count = k->count;
        memcpy(addrs, k->addrs, (size_t)count * sizeof *addrs);
    }
    pthread_mutex_unlock(&lock);
    return count;
}
