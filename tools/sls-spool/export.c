/* export: the selected frames into a file, whole or not at all: JSON Lines with everything that the
 * spool knows of a frame (what `import` takes), or the frames alone (raw, octet).
 *
 * The file appears under its name when it is complete and on the disk. Damage on the way is said,
 * and the exit code is 2: the file then has what could be read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "print.h"
#include "select.h"

struct export
{
    struct tool *tool;
    struct printer printer;
    uint64_t limit;
};

static bool export_frame(void *ctx, const struct slsr_frame *frame)
{
    struct export *export = ctx;

    if (export->limit == 0)
        return false;
    print_frame(&export->printer, frame);
    if (export->limit != UINT64_MAX)
        export->limit--;
    return export->limit > 0 && !tool_output_broken(export->tool);
}

static int write_out(struct export *export, struct slsr_err *err)
{
    struct tool *tool = export->tool;
    struct selection sel;
    int rc = select_init(&sel, tool, err);
    uint64_t from = sel.from;

    export->limit = UINT64_MAX;
    if (rc == 0 && tool_given(tool, OPT_LINES)) {
        export->limit = tool->lines;
        if (!tool->lines_oldest)
            rc = walk_last(&sel, tool, tool->lines, &from, err);
    }
    if (rc == 0)
        rc = walk_forward(&sel, tool, from, sel.to, export_frame, export, err);
    select_fini(&sel);
    print_end(&export->printer);
    return rc;
}

/* The new file in place of standard output; its name so far ends in ".part". */
static int open_part(const char *path, char *part, size_t size, struct slsr_err *err)
{
    if (snprintf(part, size, "%s.part", path) >= (int)size)
        return slsr_fail(err, SLSR_ECREATE, "cannot create %s: the name is too long", path);
    if (freopen(part, "we", stdout) == NULL)
        return slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot create %s", part);
    return 0;
}

static int close_part(const char *path, const char *part, struct slsr_err *err)
{
    if (fflush(stdout) != 0 || fsync(fileno(stdout)) != 0)
        return slsr_fail_errno(err, SLSR_EIO, errno, "cannot write %s", part);
    if (rename(part, path) != 0)
        return slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot rename %s to %s", part, path);
    return 0;
}

int verb_export(struct tool *tool)
{
    struct export export = {.tool = tool};
    struct slsr_err err = {0};
    char part[4096];

    if (tool->output == OUT_TEXT)
        tool->output = OUT_JSONL;
    int rc = tool->file != NULL ? open_part(tool->file, part, sizeof(part), &err) : 0;
    if (rc != 0)
        return tool_fail(&err);
    print_begin(&export.printer, tool->output, false);
    rc = write_out(&export, &err);
    if (rc == 0 && tool_output_broken(tool) && tool->file != NULL)
        rc = slsr_fail_errno(&err, SLSR_EIO, tool->write_errno, "cannot write %s", part);
    bool stopped = slsr_stop_requested(&tool->stop);
    if (rc == 0 && !stopped && export.printer.count > 0 && tool->file != NULL)
        rc = close_part(tool->file, part, &err);
    if (tool->file != NULL && (rc != 0 || stopped || export.printer.count == 0))
        unlink(part);
    if (rc != 0)
        return tool_fail(&err);
    if (stopped)
        return tool_interrupted(tool->file != NULL ? "no file was made" : "this is not all");
    if (export.printer.count == 0)
        return tool_no_match(tool, ", nothing was exported");
    fprintf(stderr, "export: %" PRIu64 " frame%s\n", export.printer.count,
            tool_s(export.printer.count));
    return 0;
}
