/* When a connection is rotated for its proof, on a clock that stands still until it is wound.
 *
 * One thread plays both sides: `pump` lets the sender have a turn, then the receiver takes what is
 * there. Bytes are numbered by their place in the stream, so that the receiver sees a hole or a
 * repeat at once. What must hold (docs/delivery.md "Proof by closing"): however fast it goes, a
 * connection is not rotated before a second is over nor below 16 MiB; then it is, and all of it
 * counts; without a second connection no more than 16 MiB follow; a receiver that stops reading
 * gets every byte once it goes on, in the middle of TLS records too; TLS proves by close_notify, or
 * by FIN alone where that was asked for or nothing else ever comes; the witness resumes the
 * session; evidence counts only when the receiver is seen to live on after it: one that is frozen
 * (alive, its window open, its kernel answering) lets nothing settle. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cmocka.h>

#include "base/clock.h"
#include "transport/transport.h"

enum {
    FRAME = 1024,
    RUN = 250, /* frames: no multiple of a TLS record */
    CONNS = 32,
    MIB = 1024 * 1024,
    LOOK_MS = 1, /* real: acknowledgements raise no event */
    STEP_MS = 10
};

static char name[] = "siem", host[] = "127.0.0.1";

struct conn {
    int fd; /* -1: ended */
    SSL *ssl;
};

struct world {
    struct slsr_target_config target;
    struct transport *t;
    int listener; /* -1: closed */
    SSL_CTX *ctx; /* NULL: plain */
    bool deaf;    /* on its first connection */
    bool frozen;  /* as by SIGSTOP: its kernel goes on, its program does not */
    bool silent;  /* ends TLS by FIN alone */
    int resumed;  /* connections that did without certificates */
    struct conn conns[CONNS];
    int accepted;
    uint64_t next;     /* frame to be offered, from 1 */
    uint64_t received; /* bytes, in order */
    uint64_t data[RUN * FRAME / sizeof(uint64_t)];
    uint32_t ends[RUN];
};

/* --- the receiver --- */

static SSL_CTX *server_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();

    assert_true(ctx != NULL && key != NULL && cert != NULL);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 365L * 86400);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

static void accept_all(struct world *w)
{
    int fd;

    while (w->listener >= 0 && (fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct conn *c = &w->conns[w->accepted++];

        assert_true(w->accepted <= CONNS);
        c->fd = fd;
        if (w->ctx == NULL)
            continue;
        c->ssl = SSL_new(w->ctx);
        assert_non_null(c->ssl);
        assert_int_equal(SSL_set_fd(c->ssl, fd), 1);
        SSL_set_accept_state(c->ssl);
    }
}

static void end_conn(struct world *w, struct conn *c)
{
    if (c->ssl != NULL && SSL_session_reused(c->ssl))
        w->resumed++;
    if (c->ssl != NULL && !w->silent)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    *c = (struct conn){.fd = -1};
}

/* The stream is one of numbered 8-byte words; reads may end anywhere. */
static void take(struct world *w, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++, w->received++) {
        uint64_t word = w->received / sizeof word;

        if (p[i] != ((const unsigned char *)&word)[w->received % sizeof word])
            fail_msg("byte %llu of the stream is another one", (unsigned long long)w->received);
    }
}

/* Reads all there is; true: something came. */
static bool read_conn(struct world *w, struct conn *c)
{
    static unsigned char buf[65536];
    bool any = false;

    for (;;) {
        size_t got = 0;
        bool ended;

        if (c->ssl != NULL) {
            int rc = SSL_read_ex(c->ssl, buf, sizeof buf, &got);

            ended = rc != 1 && SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ;
            ERR_clear_error();
        } else {
            ssize_t n = recv(c->fd, buf, sizeof buf, 0);

            got = n > 0 ? (size_t)n : 0;
            ended = n == 0 || (n < 0 && errno != EAGAIN);
        }
        take(w, buf, got);
        any = any || got > 0;
        if (ended)
            end_conn(w, c);
        if (ended || got == 0)
            return any;
    }
}

static bool serve(struct world *w)
{
    bool any = false;

    if (w->frozen)
        return false;
    accept_all(w);
    for (int i = 0; i < w->accepted; i++)
        if (w->conns[i].fd >= 0 && !(w->deaf && i == 0))
            any = read_conn(w, &w->conns[i]) || any;
    return any;
}

/* --- the sender --- */

