/* Flipped bits anywhere in a spool's files: a sentence and a quarantine, never a crash, never a
 * frame with wrong content, and the relay goes on. Each case runs in a child, so that a signal is
 * seen. SLSR_FLIPS=N asks for more cases than the usual ones; SLSR_SEED=N for other ones;
 * SLSR_CASE=N tries only that one, and SLSR_VERBOSE=1 shows what it says. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "slsrelay/ledger.h"
#include "slsrelay/spool.h"

#include "base/cursor.h"

enum { PAGE = 4096, FILES_MAX = 16 };

struct image {
    char name[100];
    unsigned char *bytes;
    size_t size;
};

static char dir[64];
static struct image files[FILES_MAX];
static size_t file_count;
static uint64_t frames; /* in the undamaged spool */

static struct slsr_spool_config config(void)
{
    return (struct slsr_spool_config){.path = dir, .max_size_bytes = 12 << 20};
}

static int append(struct slsr_spool *spool, uint64_t first, size_t n, size_t bytes, unsigned shard)
{
    struct slsr_checkpoint cp = {.stream = {"proj", "audit", shard}};
    struct slsr_batch batch;
    int rc;

    slsr_batch_init(&batch);
    batch.data = malloc(n * (bytes + 64));
    batch.meta = calloc(n, sizeof *batch.meta);
    if (batch.data == NULL || batch.meta == NULL)
        return SLSR_ENOMEM;
    cursor_text(5000 + first, batch.cursor);
    for (size_t i = 0; i < n; i++) {
        char text[64];
        const int len =
            snprintf(text, sizeof text, "message %llu ", (unsigned long long)(first + i));
        const size_t size = (size_t)len > bytes ? (size_t)len : bytes;

        batch.used += (size_t)sprintf(batch.data + batch.used, "%zu ", size);
        memset(batch.data + batch.used, 'x', size);
        memcpy(batch.data + batch.used, text, (size_t)len);
        batch.used += size;
        batch.meta[i].end = (uint32_t)batch.used;
        batch.meta[i].time_s = (uint32_t)(1000 + first + i);
    }
    batch.frame_count = n;
    cursor_text(5000 + first + n, cp.cursor);
    rc = slsr_spool_append(spool, &batch, &cp, NULL, NULL);
    slsr_batch_fini(&batch);
    return rc;
}

/* Some segments, chunks in leaves and in pages of their own, several shards. */
static void build(void)
{
    const struct slsr_spool_config c = config();
    struct slsr_target_state target;
    struct slsr_spool *spool;
    struct slsr_err err;

    if (slsr_spool_open(&spool, &c, SLSR_SPOOL_WRITE, &err) != 0)
        fail_msg("open: %s", err.text);
    assert_int_equal(slsr_spool_target_add(spool, "siem", &target, &err), 0);
    while (frames < 3300) {
        const size_t n = 1 + (size_t)(frames % 5);

        assert_int_equal(append(spool, frames + 1, n, frames % 3 == 0 ? 2500 : 100, frames % 4), 0);
        frames += n;
    }
    slsr_spool_close(spool);
}

static void load_images(void)
{
    char command[256];
    FILE *list;
    char name[100];

    snprintf(command, sizeof command, "ls %s | grep 'mdb$'", dir);
    list = popen(command, "r");
    while (file_count < FILES_MAX && fgets(name, sizeof name, list) != NULL) {
        struct image *file = &files[file_count++];
        char path[256];
        FILE *in;

        name[strcspn(name, "\n")] = '\0';
        memcpy(file->name, name, sizeof name);
        snprintf(path, sizeof path, "%.63s/%.99s", dir, name);
        in = fopen(path, "rb");
        fseek(in, 0, SEEK_END);
        file->size = (size_t)ftell(in);
        rewind(in);
        file->bytes = malloc(file->size);
        assert_int_equal(fread(file->bytes, 1, file->size, in), file->size);
        fclose(in);
    }
    pclose(list);
    assert_true(file_count >= 3);
}

static void restore(void)
{
    char command[256];

    snprintf(command, sizeof command, "rm -rf %.63s && mkdir %.63s", dir, dir);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < file_count; i++) {
        char path[256];
        FILE *out;

        snprintf(path, sizeof path, "%.63s/%.99s", dir, files[i].name);
        out = fopen(path, "wb");
        assert_int_equal(fwrite(files[i].bytes, 1, files[i].size, out), files[i].size);
        fclose(out);
    }
}

