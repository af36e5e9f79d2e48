/* Which known name was probably meant by one that is not known. Pure; any thread. */
#ifndef SLSRELAY_TYPO_H
#define SLSRELAY_TYPO_H

#include <stddef.h>

struct slsr_typo {
    const char *word;
    const char *near; /* the nearest name so far, the caller's text; NULL: none is near enough */
    size_t near_n;    /* its bytes: a part of a longer text needs no NUL */
    size_t slips;     /* letters left out, put in, replaced, or two swapped */
};

/* word: as it was typed; borrowed until the last offer. */
void slsr_typo_begin(struct slsr_typo *typo, const char *word);
/* One known name of n bytes, which outlives typo. Of two equally near ones the first stays. */
void slsr_typo_offer(struct slsr_typo *typo, const char *name, size_t n);

#endif
