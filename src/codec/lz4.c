/* LZ4 blocks as the service sends them. HOT (tests/bench/bench_format.c "decode").
 *
 * The size comes from a header of the answer. It is not believed: LZ4_decompress_safe never writes
 * past it, and a block that gives fewer bytes is refused, as is one that cannot give as many. */
#include <limits.h>
#include <stdio.h>

#include <lz4.h>

#include "codec/codec.h"
#include "codec/lz4.h"

/* One byte of a block stands for at most 255 bytes of output (an extended match length). */
enum { LZ4_RATIO_MAX = 255 };

bool codec_lz4_plausible(size_t block_size, size_t raw_size)
{
    return raw_size / LZ4_RATIO_MAX <= block_size;
}

int codec_lz4_decode(struct slsr_bytes block, char *out, size_t raw_size, struct slsr_err *err)
{
    if (block.n > INT_MAX || raw_size > INT_MAX)
        return slsr_fail(err, SLSR_ETOOBIG, "lz4 body of %zu bytes is too large to decompress",
                         block.n);
    int got = LZ4_decompress_safe(block.p, out, (int)block.n, (int)raw_size);
    if (got < 0)
        return slsr_fail(err, SLSR_EBADDATA,
                         "lz4 body of %zu bytes is damaged or larger than the %zu bytes announced",
                         block.n, raw_size);
    if ((size_t)got != raw_size)
        return slsr_fail(err, SLSR_EBADDATA, "lz4 body has %d bytes, the answer announced %zu", got,
                         raw_size);
    return 0;
}

void codec_libraries(char *out, size_t size)
{
    snprintf(out, size, "lz4 %s", LZ4_versionString());
}
