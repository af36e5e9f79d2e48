/* The command line into struct tool. Values are checked here as far as that needs no spool;
 * which verb takes which option is main.c's table. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "tool.h"

static const struct args_option table[] = {
    {OPT_CONFIG, 'c', true, "config"},
    {OPT_DIR, 'D', true, "directory"},
    {OPT_OUTPUT, 'o', true, "form"},
    {OPT_FILE, 0, true, "output"},
    {OPT_HELP, 'h', false, "help"},
    {OPT_VERSION, 'V', false, "version"},
    {OPT_SINCE, 'S', true, "since"},
    {OPT_UNTIL, 'U', true, "until"},
    {OPT_BY_ARRIVAL, 0, false, "by-arrival"},
    {OPT_SEQ, 0, true, "seq"},
    {OPT_SHARD, 's', true, "shard"},
    {OPT_GREP, 'g', true, "grep"},
    {OPT_IGNORE_CASE, 'i', false, "ignore-case"},
    {OPT_INVERT, 'v', false, "invert"},
    {OPT_LINES, 'n', true, "lines"},
    {OPT_REVERSE, 'r', false, "reverse"},
    {OPT_COUNT, 0, false, "count"},
    {OPT_FOLLOW, 'f', false, "follow"},
    {OPT_WATCH, 0, false, "watch"},
    {OPT_CHECK, 0, false, "check"},
    {OPT_MAX_AGE, 0, true, "max-age"},
    {OPT_MAX_BACKLOG, 0, true, "max-backlog"},
    {OPT_DEEP, 0, false, "deep"},
    {OPT_TARGET, 't', true, "target"},
    {OPT_TO, 0, true, "to"},
    {OPT_RATE, 0, true, "rate"},
    {OPT_YES, 'y', false, "yes"},
    {OPT_TIMEOUT, 0, true, "timeout"},
    {OPT_STATE, 0, true, "state"},
    {OPT_DRY_RUN, 0, false, "dry-run"},
    {OPT_REASON, 0, true, "reason"},
    {OPT_LIST, 0, false, "list"},
    {OPT_RESUME, 0, true, "resume"},
    {OPT_STOP, 0, true, "stop"},
    {OPT_APPLY, 0, false, "apply"},
    {OPT_CLEAR_STALE, 0, false, "clear-stale"},
    {OPT_REPLAY, 0, false, "replay"},
};
enum { TABLE_SIZE = sizeof(table) / sizeof(table[0]) };

const char *options_name(enum option option)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].id == (int)option)
            return table[i].name;
    return "?";
}

static bool whole(const char *text, uint64_t *value)
{
    char *end;

    if (*text < '0' || *text > '9' || strlen(text) > 18)
        return false;
    *value = strtoull(text, &end, 10);
    return *end == '\0';
}

static int set_output(struct tool *tool, const char *value)
{
    static const char *const names[] = {"text", "json", "jsonl", "raw", "octet"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], value) == 0) {
            tool->output = (enum output)i;
            return 0;
        }
    }
    return tool_usage("output '%s', -o: give text, json, jsonl or raw (export: octet, too)", value);
}

static int add_shard(struct tool *tool, const char *value)
{
    const char *slash = strrchr(value, '/');
    struct shard_pick pick = {.logstore = NULL};
    uint64_t number;

    if (slash != NULL) {
        pick.logstore = value;
        pick.logstore_n = (size_t)(slash - value);
    }
    if (!whole(slash != NULL ? slash + 1 : value, &number) || number > UINT32_MAX)
        return tool_usage("shard '%s', -s: give N or LOGSTORE/N", value);
    if (tool->shard_count == SHARD_PICKS_MAX)
        return tool_usage("more than %d shards, -s: select fewer, or leave -s out for all",
                          SHARD_PICKS_MAX);
    pick.shard = (uint32_t)number;
    tool->shards[tool->shard_count++] = pick;
    return 0;
}

static int set_number(struct tool *tool, int id, const char *value)
{
    int64_t ms;

    switch (id) {
    case OPT_LINES:
        tool->lines_oldest = *value == '+';
        if (!whole(value + (*value == '+'), &tool->lines))
            return tool_usage("number '%s', -n: give N for the newest or +N for the oldest", value);
        return 0;
    case OPT_RESUME:
    case OPT_STOP:
        if (!whole(value, &tool->job) || tool->job == 0)
            return tool_usage("job '%s', --%s: give its number, see replay --list", value,
                              options_name((enum option)id));
        return 0;
    case OPT_MAX_BACKLOG:
        if (!whole(value, &tool->max_backlog))
            return tool_usage("number '%s', --max-backlog: give a number of frames", value);
        return 0;
    default:
        if (!slsr_parse_duration(value, &ms) || ms < 0)
            return tool_usage("duration '%s', --%s: give seconds, or a form like 90s, 5m, 2h",
                              value, options_name((enum option)id));
        if (id == OPT_MAX_AGE)
            tool->max_age_s = ms / 1000;
        else
            tool->timeout_ms = ms;
        return 0;
    }
}

/* Of two values one would be dropped in silence, and sending the wrong frames is worse than none.
 */
