/* What the verbs of sls-spool share: the parsed command line and the things it opened.
 *
 * main() fills one struct tool and hands it to one verb; nothing is global. One thread. A verb
 * prints its own errors (tool_fail) and returns the exit code. */
#ifndef SLS_SPOOL_TOOL_H
#define SLS_SPOOL_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/spool.h"
#include "slsrelay/stop.h"

#include "vigil.h"

/* Exit codes that are not the code of an error (docs/man/sls-spool.1 "EXIT STATUS"). */
enum {
    EXIT_NOTHING = 1,
    EXIT_DAMAGED = 2,
    EXIT_USAGE_ = 64,
    EXIT_UNREACHABLE = 69,
    EXIT_IO = 74,
    EXIT_AGAIN = 75
};

enum output { OUT_TEXT, OUT_JSON, OUT_JSONL, OUT_RAW, OUT_OCTET };

enum option {
    OPT_CONFIG = 1,
    OPT_DIR,
    OPT_OUTPUT,
    OPT_HELP,
    OPT_VERSION,
    OPT_SINCE,
    OPT_UNTIL,
    OPT_BY_ARRIVAL,
    OPT_SEQ,
    OPT_SHARD,
    OPT_GREP,
    OPT_IGNORE_CASE,
    OPT_INVERT,
    OPT_LINES,
    OPT_REVERSE,
    OPT_COUNT,
    OPT_FOLLOW,
    OPT_WATCH,
    OPT_CHECK,
    OPT_MAX_AGE,
    OPT_MAX_BACKLOG,
    OPT_DEEP,
    OPT_TARGET,
    OPT_TO,
    OPT_RATE,
    OPT_YES,
    OPT_TIMEOUT,
    OPT_FILE, /* --output: the form, but the file of `export` */
    OPT_STATE,
    OPT_DRY_RUN,
    OPT_REASON,
    OPT_LIST,
    OPT_RESUME,
    OPT_STOP,
    OPT_APPLY,
    OPT_CLEAR_STALE,
    OPT_REPLAY,
    OPTION_END
};

enum { WORDS_MAX = 2 };

/* [LOGSTORE/]N */
struct shard_pick {
    const char *logstore; /* NULL: any */
    size_t logstore_n;
    uint32_t shard;
};

enum { SHARD_PICKS_MAX = 64 };

struct tool {
    /* as typed */
    uint64_t given; /* bit (1 << option) for each option on the command line */
    const char *verb;
    const char *config_file, *dir;
    const char *since, *until, *seq, *pattern, *target, *to, *rate;
    const char *file, *state, *reason;
    const char *words[WORDS_MAX]; /* behind the verb */
    size_t word_count;
    uint64_t job; /* --resume, --stop */
    struct shard_pick shards[SHARD_PICKS_MAX];
    size_t shard_count;
    enum output output;
    uint64_t lines;
    bool lines_oldest; /* "-n +N": the first N instead of the last N */
    int64_t max_age_s;
    uint64_t max_backlog;
    int64_t timeout_ms;
    /* opened */
    struct slsr_config *config; /* NULL with -D, until somebody needs targets */
    struct slsr_spool *spool;
    struct slsr_stop stop; /* requested by INT and TERM */
    struct vigil vigil;
    /* went wrong on the way */
    bool damaged;    /* frames could not be read: exit code 2 */
    int write_errno; /* of standard output; 0: fine */
};

static inline bool tool_given(const struct tool *tool, enum option option)
{
    return (tool->given >> option & 1) != 0;
}

/* Ending of a counted noun. */
static inline const char *tool_s(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* Prints "sls-spool: <text>" and returns the exit code for the error. */
int tool_fail(const struct slsr_err *err);
int tool_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Says that INT or TERM came first, and what is so because of that. The exit code. */
int tool_interrupted(const char *what);
/* Says that the selectors found nothing, and what there is; `more` stands in between. The exit
 * code. */
int tool_no_match(const struct tool *tool, const char *more);
/* Loads the configuration if it is not there yet. 0 or the exit code, already printed. */
int tool_load_config(struct tool *tool);
/* The spool's settings: of the configuration, or -D and built-in ones. With both -D and -c the keys
 * are the configuration's: a copy of an encrypted spool is read with them. Strings are the tool's.
 * 0 or the exit code, already printed. */
int tool_spool_config(struct tool *tool, struct slsr_spool_config *out);
/* True when standard output is gone: stop printing, the verb's result does not matter any more. */
bool tool_output_broken(struct tool *tool);
/* Wall clock. */
int64_t tool_now_ns(void);
/* Never jumps. */
int64_t tool_mono_ns(void);

/* options.c: parses the line into tool. 0 or the exit code, already printed. */
int options_parse(struct tool *tool, int argc, char **argv);
/* Bits of the options that every verb takes, of those that select frames, of one option. */
#define OPTION_BIT(option) (UINT64_C(1) << (option))
#define OPTIONS_ALWAYS     (OPTION_BIT(OPT_CONFIG) | OPTION_BIT(OPT_DIR) | OPTION_BIT(OPT_OUTPUT))
#define OPTIONS_SELECT                                                                             \
    (OPTION_BIT(OPT_SINCE) | OPTION_BIT(OPT_UNTIL) | OPTION_BIT(OPT_BY_ARRIVAL) |                  \
     OPTION_BIT(OPT_SEQ) | OPTION_BIT(OPT_SHARD) | OPTION_BIT(OPT_GREP) |                          \
     OPTION_BIT(OPT_IGNORE_CASE) | OPTION_BIT(OPT_INVERT) | OPTION_BIT(OPT_LINES) |                \
     OPTION_BIT(OPT_STATE) | OPTION_BIT(OPT_TARGET))
const char *options_name(enum option option);

/* Name of the person at the keyboard, for the ledger. Static text. */
const char *tool_user(void);
/* The rule for everything that sends or changes: more than 10,000 frames are confirmed on a
 * terminal or need --yes. 0: go on; else the exit code, said. */
int tool_confirm(const struct tool *tool, uint64_t frames, const char *what);

/* the verbs */
int verb_status(struct tool *tool);
int verb_list(struct tool *tool);
int verb_cat(struct tool *tool);
int verb_tail(struct tool *tool);
int verb_shards(struct tool *tool);
int verb_targets(struct tool *tool);
int verb_verify(struct tool *tool);
int verb_stats(struct tool *tool);
int verb_replay(struct tool *tool);
int verb_order(struct tool *tool); /* pause resume flush seek hold release skip requeue purge */
int verb_gaps(struct tool *tool);
int verb_top(struct tool *tool);
int verb_shape(struct tool *tool);
int verb_audit(struct tool *tool);
int verb_export(struct tool *tool);
int verb_import(struct tool *tool);
int verb_backup(struct tool *tool);
int verb_repair(struct tool *tool);
int verb_readers(struct tool *tool);

#endif
