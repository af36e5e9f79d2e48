/* Lines of a receiver's file: finds `[slsRelay@32473 project="p" logstore="l" shard="1" cursor="c"
 * index="2"]` in each, whatever stands around it, and keeps a hash of it. 24 bytes a line, and a
 * table; a million lines take a second. A quote may be escaped (\"), as in JSON exports. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"

static const char MARK[] = "slsRelay@32473 ";
enum { PARTS = 5, STOP_EVERY = 65536 };
static const char *const part_names[PARTS] = {
    "project=", "logstore=", "shard=", "cursor=", "index="};

/* FNV-1a, 64 bits, a unit separator behind each part. */
static uint64_t hash_part(uint64_t hash, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    return (hash ^ 0x1f) * UINT64_C(0x100000001b3);
}

static const uint64_t HASH_START = UINT64_C(0xcbf29ce484222325);

uint64_t lines_hash_frame(const struct slsr_frame *frame)
{
    char number[24];
    uint64_t hash = HASH_START;

    hash = hash_part(hash, frame->stream.project, strlen(frame->stream.project));
    hash = hash_part(hash, frame->stream.logstore, strlen(frame->stream.logstore));
    hash = hash_part(hash, number,
                     (size_t)snprintf(number, sizeof(number), "%" PRIu32, frame->stream.shard));
    hash = hash_part(hash, frame->cursor.p, frame->cursor.n);
    return hash_part(hash, number,
                     (size_t)snprintf(number, sizeof(number), "%" PRIu32, frame->index));
}

/* The parts of one line into its hash and its shard's; false: there are none. */
static bool take_apart(const char *p, size_t n, uint64_t *key, uint64_t *stream)
{
    const char *end = p + n;
    const char *at = memmem(p, n, MARK, sizeof(MARK) - 1);

    if (at == NULL)
        return false;
    at += sizeof(MARK) - 1;
    *key = HASH_START;
    for (int i = 0; i < PARTS; i++) {
        const size_t name_n = strlen(part_names[i]);
        const char *value;

        while (at < end && *at == ' ')
            at++;
        if ((size_t)(end - at) <= name_n || memcmp(at, part_names[i], name_n) != 0)
            return false;
        at += name_n;
        while (at < end && *at == '\\')
            at++;
        if (at == end || *at != '"')
            return false;
        value = ++at;
        while (at < end && *at != '"' && *at != '\\')
            at++;
        if (at == end)
            return false;
        *key = hash_part(*key, value, (size_t)(at - value));
        if (i == 2)
            *stream = *key;
        while (at < end && *at == '\\')
            at++;
        if (at == end || *at != '"')
            return false;
        at++;
    }
    return true;
}

static uint32_t *slot_of(const struct lines *lines, uint64_t key)
{
    uint32_t i = (uint32_t)(key ^ key >> 32) & (lines->slot_count - 1);

    while (lines->slots[i] != 0 && lines->items[lines->slots[i] - 1].key != key)
        i = (i + 1) & (lines->slot_count - 1);
    return &lines->slots[i];
}

struct line *lines_find(const struct lines *lines, uint64_t key)
{
    const uint32_t *slot = lines->slot_count > 0 ? slot_of(lines, key) : NULL;

    return slot != NULL && *slot != 0 ? &lines->items[*slot - 1] : NULL;
}

/* Twice the room, at most half full. */
static bool grow(struct lines *lines)
{
    const uint32_t size = lines->size > 0 ? lines->size * 2 : 65536;
    struct line *items;
    uint32_t *slots;

    if (size > UINT32_MAX / 4)
        return false;
    items = realloc(lines->items, (size_t)size * sizeof(*items));
    if (items == NULL)
        return false;
    lines->items = items;
    slots = calloc((size_t)size * 2, sizeof(*slots));
    if (slots == NULL)
        return false;
    free(lines->slots);
    lines->slots = slots;
    lines->size = size;
    lines->slot_count = size * 2;
    for (uint32_t i = 0; i < lines->count; i++)
        *slot_of(lines, lines->items[i].key) = i + 1;
    return true;
}

static uint32_t stream_number(struct lines *lines, uint64_t stream)
{
    const uint32_t most = sizeof(lines->streams) / sizeof(lines->streams[0]);
    uint32_t i = 0;

    while (i < lines->stream_count && lines->streams[i] != stream)
        i++;
    if (i == lines->stream_count && i < most)
        lines->streams[lines->stream_count++] = stream;
    return i < most ? i : most - 1;
}

static bool add(struct lines *lines, uint64_t key, uint64_t stream)
{
    uint32_t *slot;

    if (lines->count == lines->size && !grow(lines))
        return false;
    slot = slot_of(lines, key);
    if (*slot != 0) {
        lines->items[*slot - 1].count++;
        return true;
    }
    lines->items[lines->count] =
        (struct line){.key = key, .stream = stream_number(lines, stream), .count = 1};
    *slot = ++lines->count;
    return true;
}

int lines_read(struct lines *lines, const char *path, struct slsr_stop *stop, struct slsr_err *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    ssize_t n;
    int rc = 0;

    if (file == NULL)
        return slsr_fail_errno(err, errno == EACCES ? SLSR_EPERM : SLSR_ENOSPOOL, errno,
                               "cannot read %s", path);
    errno = 0;
    while (rc == 0 && (n = getline(&text, &size, file)) > 0) {
        uint64_t key;
        uint64_t stream = 0;

        lines->read++;
        if (!take_apart(text, (size_t)n, &key, &stream))
            lines->plain++;
        else if (!add(lines, key, stream))
            rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: %s has too many lines, audit a part",
                           path);
        if (lines->read % STOP_EVERY == 0 && slsr_stop_requested(stop))
            break;
    }
    if (rc == 0 && ferror(file) && !slsr_stop_requested(stop))
        rc = slsr_fail_errno(err, SLSR_EIO, errno, "cannot read %s", path);
    free(text);
    if (file != stdin)
        fclose(file);
    return rc;
}

void lines_free(struct lines *lines)
{
    free(lines->items);
    free(lines->slots);
}
