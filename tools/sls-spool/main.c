/* sls-spool: looks at a spool and sends parts of it again. One page: verbs in a table, the command
 * line, open what the verb needs, run it, judge standard output.
 *
 * What looks only reads: a live spool may be looked at, and a copied one. What orders writes
 * records into ack.mdb, which the relay honours (slsrelay/control.h). What goes wrong is said in
 * one sentence on stderr and in the exit code (sysexits; man page "EXIT STATUS"). */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/args.h"
#include "common/text.h"
#include "slsrelay/diag.h"
#include "tool.h"

struct verb {
    const char *name;
    int (*run)(struct tool *tool);
    uint64_t options; /* beside OPTIONS_ALWAYS */
    size_t words;     /* that may stand behind it */
};

#define ORDER (OPTION_BIT(OPT_DRY_RUN) | OPTION_BIT(OPT_REASON) | OPTION_BIT(OPT_YES))
#define SHOW  (OPTIONS_SELECT | OPTION_BIT(OPT_REVERSE) | OPTION_BIT(OPT_COUNT))

static const struct verb verbs[] = {
    {"status", verb_status,
     OPTION_BIT(OPT_WATCH) | OPTION_BIT(OPT_CHECK) | OPTION_BIT(OPT_MAX_AGE) |
         OPTION_BIT(OPT_MAX_BACKLOG),
     0},
    {"list", verb_list, SHOW, 0},
    {"cat", verb_cat, SHOW, 0},
    {"tail", verb_tail, OPTIONS_SELECT | OPTION_BIT(OPT_FOLLOW), 0},
    {"shards", verb_shards, 0, 0},
    {"targets", verb_targets, OPTION_BIT(OPT_TARGET), 0},
    {"gaps", verb_gaps, OPTION_BIT(OPT_SINCE) | OPTION_BIT(OPT_UNTIL) | OPTION_BIT(OPT_TARGET), 0},
    {"top", verb_top, 0, 0},
    {"shape", verb_shape, OPTION_BIT(OPT_TARGET), 0},
    {"audit", verb_audit,
     OPTIONS_SELECT | OPTION_BIT(OPT_REPLAY) | OPTION_BIT(OPT_TO) | OPTION_BIT(OPT_RATE) |
         OPTION_BIT(OPT_YES) | OPTION_BIT(OPT_TIMEOUT) | OPTION_BIT(OPT_DRY_RUN),
     1},
    {"export", verb_export, OPTIONS_SELECT | OPTION_BIT(OPT_FILE), 0},
    {"import", verb_import, OPTION_BIT(OPT_DRY_RUN), 1},
    {"backup", verb_backup, 0, 1},
    {"hold", verb_order, ORDER | OPTIONS_SELECT, 0},
    {"release", verb_order, ORDER | OPTIONS_SELECT, 0},
    {"skip", verb_order, ORDER | OPTIONS_SELECT, 0},
    {"requeue", verb_order, ORDER | OPTIONS_SELECT, 0},
    {"purge", verb_order, ORDER | OPTIONS_SELECT, 0},
    {"pause", verb_order, ORDER | OPTION_BIT(OPT_TARGET), 0},
    {"resume", verb_order, ORDER | OPTION_BIT(OPT_TARGET), 0},
    {"flush", verb_order, ORDER | OPTION_BIT(OPT_TARGET), 0},
    {"seek", verb_order, ORDER | OPTION_BIT(OPT_TARGET), 1},
    {"replay", verb_replay,
     OPTIONS_SELECT | OPTION_BIT(OPT_TO) | OPTION_BIT(OPT_RATE) | OPTION_BIT(OPT_YES) |
         OPTION_BIT(OPT_TIMEOUT) | OPTION_BIT(OPT_LIST) | OPTION_BIT(OPT_RESUME) |
         OPTION_BIT(OPT_STOP) | OPTION_BIT(OPT_DRY_RUN),
     0},
    {"verify", verb_verify, OPTION_BIT(OPT_DEEP), 0},
    {"repair", verb_repair, OPTION_BIT(OPT_APPLY) | OPTION_BIT(OPT_YES), 0},
    {"readers", verb_readers, OPTION_BIT(OPT_CLEAR_STALE), 0},
    {"stats", verb_stats, 0, 0},
};
enum { AWAIT_S = 10, AWAIT_TURN_MS = 100 };
enum { LOCK_WAIT_S = 10 }; /* nobody holds the lock for more than 20 ms, but who stands still */
enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static const char help[] =
    "usage: sls-spool [-c FILE] [-D SPOOLDIR] [-o text|json|jsonl|raw] COMMAND [OPTIONS]\n"
    "look    status  one screen; --watch redraws; --check --max-age S --max-backlog N: exit 1 "
    "when\n"
    "                a target is further behind, or no relay runs; it judges the targets' backlog "
    "only\n"
    "        list, cat  frames as a table, themselves      tail [-f]  the newest, and those to "
    "come\n"
    "        shards, targets, stats   figures              gaps  what was lost or set aside, and "
    "why\n"
    "        top     who sends and takes how much, live    shape  age of the backlog as bars\n"
    "        audit FILE  a receiver's file against the spool; --replay -t NAME sends what it "
    "lacks\n"
    "change  hold, release, requeue, purge SELECTORS [-t T]     skip SELECTORS -t T --reason TEXT\n"
    "        pause, resume, flush -t T     seek -t T SEQ|TIME|oldest|newest\n"
    "                --dry-run shows the plan only; --reason TEXT goes to the ledger\n"
    "send    replay SELECTORS (-t NAME | --to tcp://HOST[:PORT]) also tls, udp, relp\n"
    "                [--rate 500/s|2MB/s] [--timeout S] [--yes];  replay --list | --resume ID | "
    "--stop ID\n"
    "bring   export SELECTORS [--output F]     import F     backup DIR\n"
    "heal    verify [--deep]     repair [--apply]     readers [--clear-stale]\n"
    "selectors (a frame must fit all that are given)\n"
    "  -S, --since T   -U, --until T   event time: \"2026-01-02 03:04:05\", ISO with zone, -2h,\n"
    "                  now, today, yesterday, @epoch; --by-arrival: time of arrival here\n"
    "  --seq A[..B]    sequence numbers, both included; A.., oldest, newest, -N (the last N)\n"
    "  -s, --shard [LOGSTORE/]N   may be repeated     -t, --target NAME   for --state and orders\n"
    "  --state pending|delivered|held|dead|skipped    where it stands with the target, or any\n"
    "  -g, --grep PCRE [-i] [-v]       message matches; -i ignores case, -v inverts\n"
    "  -n, --lines N   the newest N of these; +N the oldest N\n"
    "  -r, --reverse   newest first (list, cat)      --count   only the number (list, cat)\n"
    "exit: 0 fine, 1 nothing matched or behind, 2 damaged, 64 usage, 66 no spool, 69 not "
    "reachable,\n"
    "      73 cannot create, 74 I/O, 75 interrupted or busy, 77 permission, 78 configuration\n"
    "                                                                      man sls-spool(1)\n";

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text);
    const size_t m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

