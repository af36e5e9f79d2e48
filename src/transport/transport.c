/* Target -> implementation, and what all implementations share.
 *
 * Good path: transport_open checks that protocol, level and framing go together and picks the
 * implementation; everything else is passed on. What can go wrong: a combination that cannot be,
 * refused here once and with its reason, before anything is connected. */
#include "transport/transport.h"

#include "slsrelay/deliver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "slsrelay/stop.h"
#include "transport/internal.h"

enum { PROBE_STEP_MS = 100, PROBE_LINGER_MS = 500 };

static int check(const struct slsr_target_config *c, enum slsr_delivery_level *level,
                 struct slsr_err *err)
{
    const char *name = c->name != NULL ? c->name : "";

    if (c->host == NULL || c->host[0] == '\0' || c->port < 1 || c->port > 65535)
        return slsr_fail(err, SLSR_ECONFIG, "target %s: needs a host and a port of 1..65535", name);
    if (c->protocol == SLSR_UDP && c->framing == SLSR_FRAMING_LF)
        return slsr_fail(err, SLSR_ECONFIG,
                         "target %s: udp has one frame per datagram; set framing to auto", name);
    *level = c->delivery;
    if (*level == SLSR_DELIVERY_AUTO)
        *level = slsr_target_uses_relp(c)  ? SLSR_DELIVERY_CONFIRMED
                 : c->protocol == SLSR_UDP ? SLSR_DELIVERY_SENT
                 : c->protocol == SLSR_TLS ? SLSR_DELIVERY_PROVEN
                                           : SLSR_DELIVERY_READ;
    if (c->protocol == SLSR_UDP && *level != SLSR_DELIVERY_SENT)
        return slsr_fail(err, SLSR_ECONFIG,
                         "target %s: udp gives no evidence but sent; set delivery to sent or auto",
                         name);
    if (slsr_target_uses_relp(c) && c->framing != SLSR_FRAMING_AUTO)
        return slsr_fail(err, SLSR_ECONFIG,
                         "target %s: relp has a framing of its own; set framing to auto", name);
    if (slsr_target_uses_relp(c) != (*level == SLSR_DELIVERY_CONFIRMED))
        return slsr_fail(err, SLSR_ECONFIG,
                         "target %s: delivery confirmed and relp need each other; set delivery to "
                         "auto",
                         name);
    return 0;
}

int transport_open(struct transport **out, const struct slsr_target_config *target, uint64_t from,
                   struct slsr_err *err)
{
    enum slsr_delivery_level level = SLSR_DELIVERY_AUTO;
    struct tls *tls = NULL;
    int rc = check(target, &level, err);

    *out = NULL;
    if (rc != 0)
        return rc;
    if (slsr_target_uses_tls(target)) {
        rc = tls_open(&tls, target, err);
        if (rc != 0)
            return rc;
    }
    rc = slsr_target_uses_relp(target)  ? relp_open(out, target, err)
         : target->protocol == SLSR_UDP ? udp_open(out, target, err)
                                        : tcp_open(out, target, err);
    if (rc != 0) {
        tls_close(tls);
        return rc;
    }
    (*out)->tls = tls;
    (*out)->target = target;
    (*out)->level = level;
    (*out)->lf = target->framing == SLSR_FRAMING_LF;
    (*out)->phase = SLSR_PHASE_IDLE;
    (*out)->high = from;
    settle_init(&(*out)->settle, from);
    return 0;
}

int transport_look(const struct slsr_target_config *target, const char **setting,
                   struct slsr_err *err)
{
    return slsr_target_uses_tls(target) ? tls_look(target, setting, err) : 0;
}

void transport_close(struct transport *t)
{
    struct tls *tls = t != NULL ? t->tls : NULL;

    if (t != NULL)
        t->ops->close(t);
    tls_close(tls);
}

int transport_start(struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    t->proven = 0;
    return t->ops->start(t, now_ms, err);
}

int transport_poll(const struct transport *t, struct pollfd fds[TRANSPORT_POLL_MAX])
{
    return t->ops->poll(t, fds);
}

int64_t transport_due_ms(const struct transport *t, int64_t now_ms)
{
    return t->ops->due_ms(t, now_ms);
}

