/* A disk without room whose writes come back short, as those of a tmpfs do: LMDB calls that an
 * input/output error, which would send an operator to look for a dying disk. In a mount namespace
 * of its own; without the right to have one it is skipped. */
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "spool_place.h"

enum { FRAMES = 1000, FRAME = 1000 };

static void fill(struct slsr_batch *batch)
{
    slsr_batch_init(batch);
    batch->size = FRAMES * (FRAME + 8);
    batch->meta_size = FRAMES;
    batch->data = malloc(batch->size);
    batch->meta = calloc(FRAMES, sizeof *batch->meta);
    assert_non_null(batch->data);
    assert_non_null(batch->meta);
    strcpy(batch->cursor, "MTAw");
    for (uint32_t i = 0; i < FRAMES; i++) {
        batch->used += (size_t)snprintf(batch->data + batch->used, 8, "%d ", FRAME);
        memset(batch->data + batch->used, 'a' + (int)(i % 26), FRAME);
        batch->used += FRAME;
        batch->meta[i].end = (uint32_t)batch->used;
    }
    batch->frame_count = FRAMES;
}

static int append(struct slsr_spool *spool, const struct slsr_batch *batch, struct slsr_err *err)
{
    struct slsr_checkpoint at = {.stream = {"p", "l", 0}};
    uint64_t first;

    strcpy(at.cursor, "MTAx");
    *err = (struct slsr_err){0};
    return slsr_spool_append(spool, batch, &at, &first, err);
}

static void test_short_write(void **state)
{
    char dir[PLACE_DIR], key[PLACE_KEY], filler[PLACE_DIR + 8], path[PLACE_DIR + 8];
    struct slsr_spool_config config = {.path = path, .max_size_bytes = 1 << 30};
    struct slsr_batch batch;
    struct slsr_err err;
    uint64_t oldest, next;
    int rc = 0;
    int kept = 0;

    (void)state;
    if (unshare(CLONE_NEWNS) != 0)
        skip();
    place_make(dir, key, "disk");
    snprintf(filler, sizeof filler, "%s/filler", dir);
    snprintf(path, sizeof path, "%s/spool", dir);
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("none", dir, "tmpfs", 0, "size=24m"), 0);
    FILE *file = fopen(filler, "w");
    assert_non_null(file);
    for (int i = 0; i < 8 << 20; i++)
        fputc('x', file);
    assert_int_equal(fclose(file), 0);

    fill(&batch);
    struct slsr_spool *spool = place_open(&config, SLSR_SPOOL_WRITE);
    for (kept = 0; kept < 24 && (rc = append(spool, &batch, &err)) == 0; kept++)
        ;
    assert_in_range(kept, 8, 15);
    assert_int_equal(rc, SLSR_EFULL);
    assert_non_null(strstr(err.text, "No space left on device"));
    assert_int_equal(append(spool, &batch, &err), SLSR_EFULL);

    assert_int_equal(unlink(filler), 0); /* the room comes back, and it goes on by itself */
    assert_int_equal(append(spool, &batch, &err), 0);
    assert_int_equal(slsr_spool_bounds(spool, &oldest, &next, &err), 0);
    assert_int_equal(next - oldest, (kept + 1) * FRAMES);
    slsr_spool_close(spool);
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    slsr_batch_fini(&batch);
    place_wipe(dir, key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_short_write)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