/* Reads all there is. -1: a frame with another content than its number says, or no end. */
static long read_all(struct slsr_spool *spool)
{
    struct slsr_range *range;
    struct slsr_frame frame;
    struct slsr_err err;
    uint64_t last = 0;
    long seen = 0;
    int rc;

    if (slsr_range_open(&range, spool, 1, UINT64_MAX, &err) != 0)
        return -1;
    for (long steps = 0; (rc = slsr_range_next(range, &frame, &err)) != SLSR_ENOMATCH; steps++) {
        char expect[64];

        if (steps > 100000 || (rc != 0 && (rc != SLSR_ECORRUPT || err.text[0] == '\0')))
            return -1;
        if (rc != 0)
            continue;
        snprintf(expect, sizeof expect, "message %llu ", (unsigned long long)frame.seq);
        if (frame.seq <= last || memcmp(frame.message.p, expect, strlen(expect)) != 0)
            return -1;
        last = frame.seq;
        seen++;
    }
    slsr_range_close(range);
    return seen;
}

static void ignore(void *ctx, const char *sentence)
{
    (void)ctx;
    (void)sentence;
}

/* 0, or the step that went wrong. */
static int look_at_it(void)
{
    const struct slsr_spool_config c = config();
    struct slsr_verify verify = {.deep = true, .bad = ignore};
    struct slsr_spool_stat stat;
    struct slsr_spool *spool;
    struct slsr_err err;
    uint64_t oldest, next, seq;
    long before, after;

    if (slsr_spool_open(&spool, &c, SLSR_SPOOL_READ, &err) == 0) { /* a tool */
        slsr_spool_stat(spool, &stat, &err);
        slsr_spool_verify(spool, &verify, &err);
        slsr_spool_seek_time(spool, 2000 * 1000LL, false, &seq, &err);
        if (slsr_spool_bounds(spool, &oldest, &next, &err) == 0 && read_all(spool) < 0)
            return 2;
        slsr_spool_close(spool);
    } else if (err.text[0] == '\0') {
        return 3;
    }
    if (slsr_spool_open(&spool, &c, SLSR_SPOOL_WRITE, &err) != 0) {
        fprintf(stderr, "open for writing: %s\n", err.text);
        return 4;
    }
    before = read_all(spool);
    if (before < 0)
        return 5;
    if (slsr_spool_bounds(spool, &oldest, &next, &err) != 0 || next <= frames)
        return 6; /* a number would be given twice */
    if (append(spool, next, 7, 300, 1) != 0)
        return 7;
    after = read_all(spool);
    fprintf(stderr, "%ld frames before, next %llu, then %ld\n", before, (unsigned long long)next,
            after);
    if (after != before + 7)
        return 8;
    slsr_spool_close(spool);
    return 0;
}

static uint64_t rng = 88172645463325252u;

static uint64_t roll(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % below;
}

/* Half of the flips hit the pages that LMDB itself relies on; they are few. */
static size_t choose(const struct image *file)
{
    if (roll(2) == 0)
        return roll(file->size);
    for (int i = 0; i < 10000; i++) {
        const size_t page = roll(file->size / PAGE);

        if ((file->bytes[page * PAGE + 10] & 0x0b) != 0 && file->bytes[page * PAGE + 11] == 0)
            return page * PAGE + (roll(2) == 0 ? roll(PAGE) : roll(160));
    }
    return 0;
}

