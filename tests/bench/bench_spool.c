/* Spool stages alone, each beside its yardstick, in one run. One line a figure.
 *
 *   DIR [GB [BATCH_MB]]  append, drain, a writer with company, codecs; 1 GB, batches of 10 and 1 MB
 *   DIR --company GB     of these the writer with company alone
 *   DIR --flat GB...     the cost of append, drain, ack, head deletion, open and look-up at a
 * backlog DIR --turn GB LIVE   turns GB over with LIVE GB undelivered; what the folder takes at
 * most
 *
 * A durable append is compared with the same bytes by pwrite + fdatasync, page cache handled
 * equally: both give back what they synced. Rounds alternate, so that a disk that changes its mind
 * hits both; what is told of them is the median of the rounds' ratios. size: one yardstick, one set
 * of helpers; the modes are independent functions one after the other. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slsrelay/spool.h"

#include "base/clock.h"
#include "base/cursor.h"
#include "base/warm.h"

enum { FRAME_BYTES = 818, ROUNDS = 24, ROUND_BATCHES = 5, DROP_BYTES = 4 * 1024 * 1024 };

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct lap { /* added up over rounds */
    double cpu, wall, bytes;
};

struct mark {
    double cpu;
    int64_t wall_ns;
};

static struct mark start(void)
{
    return (struct mark){cpu_s(), clock_mono_ns()};
}

static void stop(struct lap *lap, struct mark from, double bytes)
{
    lap->cpu += cpu_s() - from.cpu;
    lap->wall += (double)(clock_mono_ns() - from.wall_ns) / 1e9;
    lap->bytes += bytes;
}

static void add_lap(struct lap *sum, const struct lap *lap)
{
    sum->cpu += lap->cpu;
    sum->wall += lap->wall;
    sum->bytes += lap->bytes;
}

static void print_lap(const char *stage, const struct lap *lap)
{
    printf("%-28s %8.3f CPU-s/GB  %8.0f MB/s\n", stage, lap->cpu / lap->bytes * 1e9,
           lap->bytes / lap->wall / 1e6);
    fflush(stdout);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The values are put in order. */
static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_size);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void die(const char *what, const struct slsr_err *err)
{
    fprintf(stderr, "slsr-bench-spool: %s: %s\n", what, err->text);
    exit(1);
}

/* Text like audit logs: words and numbers, so that lz4 has something to do. */
static void make_batch(struct slsr_batch *batch, size_t bytes)
{
    static const char *const words[] = {
        "user=",  "action=", "GetObject", "bucket=", "result=", "success",  "source=", "10.1.",
        "trace=", "region=", "cn-hz",     "agent=",  "sdk/2.1", "latency=", "||"};
    const size_t count = bytes / (FRAME_BYTES + 4) + 1;
    uint64_t x = 88172645463325252u;

    slsr_batch_init(batch);
    batch->data = malloc(count * (FRAME_BYTES + 4) + 64);
    batch->meta = calloc(count, sizeof *batch->meta);
    if (batch->data == NULL || batch->meta == NULL)
        exit(1);
    cursor_text(1500000000000000000u, batch->cursor);
    for (size_t i = 0; i < count; i++) {
        char *p = batch->data + batch->used;
        size_t n = 4;

        memcpy(p, "818 ", 4);
        while (n < FRAME_BYTES + 4) {
            char word[40];
            size_t len;

            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            len = (size_t)snprintf(word, sizeof word, "%s%llx", words[x % 15],
                                   (unsigned long long)(x >> 40));
            if (len > FRAME_BYTES + 4 - n)
                len = FRAME_BYTES + 4 - n;
            memcpy(p + n, word, len);
            n += len;
        }
        batch->used += n;
        batch->meta[i].end = (uint32_t)batch->used;
        batch->meta[i].time_s = (uint32_t)(1735787045 + i / 100);
    }
    batch->frame_count = count;
}

/* --- the yardstick --- */

struct plain {
    int fd;
    off_t at;
    atomic_llong synced; /* of it, for a follower */
    bool followed;       /* who then gives the pages back */
    char path[4096];
};

