/* RELP, the receiver's side: reads frames, gathers answers. Pure. One talk per connection. */
#ifndef SINK_RELP_H
#define SINK_RELP_H

#include <stdbool.h>
#include <stddef.h>

#include "deframe.h"

struct talk {
    size_t max;  /* longest message */
    bool opened; /* `open` has come */
    bool over;   /* `close` has come: answer and end */
    char *out;   /* answers that are not sent yet: [done, used) */
    size_t used, done, size;
};

void talk_init(struct talk *t, size_t max);
void talk_fini(struct talk *t);
/* Takes frames off the front until one is a message, which is answered 200. Codes as
 * deframe_next; MORE with used > 0: commands were answered, drop those bytes. */
enum deframe_result talk_next(struct talk *t, const char *p, size_t n, struct deframed *out);

#endif
