/* Diagnostics: one line each to stderr or a file with rotation (file, file.1 .. file.N).
 *
 * A failed write is swallowed on purpose: there is nobody left to tell, and the relay must go on.
 * The same message again and again is said now and then, with the number of those left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "slsrelay/diag.h"

#include "base/clock.h"
#include "base/storm.h"

enum { LINE_BYTES = 1600 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char name[32];
    char file[512];
    int fd; /* -1: stderr */
    enum slsr_level level;
    bool json;
    bool journal; /* stderr is the journal: priority prefix, no time */
    int64_t max_bytes;
    int64_t backups;
} sink = {.name = "sls-relay", .fd = -1, .level = SLSR_LOG_INFO};

static struct storm storm; /* under lock */

static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
static const int priority[] = {3, 4, 5, 6, 7};

/* $JOURNAL_STREAM is "device:inode" of the journal's socket (systemd.exec(5)): a child whose stderr
 * was redirected inherits the variable, but not the socket. */
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    struct stat st;
    char *colon;

    if (text == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    return strtoull(text, &colon, 10) == st.st_dev && *colon == ':' &&
           strtoull(colon + 1, NULL, 10) == st.st_ino;
}

int diag_open(const struct slsr_log_config *config, const char *program, struct slsr_err *err)
{
    int rc = 0;

    pthread_mutex_lock(&lock);
    snprintf(sink.name, sizeof sink.name, "%s", program);
    sink.level = config->level;
    sink.json = config->json;
    sink.max_bytes = config->max_size_bytes;
    sink.backups = config->backups;
    sink.journal = config->file == NULL && stderr_is_journal();
    if (config->file != NULL) {
        snprintf(sink.file, sizeof sink.file, "%s", config->file);
        sink.fd = open(sink.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (sink.fd < 0)
            rc = slsr_fail(err, errno == EACCES ? SLSR_EPERM : SLSR_ECREATE,
                           "cannot open log.file %s: %s: name a file in a folder that the relay's "
                           "user may write",
                           sink.file, strerror(errno));
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void slsr_std_open(void)
{
    int fd;

    do /* it must outlive an exec: no O_CLOEXEC */
        fd = open("/dev/null", O_RDONLY);
    while (fd >= STDIN_FILENO && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

void slsr_diag_quiet(const char *program)
{
    pthread_mutex_lock(&lock);
    snprintf(sink.name, sizeof sink.name, "%s", program);
    sink.level = SLSR_LOG_ERROR;
    pthread_mutex_unlock(&lock);
}

static void reopen_locked(void)
{
    if (sink.fd < 0)
        return;
    int fd = open(sink.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd >= 0) {
        close(sink.fd);
        sink.fd = fd;
    }
}

void diag_reopen(void)
{
    pthread_mutex_lock(&lock);
    reopen_locked();
    pthread_mutex_unlock(&lock);
}

static void rotate_locked(void)
{
    char from[560];
    char to[560];
    struct stat st;

    if (sink.fd < 0 || sink.max_bytes <= 0 || fstat(sink.fd, &st) != 0 ||
        st.st_size < sink.max_bytes)
        return;
    for (int64_t i = sink.backups; i > 0; i--) {
        if (i == 1)
            snprintf(from, sizeof from, "%s", sink.file);
        else
            snprintf(from, sizeof from, "%s.%lld", sink.file, (long long)(i - 1));
        snprintf(to, sizeof to, "%s.%lld", sink.file, (long long)i);
        if (rename(from, to) != 0 && errno != ENOENT)
            return;
    }
    if (sink.backups <= 0 && ftruncate(sink.fd, 0) != 0)
        return;
    reopen_locked();
}

/* Control characters must not reach a terminal or break the one-line rule; JSON also wants quotes
 * escaped. Bytes >= 0x80 pass. */
static size_t quote(char *out, size_t size, const char *text, bool json)
{
    size_t n = 0;

    for (; *text != '\0' && n + 8 < size; text++) {
        const unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(out + n, size - n, json ? "\\u%04x" : "\\x%02x", c);
        else {
            if (json && (c == '"' || c == '\\'))
                out[n++] = '\\';
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

/* One line, under the lock. */
static void put_locked(enum slsr_level level, const char *area, const char *text)
{
    char clean[LINE_BYTES * 2];
    char line[LINE_BYTES * 2 + 256];
    char when[40];
    const int64_t now = clock_wall_ms();
    const time_t now_s = (time_t)(now / 1000);
    struct tm tm;
    int n;

    quote(clean, sizeof clean, text, sink.json);
    gmtime_r(&now_s, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    if (sink.json)
        n = snprintf(
            line, sizeof line,
            "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"area\":\"%s\",\"message\":\"%s\"}\n", when,
            (int)(now % 1000), names[level], area, clean);
    else if (sink.journal)
        n = snprintf(line, sizeof line, "<%d>%s: %s\n", priority[level], area, clean);
    else
        n = snprintf(line, sizeof line, "%s.%03dZ %s[%d] %s %s: %s\n", when, (int)(now % 1000),
                     sink.name, (int)getpid(), names[level], area, clean);
    if (n < 0)
        return;
    rotate_locked();
    if (write(sink.fd < 0 ? STDERR_FILENO : sink.fd, line, (size_t)n) < 0) {
        /* see the head */
    }
}

static void put_hushed_locked(enum slsr_level level, const char *area, const char *text,
                              uint32_t hushed)
{
    char longer[LINE_BYTES + 64];

    if (hushed > 0) {
        snprintf(longer, sizeof longer, "%s (and %u more like this, not shown)", text, hushed);
        text = longer;
    }
    put_locked(level, area, text);
}

static void over_locked(int64_t now_ms)
{
    const struct storm_slot *slot;

    while ((slot = storm_over(&storm, now_ms)) != NULL)
        put_hushed_locked((enum slsr_level)slot->level, slot->area, slot->text, slot->hushed - 1);
}

void diag_settle(void)
{
    pthread_mutex_lock(&lock);
    over_locked(clock_mono_ms());
    pthread_mutex_unlock(&lock);
}

void diag(enum slsr_level level, const char *area, const char *fmt, ...)
{
    char text[LINE_BYTES];
    uint32_t hushed = 0;
    va_list ap;

    if (level > sink.level)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    if (sink.level == SLSR_LOG_DEBUG ||
        storm_says(&storm, fmt, level, area, text, clock_mono_ms(), &hushed))
        put_hushed_locked(level, area, text, hushed);
    over_locked(clock_mono_ms());
    pthread_mutex_unlock(&lock);
}

void diag_close(void)
{
    pthread_mutex_lock(&lock);
    over_locked(INT64_MAX / 2); /* whatever is left to say */
    if (sink.fd >= 0)
        close(sink.fd);
    sink.fd = -1;
    pthread_mutex_unlock(&lock);
}
