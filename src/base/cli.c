/* getopt_long's refusals: see slsrelay/cli.h. It tells little: optopt is 0 for a long name that is
 * unknown or short for several, the option's value for a long one with a value too many or none,
 * and the letter for a short one; the argument stands in front of optind, but for a letter within
 * a cluster. */
#include "slsrelay/cli.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "slsrelay/typo.h"

enum { NAME_SIZE = 48 };

/* Length of the well-formed UTF-8 sequence of more than one byte at p; 0: none. */
static size_t sequence(const unsigned char *p)
{
    const size_t n = p[0] < 0xc3 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

const char *slsr_cli_plain(char *out, size_t size, const char *text)
{
    size_t used = 0;

    while (*text != '\0') {
        const size_t n = sequence((const unsigned char *)text);

        if (used + (n > 0 ? n : 1) >= size)
            break;
        if (n > 0)
            memcpy(out + used, text, n);
        else
            out[used] = *text >= 0x20 && *text < 0x7f ? *text : '?';
        used += n > 0 ? n : 1;
        text += n > 0 ? n : 1;
    }
    out[used] = '\0';
    return out;
}

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
        slsr_cli_plain(name, sizeof name, whole);
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
