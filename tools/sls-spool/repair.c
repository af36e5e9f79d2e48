/* repair: what is damaged, what of it is lost, and with --apply the end of it.
 *
 * The plan reads everything and names the frames that cannot be read any more. --apply gives these
 * frames up for every target (marks, so that no sender stumbles over them) and enters them in the
 * ledger; a segment file that cannot be opened is set aside under another name, for it may still be
 * of use to somebody with more knowledge. Sound frames are never touched. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/json.h"
#include "slsrelay/control.h"
#include "state.h"

enum { RUN_BYTES = 1024 * 1024, FILES_MAX = 64 };

struct repair {
    struct tool *tool;
    const char *dir;
    struct slsr_spans lost;
    uint64_t oldest, next;
    char files[FILES_MAX][64]; /* that cannot be opened */
    size_t file_count;
    struct slsr_target_state *targets;
    const char *names[64];
    size_t count;
};

/* The segment file that holds seq and the first sequence of the one behind it. */
static bool file_of(const char *dir, uint64_t seq, char name[64], uint64_t *behind)
{
    DIR *open_dir = opendir(dir);
    struct dirent *entry;
    uint64_t best = 0;

    *behind = UINT64_MAX;
    name[0] = '\0';
    while (open_dir != NULL && (entry = readdir(open_dir)) != NULL) {
        uint64_t first;
        char end[8] = "";
        if (strlen(entry->d_name) != 24 ||
            sscanf(entry->d_name, "seg-%16" SCNx64 "%4s", &first, end) != 2 ||
            strcmp(end, ".mdb") != 0)
            continue;
        if (first <= seq && first >= best) {
            best = first;
            snprintf(name, 64, "%s", entry->d_name);
        }
        if (first > seq && first < *behind)
            *behind = first;
    }
    if (open_dir != NULL)
        closedir(open_dir);
    return name[0] != '\0';
}

/* The segment at seq cannot be entered at all: its frames are lost, go on behind it. */
static bool pass_file(struct repair *repair, uint64_t seq, uint64_t *behind)
{
    char name[64];

    if (!file_of(repair->dir, seq, name, behind) || repair->file_count == FILES_MAX)
        return false;
    if (*behind > repair->next)
        *behind = repair->next;
    snprintf(repair->files[repair->file_count++], 64, "%s", name);
    return slsr_spans_add(&repair->lost, seq, *behind);
}

static int find_damage(struct repair *repair, struct slsr_err *err)
{
    struct slsr_range *range = NULL;
    struct slsr_run run;
    int rc = slsr_spool_bounds(repair->tool->spool, &repair->oldest, &repair->next, err);
    uint64_t at = repair->oldest;

    if (rc == 0)
        rc = slsr_range_open(&range, repair->tool->spool, at, repair->next, err);
    while (rc == 0 && at < repair->next && !slsr_stop_requested(&repair->tool->stop)) {
        rc = slsr_range_next_run(range, RUN_BYTES, &run, err);
        uint64_t now = slsr_range_position(range);
        if (rc == 0 && run.first > at && !slsr_spans_add(&repair->lost, at, run.first))
            rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
        if (rc == SLSR_ENOMATCH)
            break;
        if (rc == SLSR_ECORRUPT || rc == SLSR_EIO) {
            rc = 0;
            if (now <= at) {
                if (!pass_file(repair, at, &now))
                    return slsr_fail(err, SLSR_ECORRUPT,
                                     "frame %" PRIu64 ": nothing behind it can be read", at);
                slsr_range_seek(range, now);
            } else if (!slsr_spans_add(&repair->lost, at, now)) {
                rc = slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
            }
        }
        at = now;
    }
    slsr_range_close(range);
    return rc == SLSR_ENOMATCH ? 0 : rc;
}

static void plan(const struct repair *repair)
{
    const uint64_t frames = slsr_spans_frames(&repair->lost);

    if (repair->tool->output != OUT_TEXT) {
        printf("{\"lost_frames\":%" PRIu64 ",\"ranges\":[", frames);
        for (size_t i = 0; i < repair->lost.count; i++)
            printf("%s[%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", repair->lost.items[i].from,
                   repair->lost.items[i].to - 1);
        fputs("],\"files\":[", stdout);
        for (size_t i = 0; i < repair->file_count; i++) {
            fputs(i > 0 ? "," : "", stdout);
            cli_json_string(stdout, slsr_bytes_of(repair->files[i]));
        }
        printf("],\"applied\":%s}\n", tool_given(repair->tool, OPT_APPLY) ? "true" : "false");
        return;
    }
    if (frames == 0) {
        printf("sound: all %" PRIu64 " frames can be read, nothing to repair\n",
               repair->next - repair->oldest);
        return;
    }
    for (size_t i = 0; i < repair->lost.count; i++)
        printf("lost: frames %" PRIu64 "..%" PRIu64 "\n", repair->lost.items[i].from,
               repair->lost.items[i].to - 1);
    for (size_t i = 0; i < repair->file_count; i++)
        printf("to be set aside: %s\n", repair->files[i]);
    printf("%" PRIu64 " of %" PRIu64 " frames cannot be read\n", frames,
           repair->next - repair->oldest);
}