static void plain_open(struct plain *plain, const char *dir)
{
    snprintf(plain->path, sizeof plain->path, "%s/plain", dir);
    plain->fd = open(plain->path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    plain->at = 0;
    plain->synced = 0;
    plain->followed = false;
    if (plain->fd < 0)
        exit(1);
}

static void plain_round(struct plain *plain, const struct slsr_batch *batch, size_t batches,
                        struct lap *lap)
{
    const struct mark from = start();

    for (size_t i = 0; i < batches; i++) {
        if (pwrite(plain->fd, batch->data, batch->used, plain->at) < 0 || fdatasync(plain->fd) != 0)
            exit(1);
        if (!plain->followed)
            posix_fadvise(plain->fd, plain->at, (off_t)batch->used, POSIX_FADV_DONTNEED);
        plain->at += (off_t)batch->used;
        plain->synced = plain->at;
    }
    stop(lap, from, (double)batches * (double)batch->used);
}

static void plain_close(struct plain *plain)
{
    close(plain->fd);
    unlink(plain->path);
}

/* --- the spool --- */

static struct slsr_spool *open_spool(const char *path, const struct slsr_spool_config *like)
{
    struct slsr_spool_config config = *like;
    struct slsr_spool *spool;
    struct slsr_err err;

    config.path = (char *)(uintptr_t)path;
    if (slsr_spool_open(&spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        die("open", &err);
    return spool;
}

/* As a shard does it: two batches take turns, one is prepared while the other commits. */
static void append_round(struct slsr_spool *spool, const struct slsr_batch *batch, size_t batches,
                         struct lap *lap)
{
    struct slsr_checkpoint cp = {.stream = {"bench", "audit", 0}, .cursor = "MA=="};
    struct slsr_ticket lanes[2] = {{0}, {0}};
    struct slsr_err err;
    const struct mark from = start();

    for (size_t i = 0; i < batches; i++) {
        if (i > 1 && slsr_spool_settle(spool, &lanes[i % 2], &err) != 0)
            die("append", &err);
        lanes[i % 2] = (struct slsr_ticket){0};
        if (slsr_spool_submit(spool, &lanes[i % 2], batch, &cp, &err) != 0)
            die("append", &err);
    }
    for (size_t i = 0; i < 2 && i < batches; i++)
        if (slsr_spool_settle(spool, &lanes[i], &err) != 0)
            die("append", &err);
    stop(lap, from, (double)batches * (double)batch->used);
}

/* A shard's lane: its batch's memory may be the spool's when the ticket is settled. */
struct lane {
    struct slsr_batch batch;
    struct slsr_ticket ticket;
};

static void fill(struct lane *lane, const struct slsr_batch *from)
{
    struct slsr_batch *batch = &lane->batch;
    const size_t meta_bytes = from->frame_count * sizeof *from->meta;
    size_t size;

    if (batch->data == NULL) {
        batch->data = warm_take(from->used, &batch->size);
        batch->meta = warm_take(meta_bytes, &size);
        batch->meta_size = size / sizeof *batch->meta;
    }
    if (batch->data == NULL || batch->meta == NULL)
        exit(1);
    memcpy(batch->data, from->data, from->used);
    memcpy(batch->meta, from->meta, meta_bytes);
    batch->used = from->used;
    batch->frame_count = from->frame_count;
    memcpy(batch->cursor, from->cursor, sizeof batch->cursor);
}

/* The same as the relay does it: each batch is written anew, into memory that the spool may keep
 * for its senders. */
static void gift_round(struct slsr_spool *spool, const struct slsr_batch *batch, size_t batches,
                       struct lap *lap)
{
    struct slsr_checkpoint cp = {.stream = {"bench", "audit", 0}, .cursor = "MA=="};
    struct lane lanes[2] = {{.batch = {0}}};
    struct slsr_err err;
    const struct mark from = start();

    for (size_t i = 0; i < batches; i++) {
        struct lane *lane = &lanes[i % 2];

        if (i > 1 && slsr_spool_settle(spool, &lane->ticket, &err) != 0)
            die("append", &err);
        fill(lane, batch);
        lane->ticket = (struct slsr_ticket){.gift = &lane->batch};
        if (slsr_spool_submit(spool, &lane->ticket, &lane->batch, &cp, &err) != 0)
            die("append", &err);
    }
    for (size_t i = 0; i < 2; i++) {
        if (i < batches && slsr_spool_settle(spool, &lanes[i].ticket, &err) != 0)
            die("append", &err);
        warm_give(lanes[i].batch.data, lanes[i].batch.size);
        warm_give(lanes[i].batch.meta, lanes[i].batch.meta_size * sizeof *batch->meta);
    }
    stop(lap, from, (double)batches * (double)batch->used);
}

static void append_each(struct slsr_spool *spool, const struct slsr_batch *batch, size_t batches,
                        struct lap *lap)
{
    struct slsr_checkpoint cp = {.stream = {"bench", "audit", 0}, .cursor = "MA=="};
    struct slsr_err err;
    const struct mark from = start();

    for (size_t i = 0; i < batches; i++)
        if (slsr_spool_append(spool, batch, &cp, NULL, &err) != 0)
            die("append", &err);
    stop(lap, from, (double)batches * (double)batch->used);
}

static double drain(struct slsr_spool *spool, uint64_t from_seq, uint64_t to, struct lap *lap)
{
    const struct mark from = start();
    struct slsr_range *range;
    struct slsr_run run;
    struct slsr_err err;
    double seen = 0;

    if (slsr_range_open(&range, spool, from_seq, to, &err) != 0)
        die("drain", &err);
    while (slsr_range_next_run(range, 256 * 1024, &run, &err) == 0)
        seen += (double)run.wire.n;
    slsr_range_close(range);
    stop(lap, from, seen);
    return seen;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char file[4400];

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') {
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            unlink(file);
        }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

static void bench_ratio(const char *dir, double gb, double batch_mb, bool with_drain)
{
    const struct slsr_spool_config like = {.max_size_bytes = 1LL << 40};
    struct lap plain_lap = {0};
    struct lap pipelined = {0};
    struct lap each = {0};
    struct lap drained = {0};
    struct slsr_batch batch;
    struct slsr_spool *spool;
    struct plain plain;
    double ratios[2][ROUNDS];
    char path[4096];
    char label[64];
    size_t rounds;
    size_t batches;

    make_batch(&batch, (size_t)(batch_mb * 1e6));
    batches = (size_t)(gb * 1e9 / (double)batch.used) + 1;
    rounds = batches / ROUND_BATCHES < 3        ? 3
             : batches / ROUND_BATCHES > ROUNDS ? ROUNDS
                                                : batches / ROUND_BATCHES;
    batches = batches / rounds + 1;
    snprintf(path, sizeof path, "%s/spool", dir);
    plain_open(&plain, dir);
    spool = open_spool(path, &like);
    for (size_t i = 0; i < rounds; i++) {
        const double before[3] = {plain_lap.wall, pipelined.wall, each.wall};

        plain_round(&plain, &batch, batches, &plain_lap);
        append_round(spool, &batch, batches, &pipelined);
        append_each(spool, &batch, batches, &each);
        ratios[0][i] = (pipelined.wall - before[1]) / (plain_lap.wall - before[0]);
        ratios[1][i] = (each.wall - before[2]) / (plain_lap.wall - before[0]);
    }
    plain_close(&plain);
    snprintf(label, sizeof label, "pwrite+fdatasync %g MB", batch_mb);
    print_lap(label, &plain_lap);
    snprintf(label, sizeof label, "append %g MB", batch_mb);
    print_lap(label, &pipelined);
    snprintf(label, sizeof label, "append %g MB, one by one", batch_mb);
    print_lap(label, &each);
    printf("ratio of time, append %g MB to pwrite+fdatasync, median of %zu rounds: %.2f (of all "
           "together %.2f), one by one %.2f (%.2f)\n",
           batch_mb, rounds, median(ratios[0], rounds), pipelined.wall / plain_lap.wall,
           median(ratios[1], rounds), each.wall / plain_lap.wall);
    if (with_drain) {
        const double bytes = (double)batch.used * (double)batches * (double)rounds * 2;

        /* a sender gives back what it has passed, so its second time is as cold; a reader with an
         * end does not, so its second time is from memory */
        for (int pass = 0; pass < 3; pass++) {
            drained = (struct lap){0};
            if (drain(spool, 1, pass > 0 ? UINT64_MAX - 1 : UINT64_MAX, &drained) != bytes)
                exit(1);
            if (pass != 1)
                print_lap(pass > 0 ? "drain, in memory" : "drain, cold", &drained);
        }
    }
    slsr_spool_close(spool);
    remove_tree(path);
    slsr_batch_fini(&batch);
}

static void bench_codec(const char *dir, const char *name, const struct slsr_spool_config *like,
                        double gb)
{
    struct lap appended = {0};
    struct lap drained = {0};
    struct slsr_batch batch;
    struct slsr_spool_stat stat;
    struct slsr_spool *spool;
    struct slsr_err err;
    char path[4096];
    char label[64];

    make_batch(&batch, 10000000);
    snprintf(path, sizeof path, "%s/codec", dir);
    spool = open_spool(path, like);
    append_round(spool, &batch, (size_t)(gb * 1e9 / (double)batch.used) + 1, &appended);
    drain(spool, 1, UINT64_MAX, &drained);
    if (slsr_spool_stat(spool, &stat, &err) != 0)
        die("stat", &err);
    snprintf(label, sizeof label, "append %s", name);
    print_lap(label, &appended);
    snprintf(label, sizeof label, "drain %s", name);
    print_lap(label, &drained);
    slsr_spool_close(spool);
    remove_tree(path);
    slsr_batch_fini(&batch);
}

static void bench_codecs(const char *dir, double gb)
{
    struct slsr_spool_config like = {.max_size_bytes = 1LL << 40};
    char key[4096];
    FILE *file;

    snprintf(key, sizeof key, "%s/key", dir);
    file = fopen(key, "w");
    if (file == NULL)
        exit(1);
    fputs("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", file);
    fclose(file);
    chmod(key, 0600);
    like.compression = SLSR_COMPRESSION_LZ4;
    bench_codec(dir, "lz4", &like, gb);
    like.encryption_key_file = key;
    bench_codec(dir, "lz4 + aes-256-gcm", &like, gb);
    like.compression = SLSR_COMPRESSION_NONE;
    bench_codec(dir, "aes-256-gcm", &like, gb);
    unlink(key);
}

/* --- a writer with company --- */

enum { COMPANY_ROUNDS = 5, WARM_UP = 8 /* batches */ };

struct company {
    struct slsr_spool *spool;
    struct plain plain;
    char path[4096];
    atomic_bool done;
    atomic_ullong passed;        /* bytes, by the sender */
    double tool_cpu, tool_bytes; /* of our tail, added up over rounds */
};

/* A sender that copies all, as sending would, and acknowledges every 4 MB. */
static void *acking_sender(void *arg)
{
    static char out[256 * 1024];
    struct company *c = arg;
    struct slsr_target_state target;
    struct slsr_range *range;
    struct slsr_run run;
    struct slsr_err err;
    size_t since = 0;

    if (slsr_spool_target_add(c->spool, "bench", &target, &err) != 0 ||
        slsr_range_open(&range, c->spool, target.acked, UINT64_MAX, &err) != 0)
        die("sender", &err);
    while (!c->done) {
        if (slsr_range_next_run(range, 256 * 1024, &run, &err) != 0) {
            usleep(1000);
            continue;
        }
        memcpy(out, run.wire.p, run.wire.n < sizeof out ? run.wire.n : sizeof out);
        since += run.wire.n;
        c->passed += run.wire.n;
        if (since < 4000000)
            continue;
        since = 0;
        target.acked = run.first + run.count;
        if (slsr_spool_ack(c->spool, &target, &err) != 0)
            die("ack", &err);
    }
    slsr_range_close(range);
    return NULL;
}

/* A tool in a process of its own that follows the newest frames; or, beside the plain file, the
 * system's tail. Not by fork: the writer would pay for its pages' being shared. */
static pid_t tail_tool(const char *path, bool plain)
{
    const char *const system_tail[] = {"tail", "-f", "-c", "1", path, NULL};
    const char *const ours[] = {"sls-spool", "-D", path, "tail", "-f", NULL};
    char *const *args = (char *const *)(uintptr_t)(plain ? system_tail : ours);
    posix_spawn_file_actions_t files;
    char exe[4096];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 16);
    pid_t pid;
    int rc;

    exe[n > 0 ? n : 0] = '\0';
    strcpy(strrchr(exe, '/') + 1, "sls-spool");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    rc = plain ? posix_spawnp(&pid, "tail", &files, NULL, args, environ)
               : posix_spawn(&pid, exe, &files, NULL, args, environ);
    posix_spawn_file_actions_destroy(&files);
    if (rc != 0)
        exit(1);
    return pid;
}

/* Ends it; what it took and wrote is added up. */
static void end_tool(struct company *c, pid_t pid, bool plain)
{
    struct rusage u = {0};
    unsigned long long wrote = 0;
    char path[64];
    char line[128];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "wchar: ", 7) == 0)
            wrote = strtoull(line + 7, NULL, 10);
    if (file != NULL)
        fclose(file);
    if (kill(pid, SIGKILL) != 0 || wait4(pid, NULL, 0, &u) != pid)
        exit(1);
    if (plain)
        return;
    c->tool_bytes += (double)wrote;
    c->tool_cpu += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                   (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* The least that a sender could do: reads what was synced, gives its pages back, and syncs a
 * position in a file of its own ten times a second. */
static void *plain_follower(void *arg)
{
    struct company *c = arg;
    struct plain *plain = &c->plain;
    char *buf = malloc(256 * 1024);
    const int in = open(plain->path, O_RDONLY);
    const int positions = open(c->path, O_CREAT | O_WRONLY, 0600);
    off_t at = plain->at;
    off_t dropped = at;
    int64_t stored = 0;

    if (buf == NULL || in < 0 || positions < 0)
        exit(1);
    while (!c->done) {
        const off_t left = plain->synced - at;

        if (left <= 0) {
            usleep(1000);
            continue;
        }
        at += pread(in, buf, left < 256 * 1024 ? (size_t)left : 256 * 1024, at);
        if (at - dropped >= 2 * DROP_BYTES) { /* once more from before: folios lie across */
            posix_fadvise(in, dropped, at - dropped, POSIX_FADV_DONTNEED);
            dropped = at - DROP_BYTES;
        }
        if (clock_mono_ms() - stored >= 100) {
            if (pwrite(positions, buf, 4096, 0) < 0 || fdatasync(positions) != 0)
                exit(1);
            stored = clock_mono_ms();
        }
    }
    close(in);
    close(positions);
    unlink(c->path);
    free(buf);
    return NULL;
}

/* The same company around pwrite + fdatasync: what of it the machine takes from any writer. Half of
 * the lap alone is before the others and half behind: the first pays for what went on before. */
static void plain_company(struct company *c, const struct slsr_batch *batch, size_t batches,
                          struct lap laps[3])
{
    pthread_t thread;
    pid_t tool;

    plain_round(&c->plain, batch, WARM_UP, &(struct lap){0});
    plain_round(&c->plain, batch, batches / 2, &laps[0]);
    c->plain.followed = true;
    c->done = false;
    if (pthread_create(&thread, NULL, plain_follower, c) != 0)
        exit(1);
    plain_round(&c->plain, batch, batches, &laps[1]);
    tool = tail_tool(c->plain.path, true);
    plain_round(&c->plain, batch, batches, &laps[2]);
    c->done = true;
    pthread_join(thread, NULL);
    end_tool(c, tool, true);
    c->plain.followed = false;
    plain_round(&c->plain, batch, batches - batches / 2, &laps[0]);
}

static void spool_company(struct company *c, const struct slsr_batch *batch, size_t batches,
                          struct lap laps[3])
{
    struct slsr_target_state target;
    pthread_t thread;
    uint64_t oldest;
    pid_t tool;

    if (slsr_spool_target_add(c->spool, "bench", &target, NULL) != 0)
        exit(1);
    gift_round(c->spool, batch, WARM_UP, &(struct lap){0});
    gift_round(c->spool, batch, batches / 2, &laps[0]);
    slsr_spool_bounds(c->spool, &oldest, &target.acked, NULL);
    slsr_spool_ack(c->spool, &target, NULL); /* the sender is where the writer is */
    c->done = false;
    if (pthread_create(&thread, NULL, acking_sender, c) != 0)
        exit(1);
    gift_round(c->spool, batch, batches, &laps[1]);
    tool = tail_tool(c->path, false);
    gift_round(c->spool, batch, batches, &laps[2]);
    c->done = true;
    pthread_join(thread, NULL);
    end_tool(c, tool, false);
    gift_round(c->spool, batch, batches - batches / 2, &laps[0]);
}

static void bench_company(const char *dir, double gb)
{
    const struct slsr_spool_config like = {.max_size_bytes = 1LL << 40};
    struct company c = {0};
    struct lap ours[3] = {{0}};
    struct lap plain[3] = {{0}};
    double ratios[2][3][COMPANY_ROUNDS];
    struct slsr_batch batch;
    char path[4096];
    size_t batches;

    make_batch(&batch, 10000000);
    batches = (size_t)(gb * 1e9 / (double)batch.used / COMPANY_ROUNDS) + 1;
    snprintf(path, sizeof path, "%s/company", dir);
    plain_open(&c.plain, dir);
    c.spool = open_spool(path, &like);
    append_round(c.spool, &batch, 4, &(struct lap){0});
    for (int i = 0; i < COMPANY_ROUNDS; i++) {
        struct lap one[2][3] = {{{0}}};

        snprintf(c.path, sizeof c.path, "%s/position", dir);
        plain_company(&c, &batch, batches, one[0]);
        snprintf(c.path, sizeof c.path, "%s", path);
        spool_company(&c, &batch, batches, one[1]);
        for (int k = 0; k < 3; k++) {
            add_lap(&plain[k], &one[0][k]);
            add_lap(&ours[k], &one[1][k]);
            ratios[0][k][i] = one[0][k].wall / one[0][0].wall;
            ratios[1][k][i] = one[1][k].wall / one[1][0].wall;
        }
    }
    print_lap("append alone", &ours[0]);
    print_lap("append + acking sender", &ours[1]);
    print_lap("append + sender + tail -f", &ours[2]);
    printf("meanwhile the sender passed %.0f %%, tail -f %.0f %% with %.3f CPU-s/GB\n",
           (double)c.passed / (ours[1].bytes + ours[2].bytes) * 1e2,
           c.tool_bytes / ours[2].bytes * 1e2, c.tool_cpu / c.tool_bytes * 1e9);
    printf("writer's time against alone, median of %d rounds: sender %.2f, sender and tool %.2f; "
           "plain write: %.2f, %.2f\n",
           COMPANY_ROUNDS, median(ratios[1][1], COMPANY_ROUNDS),
           median(ratios[1][2], COMPANY_ROUNDS), median(ratios[0][1], COMPANY_ROUNDS),
           median(ratios[0][2], COMPANY_ROUNDS));
    plain_close(&c.plain);
    slsr_spool_close(c.spool);
    remove_tree(path);
    slsr_batch_fini(&batch);
}

/* --- cost at a backlog --- */

static double folder_bytes(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    struct stat st;
    double sum = 0;
    char file[4400];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(file, &st) == 0)
            sum += (double)st.st_blocks * 512;
    }
    if (dir != NULL)
        closedir(dir);
    return sum;
}

