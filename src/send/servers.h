/* Several receivers of one target: which one is used, and when it is left (docs/delivery.md
 * "Several servers"). Indoors of send/. One thread. */
#ifndef SEND_SERVERS_H
#define SEND_SERVERS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "transport/transport.h"

struct servers {
    struct slsr_target_config *list; /* the target, once per server */
    int count, now;
    struct transport *probe; /* to the first one, while another is used; carries nothing */
    int64_t probe_ms;        /* since when it is up; 0: it is not */
    int64_t retry_ms;        /* when to try it next */
    bool back;               /* the first one is healthy: go back to it when all is settled */
};

/* first: the one to prefer (balance: each lane has its own). SLSR_ECONFIG, SLSR_ENOMEM. */
int servers_init(struct servers *s, const struct slsr_target_config *target, int first,
                 struct slsr_err *err);
void servers_fini(struct servers *s);
int servers_count(const struct slsr_target_config *target);
const struct slsr_target_config *servers_now(const struct servers *s);
/* The present one failed; was_up: after it had been connected. True: it is another one now. */
bool servers_failed(struct servers *s, bool was_up, int64_t now_ms);
/* Tries the first one, while another is used; sets s->back. */
void servers_turn(struct servers *s, int64_t now_ms);
/* Everything is settled: the first one is used again. */
void servers_go_back(struct servers *s);
int servers_poll(const struct servers *s, struct pollfd fds[TRANSPORT_POLL_MAX]);
int64_t servers_due_ms(const struct servers *s, int64_t now_ms); /* -1: none */

#endif
