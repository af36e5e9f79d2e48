/* JSON text straight to a stream: for answers and diagnostics that are written, never kept.
 * "put", because jansson owns json_string and its like. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdint.h>
#include <stdio.h>

/* A quoted string. Controls are escaped, a byte that is no UTF-8 becomes U+FFFD: the result is
 * always JSON, and may stand inside an HTML script element ('<' is escaped, too). */
void json_put_string(FILE *out, const char *text);
/* ,"name":value  or  ,"name":null for a negative value. */
void json_put_number(FILE *out, const char *name, int64_t value);
/* ,"name":"text"  or  ,"name":null for an empty text. */
void json_put_text(FILE *out, const char *name, const char *text);
/* A number with up to three decimals; 0 when it is not finite. */
void json_put_real(FILE *out, double value);

#endif
