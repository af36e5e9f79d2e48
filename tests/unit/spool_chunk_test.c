/* Chunks alone: what is prepared is read back, in every codec and cipher; what is cut, flipped or
 * forged is refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "slsrelay/spool.h"

#include "spool/bytes.h"
#include "spool/chunk.h"

static const char KEY_A[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char KEY_B[] = "ff0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

static char key_path[64];

static struct crypt *load_keys(const char *text, mode_t mode, int expect)
{
    struct crypt *crypt = NULL;
    struct slsr_err err = {0};
    FILE *file = fopen(key_path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(key_path, mode), 0);
    if (crypt_load(&crypt, key_path, &err) != expect)
        fail_msg("crypt_load: %s", err.text);
    if (expect != 0) { /* not a byte of it is told */
        assert_null(strstr(err.text, "0001020304"));
        assert_non_null(strstr(err.text, key_path));
    }
    return crypt;
}

static struct crypt *keys(const char *first, const char *second)
{
    char text[256];

    snprintf(text, sizeof text, "# keys\n%s\n\n%s\r\n", first, second);
    return load_keys(text, 0600, 0);
}

/* count frames of text that compresses, or not. */
static void fill(struct slsr_batch *batch, size_t count, size_t bytes, bool noise)
{
    uint64_t x = 88172645463325252u;

    slsr_batch_init(batch);
    batch->data = malloc(count * (bytes + 12));
    batch->meta = calloc(count, sizeof *batch->meta);
    assert_non_null(batch->data);
    assert_non_null(batch->meta);
    strcpy(batch->cursor, "MTIz");
    for (size_t i = 0; i < count; i++) {
        batch->used += (size_t)sprintf(batch->data + batch->used, "%zu ", bytes);
        for (size_t k = 0; k < bytes; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            batch->data[batch->used++] = noise ? (char)x : (char)('a' + k % 7);
        }
        batch->meta[i] = (struct slsr_frame_meta){.end = (uint32_t)batch->used,
                                                  .group = (uint32_t)i,
                                                  .index = 7,
                                                  .time_s = (uint32_t)(5000 + i),
                                                  .time_ns = (uint32_t)i};
    }
    batch->frame_count = count;
}

static unsigned char *write_chunk(struct chunk *chunk, uint64_t first, const struct crypt *crypt,
                                  size_t *size)
{
    struct crypt_box *box = crypt_box_new();
    unsigned char *value;

    *size = chunk_size(chunk);
    value = malloc(*size);
    assert_non_null(value);
    chunk->header.first = first;
    chunk->header.stream = 3;
    chunk->header.arrival_ms = 1735787045123;
    assert_int_equal(chunk_write(chunk, crypt, box, value, NULL), 0);
    crypt_box_free(box);
    return value;
}

static void round_trip(enum slsr_compression compression, const struct crypt *crypt, size_t count,
                       size_t bytes, bool noise)
{
    struct prepared *p = prepared_new();
    struct chunk_reader reader = {0};
    struct slsr_batch batch;
    size_t at = 0;
    size_t frame = 0;

    fill(&batch, count, bytes, noise);
    assert_int_equal(prepare_batch(p, &batch, compression, crypt, NULL), 0);
    assert_true(p->count >= (bytes < CHUNK_BYTES ? batch.used / CHUNK_BYTES : count));
    for (size_t i = 0; i < p->count; i++) {
        struct chunk_view view;
        bool header_ok;
        size_t size;
        unsigned char *value = write_chunk(&p->chunks[i], 100 + frame, crypt, &size);
        struct slsr_err err;

        if (chunk_read(value, size, crypt, &reader, &view, &header_ok, &err) != 0)
            fail_msg("chunk_read: %s", err.text);
        assert_int_equal(view.header.first, 100 + frame);
        assert_int_equal(view.header.stream, 3);
        assert_int_equal(view.header.arrival_ms, 1735787045123);
        assert_int_equal(view.header.min_time_s, 5000 + frame);
        assert_int_equal(view.header.max_time_s, 5000 + frame + view.header.count - 1);
        assert_memory_equal(view.frames.p, batch.data + at, view.frames.n);
        assert_int_equal(view.cursor.n, 4);
        assert_memory_equal(view.cursor.p, "MTIz", 4);
        for (uint32_t k = 0; k < view.header.count; k++, frame++) {
            struct slsr_frame_meta meta;

            chunk_meta(view.meta + (size_t)k * CHUNK_META_BYTES, &meta);
            assert_int_equal(meta.end + at, batch.meta[frame].end);
            assert_int_equal(meta.group, frame);
            assert_int_equal(meta.time_ns, frame);
        }
        if (crypt != NULL && view.frames.n > 64)
            assert_null(memmem(value, size, batch.data + at, 32));
        at += view.frames.n;
        free(value);
    }
    assert_int_equal(at, batch.used);
    assert_int_equal(frame, count);
    chunk_reader_fini(&reader);
    prepared_free(p);
    slsr_batch_fini(&batch);
}

