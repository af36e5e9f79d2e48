/* Records that no chunk holds, as hostile bytes of a disk: ledger, marks, orders, jobs, states of
 * sources, positions, notes. The input is a list of records: database (bits 0..2) and whether its
 * hash is sealed anew (bit 3), length of the key, length of the value (two bytes), both. They are
 * put into the books of a spool that is open; then relay and tool read them, obey them and write
 * beside them. What must hold: every call comes back, texts end, sets stay sorted and disjoint. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "slsrelay/control.h"
#include "slsrelay/jobs.h"

#include "base/diag.h"

#include "spool/books.h"
#include "spool/bytes.h"
#include "spool/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LEDGER, MARKS, ORDERS, JOBS, SOURCES, LAYOUT, KEY_MAX = 511, VALUE_MAX = 2048 };

static char dir[64];
static struct slsr_spool *spool;
static const char target[] = "siem";

static void must(int holds)
{
    if (!holds)
        abort();
}

static void leave(void)
{
    char command[128];

    slsr_spool_close(spool);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    must(system(command) == 0);
}

/* One spool for all runs; its commits are cheap where the files lie in memory. */
static void enter(void)
{
    static struct slsr_spool_config config = {.path = dir, .max_size_bytes = 20 << 20};
    static char nowhere[] = "/dev/null";
    const struct slsr_log_config quiet = {.level = SLSR_LOG_ERROR, .file = nowhere};
    struct slsr_target_state state;

    strcpy(dir,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/slsr-fuzz-XXXXXX" : "/tmp/slsr-fuzz-XXXXXX");
    must(mkdtemp(dir) != NULL);
    must(diag_open(&quiet, "fuzz-records", NULL) == 0);
    must(slsr_spool_open(&spool, &config, SLSR_SPOOL_WRITE, NULL) == 0);
    must(slsr_spool_target_add(spool, target, &state, NULL) == 0);
    atexit(leave);
}

static void ended(const char *text, size_t size)
{
    must(memchr(text, '\0', size) != NULL);
}

/* Keys and values that are read without LMDB. */
static void read_layout(const void *key, size_t key_size, const void *value, size_t size)
{
    char project[SLSR_NAME_MAX + 1], logstore[SLSR_NAME_MAX + 1], cursor[SLSR_CURSOR_MAX + 1];
    struct slsr_target_state state;
    struct layout_summary summary;
    struct layout_index index;
    struct layout_head head;
    int64_t lag, written;
    uint32_t number;

    if (layout_get_key(key, key_size, project, logstore, &number)) {
        ended(project, sizeof project);
        ended(logstore, sizeof logstore);
        must(project[0] != '\0' && logstore[0] != '\0');
    }
    if (layout_get_stream(value, size, &number, cursor))
        ended(cursor, sizeof cursor);
    if (layout_get_target(value, size, &state)) {
        ended(state.error, sizeof state.error);
        ended(state.cause, sizeof state.cause);
        ended(state.server, sizeof state.server);
        must(slsr_phase_name(state.phase) != NULL);
    }
    if (layout_get_note(value, size, &lag, &written, cursor))
        ended(cursor, sizeof cursor);
    (void)layout_get_index(value, size, &index);
    (void)layout_get_head(value, size, &head);
    (void)layout_get_summary(value, size, &summary);
}

static void put(MDB_txn *txn, unsigned kind, const uint8_t *key, size_t key_size,
                const uint8_t *value, size_t size)
{
    const MDB_dbi all[] = {spool->books.ledger, spool->books.marks, spool->books.orders,
                           spool->books.jobs, spool->books.sources};
    uint8_t *own = malloc(size + 1); /* ends where its block ends */
    uint8_t *name = malloc(key_size + 1);
    MDB_val k = {key_size, name};
    MDB_val v = {size, own};

    must(own != NULL && name != NULL);
    memcpy(own, value, size);
    memcpy(name, key, key_size);
    if ((kind & 8) != 0 && size >= 8)
        put64(own + size - 8, XXH3_64bits(own, size - 8));
    if (kind % 8 >= LAYOUT)
        read_layout(name, key_size, own, size);
    else if (key_size > 0)
        must(mdb_put(txn, all[kind % 8], &k, &v, 0) == 0);
    free(own);
    free(name);
}

static void write_records(const uint8_t *data, size_t size)
{
    MDB_txn *txn;

    must(books_begin(spool, true, &txn, NULL) == 0);
    must(mdb_drop(txn, spool->books.ledger, 0) == 0 && mdb_drop(txn, spool->books.marks, 0) == 0 &&
         mdb_drop(txn, spool->books.orders, 0) == 0 && mdb_drop(txn, spool->books.jobs, 0) == 0 &&
         mdb_drop(txn, spool->books.sources, 0) == 0);
    while (size >= 4) {
        const unsigned kind = data[0];
        size_t key = data[1], value = (size_t)data[2] | (size_t)(data[3] & 7) << 8;

        data += 4;
        size -= 4;
        key = key < size ? key : size;
        value = value < size - key ? value : size - key;
        put(txn, kind, data, key, data + key, value);
        data += key + value;
        size -= key + value;
    }
    must(books_end(txn, 0) == 0);
}

static void sorted(const struct slsr_spans *spans)
{
    for (size_t i = 0; i < spans->count; i++)
        must(spans->items[i].from < spans->items[i].to &&
             (i == 0 || spans->items[i - 1].to < spans->items[i].from));
}

static void read_books(void)
{
    static const char kinds[] = {'h', 'w', 's', 'd', 'r'};
    struct slsr_ledger_entry *entries;
    struct slsr_control_state state;
    struct slsr_source_state *sources;
    struct slsr_job *jobs;
    size_t count;

    must(slsr_ledger_list(spool, 0, &entries, &count, NULL) == 0);
    for (size_t i = 0; i < count; i++) {
        ended(entries[i].kind, sizeof entries[i].kind);
        ended(entries[i].text, sizeof entries[i].text);
    }
    free(entries);
    must(slsr_spool_sources(spool, &sources, &count, NULL) == 0);
    for (size_t i = 0; i < count; i++)
        ended(sources[i].error, sizeof sources[i].error);
    free(sources);
    must(slsr_job_list(spool, &jobs, &count, NULL) == 0);
    for (size_t i = 0; i < count; i++) {
        struct slsr_spans within = {0};

        ended(jobs[i].target, sizeof jobs[i].target);
        ended(jobs[i].selectors, sizeof jobs[i].selectors);
        must(slsr_job_within(spool, jobs[i].id, &within, NULL) == 0);
        slsr_spans_free(&within);
    }
    free(jobs);
    for (size_t i = 0; i < sizeof kinds; i++) {
        struct slsr_spans spans = {0};

        must(slsr_marks_read(spool, (enum slsr_mark)kinds[i], target, &spans, NULL) == 0);
        sorted(&spans);
        slsr_spans_free(&spans);
    }
    if (slsr_control_read(spool, target, &state, NULL) == 0) {
        ended(state.who, sizeof state.who);
        ended(state.reason, sizeof state.reason);
    }
}

/* An order, a job and the relay's own writing beside what is there. */
static void write_beside(const uint8_t *data, size_t size)
{
    static const char *const names[] = {target};
    struct slsr_span span = {size > 0 ? data[0] : 1,
                             size > 1 ? 1 + data[0] + (uint64_t)data[1] : 9};
    struct slsr_spans spans = {&span, 1, 1};
    struct slsr_order order = {.kind = SLSR_ORDER_HOLD + (size % 5),
                               .targets = names,
                               .target_count = 1,
                               .spans = &spans,
                               .entry = {.kind = "test", .who = "fuzz"}};
    struct slsr_job job = {.state = SLSR_JOB_RUNNING, .stated = true, .selectors = "-t\x1fsiem"};
    struct slsr_control control;
    uint64_t floor;
    MDB_txn *txn;
    int rc;

    /* An id of all bits or a key that sorts behind all of ours: no place for another record. */
    (void)slsr_control_order(spool, &order, NULL);
    if (slsr_job_add(spool, &job, &spans, NULL) == 0) {
        must(slsr_job_stop(spool, job.id, NULL) == 0);
        job.state = SLSR_JOB_DONE;
        must(slsr_job_update(spool, &job, NULL) == 0);
    }
    rc = slsr_control_take(spool, target, &control, NULL);
    must(rc == 0);
    sorted(&control.pass);
    slsr_control_free(&control);
    must(books_begin(spool, true, &txn, NULL) == 0);
    must(marks_trim(spool, txn, size > 2 ? data[2] : 5) == 0);
    must(marks_floor(spool, txn, &floor) == 0);
    must(books_end(txn, 0) == 0);
    must(slsr_spool_sources_keep(spool, NULL, 0, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (spool == NULL)
        enter();
    write_records(data, size);
    read_books();
    write_beside(data, size);
    read_books();
    return 0;
}
