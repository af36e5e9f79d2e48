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
/* Next log, in order: true and *log filled (views until the next codec_begin; tags until the next
 * group, fields until the next call), or false at the end. */
bool codec_next(struct codec *codec, struct slsr_log *log);

#endif
