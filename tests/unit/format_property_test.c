/* Random logs of any bytes through every format, read back by frame_reader.h: the fields that went
 * in come out, and no byte of them can move a boundary.
 *
 * SLSR_PROPERTY=N logs for each format (default 100000; fewer under sanitizers), SLSR_SEED the
 * luck. What "come out" means where a format cannot carry every byte is said by `cleaned`: the
 * rules of docs/format.md, written once more. With kv_quote escape and invalid_utf8 escape every
 * byte does. */
#include "format_help.h"

#include <arpa/inet.h>
#include <jansson.h>

#include "frame_reader.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LOGS_DEFAULT = 6000 };
#else
enum { LOGS_DEFAULT = 100000 };
#endif

enum { FIELDS_MAX = 12, PULL = 50, TEXT_MAX = 60, ARENA = 1 << 16 };

static uint64_t state_of_luck;

static uint32_t rnd(uint32_t below)
{
    state_of_luck ^= state_of_luck << 13;
    state_of_luck ^= state_of_luck >> 7;
    state_of_luck ^= state_of_luck << 17;
    return (uint32_t)(state_of_luck >> 32) % below;
}

/* --- logs --- */

struct made {
    struct slsr_log log;
    struct slsr_pair fields[FIELDS_MAX];
    char text[FIELDS_MAX * 2 * (TEXT_MAX + 8)];
};

static struct slsr_bytes random_text(char **at, uint32_t most)
{
    static const char *const parts[] = {"\n",
                                        "\r\n",
                                        "\r",
                                        "\t",
                                        "\x7f",
                                        "\x1b[31m",
                                        "\xe4\xb8\xad",
                                        "\xf0\x9f\x98\x80",
                                        "\xed\xa0\x80",
                                        "\xc3",
                                        "\xc0\xaf",
                                        "||",
                                        "|",
                                        "=",
                                        "\"",
                                        "\\",
                                        "\\n",
                                        "\\\"",
                                        "]",
                                        "[",
                                        " k=v",
                                        "<14>1 - ",
                                        "}",
                                        ",",
                                        "\":\"",
                                        "12 <13>1 ",
                                        "^",
                                        " ",
                                        "\xef\xbb\xbf",
                                        "CEF:0|",
                                        "\xff",
                                        "- ",
                                        "::1",
                                        ": "};
    char *start = *at, *p = start;
    uint32_t n = rnd(8) == 0 ? 0 : rnd(most), kind = rnd(4);
    while ((uint32_t)(p - start) < n) {
        if (kind == 0 || rnd(6) == 0) {
            const char *part = parts[rnd(sizeof(parts) / sizeof(parts[0]))];
            memcpy(p, part, strlen(part));
            p += strlen(part);
        } else {
            *p++ = (char)(kind == 1 ? rnd(256) : kind == 2 ? 32 + rnd(95) : 'a' + rnd(26));
        }
    }
    *at = p;
    return (struct slsr_bytes){start, (size_t)(p - start)};
}

/* Keys f0.. are asked for by templates; the others are anything, equal ones too. */
static void make_log(struct made *m, uint32_t index, bool plain_keys)
{
    static char names[FIELDS_MAX][4];
    char *at = m->text;
    size_t n = rnd(FIELDS_MAX + 1);
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "f%x", (unsigned)i & 15);
        m->fields[i].key =
            plain_keys || rnd(2) == 0 ? slsr_bytes_of(names[i]) : random_text(&at, 12);
        m->fields[i].value = random_text(&at, TEXT_MAX);
    }
    m->log = (struct slsr_log){.time_s = rnd(UINT32_MAX),
                               .index = index,
                               .fields = m->fields,
                               .field_count = n,
                               .topic = {"", 0},
                               .source = {"", 0}};
    if (rnd(2) == 0)
        m->log.time_ns = rnd(1000000000);
}

/* --- what must come out --- */

struct wanted {
    struct read_pair pairs[FIELDS_MAX + 4];
    size_t count;
};

/* Length of the sound UTF-8 sequence at p, or 0 and *bad bytes of a maximal subpart. By code point,
 * unlike the product's tables. */
