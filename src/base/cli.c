/* getopt_long's refusals: see slsrelay/cli.h. It tells little: optopt is 0 for a long name that is
 * unknown or short for several, the option's value for a long one with a value too many or none,
 * and the letter for a short one; the argument stands in front of optind, but for a letter within
 * a cluster. */
#include "slsrelay/cli.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "slsrelay/plain.h"
#include "slsrelay/typo.h"

enum { NAME_SIZE = 48 };

static void near_name(char out[SLSR_CLI_TEXT], const struct option *table, const char *name)
{
    struct slsr_typo typo;

    slsr_typo_begin(&typo, name);
    for (; table->name != NULL; table++)
        slsr_typo_offer(&typo, table->name, strlen(table->name));
    if (typo.near != NULL)
        snprintf(out, SLSR_CLI_TEXT, "unknown option '--%s': did you mean '--%s'?", name,
                 typo.near);
    else
        snprintf(out, SLSR_CLI_TEXT, "unknown option '--%s': see --help", name);
}

/* Unknown, or the beginning of several names. */
static void unknown_name(char out[SLSR_CLI_TEXT], const struct option *table, const char *name)
{
    const char *begins[2] = {NULL, NULL};
    size_t count = 0;

    for (const struct option *o = table; o->name != NULL && count < 2; o++)
        if (strncmp(o->name, name, strlen(name)) == 0)
            begins[count++] = o->name;
    if (count == 2)
        snprintf(out, SLSR_CLI_TEXT, "option '--%s' may be '--%s' or '--%s': write it whole", name,
                 begins[0], begins[1]);
    else
        near_name(out, table, name);
}

void slsr_cli_refused(char out[SLSR_CLI_TEXT], int answer, const struct option *table,
                      char *const *argv)
{
    const char *text = argv[optind - 1];
    const bool is_long = strncmp(text, "--", 2) == 0;
    const char *equals = is_long ? strchr(text, '=') : NULL;
    char name[NAME_SIZE] = "";
    char whole[NAME_SIZE];

    if (is_long) {
        snprintf(whole, sizeof whole, "%.*s",
                 equals != NULL ? (int)(equals - text - 2) : (int)sizeof whole - 1, text + 2);
        slsr_plain(name, sizeof name, whole);
    }
    if (answer == ':' && is_long)
        snprintf(out, SLSR_CLI_TEXT, "option '--%s' needs a value: see --help", name);
    else if (answer == ':')
        snprintf(out, SLSR_CLI_TEXT, "option '-%c' needs a value: see --help", optopt);
    else if (optopt == 0)
        unknown_name(out, table, name);
    else if (equals != NULL)
        snprintf(out, SLSR_CLI_TEXT, "option '--%s' takes no value: leave '=' out", name);
    else
        snprintf(out, SLSR_CLI_TEXT, "unknown option '-%c': see --help",
                 optopt >= 0x20 && optopt < 0x7f ? optopt : '?');
}
