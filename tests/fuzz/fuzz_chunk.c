/* A chunk's value as it lies in a segment. First byte: bit 0 seals the hashes of what follows anew,
 * so that a forged file gets past them to the table, the codec and the cursor. What must hold: a
 * refusal is a sentence, never a read outside; an accepted chunk's frames, table and cursor lie
 * where the reader says. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "spool/bytes.h"
#include "spool/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

/* Version 1 has a header of 64 bytes, version 2 of 128; the payload's hash stands at 48 in both. */
static void seal(uint8_t *value, size_t size)
{
    const size_t header = size > 4 && value[4] == 1 ? CHUNK_HEADER_BYTES_1 : CHUNK_HEADER_BYTES;

    if (size < header)
        return;
    put64(value + 20, (uint64_t)get32(value + 20) << 32 | (uint32_t)(size - header));
    put64(value + 48, XXH3_64bits(value + header, size - header));
    put64(value + header - 8, XXH3_64bits(value, header - 8));
}

static void walk(const struct chunk_view *view)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < view->frames.n; i++)
        sum += (uint8_t)view->frames.p[i];
    for (size_t i = 0; i < view->cursor.n; i++)
        sum += (uint8_t)view->cursor.p[i];
    for (uint32_t i = 0; i < view->header.count; i++) {
        struct slsr_frame_meta meta;

        chunk_meta(view->meta + (size_t)i * CHUNK_META_BYTES, &meta);
        sum += meta.end;
    }
    must(view->cursor.n <= SLSR_CURSOR_MAX && view->header.count > 0);
    must(sum != UINT64_MAX); /* keeps the reads */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_reader reader = {0};
    struct chunk_view view;
    struct slsr_err err = {0};
    bool header_ok = false;
    uint8_t *value;
    int rc;

    if (size < 2)
        return 0;
    value = malloc(size - 1); /* of its own, so that a sanitizer sees its end */
    must(value != NULL);
    memcpy(value, data + 1, size - 1);
    if ((data[0] & 1) != 0)
        seal(value, size - 1);
    rc = chunk_read(value, size - 1, NULL, &reader, &view, &header_ok, &err);
    if (rc == 0)
        walk(&view);
    else
        must(err.text[0] != '\0');
    chunk_reader_fini(&reader);
    free(value);
    return 0;
}
