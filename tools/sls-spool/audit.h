/* Lines of a receiver's file by their provenance. */
#ifndef SLS_SPOOL_AUDIT_H
#define SLS_SPOOL_AUDIT_H

#include "select.h"

struct line {
    uint64_t key;    /* hash of the provenance */
    uint64_t seq;    /* of its frame; 0: not found (yet) */
    uint32_t stream; /* number of its shard, in order of appearance */
    uint32_t count;  /* how often it stands in the file; the first one counts for the order */
    bool in_order;
};

struct lines {
    struct line *items; /* in the file's order of first appearance */
    uint32_t count, size;
    uint32_t *slots; /* open addressing: index + 1 */
    uint32_t slot_count;
    uint64_t streams[4096]; /* hashes of the shards */
    uint32_t stream_count;
    uint64_t read, plain; /* lines; those without provenance */
};

/* Reads the file ("-": standard input), plain or with its quotes escaped by an exporter. */
int lines_read(struct lines *lines, const char *path, struct slsr_stop *stop, struct slsr_err *err);
void lines_free(struct lines *lines);
uint64_t lines_hash_frame(const struct slsr_frame *frame);
struct line *lines_find(const struct lines *lines, uint64_t key);

/* replay.c: these frames to the target of the command line. The exit code. */
int replay_spans(struct tool *tool, const struct slsr_spans *spans);

#endif
