/* One log -> one syslog frame in a batch. Pure and HOT (tests/bench/bench_format.c "format"): no
 * allocation, lock or system call per log; the batch's buffer grows and is reused. */
#ifndef FORMAT_FORMAT_H
#define FORMAT_FORMAT_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/types.h"

struct format_plan; /* compiled settings; one per thread (it caches the last second's text) */

/* docs/format.md says what the settings mean. What a body does to bytes that could forge a line or
 * break a receiver stands in format/escape.h ("newline", "invalid_utf8"), how kv keeps pairs apart
 * in kv.c. A cut message ends in "..."; the header is never cut. max_message_bytes 0: no limit.
 *
 * stream: for provenance; strings copied. SLSR_ECONFIG with the reason and, for
 * templates and filters, the column. */
int format_plan_new(struct format_plan **out, const struct slsr_format_config *config,
                    const struct slsr_stream *stream, struct slsr_err *err);
void format_plan_free(struct format_plan *plan);
/* Says every mistake of the settings, one sentence each, which begins with the setting's name, an
 * index or key behind it: "format.severity_rules[2]: column 4: ...". err may not be NULL. 0,
 * however many there are; SLSR_ENOMEM. */
int format_judge(const struct slsr_format_config *config, void (*say)(void *ctx, const char *text),
                 void *ctx, struct slsr_err *err);
/* Appends one frame ("LEN SP message") and its meta to the batch; none when the filter leaves the
 * log out (batch->dropped_count was raised), several when it is split. 0; SLSR_ETOOBIG or
 * SLSR_EBADDATA: this log gives no frame (batch->dead_count was raised, batch otherwise unchanged);
 * SLSR_ENOMEM. batch->cursor must be set: provenance and meta are derived from it. Logs come in the
 * order of codec_next, each pull from its first log on; the text of a group is kept as long as the
 * next log has the next index and the same views. */
int format_log(struct format_plan *plan, const struct slsr_log *log, struct slsr_batch *batch,
               struct slsr_err *err);

/* "PCRE2 10.42", of the libraries that run here. */
void format_libraries(char *out, size_t size);

#endif
