/* One bare LZ4 block of known size (no frame, no size prefix). Thread-safe. */
#ifndef CODEC_LZ4_H
#define CODEC_LZ4_H

#include "slsrelay/err.h"
#include "slsrelay/types.h"

/* Fills out[0..raw_size) exactly. SLSR_EBADDATA: the block is damaged or of another size;
 * SLSR_ETOOBIG: more than LZ4 can address. */
int codec_lz4_decode(struct slsr_bytes block, char *out, size_t raw_size, struct slsr_err *err);
/* False when a block of this length cannot possibly grow to raw_size. */
bool codec_lz4_plausible(size_t block_size, size_t raw_size);

#endif
