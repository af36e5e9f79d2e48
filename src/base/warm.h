/* Large blocks of memory that are taken and given back over and over, kept warm in between.
 *
 * A block that goes back to the kernel comes again page by page, each by a fault: dear for buffers
 * of megabytes that live for one pull. So what is given back waits here for the next one who needs
 * that much; the last given is the first taken, for its bytes may still be in a cache. At most
 * WARM_IDLE_BYTES wait; beyond that the longest unused go back to the kernel. Any thread. */
#ifndef BASE_WARM_H
#define BASE_WARM_H

#include <stddef.h>

enum { WARM_IDLE_BYTES = 64 * 1024 * 1024, WARM_BLOCK_MIN = 64 * 1024 };

/* A block of at least `need` bytes (up to an eighth more), content undefined; *size: all that may
 * be used. Plain memory of malloc: realloc and free are fine, too. NULL: no memory, *size is 0. */
void *warm_take(size_t need, size_t *size);
/* Takes any block of malloc that has `size` bytes. NULL is fine. */
void warm_give(void *block, size_t size);
/* Everything that waits goes back to the kernel. */
void warm_trim(void);
/* Bytes that wait. */
size_t warm_idle(void);

#endif
