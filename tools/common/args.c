/* Command lines: see args.h. What can go wrong is the user's typing; each refusal names the option
 * and, when one is near, the name that was probably meant. */
#include <stdint.h>
#include <string.h>

#include "common/args.h"
#include "slsrelay/typo.h"

enum { WORD_MAX = 40, OPTIONS_MAX = 64 };

void cli_args_init(struct args *args, int argc, char **argv)
{
    *args = (struct args){.argc = argc, .argv = argv, .next = 1};
}

const char *cli_args_nearest(const char *word, const char *const *names, size_t count)
{
    struct slsr_typo typo;

    slsr_typo_begin(&typo, word);
    for (size_t i = 0; i < count; i++)
        slsr_typo_offer(&typo, names[i], strlen(names[i]));
    return typo.near;
}

static int unknown_long(const char *name, const struct args_option *table, size_t count,
                        struct slsr_err *err)
{
    const char *names[OPTIONS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < count && n < OPTIONS_MAX; i++)
        names[n++] = table[i].name;
    const char *near = cli_args_nearest(name, names, n);
    if (near != NULL)
        return slsr_fail(err, SLSR_EUSAGE, "unknown option '--%s': did you mean '--%s'?", name,
                         near);
    return slsr_fail(err, SLSR_EUSAGE, "unknown option '--%s': see --help", name);
}

static int long_option(struct args *args, const char *text, const struct args_option *table,
                       size_t count, struct slsr_err *err)
{
    char name[WORD_MAX + 1];
    const char *equals = strchr(text, '=');
    size_t n = equals != NULL ? (size_t)(equals - text) : strlen(text);

    if (n > WORD_MAX)
        return slsr_fail(err, SLSR_EUSAGE, "unknown option '--%.40s...': see --help", text);
    memcpy(name, text, n);
    name[n] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) != 0)
            continue;
        if (!table[i].has_value && equals != NULL)
            return slsr_fail(err, SLSR_EUSAGE, "option '--%s' takes no value: leave '=' out", name);
        if (table[i].has_value && equals == NULL && args->next >= args->argc)
            return slsr_fail(err, SLSR_EUSAGE, "option '--%s' needs a value: see --help", name);
        if (table[i].has_value)
            args->value = equals != NULL ? equals + 1 : args->argv[args->next++];
        return table[i].id;
    }
    return unknown_long(name, table, count, err);
}

static int short_option(struct args *args, const char *at, const struct args_option *table,
                        size_t count, struct slsr_err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].letter == 0 || table[i].letter != at[0])
            continue;
        if (!table[i].has_value) {
            args->cluster = at[1] != '\0' ? at + 1 : NULL;
            return table[i].id;
        }
        args->cluster = NULL;
        if (at[1] != '\0')
            args->value = at + 1;
        else if (args->next < args->argc)
            args->value = args->argv[args->next++];
        else
            return slsr_fail(err, SLSR_EUSAGE, "option '-%c' needs a value: see --help", at[0]);
        return table[i].id;
    }
    return slsr_fail(err, SLSR_EUSAGE, "unknown option '-%c': see --help", at[0]);
}

/* "-2h" is a time and no option, unless a digit is one. */
static bool is_number(const char *text, const struct args_option *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].letter == text[1])
            return false;
    return text[1] >= '0' && text[1] <= '9';
}

int cli_args_next(struct args *args, const struct args_option *table, size_t count,
                  struct slsr_err *err)
{
    args->value = NULL;
    if (args->cluster != NULL)
        return short_option(args, args->cluster, table, count, err);
    if (args->next >= args->argc)
        return ARGS_END;
    const char *text = args->argv[args->next++];
    if (!args->words_only && strcmp(text, "--") == 0) {
        args->words_only = true;
        return cli_args_next(args, table, count, err);
    }
    if (!args->words_only && strncmp(text, "--", 2) == 0)
        return long_option(args, text + 2, table, count, err);
    if (!args->words_only && text[0] == '-' && text[1] != '\0' && !is_number(text, table, count))
        return short_option(args, text + 1, table, count, err);
    args->value = text;
    return ARGS_WORD;
}
