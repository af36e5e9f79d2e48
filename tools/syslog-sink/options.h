/* Command line of syslog-sink. */
#ifndef SINK_OPTIONS_H
#define SINK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deframe.h"

/* Exit codes, the same for all programs of the project (sysexits). */
enum { EXIT_FINE = 0, EXIT_USAGE = 64, EXIT_IO = 74, EXIT_BUSY = 75 };
enum { EXIT_DENIED = 77, EXIT_NO_INPUT = 66, EXIT_CANNOT_CREATE = 73, EXIT_CONFIG = 78 };

enum { LISTEN_MAX = 16 };

enum scheme { SCHEME_TCP, SCHEME_UDP, SCHEME_TLS, SCHEME_RELP, SCHEME_RELP_TLS };

static inline bool scheme_is_tls(enum scheme scheme)
{
    return scheme == SCHEME_TLS || scheme == SCHEME_RELP_TLS;
}

struct endpoint {
    enum scheme scheme;
    char host[256]; /* without the brackets of an IPv6 address */
    char port[6];
};

struct options {
    struct endpoint listen[LISTEN_MAX];
    size_t listen_count;
    enum framing framing;
    const char *output; /* NULL: count only */
    const char *stats;
    const char *cert;
    const char *key;
    const char *ca;
    bool strict;
    bool expect_set;
    uint64_t expect;
    uint64_t rate;        /* messages a second, 0 = no limit */
    uint64_t die_after;   /* messages, 0 = off; the same for the next two */
    uint64_t reset_after; /* per connection */
    uint64_t stall_after;
    size_t max_message;
};

/* Fills *o from the command line. Returns -1 to go on, or the exit code (help and version were
 * printed, or the problem was told on stderr). Strings point into argv. */
int options_read(struct options *o, int argc, char **argv);

#endif
