/* Protobuf of log groups, written and read by hand, and body compression. Pure.
 *
 *   LogGroupList { 1: LogGroup* }     LogGroup { 1: Log*, 3: Topic, 4: Source, 6: LogTag* }
 *   Log { 1: Time varint, 2: Content*, 4: Time_ns fixed32 }    Content, LogTag { 1: Key, 2: Value }
 */
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct span {
    const uint8_t *p;
    size_t n;
};

/* One field of a message. */
struct wire_field {
    uint32_t number;
    uint32_t type;     /* 0, 1, 2 or 5 */
    uint64_t varint;   /* type 0, and the value of 1 and 5 */
    struct span bytes; /* type 2 */
};

/* Takes one field off the front of `rest`. Returns 1, 0 at the end, -1 when malformed. */
int wire_next(struct span *rest, struct wire_field *field);

void wire_varint(struct buf *out, uint64_t value);
void wire_bytes(struct buf *out, uint32_t number, const void *data, size_t n);
void wire_pair(struct buf *out, uint32_t number, struct span key, struct span value);

/* Starts of a log: tag, length, time, and optional nanoseconds; `contents` are encoded pairs. */
void wire_log(struct buf *out, uint32_t time_s, uint32_t time_ns, const struct buf *contents);

struct span span_of(const char *text);

/* Walks a whole LogGroup and counts its logs. False with a reason when it is not one. */
bool wire_check_group(struct span group, uint32_t *logs, const char **why);

/* Compression of bodies; names as in x-log-compresstype: lz4, zstd, deflate, gzip. */
bool wire_can_unpack(const char *method);
bool wire_unpack(const char *method, struct span packed, size_t raw_size, struct buf *out);
bool wire_pack(const char *method, struct span raw, struct buf *out);

#endif
