/* Response body -> logs, by hand over the wire bytes of a LogGroupList. HOT
 * (tests/bench/bench_format.c "decode").
 *
 * The good path: begin decompresses into a buffer that is kept and looks through the list and its
 * groups down to the borders of their logs; next reads a log's pairs into an array that grows with
 * the largest log, and looks at every byte as it does. A group's topic, source and tags may stand
 * behind its logs, so `enter_group` looks through the group's top level first, jumping over the
 * logs.
 *
 * What can go wrong: truncation, a length past its end, a wire type that cannot be skipped, a body
 * or a number of pairs over its limit. Who cannot take logs back has all of it checked before the
 * first one (codec_begin, codec_check); who can, asks codec_end behind the last one and saves a
 * walk over every pair.
 *
 * Wire rules (Protocol Buffers encoding, proto2): fields in any order, last value of a scalar wins,
 * unknown fields and known ones of another wire type are skipped, groups (3, 4) and 6, 7 refused.
 */
#include <stdlib.h>

#include "base/warm.h"
#include "codec/codec.h"
#include "codec/lz4.h"

/* Pairs in one log or tags in one group: 32 MB of views. The service's log group of 10 MB holds far
 * fewer; a hostile body of empty pairs would otherwise blow up by sixteen. */
enum { PAIRS_MAX = 1 << 20, FIELDS_FIRST = 64 };

enum { NS_PER_S = 1000000000 };

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* Field number and wire type as they stand in a tag. */
#define TAG(number, wire) (((uint32_t)(number) << 3) | (uint32_t)(wire))

enum {
    LIST_GROUP = TAG(1, WIRE_BYTES),
    GROUP_LOG = TAG(1, WIRE_BYTES),
    GROUP_TOPIC = TAG(3, WIRE_BYTES),
    GROUP_SOURCE = TAG(4, WIRE_BYTES),
    GROUP_TAG = TAG(6, WIRE_BYTES),
    LOG_TIME = TAG(1, WIRE_VARINT),
    LOG_CONTENT = TAG(2, WIRE_BYTES),
    LOG_TIME_NS = TAG(4, WIRE_FIXED32),
    PAIR_KEY = TAG(1, WIRE_BYTES),
    PAIR_VALUE = TAG(2, WIRE_BYTES)
};

struct span {
    const uint8_t *p;
    const uint8_t *end;
};

/* One field of a message. */
struct item {
    uint32_t tag;
    uint64_t number;   /* varint and fixed */
    struct span bytes; /* WIRE_BYTES */
};

struct pairs {
    struct slsr_pair *items;
    size_t size;
};

struct codec {
    char *raw; /* decompressed body */
    size_t raw_size;
    struct span list;  /* what is left of the list */
    struct span group; /* what is left of the group */
    struct pairs tags, fields;
    struct slsr_log head; /* topic, source, tags, and the numbers of the next log */
    bool in_group;
    const uint8_t *start; /* of the body, for error positions */
    int failed;           /* what next met, with err; 0 */
    struct slsr_err err;
};

static bool varint_long(struct span *s, uint64_t *value)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (s->p == s->end)
            return false;
        uint8_t byte = *s->p++;
        v |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte < 0x80) {
            *value = v;
            return true;
        }
    }
    return false;
}

static inline bool varint(struct span *s, uint64_t *value)
{
    if (s->p < s->end && *s->p < 0x80) {
        *value = *s->p++;
        return true;
    }
    return varint_long(s, value);
}

static bool fixed(struct span *s, unsigned width, uint64_t *value)
{
    if ((size_t)(s->end - s->p) < width)
        return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < width; i++)
        v |= (uint64_t)s->p[i] << (8 * i);
    s->p += width;
    *value = v;
    return true;
}

/* Next field of a message; false: the bytes are not a message. The caller has looked that some are
 * left. */
