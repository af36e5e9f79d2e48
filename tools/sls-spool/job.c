/* Replay jobs: the command line into the spool and back, list and stop. */
#include "job.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/table.h"
#include "common/text.h"

/* A job writes at least every second while it sends; a machine may be slow. */
enum { ALIVE_MS = 60000, UNIT = 0x1f };

static bool add_word(struct slsr_job *job, const char *word)
{
    size_t used = strlen(job->selectors);
    size_t n = strlen(word);

    if (strchr(word, UNIT) != NULL || used + n + 2 > sizeof(job->selectors))
        return false;
    memcpy(job->selectors + used, word, n);
    job->selectors[used + n] = UNIT;
    job->selectors[used + n + 1] = '\0';
    return true;
}

static bool add_time(struct slsr_job *job, const char *name, int64_t ns)
{
    char text[64];

    if (ns == INT64_MIN || ns == INT64_MAX)
        return true;
    snprintf(text, sizeof(text), "--%s=@%" PRId64 ".%09" PRId64, name, ns / 1000000000,
             ns % 1000000000);
    return add_word(job, text);
}

bool job_from_tool(struct slsr_job *job, const struct tool *tool, const struct selection *sel)
{
    char text[512];
    bool ok;

    snprintf(job->who, sizeof(job->who), "%s", tool_user());
    snprintf(job->target, sizeof(job->target), "%s", tool->to != NULL ? tool->to : tool->target);
    snprintf(job->rate, sizeof(job->rate), "%s", tool->rate != NULL ? tool->rate : "");
    ok = add_word(job, tool->to != NULL ? "--to" : "-t") && add_word(job, job->target) &&
         add_time(job, "since", sel->since_ns) && add_time(job, "until", sel->until_ns);
    if (sel->by_arrival)
        ok = ok && add_word(job, "--by-arrival");
    for (size_t i = 0; ok && i < tool->shard_count; i++) {
        const struct shard_pick *pick = &tool->shards[i];
        snprintf(text, sizeof(text), "--shard=%.*s%s%" PRIu32, (int)pick->logstore_n,
                 pick->logstore != NULL ? pick->logstore : "", pick->logstore != NULL ? "/" : "",
                 pick->shard);
        ok = add_word(job, text);
    }
    if (tool->pattern != NULL)
        ok = ok && add_word(job, "--grep") && add_word(job, tool->pattern);
    if (tool_given(tool, OPT_IGNORE_CASE))
        ok = ok && add_word(job, "-i");
    if (tool_given(tool, OPT_INVERT))
        ok = ok && add_word(job, "-v");
    job->stated = sel->stated;
    return ok && (tool->to == NULL || strlen(tool->to) < sizeof(job->target));
}

