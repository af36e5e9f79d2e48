/* A pull -> a batch: decode and format, no I/O. HOT (tests/bench "intake"). */
#ifndef CONSUME_INTAKE_H
#define CONSUME_INTAKE_H

#include "slsrelay/err.h"
#include "slsrelay/types.h"

#include "codec/codec.h"
#include "format/format.h"

/* Frames of one piece. A pull is one piece unless its producer is hostile: 500,000 empty logs under
 * a topic of 60 KB are 4 MB on the wire and 30 GB of frames. */
enum { INTAKE_PIECE_BYTES = 64 * 1024 * 1024 };

struct intake {
    struct codec *codec;
    struct format_plan *plan;
    char cursor[SLSR_CURSOR_MAX + 1]; /* of the pull under way */
    bool checked;                     /* all of its body */
};

struct intake_result {
    uint64_t logs;
    uint64_t raw_bytes;
    uint32_t last_time_s; /* event time of the last log */
    uint32_t groups;
    bool more; /* the batch is full: settle it and call intake_more */
};

int intake_open(struct intake *intake, const struct slsr_format_config *format,
                const struct slsr_stream *stream, struct slsr_err *err);
void intake_close(struct intake *intake);
/* Fills the batch (reset before) with the frames of one body that was read at `cursor`. All or
 * nothing: on an error the batch is empty. SLSR_EBADDATA, SLSR_ETOOBIG, SLSR_ENOMEM. Logs that give
 * no frame are counted in batch->dead_count; the first one's reason goes to *first_dead. */
int intake_take(struct intake *intake, struct slsr_bytes body, bool lz4, size_t raw_size,
                const char *cursor, struct slsr_batch *batch, struct intake_result *result,
                struct slsr_err *first_dead, struct slsr_err *err);

/* The next piece of the same body. */
int intake_more(struct intake *intake, struct slsr_batch *batch, struct intake_result *result,
                struct slsr_err *first_dead, struct slsr_err *err);

#endif
