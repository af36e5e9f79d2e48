/* What delivery costs beside a loop that only sends. One line a figure, all in one run.
 *
 *   DIR [GB [plain|tls]]   a backlog of GB (0.5) in a spool below DIR, drained to a discarding
 *                          receiver: both ways, or one alone
 *
 * CPU of the sending process only: the receiver is another process, on a CPU of its own. Without
 * that a loop costs up to twice as much in one lap as in the next, by whether both happen to share
 * one. Laps go in turns, figures are medians (and the range), a ratio is the median of those within
 * each turn. Bare loops send the same bytes from memory, 256 KiB a call, plain and by SSL_write
 * (TLS 1.3, same suite). A drain is slsr_deliver_run at the default level (plain `read`, TLS
 * `proven`) as the relay's sender runs it, without an end, stopped when all is sent and back when
 * all has settled: once with the spool's pages on the disk, once with them in memory. "range only"
 * is the same reading without sending. */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "slsrelay/deliver.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

enum { FRAME_BYTES = 818, PIECE_BYTES = 256 * 1024, BATCH_BYTES = 10000000, ROUNDS = 7 };

struct lap { /* of each round */
    int count;
    double cost[ROUNDS]; /* CPU-s per GB */
    double speed[ROUNDS];
};

struct mark {
    double cpu;
    int64_t wall_ns;
};

struct bench {
    char path[4096];
    struct slsr_spool *spool;
    struct slsr_batch batch;
    uint64_t next; /* sequence behind the backlog */
    double bytes;
    int rounds;
    int plain_port, tls_port;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "slsr-bench-drain: %s: %s\n", what, why);
    exit(1);
}

static void need(bool ok, const char *what)
{
    if (!ok)
        die(what, "failed");
}

static struct mark start(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (struct mark){(double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                             (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6,
                         clock_mono_ns()};
}

static void stop(struct lap *lap, struct mark from, double bytes)
{
    struct mark now = start();

    lap->cost[lap->count] = (now.cpu - from.cpu) / bytes * 1e9;
    lap->speed[lap->count] = bytes / (double)(now.wall_ns - from.wall_ns) * 1e3;
    lap->count++;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *of, int count, double *least, double *most)
{
    double sorted[ROUNDS];

    memcpy(sorted, of, (size_t)count * sizeof *of);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    *least = sorted[0];
    *most = sorted[count - 1];
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void print_lap(const char *stage, const struct lap *lap)
{
    double least, most, cost, speed = median(lap->speed, lap->count, &least, &most);

    cost = median(lap->cost, lap->count, &least, &most);
    printf("%-28s %8.3f CPU-s/GB  %8.0f MB/s  (%.3f to %.3f)\n", stage, cost, speed, least, most);
    fflush(stdout);
}

static void print_ratio(const char *stage, const struct lap *lap, const struct lap *yard)
{
    double ratio[ROUNDS], least, most, mid;

    for (int i = 0; i < lap->count; i++)
        ratio[i] = lap->cost[i] / yard->cost[i];
    mid = median(ratio, lap->count, &least, &most);
    printf("ratio of CPU, %s, to the bare loop: %.2f (%.2f to %.2f)\n", stage, mid, least, most);
    fflush(stdout);
}

/* This process, and what it starts, on one CPU: the first or the second that it may use. */
static void stay_on(int which)
{
    cpu_set_t may, one;

    need(sched_getaffinity(0, sizeof may, &may) == 0, "sched_getaffinity");
    if (CPU_COUNT(&may) < 2)
        return;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &may) && which-- == 0)
            CPU_SET(cpu, &one);
    need(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

/* --- the receiver: a process that throws everything away, a thread per connection --- */

static SSL_CTX *receiver_ctx; /* NULL: plain */

static void *swallow(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char *buf = malloc(PIECE_BYTES);
    SSL *ssl = receiver_ctx != NULL ? SSL_new(receiver_ctx) : NULL;

    need(buf != NULL, "memory");
    if (ssl == NULL) {
        while (recv(fd, buf, PIECE_BYTES, 0) > 0)
            continue;
    } else if (SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1) {
        while (SSL_read(ssl, buf, PIECE_BYTES) > 0)
            continue;
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
    free(buf);
    return NULL;
}

static void receive(int listener)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;

        need(fd >= 0, "accept");
        need(pthread_create(&thread, NULL, swallow, (void *)(intptr_t)fd) == 0, "thread");
        pthread_detach(thread);
    }
}

static pid_t start_receiver(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    need(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 16) == 0 &&
             getsockname(fd, (struct sockaddr *)&a, &len) == 0,
         "listen");
    *port = ntohs(a.sin_port);
    pid = fork();
    if (pid == 0) {
        stay_on(1);
        receive(fd);
    }
    close(fd);
    return pid;
}

/* A key and a certificate that nobody else sees. */
static SSL_CTX *server_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name;

    need(ctx != NULL && key != NULL && cert != NULL, "certificate");
    name = X509_get_subject_name(cert);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 365L * 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"bench", -1, -1, 0);
    need(X509_set_version(cert, 2) == 1 && X509_set_issuer_name(cert, name) == 1 &&
             X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
             SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1,
         "certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

/* --- bare loops --- */

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    need(connect(fd, (struct sockaddr *)&a, sizeof a) == 0, "connect");
    return fd;
}