static void settle_at(struct slsr_spool *spool, struct slsr_target_state *target, uint64_t seq)
{
    struct slsr_err err;

    target->acked = seq;
    if (slsr_spool_ack(spool, target, &err) != 0)
        die("ack", &err);
}

/* Waits until the first frame is not older than seq, and until the keeper's next turn, which closes
 * the file: only that gives the blocks back. */
static void await_deletion(struct slsr_spool *spool, uint64_t seq)
{
    uint64_t oldest = 0;
    uint64_t next;

    for (int i = 0; i < 6000 && oldest < seq; i++) {
        usleep(10000);
        slsr_spool_bounds(spool, &oldest, &next, NULL);
    }
    if (oldest < seq)
        exit(1);
    usleep(1000000);
}

static double lookup_us(struct slsr_spool *spool, uint64_t oldest, uint64_t next)
{
    const int64_t from = clock_mono_ns();
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    int n = 0;

    for (uint64_t seq = oldest; seq < next; seq += (next - oldest) / 200 + 1, n++) {
        if (slsr_range_open(&range, spool, seq, seq + 1, &err) != 0 ||
            slsr_range_next(range, &frame, &err) != 0 || frame.seq != seq)
            die("look-up", &err);
        slsr_range_close(range);
    }
    return (double)(clock_mono_ns() - from) / 1e3 / n;
}

