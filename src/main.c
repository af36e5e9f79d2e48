/* The daemon on one page: arguments -> configuration -> relay -> exit code. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slsrelay/cli.h"
#include "slsrelay/diag.h"
#include "slsrelay/plain.h"

#include "relay/relay.h"

#include "base/diag.h"

enum mode { MODE_RUN, MODE_CHECK, MODE_TEST, MODE_PRINT, MODE_PREVIEW, MODE_PREVIEW_FILE };
enum { SETS_MAX = 256 };

struct arguments {
    enum mode mode;
    const char *file;
    const char *preview_file;
    size_t preview;
    const char *sets[SETS_MAX];
    size_t set_count;
};

static const char help[] =
    "Usage: sls-relay [-c FILE] [--set PATH=VALUE]... [MODE]\n"
    "Moves logs from Alibaba Cloud Log Service through a durable spool to a SIEM.\n"
    "\n"
    "  -c, --config FILE     settings (default /etc/sls-relay/sls-relay.json when it is there)\n"
    "      --set PATH=VALUE  one setting, e.g. --set targets.0.port=6514; may be repeated\n"
    "\n"
    "Modes (none: run in the foreground; TERM or INT drains and leaves, a second one leaves at\n"
    "once; HUP reloads the settings, USR1 reopens the log file)\n"
    "      --check             every problem of the settings on its own line; exit 0 or 78\n"
    "      --test-connection   connect and sign in to SLS, connect to every target; exit 0 or 69\n"
    "      --print-config      effective settings as JSON, secrets masked\n"
    "      --preview [N]       print N frames (10) as they would be spooled; moves nothing\n"
    "      --preview-file F    the same from a LogGroupList on disk (F.lz4 needs F.json: rawsize)\n"
    "  -h, --help   -V, --version\n"
    "\n"
    "Environment: SLS_ENDPOINT SLS_AK_ID SLS_AK_KEY SLS_STS_TOKEN SLS_PROJECT SLS_LOGSTORE SLS_CG\n"
    "SIEM (tcp://host:port). Manual: sls-relay.json(5). Exit codes follow sysexits(3).\n";

static int usage(const char *what, const char *argument)
{
    char shown[200];

    fprintf(stderr, "sls-relay: %s%s%s: see sls-relay --help\n", what, argument[0] ? " " : "",
            slsr_plain(shown, sizeof shown, argument));
    return 64;
}

static bool parse_count(const char *text, size_t *count)
{
    char *end;

    errno = 0;
    *count = strtoul(text, &end, 10);
    return errno == 0 && *text >= '1' && *text <= '9' && *end == '\0';
}

/* -1, or the exit code. */
static int choose(struct arguments *a, enum mode mode)
{
    if (a->mode != MODE_RUN && a->mode != mode)
        return usage("two modes at once, give one of them", "");
    a->mode = mode;
    return -1;
}

static int add_set(struct arguments *a, const char *text)
{
    if (a->set_count == SETS_MAX)
        return usage("too many --set options", "");
    if (strchr(text, '=') == NULL)
        return usage("--set wants PATH=VALUE, not", "a name alone");
    a->sets[a->set_count++] = text;
    return -1;
}

static int choose_preview(struct arguments *a, int argc, char **argv)
{
    /* "-5" is no option, but a number that is too small */
    if (optarg == NULL && optind < argc &&
        (argv[optind][0] != '-' || (argv[optind][1] >= '0' && argv[optind][1] <= '9')))
        optarg = argv[optind++];
    if (optarg != NULL && !parse_count(optarg, &a->preview))
        return usage("--preview wants a number of frames, not", optarg);
    return choose(a, MODE_PREVIEW);
}

static int choose_file(struct arguments *a)
{
    if (optarg[0] == '\0')
        return usage("--preview-file wants a file, not", "''");
    a->preview_file = optarg;
    return choose(a, MODE_PREVIEW_FILE);
}

static int set_config(struct arguments *a)
{
    if (optarg[0] == '\0')
        return usage("-c wants a file, not", "''");
    a->file = optarg;
    return -1;
}

/* What was printed has arrived? Else says so; rc, or 74. */
static int finish_output(int rc)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return rc;
    fprintf(stderr, "sls-relay: standard output: cannot be written: %s\n", strerror(errno));
    return rc != 0 ? rc : slsr_err_exit(SLSR_EIO);
}

static int print_version(void)
{
    char libraries[RELAY_LIBRARIES];

    relay_libraries(libraries);
    printf("sls-relay " SLSR_VERSION "\n%s\n", libraries);
    return finish_output(0);
}