static void flips_are_survived(void **state)
{
    const char *wish = getenv("SLSR_FLIPS");
    const char *seed = getenv("SLSR_SEED");
    const char *only = getenv("SLSR_CASE");
    const long cases = wish != NULL ? atol(wish) : 150;

    (void)state;
    if (seed != NULL)
        rng ^= strtoull(seed, NULL, 10) * 2654435761u;
    for (long i = 0; i < cases; i++) {
        const struct image *file = &files[roll(file_count)];
        const size_t at = choose(file);
        const unsigned bit = (unsigned)roll(8);
        char path[256];
        int status = 0;
        int fd;

        if (only != NULL && i != atol(only))
            continue;
        restore();
        snprintf(path, sizeof path, "%.63s/%.99s", dir, file->name);
        fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd,
                                &(unsigned char){(unsigned char)(file->bytes[at] ^ (1u << bit))}, 1,
                                (off_t)at),
                         1);
        close(fd);
        if (fork() == 0) {
            const int null = open("/dev/null", O_WRONLY);

            if (getenv("SLSR_VERBOSE") == NULL)
                dup2(null, 2);
            alarm(120);
            _exit(look_at_it());
        }
        wait(&status);
        if (status != 0)
            fail_msg("case %ld: %.40s, byte %zu, bit %u: %s %d", i, file->name, at, bit,
                     WIFSIGNALED(status) ? "signal" : "step",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

/* A damaged chunk is in the ledger once, however often it is met. */
static void a_quarantine_is_entered_once(void **state)
{
    const struct slsr_spool_config c = config();
    unsigned char *hit;
    size_t count = 0;

    (void)state;
    restore();
    hit = memmem(files[1].bytes, files[1].size, "message 4 ", 10);
    for (size_t i = 0; hit == NULL && i < file_count; i++)
        hit = memmem(files[i].bytes, files[i].size, "message 4 ", 10);
    assert_non_null(hit);
    for (size_t i = 0; i < file_count; i++)
        if (hit >= files[i].bytes && hit < files[i].bytes + files[i].size) {
            char path[256];
            int fd;

            snprintf(path, sizeof path, "%.63s/%.99s", dir, files[i].name);
            fd = open(path, O_WRONLY);
            assert_int_equal(pwrite(fd, "X", 1, hit - files[i].bytes), 1);
            close(fd);
        }
    for (int round = 0; round < 3; round++) {
        struct slsr_ledger_entry *entries;
        struct slsr_spool *spool;
        struct slsr_err err;

        if (slsr_spool_open(&spool, &c, SLSR_SPOOL_WRITE, &err) != 0)
            fail_msg("open: %s", err.text);
        assert_true(read_all(spool) > 0);
        assert_true(read_all(spool) > 0);
        slsr_spool_close(spool);
        assert_int_equal(slsr_spool_open(&spool, &c, SLSR_SPOOL_READ, &err), 0);
        assert_int_equal(slsr_ledger_list(spool, 1, &entries, &count, &err), 0);
        assert_int_equal(count, 1);
        assert_string_equal(entries[0].kind, "quarantine");
        assert_string_equal(entries[0].reason, "checksum");
        assert_true(entries[0].from_seq <= 4 && entries[0].to_seq > 4);
        free(entries);
        slsr_spool_close(spool);
    }
}

/* A segment that cannot be walked becomes a .bad file; the others are read. */
static void a_bad_segment_is_set_aside(void **state)
{
    const struct slsr_spool_config c = config();
    struct slsr_spool *spool;
    struct slsr_err err;
    char path[256];
    size_t victim = 0;
    int fd;

    (void)state;
    restore();
    for (size_t i = 0; i < file_count && victim == 0; i++)
        if (strcmp(files[i].name, "seg-0000000000000001.mdb") > 0)
            victim = i; /* neither the first nor, there being three, the last */
    snprintf(path, sizeof path, "%.63s/%.99s", dir, files[victim].name);
    fd = open(path, O_WRONLY);
    for (off_t page = 0; page < 2; page++) /* both meta pages */
        assert_int_equal(pwrite(fd, "\0\0\0\0", 4, page * PAGE + 16), 4);
    close(fd);
    if (slsr_spool_open(&spool, &c, SLSR_SPOOL_WRITE, &err) != 0)
        fail_msg("open: %s", err.text);
    assert_in_range(read_all(spool), 100, (long)frames - 100);
    slsr_spool_close(spool);
    strcat(path, ".bad");
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flips_are_survived),
        cmocka_unit_test(a_quarantine_is_entered_once),
        cmocka_unit_test(a_bad_segment_is_set_aside),
    };
    char command[256];
    int rc;

    strcpy(dir, "/dev/shm/slsr-damage-XXXXXX"); /* some hundred spools: syncs cost too much */
    if (mkdtemp(dir) == NULL) {
        strcpy(dir, "/tmp/slsr-damage-XXXXXX");
        if (mkdtemp(dir) == NULL)
            return 1;
    }
    build();
    load_images();
    rc = cmocka_run_group_tests_name("spool_damage", tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    if (system(command) != 0)
        rc = 1;
    for (size_t i = 0; i < file_count; i++)
        free(files[i].bytes);
    return rc;
}
