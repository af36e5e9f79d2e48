/* export: the selected frames into a file, whole or not at all: JSON Lines with everything that the
 * spool knows of a frame (what `import` takes), or the frames alone (raw, octet).
 *
 * The file appears under its name when it is complete and on the disk, behind a link in the place
 * that it points at; a pipe or a device is written as it stands. Damage on the way is said, and so
 * is what a relay gave back before it was read; the exit code is then 2, and the file has what
 * could be read. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* Where the frames go in place of standard output. */
struct place {
    const char *path;        /* NULL: standard output it is */
    char behind[PATH_MAX];   /* what path links to */
    char part[PATH_MAX + 8]; /* its name so far; "" for what is no file and so cannot be replaced */
};

/* A link stays one: the file behind it is replaced, as a shell's ">" would write it. */
static int follow_link(struct place *place, struct slsr_err *err)
{
    struct stat st;

    if (lstat(place->path, &st) != 0 || !S_ISLNK(st.st_mode))
        return 0;
    if (realpath(place->path, place->behind) == NULL)
        return slsr_fail(err, SLSR_ECREATE,
                         "cannot create %s: it is a link, and what it points "
                         "at cannot be reached (%s): name the file itself",
                         place->path, strerror(errno));
    place->path = place->behind;
    return 0;
}

static int open_place(struct place *place, struct slsr_err *err)
{
    struct stat st;
    const char *name = place->part;
    const int rc = follow_link(place, err);

    if (rc != 0)
        return rc;
    const bool there = stat(place->path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return slsr_fail(err, SLSR_ECREATE, "cannot create %s: it is a directory: name a file",
                         place->path);
    if (there && !S_ISREG(st.st_mode)) {
        place->part[0] = '\0';
        name = place->path;
    } else if (snprintf(place->part, sizeof(place->part), "%s.part", place->path) >=
               (int)sizeof(place->part)) {
        return slsr_fail(err, SLSR_ECREATE, "cannot create %s: the name is too long", place->path);
    }
    if (freopen(name, "we", stdout) == NULL)
        return slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot create %s", name);
    return 0;
}

static int close_place(const struct place *place, struct slsr_err *err)
{
    const char *part = place->part;

    if (fflush(stdout) != 0 || (part[0] != '\0' && fsync(fileno(stdout)) != 0))
        return slsr_fail_errno(err, SLSR_EIO, errno, "cannot write %s",
                               part[0] != '\0' ? part : place->path);
    if (part[0] != '\0' && rename(part, place->path) != 0)
        return slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot rename %s to %s", part,
                               place->path);
    return 0;
}

/* Nothing is to be there. What went wrong with the file is said of it, not of standard output. */
static void leave_place(struct tool *tool, const struct place *place)
{
    if (place->path == NULL)
        return;
    if (place->part[0] != '\0')
        unlink(place->part);
    if (freopen("/dev/null", "we", stdout) != NULL)
        tool->write_errno = 0;
}

int verb_export(struct tool *tool)
{
    struct export export = {.tool = tool};
    struct place place = {.path = tool->file};
    struct slsr_err err = {0};

    if (place.path != NULL && place.path[0] == '\0')
        return tool_usage("--output '': name a file, or - for standard output");
    if (place.path != NULL && strcmp(place.path, "-") == 0)
        place.path = NULL;
    if (tool->output == OUT_TEXT)
        tool->output = OUT_JSONL;
    int rc = place.path != NULL ? open_place(&place, &err) : 0;
    if (rc != 0)
        return tool_fail(&err);
    print_begin(&export.printer, tool->output, false);
    rc = write_out(&export, &err);
    if (rc == 0 && tool_output_broken(tool) && place.path != NULL)
        rc = slsr_fail_errno(&err, SLSR_EIO, tool->write_errno, "cannot write %s", place.path);
    bool stopped = slsr_stop_requested(&tool->stop);
    bool done = rc == 0 && !stopped && export.printer.count > 0;
    if (done && place.path != NULL)
        rc = close_place(&place, &err);
    if (!done || rc != 0)
        leave_place(tool, &place);
    if (rc != 0)
        return tool_fail(&err);
    if (stopped)
        return tool_interrupted(place.path != NULL ? "no file was made" : "this is not all");
    if (export.printer.count == 0)
        return tool_no_match(tool, ", nothing was exported");
    if (fflush(stdout) == 0 && !tool_output_broken(tool)) /* else main says what is the matter */
        fprintf(stderr, "export: %" PRIu64 " frame%s\n", export.printer.count,
                tool_s(export.printer.count));
    return 0;
}
