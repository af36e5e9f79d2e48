/* Prepared answers for --payloads: each X.lz4 in the directory is one LogGroupList as an LZ4 block,
 * X.json beside it says {"rawsize": N}. Every shard of the first logstore gets all files in sorted
 * order. The block is read once and goes out as it is; the unpacked groups are kept too, for a
 * client that asks for fewer groups or from a cursor in the middle. All of it lives as long as the
 * program. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "sim.h"

enum { EXIT_NO_INPUT = 66, EXIT_BAD_INPUT = 78 };

static int refuse(const char *path, const char *why, int code)
{
    fprintf(stderr, "sls-sim: %s, %s: prepare the payload again\n", path, why);
    return code;
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    size_t got;

    if (file == NULL)
        return false;
    do {
        buf_room(out, 1 << 16);
        got = fread(out->p + out->n, 1, 1 << 16, file);
        out->n += got;
    } while (got != 0);
    got = (size_t)ferror(file);
    fclose(file);
    return got == 0;
}

/* X.json of X.lz4. 0 when it cannot be used. */
static size_t read_raw_size(const char *path)
{
    char name[PATH_MAX];
    size_t stem = strlen(path) - 4;
    json_t *o;
    json_int_t size;

    if (stem + 6 > sizeof name)
        return 0;
    memcpy(name, path, stem);
    memcpy(name + stem, ".json", 6);
    o = json_load_file(name, 0, NULL);
    size = json_integer_value(json_object_get(o, "rawsize"));
    json_decref(o);
    return size < 0 || size > INT_MAX ? 0 : (size_t)size;
}

static const char *append_groups(struct shard *sh, struct span list, int64_t now_s, uint64_t *logs,
                                 size_t *count)
{
    struct wire_field f;
    const char *why = "not a LogGroupList";
    uint32_t n;
    int rc;

    *logs = 0;
    *count = 0;
    while ((rc = wire_next(&list, &f)) == 1) {
        if (f.number != 1)
            continue;
        if (f.type != 2 || !wire_check_group(f.bytes, &n, &why))
            return why;
        shard_append(sh, f.bytes.p, f.bytes.n, n, now_s);
        *logs += n;
        (*count)++;
    }
    return rc == 0 && *count != 0 ? NULL : why;
}

static int load_file(struct sim *sim, struct logstore *ls, const char *path)
{
    struct buf packed = {0};
    struct buf raw = {0};
    size_t raw_n = read_raw_size(path);
    uint64_t logs = 0;
    size_t count = 0;

    if (raw_n == 0)
        return refuse(path, "no .json beside it with its rawsize", EXIT_BAD_INPUT);
    if (!read_file(path, &packed)) {
        buf_fini(&packed);
        return refuse(path, "cannot be read", EXIT_NO_INPUT);
    }
    if (!wire_unpack("lz4", (struct span){(uint8_t *)packed.p, packed.n}, raw_n, &raw)) {
        buf_fini(&packed);
        buf_fini(&raw);
        return refuse(path, "not an LZ4 block of this rawsize", EXIT_BAD_INPUT);
    }
    store_keep(&sim->store, packed.p);
    store_keep(&sim->store, raw.p);
    for (size_t i = 0; i < ls->shard_count; i++) {
        struct shard *sh = ls->shards[i];
        size_t first = sh->count;
        const char *why = append_groups(sh, (struct span){(uint8_t *)raw.p, raw.n},
                                        sim_now_us(sim) / 1000000, &logs, &count);

        if (why != NULL)
            return refuse(path, why, EXIT_BAD_INPUT);
        ARRAY_ROOM(sh->ready, sh->ready_count, sh->ready_size);
        sh->ready[sh->ready_count++] =
            (struct ready){first, count, logs, packed.p, packed.n, raw.n};
    }
    if (count > PULL_GROUPS_MAX)
        fprintf(stderr,
                "sls-sim: %s, %zu groups: more than the %d of one answer, it goes out in pieces\n",
                path, count, PULL_GROUPS_MAX);
    return 0;
}

static int is_payload(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return n > 4 && strcmp(entry->d_name + n - 4, ".lz4") == 0;
}

int feed_payloads(struct sim *sim, struct logstore *ls, const char *dir)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, is_payload, alphasort);
    int rc = 0;

    if (n < 0)
        return refuse(dir, strerror(errno), EXIT_NO_INPUT);
    if (n == 0)
        rc = refuse(dir, "no *.lz4 in it", EXIT_NO_INPUT);
    for (int i = 0; i < n; i++) {
        struct buf path = {0};

        buf_printf(&path, "%s/%s", dir, entries[i]->d_name);
        buf_byte(&path, '\0');
        if (rc == 0)
            rc = load_file(sim, ls, path.p);
        buf_fini(&path);
        free(entries[i]);
    }
    free(entries);
    return rc;
}