static size_t sound(const uint8_t *p, size_t n, size_t *bad)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    uint32_t point = need == 1 ? *p : need == 2 ? *p & 31 : need == 3 ? *p & 15 : *p & 7;
    *bad = 1;
    if (need == 0)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if (i == n || p[i] >> 6 != 2)
            return 0;
        point = point << 6 | (p[i] & 63);
        /* Could any tail make this sound? Then the bytes so far belong together. */
        uint32_t shift = 6 * (uint32_t)(need - 1 - i), low = point << shift,
                 high = low | ((1u << shift) - 1);
        if (high < least[need] || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff))
            return 0;
        *bad = i + 1;
    }
    return need == 2 && point < 0x80 ? 0 : need;
}

struct cleaning {
    enum slsr_newline newline;
    enum slsr_utf8 utf8;
    bool keeps_line_ends; /* CEF: LF and CR have an escape of their own */
    char delimiter;       /* LEEF: becomes a space; else 0 */
    bool json;            /* controls come back as they were */
};

static struct slsr_bytes cleaned(struct reader *arena, struct slsr_bytes in,
                                 const struct cleaning *c)
{
    size_t at = arena->used;
    char hex[8];
    for (size_t i = 0; i < in.n;) {
        uint8_t b = (uint8_t)in.p[i];
        size_t bad, n = sound((const uint8_t *)in.p + i, in.n - i, &bad);
        const char *text = NULL;
        if (n == 0) {
            for (size_t k = 0; k < bad && c->utf8 == SLSR_UTF8_ESCAPE; k++) {
                snprintf(hex, sizeof(hex), "\\x%02x", (uint8_t)in.p[i + k]);
                for (const char *h = hex; *h != '\0'; h++)
                    reader_put(arena, *h);
            }
            if (c->utf8 == SLSR_UTF8_REPLACE)
                for (const char *h = "\xef\xbf\xbd"; *h != '\0'; h++)
                    reader_put(arena, *h);
            i += bad;
            continue;
        }
        bool end = b == '\n' || b == '\r';
        if (n > 1 || c->json || (b >= 32 && b != 127) || (end && c->keeps_line_ends)) {
            for (size_t k = 0; k < n; k++, i++)
                reader_put(arena, c->delimiter != 0 && in.p[i] == c->delimiter ? ' ' : in.p[i]);
            continue;
        }
        i++;
        if ((end || b == '\t') && c->newline == SLSR_NL_ESCAPE) {
            text = b == '\n' ? "\\n" : b == '\r' ? "\\r" : "\\t";
        } else if (end || b == '\t') {
            text = " ";
            i += b == '\r' && i < in.n && in.p[i] == '\n';
        } else {
            snprintf(hex, sizeof(hex), "\\x%02x", b);
            text = hex;
        }
        for (; *text != '\0'; text++)
            reader_put(arena, *text);
    }
    return (struct slsr_bytes){arena->arena + at, arena->used - at};
}

static void want(struct wanted *w, const char *key, size_t key_n, struct slsr_bytes value)
{
    for (size_t i = 0; i < w->count; i++)
        if (slsr_bytes_equal(w->pairs[i].key, (struct slsr_bytes){key, key_n})) {
            w->pairs[i].value = value;
            return;
        }
    w->pairs[w->count++] = (struct read_pair){{key, key_n}, value};
}

static struct wanted want_all(const struct slsr_log *log, char ns[12])
{
    struct wanted w = {.count = 0};
    want(&w, "__topic__", 9, log->topic);
    want(&w, "__source__", 10, log->source);
    snprintf(ns, 12, "%u", log->time_ns);
    if (log->time_ns != 0)
        want(&w, "__time_ns_part__", 16, slsr_bytes_of(ns));
    for (size_t i = 0; i < log->field_count; i++)
        want(&w, log->fields[i].key.p, log->fields[i].key.n, log->fields[i].value);
    return w;
}

static struct slsr_bytes last_of(const struct slsr_log *log, const char *name)
{
    struct slsr_bytes value = {"", 0};
    for (size_t i = 0; i < log->field_count; i++)
        if (slsr_bytes_equal(log->fields[i].key, slsr_bytes_of(name)))
            value = log->fields[i].value;
    return value;
}

static void same(struct slsr_bytes got, struct slsr_bytes must, const char *what,
                 struct slsr_bytes frame)
{
    if (!slsr_bytes_equal(got, must))
        fail_msg("%s: got \"%.*s\", wanted \"%.*s\" in\n%.*s", what, (int)got.n, got.p, (int)must.n,
                 must.p, (int)frame.n, frame.p);
}

/* --- one format --- */

