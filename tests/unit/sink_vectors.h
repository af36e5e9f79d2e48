/* Golden vectors for the sink's tests: loads the file, decodes hex. Test failures on anything odd.
 */
#ifndef TESTS_SINK_VECTORS_H
#define TESTS_SINK_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline json_t *vectors_load(void)
{
    json_error_t error;
    json_t *root = json_load_file(VECTORS "/syslog-rfc-vectors.json", JSON_ALLOW_NUL, &error);

    if (root == NULL)
        fail_msg("%s:%d: %s", error.source, error.line, error.text);
    return root;
}

static inline const char *vector_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (text == NULL)
        fail_msg("a vector has no %s", key);
    return text;
}

/* Exactly n bytes on the heap, so that a sanitizer sees every read past the end. */
static inline char *vector_hex(const char *hex, size_t *n)
{
    char *bytes = NULL;

    *n = strlen(hex) / 2;
    bytes = malloc(*n > 0 ? *n : 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < *n; i++) {
        unsigned value = 0;

        if (sscanf(hex + 2 * i, "%2x", &value) != 1)
            fail_msg("bad hex in a vector");
        bytes[i] = (char)value;
    }
    return bytes;
}

#endif
