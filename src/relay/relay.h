/* The daemon: both stages around one spool. The only place that knows both. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include <stdbool.h>
#include <stdio.h>

#include "slsrelay/config.h"
#include "slsrelay/err.h"

struct relay_options {
    /* Reads the settings anew for HUP and says what is wrong with them by diag(). NULL: HUP only
     * reopens the log file. */
    int (*load)(void *ctx, struct slsr_config **out);
    void *ctx;
};

/* Runs until TERM or INT (0) or a condition that only a person can mend (its code). Call it before
 * any other thread exists: it blocks the signals that it waits for. */
int relay_run(const struct slsr_config *config, const struct relay_options *options,
              struct slsr_err *err);

/* Prints `count` frames as they would be spooled, each + LF: from the service (joins no group,
 * moves nothing), starting at source.cursor_position. Stops early when there are no more. */
int relay_preview(const struct slsr_config *config, size_t count, FILE *out, struct slsr_err *err);
/* The same from one LogGroupList on disk: protobuf, or *.lz4 with a *.json beside it that holds
 * {"rawsize": N}. Provenance shows cursor 0 of shard 0. */
int relay_preview_file(const struct slsr_config *config, const char *path, FILE *out,
                       struct slsr_err *err);
/* What single settings cannot show: can the formatter make such frames? The judge of struct
 * slsr_config_from; every mode has it, so that --check and a start never disagree. */
int relay_judge_format(const struct slsr_format_config *format,
                       void (*say)(void *ctx, const char *text), void *ctx);
/* And can the client and TLS use theirs? Adds to the problems; what is wrong with a TLS file is a
 * warning. Reads files, changes and connects nothing. After a load with need_relay, as the judge in
 * every mode. */
void relay_check(const struct slsr_config *config, struct slsr_config_problems *problems);
/* Steps with their time: SLS resolve+connect+authenticate, each target. 0 or the first failure. */
int relay_test_connection(const struct slsr_config *config, FILE *out, struct slsr_err *err);

/* The libraries that run here, with their versions, on one line. */
enum { RELAY_LIBRARIES = 400 };
void relay_libraries(char out[RELAY_LIBRARIES]);

/* systemd readiness protocol (sd_notify(3)), a no-op without NOTIFY_SOCKET. */
void notify_systemd(const char *state);

#endif