static void offer(struct world *w)
{
    struct slsr_run run = {w->next, RUN, {(const char *)w->data, sizeof w->data}, w->ends};
    struct slsr_err err;

    for (size_t i = 0; i < sizeof w->data / sizeof w->data[0]; i++)
        w->data[i] = (w->next - 1) * FRAME / sizeof w->data[0] + i;
    assert_int_equal(transport_offer(w->t, &run, 0, RUN, &err), 0);
    w->next += RUN;
}

static uint64_t offered(const struct world *w)
{
    return (w->next - 1) * FRAME;
}

/* Is anything ready, at once or after a moment? The kernel's turn on a busy machine. */
static bool look(struct world *w)
{
    struct pollfd fds[TRANSPORT_POLL_MAX + CONNS];
    int n = transport_poll(w->t, fds);

    for (int i = 0; i < w->accepted; i++)
        if (w->conns[i].fd >= 0 && !w->frozen && !(w->deaf && i == 0))
            fds[n++] = (struct pollfd){w->conns[i].fd, POLLIN, 0};
    return poll(fds, (nfds_t)n, LOOK_MS) > 0;
}

/* A turn of the sender, with a new run if it is ready and below `bytes`; then the receiver's.
 * False: nothing was read and nothing is ready, for a moment of real time. */
static bool pump(struct world *w, uint64_t bytes)
{
    struct slsr_err err = {0, ""};
    bool ready = transport_ready(w->t) && offered(w) < bytes, took;

    if (ready)
        offer(w);
    if (transport_turn(w->t, clock_mono_ms(), &err) != 0)
        fail_msg("%s", err.text);
    took = serve(w);
    return ready || took || look(w);
}

/* All of it is read, the clock standing still. */
static void send_all(struct world *w, uint64_t bytes)
{
    while (offered(w) < bytes || w->received < offered(w))
        pump(w, bytes);
}

static void settle_all(struct world *w)
{
    while (transport_settled(w->t) < w->next)
        if (!pump(w, 0))
            clock_wind(STEP_MS);
}

static void start(struct world **out, bool tls)
{
    struct world *w = calloc(1, sizeof *w);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    assert_non_null(w);
    signal(SIGPIPE, SIG_IGN);
    clock_freeze(1700000000000);
    w->next = 1;
    for (unsigned i = 0; i < RUN; i++)
        w->ends[i] = (i + 1) * FRAME;
    w->ctx = tls ? server_ctx() : NULL;
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(w->listener, CONNS), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&a, &len), 0);
    w->target = (struct slsr_target_config){.name = name,
                                            .protocol = tls ? SLSR_TLS : SLSR_TCP,
                                            .delivery = SLSR_DELIVERY_PROVEN,
                                            .host = host,
                                            .port = ntohs(a.sin_port),
                                            .connect_timeout_ms = 10000,
                                            .stall_timeout_ms = 120000,
                                            .proof_interval_ms = 10000,
                                            .retry_initial_ms = 250,
                                            .retry_max_ms = 60000,
                                            .retry_multiplier = 2};
    assert_int_equal(transport_open(&w->t, &w->target, 1, NULL), 0);
    assert_int_equal(transport_start(w->t, clock_mono_ms(), NULL), 0);
    while (transport_phase(w->t) != SLSR_PHASE_UP)
        pump(w, 0);
    *out = w;
}

static void finish(struct world *w)
{
    transport_close(w->t);
    for (int i = 0; i < w->accepted; i++)
        if (w->conns[i].fd >= 0)
            end_conn(w, &w->conns[i]);
    if (w->listener >= 0)
        close(w->listener);
    SSL_CTX_free(w->ctx);
}

/* --- what must hold --- */

static void fast(bool tls)
{
    struct world *w;

    start(&w, tls);
    send_all(w, 40 * MIB);
    assert_true(w->accepted <= 2); /* the carrier and its witness */
    assert_true(transport_ready(w->t));
    assert_int_equal(transport_settled(w->t), 1);
    clock_wind(1000);
    send_all(w, offered(w) + 1);
    assert_false(transport_ready(w->t)); /* no idle time has passed: it was the amount */
    settle_all(w);
    assert_true(transport_ready(w->t));
    send_all(w, 48 * MIB); /* the witness carries on */
    settle_all(w);
    assert_int_equal(transport_counts(w->t).resent_frames, 0);
    finish(w);
    free(w);
}

static void test_fast(void **state)
{
    (void)state;
    fast(false);
    fast(true);
}

