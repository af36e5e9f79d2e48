/* Stands between a program and the files of one folder (LD_PRELOAD). Not thread by thread but one
 * call at a time, so that its log has one order.
 *
 *   SLSR_IO_DIR=PATH           the folder that is watched (absolute); lock files are left alone
 *   SLSR_IO_LOG=FILE           writes down every change, barrier and line on standard output:
 *                              a text line "OP ID A B N" and N bytes (data or a path); see log_op
 *   SLSR_IO_FAIL=WHAT:N:ERRNO:TIMES   the N-th call of a kind and the TIMES - 1 after it fail: WHAT
 * is write, short (half is written, then ERRNO), sync, open, unlink
 *   SLSR_IO_SWITCH=FILE        while this file says WHAT:ERRNO, every call of that kind fails
 *   SLSR_IO_NOSYNC=1           barriers do nothing but say that they did: the sabotage that the
 * power-loss test must notice */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 4096, FILES = 65536, DSYNC = 1, DIRECTORY = 2 };

struct file {
    char *path; /* NULL: unlinked */
};

static struct file files[FILES];
static int file_count;
static int fd_file[FDS]; /* id + 1 of the file behind a descriptor; 0: not watched */
static int fd_flags[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_len;
static int log_fd = -1;
static bool no_sync;
static struct {
    char what[8];
    long at, times, seen;
    int error;
} plan;
static const char *switch_path;

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, name)

static ssize_t real_write(int fd, const void *data, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, n);
}

static ssize_t real_pwrite(int fd, const void *data, size_t n, off_t at)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return real(fd, data, n, at);
}

__attribute__((constructor)) static void begin(void)
{
    const char *fail = getenv("SLSR_IO_FAIL");
    const char *log = getenv("SLSR_IO_LOG");
    char name[16] = "EIO";

    folder = getenv("SLSR_IO_DIR");
    folder_len = folder != NULL ? strlen(folder) : 0;
    no_sync = getenv("SLSR_IO_NOSYNC") != NULL;
    switch_path = getenv("SLSR_IO_SWITCH");
    if (log != NULL)
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fail != NULL &&
        sscanf(fail, "%7[^:]:%ld:%15[^:]:%ld", plan.what, &plan.at, name, &plan.times) == 4)
        plan.error = strcmp(name, "ENOSPC") == 0 ? ENOSPC : EIO;
}

static void log_op(char op, int id, long long a, long long b, const void *data, size_t n)
{
    char head[96];
    const int len = snprintf(head, sizeof head, "%c %d %lld %lld %zu\n", op, id, a, b, n);

    if (log_fd < 0)
        return;
    if (real_write(log_fd, head, (size_t)len) != len ||
        (n > 0 && real_write(log_fd, data, n) != (ssize_t)n))
        abort(); /* a log with a hole proves nothing */
}

/* Asked at every call, so that somebody outside can break and mend a running program. */
static bool switched_on(const char *what)
{
    char text[32] = "";
    char kind[8] = "";
    char name[16] = "";
    const int fd = switch_path != NULL ? open(switch_path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0 || sscanf(text, "%7[^:]:%15s", kind, name) != 2 || strcmp(kind, what) != 0)
        return false;
    plan.error = strcmp(name, "ENOSPC") == 0 ? ENOSPC : EIO;
    return true;
}

static bool due(const char *what)
{
    if (switched_on(what))
        return true;
    if (plan.error == 0 || strcmp(plan.what, what) != 0)
        return false;
    plan.seen++;
    return plan.seen >= plan.at && plan.seen < plan.at + plan.times;
}

static bool watched(const char *path)
{
    const size_t n = path != NULL ? strlen(path) : 0;

    if (folder == NULL || n < folder_len || strncmp(path, folder, folder_len) != 0)
        return false;
    return !(n > 5 && strcmp(path + n - 5, "-lock") == 0) &&
           !(n > 5 && strcmp(path + n - 5, "/LOCK") == 0);
}

static int id_of(const char *path)
{
    for (int i = file_count; i-- > 0;)
        if (files[i].path != NULL && strcmp(files[i].path, path) == 0)
            return i;
    return -1;
}

static int add(const char *path)
{
    if (file_count >= FILES)
        abort();
    files[file_count].path = strdup(path);
    return file_count++;
}

