/* From the settings of a source to: where to connect, what to write into Host, which signature.
 * Pure. The address to connect to and the name in Host are two things on purpose: a project is
 * addressed as <project>.<endpoint> and by nothing else. */
#ifndef CLIENT_ENDPOINT_H
#define CLIENT_ENDPOINT_H

#include <stdbool.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/types.h"

enum { ENDPOINT_NAME_MAX = 253 }; /* longest DNS name, RFC 1035 */

struct endpoint {
    bool https;
    bool v4;                                 /* signature version */
    char region[SLSR_NAME_MAX + 1];          /* "" when not known */
    char host[2 * ENDPOINT_NAME_MAX + 8];    /* Host header: "<project>.<host>[:port]" */
    char url[2 * ENDPOINT_NAME_MAX + 24];    /* "<scheme>://<project>.<host>:<port>" */
    char connect_to[ENDPOINT_NAME_MAX + 16]; /* "host:port" to connect to instead; "" none */
    char place[2 * ENDPOINT_NAME_MAX + 16];  /* "host:port" really connected to, for messages */
};

/* SLSR_ECONFIG with the setting's name when endpoint, connect_to, project or region make no sense,
 * or v4 is demanded and there is no region. */
int endpoint_parse(struct endpoint *out, const struct slsr_source_config *source,
                   struct slsr_err *err);

#endif