int tool_fail(const struct slsr_err *err)
{
    int code = slsr_err_exit(err->code);

    /* Names of files and what was typed may be any bytes. */
    fputs("sls-spool: ", stderr);
    cli_text_escape(stderr, slsr_bytes_of(err->text), 0);
    if (ends_with(err->text, strerror(EACCES)))
        fputs(": run it as root, or as the relay's user (sudo -u sls-relay)", stderr);
    else if (ends_with(err->text, strerror(EROFS)))
        fputs(": mount it writable, or work on a copy", stderr);
    fputc('\n', stderr);
    return code != 0 ? code : EXIT_IO;
}

int tool_usage(const char *fmt, ...)
{
    char text[2048];
    va_list list;

    va_start(list, fmt);
    vsnprintf(text, sizeof(text), fmt, list);
    va_end(list);
    fputs("sls-spool: ", stderr);
    cli_text_escape(stderr, slsr_bytes_of(text), 0);
    fputc('\n', stderr);
    return EXIT_USAGE_;
}

int tool_interrupted(const char *what)
{
    fprintf(stderr, "sls-spool: interrupted: %s\n", what);
    return EXIT_AGAIN;
}

const char *tool_user(void)
{
    static char name[64];
    const char *sudo = getenv("SUDO_USER");
    const struct passwd *user = getpwuid(getuid());

    if (sudo != NULL && sudo[0] != '\0' && getuid() == 0)
        snprintf(name, sizeof(name), "%.60s", sudo);
    else if (user != NULL)
        snprintf(name, sizeof(name), "%.60s", user->pw_name);
    else
        snprintf(name, sizeof(name), "uid %lu", (unsigned long)getuid());
    return name;
}

