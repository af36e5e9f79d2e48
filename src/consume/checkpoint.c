/* The start rule. Cursors are compared as numbers where both are numbers, else for equality only.
 */
#include <string.h>

#include "consume/checkpoint.h"

#include "base/cursor.h"

enum checkpoint_start checkpoint_choose(const char *local, const char *reported, const char *server)
{
    uint64_t l;
    uint64_t r;
    uint64_t s;

    if (server[0] == '\0') /* never stored, or the group was made anew */
        return local[0] != '\0' ? CHECKPOINT_LOCAL : CHECKPOINT_CONFIGURED;
    if (local[0] == '\0')
        return CHECKPOINT_SERVER;
    if (strcmp(server, local) == 0 || strcmp(server, reported) == 0)
        return CHECKPOINT_LOCAL;
    if (!cursor_number(local, &l) || !cursor_number(server, &s))
        return CHECKPOINT_SERVER;
    if (s > l)
        return CHECKPOINT_SERVER; /* another consumer went on behind us */
    if (reported[0] == '\0' || !cursor_number(reported, &r))
        return CHECKPOINT_LOCAL;     /* we hold everything up to l anyway */
    return s < r ? CHECKPOINT_SERVER /* put back on purpose: read it again */
                 : CHECKPOINT_LOCAL; /* our own report, confirmed but not yet noted */
}