int transport_turn(struct transport *t, int64_t now_ms, struct slsr_err *err)
{
    return t->ops->turn(t, now_ms, err);
}

bool transport_ready(const struct transport *t)
{
    return t->ops->ready(t);
}

int transport_offer(struct transport *t, const struct slsr_run *run, uint32_t i, uint32_t end,
                    struct slsr_err *err)
{
    if (t->lf)
        return piece_lf(&t->piece, run, i, end, err);
    piece_view(&t->piece, run, i, end);
    return 0;
}

int transport_skip(struct transport *t, uint64_t seq, int64_t now_ms, struct slsr_err *err)
{
    return t->ops->skip(t, seq, now_ms, err);
}

void transport_flush(struct transport *t, bool on)
{
    t->flush = on;
}

void transport_inherit(struct transport *t, const struct transport *before)
{
    t->counts = before->counts;
    t->high = before->high;
}

void transport_pass(struct transport *t, uint64_t seq)
{
    if (seq > t->settle.settled)
        settle_init(&t->settle, seq);
}

bool transport_take_dead(struct transport *t, struct transport_dead *out)
{
    if (t->dead_count == 0)
        return false;
    *out = t->dead[0];
    t->dead_count--;
    memmove(t->dead, t->dead + 1, (size_t)t->dead_count * sizeof t->dead[0]);
    return true;
}

void transport_careful(struct transport *t, bool on)
{
    t->careful = on;
}

uint64_t transport_settled(const struct transport *t)
{
    return t->settle.settled;
}

uint64_t transport_proven(const struct transport *t)
{
    return t->proven;
}

enum slsr_target_phase transport_phase(const struct transport *t)
{
    return t->phase;
}

struct transport_counts transport_counts(const struct transport *t)
{
    return t->counts;
}

const char *transport_alarm(const struct transport *t)
{
    return t->alarm;
}

const char *transport_cause(const struct transport *t)
{
    return t->cause != NULL ? t->cause : "";
}

void transport_expiry(const struct transport *t, int64_t *own_ms, int64_t *peer_ms)
{
    *own_ms = tls_own_expiry_ms(t->tls);
    *peer_ms = tls_peer_expiry_ms(t->tls);
}

void transport_book(struct transport *t, uint64_t first, uint64_t count)
{
    uint64_t end = first + count;

    t->counts.sent_frames += count;
    if (first < t->high)
        t->counts.resent_frames += (end < t->high ? end : t->high) - first;
    if (end > t->high)
        t->high = end;
}

static void await_step(struct transport *t, const struct slsr_stop *stop)
{
    struct pollfd fds[TRANSPORT_POLL_MAX + 1];
    int n = transport_poll(t, fds);
    int64_t wait = transport_due_ms(t, clock_mono_ms());

    if (stop != NULL)
        fds[n++] = (struct pollfd){stop->fd, POLLIN, 0};
    poll(fds, (nfds_t)n, wait < 0 || wait > PROBE_STEP_MS ? PROBE_STEP_MS : (int)wait);
}

int transport_probe(const struct slsr_target_config *target, struct slsr_stop *stop,
                    struct slsr_probe *seen, struct slsr_err *err)
{
    struct transport *t;
    int64_t since = 0;
    int rc = transport_open(&t, target, 1, err);

    if (rc != 0)
        return rc;
    rc = transport_start(t, clock_mono_ms(), err);
    while (rc == 0) {
        int64_t now = clock_mono_ms();

        if (slsr_stop_requested(stop)) {
            rc = slsr_fail(err, SLSR_ESTOPPED, "stopped while connecting to %s", target->host);
            break;
        }
        rc = transport_turn(t, now, err);
        if (rc != 0 || transport_phase(t) == SLSR_PHASE_CONNECTING) {
            if (rc == 0)
                await_step(t, stop);
            continue;
        }
        /* With TLS 1.3 a refusal of our certificate comes behind the handshake. */
        if (since == 0)
            since = now;
        if (t->tls == NULL || now - since >= PROBE_LINGER_MS)
            break;
        await_step(t, stop);
    }
    if (seen != NULL) {
        transport_expiry(t, &seen->own_expiry_ms, &seen->peer_expiry_ms);
        snprintf(seen->peer, sizeof seen->peer, "%s", tls_peer_name(t->tls));
    }
    transport_close(t);
    return rc;
}
