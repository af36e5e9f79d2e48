/* A pull of any bytes through the decoder and on through every format. First byte: bit 0 chooses
 * lz4 (then bytes 1..4 are the raw size, little endian, at most 1 MB), bits 1.. the format. What
 * must hold: views lie inside the body, groups count up, frames are counted right and hold no line
 * end; looking at logs as they come out finds the same damage and gives the same logs. */
#include <stdint.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "format/format.h"
#include "slsrelay/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW_MAX = 1 << 20, FORMATS = 6 };

static void must(int holds)
{
    if (!holds)
        abort();
}

static struct format_plan *plan_of(unsigned n)
{
    static struct format_plan *plans[FORMATS];
    static const struct slsr_stream stream = {"p", "l", 1};
    static const enum slsr_body bodies[FORMATS] = {SLSR_BODY_KV, SLSR_BODY_JSON, SLSR_BODY_RAW,
                                                   SLSR_BODY_KV, SLSR_BODY_KV,   SLSR_BODY_KV};
    struct slsr_format_config c = {.severity = 6,
                                   .facility = 1,
                                   .hostname = (char *)"h",
                                   .body = bodies[n],
                                   .max_message_bytes = 300,
                                   .invalid_utf8 = (enum slsr_utf8)(n % 3),
                                   .provenance = n == 3};
    c.protocol = n == 4 ? SLSR_RFC3164 : n == 5 ? SLSR_SEED : SLSR_RFC5424;
    if (plans[n] == NULL)
        must(format_plan_new(&plans[n], &c, &stream, NULL) == 0);
    return plans[n];
}

static void check_frames(const struct slsr_batch *batch, bool seed)
{
    size_t start = 0;
    for (size_t i = 0; i < batch->frame_count; i++) {
        size_t end = batch->meta[i].end, count = 0, at = start;
        must(end > start && end <= batch->used);
        for (; batch->data[at] != ' '; at++)
            count = count * 10 + (size_t)(batch->data[at] - '0');
        must(count == end - at - 1 && count <= 300);
        for (; at < end && !seed; at++)
            must((uint8_t)batch->data[at] >= 0x20);
        start = end;
    }
    must(start == batch->used);
}

/* What comes out, in one number. */
static uint64_t drain(struct codec *codec, uint32_t *logs)
{
    struct slsr_log log;
    uint64_t sum = 0;
    for (*logs = 0; codec_next(codec, &log); ++*logs) {
        sum = sum * 31 + log.time_s + log.time_ns + log.topic.n + log.source.n + log.tag_count;
        for (size_t i = 0; i < log.field_count; i++)
            sum = sum * 31 + log.fields[i].key.n * 7 + log.fields[i].value.n;
    }
    return sum;
}

static void check_quick_way(struct codec *codec, struct slsr_bytes body, bool lz4, size_t raw)
{
    const enum codec_compression how = lz4 ? CODEC_LZ4 : CODEC_PLAIN;
    uint32_t groups, quick_groups, logs = 0, quick_logs = 0;
    uint64_t sum = 0, quick_sum = 0;
    int rc = codec_begin(codec, body, how, raw, &groups, NULL);
    if (rc == 0)
        sum = drain(codec, &logs);
    int quick = codec_begin_quick(codec, body, how, raw, &quick_groups, NULL);
    if (quick == 0) {
        struct slsr_log log;
        bool one = body.n % 2 == 1 && codec_next(codec, &log);
        must(codec_check(codec, NULL) == rc || (one && rc == 0) || codec_end(codec, NULL) == rc);
        must(codec_begin_quick(codec, body, how, raw, &quick_groups, NULL) == 0);
        quick_sum = drain(codec, &quick_logs);
        quick = codec_end(codec, NULL);
    }
    must((quick == 0) == (rc == 0));
    must(rc != 0 || (groups == quick_groups && logs == quick_logs && sum == quick_sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct codec *codec;
    struct slsr_batch batch;
    struct slsr_log log;
    uint32_t groups, logs = 0;
    if (size < 5)
        return 0;
    bool lz4 = (data[0] & 1) != 0;
    unsigned format = (unsigned)(data[0] >> 1) % FORMATS;
    size_t raw = (size_t)data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16;
    struct slsr_bytes body = {(const char *)data + 5, size - 5};
    must(codec_new(&codec, NULL) == 0);
    check_quick_way(codec, body, lz4, lz4 ? raw % RAW_MAX : 0);
    slsr_batch_init(&batch);
    memcpy(batch.cursor, "MTAw", 5);
    if (codec_begin(codec, body, lz4 ? CODEC_LZ4 : CODEC_PLAIN, lz4 ? raw % RAW_MAX : 0, &groups,
                    NULL) == 0) {
        while (codec_next(codec, &log)) {
            must(log.group < groups && log.time_ns < 1000000000);
            for (size_t i = 0; i < log.field_count && !lz4; i++)
                must(log.fields[i].value.n <= body.n);
            (void)format_log(plan_of(format), &log, &batch, NULL);
            logs++;
        }
        must(batch.frame_count + batch.dead_count == logs);
        check_frames(&batch, format == 5);
    }
    slsr_batch_fini(&batch);
    codec_free(codec);
    return 0;
}
