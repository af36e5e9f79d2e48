/* What the format tests share: a plan from a few literals, a batch taken apart again. */
#ifndef FORMAT_HELP_H
#define FORMAT_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/format.h"
#include "slsrelay/spool.h"

static inline struct slsr_format_config format_settings(void)
{
    static char sep[] = "||", host[] = "h", tag[] = "a", utc[] = "UTC";
    return (struct slsr_format_config){.protocol = SLSR_RFC5424,
                                       .body = SLSR_BODY_KV,
                                       .sep = sep,
                                       .facility = 1,
                                       .severity = 6,
                                       .hostname = host,
                                       .tag = tag,
                                       .time_zone = utc,
                                       .max_message_bytes = 65536};
}

static inline struct format_plan *format_plan_or_die(const struct slsr_format_config *config)
{
    static const struct slsr_stream stream = {"demo", "audit", 3};
    struct slsr_err err = {0};
    struct format_plan *plan = NULL;
    if (format_plan_new(&plan, config, &stream, &err) != 0)
        fail_msg("%s", err.text);
    return plan;
}

/* Message number `n` of a batch; checks every octet count on the way. */
static inline struct slsr_bytes format_message(const struct slsr_batch *batch, size_t n)
{
    size_t start = n == 0 ? 0 : batch->meta[n - 1].end, end = batch->meta[n].end, at = start;
    size_t count = 0;
    assert_true(n < batch->frame_count && end <= batch->used && start < end);
    assert_true(batch->data[at] >= '1' && batch->data[at] <= '9');
    while (batch->data[at] != ' ')
        count = count * 10 + (size_t)(batch->data[at++] - '0');
    assert_int_equal(count, end - at - 1);
    return (struct slsr_bytes){batch->data + at + 1, count};
}

static inline void format_assert(struct slsr_bytes got, const char *want, size_t n)
{
    if (got.n != n || memcmp(got.p, want, n) != 0)
        fail_msg("got  %.*s\nwant %.*s", (int)got.n, got.p, (int)n, want);
}

/* Formats one log and compares. */
static inline void format_expect(const struct slsr_format_config *config,
                                 const struct slsr_log *log, const char *want, size_t n)
{
    struct format_plan *plan = format_plan_or_die(config);
    struct slsr_batch batch;
    struct slsr_err err = {0};
    slsr_batch_init(&batch);
    strcpy(batch.cursor, "MTAw");
    if (format_log(plan, log, &batch, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(batch.frame_count, 1);
    format_assert(format_message(&batch, 0), want, n);
    slsr_batch_fini(&batch);
    format_plan_free(plan);
}

#define FORMAT_EXPECT(config, log, text) format_expect(config, log, text, strlen(text))

#endif
