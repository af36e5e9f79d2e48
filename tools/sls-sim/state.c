/* What a service does not forget when its process is killed: projects, logstores, shards, logs,
 * groups, checkpoints and who holds what. Without it every kill of the simulator would look like a
 * disaster that the real service does not have.
 *
 * The file is a journal. After one line of heading come records: two 32-bit big-endian lengths, a
 * JSON object of the first length, data (a log group) of the second. Each is written by one call
 * before the answer goes out, so a killed process leaves at most one half record at the end, which
 * the next start cuts off. It is not synced: it survives the death of the process, not of the
 * machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <jansson.h>

#include "sim.h"
#include "text.h"

enum { EXIT_BAD_INPUT = 78, EXIT_CANNOT_CREATE = 73, EXIT_IO = 74, RECORD_MAX = 64 << 20 };

static const char heading[] = "sls-sim state 1\n";

static void put_u32(uint8_t *p, size_t n)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(n >> (24 - 8 * i));
}

/* Takes the record. A journal that cannot be written is worth nothing: the program ends. */
static void write_record(struct sim *sim, json_t *record, const void *data, size_t n)
{
    char *text = json_dumps(record, JSON_COMPACT);
    size_t text_n = text == NULL ? 0 : strlen(text);
    uint8_t head[8];
    struct iovec parts[3] = {{head, sizeof head}, {text, text_n}, {(void *)(uintptr_t)data, n}};
    ssize_t done;

    put_u32(head, text_n);
    put_u32(head + 4, n);
    do
        done = writev(sim->state_fd, parts, 3);
    while (done < 0 && errno == EINTR);
    if (text == NULL || done != (ssize_t)(sizeof head + text_n + n)) {
        fprintf(stderr, "sls-sim: state file, %s: give --state a file on a disk with room\n",
                done < 0 ? strerror(errno) : "cut short");
        _exit(EXIT_IO);
    }
    free(text);
    json_decref(record);
}

/* A record of this kind about this logstore (and group). */
static json_t *new_record(const char *op, const struct logstore *ls,
                          const struct consumer_group *cg)
{
    json_t *o = json_pack("{s:s, s:s, s:s}", "op", op, "p", ls->project, "l", ls->name);

    if (cg != NULL)
        json_object_set_new(o, "g", json_string(cg->name));
    return o;
}

static void set_number(json_t *o, const char *key, int64_t value)
{
    json_object_set_new(o, key, json_integer(value));
}

void state_project(struct sim *sim, const struct project *p)
{
    if (sim->state_fd >= 0)
        write_record(sim,
                     json_pack("{s:s, s:s, s:s, s:I}", "op", "project", "p", p->name, "d",
                               p->description, "t", (json_int_t)p->created_s),
                     NULL, 0);
}

void state_logstore(struct sim *sim, const struct logstore *ls)
{
    json_t *o;

    if (sim->state_fd < 0)
        return;
    o = new_record("logstore", ls, NULL);
    set_number(o, "n", (int64_t)ls->shard_count);
    set_number(o, "ttl", ls->ttl);
    set_number(o, "meta", ls->append_meta);
    set_number(o, "t", ls->created_s);
    write_record(sim, o, NULL, 0);
}

void state_drop(struct sim *sim, const struct project *p, const struct logstore *ls)
{
    if (sim->state_fd >= 0)
        write_record(sim,
                     json_pack("{s:s, s:s, s:s}", "op", "drop", "p", p->name, "l",
                               ls == NULL ? "" : ls->name),
                     NULL, 0);
}

void state_put(struct sim *sim, const struct logstore *ls, const struct shard *sh,
               const struct buf *group, uint32_t logs, int64_t now_s, bool generated)
{
    json_t *o;

    if (sim->state_fd < 0)
        return;
    o = new_record("put", ls, NULL);
    set_number(o, "s", sh->id);
    set_number(o, "t", now_s);
    set_number(o, "n", logs);
    set_number(o, "made", generated);
    write_record(sim, o, group->p, group->n);
}