static bool next_item(struct span *s, struct item *item)
{
    uint64_t tag;
    if (!varint(s, &tag) || tag > UINT32_MAX || tag < TAG(1, 0))
        return false;
    item->tag = (uint32_t)tag;
    switch (tag & 7) {
    case WIRE_BYTES: {
        uint64_t n;
        if (!varint(s, &n) || n > (uint64_t)(s->end - s->p))
            return false;
        item->bytes = (struct span){s->p, s->p + n};
        s->p += n;
        return true;
    }
    case WIRE_VARINT:
        return varint(s, &item->number);
    case WIRE_FIXED32:
        return fixed(s, 4, &item->number);
    case WIRE_FIXED64:
        return fixed(s, 8, &item->number);
    default:
        return false;
    }
}

static inline struct slsr_bytes view(struct span s)
{
    return (struct slsr_bytes){(const char *)s.p, (size_t)(s.end - s.p)};
}

/* A length of one or two bytes, which nearly all are; false: ask varint. */
static inline bool short_length(const uint8_t **p, const uint8_t *end, size_t *n)
{
    if (*p < end && **p < 0x80) {
        *n = *(*p)++;
        return true;
    }
    if (end - *p >= 2 && (*p)[1] < 0x80) {
        *n = (size_t)((*p)[0] & 0x7f) | (size_t)(*p)[1] << 7;
        *p += 2;
        return true;
    }
    return false;
}

/* Content or LogTag in any shape. An absent key or value reads as empty. */
static bool read_odd_pair(struct span s, struct slsr_pair *pair)
{
    struct item item;
    *pair = (struct slsr_pair){{"", 0}, {"", 0}};
    while (s.p < s.end) {
        if (!next_item(&s, &item))
            return false;
        if (item.tag == PAIR_KEY)
            pair->key = view(item.bytes);
        else if (item.tag == PAIR_VALUE)
            pair->value = view(item.bytes);
    }
    return true;
}

/* The shape that every writer makes: key, value, end; anything else is read_odd_pair's. */
static inline bool read_pair(struct span s, struct slsr_pair *pair)
{
    const uint8_t *p = s.p;
    size_t key, value;
    if (p < s.end && *p++ == PAIR_KEY && short_length(&p, s.end, &key) &&
        key < (size_t)(s.end - p) && p[key] == PAIR_VALUE) {
        const uint8_t *v = p + key + 1;
        if (short_length(&v, s.end, &value) && value == (size_t)(s.end - v)) {
            *pair = (struct slsr_pair){{(const char *)p, key}, {(const char *)v, value}};
            return true;
        }
    }
    return read_odd_pair(s, pair);
}

/* next_item with a short cut for the field that is most of the message: `usual` (one byte of tag,
 * WIRE_BYTES) of ordinary length. */
static inline bool next_usual(struct span *s, uint8_t usual, struct item *item)
{
    const uint8_t *p = s->p;
    size_t n;
    if (*p++ == usual && short_length(&p, s->end, &n) && n <= (size_t)(s->end - p)) {
        item->tag = usual;
        item->bytes = (struct span){p, p + n};
        s->p = p + n;
        return true;
    }
    return next_item(s, item);
}

/* A content or tag (`tag`) as every writer makes it, read in one go: key, then value, then the end;
 * a key of less than 128 bytes, a value and a pair of less than 16384. The byte behind it, or NULL:
 * any other shape, sound or not. Both walks spend their time here. */
static inline __attribute__((always_inline)) const uint8_t *
usual_pair(const uint8_t *p, const uint8_t *stop, uint8_t tag, struct slsr_pair *pair)
{
    if (stop - p < 6 || p[0] != tag)
        return NULL;
    size_t n = p[1];
    p += 2;
    if (n >= 0x80) {
        if (*p >= 0x80)
            return NULL;
        n = (n & 0x7f) | (size_t)*p++ << 7;
    }
    if (n > (size_t)(stop - p) || n < 4)
        return NULL;
    const uint8_t *end = p + n;
    size_t key_n = p[1];
    if (p[0] != PAIR_KEY || key_n >= 0x80 || key_n + 4 > n)
        return NULL;
    const uint8_t *key = p + 2, *value = key + key_n + 2;
    size_t value_n = value[-1];
    if (value[-2] != PAIR_VALUE)
        return NULL;
    if (value_n >= 0x80) {
        if (value == end || *value >= 0x80)
            return NULL;
        value_n = (value_n & 0x7f) | (size_t)*value++ << 7;
    }
    if (value_n != (size_t)(end - value))
        return NULL;
    *pair = (struct slsr_pair){{(const char *)key, key_n}, {(const char *)value, value_n}};
    return end;
}

