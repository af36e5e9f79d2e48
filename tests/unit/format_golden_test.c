/* Golden vectors: flattening and the bytes of the service's own syslog example (seed format), and
 * all vectors of headers and events. The deliberate exceptions stand beside the code that makes
 * them. */
#include "format_help.h"

#include <jansson.h>

#include "base/clock.h"
#include "codec/codec.h"
#include "format/escape.h"
#include "format/flatten.h"

static json_t *vectors(const char *file)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof(path), "%s/%s", VECTORS, file);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (root == NULL)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    return root;
}

static const char *string_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static char *unhex(const char *hex, size_t *n)
{
    *n = strlen(hex) / 2;
    char *out = malloc(*n + 1);
    for (size_t i = 0; i < *n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    return out;
}

/* --- flattening --- */

static struct slsr_bytes clean(struct slsr_bytes in, char *out)
{
    static const struct text_rules drop = {TEXT_SEED, SLSR_NL_KEEP, SLSR_UTF8_DROP};
    return (struct slsr_bytes){out, (size_t)(text_put(out, in, &drop) - out)};
}

/* want: [key, type, value], bytes in hex, a tuple as [[type, value]]. */
static void check_pair(const struct flat_pair *pair, const json_t *want, bool decode)
{
    char key[256], scratch[512];
    const char *type = json_string_value(json_array_get(want, 1));
    const json_t *value = json_array_get(want, 2);
    struct slsr_bytes got =
        decode && pair->kind == FLAT_CONTENT ? clean(pair->value, scratch) : pair->value;

    snprintf(key, sizeof(key), "%s%.*s", pair->tag ? FLAT_TAG_PREFIX : "", (int)pair->key.n,
             pair->key.p);
    assert_string_equal(key, json_string_value(json_array_get(want, 0)));
    if (strcmp(type, "tuple") == 0) {
        assert_int_equal(pair->kind, FLAT_NS);
        type = json_string_value(json_array_get(json_array_get(value, 0), 0));
        value = json_array_get(json_array_get(value, 0), 1);
    }
    if (strcmp(type, "int") == 0) {
        snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(value));
        format_assert(got, key, strlen(key));
    } else if (strcmp(type, "bytes") == 0) {
        size_t n;
        char *bytes = unhex(json_string_value(value), &n);
        format_assert(got, bytes, n);
        free(bytes);
    } else {
        format_assert(got, json_string_value(value), json_string_length(value));
    }
}

static void flatten_like_the_sdk(void **state)
{
    (void)state;
    json_t *root = vectors("flatten-golden.json"), *test;
    struct codec *codec;
    struct flat flat = {0};
    size_t i, checked = 0;
    assert_int_equal(codec_new(&codec, NULL), 0);
    json_array_foreach(json_object_get(root, "cases"), i, test)
    {
        size_t n;
        char *body = unhex(string_of(test, "input_protobuf_hex"), &n);
        const char *flags;
        json_t *logs;
        json_object_foreach(json_object_get(test, "outputs"), flags, logs)
        {
            bool decode = strstr(flags, "decode_bytes=true") != NULL;
            struct slsr_log log;
            size_t at = 0;
            assert_int_equal(
                codec_begin(codec, (struct slsr_bytes){body, n}, CODEC_PLAIN, n, NULL, NULL), 0);
            for (; codec_next(codec, &log); at++) {
                json_t *want = json_array_get(logs, at);
                assert_int_equal(flatten(&flat, &log, decode, NULL, NULL), 0);
                assert_int_equal(flat.count, json_array_size(want));
                for (size_t k = 0; k < flat.count; k++, checked++)
                    check_pair(&flat.pairs[k], json_array_get(want, k), decode);
            }
            assert_int_equal(at, json_array_size(logs));
        }
        free(body);
    }
    assert_true(checked > 200);
    flat_fini(&flat);
    codec_free(codec);
    json_decref(root);
}

/* --- the example's bytes --- */

