/* The text that every match of a pattern contains. */
#ifndef SLS_SPOOL_LITERAL_H
#define SLS_SPOOL_LITERAL_H

#include <stdbool.h>
#include <stddef.h>

enum { LITERAL_MAX = 128 };

/* Its length, 0 when none is certain. The pattern is matched with case and without PCRE2_EXTENDED.
 */
size_t literal_of(const char *pattern, char out[LITERAL_MAX]);

#endif
