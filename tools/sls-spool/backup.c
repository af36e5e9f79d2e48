/* backup DIR: a consistent copy of the spool, while a relay works in it or not. The copy is a
 * spool: every verb works on it with -D. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/text.h"
#include "tool.h"

static int prepare(const char *dir, struct slsr_err *err)
{
    struct dirent *entry;
    DIR *open_dir;
    int rc = 0;

    if (mkdir(dir, 0750) == 0)
        return 0;
    if (errno != EEXIST || (open_dir = opendir(dir)) == NULL)
        return slsr_fail_errno(err, SLSR_ECREATE, errno, "cannot create directory %s", dir);
    while (rc == 0 && (entry = readdir(open_dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = slsr_fail(err, SLSR_ECREATE,
                           "cannot use directory %s: it is not empty, give a new one", dir);
    closedir(open_dir);
    return rc;
}

int verb_backup(struct tool *tool)
{
    struct slsr_err err = {0};
    uint64_t files;
    uint64_t bytes;
    char size[TEXT_SMALL];

    if (tool->word_count == 0)
        return tool_usage("backup without a directory: give one that is new or empty");
    int rc = prepare(tool->words[0], &err);
    if (rc == 0)
        rc = slsr_spool_backup(tool->spool, tool->words[0], &tool->stop, &files, &bytes, &err);
    if (rc == SLSR_ESTOPPED) {
        fprintf(stderr, "sls-spool: %s\n", err.text);
        return EXIT_AGAIN;
    }
    if (rc != 0)
        return tool_fail(&err);
    cli_text_size(size, bytes);
    if (tool->output == OUT_TEXT)
        printf("backup: %" PRIu64 " file%s, %s\n", files, tool_s(files), size);
    else
        printf("{\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", files, bytes);
    return 0;
}
