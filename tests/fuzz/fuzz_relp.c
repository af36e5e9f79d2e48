/* What a RELP server may say, any bytes. What must hold: frames lie inside the bytes, are taken off
 * the front one by one, and a stream cut anywhere gives the same frames. */
#include <stdint.h>
#include <stdlib.h>

#include "transport/relp_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

static void inside(struct slsr_bytes view, const char *p, size_t n)
{
    must(view.n == 0 || (view.p >= p && view.p + view.n <= p + n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    size_t at = 0;

    for (;;) {
        struct relp_frame f, g;
        long used = relp_frame_next(p + at, size - at, &f);

        if (used <= 0)
            break;
        must((size_t)used <= size - at);
        inside(f.command, p + at, (size_t)used);
        inside(f.data, p + at, (size_t)used);
        must(f.command.n > 0 && f.command.n <= 32 && f.data.n <= RELP_DATA_MAX);
        /* One byte less is not a whole frame yet. */
        must(relp_frame_next(p + at, (size_t)used - 1, &g) == 0);
        must(relp_status(f.data) >= -1 && relp_status(f.data) <= 999);
        (void)relp_offers(f.data, "syslog");
        at += (size_t)used;
    }
    return 0;
}
