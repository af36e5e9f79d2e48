/* Protobuf and compression, see wire.h. Every length is checked against what is left; a varint has
 * at most ten bytes; groups (wire types 3, 4) are refused. */
#include <limits.h>
#include <string.h>

#include <lz4.h>
#include <zlib.h>
#include <zstd.h>

#include "wire.h"

static bool take_varint(struct span *s, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < 10 && i < s->n; i++) {
        *value |= (uint64_t)(s->p[i] & 0x7f) << (7 * i);
        if (s->p[i] < 0x80) {
            s->p += i + 1;
            s->n -= i + 1;
            return true;
        }
    }
    return false;
}

static bool take_fixed(struct span *s, size_t n, uint64_t *value)
{
    if (s->n < n)
        return false;
    *value = 0;
    for (size_t i = 0; i < n; i++)
        *value |= (uint64_t)s->p[i] << (8 * i);
    s->p += n;
    s->n -= n;
    return true;
}

int wire_next(struct span *rest, struct wire_field *field)
{
    uint64_t key;
    uint64_t n;

    if (rest->n == 0)
        return 0;
    if (!take_varint(rest, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return -1;
    *field = (struct wire_field){.number = (uint32_t)(key >> 3), .type = (uint32_t)(key & 7)};
    switch (field->type) {
    case 0:
        return take_varint(rest, &field->varint) ? 1 : -1;
    case 1:
        return take_fixed(rest, 8, &field->varint) ? 1 : -1;
    case 5:
        return take_fixed(rest, 4, &field->varint) ? 1 : -1;
    case 2:
        if (!take_varint(rest, &n) || n > rest->n)
            return -1;
        field->bytes = (struct span){rest->p, (size_t)n};
        rest->p += n;
        rest->n -= (size_t)n;
        return 1;
    default:
        return -1;
    }
}

void wire_varint(struct buf *out, uint64_t value)
{
    while (value >= 0x80) {
        buf_byte(out, (unsigned char)(value | 0x80));
        value >>= 7;
    }
    buf_byte(out, (unsigned char)value);
}

void wire_bytes(struct buf *out, uint32_t number, const void *data, size_t n)
{
    wire_varint(out, (uint64_t)number << 3 | 2);
    wire_varint(out, n);
    buf_add(out, data, n);
}

static size_t varint_size(uint64_t value)
{
    size_t n = 1;

    while (value >= 0x80) {
        value >>= 7;
        n++;
    }
    return n;
}

void wire_pair(struct buf *out, uint32_t number, struct span key, struct span value)
{
    wire_varint(out, (uint64_t)number << 3 | 2);
    wire_varint(out, 2 + varint_size(key.n) + key.n + varint_size(value.n) + value.n);
    wire_bytes(out, 1, key.p, key.n);
    wire_bytes(out, 2, value.p, value.n);
}

void wire_log(struct buf *out, uint32_t time_s, uint32_t time_ns, const struct buf *contents)
{
    size_t n = 1 + varint_size(time_s) + contents->n + (time_ns != 0 ? 5u : 0u);

    buf_byte(out, 1 << 3 | 2);
    wire_varint(out, n);
    buf_byte(out, 1 << 3);
    wire_varint(out, time_s);
    buf_add(out, contents->p, contents->n);
    if (time_ns != 0) {
        buf_byte(out, 4 << 3 | 5);
        for (unsigned i = 0; i < 4; i++)
            buf_byte(out, (unsigned char)(time_ns >> (8 * i)));
    }
}

struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static bool check_pair(struct span pair)
{
    struct wire_field f;
    bool key = false;
    bool value = false;
    int rc;

    while ((rc = wire_next(&pair, &f)) == 1) {
        if ((f.number == 1 || f.number == 2) && f.type != 2)
            return false;
        key = key || f.number == 1;
        value = value || f.number == 2;
    }
    return rc == 0 && key && value;
}

static bool check_log(struct span log)
{
    struct wire_field f;
    bool timed = false;
    int rc;

    while ((rc = wire_next(&log, &f)) == 1) {
        if (f.number == 1) {
            if (f.type != 0 || f.varint > UINT32_MAX)
                return false;
            timed = true;
        } else if (f.number == 2) {
            if (f.type != 2 || !check_pair(f.bytes))
                return false;
        } else if (f.number == 4 && (f.type != 5 || f.varint > 999999999)) {
            return false;
        }
    }
    return rc == 0 && timed;
}

bool wire_check_group(struct span group, uint32_t *logs, const char **why)
{
    struct wire_field f;
    int rc;

    *logs = 0;
    while ((rc = wire_next(&group, &f)) == 1) {
        *why = "a field of the log group has the wrong type";
        if (f.number <= 6 && f.type != 2)
            return false;
        *why = "a log lacks its time or one of its contents is malformed";
        if (f.number == 1 && !check_log(f.bytes))
            return false;
        *why = "a tag is malformed";
        if (f.number == 6 && !check_pair(f.bytes))
            return false;
        *logs += f.number == 1;
    }
    *why = "not a protobuf message";
    return rc == 0;
}

bool wire_can_unpack(const char *method)
{
    static const char *const known[] = {"lz4", "zstd", "deflate", "gzip"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(method, known[i]) == 0)
            return true;
    }
    return false;
}

bool wire_unpack(const char *method, struct span packed, size_t raw_size, struct buf *out)
{
    uLongf got = raw_size;
    bool ok;

    if (packed.n > INT_MAX || raw_size > INT_MAX)
        return false;
    buf_room(out, raw_size + 1);
    if (strcmp(method, "lz4") == 0)
        ok = LZ4_decompress_safe((const char *)packed.p, out->p, (int)packed.n, (int)raw_size) ==
             (int)raw_size;
    else if (strcmp(method, "zstd") == 0)
        ok = ZSTD_decompress(out->p, raw_size, packed.p, packed.n) == raw_size;
    else /* a zlib stream, whatever it is called */
        ok = uncompress((Bytef *)out->p, &got, packed.p, packed.n) == Z_OK && got == raw_size;
    if (ok)
        out->n = raw_size;
    return ok;
}

bool wire_pack(const char *method, struct span raw, struct buf *out)
{
    if (strcmp(method, "lz4") == 0) {
        int room = LZ4_compressBound((int)raw.n);

        buf_room(out, (size_t)room);
        out->n = (size_t)LZ4_compress_default((const char *)raw.p, out->p, (int)raw.n, room);
    } else if (strcmp(method, "zstd") == 0) {
        size_t room = ZSTD_compressBound(raw.n);

        buf_room(out, room);
        out->n = ZSTD_compress(out->p, room, raw.p, raw.n, 1);
        if (ZSTD_isError(out->n))
            out->n = 0;
    } else {
        uLongf n = compressBound(raw.n);

        buf_room(out, n);
        if (compress2((Bytef *)out->p, &n, raw.p, raw.n, Z_BEST_SPEED) == Z_OK)
            out->n = n;
    }
    return out->n != 0;
}