void state_trim(struct sim *sim, const struct logstore *ls, const struct shard *sh, size_t keep)
{
    json_t *o;

    if (sim->state_fd < 0)
        return;
    o = new_record("trim", ls, NULL);
    set_number(o, "s", sh->id);
    set_number(o, "keep", (int64_t)keep);
    write_record(sim, o, NULL, 0);
}

void state_split(struct sim *sim, const struct logstore *ls, const struct shard *sh,
                 const uint8_t key[KEY_BYTES], int64_t now_s)
{
    char text[2 * KEY_BYTES + 1];
    json_t *o;

    if (sim->state_fd < 0)
        return;
    text_hex(text, key, KEY_BYTES, false);
    o = new_record("split", ls, NULL);
    set_number(o, "s", sh->id);
    set_number(o, "t", now_s);
    json_object_set_new(o, "key", json_string(text));
    write_record(sim, o, NULL, 0);
}

void state_merge(struct sim *sim, const struct logstore *ls, const struct shard *left,
                 int64_t now_s)
{
    json_t *o;

    if (sim->state_fd < 0)
        return;
    o = new_record("merge", ls, NULL);
    set_number(o, "s", left->id);
    set_number(o, "t", now_s);
    write_record(sim, o, NULL, 0);
}

void state_group(struct sim *sim, const struct logstore *ls, const struct consumer_group *cg)
{
    json_t *o;

    if (sim->state_fd < 0)
        return;
    o = new_record("group", ls, cg);
    set_number(o, "timeout", cg->timeout_s);
    set_number(o, "order", cg->order);
    write_record(sim, o, NULL, 0);
}

void state_drop_group(struct sim *sim, const struct logstore *ls, const struct consumer_group *cg)
{
    if (sim->state_fd >= 0)
        write_record(sim, new_record("drop-group", ls, cg), NULL, 0);
}

void state_checkpoint(struct sim *sim, const struct logstore *ls, const struct consumer_group *cg,
                      uint32_t shard)
{
    json_t *o;

    if (sim->state_fd < 0)
        return;
    o = new_record("checkpoint", ls, cg);
    set_number(o, "s", shard);
    json_object_set_new(o, "c", json_string(cg->slots[shard].checkpoint));
    set_number(o, "u", cg->slots[shard].updated_us);
    write_record(sim, o, NULL, 0);
}

static const char *name_of(const struct consumer *c)
{
    return c == NULL ? "" : c->name;
}

void state_owners(struct sim *sim, const struct logstore *ls, struct consumer_group *cg)
{
    json_t *consumers;
    json_t *slots;
    json_t *o;

    if (sim->state_fd < 0 || cg->saved == cg->version)
        return;
    consumers = json_array();
    for (size_t i = 0; i < cg->consumer_count; i++)
        json_array_append_new(consumers, json_string(cg->consumers[i]->name));
    slots = json_array();
    for (size_t i = 0; i < cg->slot_count; i++) {
        const struct slot *slot = &cg->slots[i];

        json_array_append_new(slots, json_pack("[s, s, s]", cg_state_name(slot->state),
                                               name_of(slot->holder), name_of(slot->next)));
    }
    o = new_record("owners", ls, cg);
    json_object_set_new(o, "consumers", consumers);
    json_object_set_new(o, "slots", slots);
    write_record(sim, o, NULL, 0);
    cg->saved = cg->version;
}

/* --- reading it back --- */

static int64_t number(json_t *o, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(o, key));
}

static const char *text(json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    return value == NULL ? "" : value;
}

static struct consumer *named(struct consumer_group *cg, json_t *name, int64_t now_ms)
{
    const char *value = json_string_value(name);

    return value == NULL || *value == '\0' ? NULL : cg_restore_consumer(cg, value, now_ms);
}