static struct slsr_format_config seed_settings(const json_t *test)
{
    static char sep[32], host[256], tag[64], zone[64];
    json_t *o = json_object_get(test, "options"), *v;
    struct slsr_format_config c = format_settings();
    c.protocol = SLSR_SEED;
    c.max_message_bytes = 1 << 20;
    snprintf(sep, sizeof(sep), "%s", (v = json_object_get(o, "sep")) ? json_string_value(v) : "||");
    /* The captures pinned the machine's name; an empty one means "unset", which is that name. */
    v = json_object_get(o, "hostname");
    snprintf(host, sizeof(host), "%s",
             json_string_length(v) > 0 ? json_string_value(v) : "collector.example.com");
    v = json_object_get(o, "tag");
    snprintf(tag, sizeof(tag), "%s", json_string_length(v) > 0 ? json_string_value(v) : "");
    snprintf(zone, sizeof(zone), "%s", string_of(test, "timezone"));
    if ((v = json_object_get(o, "facility")) != NULL)
        c.facility = (int)json_integer_value(v);
    if ((v = json_object_get(o, "severity")) != NULL)
        c.severity = (int)json_integer_value(v);
    c.sep = sep;
    c.hostname = host;
    c.tag = tag;
    c.time_zone = zone;
    return c;
}

/* All that the example emitted, connection after connection. */
static char *emitted(const json_t *test, size_t *total)
{
    char *all = NULL;
    size_t i;
    json_t *e;
    *total = 0;
    json_array_foreach(json_object_get(test, "emitted"), i, e)
    {
        const char *whole = string_of(e, "hex");
        const char *parts[] = {whole != NULL ? whole : string_of(e, "prefix_hex"),
                               whole != NULL ? "" : string_of(e, "suffix_hex")};
        for (int k = 0; k < 2; k++) {
            size_t n;
            char *bytes = unhex(parts[k], &n);
            all = realloc(all, *total + n + 8192);
            memcpy(all + *total, bytes, n);
            *total += n;
            free(bytes);
            if (whole == NULL && k == 0) {
                size_t many =
                    (size_t)json_integer_value(json_array_get(json_object_get(e, "repeat"), 1));
                assert_true(many < 8000);
                memset(all + *total, 'x', many);
                *total += many;
            }
        }
    }
    return all;
}

/* Formats a whole pull; each message + LF as the example frames them. */
static char *sent(struct format_plan *plan, const char *body, size_t body_n, size_t *total,
                  uint64_t *dead)
{
    struct codec *codec;
    struct slsr_batch batch;
    struct slsr_log log;
    char *all = malloc(1 << 20);
    *total = 0;
    slsr_batch_init(&batch);
    strcpy(batch.cursor, "MTAw");
    assert_int_equal(codec_new(&codec, NULL), 0);
    assert_int_equal(
        codec_begin(codec, (struct slsr_bytes){body, body_n}, CODEC_PLAIN, 0, NULL, NULL), 0);
    while (codec_next(codec, &log))
        (void)format_log(plan, &log, &batch, NULL);
    for (size_t i = 0; i < batch.frame_count; i++) {
        struct slsr_bytes m = format_message(&batch, i);
        assert_true(*total + m.n + 1 < 1 << 20);
        memcpy(all + *total, m.p, m.n);
        all[*total + m.n] = '\n';
        *total += m.n + 1;
    }
    *dead = batch.dead_count;
    slsr_batch_fini(&batch);
    codec_free(codec);
    return all;
}

/* Tag byte and length, three bytes of varint. */
static size_t put_length(char *out, char tag, size_t n)
{
    out[0] = tag;
    out[1] = (char)((n & 0x7f) | 0x80);
    out[2] = (char)(((n >> 7) & 0x7f) | 0x80);
    out[3] = (char)(n >> 14);
    return 4;
}

/* The two inputs that are too long for the vector file: a log k=xxx (and one a=2 behind it), both
 * at 1735787045, topic web, source 10.0.0.1, two tags. */
static char *long_body(size_t value, bool second, size_t *n)
{
    static const char tail[] = "\x1a\x03web\x22\x08"
                               "10.0.0.1\x32\x15\x0a\x0c__hostname__\x12\x05web-1"
                               "\x32\x1c\x0a\x08__path__\x12\x10/var/log/app.log";
    static const char other[] = "\x0a\x0e\x08\xa5\x84\xd8\xbb\x06\x12\x06\x0a\x01"
                                "a\x12\x01"
                                "2";
    size_t pair = 3 + 4 + value, log = 6 + 4 + pair, other_n = second ? sizeof(other) - 1 : 0;
    char *body = malloc(value + 512), *p = body;
    p += put_length(p, 0x0a, 4 + log + other_n + sizeof(tail) - 1);
    p += put_length(p, 0x0a, log);
    memcpy(p, other + 2, 6); /* the time */
    p += 6;
    p += put_length(p, 0x12, pair);
    memcpy(p, "\x0a\x01k", 3);
    p += 3;
    p += put_length(p, 0x12, value);
    memset(p, 'x', value);
    p += value;
    memcpy(p, other, other_n);
    p += other_n;
    memcpy(p, tail, sizeof(tail) - 1);
    *n = (size_t)(p - body) + sizeof(tail) - 1;
    return body;
}