int tool_confirm(const struct tool *tool, uint64_t frames, const char *what)
{
    enum { ASK_ABOVE_FRAMES = 10000 };
    char answer[16];

    if (frames <= ASK_ABOVE_FRAMES || tool_given(tool, OPT_YES))
        return 0;
    if (isatty(STDIN_FILENO) != 1)
        return tool_usage("%" PRIu64 " frames, %s: more than %d need --yes", frames, what,
                          ASK_ABOVE_FRAMES);
    fprintf(stderr, "%s: go on? [y/N] ", what);
    if (fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return tool_usage("%s: not confirmed, nothing was done", what);
}

int64_t tool_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t tool_mono_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int tool_no_match(const struct tool *tool, const char *more)
{
    uint64_t oldest = 0;
    uint64_t next = 0;
    struct slsr_err err = {0};

    if (slsr_spool_bounds(tool->spool, &oldest, &next, &err) != 0)
        return tool_fail(&err);
    if (oldest < next)
        fprintf(stderr, "sls-spool: no frame matches%s; the spool holds %" PRIu64 "..%" PRIu64 "\n",
                more, oldest, next - 1);
    else
        fprintf(stderr, "sls-spool: no frame matches%s; the spool is empty\n", more);
    return EXIT_NOTHING;
}

bool tool_output_broken(struct tool *tool)
{
    if (tool->write_errno == 0 && ferror(stdout))
        tool->write_errno = errno != 0 ? errno : EIO;
    return tool->write_errno != 0;
}

int tool_load_config(struct tool *tool)
{
    struct slsr_config_problems problems = {0};
    struct slsr_err err = {0};
    int code = 0;

    if (tool->config != NULL)
        return 0;
    int rc = slsr_config_load(&tool->config, tool->config_file, NULL, 0, false, &problems, &err);
    if (rc != 0) {
        size_t told = 0;
        for (size_t i = 0; i < problems.count; i++) {
            const struct slsr_config_problem *p = &problems.items[i];
            if (p->warning)
                continue; /* the daemon's business */
            fprintf(stderr, "sls-spool: %s", p->path);
            if (p->line > 0)
                fprintf(stderr, ", line %d", p->line);
            fprintf(stderr, ": %s\n", p->text);
            told++;
        }
        err.code = rc;
        code = told > 0 ? slsr_err_exit(rc) : tool_fail(&err);
        tool->config = NULL;
    }
    slsr_config_problems_free(&problems);
    return code;
}

/* The books stay locked: a thread of the spool's says so for us, who hang (slsr_spool_patience). */
static void give_up(void *ctx)
{
    const struct tool *tool = ctx;

    fprintf(
        stderr,
        "sls-spool: spool %s has been locked for %d s, by a relay that is frozen or a disk that "
        "does not answer: let it go on or end it, then give '%s' again\n",
        tool->dir != NULL ? tool->dir : tool->config->spool.path, LOCK_WAIT_S, tool->verb);
    _exit(EXIT_AGAIN);
}

/* Opens it to read. A relay that was started a moment ago makes its spool just now: who wants to
 * watch it waits for that, a little. */
static int open_or_await(struct tool *tool, const struct slsr_spool_config *config,
                         struct slsr_err *err)
{
    const int64_t until_ns = tool_mono_ns() + (int64_t)AWAIT_S * 1000000000;
    bool told = false;
    int rc;

    while ((rc = slsr_spool_open(&tool->spool, config, SLSR_SPOOL_READ, err)) == SLSR_ENOSPOOL &&
           tool_given(tool, OPT_WATCH) && tool_mono_ns() < until_ns) {
        if (!told)
            fprintf(stderr, "sls-spool: no spool at %s yet, waiting %d s for a relay to make it\n",
                    config->path, AWAIT_S);
        told = true;
        if (slsr_stop_wait(&tool->stop, AWAIT_TURN_MS))
            break;
    }
    return rc;
}

int tool_spool_config(struct tool *tool, struct slsr_spool_config *out)
{
    *out = (struct slsr_spool_config){.path = (char *)(uintptr_t)tool->dir};
    if (tool->dir == NULL || tool->config_file != NULL) {
        const int code = tool_load_config(tool);

        if (code != 0)
            return code;
        if (tool->dir == NULL)
            *out = tool->config->spool;
        else
            out->encryption_key_file = tool->config->spool.encryption_key_file;
    }
    return 0;
}

static int open_spool(struct tool *tool)
{
    struct slsr_spool_config config;
    struct slsr_err err = {0};
    struct stat st;

    if (tool->dir != NULL && tool->dir[0] == '\0')
        return tool_usage("-D '': give the spool's directory");
    const int code = tool_spool_config(tool, &config);
    if (code != 0)
        return code;
    if (tool->dir != NULL && stat(tool->dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
        slsr_fail(&err, SLSR_ENOSPOOL, "no spool, %s: it is no directory: give the spool's",
                  tool->dir);
        return tool_fail(&err);
    }
    if (open_or_await(tool, &config, &err) != 0)
        return tool_fail(&err);
    slsr_spool_patience(tool->spool, LOCK_WAIT_S, give_up, tool);
    tool->vigil = (struct vigil){.seconds = LOCK_WAIT_S, .name = tool->verb};
    slsr_spool_on_write(tool->spool, vigil_turn, &tool->vigil);
    return 0;
}

static struct slsr_stop *signal_stop; /* the handler has no other way to it */

static void on_signal(int number)
{
    (void)number;
    slsr_stop_request(signal_stop);
}

static int catch_signals(struct tool *tool)
{
    struct slsr_err err = {0};
    struct sigaction action = {.sa_handler = on_signal};

    if (slsr_stop_init(&tool->stop, &err) != 0)
        return tool_fail(&err);
    signal_stop = &tool->stop;
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* the second one ends us at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int find_verb(const struct tool *tool, const struct verb **out)
{
    const char *names[VERB_COUNT];

    if (tool->verb == NULL)
        return tool_usage("no command: give one of those in --help");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        names[i] = verbs[i].name;
        if (strcmp(verbs[i].name, tool->verb) == 0) {
            *out = &verbs[i];
            return 0;
        }
    }
    const char *near = cli_args_nearest(tool->verb, names, VERB_COUNT);
    if (near != NULL)
        return tool_usage("unknown command '%s': did you mean '%s'?", tool->verb, near);
    return tool_usage("unknown command '%s': see --help", tool->verb);
}

static int check_options(const struct tool *tool, const struct verb *verb)
{
    uint64_t foreign = tool->given & ~(verb->options | OPTIONS_ALWAYS);

    for (int id = OPT_CONFIG; id < OPTION_END; id++)
        if ((foreign >> id & 1) != 0)
            return tool_usage("option '--%s' means nothing to '%s': leave it out",
                              options_name((enum option)id), verb->name);
    if (tool->word_count > verb->words && (verb->options & OPTION_BIT(OPT_LINES)) != 0 &&
        tool->words[verb->words][0] == '-')
        return tool_usage("'%s' behind '%s': did you mean '-n %s'?", tool->words[verb->words],
                          verb->name, tool->words[verb->words] + 1);
    if (tool->word_count > verb->words)
        return tool_usage("'%s' behind '%s': leave it out, selectors are options, see --help",
                          tool->words[verb->words], verb->name);
    return 0;
}

/* Standard output decides last: a reader that left (head) is fine, a full disk is not. */
static int finish_output(struct tool *tool, int code)
{
    errno = 0;
    if (fflush(stdout) != 0 && tool->write_errno == 0)
        tool->write_errno = errno != 0 ? errno : EIO;
    tool_output_broken(tool);
    if (tool->write_errno == EPIPE)
        return 0;
    if (tool->write_errno != 0) {
        fprintf(stderr, "sls-spool: cannot write, standard output: %s\n",
                strerror(tool->write_errno));
        return EXIT_IO;
    }
    return code;
}

static int run(struct tool *tool, int argc, char **argv)
{
    const struct verb *verb = NULL;
    int code = options_parse(tool, argc, argv);

    if (code != 0)
        return code;
    if (tool_given(tool, OPT_HELP)) {
        fputs(help, stdout);
        return 0;
    }
    if (tool_given(tool, OPT_VERSION)) {
        fputs("sls-spool " SLSR_VERSION "\n", stdout);
        return 0;
    }
    if ((code = find_verb(tool, &verb)) != 0 || (code = check_options(tool, verb)) != 0)
        return code;
    if ((code = catch_signals(tool)) != 0 ||
        (verb->run != verb_import && (code = open_spool(tool)) != 0))
        return code;
    if (tool->output == OUT_OCTET && verb->run != verb_export)
        return tool_usage("-o octet with '%s': only export writes that", verb->name);
    code = verb->run(tool);
    return tool->damaged && (code == 0 || code == EXIT_NOTHING) ? EXIT_DAMAGED : code;
}

int main(int argc, char **argv)
{
    static char buffer[256 * 1024]; /* millions of lines: few writes */
    struct tool tool = {.max_backlog = UINT64_MAX, .max_age_s = INT64_MAX, .timeout_ms = 60000};

    slsr_std_open();
    slsr_diag_quiet("sls-spool");
    tool.stop.fd = -1;
    tzset();
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    int code = finish_output(&tool, run(&tool, argc, argv));
    slsr_spool_close(tool.spool);
    vigil_end(&tool.vigil);
    slsr_config_free(tool.config);
    if (tool.stop.fd >= 0)
        slsr_stop_fini(&tool.stop);
    return code;
}