static void comes_back_in_every_form(void **state)
{
    struct crypt *crypt = keys(KEY_A, KEY_B);
    static const size_t sizes[][2] = {{1, 1}, {3, 50}, {1000, 800}, {7, 200000}, {2, 600000}};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int form = 0; form < 8; form++)
            round_trip(form & 1 ? SLSR_COMPRESSION_LZ4 : SLSR_COMPRESSION_NONE,
                       form & 2 ? crypt : NULL, sizes[i][0], sizes[i][1], (form & 4) != 0);
    crypt_free(crypt);
}

static void memory_is_reused(void **state)
{
    struct prepared *p = prepared_new();
    struct slsr_batch batch;
    const void *bytes;
    const void *chunks;

    (void)state;
    fill(&batch, 1000, 800, false);
    assert_int_equal(prepare_batch(p, &batch, SLSR_COMPRESSION_LZ4, NULL, NULL), 0);
    bytes = p->bytes;
    chunks = p->chunks;
    assert_true(p->stored_bytes < batch.used / 4);
    assert_int_equal(prepare_batch(p, &batch, SLSR_COMPRESSION_LZ4, NULL, NULL), 0);
    assert_ptr_equal(p->bytes, bytes);
    assert_ptr_equal(p->chunks, chunks);
    prepared_free(p);
    slsr_batch_fini(&batch);
}

