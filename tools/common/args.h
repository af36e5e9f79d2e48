/* Options and words of a command line, from a table: long and short names anywhere on the line,
 * `--name value`, `--name=value`, `-nvalue`, clusters of flags, `--` ends options, `-2h` is a word.
 * Unlike getopt_long it names the nearest known option in the error. One thread. */
#ifndef TOOLS_COMMON_ARGS_H
#define TOOLS_COMMON_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "slsrelay/err.h"

struct args_option {
    int id;      /* 1..63 */
    char letter; /* 0: none */
    bool has_value;
    const char *name;
};

struct args {
    int argc;
    char **argv;
    int next;            /* index of the argument to look at */
    const char *cluster; /* rest of "-abc" behind the letter just handled */
    bool words_only;     /* "--" was seen */
    const char *value;   /* out: the option's value or the word; argv's memory */
};

enum { ARGS_WORD = 0, ARGS_END = -1 };

void cli_args_init(struct args *args, int argc, char **argv);
/* An option's id, ARGS_WORD, ARGS_END or SLSR_EUSAGE. */
int cli_args_next(struct args *args, const struct args_option *table, size_t count,
                  struct slsr_err *err);
/* The name that a user most likely meant; NULL when none is near. Static or the caller's text. */
const char *cli_args_nearest(const char *word, const char *const *names, size_t count);

#endif