/* All of the piece, plain or by TLS. */
static void put(int fd, SSL *ssl, const char *p, size_t n)
{
    while (n > 0) {
        size_t done = 0;

        if (ssl != NULL) {
            need(SSL_write_ex(ssl, p, n, &done) == 1, "SSL_write");
        } else {
            ssize_t got = send(fd, p, n, MSG_NOSIGNAL);

            need(got > 0, "send");
            done = (size_t)got;
        }
        p += done;
        n -= done;
    }
}

static void bare(const struct bench *b, bool tls, struct lap *lap)
{
    SSL_CTX *ctx = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    int fd = dial(tls ? b->tls_port : b->plain_port);
    SSL *ssl = tls ? SSL_new(ctx) : NULL;
    const struct mark from = start();
    double left = b->bytes;
    char drop[4096];

    if (tls)
        need(SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1, "TLS");
    while (left > 0)
        for (size_t at = 0; at < b->batch.used && left > 0; at += PIECE_BYTES) {
            size_t n = b->batch.used - at < PIECE_BYTES ? b->batch.used - at : PIECE_BYTES;

            put(fd, ssl, b->batch.data + at, n);
            left -= (double)n;
        }
    if (tls)
        SSL_shutdown(ssl);
    shutdown(fd, SHUT_WR);
    while (recv(fd, drop, sizeof drop, 0) > 0)
        continue;
    stop(lap, from, b->bytes);
    close(fd);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

/* --- the spool --- */

/* Text like audit logs, from a fixed seed. */
static void make_batch(struct slsr_batch *batch)
{
    const size_t count = BATCH_BYTES / (FRAME_BYTES + 4);
    uint64_t x = 88172645463325252u;

    slsr_batch_init(batch);
    batch->data = malloc(count * (FRAME_BYTES + 4) + 64);
    batch->meta = calloc(count, sizeof *batch->meta);
    need(batch->data != NULL && batch->meta != NULL, "memory");
    cursor_text(1500000000000000000u, batch->cursor);
    for (size_t i = 0; i < count; i++) {
        char *p = batch->data + batch->used;
        size_t n = 4;

        memcpy(p, "818 ", 4);
        while (n < FRAME_BYTES + 4) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            n += (size_t)snprintf(p + n, FRAME_BYTES + 5 - n, "user=%llx ",
                                  (unsigned long long)(x >> 40));
        }
        batch->used += FRAME_BYTES + 4;
        batch->meta[i].end = (uint32_t)batch->used;
        batch->meta[i].time_s = (uint32_t)(1735787045 + i / 100);
    }
    batch->frame_count = count;
}

static void each_file(const char *path, void (*what)(const char *file))
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char file[4400];

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') {
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            what(file);
        }
    if (dir != NULL)
        closedir(dir);
}

static void chill(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        fdatasync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static void heat(const char *file)
{
    static char buf[PIECE_BYTES];
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && read(fd, buf, sizeof buf) > 0)
        continue;
    if (fd >= 0)
        close(fd);
}

static void erase(const char *file)
{
    unlink(file);
}