/* Until a break; the receiver's end of it too. */
static int until_broken(struct world *w)
{
    struct slsr_err err = {0, ""};
    int rc = 0;

    while (rc == 0) {
        rc = transport_turn(w->t, clock_mono_ms(), &err);
        if (!serve(w) && (rc != 0 || !look(w)))
            clock_wind(STEP_MS);
    }
    return rc;
}

static void connect_again(struct world *w)
{
    w->next = transport_settled(w->t);
    w->received = offered(w);
    assert_int_equal(transport_start(w->t, clock_mono_ms(), NULL), 0);
    while (transport_phase(w->t) != SLSR_PHASE_UP)
        pump(w, 0);
}

/* Twice its FIN is no proof, though all was acknowledged; at the third time it counts, and that is
 * said. */
static void test_no_close_notify(void **state)
{
    struct world *w;

    (void)state;
    start(&w, true);
    w->silent = true;
    for (int i = 0; i < 2; i++) {
        send_all(w, MIB);
        assert_int_equal(until_broken(w), SLSR_EREMOTE);
        assert_string_equal(transport_cause(w->t), "proof");
        assert_int_equal(transport_settled(w->t), 1);
        assert_null(transport_alarm(w->t));
        connect_again(w);
    }
    send_all(w, MIB);
    settle_all(w);
    assert_non_null(strstr(transport_alarm(w->t), "without close_notify"));
    finish(w);
    free(w);
}

static void test_fin_is_enough(void **state)
{
    struct world *w;

    (void)state;
    start(&w, true);
    w->silent = true;
    w->target.tls.proof = SLSR_PROOF_FIN;
    send_all(w, MIB);
    settle_all(w);
    assert_null(transport_alarm(w->t));
    assert_int_equal(transport_counts(w->t).resent_frames, 0);
    finish(w);
    free(w);
}

static void test_resumed(void **state)
{
    struct world *w;

    (void)state;
    start(&w, true);
    for (int i = 1; i <= 3; i++) {
        send_all(w, (uint64_t)i * MIB);
        settle_all(w);
    }
    assert_true(w->accepted >= 4);
    finish(w);
    assert_int_equal(w->resumed, w->accepted - 1);
    free(w);
}

static void test_slow(void **state)
{
    struct world *w;

    (void)state;
    start(&w, false);
    send_all(w, 10 * MIB);
    for (uint64_t mib = 11; mib < 16; mib++) {
        clock_wind(900); /* less than what counts as idle */
        send_all(w, mib * MIB);
        assert_true(transport_ready(w->t));
    }
    while (transport_ready(w->t) || w->received < offered(w))
        pump(w, UINT64_MAX);
    assert_true(offered(w) >= 16 * MIB && offered(w) < 17 * MIB);
    settle_all(w);
    finish(w);
    free(w);
}

static void test_no_witness(void **state)
{
    struct world *w;
    uint64_t due;

    (void)state;
    start(&w, false);
    while (w->accepted == 0)
        pump(w, 0);
    close(w->listener);
    w->listener = -1;
    send_all(w, 20 * MIB);
    assert_true(transport_ready(w->t));
    clock_wind(1000);
    due = offered(w);
    while (w->received < offered(w) || transport_ready(w->t))
        pump(w, UINT64_MAX);
    assert_true(offered(w) - due >= 16 * MIB);
    assert_true(offered(w) - due < 17 * MIB);
    assert_int_equal(transport_settled(w->t), 1);
    finish(w);
    free(w);
}

static void test_full_socket(void **state)
{
    struct world *w;
    uint64_t before = 0;

    (void)state;
    start(&w, true);
    send_all(w, MIB);
    w->deaf = true;
    /* Until the window is closed and the socket full: a run is under way, and stays so. */
    while (transport_ready(w->t) || before != offered(w)) {
        before = offered(w);
        pump(w, UINT64_MAX);
    }
    assert_true(w->received < offered(w));
    w->deaf = false;
    send_all(w, offered(w));
    clock_wind(1000);
    settle_all(w);
    assert_int_equal(transport_counts(w->t).resent_frames, 0);
    finish(w);
    free(w);
}

/* --- a sign of life --- */

static void start_alive(struct world **out, enum slsr_delivery_level level)
{
    struct world *w;

    start(&w, level == SLSR_DELIVERY_PROVEN);
    transport_close(w->t);
    w->target.delivery = level;
    w->target.settle_ms = 1000;
    assert_int_equal(transport_open(&w->t, &w->target, 1, NULL), 0);
    connect_again(w);
    *out = w;
}