static void seed_bytes_are_the_examples(void **state)
{
    (void)state;
    json_t *root = vectors("syslog-golden.json"), *test;
    size_t i, ran = 0;
    clock_freeze(INT64_C(1795392000000)); /* 2026-11-23: the example prints that day's offset */
    json_array_foreach(json_object_get(root, "cases"), i, test)
    {
        const char *name = string_of(test, "name");
        struct slsr_format_config config = seed_settings(test);
        struct format_plan *plan = format_plan_or_die(&config);
        size_t body_n, want_n, got_n, skip = 0;
        uint64_t dead, want_dead = 0;
        const char *hex = string_of(test, "input_protobuf_hex");
        bool too_long = strcmp(name, "udp-too-long") == 0;
        char *body = hex != NULL ? unhex(hex, &body_n)
                                 : long_body(too_long ? 66000 : 3000, too_long, &body_n);
        char *want = emitted(test, &want_n);
        char *got = sent(plan, body, body_n, &got_n, &dead);

        if (too_long) {
            /* Exception: the example lost the long datagram in silence. Here the message is made;
             * what a datagram can carry is the transport's to decide. */
            skip = (size_t)((char *)memchr(got, '\n', got_n) + 1 - got);
            assert_true(skip > 66000);
        }
        if (strcmp(name, "content-time-not-numeric") == 0) {
            /* Exception: the example dropped this log *and all behind it*. Here this one is set
             * aside and counted (I5), the third log follows. */
            want_dead = 1;
            assert_true(got_n > want_n);
            assert_non_null(memmem(got + want_n, got_n - want_n, "||a=3\n", 6));
            got_n = want_n;
        }
        /* No exception, but out of reach here: how many connections or datagrams the messages came
         * in, and whether a checkpoint was saved. */
        assert_int_equal(dead, want_dead);
        if (got_n - skip != want_n || memcmp(got + skip, want, want_n) != 0)
            fail_msg("%s:\ngot  %.*s\nwant %.*s", name, (int)(got_n - skip), got + skip,
                     (int)want_n, want);
        ran++;
        free(body);
        free(want);
        free(got);
        format_plan_free(plan);
    }
    assert_int_equal(ran, json_array_size(json_object_get(root, "cases")));
    json_decref(root);
}

/* --- RFC vectors --- */

static const char *zone_of(long long minutes)
{
    switch (minutes) {
    case 0:
        return "UTC";
    case 480:
        return "Asia/Shanghai";
    case 345:
        return "Asia/Kathmandu";
    case -210:
        return "America/St_Johns"; /* in winter */
    case -300:
        return "Etc/GMT+5";
    case -420:
        return "America/Los_Angeles"; /* in summer */
    default:
        return NULL;
    }
}

static char *text_of(const json_t *in, const char *key)
{
    const char *text = string_of(in, key);
    return (char *)(text != NULL ? text : ""); /* NULL would be the machine's name */
}

/* Input "sd": [{"id", "params": [[name, value], ...]}, ...] -> format.structured_data. */
static struct slsr_map elements_of(const json_t *sd)
{
    struct slsr_map map = {calloc(32, sizeof(*map.items)), 0};
    json_t *element, *param;
    size_t i, k;
    json_array_foreach(sd, i, element)
    {
        char *id = (char *)string_of(element, "id");
        json_t *params = json_object_get(element, "params");
        if (json_array_size(params) == 0)
            map.items[map.count++] = (struct slsr_map_entry){id, NULL, NULL};
        json_array_foreach(params, k, param)
        {
            assert_true(map.count < 32);
            map.items[map.count++] =
                (struct slsr_map_entry){id, (char *)json_string_value(json_array_get(param, 0)),
                                        (char *)json_string_value(json_array_get(param, 1))};
        }
    }
    return map;
}