int codec_new(struct codec **out, struct slsr_err *err)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : slsr_fail(err, SLSR_ENOMEM, "no memory for a decoder");
}

void codec_free(struct codec *codec)
{
    if (codec == NULL)
        return;
    free(codec->raw);
    free(codec->tags.items);
    free(codec->fields.items);
    free(codec);
}

static int damaged(const struct codec *c, const uint8_t *at, const char *what, struct slsr_err *err)
{
    return slsr_fail(err, SLSR_EBADDATA,
                     "log data are damaged: %s at byte %zu of the body cannot be read", what,
                     (size_t)(at - c->start));
}

static int too_many(size_t count, struct slsr_err *err)
{
    return slsr_fail(err, SLSR_ETOOBIG,
                     "a log or log group has %zu pairs or more, and %d are accepted", count,
                     PAIRS_MAX);
}

static int pairs_reserve(struct pairs *pairs, size_t count, struct slsr_err *err)
{
    if (count > PAIRS_MAX)
        return too_many(count, err);
    if (count <= pairs->size)
        return 0;
    size_t size = pairs->size == 0 ? FIELDS_FIRST : pairs->size;
    while (size < count)
        size *= 2;
    struct slsr_pair *items = realloc(pairs->items, size * sizeof(*items));
    if (items == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for %zu pairs of one log", size);
    pairs->items = items;
    pairs->size = size;
    return 0;
}

/* Every pair of a log. */
static int check_log(const struct codec *c, struct span s, struct slsr_err *err)
{
    struct item item;
    struct slsr_pair pair;
    size_t count = 0;
    for (const uint8_t *at = s.p, *next; at < s.end; at = s.p) {
        while (at < s.end && (next = usual_pair(at, s.end, LOG_CONTENT, &pair)) != NULL) {
            at = next;
            count++;
        }
        s.p = at;
        if (at == s.end)
            break;
        if (!next_usual(&s, LOG_CONTENT, &item))
            return damaged(c, at, "a field of a log", err);
        if (item.tag != LOG_CONTENT)
            continue;
        if (!read_pair(item.bytes, &pair))
            return damaged(c, at, "a key and value of a log", err);
        count++;
    }
    return count <= PAIRS_MAX ? 0 : too_many(count, err);
}

/* The pairs of all logs of a group whose borders have been looked at. */
static int check_logs(const struct codec *c, struct span s, struct slsr_err *err)
{
    struct item item;
    int rc = 0;
    while (rc == 0 && s.p < s.end && next_usual(&s, GROUP_LOG, &item))
        if (item.tag == GROUP_LOG)
            rc = check_log(c, item.bytes, err);
    return rc;
}

static int check_group(const struct codec *c, struct span s, size_t *tags, struct slsr_err *err)
{
    struct item item;
    struct slsr_pair pair;
    size_t own = 0;
    while (s.p < s.end) {
        const uint8_t *at = s.p;
        if (!next_usual(&s, GROUP_LOG, &item))
            return damaged(c, at, "a field of a log group", err);
        if (item.tag != GROUP_TAG)
            continue;
        if (!read_pair(item.bytes, &pair))
            return damaged(c, at, "a tag of a log group", err);
        own++;
    }
    if (own > *tags)
        *tags = own;
    return 0;
}

/* Walks the list down to the borders of the logs; afterwards only the inside of a log can be
 * damaged, and the array of tags is large enough. */
static int check_borders(struct codec *c, uint32_t *groups, struct slsr_err *err)
{
    struct span s = c->list;
    struct item item;
    size_t tags = 0;
    *groups = 0;
    while (s.p < s.end) {
        const uint8_t *at = s.p;
        if (!next_item(&s, &item))
            return damaged(c, at, "a log group", err);
        if (item.tag != LIST_GROUP)
            continue;
        ++*groups;
        int rc = check_group(c, item.bytes, &tags, err);
        if (rc != 0)
            return slsr_wrap(err, rc, "log group %u", *groups - 1);
    }
    int rc = pairs_reserve(&c->tags, tags, err);
    return rc != 0 ? rc : pairs_reserve(&c->fields, FIELDS_FIRST, err);
}

int codec_check(struct codec *codec, struct slsr_err *err)
{
    struct span s = codec->list;
    struct item item;
    uint32_t number = codec->in_group ? codec->head.group + 1 : 0;
    int rc = codec->failed;
    if (rc != 0) {
        if (err != NULL)
            *err = codec->err;
        return rc;
    }
    if (codec->in_group)
        rc = slsr_wrap(err, check_logs(codec, codec->group, err), "log group %u", number - 1);
    while (rc == 0 && s.p < s.end && next_item(&s, &item))
        if (item.tag == LIST_GROUP)
            rc = slsr_wrap(err, check_logs(codec, item.bytes, err), "log group %u", number++);
    return rc;
}

static int inflate(struct codec *c, struct slsr_bytes body, size_t raw_size, struct slsr_err *err)
{
    if (raw_size == 0) {
        /* The service's way to say "nothing": no body, or the one byte of an empty block. */
        if (body.n > 1)
            return slsr_fail(err, SLSR_EBADDATA,
                             "lz4 body has %zu bytes but the answer announced no data", body.n);
        c->list = (struct span){NULL, NULL};
        return 0;
    }
    if (!codec_lz4_plausible(body.n, raw_size))
        return slsr_fail(err, SLSR_EBADDATA, "lz4 body of %zu bytes cannot hold %zu bytes", body.n,
                         raw_size);
    if (raw_size > c->raw_size) {
        /* Not realloc: the old content need not be copied. */
        warm_give(c->raw, c->raw_size);
        c->raw = warm_take(raw_size, &c->raw_size);
        if (c->raw == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "no memory for a pull of %zu bytes", raw_size);
    }
    int rc = codec_lz4_decode(body, c->raw, raw_size, err);
    if (rc == 0)
        c->list = (struct span){(const uint8_t *)c->raw, (const uint8_t *)c->raw + raw_size};
    return rc;
}

int codec_begin_quick(struct codec *codec, struct slsr_bytes body,
                      enum codec_compression compression, size_t raw_size, uint32_t *groups,
                      struct slsr_err *err)
{
    uint32_t count = 0;
    int rc = 0;
    size_t size = compression == CODEC_LZ4 ? raw_size : body.n;

    codec->in_group = false;
    codec->failed = 0;
    codec->list = (struct span){NULL, NULL};
    memset(&codec->head, 0, sizeof(codec->head));
    if (size > CODEC_RAW_MAX)
        return slsr_fail(err, SLSR_ETOOBIG,
                         "a pull of %zu bytes is over the limit of %d: lower max_log_groups", size,
                         CODEC_RAW_MAX);
    if (compression == CODEC_LZ4)
        rc = inflate(codec, body, raw_size, err);
    else if (raw_size != 0 && raw_size != body.n)
        rc = slsr_fail(err, SLSR_EBADDATA, "body has %zu bytes, the answer announced %zu", body.n,
                       raw_size);
    else if (body.n > 0)
        codec->list = (struct span){(const uint8_t *)body.p, (const uint8_t *)body.p + body.n};
    codec->start = codec->list.p;
    if (rc == 0 && codec->list.p != NULL)
        rc = check_borders(codec, &count, err);
    if (rc != 0)
        codec->list = (struct span){NULL, NULL};
    if (groups != NULL)
        *groups = rc == 0 ? count : 0;
    return rc;
}

int codec_begin(struct codec *codec, struct slsr_bytes body, enum codec_compression compression,
                size_t raw_size, uint32_t *groups, struct slsr_err *err)
{
    int rc = codec_begin_quick(codec, body, compression, raw_size, groups, err);
    if (rc == 0)
        rc = codec_check(codec, err);
    if (rc != 0)
        codec->list = (struct span){NULL, NULL};
    if (rc != 0 && groups != NULL)
        *groups = 0;
    return rc;
}

int codec_end(const struct codec *codec, struct slsr_err *err)
{
    if (codec->failed != 0 && err != NULL)
        *err = codec->err;
    return codec->failed;
}

static void enter_group(struct codec *c, struct span group, uint32_t number)
{
    struct slsr_log *head = &c->head;
    struct span s = group;
    struct item item;

    head->group = number;
    head->index = 0;
    head->topic = head->source = (struct slsr_bytes){"", 0};
    head->tags = c->tags.items;
    head->tag_count = 0;
    while (s.p < s.end && next_usual(&s, GROUP_LOG, &item)) {
        if (item.tag == GROUP_LOG)
            continue;
        if (item.tag == GROUP_TOPIC)
            head->topic = view(item.bytes);
        else if (item.tag == GROUP_SOURCE)
            head->source = view(item.bytes);
        else if (item.tag == GROUP_TAG && read_pair(item.bytes, &c->tags.items[head->tag_count]))
            head->tag_count++;
    }
    c->group = group;
}

/* One field of another shape; *field moves when it is a pair. */
static int read_odd_field(struct codec *c, struct span *s, struct slsr_log *log,
                          struct slsr_pair **field)
{
    const uint8_t *at = s->p;
    struct item item;
    if (!next_usual(s, LOG_CONTENT, &item))
        return damaged(c, at, "a field of a log", &c->err);
    if (item.tag == LOG_CONTENT) {
        if (!read_pair(item.bytes, *field))
            return damaged(c, at, "a key and value of a log", &c->err);
        ++*field;
    } else if (item.tag == LOG_TIME) {
        log->time_s = (uint32_t)item.number;
    } else if (item.tag == LOG_TIME_NS) {
        /* No part of a second outside its range: then none is known. */
        log->time_ns = item.number < NS_PER_S ? (uint32_t)item.number : 0;
    }
    return 0;
}

static int read_log(struct codec *c, struct span s, struct slsr_log *log)
{
    struct slsr_pair *field = c->fields.items, *limit = field + c->fields.size;
    int rc = 0;

    *log = c->head;
    c->head.index++;
    for (const uint8_t *at = s.p, *next;; at = s.p) {
        while (at < s.end && field < limit &&
               (next = usual_pair(at, s.end, LOG_CONTENT, field)) != NULL) {
            at = next;
            field++;
        }
        s.p = at;
        if (at == s.end)
            break;
        if (field == limit) {
            const size_t count = (size_t)(field - c->fields.items);
            rc = pairs_reserve(&c->fields, count + 1, &c->err);
            field = c->fields.items + count;
            limit = c->fields.items + c->fields.size;
        } else {
            rc = read_odd_field(c, &s, log, &field);
        }
        if (rc != 0)
            return slsr_wrap(&c->err, rc, "log group %u", log->group);
    }
    log->fields = c->fields.items;
    log->field_count = (size_t)(field - c->fields.items);
    return 0;
}

bool codec_next(struct codec *codec, struct slsr_log *log)
{
    struct item item;
    for (;;) {
        while (codec->group.p < codec->group.end && codec->in_group) {
            if (!next_usual(&codec->group, GROUP_LOG, &item))
                break;
            if (item.tag == GROUP_LOG) {
                codec->failed = read_log(codec, item.bytes, log);
                if (codec->failed == 0)
                    return true;
                codec->list = codec->group = (struct span){NULL, NULL};
                return false;
            }
        }
        uint32_t number = codec->in_group ? codec->head.group + 1 : 0;
        do {
            if (codec->list.p == codec->list.end || !next_item(&codec->list, &item))
                return false;
        } while (item.tag != LIST_GROUP);
        enter_group(codec, item.bytes, number);
        codec->in_group = true;
    }
}

size_t codec_memory(const struct codec *codec)
{
    return codec->raw_size + (codec->tags.size + codec->fields.size) * sizeof(struct slsr_pair);
}

void codec_trim(struct codec *codec)
{
    warm_give(codec->raw, codec->raw_size);
    free(codec->tags.items);
    free(codec->fields.items);
    *codec = (struct codec){0};
}