/* CPU of the thread that deletes; the poll beside it costs as much. */
static double keeper_cpu_s(void)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned long long ns = 0;
    char path[300];
    char name[32];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(name, sizeof name, file) == NULL || strcmp(name, "spool-keeper\n") != 0)
            name[0] = '\0';
        fclose(file);
        if (name[0] == '\0')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/schedstat", entry->d_name);
        file = fopen(path, "r");
        if (file != NULL && fscanf(file, "%llu", &ns) != 1)
            ns = 0;
        if (file != NULL)
            fclose(file);
    }
    if (dir != NULL)
        closedir(dir);
    return (double)ns / 1e9;
}

enum { FLAT_ROUNDS = 5, FLAT_COLUMNS = 7 };

static double cpu_per_gb(const struct lap *lap)
{
    return lap->cpu / lap->bytes * 1e9;
}

/* As much as a segment is added at the end, then one goes at the head. */
static double delete_head(struct slsr_spool *spool, struct slsr_target_state *target,
                          const struct slsr_batch *batch, struct lap *append)
{
    struct slsr_spool_stat stat;
    struct slsr_err err;
    double before;

    append_round(spool, batch, (size_t)(1.08e9 / (double)batch->used), append);
    if (slsr_spool_stat(spool, &stat, &err) != 0)
        die("flat", &err);
    before = keeper_cpu_s();
    settle_at(spool, target, stat.oldest_seq + (uint64_t)(1.2e9 / (FRAME_BYTES + 4)));
    await_deletion(spool, stat.oldest_seq + 1);
    return keeper_cpu_s() - before;
}