/* When a process began, wall clock, to a second; -1: /proc does not tell. */
static int64_t began_ms(long pid)
{
    char line[1024] = "";
    char path[64];
    unsigned long long ticks = 0;
    long long boot_s = 0;
    FILE *file;
    const char *p;

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    file = fopen(path, "re");
    p = file != NULL && fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    if (file != NULL)
        fclose(file);
    for (int field = 2; p != NULL && field < 22; field++) /* proc(5): the 22nd */
        p = strchr(p + 1, ' ');
    if (p == NULL)
        return -1;
    ticks = strtoull(p + 1, NULL, 10);
    file = fopen("/proc/stat", "re");
    while (file != NULL && boot_s == 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "btime ", 6) == 0)
            boot_s = strtoll(line + 6, NULL, 10);
    if (file != NULL)
        fclose(file);
    return boot_s == 0 ? -1
                       : boot_s * 1000 + (int64_t)(ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

bool job_alive(const struct slsr_job *job)
{
    enum { ROUNDED_MS = 2000 };

    if (job->state != SLSR_JOB_RUNNING || (kill((pid_t)job->pid, 0) != 0 && errno != EPERM))
        return false;
    if (tool_now_ns() / 1000000 - job->updated_ms < ALIVE_MS)
        return true;
    /* silent for long, such as one that still counts: is it the one that wrote, or has another
     * process got its number since? */
    const int64_t began = began_ms(job->pid);
    return began >= 0 && began <= job->updated_ms + ROUNDED_MS;
}

static int find(struct tool *tool, struct slsr_job *job)
{
    struct slsr_job *list = NULL;
    struct slsr_err err = {0};
    size_t count = 0;
    bool found = false;

    if (slsr_job_list(tool->spool, &list, &count, &err) != 0)
        return tool_fail(&err);
    for (size_t i = 0; i < count && !found; i++)
        if (list[i].id == tool->job) {
            *job = list[i];
            found = true;
        }
    free(list);
    if (found)
        return 0;
    return tool_usage("job %" PRIu64 ", replay: there is none: see replay --list", tool->job);
}

int job_to_tool(struct slsr_job *job, struct tool *tool)
{
    static char words[sizeof(job->selectors)]; /* the command line points into it to the end */
    char *argv[80];
    int argc = 0;
    int code = find(tool, job);
    struct tool typed = *tool;
    struct slsr_err err = {0};

    if (code != 0)
        return code;
    if (job->state == SLSR_JOB_DONE) {
        fprintf(stderr, "sls-spool: job %" PRIu64 " is done: nothing is left to send\n", job->id);
        return EXIT_NOTHING;
    }
    if (job_alive(job)) {
        fprintf(stderr,
                "sls-spool: job %" PRIu64 " is running, process %ld: stop it with replay --stop "
                "%" PRIu64 "\n",
                job->id, job->pid, job->id);
        return EXIT_AGAIN;
    }
    if (!tool_given(tool, OPT_DRY_RUN)) { /* ours from now on: nobody else resumes it, too */
        job->pid = getpid();
        if (slsr_job_claim(tool->spool, job, &err) == SLSR_EBUSY)
            return tool_fail(&err);
    }
    argv[argc++] = (char *)(uintptr_t) "sls-spool";
    memcpy(words, job->selectors, sizeof(words));
    for (char *p = words; *p != '\0' && argc < 79;) {
        char *end = strchr(p, UNIT);
        if (end == NULL)
            break;
        *end = '\0';
        argv[argc++] = p;
        p = end + 1;
    }
    argv[argc] = NULL;
    tool->verb = NULL;
    tool->target = tool->to = NULL;
    tool->given &= OPTIONS_ALWAYS | OPTION_BIT(OPT_YES) | OPTION_BIT(OPT_TIMEOUT) |
                   OPTION_BIT(OPT_RATE) | OPTION_BIT(OPT_RESUME) | OPTION_BIT(OPT_DRY_RUN);
    code = options_parse(tool, argc, argv);
    tool->verb = typed.verb;
    if (tool->rate == NULL && job->rate[0] != '\0')
        tool->rate = job->rate;
    return code;
}

int job_select(const struct slsr_job *job, struct tool *tool, struct selection *sel,
               struct slsr_err *err)
{
    int rc = 0;

    sel->from = job->cursor > sel->from ? job->cursor : sel->from;
    sel->to = job->to < sel->to ? job->to : sel->to;
    if (sel->from > sel->to)
        sel->from = sel->to;
    if (job->stated) {
        rc = slsr_job_within(tool->spool, job->id, &sel->within, err);
        sel->stated = true;
    }
    return rc;
}

static const char *state_name(const struct slsr_job *job)
{
    if (job->state == SLSR_JOB_DONE)
        return "done";
    return job_alive(job) ? "running" : "stopped";
}

static void json_job(const struct slsr_job *job)
{
    char time[TEXT_SMALL];

    printf("{\"id\":%" PRIu64 ",\"state\":\"%s\",\"target\":", job->id, state_name(job));
    cli_json_string(stdout, slsr_bytes_of(job->target));
    cli_text_time_utc(time, job->started_ms / 1000, 0, 0);
    printf(",\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"done\":%" PRIu64
           ",\"from_seq\":%" PRIu64 ",\"to_seq\":%" PRIu64 ",\"cursor\":%" PRIu64
           ",\"started\":\"%s\",\"pid\":%ld,\"who\":",
           job->frames, job->bytes, job->done, job->from, job->to > 0 ? job->to - 1 : 0,
           job->cursor, time, job->pid);
    cli_json_string(stdout, slsr_bytes_of(job->who));
    fputs(",\"error\":", stdout);
    if (job->error[0] != '\0')
        cli_json_string(stdout, slsr_bytes_of(job->error));
    else
        fputs("null", stdout);
    fputc('}', stdout);
}

static void table_jobs(const struct slsr_job *list, size_t count)
{
    static const char *const heads[] = {"JOB",    "STATE",   "TARGET", "DONE",
                                        "FRAMES", "STARTED", "WHO",    "LAST ERROR"};
    struct table table;
    char time[TEXT_SMALL];

    cli_table_init(&table, "rllrrlll");
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        cli_table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < count; i++) {
        const struct slsr_job *job = &list[i];
        cli_text_time_local(time, job->started_ms / 1000, 0);
        cli_table_cell(&table, "%" PRIu64, job->id);
        cli_table_cell(&table, "%s", state_name(job));
        cli_table_cell(&table, "%s", job->target);
        cli_table_cell(&table, "%" PRIu64, job->done);
        cli_table_cell(&table, "%" PRIu64, job->frames);
        cli_table_cell(&table, "%.19s", time);
        cli_table_cell(&table, "%s", job->who);
        cli_table_cell(&table, "%s", job->error[0] != '\0' ? job->error : "-");
    }
    cli_table_print(&table, stdout, "");
    cli_table_fini(&table);
}

