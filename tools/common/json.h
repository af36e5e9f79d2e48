/* JSON by hand, straight to a stream: a tool writes millions of lines and never builds a tree. */
#ifndef TOOLS_COMMON_JSON_H
#define TOOLS_COMMON_JSON_H

#include <stdio.h>

#include "slsrelay/types.h"

/* A quoted string. Controls and C1 are escaped; a byte that is no UTF-8 becomes U+FFFD, so the
 * result is always JSON (use cli_json_base64 where bytes must survive). */
void cli_json_string(FILE *out, struct slsr_bytes text);
/* A quoted base64 string (RFC 4648, with padding). */
void cli_json_base64(FILE *out, struct slsr_bytes bytes);
/* A number with up to three decimals; null when it is not finite. */
void cli_json_real(FILE *out, double value);

#endif