struct flat {
    struct slsr_spool *spool;
    struct slsr_target_state target;
    char path[4096];
};

static void flat_open(struct flat *flat, const struct slsr_spool_config *like)
{
    struct slsr_err err;

    flat->spool = open_spool(flat->path, like);
    if (slsr_spool_target_add(flat->spool, "bench", &flat->target, &err) != 0)
        die("flat", &err);
}

static void flat_grow(struct flat *flat, const struct slsr_batch *batch, double gb)
{
    struct slsr_spool_stat stat = {0};

    while (slsr_spool_stat(flat->spool, &stat, NULL) == 0 && (double)stat.bytes < gb * 1e9)
        append_round(flat->spool, batch, 8, &(struct lap){0});
}

/* Every column once; the backlog stays as it is. */
static void flat_round(struct flat *flat, const struct slsr_spool_config *like,
                       const struct slsr_batch *batch, double out[FLAT_COLUMNS])
{
    const size_t probe = (size_t)(0.15e9 / (double)batch->used) + 1;
    const uint64_t step = probe * batch->frame_count;
    struct slsr_spool_stat stat;
    struct lap append = {0};
    struct lap first = {0};
    struct lap middle = {0};
    struct mark from;
    struct slsr_err err;

    append_round(flat->spool, batch, probe, &append);
    if (slsr_spool_stat(flat->spool, &stat, &err) != 0)
        die("flat", &err);
    drain(flat->spool, stat.oldest_seq, stat.oldest_seq + step, &first);
    drain(flat->spool, stat.oldest_seq + stat.frames / 2, stat.oldest_seq + stat.frames / 2 + step,
          &middle);
    out[1] = cpu_per_gb(&first);
    out[2] = cpu_per_gb(&middle);
    from = start();
    for (uint64_t k = 0; k < 1000; k++) {
        settle_at(flat->spool, &flat->target, stat.oldest_seq + k);
        usleep(100);
    }
    out[3] = (cpu_s() - from.cpu) * 1e3;
    from = start();
    slsr_spool_close(flat->spool);
    flat_open(flat, like);
    out[5] = (double)(clock_mono_ns() - from.wall_ns) / 1e6;
    out[6] = lookup_us(flat->spool, stat.oldest_seq, stat.next_seq);
    out[4] = delete_head(flat->spool, &flat->target, batch, &append);
    out[0] = cpu_per_gb(&append); /* of all that came, for a tenth of a second tells little */
}

