/* Frames -> bytes that the far side has taken (seam: TCP, TLS, UDP and RELP behind one face).
 *
 * Nothing here blocks: the owner polls the descriptors of transport_poll until transport_due_ms,
 * then calls transport_turn. One thread. Times are clock_mono_ms(). What "taken" and "settled"
 * mean: docs/delivery.md. */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/spool.h"

struct transport;

enum { TRANSPORT_POLL_MAX = 8 };

struct transport_counts {
    uint64_t sent_frames;   /* completely handed to the kernel, repeats included */
    uint64_t resent_frames; /* of these, repeats */
    uint64_t dead_frames;   /* that this transport can never carry (UDP: too long) */
};

/* SLSR_ECONFIG when protocol, level and framing do not go together. target is borrowed. */
int transport_open(struct transport **out, const struct slsr_target_config *target, uint64_t from,
                   struct slsr_err *err);
void transport_close(struct transport *t); /* NULL is fine */
/* Can the target's certificates and keys be used? Reads files, connects nowhere. SLSR_ENET with the
 * reason; *setting: the key of `tls` that names the file, static text. SLSR_ENOMEM. */
int transport_look(const struct slsr_target_config *target, const char **setting,
                   struct slsr_err *err);

/* Begins to connect; the next frame offered will be transport_settled(). Only while down. */
int transport_start(struct transport *t, int64_t now_ms, struct slsr_err *err);
int transport_poll(const struct transport *t, struct pollfd fds[TRANSPORT_POLL_MAX]);
int64_t transport_due_ms(const struct transport *t, int64_t now_ms); /* from now; -1: none */
/* Does what can be done now. 0, or SLSR_ENET, SLSR_EREMOTE, SLSR_ENOMEM: the link broke, everything
 * is dropped, send again from transport_settled() after a back-off. The sentence tells the cause.
 */
int transport_turn(struct transport *t, int64_t now_ms, struct slsr_err *err);

/* Frames [i, end) of a run. It is borrowed until transport_ready() again or a break. Only while
 * transport_ready(). SLSR_ENOMEM. */
bool transport_ready(const struct transport *t);
int transport_offer(struct transport *t, const struct slsr_run *run, uint32_t i, uint32_t end,
                    struct slsr_err *err);
/* Frames below seq that were not offered need no sending. Only while transport_ready(). */
int transport_skip(struct transport *t, uint64_t seq, int64_t now_ms, struct slsr_err *err);
/* on: nothing follows for now, prove what was sent at once instead of after idle time. */
void transport_flush(struct transport *t, bool on);
/* on: one of these frames may make the receiver end the connection: give it time to, before an end
 * of ours could be taken for the reason. */
void transport_careful(struct transport *t, bool on);

/* t takes the place of `before`, which went to another server: the figures go on. */
void transport_inherit(struct transport *t, const struct transport *before);
/* Frames below seq are done with, by other means than delivery. Only while down. */
void transport_pass(struct transport *t, uint64_t seq);
/* The next frame that this transport can never carry: true, and the owner must set it aside before
 * it reports anything. */
struct transport_dead {
    uint64_t seq;
    size_t bytes;
};
bool transport_take_dead(struct transport *t, struct transport_dead *out);

uint64_t transport_settled(const struct transport *t);
/* Everything below was on connections that were closed and closed back, since the present link came
 * up; it counts only once it is below transport_settled(), too. 0: none. */
uint64_t transport_proven(const struct transport *t);
enum slsr_target_phase transport_phase(const struct transport *t); /* IDLE: down */
struct transport_counts transport_counts(const struct transport *t);
/* A state that a person should know of although it works, or NULL. Static text. */
const char *transport_alarm(const struct transport *t);
/* What the last break or failed attempt was, a word of struct slsr_target_state. Static text. */
const char *transport_cause(const struct transport *t);
/* Ends of our and of the receiver's certificate, wall clock; 0: none. */
void transport_expiry(const struct transport *t, int64_t *own_ms, int64_t *peer_ms);

/* For --test-connection: resolve and connect by deadline, then close. seen: slsrelay/deliver.h. */
struct slsr_stop;
struct slsr_probe;
int transport_probe(const struct slsr_target_config *target, struct slsr_stop *stop,
                    struct slsr_probe *seen, struct slsr_err *err);

/* "OpenSSL 3.0.19", of the libraries that run here. */
void transport_libraries(char *out, size_t size);

#endif