/* All of it is read, the clock going on as rotations need it. */
static void stream(struct world *w, uint64_t bytes)
{
    while (offered(w) < bytes || w->received < offered(w))
        if (!pump(w, bytes))
            clock_wind(STEP_MS);
}

/* A minute goes by for a frozen receiver; what settles meanwhile is at most `limit`. Frames go on
 * as long as its kernel takes them, or none. The rc of the break, if there was one. */
static int frozen_minute(struct world *w, bool frames, uint64_t limit)
{
    struct slsr_err err = {0, ""};
    int64_t end_ms = clock_mono_ms() + 60000;
    int rc = 0;

    w->frozen = true;
    while (rc == 0 && clock_mono_ms() < end_ms) {
        if (frames && transport_ready(w->t))
            offer(w);
        rc = transport_turn(w->t, clock_mono_ms(), &err);
        assert_true(transport_settled(w->t) <= limit);
        if (!look(w))
            clock_wind(5 * STEP_MS);
    }
    w->frozen = false;
    return rc;
}

/* Read to the end, closed back, frozen, for longer than `settle`: it may not have written it. */
static void frozen_idle(enum slsr_delivery_level level)
{
    struct world *w;

    start_alive(&w, level);
    stream(w, MIB);
    while (w->conns[1].fd >= 0) /* behind that of start(): until it has closed back */
        if (!pump(w, 0))
            clock_wind(STEP_MS);
    if (frozen_minute(w, false, w->next - 1) != 0) {
        assert_string_equal(transport_cause(w->t), "proof");
        connect_again(w);
    }
    stream(w, MIB);
    settle_all(w);
    finish(w);
    free(w);
}

/* It was read as it came, then nothing is any more. What settles was offered a settle time before:
 * its evidence is no older than its offer, the last sign of life no younger than the freeze. */
static void frozen_stream(enum slsr_delivery_level level)
{
    enum { PARTS = 20 };
    int64_t done_ms[PARTS];
    uint64_t next[PARTS];
    size_t young = 0;
    struct world *w;

    start_alive(&w, level);
    for (size_t i = 0; i < PARTS; i++, clock_wind(100)) {
        stream(w, (i + 1) * MIB);
        done_ms[i] = clock_mono_ms();
        next[i] = w->next;
    }
    while (young < PARTS - 1 && done_ms[young] <= clock_mono_ms() - w->target.settle_ms)
        young++;
    frozen_minute(w, true, next[young]);
    finish(w);
    free(w);
}

static void test_frozen(void **state)
{
    (void)state;
    frozen_idle(SLSR_DELIVERY_READ);
    frozen_idle(SLSR_DELIVERY_PROVEN);
    frozen_stream(SLSR_DELIVERY_READ);
    frozen_stream(SLSR_DELIVERY_PROVEN);
}

/* The sign of life takes one more connection after the last proof, and then there is peace; in a
 * stream it takes no more than one for each proof. */
static void peace(enum slsr_delivery_level level)
{
    struct world *w;
    int64_t end_ms;
    int before;

    start_alive(&w, level);
    before = w->accepted;
    stream(w, MIB);
    settle_all(w);
    while (transport_due_ms(w->t, clock_mono_ms()) >= 0 || look(w))
        if (!pump(w, 0))
            clock_wind(STEP_MS);
    assert_in_range(w->accepted - before, 2, 3);
    before = w->accepted;
    end_ms = clock_mono_ms() + 30000;
    while (clock_mono_ms() < end_ms) {
        stream(w, offered(w) + 1);
        clock_wind(100);
    }
    /* The read floor shows it all the time; else 16 MiB take six seconds. */
    assert_in_range(w->accepted - before, level == SLSR_DELIVERY_READ ? 0 : 4,
                    level == SLSR_DELIVERY_READ ? 1 : 10);
    settle_all(w);
    assert_int_equal(transport_counts(w->t).resent_frames, 0);
    finish(w);
    free(w);
}

static void test_peace(void **state)
{
    (void)state;
    peace(SLSR_DELIVERY_READ);
    peace(SLSR_DELIVERY_PROVEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_no_witness),
        cmocka_unit_test(test_full_socket),
        cmocka_unit_test(test_no_close_notify),
        cmocka_unit_test(test_fin_is_enough),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_peace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