int job_options(const struct tool *tool)
{
    const uint64_t modes = OPTION_BIT(OPT_LIST) | OPTION_BIT(OPT_STOP) | OPTION_BIT(OPT_RESUME);
    const uint64_t mode = tool->given & modes;
    uint64_t fits = OPTIONS_ALWAYS | modes;

    if (mode == 0)
        return 0;
    if ((mode & (mode - 1)) != 0)
        return tool_usage("replay: --list, --resume and --stop are three things: give one");
    if (mode == OPTION_BIT(OPT_RESUME))
        fits |= OPTION_BIT(OPT_RATE) | OPTION_BIT(OPT_TIMEOUT) | OPTION_BIT(OPT_YES) |
                OPTION_BIT(OPT_DRY_RUN);
    for (int id = OPT_CONFIG; id < OPTION_END; id++)
        if (((tool->given & ~fits) >> id & 1) != 0)
            return tool_usage("option '--%s' with replay --list, --resume or --stop: leave it out, "
                              "a job has its own",
                              options_name((enum option)id));
    return 0;
}

int job_list(struct tool *tool)
{
    struct slsr_job *list = NULL;
    struct slsr_err err = {0};
    size_t count = 0;

    if (slsr_job_list(tool->spool, &list, &count, &err) != 0)
        return tool_fail(&err);
    if (tool->output == OUT_TEXT && count > 0)
        table_jobs(list, count);
    if (tool->output == OUT_JSON)
        fputc('[', stdout);
    for (size_t i = 0; tool->output != OUT_TEXT && i < count; i++) {
        fputs(tool->output == OUT_JSON && i > 0 ? ",\n" : "", stdout);
        json_job(&list[i]);
        fputs(tool->output == OUT_JSON ? "" : "\n", stdout);
    }
    if (tool->output == OUT_JSON)
        fputs("]\n", stdout);
    free(list);
    if (count == 0 && tool->output == OUT_TEXT)
        fputs("sls-spool: no replay has been started here\n", stderr);
    return 0;
}

static void tell_stopped(const struct tool *tool, const struct slsr_job *job, bool already)
{
    if (tool->output != OUT_TEXT) {
        json_job(job);
        fputc('\n', stdout);
    } else if (already) {
        printf("job %" PRIu64 " is %s already\n", job->id, state_name(job));
    } else {
        printf("job %" PRIu64 " stopped: %" PRIu64 " of %" PRIu64 " frames were taken\n", job->id,
               job->done, job->frames);
    }
}

int job_stop(struct tool *tool)
{
    enum { STOP_MS = 20000, ASK_MS = 100 };
    const int64_t until = tool_now_ns() / 1000000 + STOP_MS;
    struct slsr_job job;
    struct slsr_err err = {0};
    int code = find(tool, &job);

    if (code != 0)
        return code;
    if (!job_alive(&job)) {
        tell_stopped(tool, &job, true);
        return 0;
    }
    if (slsr_job_stop(tool->spool, job.id, &err) != 0)
        return tool_fail(&err);
    while (code == 0 && job_alive(&job) && tool_now_ns() / 1000000 < until &&
           !slsr_stop_wait(&tool->stop, ASK_MS))
        code = find(tool, &job);
    if (code == 0 && job_alive(&job)) {
        fprintf(stderr,
                "sls-spool: job %" PRIu64 " still runs, process %ld: it stops when it has settled "
                "what it sent\n",
                job.id, job.pid);
        return EXIT_AGAIN;
    }
    if (code == 0)
        tell_stopped(tool, &job, false);
    return code;
}