struct kind {
    const char *name;
    enum slsr_format_protocol protocol;
    enum slsr_body body;
    enum slsr_kv_quote quote;
    bool exact; /* every byte comes back */
};

struct round {
    const struct kind *kind;
    struct slsr_format_config c;
    struct cleaning clean;
    char delimiter;
    char arena[2][ARENA];
};

enum set { SET_PRINTABLE, SET_HOST, SET_HOST_3164, SET_WORD, SET_PID };

static bool allowed(char c, enum set set)
{
    bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                c == '.' || c == '_' || c == '-';
    if (set == SET_HOST)
        return word || c == ':';
    if (set == SET_WORD || set == SET_HOST_3164)
        return word;
    return c > 32 && c < 127 && (set == SET_PRINTABLE || strchr(":[]", c) == NULL);
}

static void check_name(struct slsr_bytes got, struct slsr_bytes value, size_t most, enum set set,
                       struct slsr_bytes frame)
{
    char must[257];
    size_t n = 0;
    for (; n < value.n && n < most; n++)
        must[n] = (char)(allowed(value.p[n], set) ? value.p[n] : '_');
    if (n == 0)
        must[n++] = '-';
    must[n] = '\0';
    if (set == SET_HOST || set == SET_HOST_3164) {
        struct in6_addr address;
        if (inet_pton(AF_INET6, must, &address) != 1)
            for (size_t i = 0; i < n; i++)
                must[i] = (char)(must[i] == ':' ? '_' : must[i]);
        while (set == SET_HOST_3164 && n > 0 && strchr("._-", must[n - 1]) != NULL)
            n--;
        if (n == 0)
            n = (size_t)snprintf(must, sizeof(must), "unknown");
    }
    same(got, (struct slsr_bytes){must, n}, "header field", frame);
}

struct params {
    struct round *round;
    const struct slsr_log *log;
    struct reader *want;
    struct slsr_bytes frame;
    size_t seen;
};

static void check_param(void *ctx, struct slsr_bytes id, struct slsr_bytes name,
                        struct slsr_bytes value)
{
    struct params *p = ctx;
    char key[8];
    if (!slsr_bytes_equal(id, slsr_bytes_of("t@1")))
        return;
    struct cleaning c = p->round->clean;
    c.keeps_line_ends = c.json = false;
    c.delimiter = 0;
    snprintf(key, sizeof(key), "%.*s", (int)name.n, name.p);
    same(value, cleaned(p->want, last_of(p->log, key), &c), "SD-PARAM", p->frame);
    p->seen++;
}

static void check_json(struct slsr_bytes msg, const struct slsr_log *log, struct reader *arena,
                       const struct cleaning *clean)
{
    char ns[12];
    json_error_t error;
    struct wanted w = want_all(log, ns);
    json_t *root = json_loadb(msg.p, msg.n, JSON_ALLOW_NUL, &error);
    if (root == NULL)
        fail_msg("%s at %d of\n%.*s", error.text, error.position, (int)msg.n, msg.p);
    size_t distinct = 0;
    for (size_t i = 0; i < w.count; i++) {
        struct slsr_bytes key = cleaned(arena, w.pairs[i].key, clean);
        bool last =
            memchr(key.p, 0, key.n) == NULL && !slsr_bytes_equal(key, slsr_bytes_of("__time__"));
        for (size_t k = i + 1; k < w.count && last; k++)
            last = !slsr_bytes_equal(key, cleaned(arena, w.pairs[k].key, clean));
        if (!last)
            continue; /* two keys that became equal by cleaning: the reader keeps the last */
        distinct++;
        json_t *v = json_object_getn(root, key.p, key.n);
        if (json_is_integer(v)) {
            assert_int_equal(json_integer_value(v), log->time_ns);
            continue;
        }
        if (!json_is_string(v))
            fail_msg("no \"%.*s\" in\n%.*s", (int)key.n, key.p, (int)msg.n, msg.p);
        same((struct slsr_bytes){json_string_value(v), json_string_length(v)},
             cleaned(arena, w.pairs[i].value, clean), "JSON value", msg);
    }
    assert_true(json_object_size(root) >= distinct);
    json_decref(root);
}