static int refused(int answer, const struct option *options, char *const *argv)
{
    char text[SLSR_CLI_TEXT];

    slsr_cli_refused(text, answer, options, argv);
    fprintf(stderr, "sls-relay: %s\n", text);
    return 64;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"set", required_argument, NULL, 's'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"test-connection", no_argument, NULL, 't'},
                                            {"print-config", no_argument, NULL, 'p'},
                                            {"preview", optional_argument, NULL, 'v'},
                                            {"preview-file", required_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
    int rc = -1;
    int c;

    opterr = 0;
    while (rc < 0 && (c = getopt_long(argc, argv, ":c:hV", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            rc = set_config(a);
            break;
        case 's':
            rc = add_set(a, optarg);
            break;
        case 'k':
            rc = choose(a, MODE_CHECK);
            break;
        case 't':
            rc = choose(a, MODE_TEST);
            break;
        case 'p':
            rc = choose(a, MODE_PRINT);
            break;
        case 'v':
            rc = choose_preview(a, argc, argv);
            break;
        case 'f':
            rc = choose_file(a);
            break;
        case 'h':
            fputs(help, stdout);
            return finish_output(0);
        case 'V':
            return print_version();
        default:
            return refused(c, options, argv);
        }
    }
    return rc < 0 && optind < argc ? usage("unexpected argument", argv[optind]) : rc;
}

static const char *file_name(const struct arguments *a)
{
    return a->file != NULL ? a->file : "/etc/sls-relay/sls-relay.json";
}

/* Prints the problems; true when one of them is a refusal. */
static bool print_problems(const struct arguments *a, const struct slsr_config_problems *problems)
{
    char line[SLSR_CONFIG_LINE];
    bool bad = false;

    for (size_t i = 0; i < problems->count; i++) {
        const struct slsr_config_problem *p = &problems->items[i];

        slsr_config_problem_text(p, file_name(a), line);
        fprintf(stderr, "sls-relay: %s%s\n", p->warning ? "warning: " : "", line);
        bad = bad || !p->warning;
    }
    return bad;
}

/* Loads and asks those who use the settings. --print-config shows also what they would refuse. */
static int load(const struct arguments *a, bool need_relay, struct slsr_config **out,
                struct slsr_config_problems *problems, struct slsr_err *err)
{
    const struct slsr_config_from from = {
        .file = a->file,
        .sets = a->sets,
        .set_count = a->set_count,
        .need_relay = need_relay,
        .judge = a->mode != MODE_PRINT ? relay_judge_format : NULL,
    };
    const int rc = slsr_config_load_from(out, &from, problems, err);

    if (rc == 0 && need_relay)
        relay_check(*out, problems);
    return rc;
}

/* The settings anew for HUP, from the same places; problems go to the diagnostics. */
static int load_again(void *ctx, struct slsr_config **out)
{
    const struct arguments *a = ctx;
    struct slsr_config_problems problems = {0};
    struct slsr_err err = {0};
    char line[SLSR_CONFIG_LINE];
    bool bad = false;
    const int rc = load(a, true, out, &problems, &err);

    for (size_t i = 0; i < problems.count; i++) {
        const struct slsr_config_problem *p = &problems.items[i];

        slsr_config_problem_text(p, file_name(a), line);
        diag(p->warning ? SLSR_LOG_WARNING : SLSR_LOG_ERROR, "config", "%s", line);
        bad = bad || !p->warning;
    }
    if (rc != 0 && !bad)
        diag(SLSR_LOG_ERROR, "config", "%s", err.text);
    slsr_config_problems_free(&problems);
    if (rc == 0 && !bad)
        return 0;
    slsr_config_free(*out);
    *out = NULL;
    return rc != 0 ? rc : SLSR_ECONFIG;
}

static int act(const struct arguments *a, const struct slsr_config *config, struct slsr_err *err)
{
    struct relay_options options = {.load = load_again};
    int rc;

    switch (a->mode) {
    case MODE_CHECK:
        puts("settings are fine");
        return 0;
    case MODE_PRINT:
        return slsr_config_print(config, stdout, err);
    case MODE_TEST:
        return relay_test_connection(config, stdout, err);
    case MODE_PREVIEW:
        return relay_preview(config, a->preview, stdout, err);
    case MODE_PREVIEW_FILE:
        return relay_preview_file(config, a->preview_file, stdout, err);
    case MODE_RUN:
        break;
    }
    options.ctx = (void *)(uintptr_t)a; /* only read there */
    rc = diag_open(&config->log, "sls-relay", err);
    if (rc == 0)
        rc = relay_run(config, &options, err);
    diag_close();
    return rc;
}

int main(int argc, char **argv)
{
    struct arguments a = {.preview = 10};
    struct slsr_config *config = NULL;
    struct slsr_config_problems problems = {0};
    struct slsr_err err = {0};
    char shown[SLSR_ERR_TEXT];
    bool bad;
    int rc;

    slsr_std_open();
    rc = parse(argc, argv, &a);
    if (rc >= 0)
        return rc;
    rc = load(&a, a.mode != MODE_PREVIEW_FILE && a.mode != MODE_PRINT, &config, &problems, &err);
    bad = print_problems(&a, &problems);
    slsr_config_problems_free(&problems);
    if (rc == 0 && bad)
        rc = SLSR_ECONFIG;
    if (rc == 0)
        rc = act(&a, config, &err);
    if (rc != 0 && !(rc == SLSR_ECONFIG && bad))
        fprintf(stderr, "sls-relay: %s\n", slsr_plain(shown, sizeof shown, err.text));
    slsr_config_free(config);
    return finish_output(a.mode == MODE_TEST && rc != 0 ? 69 : slsr_err_exit(rc));
}
