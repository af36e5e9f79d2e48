/* One log of any bytes through one of the formats. First byte: which format; second: settings; then
 * pairs, each a byte with the length of its key, one with the length of its value (both may be cut
 * by the end of the data). What must hold: right octet counts, the header at its place, no control
 * character but the delimiter of LEEF, no message over its limit. */
#include <stdint.h>
#include <stdlib.h>

#include "format/format.h"
#include "slsrelay/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FORMATS = 12, SETTINGS = 18, LIMIT = 600, FIELDS_MAX = 64 };

static void must(int holds)
{
    if (!holds)
        abort();
}

static void choose(struct slsr_format_config *c, unsigned format)
{
    static const struct {
        enum slsr_format_protocol protocol;
        enum slsr_body body;
        enum slsr_kv_quote quote;
    } formats[FORMATS] = {{SLSR_RFC5424, SLSR_BODY_KV, SLSR_KV_AUTO},
                          {SLSR_RFC5424, SLSR_BODY_KV, SLSR_KV_ESCAPE},
                          {SLSR_RFC5424, SLSR_BODY_KV, SLSR_KV_ALWAYS},
                          {SLSR_RFC5424, SLSR_BODY_JSON, SLSR_KV_AUTO},
                          {SLSR_RFC5424, SLSR_BODY_CEF, SLSR_KV_AUTO},
                          {SLSR_RFC5424, SLSR_BODY_LEEF, SLSR_KV_AUTO},
                          {SLSR_RFC5424, SLSR_BODY_RAW, SLSR_KV_AUTO},
                          {SLSR_RFC5424, SLSR_BODY_TEMPLATE, SLSR_KV_AUTO},
                          {SLSR_RFC3164, SLSR_BODY_KV, SLSR_KV_AUTO},
                          {SLSR_RFC3164, SLSR_BODY_LEEF, SLSR_KV_AUTO},
                          {SLSR_RFC3164, SLSR_BODY_RAW, SLSR_KV_AUTO},
                          {SLSR_RFC3164, SLSR_BODY_JSON, SLSR_KV_NONE}};
    c->protocol = formats[format].protocol;
    c->body = formats[format].body;
    c->kv_quote = formats[format].quote;
}

static struct format_plan *plan_of(unsigned format, unsigned settings)
{
    static struct format_plan *plans[FORMATS][SETTINGS];
    static const struct slsr_stream stream = {"p", "l", 1};
    static struct slsr_map_entry elements[] = {{(char *)"t@1", (char *)"a", (char *)"${a}"},
                                               {(char *)"t@1", (char *)"b", (char *)"${b|upper}"}};
    static struct slsr_map_entry mapped[] = {{NULL, (char *)"mapped", (char *)"${a}"},
                                             {NULL, (char *)"dvc", (char *)"${b|json}x"}};
    static struct slsr_map_entry rename[] = {{NULL, (char *)"c", (char *)"b"}};
    static char *rules[] = {(char *)"if a > 5 or b ~ \"x\" then err"};
    struct slsr_format_config c = {.severity = 6, .facility = 1, .max_message_bytes = LIMIT};
    if (plans[format][settings] != NULL)
        return plans[format][settings];
    choose(&c, format);
    c.hostname = (char *)"${a}";
    c.tag = (char *)"${b|lower:-t}";
    c.procid = (char *)"${c}";
    c.msgid = (char *)"${a|trunc:4}";
    if (c.protocol == SLSR_RFC5424) {
        c.structured_data = (struct slsr_map){elements, 2};
        c.provenance = settings % 2 == 0;
    }
    c.newline = settings % 2 == 0 ? SLSR_NL_ESCAPE : SLSR_NL_SPACE;
    c.invalid_utf8 = (enum slsr_utf8)(settings / 2 % 3);
    c.oversize = (enum slsr_oversize)(settings / 6);
    c.severity_rules = (struct slsr_texts){rules, 1};
    c.facility_field = (char *)"c";
    c.cef_extension = c.leef_attributes = (struct slsr_map){mapped, 2};
    c.leef_version = settings % 2 == 0 ? SLSR_LEEF_1 : SLSR_LEEF_2;
    c.leef_delimiter = (char *)"^";
    if (settings % 3 == 1)
        c.rename = (struct slsr_map){rename, 1};
    if (c.body == SLSR_BODY_TEMPLATE)
        c.template_text = (char *)"${a} ${b|json} ${c|date:%F} ${d|quote|upper:-none}";
    must(format_plan_new(&plans[format][settings], &c, &stream, NULL) == 0);
    return plans[format][settings];
}

static size_t read_pairs(const uint8_t *data, size_t size, struct slsr_pair *fields)
{
    size_t count = 0;
    while (size >= 2 && count < FIELDS_MAX) {
        size_t key = data[0] & 15, value = data[1];
        data += 2;
        size -= 2;
        key = key < size ? key : size;
        value = value < size - key ? value : size - key;
        fields[count++] =
            (struct slsr_pair){{(const char *)data, key}, {(const char *)data + key, value}};
        data += key + value;
        size -= key + value;
    }
    return count;
}

static void check(const struct slsr_batch *b, unsigned format)
{
    size_t start = 0;
    for (size_t i = 0; i < b->frame_count; i++) {
        size_t end = b->meta[i].end, count = 0, at = start;
        must(end > start && end <= b->used);
        for (; b->data[at] != ' '; at++)
            count = count * 10 + (size_t)(b->data[at] - '0');
        must(count == end - ++at && count <= LIMIT && b->data[at] == '<');
        for (; at < end; at++)
            must((uint8_t)b->data[at] >= 0x20 ||
                 (b->data[at] == '\t' && (format == 5 || format == 9)));
        start = end;
    }
    must(start == b->used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slsr_pair fields[FIELDS_MAX];
    struct slsr_batch b;
    if (size < 2)
        return 0;
    unsigned format = data[0] % FORMATS;
    struct slsr_log log = {.time_s = 1767323045,
                           .time_ns = data[1],
                           .topic = {"", 0},
                           .source = {"", 0},
                           .fields = fields};
    log.field_count = read_pairs(data + 2, size - 2, fields);
    slsr_batch_init(&b);
    memcpy(b.cursor, "MTAw", 5);
    int rc = format_log(plan_of(format, data[1] % SETTINGS), &log, &b, NULL);
    must(rc == 0 || rc == SLSR_ETOOBIG);
    must(rc == 0 ? b.frame_count >= 1 && b.dead_count == 0
                 : b.frame_count == 0 && b.dead_count == 1);
    check(&b, format);
    slsr_batch_fini(&b);
    return 0;
}