static void open_spool(struct bench *b)
{
    struct slsr_spool_config config = {.path = b->path, .max_size_bytes = 1LL << 40};
    struct slsr_err err;

    if (slsr_spool_open(&b->spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        die("spool", err.text);
}

/* Nothing of the spool in memory, unless `warm`: then all of it. With a lap: reads it. */
static void reopen(struct bench *b, bool warm, struct lap *lap)
{
    struct slsr_range *range;
    struct slsr_run run;
    struct slsr_err err;
    struct mark from;
    double seen = 0;

    slsr_spool_close(b->spool);
    each_file(b->path, warm ? heat : chill);
    open_spool(b);
    if (lap == NULL)
        return;
    from = start();
    if (slsr_range_open(&range, b->spool, 1, b->next, &err) != 0)
        die("range", err.text);
    while (slsr_range_next_run(range, PIECE_BYTES, &run, &err) == 0)
        seen += (double)run.wire.n;
    slsr_range_close(range);
    stop(lap, from, seen);
    need(seen == b->bytes, "reading it all");
}

static void fill(struct bench *b, double gb)
{
    struct slsr_checkpoint cp = {.stream = {"bench", "audit", 0}, .cursor = "MA=="};
    struct slsr_err err;

    make_batch(&b->batch);
    open_spool(b);
    while (b->bytes < gb * 1e9) {
        if (slsr_spool_append(b->spool, &b->batch, &cp, NULL, &err) != 0)
            die("append", err.text);
        b->bytes += (double)b->batch.used;
        b->next += b->batch.frame_count;
    }
}

/* --- ours --- */

struct progress {
    uint64_t frames; /* to be sent */
    struct slsr_stop stop;
};

static void look(void *ctx, const struct slsr_target_state *state)
{
    struct progress *p = ctx;

    if (state->sent_frames >= p->frames)
        slsr_stop_request(&p->stop);
}

static void deliver(struct bench *b, bool tls, struct lap *lap)
{
    static char name[] = "bench", host[] = "127.0.0.1";
    struct slsr_target_config target = {.name = name,
                                        .protocol = tls ? SLSR_TLS : SLSR_TCP,
                                        .host = host,
                                        .port = tls ? b->tls_port : b->plain_port,
                                        .connect_timeout_ms = 10000,
                                        .dead_timeout_ms = 20000,
                                        .stall_timeout_ms = 120000,
                                        .settle_ms = 1000,
                                        .proof_interval_ms = 10000,
                                        .retry_initial_ms = 250,
                                        .retry_max_ms = 60000,
                                        .retry_multiplier = 2};
    struct progress p = {.frames = b->next - 1};
    struct slsr_delivery d = {.target = &target,
                              .spool = b->spool,
                              .from = 1,
                              .to = UINT64_MAX,
                              .report = look,
                              .ctx = &p,
                              .drain_ms = 20000,
                              .stop = &p.stop};
    const struct mark from = start();
    struct slsr_err err;
    char settled[64];

    need(slsr_stop_init(&p.stop, &err) == 0, "stop");
    if (slsr_deliver_run(&d, &err) != SLSR_ESTOPPED)
        die("deliver", err.text);
    stop(lap, from, b->bytes);
    snprintf(settled, sizeof settled, "frame %llu", (unsigned long long)b->next);
    if (strstr(err.text, settled) == NULL)
        die("not all has settled", err.text);
    slsr_stop_fini(&p.stop);
}

static void compare(struct bench *b, bool tls)
{
    const char *bare_name = tls ? "bare SSL_write loop" : "bare send loop";
    const char *kind = tls ? "TLS" : "plain";
    struct lap yard = {0}, cold = {0}, warm = {0};
    char cold_name[64], warm_name[64];

    /* Turn and turn about, so that a machine that changes its mind hits all. */
    for (int i = 0; i < b->rounds; i++) {
        bare(b, tls, &yard);
        reopen(b, false, NULL);
        deliver(b, tls, &cold);
        reopen(b, true, NULL);
        deliver(b, tls, &warm);
    }
    snprintf(cold_name, sizeof cold_name, "deliver %s, cold", kind);
    snprintf(warm_name, sizeof warm_name, "deliver %s, in memory", kind);
    print_lap(bare_name, &yard);
    print_lap(cold_name, &cold);
    print_lap(warm_name, &warm);
    print_ratio(cold_name, &cold, &yard);
    print_ratio(warm_name, &warm, &yard);
}

int main(int argc, char **argv)
{
    struct bench b = {.next = 1};
    struct lap cold = {0}, warm = {0};
    double gb = argc > 2 ? atof(argv[2]) : 0.5;
    const char *only = argc > 3 ? argv[3] : "";
    pid_t receivers[2];

    if (argc < 2) {
        fprintf(stderr, "usage: slsr-bench-drain DIR [GB [plain|tls]]\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(b.path, sizeof b.path, "%s/drain", argv[1]);
    receivers[0] = start_receiver(&b.plain_port);
    receiver_ctx = server_ctx();
    receivers[1] = start_receiver(&b.tls_port);
    each_file(b.path, erase); /* of a run that was cut short */
    stay_on(0);
    b.rounds = gb < 0.1 ? 1 : ROUNDS; /* a small one only shows that it runs */
    fill(&b, gb);
    for (int i = 0; i < b.rounds; i++) {
        reopen(&b, false, &cold);
        reopen(&b, true, &warm);
    }
    print_lap("range only, cold", &cold);
    print_lap("range only, in memory", &warm);
    if (strcmp(only, "tls") != 0)
        compare(&b, false);
    if (strcmp(only, "plain") != 0)
        compare(&b, true);
    slsr_spool_close(b.spool);
    slsr_batch_fini(&b.batch);
    SSL_CTX_free(receiver_ctx);
    each_file(b.path, erase);
    rmdir(b.path);
    for (int i = 0; i < 2; i++) {
        kill(receivers[i], SIGKILL);
        waitpid(receivers[i], NULL, 0);
    }
    return 0;
}