static void print_row(const char *name, double columns[FLAT_COLUMNS][FLAT_ROUNDS],
                      const int digits[FLAT_COLUMNS])
{
    printf("%8s", name);
    for (int i = 0; i < FLAT_COLUMNS; i++)
        printf("  %13.*f", digits[i], median(columns[i], FLAT_ROUNDS));
    printf("\n");
    fflush(stdout);
}

/* Each backlog beside one of 1 GB, in turns: what the machine does meanwhile meets both. */
static void bench_flat(const char *dir, int count, char **sizes)
{
    static const int units[FLAT_COLUMNS] = {3, 3, 3, 1, 5, 1, 0};
    static const int shares[FLAT_COLUMNS] = {2, 2, 2, 2, 2, 2, 2};
    const struct slsr_spool_config like = {
        .max_size_bytes = 1LL << 40, .retention_size_bytes = 1, .retention_time_ms = 86400000};
    struct flat small;
    struct flat large;
    struct slsr_batch batch;

    make_batch(&batch, 10000000);
    snprintf(small.path, sizeof small.path, "%s/flat-small", dir);
    snprintf(large.path, sizeof large.path, "%s/flat", dir);
    flat_open(&small, &like);
    flat_open(&large, &like);
    flat_grow(&small, &batch, 1);
    printf("medians of %d rounds\n%8s  %13s  %13s  %13s  %13s  %13s  %13s  %13s\n", FLAT_ROUNDS,
           "backlog", "append", "drain head", "drain middle", "1000 acks", "head deletion",
           "close+open", "look-up");
    printf("%8s  %13s  %13s  %13s  %13s  %13s  %13s  %13s\n", "GB", "CPU-s/GB", "CPU-s/GB",
           "CPU-s/GB", "CPU-ms", "CPU-s/GiB", "ms", "us");
    for (int i = 0; i < count; i++) {
        double alone[FLAT_COLUMNS][FLAT_ROUNDS];
        double beside[FLAT_COLUMNS][FLAT_ROUNDS];

        flat_grow(&large, &batch, atof(sizes[i]));
        for (int r = 0; r < FLAT_ROUNDS; r++) {
            double columns[2][FLAT_COLUMNS];

            flat_round(&small, &like, &batch, columns[0]);
            flat_round(&large, &like, &batch, columns[1]);
            for (int k = 0; k < FLAT_COLUMNS; k++) {
                alone[k][r] = columns[1][k];
                beside[k][r] = columns[1][k] / columns[0][k];
            }
        }
        print_row(sizes[i], alone, units);
        print_row("to 1 GB", beside, shares);
    }
    slsr_spool_close(small.spool);
    slsr_spool_close(large.spool);
    remove_tree(small.path);
    remove_tree(large.path);
    slsr_batch_fini(&batch);
}

