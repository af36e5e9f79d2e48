/* A replay's job: how a command line becomes one and comes back. */
#ifndef SLS_SPOOL_JOB_H
#define SLS_SPOOL_JOB_H

#include "slsrelay/jobs.h"

#include "select.h"

/* Fills selectors, who, target and rate from the command line; times become absolute.
 * False: the selectors are too long to be remembered. */
bool job_from_tool(struct slsr_job *job, const struct tool *tool, const struct selection *sel);
/* Reads job tool->job and makes the command line what it was. 0 or the exit code, said. Refuses a
 * job that runs (75) or is done. Strings live as long as the job. */
int job_to_tool(struct slsr_job *job, struct tool *tool);
/* After select_init: puts the selection back to what it was when the job began. */
int job_select(const struct slsr_job *job, struct tool *tool, struct selection *sel,
               struct slsr_err *err);
/* Its process is there and has written lately. */
bool job_alive(const struct slsr_job *job);

/* replay --list, replay --stop */
/* Refuses what means nothing to --list, --stop or --resume, for a job has its selectors. 0 or the
 * exit code. */
int job_options(const struct tool *tool);
int job_list(struct tool *tool);
int job_stop(struct tool *tool);

#endif
