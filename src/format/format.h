/* One log -> one syslog frame in a batch. Pure and HOT (tests/bench/bench_format.c "format"): no
 * allocation, lock or system call per log; the batch's buffer grows and is reused. */
#ifndef FORMAT_FORMAT_H
#define FORMAT_FORMAT_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/types.h"

struct format_plan; /* compiled settings; one per thread (it caches the last second's text) */

/* Bodies: kv, json, raw; the rest is refused. What the body does to bytes that could forge a line
 * or break a receiver stands in format/escape.h ("newline", "invalid_utf8"). A key or value that
 * holds `sep` or "=" is printed as it is: who must tell fields apart under hostile content uses
 * json. A cut message ends in "..."; the header is never cut. max_message_bytes 0: no limit.
 *
 * stream: for provenance; strings copied. SLSR_ECONFIG with the reason (unknown time zone, body
 * that this version cannot make, ...). */
int format_plan_new(struct format_plan **out, const struct slsr_format_config *config,
                    const struct slsr_stream *stream, struct slsr_err *err);
void format_plan_free(struct format_plan *plan);
/* Appends one frame ("LEN SP message") and its meta to the batch. 0; SLSR_ETOOBIG or SLSR_EBADDATA:
 * this log gives no frame (batch->dead_count was raised, batch otherwise unchanged); SLSR_ENOMEM.
 * batch->cursor must be set: provenance and meta are derived from it. Logs come in the order of
 * codec_next, each pull from its first log on; the text of a group is kept as long as the next log
 * has the next index and the same views. */
int format_log(struct format_plan *plan, const struct slsr_log *log, struct slsr_batch *batch,
               struct slsr_err *err);

#endif