/* The relay must not run: its files are moved under it otherwise. */
static int take_lock(const struct repair *repair, int *fd, struct slsr_err *err)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/LOCK", repair->dir);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (*fd < 0)
        return slsr_fail_errno(err, SLSR_EPERM, errno, "cannot write in spool %s", repair->dir);
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        return slsr_fail(err, SLSR_EBUSY, "spool %s is in use by a relay: stop it, then repair",
                         repair->dir);
    return 0;
}

static int set_aside(const struct repair *repair, struct slsr_err *err)
{
    for (size_t i = 0; i < repair->file_count; i++) {
        char from[4200];
        char to[4200];
        snprintf(from, sizeof(from), "%s/%s", repair->dir, repair->files[i]);
        snprintf(to, sizeof(to), "%s/%s.damaged", repair->dir, repair->files[i]);
        if (rename(from, to) != 0)
            return slsr_fail_errno(err, SLSR_EIO, errno, "cannot set %s aside", from);
    }
    return 0;
}

static int apply(struct repair *repair, struct slsr_err *err)
{
    struct slsr_order order = {.kind = SLSR_ORDER_PURGE, .spans = &repair->lost};
    struct slsr_ledger_entry *entry = &order.entry;
    int fd = -1;
    int rc = take_lock(repair, &fd, err);

    if (rc == 0)
        rc = state_targets(repair->tool, &repair->targets, &repair->count, err);
    for (size_t i = 0; rc == 0 && i < repair->count && i < 64; i++)
        repair->names[i] = repair->targets[i].name;
    snprintf(entry->kind, sizeof(entry->kind), "repair");
    snprintf(entry->reason, sizeof(entry->reason), "checksum");
    snprintf(entry->who, sizeof(entry->who), "%s", tool_user());
    entry->from_seq = repair->lost.items[0].from;
    entry->to_seq = repair->lost.items[repair->lost.count - 1].to;
    entry->frames = slsr_spans_frames(&repair->lost);
    snprintf(entry->text, sizeof(entry->text),
             "damaged frames given up, %zu piece%s, %zu file%s set aside", repair->lost.count,
             tool_s(repair->lost.count), repair->file_count, tool_s(repair->file_count));
    order.targets = repair->names;
    order.target_count = repair->count < 64 ? repair->count : 64;
    if (rc == 0 && repair->count > 0)
        rc = slsr_control_order(repair->tool->spool, &order, err);
    else if (rc == 0)
        rc = slsr_ledger_add(repair->tool->spool, entry, err);
    if (rc == 0)
        rc = set_aside(repair, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

int verb_repair(struct tool *tool)
{
    struct repair repair = {.tool = tool,
                            .dir = tool->dir != NULL ? tool->dir : tool->config->spool.path};
    struct slsr_err err = {0};
    int code = 0;

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'repair': give text or json, raw is for frames");
    int rc = find_damage(&repair, &err);
    if (rc == 0 && slsr_stop_requested(&tool->stop)) {
        code = tool_interrupted("nothing was changed");
    } else if (rc == 0) {
        plan(&repair);
        code = repair.lost.count > 0 ? EXIT_DAMAGED : 0;
    }
    if (rc == 0 && code == EXIT_DAMAGED && tool_given(tool, OPT_APPLY)) {
        fflush(stdout);
        code = tool_confirm(tool, slsr_spans_frames(&repair.lost), "repair");
        if (code == 0)
            rc = apply(&repair, &err);
        if (code == 0 && rc == 0 && tool->output == OUT_TEXT)
            puts("applied: these frames are given up, the ledger names them (sls-spool gaps)");
    } else if (rc == 0 && code == EXIT_DAMAGED && tool->output == OUT_TEXT) {
        puts("nothing was changed: --apply gives these frames up and names them in the ledger");
    }
    slsr_spans_free(&repair.lost);
    free(repair.targets);
    return rc != 0 ? tool_fail(&err) : code;
}
