/* Text for people: sizes, counts, durations, times, and foreign bytes made harmless on a terminal.
 * The caller's buffers; any thread. */
#ifndef TOOLS_COMMON_TEXT_H
#define TOOLS_COMMON_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "slsrelay/types.h"

enum { TEXT_SMALL = 48 }; /* room for any of the texts below */

void cli_text_size(char out[TEXT_SMALL], uint64_t bytes);  /* "9.8 GiB" */
void cli_text_count(char out[TEXT_SMALL], uint64_t count); /* "41.2 M"; below 10,000 as it is */
void cli_text_duration(char out[TEXT_SMALL], int64_t s);   /* "41 s" "3m12s" "2h05m" "3d04h" */
/* "2026-01-02T03:04:05.123Z"; digits 0..9 of the fraction. */
void cli_text_time_utc(char out[TEXT_SMALL], int64_t s, uint32_t ns, int digits);
/* "2026-01-02 03:04:05.123" in the process's zone. */
void cli_text_time_local(char out[TEXT_SMALL], int64_t s, uint32_t ns);

/* Width of the terminal behind fd; 80 when it does not tell. */
size_t cli_text_columns(int fd);

/* Length of the UTF-8 sequence at p and its code point; 0 when it is not one (RFC 3629). */
size_t cli_text_utf8_next(const char *p, size_t n, uint32_t *code);
bool cli_text_is_utf8(struct slsr_bytes text);
/* Writes text with everything that could steer a terminal (C0, DEL, C1, direction overrides, bytes
 * that are no UTF-8) as an escape. At most max_columns characters, then "..."; 0: no limit. */
void cli_text_escape(FILE *out, struct slsr_bytes text, size_t max_columns);

#endif