static bool read_owners(struct logstore *ls, struct consumer_group *cg, json_t *o, int64_t now_ms)
{
    json_t *slots = json_object_get(o, "slots");
    json_t *item;
    size_t i;

    cg_forget(cg, NULL);
    cg_notice_shards(ls, cg);
    if (json_array_size(slots) > cg->slot_count)
        return false;
    json_array_foreach(json_object_get(o, "consumers"), i, item) named(cg, item, now_ms);
    json_array_foreach(slots, i, item)
    {
        struct slot *slot = &cg->slots[i];
        const char *state = json_string_value(json_array_get(item, 0));

        slot->holder = named(cg, json_array_get(item, 1), now_ms);
        slot->next = named(cg, json_array_get(item, 2), now_ms);
        if (state == NULL || !cg_state_parse(state, &slot->state) ||
            ((slot->state == SLOT_HELD || slot->state == SLOT_TRANSFER) !=
             (slot->holder != NULL)) ||
            ((slot->state == SLOT_TRANSFER) != (slot->next != NULL)))
            return false;
    }
    cg->saved = cg->version;
    return true;
}

static bool read_group(struct sim *sim, struct logstore *ls, const char *op, json_t *o)
{
    struct consumer_group *cg = cg_find(ls, text(o, "g"));
    int64_t shard = number(o, "s");

    if (strcmp(op, "group") == 0) {
        if (cg == NULL) {
            cg_new(ls, text(o, "g"), (unsigned)number(o, "timeout"), number(o, "order") != 0);
            return true;
        }
        cg_notice_shards(ls, cg);
        cg->timeout_s = (unsigned)number(o, "timeout");
        cg->order = number(o, "order") != 0;
        return true;
    }
    if (cg == NULL)
        return false;
    if (strcmp(op, "drop-group") == 0) {
        cg_delete(ls, cg);
        return true;
    }
    if (strcmp(op, "owners") == 0)
        return read_owners(ls, cg, o, sim_clock_ms(sim));
    cg_notice_shards(ls, cg);
    if (strcmp(op, "checkpoint") != 0 || shard < 0 || shard >= (int64_t)cg->slot_count)
        return false;
    cg->slots[shard].updated_us = number(o, "u");
    snprintf(cg->slots[shard].checkpoint, CHECKPOINT_SIZE, "%s", text(o, "c"));
    return true;
}

static bool read_shard(struct sim *sim, struct logstore *ls, const char *op, json_t *o,
                       struct buf *data)
{
    struct shard *sh = store_shard(ls, (uint64_t)number(o, "s"));
    struct shard *right;
    uint8_t key[KEY_BYTES];

    if (sh == NULL)
        return false;
    if (strcmp(op, "put") == 0) {
        shard_take(sh, data->p, data->n, (uint32_t)number(o, "n"), number(o, "t"));
        *data = (struct buf){0};
        if (number(o, "made") != 0)
            atomic_fetch_add(&sim->generated, (uint64_t)number(o, "n"));
        return true;
    }
    if (strcmp(op, "trim") == 0) {
        shard_trim(sh, (size_t)number(o, "keep"));
        return true;
    }
    if (strcmp(op, "split") == 0)
        return text_unhex(text(o, "key"), key, KEY_BYTES) &&
               store_split(ls, sh, key, number(o, "t")) == 0;
    return strcmp(op, "merge") == 0 && store_merge(ls, sh, &right, number(o, "t")) == 0;
}

static bool read_logstore(struct sim *sim, struct project *p, json_t *o)
{
    struct logstore *ls = store_logstore(p, text(o, "l"));
    int64_t shards = number(o, "n");

    if (ls == NULL && (shards < 1 || shards > SHARDS_MAX || !store_name_ok(text(o, "l"), true)))
        return false;
    if (ls == NULL)
        ls = store_add_logstore(p, text(o, "l"), (unsigned)shards, number(o, "t"));
    ls->ttl = (unsigned)number(o, "ttl");
    ls->append_meta = number(o, "meta") != 0;
    ls->retention_s = sim->retention_s;
    return true;
}