static void check_kv(struct round *r, struct reader *in, const struct slsr_log *log,
                     struct reader *arena, struct slsr_bytes frame)
{
    char ns[12];
    struct wanted w = want_all(log, ns);
    struct read_pair got;
    size_t i = 0;
    bool first = true;
    for (; i < w.count; i++) {
        if (slsr_bytes_equal(w.pairs[i].key, slsr_bytes_of("__time__")))
            continue;
        bool there = r->kind->exact ? read_kv_esc(in, r->c.sep, first, &got)
                                    : read_kv(in, r->c.sep, first, &got);
        if (!there)
            fail_msg("%s: pair %zu in\n%.*s", in->why != NULL ? in->why : "missing", i,
                     (int)frame.n, frame.p);
        first = false;
        same(got.key, r->kind->exact ? w.pairs[i].key : cleaned(arena, w.pairs[i].key, &r->clean),
             "key", frame);
        same(got.value,
             r->kind->exact ? w.pairs[i].value : cleaned(arena, w.pairs[i].value, &r->clean),
             "value", frame);
    }
    if (in->p != in->end)
        fail_msg("more pairs than fields in\n%.*s", (int)frame.n, frame.p);
}

/* Values in order behind three header fields; keys are cleaned by the format, so that only mapped
 * ones are compared. */
static void check_event(struct round *r, struct reader *in, const struct slsr_log *log,
                        struct reader *arena, struct slsr_bytes frame)
{
    bool cef = r->kind->body == SLSR_BODY_CEF, leef2 = r->c.leef_version == SLSR_LEEF_2;
    struct cleaning head = r->clean;
    struct read_pair got;
    char ns[12];
    head.newline = SLSR_NL_SPACE;
    head.keeps_line_ends = false;
    head.delimiter = cef ? 0 : '|';
    reader_take(in, cef ? "CEF:0|" : leef2 ? "LEEF:2.0|" : "LEEF:1.0|");
    for (int i = 0; i < (cef ? 5 : 4); i++)
        same(read_event_head(in, cef), cleaned(arena, last_of(log, "f1"), &head), "event header",
             frame);
    if (cef || leef2)
        (void)read_event_head(in, cef); /* severity, or the delimiter */
    struct wanted w = want_all(log, ns);
    bool first = true;
    struct slsr_bytes mapped = last_of(log, "f2");
    if (cleaned(arena, mapped, &r->clean).n > 0) {
        bool there = cef ? read_cef(in, first, &got) : read_leef(in, r->delimiter, first, &got);
        assert_true(there);
        same(got.key, slsr_bytes_of("mapped"), "key", frame);
        same(got.value, cleaned(arena, mapped, &r->clean), "mapped value", frame);
        first = false;
    }
    for (size_t i = 0; i < w.count; i++) {
        struct slsr_bytes key = w.pairs[i].key;
        if (slsr_bytes_equal(key, slsr_bytes_of("f2")) ||
            slsr_bytes_equal(key, slsr_bytes_of("__time__")))
            continue;
        if (i < 2 && w.pairs[i].value.n == 0 && w.pairs[i].value.p[0] == '\0')
            continue; /* topic and source of this group, empty */
        bool there = cef ? read_cef(in, first, &got) : read_leef(in, r->delimiter, first, &got);
        if (!there)
            fail_msg("%s: pair %zu in\n%.*s", in->why != NULL ? in->why : "missing", i,
                     (int)frame.n, frame.p);
        first = false;
        same(got.value, cleaned(arena, w.pairs[i].value, &r->clean), "value", frame);
    }
    if (in->p != in->end)
        fail_msg("more pairs than fields in\n%.*s", (int)frame.n, frame.p);
}