/* Bytes on the disk of a frame and what belongs to it (its line in the chunk's table, the chunk's
 * last page, the trees), from the files of sealed segments; 0: there is none. */
static double frame_disk_bytes(const char *path, uint64_t oldest)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    struct stat st;
    uint64_t active = 0;
    uint64_t first;
    double sum = 0;
    double last = 0;
    char file[4400];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (sscanf(entry->d_name, "seg-%16" SCNx64 ".mdb", &first) != 1 ||
            strlen(entry->d_name) != 24 || stat(file, &st) != 0)
            continue;
        sum += (double)st.st_blocks * 512;
        if (first > active) {
            active = first;
            last = (double)st.st_blocks * 512;
        }
    }
    if (dir != NULL)
        closedir(dir);
    return active > oldest ? (sum - last) / (double)(active - oldest) : 0;
}

/* Frames come and go with `live` GB undelivered; what the folder takes at most. */
static void bench_turn(const char *dir, double gb, double live_gb)
{
    /* small segments for small runs, so that the claim "live and one segment" means something */
    const double segment = live_gb >= 2 ? 1073741824.0 : live_gb * 1e9 / 4;
    const struct slsr_spool_config like = {.max_size_bytes =
                                               live_gb >= 2 ? 1LL << 40 : (int64_t)(segment * 10),
                                           .retention_size_bytes = 1};
    struct slsr_target_state target;
    struct slsr_batch batch;
    struct slsr_spool *spool;
    struct slsr_err err;
    struct lap lap = {0};
    double done = 0;
    double most = 0;
    double each;
    uint64_t behind;
    uint64_t oldest;
    uint64_t next;
    char path[4096];

    make_batch(&batch, 10000000);
    behind = (uint64_t)(live_gb * 1e9 / (FRAME_BYTES + 4));
    snprintf(path, sizeof path, "%s/turn", dir);
    spool = open_spool(path, &like);
    if (slsr_spool_target_add(spool, "bench", &target, &err) != 0)
        die("turn", &err);
    while (done < gb * 1e9) {
        append_round(spool, &batch, 4, &lap);
        done = lap.bytes;
        slsr_spool_bounds(spool, &oldest, &next, &err);
        if (next > behind + 1) {
            settle_at(spool, &target, next - behind);
            slsr_spool_wait_room(spool, NULL, 0, &err); /* what the second's timer would do */
        }
        if (folder_bytes(path) > most)
            most = folder_bytes(path);
    }
    slsr_spool_bounds(spool, &oldest, &next, &err);
    each = frame_disk_bytes(path, oldest);
    settle_at(spool, &target, next);
    slsr_spool_close(spool);
    spool = open_spool(path, &like);
    usleep(2500000);
    print_lap("turned over", &lap);
    printf(
        "folder at most %.0f MB; live %.0f MB on the disk (%.3f of the frames' bytes), one segment "
        "%.0f MB, together %.0f MB; all delivered: %.0f MB\n",
        most / 1e6, each * (double)behind / 1e6, each / (FRAME_BYTES + 4), segment / 1e6,
        (each * (double)behind + segment) / 1e6, folder_bytes(path) / 1e6);
    slsr_spool_close(spool);
    remove_tree(path);
    slsr_batch_fini(&batch);
}

int main(int argc, char **argv)
{
    const double gb = argc > 2 ? atof(argv[2]) : 1;

    if (argc < 2) {
        fprintf(stderr,
                "usage: slsr-bench-spool DIR [GB [BATCH_MB] | --company GB | --flat GB... | "
                "--turn GB LIVE_GB]\n");
        return 64;
    }
    if (argc > 3 && strcmp(argv[2], "--flat") == 0) {
        bench_flat(argv[1], argc - 3, argv + 3);
    } else if (argc > 4 && strcmp(argv[2], "--turn") == 0) {
        bench_turn(argv[1], atof(argv[3]), atof(argv[4]));
    } else if (argc > 3 && strcmp(argv[2], "--company") == 0) {
        bench_company(argv[1], atof(argv[3]));
    } else if (argc > 3) {
        bench_ratio(argv[1], gb, atof(argv[3]), true);
    } else {
        bench_ratio(argv[1], gb, 10, true);
        bench_ratio(argv[1], gb, 1, false);
        bench_company(argv[1], gb);
        bench_codecs(argv[1], gb / 2);
    }
    return 0;
}
