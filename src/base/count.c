/* Counters, gauges and histograms in fixed memory behind one lock.
 *
 * A few hundred calls a second arrive here (one per batch), so that a plain mutex and a linear
 * search through a handful of label sets are cheaper than anything clever. Nothing can fail: label
 * sets that do not fit are counted as "other". */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/count.h"

enum count_kind { KIND_COUNTER, KIND_HISTOGRAM, KIND_GAUGE };

struct figure {
    const char *name;
    enum count_kind kind;
    const char *label1, *label2;
    const char *help;
};

static const struct figure figures[COUNT_ID_COUNT] = {
    [COUNT_PULLED_LOGS] = {"pulled_logs_total", KIND_COUNTER, NULL, NULL,
                           "Logs pulled from the service and decoded."},
    [COUNT_PULLED_RAW_BYTES] = {"pulled_raw_bytes_total", KIND_COUNTER, NULL, NULL,
                                "Uncompressed bytes of the pulls."},
    [COUNT_PULL_ERRORS] = {"pull_errors_total", KIND_COUNTER, "code", NULL,
                           "Calls to the service that failed, by error code."},
    [COUNT_SPOOLED_FRAMES] = {"spooled_frames_total", KIND_COUNTER, NULL, NULL,
                              "Frames made durable in the spool."},
    [COUNT_SPOOLED_BYTES] = {"spooled_bytes_total", KIND_COUNTER, NULL, NULL,
                             "Bytes of these frames, octet counts included."},
    [COUNT_CHECKPOINT_COMMITS] = {"checkpoint_commits_total", KIND_COUNTER, NULL, NULL,
                                  "Checkpoints that the service has confirmed."},
    [COUNT_TARGET_SENT_FRAMES] = {"target_sent_frames_total", KIND_COUNTER, "target", NULL,
                                  "Frames written to the target, resent ones included."},
    [COUNT_TARGET_RECONNECTS] = {"target_reconnects_total", KIND_COUNTER, "target", "reason",
                                 "Connections that were lost, by reason."},
    [COUNT_TARGET_RESENT_FRAMES] = {"target_resent_frames_total", KIND_COUNTER, "target", NULL,
                                    "Frames sent again because nobody knew whether they arrived."},
    [COUNT_FRAMES_DEAD] = {"frames_dead_total", KIND_COUNTER, "reason", NULL,
                           "Logs or frames set aside because they cannot be sent."},
    [COUNT_FRAMES_DROPPED] =
        {"frames_dropped_total", KIND_COUNTER, "reason", NULL,
         "Logs or frames left out: by a filter, or because the spool is full."},
    [COUNT_GAPS] = {"gaps_total", KIND_COUNTER, "reason", NULL,
                    "Stretches of the source that are known to be missing."},
    [COUNT_REBALANCES] = {"rebalances_total", KIND_COUNTER, "logstore", "change",
                          "Shards gained or lost."},
    [COUNT_CREDENTIAL_REFRESHES] = {"credential_refreshes_total", KIND_COUNTER, "result", NULL,
                                    "Times that credentials were fetched anew."},
    [COUNT_SPOOL_COMMIT_SECONDS] = {"spool_commit_seconds", KIND_HISTOGRAM, NULL, NULL,
                                    "Time of one durable commit to the spool."},
    [COUNT_PULL_SECONDS] = {"pull_seconds", KIND_HISTOGRAM, NULL, NULL,
                            "Time of one pull from the service."},
    [COUNT_CLOCK_SKEW_SECONDS] = {"clock_skew_seconds", KIND_GAUGE, NULL, NULL,
                                  "This machine's clock minus the service's."},
    [COUNT_LOGSTORE_RETENTION_SECONDS] = {"logstore_retention_seconds", KIND_GAUGE, "logstore",
                                          NULL, "How long the service keeps logs."},
    [COUNT_TARGET_CERT_EXPIRY_SECONDS] = {"target_certificate_expiry_timestamp_seconds", KIND_GAUGE,
                                          "target", NULL,
                                          "When the target's certificate expires, since 1970."},
    [COUNT_CREDENTIALS_EXPIRY_SECONDS] = {"credentials_expiry_timestamp_seconds", KIND_GAUGE, NULL,
                                          NULL, "When the credentials expire, since 1970."},
};

/* Upper bounds in seconds: a commit takes 1 ms on a good disk and seconds on a dying one. */
static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                0.1,    0.25,  0.5,    1,     2.5,  5,     10};
enum { BOUND_COUNT = sizeof bounds / sizeof *bounds };

struct set {
    char label1[COUNT_LABEL_MAX + 1];
    char label2[COUNT_LABEL_MAX + 1];
    double value; /* exact up to 2^53: no relay counts that far */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* One pool instead of a full array per figure: error codes may need many, most figures one. */
enum { POOL = 1024 };
static struct set pool[POOL];
static unsigned char owner[POOL]; /* figure + 1; 0: free. Entries of one figure keep their order */
static size_t pool_used;
static size_t used[COUNT_ID_COUNT];
static struct {
    uint64_t buckets[BOUND_COUNT + 1];
    uint64_t count;
    double sum;
} histograms[COUNT_ID_COUNT];

static bool same(const char *kept, const char *text)
{
    return strncmp(kept, text, COUNT_LABEL_MAX) == 0;
}

static void copy(char *to, const char *text)
{
    const size_t n = strnlen(text, COUNT_LABEL_MAX);

    memcpy(to, text, n);
    to[n] = '\0';
}

static struct set *look_up(enum count_id id, const char *label1, const char *label2)
{
    for (size_t i = 0; i < pool_used; i++)
        if (owner[i] == id + 1 && same(pool[i].label1, label1) && same(pool[i].label2, label2))
            return &pool[i];
    return NULL;
}

/* The entry for these labels, made when it is missing; "other" when there is no room for it.
 * The last entries of the pool are kept for these "other". Lock held. */
static struct set *find(enum count_id id, const char *label1, const char *label2)
{
    const struct figure *figure = &figures[id];
    bool other = false;
    struct set *set;

