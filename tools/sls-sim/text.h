/* Text forms of the SLS API: percent coding, base64 cursors, hex, dates. Pure; no locale. */
#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum {
    CURSOR_TEXT_MAX = 40, /* base64 of 20 digits is 28 characters */
    DATE_TEXT_MAX = 40,
};

/* Decodes %XX in place, and '+' as a blank when `form`. False: bad escape or an encoded NUL. */
bool text_unescape(char *text, bool form);

/* Adds the value with everything but A-Z a-z 0-9 - _ . ~ percent-encoded in upper case. */
void text_escape(struct buf *out, const char *text);

void text_hex(char *out, const uint8_t *data, size_t n, bool upper); /* 2n digits and a NUL */
bool text_unhex(const char *text, uint8_t *out, size_t n); /* exactly 2n digits, then the end */

/* Decimal number 0..max without sign, blank or rest. */
bool text_number(const char *text, uint64_t max, uint64_t *out);

/* A cursor is the base64 of a decimal number; padding may be missing when read. */
void cursor_encode(uint64_t number, char out[CURSOR_TEXT_MAX]);
bool cursor_decode(const char *text, uint64_t *number);
bool text_is_base64(const char *text);

/* "Thu, 02 Jan 2025 03:04:05 GMT" and "20250102T030405Z", UTC. Reading also takes one-digit days.
 */
void date_http(int64_t time_s, char out[DATE_TEXT_MAX]);
bool date_parse_http(const char *text, int64_t *time_s);
bool date_parse_basic(const char *text, int64_t *time_s);

#endif