static struct slsr_format_config header_settings(const json_t *in, bool rfc5424)
{
    json_t *time = json_object_get(in, "time");
    struct slsr_format_config c = format_settings();
    c.protocol = rfc5424 ? SLSR_RFC5424 : SLSR_RFC3164;
    c.body = SLSR_BODY_RAW;
    c.newline = SLSR_NL_KEEP;
    c.invalid_utf8 = SLSR_UTF8_KEEP;
    c.facility = (int)json_integer_value(json_object_get(in, "facility"));
    c.severity = (int)json_integer_value(json_object_get(in, "severity"));
    c.hostname = text_of(in, "hostname");
    c.tag = text_of(in, rfc5424 ? "app_name" : "tag");
    c.procid = text_of(in, rfc5424 ? "procid" : "pid");
    c.msgid = text_of(in, "msgid");
    c.bom = json_is_true(json_object_get(in, "bom"));
    c.time_zone = (char *)zone_of(json_integer_value(json_object_get(time, "utc_offset_min")));
    assert_non_null(c.time_zone);
    c.fraction =
        json_is_object(time)
            ? SLSR_FRACTION_0 + (unsigned)json_integer_value(json_object_get(time, "frac_digits"))
            : SLSR_FRACTION_NIL;
    c.structured_data = elements_of(json_object_get(in, "sd"));
    return c;
}

static struct slsr_log log_at(const json_t *time)
{
    return (struct slsr_log){.time_s =
                                 (uint32_t)json_integer_value(json_object_get(time, "unix_s")),
                             .time_ns = (uint32_t)json_integer_value(json_object_get(time, "ns"))};
}

static void expect_vector(const struct slsr_format_config *c, const struct slsr_log *log,
                          const json_t *test)
{
    size_t n;
    char *want = unhex(string_of(test, "expect_hex"), &n);
    print_message("%s\n", string_of(test, "id"));
    format_expect(c, log, want, n);
    free(want);
}

static void headers_by_the_rfcs(void **state)
{
    (void)state;
    json_t *root = vectors("syslog-rfc-vectors.json"), *test;
    size_t i, ran[2] = {0, 0};
    json_array_foreach(json_object_get(root, "vectors"), i, test)
    {
        const char *kind = string_of(test, "kind");
        bool rfc5424 = strcmp(kind, "rfc5424") == 0;
        json_t *in = json_object_get(test, "input");
        if (!rfc5424 && strcmp(kind, "rfc3164") != 0)
            continue;
        struct slsr_format_config c = header_settings(in, rfc5424);
        struct slsr_pair field = {slsr_bytes_of("content"), {NULL, 0}};
        struct slsr_log log = log_at(json_object_get(in, "time"));
        char *raw = NULL;
        if (string_of(in, "msg") != NULL)
            field.value = (struct slsr_bytes){string_of(in, "msg"),
                                              json_string_length(json_object_get(in, "msg"))};
        else if (string_of(in, "msg_hex") != NULL)
            field.value.p = raw = unhex(string_of(in, "msg_hex"), &field.value.n);
        log.fields = &field;
        log.field_count = field.value.p != NULL;
        expect_vector(&c, &log, test);
        free(raw);
        free(c.structured_data.items);
        ran[rfc5424]++;
    }
    assert_int_equal(ran[1], 56);
    assert_int_equal(ran[0], 11);
    json_decref(root);
}

/* Values go in as fields f0, f1 ..., so that what they hold is a stranger's. */
static char *as_field(struct slsr_pair *fields, size_t *count, const char *value, bool in_template)
{
    static char names[32][8], templates[32][16];
    size_t n = (*count)++;
    assert_true(n < 32);
    snprintf(names[n], sizeof(names[n]), "f%zu", n);
    snprintf(templates[n], sizeof(templates[n]), "${f%zu}", n);
    fields[n] = (struct slsr_pair){slsr_bytes_of(names[n]), slsr_bytes_of(value)};
    return in_template ? templates[n] : names[n];
}

