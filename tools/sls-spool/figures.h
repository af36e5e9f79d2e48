/* The spool's figures (slsrelay/status.h) as tables. */
#ifndef SLS_SPOOL_FIGURES_H
#define SLS_SPOOL_FIGURES_H

#include <stdio.h>

#include "slsrelay/status.h"

#include "tool.h"

void figures_table_shards(const struct slsr_status *figures, FILE *out, const char *indent);

#endif
