/* One mapping a secret: few of them live, and a page of its own can be left out of a dump as a
 * whole. The mapping's size stands in front of the text. */
#include <string.h>
#include <sys/mman.h>

#include "base/secret.h"

char *secret_dup(const char *text)
{
    const size_t n = strlen(text) + 1;
    const size_t size = sizeof size + n;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    (void)madvise(at, size, MADV_DONTDUMP);
    (void)mlock(at, size); /* refused beyond RLIMIT_MEMLOCK: then it may be swapped out */
    memcpy(at, &size, sizeof size);
    return memcpy(at + sizeof size, text, n);
}

void secret_free(char *secret)
{
    size_t size;
    char *at;

    if (secret == NULL)
        return;
    at = secret - sizeof size;
    memcpy(&size, at, sizeof size);
    explicit_bzero(at, size);
    munmap(at, size);
}