static void check_frame(struct round *r, struct slsr_bytes m, const struct slsr_log *log)
{
    struct reader in = {.arena = r->arena[0], .size = ARENA, .p = m.p, .end = m.p + m.n};
    struct reader arena = {.arena = r->arena[1], .size = ARENA};
    struct read_frame f;
    struct params params = {r, log, &arena, m, 0};
    bool bsd = r->kind->protocol == SLSR_RFC3164;
    /* LF framing: the first byte is "<", no LF, NUL or other control inside (TAB parts LEEF). */
    assert_true(m.n > 0 && m.p[0] == '<');
    for (size_t i = 0; i < m.n; i++)
        if (((uint8_t)m.p[i] < 32 && m.p[i] != r->delimiter) || m.p[i] == 127)
            fail_msg("control %02x in\n%.*s", (uint8_t)m.p[i], (int)m.n, m.p);
    if (bsd)
        read_3164(&in, &f);
    else
        read_5424(&in, &f, check_param, &params);
    if (in.why != NULL)
        fail_msg("%s in\n%.*s", in.why, (int)m.n, m.p);
    assert_int_equal(f.pri, 14);
    check_name(f.host, last_of(log, "f0"), 255, bsd ? SET_HOST_3164 : SET_HOST, m);
    check_name(f.tag, last_of(log, "f1"), bsd ? 32 : 48, bsd ? SET_WORD : SET_PRINTABLE, m);
    check_name(f.procid, last_of(log, "f2"), 128, bsd ? SET_PID : SET_PRINTABLE, m);
    if (!bsd) {
        check_name(f.msgid, last_of(log, "f3"), 32, SET_PRINTABLE, m);
        /* A parameter whose value is empty is left out. */
        size_t full = 0;
        struct cleaning c = r->clean;
        c.keeps_line_ends = c.json = false;
        c.delimiter = 0;
        full += cleaned(&arena, last_of(log, "f4"), &c).n > 0;
        full += cleaned(&arena, last_of(log, "f5"), &c).n > 0;
        assert_int_equal(params.seen, full);
    }
    struct slsr_bytes frame = m;
    in = (struct reader){
        .arena = r->arena[0], .size = ARENA, .p = f.msg.p, .end = f.msg.p + f.msg.n};
    if (r->kind->body == SLSR_BODY_JSON)
        check_json(f.msg, log, &arena, &r->clean);
    else if (r->kind->body == SLSR_BODY_KV)
        check_kv(r, &in, log, &arena, frame);
    else if (r->kind->body == SLSR_BODY_TEMPLATE)
        same(f.msg, cleaned(&arena, last_of(log, "f5"), &r->clean), "text", frame);
    else if (r->kind->body == SLSR_BODY_RAW)
        same(f.has_msg ? f.msg : (struct slsr_bytes){"", 0},
             cleaned(&arena, last_of(log, "f5"), &r->clean), "text", frame);
    else
        check_event(r, &in, log, &arena, frame);
    if (in.why != NULL || arena.why != NULL)
        fail_msg("%s in\n%.*s", in.why != NULL ? in.why : arena.why, (int)m.n, m.p);
}

static void settings(struct round *r)
{
    static char *const seps[] = {(char *)"||", (char *)" ", (char *)",", (char *)"; ",
                                 (char *)"|-|"};
    static struct slsr_map_entry elements[] = {{(char *)"t@1", (char *)"f4", (char *)"${f4}"},
                                               {(char *)"t@1", (char *)"f5", (char *)"${f5}"}};
    static struct slsr_map_entry mapped[] = {{NULL, (char *)"mapped", (char *)"${f2}"}};
    static char *const delimiters[] = {(char *)"^", (char *)"x09", (char *)"x7C"};
    struct slsr_format_config *c = &r->c;
    const struct kind *k = r->kind;
    *c = format_settings();
    c->protocol = k->protocol;
    c->body = k->body;
    c->kv_quote = k->quote;
    c->sep = seps[rnd(k->exact ? 1 : 5)];
    c->hostname = (char *)"${f0}";
    c->tag = (char *)"${f1}";
    c->procid = (char *)"${f2}";
    c->msgid = (char *)"${f3}";
    if (k->protocol == SLSR_RFC5424) {
        c->structured_data = (struct slsr_map){elements, 2};
        c->provenance = rnd(2) == 0;
    }
    c->max_message_bytes = 0;
    c->newline = k->exact || rnd(2) == 0 ? SLSR_NL_ESCAPE : SLSR_NL_SPACE;
    c->invalid_utf8 = k->exact ? SLSR_UTF8_ESCAPE : (enum slsr_utf8)rnd(3);
    c->template_text = k->body == SLSR_BODY_TEMPLATE ? (char *)"${f5}" : NULL;
    c->raw_field = (char *)"f5";
    c->cef_vendor = c->cef_product = c->cef_version = c->cef_class_id = c->cef_name =
        (char *)"${f1}";
    c->leef_vendor = c->leef_product = c->leef_device_version = c->leef_event_id = (char *)"${f1}";
    c->cef_extension = c->leef_attributes = (struct slsr_map){mapped, 1};
    c->leef_version = rnd(2) == 0 ? SLSR_LEEF_1 : SLSR_LEEF_2;
    uint32_t d = rnd(2);
    c->leef_delimiter = delimiters[d];
    r->delimiter = k->body != SLSR_BODY_LEEF                  ? '\0'
                   : c->leef_version == SLSR_LEEF_1 || d == 1 ? '\t'
                                                              : '^';
    r->clean = (struct cleaning){c->newline, c->invalid_utf8, false, r->delimiter,
                                 k->body == SLSR_BODY_JSON};
    if (k->body == SLSR_BODY_CEF)
        r->clean.keeps_line_ends = c->newline == SLSR_NL_ESCAPE;
    if (k->body == SLSR_BODY_LEEF)
        r->clean.newline = SLSR_NL_SPACE;
}

