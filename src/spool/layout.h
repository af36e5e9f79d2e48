/* Bytes of keys and values of the spool, written and read field by field (pure; no LMDB here).
 * docs/spool-format.md is this file in words. All integers are big-endian. */
#ifndef SPOOL_LAYOUT_H
#define SPOOL_LAYOUT_H

#include "slsrelay/spool.h"

enum {
    LAYOUT_VERSION = 2,
    LAYOUT_INDEX_BYTES = 48,
    LAYOUT_KEY_MAX = 2 * SLSR_NAME_MAX + 16,
    LAYOUT_STREAM_BYTES = 4 + 1 + SLSR_CURSOR_MAX + 8,
    LAYOUT_TARGET_BYTES = 512,
    LAYOUT_NOTE_BYTES = 8 + 8 + 1 + SLSR_CURSOR_MAX + 8,
    LAYOUT_HEAD_BYTES = 64,
    LAYOUT_SUMMARY_BYTES = 72
};

struct layout_index {
    uint32_t count;
    uint32_t bytes; /* wire bytes of the frames */
    int64_t arrival_ms;
    uint32_t min_time_s, max_time_s;
    uint32_t stream;
    uint64_t bytes_before; /* wire bytes of all frames before this chunk, since the spool began */
};

struct layout_head { /* record "head" of database m: one per segment */
    uint32_t version;
    uint64_t first;
    uint64_t bytes_before;
    int64_t created_ms;
    unsigned char lineage[16];
};

/* Record "summary" of database m, written when a segment is sealed: enough to pass it by. */
struct layout_summary {
    uint64_t next;                /* sequence behind its last frame */
    uint64_t end_bytes;           /* total wire bytes behind its last frame */
    int64_t oldest_ms, newest_ms; /* smallest and largest arrival */
    uint32_t min_time_s, max_time_s;
    uint32_t chunks;
    uint64_t streams; /* bit (stream id % 64) for each stream with frames in it */
};

void layout_put_index(unsigned char out[LAYOUT_INDEX_BYTES], const struct layout_index *index);
bool layout_get_index(const void *value, size_t size, struct layout_index *index);
void layout_put_head(unsigned char out[LAYOUT_HEAD_BYTES], const struct layout_head *head);
bool layout_get_head(const void *value, size_t size, struct layout_head *head);
void layout_put_summary(unsigned char out[LAYOUT_SUMMARY_BYTES], const struct layout_summary *s);
bool layout_get_summary(const void *value, size_t size, struct layout_summary *s);

/* "project/logstore/shard"; returns its length. Names hold no '/' (checked by configuration). */
size_t layout_key(char out[LAYOUT_KEY_MAX], const struct slsr_stream *stream);
/* Takes a key apart into three NUL-terminated parts inside out. */
bool layout_get_key(const void *key, size_t size, char project[SLSR_NAME_MAX + 1],
                    char logstore[SLSR_NAME_MAX + 1], uint32_t *shard);
size_t layout_put_stream(unsigned char *out, uint32_t id, const char *cursor);
bool layout_get_stream(const void *value, size_t size, uint32_t *id,
                       char cursor[SLSR_CURSOR_MAX + 1]);
size_t layout_put_target(unsigned char *out, const struct slsr_target_state *state);
bool layout_get_target(const void *value, size_t size, struct slsr_target_state *state);
size_t layout_put_note(unsigned char *out, int64_t lag_s, int64_t written_ms, const char *reported);
bool layout_get_note(const void *value, size_t size, int64_t *lag_s, int64_t *written_ms,
                     char reported[SLSR_CURSOR_MAX + 1]);

#endif