    label1 = figure->label1 == NULL || label1 == NULL ? "" : label1;
    label2 = figure->label2 == NULL || label2 == NULL ? "" : label2;
    set = look_up(id, label1, label2);
    if (set != NULL)
        return set;
    if (used[id] >= COUNT_SETS_MAX || pool_used >= POOL - COUNT_ID_COUNT) {
        label1 = figure->label1 == NULL ? "" : "other";
        label2 = figure->label2 == NULL ? "" : "other";
        set = look_up(id, label1, label2);
        other = true;
    }
    if (set != NULL)
        return set;
    set = &pool[pool_used];
    owner[pool_used++] = (unsigned char)(id + 1);
    if (!other)
        used[id]++;
    copy(set->label1, label1);
    copy(set->label2, label2);
    set->value = 0;
    return set;
}

void count_add(enum count_id id, const char *label1, const char *label2, uint64_t n)
{
    pthread_mutex_lock(&lock);
    find(id, label1, label2)->value += (double)n;
    pthread_mutex_unlock(&lock);
}

void count_set(enum count_id id, const char *label1, const char *label2, double value)
{
    pthread_mutex_lock(&lock);
    find(id, label1, label2)->value = value;
    pthread_mutex_unlock(&lock);
}

void count_observe(enum count_id id, double seconds)
{
    size_t i = 0;

    while (i < BOUND_COUNT && seconds > bounds[i])
        i++;
    pthread_mutex_lock(&lock);
    histograms[id].buckets[i]++;
    histograms[id].count++;
    histograms[id].sum += seconds;
    pthread_mutex_unlock(&lock);
}

double count_value(enum count_id id, const char *label1, const char *label2)
{
    const struct figure *figure = &figures[id];
    const struct set *set;
    double value;

    pthread_mutex_lock(&lock);
    set = look_up(id, figure->label1 == NULL || label1 == NULL ? "" : label1,
                  figure->label2 == NULL || label2 == NULL ? "" : label2);
    value = figure->kind == KIND_HISTOGRAM ? (double)histograms[id].count
            : set == NULL                  ? 0
                                           : set->value;
    pthread_mutex_unlock(&lock);
    return value;
}

double count_total(enum count_id id)
{
    double sum = 0;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < pool_used; i++)
        if (owner[i] == id + 1)
            sum += pool[i].value;
    pthread_mutex_unlock(&lock);
    return sum;
}

void count_reset(void)
{
    pthread_mutex_lock(&lock);
    memset(owner, 0, sizeof owner);
    memset(used, 0, sizeof used);
    memset(histograms, 0, sizeof histograms);
    pool_used = 0;
    pthread_mutex_unlock(&lock);
}

void count_write_label(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            fprintf(out, "\\%c", *text);
        else if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
}

static void write_set(FILE *out, const char *prefix, enum count_id id, const struct set *set)
{
    const struct figure *figure = &figures[id];

    fprintf(out, "%s%s", prefix, figure->name);
    if (figure->label1 != NULL) {
        fprintf(out, "{%s=\"", figure->label1);
        count_write_label(out, set->label1);
        if (figure->label2 != NULL) {
            fprintf(out, "\",%s=\"", figure->label2);
            count_write_label(out, set->label2);
        }
        fputs("\"}", out);
    }
    fprintf(out, " %.17g\n", set->value);
}

static void write_histogram(FILE *out, const char *prefix, enum count_id id)
{
    const char *name = figures[id].name;
    uint64_t sum = 0;

    for (size_t i = 0; i < BOUND_COUNT; i++) {
        sum += histograms[id].buckets[i];
        fprintf(out, "%s%s_bucket{le=\"%g\"} %llu\n", prefix, name, bounds[i],
                (unsigned long long)sum);
    }
    fprintf(out, "%s%s_bucket{le=\"+Inf\"} %llu\n", prefix, name,
            (unsigned long long)histograms[id].count);
    fprintf(out, "%s%s_sum %.9g\n%s%s_count %llu\n", prefix, name, histograms[id].sum, prefix, name,
            (unsigned long long)histograms[id].count);
}

void count_write(FILE *out, const char *prefix)
{
    static const char *const kinds[] = {"counter", "histogram", "gauge"};
    static const struct set zero;

    pthread_mutex_lock(&lock);
    for (size_t id = 0; id < COUNT_ID_COUNT; id++) {
        const struct figure *figure = &figures[id];
        bool any = false;

        fprintf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, figure->name, figure->help, prefix,
                figure->name, kinds[figure->kind]);
        if (figure->kind == KIND_HISTOGRAM) {
            write_histogram(out, prefix, (enum count_id)id);
            continue;
        }
        for (size_t i = 0; i < pool_used; i++)
            if (owner[i] == id + 1) {
                write_set(out, prefix, (enum count_id)id, &pool[i]);
                any = true;
            }
        if (!any && figure->label1 == NULL && figure->kind == KIND_COUNTER)
            write_set(out, prefix, (enum count_id)id, &zero);
    }
    pthread_mutex_unlock(&lock);
}
