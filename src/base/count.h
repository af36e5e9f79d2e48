/* Process-wide figures: what the stages count and `GET /metrics` shows. Any thread, any time.
 *
 * Counters only grow and begin at 0 with the process. Gauges hold the last value that was set. A
 * figure has at most two labels, and at most COUNT_SETS_MAX different label values are kept apart:
 * later ones are added up under "other", so that a hostile server cannot make memory grow. Call
 * these once per batch or event, never per log or frame: they take a lock. Source of the names:
 * interface contract, table in count.c. */
#ifndef BASE_COUNT_H
#define BASE_COUNT_H

#include <stdint.h>
#include <stdio.h>

enum count_id {
    /* counters; the comment names the labels, label1 then label2 */
    COUNT_PULLED_LOGS,
    COUNT_PULLED_RAW_BYTES,
    COUNT_PULL_ERRORS, /* code: the service's or ours, such as "ShardNotExist", "network" */
    COUNT_SPOOLED_FRAMES,
    COUNT_SPOOLED_BYTES,
    COUNT_CHECKPOINT_COMMITS,
    COUNT_TARGET_SENT_FRAMES,   /* target */
    COUNT_TARGET_RECONNECTS,    /* target, reason */
    COUNT_TARGET_RESENT_FRAMES, /* target */
    COUNT_FRAMES_DEAD,          /* reason: could not become a frame or be sent, set aside */
    COUNT_FRAMES_DROPPED,       /* reason: left out on purpose or given up when full */
    COUNT_GAPS,                 /* reason: "invalid_cursor", "spool_full", ... */
    COUNT_REBALANCES,           /* logstore, shard taken or lost: "gained" "lost" */
    COUNT_CREDENTIAL_REFRESHES, /* result: "ok" "error" */
    /* histograms of seconds */
    COUNT_SPOOL_COMMIT_SECONDS,
    COUNT_PULL_SECONDS,
    /* gauges: count_set */
    COUNT_CLOCK_SKEW_SECONDS,         /* our clock minus the service's */
    COUNT_LOGSTORE_RETENTION_SECONDS, /* logstore: how long the service keeps logs */
    COUNT_TARGET_CERT_EXPIRY_SECONDS, /* target: notAfter, seconds since 1970; 0 unknown */
    COUNT_CREDENTIALS_EXPIRY_SECONDS, /* seconds since 1970; 0 when they do not expire */
    COUNT_ID_COUNT
};

/* Label sets per figure; beyond it they are "other". Shards, targets and error codes of one relay
 * are a few dozen. */
enum { COUNT_SETS_MAX = 256, COUNT_LABEL_MAX = 95 };

/* Adds n. label1 and label2 are copied (cut at COUNT_LABEL_MAX), NULL where the figure has no such
 * label. */
void count_add(enum count_id id, const char *label1, const char *label2, uint64_t n);
/* One observation of a histogram. */
void count_observe(enum count_id id, double seconds);
/* Sets a gauge. */
void count_set(enum count_id id, const char *label1, const char *label2, double value);

/* What is counted now, 0 when nothing was; the number of observations for a histogram. */
double count_value(enum count_id id, const char *label1, const char *label2);
/* The sum over all label values. */
double count_total(enum count_id id);
/* Forgets everything: between two tests. */
void count_reset(void);

/* All figures in the Prometheus text format (version 0.0.4), names with `prefix` in front. A
 * counter without labels is shown from 0 on; one with labels from its first value. */
void count_write(FILE *out, const char *prefix);
/* Writes a label value: backslash, quote and line break are escaped. */
void count_write_label(FILE *out, const char *text);

#endif