static bool read_record(struct sim *sim, json_t *o, struct buf *data)
{
    const char *op = text(o, "op");
    struct project *p = store_project(&sim->store, text(o, "p"));
    struct logstore *ls;

    if (strcmp(op, "project") == 0) {
        if (p != NULL || !store_name_ok(text(o, "p"), false))
            return false;
        p = store_add_project(&sim->store, text(o, "p"), number(o, "t"));
        free(p->description);
        p->description = xstrdup(text(o, "d"));
        return true;
    }
    if (p == NULL)
        return false;
    if (strcmp(op, "logstore") == 0)
        return read_logstore(sim, p, o);
    ls = store_logstore(p, text(o, "l"));
    if (strcmp(op, "drop") == 0) {
        if (ls == NULL)
            store_delete_project(&sim->store, p);
        else
            store_delete_logstore(p, ls);
        return true;
    }
    if (ls == NULL)
        return false;
    return json_object_get(o, "g") != NULL ? read_group(sim, ls, op, o)
                                           : read_shard(sim, ls, op, o, data);
}

static size_t get_u32(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* Reads one record. 1, 0: the file ends here, maybe in the middle of a record; -1: damaged. */
static int next_record(struct sim *sim, FILE *file)
{
    uint8_t head[8];
    struct buf record = {0};
    struct buf data = {0};
    json_t *o = NULL;
    size_t n[2];
    int rc = 0;

    if (fread(head, 1, sizeof head, file) != sizeof head)
        return 0;
    n[0] = get_u32(head);
    n[1] = get_u32(head + 4);
    if (n[0] > RECORD_MAX || n[1] > RECORD_MAX)
        return -1;
    buf_room(&record, n[0] + 1);
    buf_room(&data, n[1] + 1);
    if (fread(record.p, 1, n[0], file) == n[0] && fread(data.p, 1, n[1], file) == n[1]) {
        data.n = n[1];
        o = json_loadb(record.p, n[0], 0, NULL);
        rc = o != NULL && read_record(sim, o, &data) ? 1 : -1;
    }
    json_decref(o);
    buf_fini(&record);
    buf_fini(&data);
    return rc;
}

static int refuse(const char *path, const char *why, int code)
{
    fprintf(stderr, "sls-sim: %s, %s: give --state another file\n", path, why);
    return code;
}

static int read_all(struct sim *sim, FILE *file, const char *path)
{
    char first[sizeof heading] = "";
    long good;
    int rc;

    if (fread(first, 1, sizeof heading - 1, file) != sizeof heading - 1 ||
        strcmp(first, heading) != 0)
        return refuse(path, "not a state file of this version", EXIT_BAD_INPUT);
    do {
        good = ftell(file);
        rc = next_record(sim, file);
    } while (rc > 0);
    if (rc < 0)
        return refuse(path, "damaged", EXIT_BAD_INPUT);
    if (ftruncate(sim->state_fd, good) != 0)
        return refuse(path, strerror(errno), EXIT_CANNOT_CREATE);
    return 0;
}

int state_open(struct sim *sim, const char *path, bool *fresh)
{
    FILE *file = fopen(path, "rbe");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int rc = 0;

    *fresh = file == NULL || getc(file) == EOF;
    if (fd < 0) {
        rc = refuse(path, strerror(errno), EXIT_CANNOT_CREATE);
    } else {
        sim->state_fd = fd;
        if (*fresh && write(fd, heading, sizeof heading - 1) != sizeof heading - 1)
            rc = refuse(path, strerror(errno), EXIT_CANNOT_CREATE);
        if (!*fresh) {
            rewind(file);
            rc = read_all(sim, file, path);
        }
    }
    if (file != NULL)
        fclose(file);
    return rc;
}

void state_close(struct sim *sim)
{
    if (sim->state_fd >= 0)
        close(sim->state_fd);
    sim->state_fd = -1;
}
