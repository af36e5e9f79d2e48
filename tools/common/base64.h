/* Base64 (RFC 4648), as cli_json_base64 writes it, back to bytes. */
#ifndef TOOLS_COMMON_BASE64_H
#define TOOLS_COMMON_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* n characters to *out_n bytes; out has room for n. False: not base64. */
bool cli_base64_decode(const char *text, size_t n, char *out, size_t *out_n);

#endif
