/* Response body -> logs. Pure and HOT (tests/bench/bench_format.c "decode"): one scanner over the
 * wire bytes of a LogGroupList that hands out views; protobuf-c is its oracle in the tests. */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H

#include "slsrelay/err.h"
#include "slsrelay/types.h"

/* Uncompressed size that we are willing to hold for one pull. */
enum { CODEC_RAW_MAX = 256 * 1024 * 1024 };

enum codec_compression { CODEC_PLAIN, CODEC_LZ4 };

struct codec;

int codec_new(struct codec **out, struct slsr_err *err);
void codec_free(struct codec *codec);
/* Takes one body. LZ4: a bare block whose size must come out as raw_size exactly. The body may be
 * freed afterwards only when compression is LZ4; a plain body is borrowed until the next begin.
 * Memory is reused between pulls. The whole body is validated before the first log comes out, so
 * that a broken answer never yields half its logs: SLSR_EBADDATA (truncated, wrong size, unknown
 * wire type, length past the end), SLSR_ETOOBIG. *groups: log groups in it (may be NULL). */
int codec_begin(struct codec *codec, struct slsr_bytes body, enum codec_compression compression,
                size_t raw_size, uint32_t *groups, struct slsr_err *err);
/* Memory that it keeps between pulls, and giving that back: nothing of the last body may be in use.
 */
size_t codec_memory(const struct codec *codec);
void codec_trim(struct codec *codec);
/* The same, but the inside of the logs is looked at only when they come out: a walk less. A damaged
 * log ends the body, and codec_end says so: all logs that came out must then be taken back. */
int codec_begin_quick(struct codec *codec, struct slsr_bytes body,
                      enum codec_compression compression, size_t raw_size, uint32_t *groups,
                      struct slsr_err *err);
/* Looks at all logs that have not come out yet: behind it next cannot meet damage any more. */
int codec_check(struct codec *codec, struct slsr_err *err);
/* Next log, in order: true and *log filled (views until the next codec_begin; tags until the next
 * group, fields until the next call), or false at the end. */
bool codec_next(struct codec *codec, struct slsr_log *log);
/* Behind the last log: 0, or what ended the body before its end. SLSR_EBADDATA, SLSR_ETOOBIG,
 * SLSR_ENOMEM. */
int codec_end(const struct codec *codec, struct slsr_err *err);

/* "lz4 1.9.4", of the libraries that run here. */
void codec_libraries(char *out, size_t size);

#endif