/* Any cut and any flipped bit is noticed, whatever the form. */
static void damage_is_noticed(void **state)
{
    struct crypt *crypt = keys(KEY_A, KEY_B);

    (void)state;
    for (int form = 0; form < 4; form++) {
        const struct crypt *key = form & 2 ? crypt : NULL;
        struct prepared *p = prepared_new();
        struct chunk_reader reader = {0};
        struct chunk_view view;
        struct slsr_batch batch;
        unsigned char *value;
        bool header_ok;
        size_t size;

        fill(&batch, 2, 60, false);
        assert_int_equal(prepare_batch(p, &batch,
                                       form & 1 ? SLSR_COMPRESSION_LZ4 : SLSR_COMPRESSION_NONE, key,
                                       NULL),
                         0);
        value = write_chunk(&p->chunks[0], 1, key, &size);
        assert_int_equal(chunk_read(value, size, key, &reader, &view, &header_ok, NULL), 0);
        for (size_t n = 0; n < size; n++)
            assert_int_not_equal(chunk_read(value, n, key, &reader, &view, &header_ok, NULL), 0);
        for (size_t bit = 0; bit < size * 8; bit++) {
            value[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_int_not_equal(chunk_read(value, size, key, &reader, &view, &header_ok, NULL), 0);
            assert_int_not_equal(chunk_check(value, size, &view.header, &header_ok, NULL), 0);
            value[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        free(value);
        chunk_reader_fini(&reader);
        prepared_free(p);
        slsr_batch_fini(&batch);
    }
    crypt_free(crypt);
}

static void reseal(unsigned char *value)
{
    put64(value + 120, XXH3_64bits(value, 120));
}

/* With right checksums but without the key nothing can be changed that the tags cover. */
static void tampering_is_noticed(void **state)
{
    static const size_t fields[] = {15 /* first */,
                                    39 /* arrival */,
                                    31 /* stream */,
                                    43 /* time */,
                                    64 /* salt */,
                                    80 /* payload's tag */,
                                    96 /* header's tag */};
    struct crypt *crypt = keys(KEY_A, "");
    struct prepared *p = prepared_new();
    struct chunk_reader reader = {0};
    struct chunk_view view;
    struct slsr_batch batch;
    unsigned char *value;
    bool header_ok;
    size_t size;

    (void)state;
    fill(&batch, 2, 60, false);
    assert_int_equal(prepare_batch(p, &batch, SLSR_COMPRESSION_NONE, crypt, NULL), 0);
    value = write_chunk(&p->chunks[0], 1, crypt, &size);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        value[fields[i]] ^= 1;
        reseal(value);
        assert_int_equal(chunk_check(value, size, &view.header, &header_ok, NULL), 0);
        assert_int_equal(chunk_read(value, size, crypt, &reader, &view, &header_ok, NULL),
                         SLSR_ECORRUPT);
        value[fields[i]] ^= 1;
    }
    value[CHUNK_HEADER_BYTES] ^= 1; /* a byte of the payload, hash and header brought in line */
    put64(value + 48, XXH3_64bits(value + CHUNK_HEADER_BYTES, size - CHUNK_HEADER_BYTES));
    reseal(value);
    assert_int_equal(chunk_check(value, size, &view.header, &header_ok, NULL), 0);
    assert_int_equal(chunk_read(value, size, crypt, &reader, &view, &header_ok, NULL),
                     SLSR_ECORRUPT);
    free(value);
    chunk_reader_fini(&reader);
    prepared_free(p);
    slsr_batch_fini(&batch);
    crypt_free(crypt);
}

static void keys_rotate(void **state)
{
    struct crypt *old = keys(KEY_A, "");
    struct crypt *both = keys(KEY_B, KEY_A);
    struct crypt *fresh = keys(KEY_B, "");
    struct prepared *p = prepared_new();
    struct chunk_reader reader = {0};
    struct chunk_view view;
    struct slsr_batch batch;
    struct slsr_err err;
    unsigned char *value;
    bool header_ok;
    size_t size;

    (void)state;
    assert_true(crypt_writer(old) != crypt_writer(both));
    assert_true(crypt_writer(fresh) == crypt_writer(both));
    fill(&batch, 2, 60, false);
    assert_int_equal(prepare_batch(p, &batch, SLSR_COMPRESSION_NONE, old, NULL), 0);
    value = write_chunk(&p->chunks[0], 1, old, &size);
    assert_int_equal(chunk_read(value, size, both, &reader, &view, &header_ok, NULL), 0);
    assert_int_equal(chunk_read(value, size, fresh, &reader, &view, &header_ok, &err),
                     SLSR_ECONFIG);
    assert_non_null(strstr(err.text, "spool.encryption_key_file"));
    assert_int_equal(chunk_read(value, size, NULL, &reader, &view, &header_ok, NULL), SLSR_ECONFIG);
    assert_int_equal(chunk_check(value, size, &view.header, &header_ok, NULL), 0);
    free(value);
    /* two preparations of the same bytes share neither salt nor ciphertext */
    unsigned char salt[CRYPT_SALT_BYTES];
    memcpy(salt, p->chunks[0].header.salt, sizeof salt);
    assert_int_equal(prepare_batch(p, &batch, SLSR_COMPRESSION_NONE, old, NULL), 0);
    assert_memory_not_equal(salt, p->chunks[0].header.salt, sizeof salt);
    chunk_reader_fini(&reader);
    prepared_free(p);
    slsr_batch_fini(&batch);
    crypt_free(old);
    crypt_free(both);
    crypt_free(fresh);
}

static void bad_key_files_are_refused(void **state)
{
    char many[65 * 9 + 1] = "";
    struct crypt *crypt = NULL;
    struct slsr_err err;

    (void)state;
    load_keys("", 0600, SLSR_ECONFIG);
    load_keys("# only a comment\n", 0600, SLSR_ECONFIG);
    load_keys("00010203040506070809\n", 0600, SLSR_ECONFIG);
    load_keys("g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0600,
              SLSR_ECONFIG);
    load_keys(KEY_A, 0604, SLSR_ECONFIG);
    for (int i = 0; i < 9; i++)
        sprintf(many + strlen(many), "%s\n", KEY_A);
    load_keys(many, 0600, SLSR_ECONFIG);
    crypt_free(load_keys(KEY_A, 0640, 0));
    assert_int_equal(crypt_load(&crypt, "/nonexistent/key", &err), SLSR_ENOSPOOL);
    assert_int_equal(crypt_load(&crypt, NULL, &err), 0);
    assert_null(crypt);
}

/* A right checksum over sizes that lie. */
static void forged_sizes_are_refused(void **state)
{
    struct prepared *p = prepared_new();
    struct chunk_reader reader = {0};
    struct chunk_view view;
    struct slsr_batch batch;
    struct chunk chunk;
    unsigned char *value;
    bool header_ok;
    size_t size;

    (void)state;
    fill(&batch, 2, 60, false);
    assert_int_equal(prepare_batch(p, &batch, SLSR_COMPRESSION_NONE, NULL, NULL), 0);
    chunk = p->chunks[0];
    chunk.header.payload_bytes = 0;
    chunk.header.stored_bytes = 0;
    chunk.header.hash = 0x2d06800538d394c2u; /* of nothing */
    chunk.parts[0].n = chunk.parts[1].n = 0;
    value = write_chunk(&chunk, 1, NULL, &size);
    assert_int_equal(chunk_read(value, size, NULL, &reader, &view, &header_ok, NULL),
                     SLSR_ECORRUPT);
    free(value);
    for (uint32_t lie = 0; lie < 4; lie++) {
        chunk = p->chunks[0];
        if (lie == 0)
            chunk.header.count = 1000000;
        else if (lie == 1)
            chunk.header.count = 0;
        else if (lie == 2)
            chunk.header.codec = CHUNK_LZ4; /* frames are no lz4 */
        else
            chunk.header.payload_bytes = 4000000000u, chunk.header.codec = CHUNK_LZ4;
        value = write_chunk(&chunk, 1, NULL, &size);
        assert_int_equal(chunk_read(value, size, NULL, &reader, &view, &header_ok, NULL),
                         SLSR_ECORRUPT);
        free(value);
    }
    chunk_reader_fini(&reader);
    prepared_free(p);
    slsr_batch_fini(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_in_every_form),
        cmocka_unit_test(memory_is_reused),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(tampering_is_noticed),
        cmocka_unit_test(keys_rotate),
        cmocka_unit_test(bad_key_files_are_refused),
        cmocka_unit_test(forged_sizes_are_refused),
    };
    int fd;
    int rc;

    strcpy(key_path, "/tmp/slsr-key-XXXXXX");
    fd = mkstemp(key_path);
    close(fd);
    rc = cmocka_run_group_tests_name("spool_chunk", tests, NULL, NULL);
    unlink(key_path);
    return rc;
}
