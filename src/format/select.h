/* Which keys of a log are printed, and under which name: format.fields. */
#ifndef FORMAT_SELECT_H
#define FORMAT_SELECT_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/types.h"

struct select;

/* used: further keys to leave out (what a mapping prints already). *out is NULL when everything is
 * printed as it is. */
int select_compile(struct select **out, const struct slsr_format_config *config,
                   const struct slsr_texts *used, struct slsr_err *err);
void select_free(struct select *select);
/* True: print the key; *tag and *key are the name to print. A tag's key is without its prefix. */
bool select_key(const struct select *select, bool *tag, struct slsr_bytes *key);
/* __time__ is printed only when it is named. */
bool select_wants_time(const struct select *select);

#endif
