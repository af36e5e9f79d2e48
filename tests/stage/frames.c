/* Numbered frames, and the housekeeping around them. */
#include "frames.h"

#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BATCH = 1000, TEXT = 512 };

static void put(struct slsr_batch *batch, unsigned number)
{
    char text[TEXT];
    int n = snprintf(text, sizeof text, "<14>1 - h a - - - n=%u; %0*d.", number,
                     (int)(100 + number % 150), 7);

    batch->used +=
        (size_t)snprintf(batch->data + batch->used, batch->size - batch->used, "%d %s", n, text);
    batch->meta[batch->frame_count++].end = (uint32_t)batch->used;
}

void frames_fill(struct slsr_spool *spool, unsigned first, unsigned count, unsigned shards)
{
    struct slsr_batch batch;
    struct slsr_err err;
    const unsigned end = first + count;
    unsigned number = first;

    slsr_batch_init(&batch);
    batch.size = BATCH * TEXT;
    batch.data = malloc(batch.size);
    batch.meta_size = BATCH;
    batch.meta = calloc(BATCH, sizeof *batch.meta);
    assert_non_null(batch.data);
    assert_non_null(batch.meta);
    while (number < end) {
        const unsigned shard = frames_shard(number, shards);
        struct slsr_checkpoint cp = {.stream = {"p", "l", shard}, .cursor = "MQ=="};

        slsr_batch_reset(&batch);
        snprintf(batch.cursor, sizeof batch.cursor, "MQ==");
        while (batch.frame_count < BATCH && number < end && frames_shard(number, shards) == shard)
            put(&batch, number++);
        if (slsr_spool_append(spool, &batch, &cp, NULL, &err) != 0)
            fail_msg("%s", err.text);
    }
    slsr_batch_fini(&batch);
}

void frames_spool(struct slsr_spool **spool, char dir[FRAMES_DIR], unsigned count, unsigned shards)
{
    struct slsr_spool_config config = {.path = dir, .max_size_bytes = 256 << 20};
    struct slsr_err err;

    snprintf(dir, FRAMES_DIR, "/tmp/slsr-stage-XXXXXX");
    assert_non_null(mkdtemp(dir));
    if (slsr_spool_open(spool, &config, SLSR_SPOOL_WRITE, &err) != 0)
        fail_msg("%s", err.text);
    frames_fill(*spool, 1, count, shards);
}

struct slsr_target_config frames_target(void)
{
    static char siem[] = "siem", loopback[] = "127.0.0.1";

    return (struct slsr_target_config){.name = siem,
                                       .protocol = SLSR_TCP,
                                       .host = loopback,
                                       .connect_timeout_ms = 5000,
                                       .dead_timeout_ms = 20000,
                                       .stall_timeout_ms = 60000,
                                       .settle_ms = 100,
                                       .proof_interval_ms = 200,
                                       .retry_initial_ms = 50,
                                       .retry_max_ms = 100,
                                       .retry_multiplier = 2};
}

unsigned frames_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static int wipe_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void frames_wipe(const char *dir)
{
    nftw(dir, wipe_one, 8, FTW_DEPTH | FTW_PHYS);
}
