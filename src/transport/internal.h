/* What the files of transport/ share: the table behind the seam. Indoors. */
#ifndef TRANSPORT_INTERNAL_H
#define TRANSPORT_INTERNAL_H

#include "transport/evidence.h"
#include "transport/framing.h"
#include "transport/tls.h"
#include "transport/transport.h"

struct transport_ops {
    void (*close)(struct transport *t);
    int (*start)(struct transport *t, int64_t now_ms, struct slsr_err *err);
    int (*poll)(const struct transport *t, struct pollfd *fds);
    int64_t (*due_ms)(const struct transport *t, int64_t now_ms);
    int (*turn)(struct transport *t, int64_t now_ms, struct slsr_err *err);
    bool (*ready)(const struct transport *t);
    int (*skip)(struct transport *t, uint64_t seq, int64_t now_ms, struct slsr_err *err);
};

enum { TRANSPORT_DEAD_MAX = 16 };

/* First member of each implementation. */
struct transport {
    const struct transport_ops *ops;
    const struct slsr_target_config *target;
    enum slsr_delivery_level level; /* SLSR_DELIVERY_..., never AUTO */
    bool lf;                        /* framing */
    bool flush;
    bool careful;
    enum slsr_target_phase phase;
    struct piece piece;   /* being written; empty when done */
    struct settle settle; /* of the destination, over all connections */
    uint64_t proven;      /* by closing, since transport_start */
    uint64_t high;        /* sequences below were written before */
    struct transport_counts counts;
    const char *alarm;
    const char *cause; /* of the last break */
    struct tls *tls;   /* NULL: none */
    struct transport_dead dead[TRANSPORT_DEAD_MAX];
    int dead_count; /* not fetched yet */
};

int tcp_open(struct transport **out, const struct slsr_target_config *target, struct slsr_err *err);
int relp_open(struct transport **out, const struct slsr_target_config *target,
              struct slsr_err *err);
int udp_open(struct transport **out, const struct slsr_target_config *target, struct slsr_err *err);

/* Books `count` frames from `first` as written. */
void transport_book(struct transport *t, uint64_t first, uint64_t count);

#endif
