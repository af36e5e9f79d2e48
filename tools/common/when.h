/* Points in time as people type them (man page sls-spool(1) "TIMES"). */
#ifndef TOOLS_COMMON_WHEN_H
#define TOOLS_COMMON_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/* "2026-01-02 03:04:05[.frac][zone]", date alone, "HH:MM[:SS]", "-2h", "+5m", "now", "today",
 * "yesterday", "tomorrow", "@epoch[.frac]" -> ns since 1970. Without a zone: the process's (TZ).
 * now_ns is what relative forms count from. False when it is none of these. */
bool cli_when_parse(const char *text, int64_t now_ns, int64_t *ns);

#endif
