/* Text from outside, made fit to stand in a sentence. Any thread. */
#ifndef SLSRELAY_PLAIN_H
#define SLSRELAY_PLAIN_H

#include <stddef.h>

/* Printable ASCII and well-formed UTF-8 stay, every other byte becomes '?'; at most size - 1 bytes,
 * never a part of a sequence. Returns out. */
const char *slsr_plain(char *out, size_t size, const char *text);

#endif
