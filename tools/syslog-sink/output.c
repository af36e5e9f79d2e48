/* Appends messages, each with LF, to a file. The owner flushes whenever the sink is idle and before
 * any connection is closed, so that a close seen by the peer means "it is in the file". */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"

enum { BUFFER_BYTES = 1024 * 1024 };

int output_open(struct output *o, const char *path)
{
    *o = (struct output){.fd = -1, .path = path};
    if (path == NULL)
        return 0;
    o->buffer = malloc(BUFFER_BYTES);
    o->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (o->buffer != NULL && o->fd >= 0)
        return 0;
    fprintf(stderr, "syslog-sink: cannot open for writing, %s: %s\n", path, strerror(errno));
    return errno == EACCES ? EXIT_DENIED : EXIT_CANNOT_CREATE;
}

static bool write_all(const struct output *o, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(o->fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            fprintf(stderr, "syslog-sink: cannot write, %s: %s\n", o->path, strerror(errno));
            return false;
        }
        p += done;
        n -= (size_t)done;
    }
    return true;
}

bool output_flush(struct output *o)
{
    size_t n = o->used;

    o->used = 0;
    return n == 0 || write_all(o, o->buffer, n);
}

bool output_message(struct output *o, const char *p, size_t n)
{
    if (o->fd < 0)
        return true;
    if (n + 1 > BUFFER_BYTES - o->used && !output_flush(o))
        return false;
    if (n + 1 > BUFFER_BYTES) /* larger than the buffer, which is empty now */
        return write_all(o, p, n) && write_all(o, "\n", 1);
    memcpy(o->buffer + o->used, p, n);
    o->buffer[o->used + n] = '\n';
    o->used += n + 1;
    return true;
}

void output_close(struct output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    free(o->buffer);
    *o = (struct output){.fd = -1};
}