/* The reader of JSON takes no NUL in a name. */
static void without_nul_keys(struct made *m)
{
    for (size_t i = 0; i < m->log.field_count; i++)
        for (size_t k = 0; k < m->fields[i].key.n; k++)
            if (m->fields[i].key.p[k] == '\0')
                ((char *)(uintptr_t)m->fields[i].key.p)[k] = '\x01';
}

static void one_pull(struct round *r)
{
    static struct made made[PULL];
    struct format_plan *plan = format_plan_or_die(&r->c);
    struct slsr_batch b;
    slsr_batch_init(&b);
    for (int pull = 0; pull < 20; pull++) {
        slsr_batch_reset(&b);
        strcpy(b.cursor, "MTAw");
        for (uint32_t i = 0; i < PULL; i++) {
            make_log(&made[i], i, r->kind->body == SLSR_BODY_CEF && rnd(2) == 0);
            if (r->kind->body == SLSR_BODY_JSON)
                without_nul_keys(&made[i]);
            assert_int_equal(format_log(plan, &made[i].log, &b, NULL), 0);
        }
        assert_int_equal(b.frame_count, PULL);
        /* As a receiver reads it: count after count, nothing between. */
        struct reader stream = {.p = b.data, .end = b.data + b.used};
        for (size_t i = 0; i < PULL; i++) {
            struct slsr_bytes m = {NULL, 0};
            assert_true(read_octets(&stream, &m));
            assert_int_equal(stream.p - b.data, b.meta[i].end);
            check_frame(r, m, &made[i].log);
        }
        assert_true(stream.p == stream.end);
    }
    slsr_batch_fini(&b);
    format_plan_free(plan);
}

static long how_many(void)
{
    const char *text = getenv("SLSR_PROPERTY");
    long n = text != NULL ? strtol(text, NULL, 10) : LOGS_DEFAULT;
    return n > 0 ? n : LOGS_DEFAULT;
}

static void fields_come_back(void **state)
{
    static const struct kind kinds[] = {
        {"kv", SLSR_RFC5424, SLSR_BODY_KV, SLSR_KV_AUTO, false},
        {"kv always", SLSR_RFC5424, SLSR_BODY_KV, SLSR_KV_ALWAYS, false},
        {"kv escape, every byte", SLSR_RFC5424, SLSR_BODY_KV, SLSR_KV_ESCAPE, true},
        {"kv 3164", SLSR_RFC3164, SLSR_BODY_KV, SLSR_KV_AUTO, false},
        {"json", SLSR_RFC5424, SLSR_BODY_JSON, SLSR_KV_AUTO, false},
        {"cef", SLSR_RFC5424, SLSR_BODY_CEF, SLSR_KV_AUTO, false},
        {"leef", SLSR_RFC3164, SLSR_BODY_LEEF, SLSR_KV_AUTO, false},
        {"template", SLSR_RFC5424, SLSR_BODY_TEMPLATE, SLSR_KV_AUTO, false},
        {"raw 3164", SLSR_RFC3164, SLSR_BODY_RAW, SLSR_KV_AUTO, false},
    };
    static struct round r;
    const char *seed = getenv("SLSR_SEED");
    (void)state;
    state_of_luck = seed != NULL ? strtoull(seed, NULL, 10) | 1 : UINT64_C(0x9e3779b97f4a7c15);
    print_message("%ld logs each, SLSR_SEED=%llu\n", how_many(), (unsigned long long)state_of_luck);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        long done = 0;
        r.kind = &kinds[i];
        for (; done < how_many(); done += 20 * PULL) {
            settings(&r);
            one_pull(&r);
        }
        print_message("%s: %ld logs\n", kinds[i].name, done);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
