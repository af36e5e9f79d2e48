/* Spool stages alone: durable append of batches, and drain (read, verify, hand out), beside the
 * same bytes by pwrite + fdatasync. Prints CPU-seconds per GB of frames and wall MB/s; one line a
 * stage.
 *
 *   slsr-bench-spool DIR [GB [BATCH_MB]]        defaults 1 GB in batches of 10 MB
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "slsrelay/spool.h"

#include "base/clock.h"
#include "base/cursor.h"

enum { FRAME_BYTES = 818 };

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct lap {
    double cpu;
    int64_t wall_ns;
};

static struct lap start(void)
{
    return (struct lap){cpu_s(), clock_mono_ns()};
}

static void print_lap(const char *stage, struct lap from, double bytes)
{
    const double wall = (double)(clock_mono_ns() - from.wall_ns) / 1e9;

    printf("%-22s %8.3f CPU-s/GB  %8.0f MB/s\n", stage, (cpu_s() - from.cpu) / bytes * 1e9,
           bytes / wall / 1e6);
    fflush(stdout);
}

static void die(const char *what, const struct slsr_err *err)
{
    fprintf(stderr, "slsr-bench-spool: %s: %s\n", what, err->text);
    exit(1);
}

static void make_batch(struct slsr_batch *batch, size_t bytes)
{
    const size_t count = bytes / (FRAME_BYTES + 4);
    uint64_t x = 88172645463325252u;

    slsr_batch_init(batch);
    batch->data = malloc(count * (FRAME_BYTES + 4));
    batch->meta = calloc(count, sizeof *batch->meta);
    if (batch->data == NULL || batch->meta == NULL)
        exit(1);
    cursor_text(1500000000000000000u, batch->cursor);
    for (size_t i = 0; i < count; i++) {
        char *p = batch->data + batch->used;

        memcpy(p, "818 ", 4);
        for (size_t k = 0; k < FRAME_BYTES; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            p[4 + k] = (char)(' ' + x % 95);
        }
        batch->used += FRAME_BYTES + 4;
        batch->meta[i].end = (uint32_t)batch->used;
        batch->meta[i].time_s = (uint32_t)(1735787045 + i / 100);
    }
    batch->frame_count = count;
}

static void bench_plain(const char *dir, const struct slsr_batch *batch, size_t batches)
{
    char path[4096];
    struct lap lap;
    int fd;

    snprintf(path, sizeof path, "%s/plain", dir);
    fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    lap = start();
    for (size_t i = 0; i < batches; i++)
        if (pwrite(fd, batch->data, batch->used, (off_t)(i * batch->used)) < 0 ||
            fdatasync(fd) != 0)
            exit(1);
    print_lap("pwrite+fdatasync", lap, (double)batches * (double)batch->used);
    close(fd);
    unlink(path);
}

static void bench_append(struct slsr_spool *spool, const struct slsr_batch *batch, size_t batches)
{
    struct slsr_checkpoint cp = {.stream = {"bench", "audit", 0}, .cursor = "MA=="};
    struct slsr_err err;
    struct lap lap = start();

    for (size_t i = 0; i < batches; i++)
        if (slsr_spool_append(spool, batch, &cp, NULL, &err) != 0)
            die("append", &err);
    print_lap("append (durable)", lap, (double)batches * (double)batch->used);
}

static void bench_drain(struct slsr_spool *spool, double bytes)
{
    struct slsr_range *range;
    struct slsr_run run;
    struct slsr_err err;
    struct lap lap = start();
    double seen = 0;

    if (slsr_range_open(&range, spool, 1, UINT64_MAX, &err) != 0)
        die("drain", &err);
    while (slsr_range_next_run(range, 256 * 1024, &run, &err) == 0)
        seen += (double)run.wire.n;
    slsr_range_close(range);
    if (seen < bytes || seen > bytes) {
        fprintf(stderr, "slsr-bench-spool: drained %.0f of %.0f bytes\n", seen, bytes);
        exit(1);
    }
    print_lap("drain (verify, no copy)", lap, bytes);
}

int main(int argc, char **argv)
{
    struct slsr_spool_config config = {.max_size_bytes = 1LL << 40};
    struct slsr_batch batch;
    struct slsr_spool *spool;
    struct slsr_err err;
    char path[4096];
    size_t batches;

    if (argc < 2) {
        fprintf(stderr, "usage: slsr-bench-spool DIR [GB [BATCH_MB]]\n");
        return 64;
    }
    make_batch(&batch, (size_t)((argc > 3 ? atof(argv[3]) : 10) * 1e6));
    batches = (size_t)((argc > 2 ? atof(argv[2]) : 1) * 1e9 / (double)batch.used) + 1;
    snprintf(path, sizeof path, "%s/spool", argv[1]);
    config.path = path;
    bench_plain(argv[1], &batch, batches);
    if (slsr_spool_open(&spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        die("open", &err);
    bench_append(spool, &batch, batches);
    bench_drain(spool, (double)batches * (double)batch.used);
    bench_drain(spool, (double)batches * (double)batch.used);
    slsr_spool_close(spool);
    slsr_batch_fini(&batch);
    return 0;
}
