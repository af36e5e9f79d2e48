/* Finds [slsRelay@32473 project= logstore= shard= cursor= index=] in an RFC 5424 message. */
#ifndef SINK_PROVENANCE_H
#define SINK_PROVENANCE_H

#include <stddef.h>
#include <stdint.h>

enum { PROVENANCE_NAME_MAX = 128 };

struct provenance {
    char project[PROVENANCE_NAME_MAX]; /* NUL-terminated */
    char logstore[PROVENANCE_NAME_MAX];
    uint32_t shard;
    uint64_t cursor; /* the decimal number inside the base64 */
    uint32_t index;
};

/* 1: found, *out is set. 0: the message carries none. -1: it carries one that cannot be read (a
 * parameter is missing, too long, or no number). */
int provenance_find(const char *p, size_t n, struct provenance *out);

#endif
