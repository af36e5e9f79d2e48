/* Nearest names by edit distance, where two swapped neighbours count as one slip: they are the most
 * usual one. What is further away than a third of the word is another word. */
#include "slsrelay/typo.h"

#include <string.h>

enum { WORD_MAX = 40 }; /* nobody means a known name by more */

/* Both at most WORD_MAX. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);

            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *old = before;
        before = last;
        last = now;
        now = old;
    }
    return last[m];
}

void slsr_typo_begin(struct slsr_typo *typo, const char *word)
{
    *typo = (struct slsr_typo){.word = word, .slips = strlen(word) / 3 + 2};
}

void slsr_typo_offer(struct slsr_typo *typo, const char *name, size_t n)
{
    const size_t word_n = strlen(typo->word);
    size_t slips;

    if (n > WORD_MAX || word_n > WORD_MAX)
        return;
    slips = distance(typo->word, word_n, name, n);
    if (slips >= typo->slips || slips >= word_n)
        return;
    typo->near = name;
    typo->near_n = n;
    typo->slips = slips;
}
