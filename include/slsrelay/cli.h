/* What getopt_long refuses, as a sentence for people. For programs with a table of struct option;
 * it knows nothing else of the product, so that the test partners may use it, too. One thread:
 * getopt_long has globals. */
#ifndef SLSRELAY_CLI_H
#define SLSRELAY_CLI_H

#include <stddef.h>

struct option; /* getopt.h */

enum { SLSR_CLI_TEXT = 200 };

/* Call it at once when getopt_long has returned answer: '?', or ':' for a missing value (the short
 * options begin with ':', opterr is 0). out: "unknown option '--chekc': did you mean '--check'?".
 * What stands behind "=" is left out, it may be a secret; bytes that are not printable become '?'.
 */
void slsr_cli_refused(char out[SLSR_CLI_TEXT], int answer, const struct option *table,
                      char *const *argv);

#endif