static int check_once(const struct tool *tool, int id)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].id == id && table[i].has_value && id != OPT_SHARD &&
            tool_given(tool, (enum option)id))
            return tool_usage("option '%s%s' was given twice: leave one out",
                              id == OPT_OUTPUT ? "-" : "--",
                              id == OPT_OUTPUT ? "o" : table[i].name);
    return 0;
}

/* 0 or the exit code. */
static int set_option(struct tool *tool, int id, const char *value)
{
    switch (id) {
    case OPT_CONFIG:
        tool->config_file = value;
        return 0;
    case OPT_DIR:
        tool->dir = value;
        return 0;
    case OPT_OUTPUT:
        return set_output(tool, value);
    case OPT_SINCE:
        tool->since = value;
        return 0;
    case OPT_UNTIL:
        tool->until = value;
        return 0;
    case OPT_SEQ:
        tool->seq = value;
        return 0;
    case OPT_SHARD:
        return add_shard(tool, value);
    case OPT_GREP:
        tool->pattern = value;
        return 0;
    case OPT_TARGET:
        tool->target = value;
        return 0;
    case OPT_TO:
        tool->to = value;
        return 0;
    case OPT_RATE:
        tool->rate = value;
        return 0;
    case OPT_FILE:
        tool->file = value;
        return 0;
    case OPT_STATE:
        tool->state = value;
        return 0;
    case OPT_REASON:
        tool->reason = value;
        return 0;
    case OPT_RESUME:
    case OPT_STOP:
    case OPT_LINES:
    case OPT_MAX_AGE:
    case OPT_MAX_BACKLOG:
    case OPT_TIMEOUT:
        return set_number(tool, id, value);
    default:
        return 0; /* a flag: the bit in `given` is all */
    }
}

/* `--output` is the long name of -o, except for `export`, whose file it is. */
static int settle_output(struct tool *tool)
{
    if (!tool_given(tool, OPT_FILE) || (tool->verb != NULL && strcmp(tool->verb, "export") == 0))
        return 0;
    if (tool_given(tool, OPT_OUTPUT))
        return tool_usage("option '--output' was given twice: leave one out");
    tool->given = (tool->given & ~OPTION_BIT(OPT_FILE)) | OPTION_BIT(OPT_OUTPUT);
    return set_output(tool, tool->file);
}

int options_parse(struct tool *tool, int argc, char **argv)
{
    struct args args;
    struct slsr_err err = {0};
    int rc = 0;

    cli_args_init(&args, argc, argv);
    for (;;) {
        int id = cli_args_next(&args, table, TABLE_SIZE, &err);
        if (id == ARGS_END)
            return settle_output(tool);
        if (id < 0)
            return tool_fail(&err);
        if (id == ARGS_WORD && tool->verb == NULL)
            tool->verb = args.value;
        else if (id == ARGS_WORD && tool->word_count == WORDS_MAX)
            return tool_usage("'%s' behind '%s': leave it out, selectors are options, see --help",
                              args.value, tool->verb);
        else if (id == ARGS_WORD)
            tool->words[tool->word_count++] = args.value;
        else if ((rc = check_once(tool, id)) == 0)
            rc = set_option(tool, id, args.value);
        if (rc != 0)
            return rc;
        if (id > 0)
            tool->given |= OPTION_BIT(id);
    }
}
