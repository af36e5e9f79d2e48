/* spool-crash points                prints the fault points, one a line ("-" when not compiled in)
 * spool-crash write DIR [option]... appends known frames (write.c)
 * spool-crash judge DIR [option]... judges what is there (judge.c)
 * Options: batches=N (per shard), batch=N and frame=N (most frames of a batch, bytes of a frame),
 * seed=N, max-size=BYTES, no-target, keep-trying, acknowledged=FILE (for judge: what write
 * printed). */
#include <stdlib.h>
#include <string.h>

#include "crash.h"

#include "base/fault.h"

static int points(void)
{
#ifdef SLSR_FAULTS
    for (int i = 0; fault_name(i) != NULL; i++)
        puts(fault_name(i));
    return 0;
#else
    fputs("spool-crash: built without -DSLSR_FAULTS=ON\n", stderr);
    return 1;
#endif
}

static bool option(struct job *job, char *text)
{
    char *equals = strchr(text, '=');
    const char *value = equals != NULL ? equals + 1 : "";
    const unsigned long long n = strtoull(value, NULL, 10);

    if (equals != NULL)
        *equals = '\0';
    if (strcmp(text, "batches") == 0)
        job->batches = n;
    else if (strcmp(text, "batch") == 0)
        job->batch_max = (uint32_t)n;
    else if (strcmp(text, "frame") == 0)
        job->frame_max = (uint32_t)n;
    else if (strcmp(text, "seed") == 0)
        job->seed = n;
    else if (strcmp(text, "max-size") == 0)
        job->max_size = (int64_t)n;
    else if (strcmp(text, "no-target") == 0)
        job->no_target = true;
    else if (strcmp(text, "keep-trying") == 0)
        job->keep_trying = true;
    else if (strcmp(text, "acknowledged") == 0)
        job->acknowledged = value;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct job job = {.batches = 40, .batch_max = 60, .frame_max = 900, .max_size = 10 << 20};

    if (argc == 2 && strcmp(argv[1], "points") == 0)
        return points();
    if (argc < 3) {
        fputs("usage: spool-crash points | write DIR [OPTION=N]... | judge DIR [OPTION=N]...\n",
              stderr);
        return 64;
    }
    job.dir = argv[2];
    for (int i = 3; i < argc; i++)
        if (!option(&job, argv[i])) {
            fprintf(stderr, "spool-crash: no option %s\n", argv[i]);
            return 64;
        }
    if (job.batch_max == 0 || job.frame_max == 0 || job.frame_max > 900000)
        return 64;
    return strcmp(argv[1], "write") == 0 ? write_run(&job) : judge_run(&job);
}
