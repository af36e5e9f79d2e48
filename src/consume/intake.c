/* Decode and format one pull. HOT: nothing here allocates, locks or speaks per log. */
#include <stdio.h>

#include "consume/intake.h"

#include "slsrelay/spool.h"

int intake_open(struct intake *intake, const struct slsr_format_config *format,
                const struct slsr_stream *stream, struct slsr_err *err)
{
    int rc = codec_new(&intake->codec, err);

    intake->plan = NULL;
    if (rc == 0)
        rc = format_plan_new(&intake->plan, format, stream, err);
    return rc;
}

void intake_close(struct intake *intake)
{
    codec_free(intake->codec);
    format_plan_free(intake->plan);
    intake->codec = NULL;
    intake->plan = NULL;
}

int intake_take(struct intake *intake, struct slsr_bytes body, bool lz4, size_t raw_size,
                const char *cursor, struct slsr_batch *batch, struct intake_result *result,
                struct slsr_err *first_dead, struct slsr_err *err)
{
    struct slsr_log log;
    int rc;

    *result = (struct intake_result){.raw_bytes = raw_size};
    slsr_batch_reset(batch);
    snprintf(batch->cursor, sizeof batch->cursor, "%s", cursor);
    rc = codec_begin(intake->codec, body, lz4 ? CODEC_LZ4 : CODEC_PLAIN, raw_size, &result->groups,
                     err);
    if (rc != 0)
        return rc;
    while (codec_next(intake->codec, &log)) {
        rc = format_log(intake->plan, &log, batch, batch->dead_count == 0 ? first_dead : NULL);
        if (rc != 0 && slsr_err_class(rc) != SLSR_CLASS_REJECT) {
            slsr_batch_reset(batch);
            return slsr_fail(err, rc, "no memory for the frames of one pull (%zu bytes)", raw_size);
        }
        result->logs++;
        result->last_time_s = log.time_s;
    }
    return 0;
}
