/* The filters that a pull may carry in `query`: a small part of the service's SPL.
 *
 *   * | where COND [| where COND]...
 *   COND: comparisons joined with and, or, not and parentheses
 *   comparison: FIELD = 'text', != or <>, like 'a%b_c', in ('a', 'b'), is null, is not null;
 *               cast(FIELD as bigint) = != < <= > >= NUMBER
 *   FIELD: a plain name, or any name in double quotes; __topic__, __source__, __tag__:key
 *
 * A field that a log lacks is null: every comparison with it is false. Pure. */
#ifndef SIM_SPL_H
#define SIM_SPL_H

#include "wire.h"

struct spl;

/* NULL: not understood, `why` says where. "*" and an empty text keep everything. */
struct spl *spl_parse(const char *query, char why[128]);
void spl_free(struct spl *spl);

/* Adds the log group with only the logs that pass to `out` as an element of a LogGroupList, unless
 * none passes. Returns how many logs passed; *seen counts all. */
uint32_t spl_filter(const struct spl *spl, struct span group, struct buf *out, uint32_t *seen);

#endif