static int watch_open(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode)
{
    struct stat st;
    int fd;

    if (!watched(path))
        return real(path, flags, mode);
    pthread_mutex_lock(&lock);
    const bool fresh = stat(path, &st) != 0;
    if ((flags & O_DIRECTORY) == 0 && due("open")) {
        pthread_mutex_unlock(&lock);
        errno = plan.error;
        return -1;
    }
    fd = real(path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        int id = fresh ? -1 : id_of(path);

        if (id < 0) {
            id = add(path);
            log_op(fresh ? 'C' : 'O', id, 0, 0, path, strlen(path));
        }
        if (!fresh && (flags & O_TRUNC) != 0)
            log_op('T', id, 0, 0, NULL, 0);
        fd_file[fd] = id + 1;
        fd_flags[fd] = (flags & O_DSYNC) != 0 ? DSYNC : 0;
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
            fd_flags[fd] |= DIRECTORY;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPENER(name, real_name)                                                                    \
    int name(const char *path, int flags, ...);                                                    \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list ap;                                                                                \
        mode_t mode;                                                                               \
        REAL(int, real_name, const char *, int, ...);                                              \
        va_start(ap, flags);                                                                       \
        mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;                      \
        va_end(ap);                                                                                \
        return watch_open(real, path, flags, mode);                                                \
    }
OPENER(open, "open")
OPENER(open64, "open64")
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open(path, flags);
}
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
    return open(path, flags);
}

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0 && fd < FDS && fd_file[fd] != 0) {
        pthread_mutex_lock(&lock);
        fd_file[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return real(fd);
}

/* One write of any kind. */
static ssize_t watch_write(int fd, const void *data, size_t n, off_t at)
{
    ssize_t done;
    size_t part = n;

    pthread_mutex_lock(&lock);
    if (due("write")) {
        pthread_mutex_unlock(&lock);
        errno = plan.error;
        return -1;
    }
    if (due("short"))
        part = n / 2;
    if (due("late")) {
        if (plan.seen == plan.at)
            done = real_pwrite(fd, data, n, at);
        pthread_mutex_unlock(&lock);
        errno = plan.error;
        return -1;
    }
    done = real_pwrite(fd, data, part, at);
    if (done > 0)
        log_op('W', fd_file[fd] - 1, at, (fd_flags[fd] & DSYNC) != 0 && !no_sync, data,
               (size_t)done);
    pthread_mutex_unlock(&lock);
    if (part == n || done > 0)
        return done;
    errno = plan.error;
    return -1;
}

static bool is_watched(int fd)
{
    return fd >= 0 && fd < FDS && fd_file[fd] != 0;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return is_watched(fd) ? watch_write(fd, data, n, at) : real_pwrite(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    return pwrite(fd, data, n, at);
}

static ssize_t watch_vector(int fd, const struct iovec *v, int count, off_t at)
{
    size_t n = 0;
    char *all;
    ssize_t done;

    for (int i = 0; i < count; i++)
        n += v[i].iov_len;
    all = malloc(n);
    if (all == NULL)
        abort();
    n = 0;
    for (int i = 0; i < count; i++) {
        memcpy(all + n, v[i].iov_base, v[i].iov_len);
        n += v[i].iov_len;
    }
    done = watch_write(fd, all, n, at);
    free(all);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    return is_watched(fd) ? watch_vector(fd, v, count, at) : real(fd, v, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at)
{
    return pwritev(fd, v, count, at);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (!is_watched(fd))
        return real(fd, v, count);
    const ssize_t done = watch_vector(fd, v, count, lseek(fd, 0, SEEK_CUR));
    if (done > 0)
        lseek(fd, done, SEEK_CUR);
    return done;
}

ssize_t write(int fd, const void *data, size_t n)
{
    ssize_t done;

    if (is_watched(fd)) {
        done = watch_write(fd, data, n, lseek(fd, 0, SEEK_CUR));
        if (done > 0)
            lseek(fd, done, SEEK_CUR);
        return done;
    }
    if (fd != 1)
        return real_write(fd, data, n);
    pthread_mutex_lock(&lock);
    log_op('A', 0, 0, 0, data, n);
    done = real_write(fd, data, n);
    pthread_mutex_unlock(&lock);
    return done;
}

static int watch_sync(int (*real)(int), int fd)
{
    int rc = -1;

    if (!is_watched(fd))
        return real(fd);
    pthread_mutex_lock(&lock);
    if (due("sync")) {
        errno = plan.error;
    } else if (no_sync) {
        rc = 0;
    } else {
        rc = real(fd);
        if (rc == 0)
            log_op((fd_flags[fd] & DIRECTORY) != 0 ? 'D' : 'S', fd_file[fd] - 1, 0, 0,
                   files[fd_file[fd] - 1].path,
                   files[fd_file[fd] - 1].path != NULL ? strlen(files[fd_file[fd] - 1].path) : 0);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return watch_sync(real, fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return watch_sync(real, fd);
}

int ftruncate(int fd, off_t size)
{
    REAL(int, "ftruncate", int, off_t);
    if (!is_watched(fd))
        return real(fd, size);
    pthread_mutex_lock(&lock);
    const int rc = real(fd, size);
    if (rc == 0)
        log_op('T', fd_file[fd] - 1, size, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    if (!watched(path))
        return real(path);
    pthread_mutex_lock(&lock);
    int rc = -1;
    if (due("unlink"))
        errno = plan.error;
    else
        rc = real(path);
    if (rc == 0) {
        const int id = id_of(path);

        log_op('U', id, 0, 0, path, strlen(path));
        if (id >= 0) {
            free(files[id].path);
            files[id].path = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    if (!watched(from) && !watched(to))
        return real(from, to);
    pthread_mutex_lock(&lock);
    const int rc = real(from, to);
    if (rc == 0) {
        const int id = id_of(from);
        const int over = id_of(to);

        log_op('U', over, 0, 0, to, strlen(to));
        log_op('N', id, 0, 0, to, strlen(to));
        log_op('U', id, 0, 0, from, strlen(from));
        if (over >= 0) {
            free(files[over].path);
            files[over].path = NULL;
        }
        if (id >= 0) {
            free(files[id].path);
            files[id].path = strdup(to);
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    if (!watched(path))
        return real(path, mode);
    pthread_mutex_lock(&lock);
    const int rc = real(path, mode);
    if (rc == 0)
        log_op('M', 0, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return rc;
}
