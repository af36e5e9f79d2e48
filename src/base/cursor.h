/* Cursor arithmetic. A cursor is base64 of a decimal number that grows by exactly 1 per log group
 * (docs/architecture.md "Cursors"); anything else is opaque and only compared for equality. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/types.h"

/* True and the number when text is base64 (padding optional) of 1..19 decimal digits < 2^63. */
bool cursor_number(const char *text, uint64_t *number);
/* Base64 text of a number; always fits. */
void cursor_text(uint64_t number, char out[SLSR_CURSOR_MAX + 1]);
/* Cursor of group `group` of a pull that began at `base`: base + group when it is a number, else
 * base itself. */
void cursor_of_group(const char *base, uint32_t group, char out[SLSR_CURSOR_MAX + 1]);

#endif