static struct slsr_map pairs_of(const json_t *pairs, struct slsr_pair *fields, size_t *count,
                                struct slsr_map_entry *items)
{
    struct slsr_map map = {items, 0};
    size_t i;
    json_t *pair;
    json_array_foreach(pairs, i, pair) items[map.count++] = (struct slsr_map_entry){
        NULL, (char *)json_string_value(json_array_get(pair, 0)),
        as_field(fields, count, json_string_value(json_array_get(pair, 1)), true)};
    return map;
}

static void cef_of(const json_t *in, struct slsr_format_config *c, struct slsr_pair *fields,
                   size_t *count, struct slsr_map_entry *items)
{
    c->body = SLSR_BODY_CEF;
    c->cef_vendor = as_field(fields, count, string_of(in, "vendor"), true);
    c->cef_product = as_field(fields, count, string_of(in, "product"), true);
    c->cef_version = as_field(fields, count, string_of(in, "version"), true);
    c->cef_class_id = as_field(fields, count, string_of(in, "event_class_id"), true);
    c->cef_name = as_field(fields, count, string_of(in, "name"), true);
    c->cef_severity = as_field(fields, count, string_of(in, "severity"), true);
    c->cef_fields = SLSR_REST_NONE;
    c->cef_extension = pairs_of(json_object_get(in, "extension"), fields, count, items);
}

static void leef_of(const json_t *in, struct slsr_format_config *c, struct slsr_pair *fields,
                    size_t *count, struct slsr_map_entry *items)
{
    c->body = SLSR_BODY_LEEF;
    c->leef_version = strcmp(string_of(in, "leef_version"), "2.0") == 0 ? SLSR_LEEF_2 : SLSR_LEEF_1;
    c->leef_vendor = as_field(fields, count, string_of(in, "vendor"), true);
    c->leef_product = as_field(fields, count, string_of(in, "product"), true);
    c->leef_device_version = as_field(fields, count, string_of(in, "version"), true);
    c->leef_event_id = as_field(fields, count, string_of(in, "event_id"), true);
    c->leef_delimiter = (char *)string_of(in, "delimiter_field");
    c->leef_fields = SLSR_REST_NONE;
    c->leef_attributes = pairs_of(json_object_get(in, "attributes"), fields, count, items);
}

/* The vectors give the event alone: a RFC 3164 header without TAG stands in front of it. */
static void events_by_their_vendors(void **state)
{
    (void)state;
    static const char head[] = "<14>Jan  2 03:04:05 h ";
    json_t *root = vectors("syslog-rfc-vectors.json"), *test;
    size_t i, ran = 0;
    json_array_foreach(json_object_get(root, "vectors"), i, test)
    {
        const char *kind = string_of(test, "kind");
        json_t *in = json_object_get(test, "input");
        bool cef = strncmp(kind, "cef", 3) == 0, header = strchr(kind, '+') != NULL;
        if (!cef && strncmp(kind, "leef", 4) != 0)
            continue;
        struct slsr_format_config c = format_settings();
        struct slsr_pair fields[32];
        struct slsr_map_entry items[16];
        size_t count = 0, n;
        c.protocol = SLSR_RFC3164;
        c.tag = NULL;
        struct slsr_log log = {.time_s = 1767323045};
        char *want = unhex(string_of(test, "expect_hex"), &n);
        if (cef) {
            cef_of(header ? json_object_get(in, "cef") : in, &c, fields, &count, items);
        } else if (!header) {
            leef_of(in, &c, fields, &count, items);
        } else { /* the event is given as text there */
            c = header_settings(in, true);
            c.body = SLSR_BODY_TEMPLATE;
            c.template_text = (char *)string_of(in, "msg");
        }
        log.fields = fields;
        log.field_count = count;
        char *whole = malloc(n + sizeof(head));
        memcpy(whole, head, sizeof(head) - 1);
        memcpy(whole + sizeof(head) - 1, want, n);
        print_message("%s\n", string_of(test, "id"));
        if (header)
            format_expect(&c, &log, want, n);
        else
            format_expect(&c, &log, whole, n + sizeof(head) - 1);
        if (!cef && header)
            free(c.structured_data.items);
        free(whole);
        free(want);
        ran++;
    }
    assert_int_equal(ran, 15 + 7 + 2);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flatten_like_the_sdk),
        cmocka_unit_test(seed_bytes_are_the_examples),
        cmocka_unit_test(headers_by_the_rfcs),
        cmocka_unit_test(events_by_their_vendors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
