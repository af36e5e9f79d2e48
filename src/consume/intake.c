/* Decode and format one pull. HOT: nothing here allocates, locks or speaks per log.
 *
 * A damaged log is found when its turn comes; then the batch is emptied, which takes back all logs
 * before it. Before a first piece leaves, all that follows it is looked at. */
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

/* The batch is whole, or the body is damaged. */
static int judge(struct intake *intake, struct intake_result *result, struct slsr_err *err)
{
    const bool first = !intake->checked;

    if (!result->more)
        return codec_end(intake->codec, err);
    intake->checked = true;
    return first ? codec_check(intake->codec, err) : 0;
}

int intake_more(struct intake *intake, struct slsr_batch *batch, struct intake_result *result,
                struct slsr_err *first_dead, struct slsr_err *err)
{
    struct slsr_log log;

    result->logs = 0;
    result->more = false;
    slsr_batch_reset(batch);
    memcpy(batch->cursor, intake->cursor, sizeof batch->cursor);
    while (codec_next(intake->codec, &log)) {
        const int rc =
            format_log(intake->plan, &log, batch, batch->dead_count == 0 ? first_dead : NULL);

        if (rc != 0 && slsr_err_class(rc) != SLSR_CLASS_REJECT) {
            slsr_batch_reset(batch);
            return slsr_fail(err, rc, "no memory for the frames of one pull (%llu raw bytes)",
                             (unsigned long long)result->raw_bytes);
        }
        result->logs++;
        result->last_time_s = log.time_s;
        if (batch->used >= INTAKE_PIECE_BYTES) {
            result->more = true;
            break;
        }
    }
    const int rc = judge(intake, result, err);

    if (rc != 0)
        slsr_batch_reset(batch);
    return rc;
}

int intake_take(struct intake *intake, struct slsr_bytes body, bool lz4, size_t raw_size,
                const char *cursor, struct slsr_batch *batch, struct intake_result *result,
                struct slsr_err *first_dead, struct slsr_err *err)
{
    int rc;

    *result = (struct intake_result){.raw_bytes = raw_size};
    snprintf(intake->cursor, sizeof intake->cursor, "%s", cursor);
    slsr_batch_reset(batch);
    intake->checked = false;
    rc = codec_begin_quick(intake->codec, body, lz4 ? CODEC_LZ4 : CODEC_PLAIN, raw_size,
                           &result->groups, err);
    return rc == 0 ? intake_more(intake, batch, result, first_dead, err) : rc;
}
