/* The names that templates, filters and levels ask for, resolved once a log.
 *
 * Each name gets a slot when the plan is made; a step holds its number. Per log one walk over the
 * fields fills the slots: a 64-bit mask rejects nearly every key that nobody asked for. Names of
 * the log group are resolved once a group. HOT only when a plan has slots. */
#ifndef FORMAT_SLOTS_H
#define FORMAT_SLOTS_H

#include "slsrelay/err.h"
#include "slsrelay/types.h"

/* Who wants to hear of every mistake of the settings, not of the first one only. */
struct format_ear {
    void (*say)(void *ctx, const char *text); /* text: until say returns */
    void *ctx;
};

enum slot_kind {
    SLOT_FIELD,
    SLOT_TAG,
    SLOT_TOPIC,
    SLOT_SOURCE,
    SLOT_TIME,    /* seconds */
    SLOT_TIME_MS, /* milliseconds */
    SLOT_NS,
    SLOT_FIXED, /* project, logstore, shard */
    SLOT_CURSOR,
    SLOT_INDEX,
    SLOT_ID /* project/logstore/shard/cursor/index: the record's name for ever */
};

struct slot {
    enum slot_kind kind;
    char *name; /* field or tag key */
    size_t name_n;
    uint32_t next; /* number + 1 of the next field slot with the same bit */
    bool found;
    struct slsr_bytes value;
};

struct slots {
    struct slot *items;
    size_t count;
    uint64_t bits; /* of field keys */
    uint32_t first[64];
    char *project, *logstore, *id;
    size_t id_fixed, id_group; /* lengths of id up to the cursor, up to the index */
    char shard[12], time[16], time_ms[20], ns[12], index[12];
    char cursor[SLSR_CURSOR_MAX + 1];
    const struct format_ear *ear; /* NULL: the first mistake ends the making of a plan */
    bool wants_log;               /* some slot is neither a field nor fixed for the group */
};

/* The most names that one plan may ask for. */
enum { SLOTS_MAX = 2000 };

int slots_init(struct slots *slots, const struct slsr_stream *stream, struct slsr_err *err);
void slots_fini(struct slots *slots);
/* Number of the slot for a name as it stands in `${...}`. SLSR_ENOMEM, SLSR_ECONFIG (too many). */
int slots_want(struct slots *slots, struct slsr_bytes name, uint32_t *number, struct slsr_err *err);
/* What becomes of a failed part of the settings: with an ear a mistake (SLSR_ECONFIG) is said and 0
 * returned, so that the next part has its turn; else rc. */
int slots_mistake(const struct slots *slots, int rc, const struct slsr_err *err);
/* cursor: that of the log group. */
void slots_group(struct slots *slots, const struct slsr_log *log, const char *cursor);
void slots_log(struct slots *slots, const struct slsr_log *log, uint32_t index);

#endif
