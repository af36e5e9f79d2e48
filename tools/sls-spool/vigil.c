/* See vigil.h. */
#include "vigil.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 500, SENTENCE = 400, STAT_BYTES = 512 };

struct vigil_page {
    atomic_int turns; /* under way */
    char path[40];    /* of the tool's state */
    char sentence[SENTENCE];
};

/* Does the process of /proc/PID/stat stand still? Its state is the letter behind "(name) ". */
static bool stands_still(const char *path)
{
    char text[STAT_BYTES];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    const char *name_end = n > 0 ? memrchr(text, ')', (size_t)n) : NULL;

    if (fd >= 0)
        close(fd);
    return name_end != NULL && text + n - name_end > 2 &&
           (name_end[2] == 'T' || name_end[2] == 't');
}

/* The child. Of the tool's memory it uses the page; nothing here takes a lock that a thread of the
 * tool may have held when it was copied. */
_Noreturn static void watch(const struct vigil *vigil, pid_t tool)
{
    struct pollfd line = {.fd = STDIN_FILENO, .events = POLLIN};
    const unsigned looks = vigil->seconds * 1000 / LOOK_MS;
    unsigned still = 0;

    setsid(); /* what a terminal sends to the tool is not for us */
    if (dup2(vigil->line, STDIN_FILENO) < 0)
        _exit(0);
    close(STDOUT_FILENO); /* whoever reads from the tool must not wait for us */
    close_range(STDERR_FILENO + 1, ~0U, 0);
    while (still < looks) {
        const int rc = poll(&line, 1, LOOK_MS);

        if (rc > 0 || (rc < 0 && errno != EINTR))
            _exit(0);
        still = vigil->page->turns > 0 && stands_still(vigil->page->path) ? still + 1 : 0;
    }
    if (getppid() == tool && kill(tool, SIGKILL) == 0 &&
        write(STDERR_FILENO, vigil->page->sentence, strlen(vigil->page->sentence)) < 0)
        _exit(1);
    _exit(0);
}

static void start(struct vigil *vigil)
{
    const pid_t tool = getpid();
    int ends[2];

    vigil->page =
        mmap(NULL, sizeof *vigil->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (vigil->page == MAP_FAILED) {
        vigil->page = NULL;
        return;
    }
    snprintf(vigil->page->path, sizeof vigil->page->path, "/proc/%d/stat", (int)tool);
    snprintf(
        vigil->page->sentence, sizeof vigil->page->sentence,
        "sls-spool: it stood still for %u s while it kept the spool locked, and was ended: see "
        "with 'sls-spool status' what holds, then give '%s' again\n",
        vigil->seconds, vigil->name);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    vigil->child = fork();
    if (vigil->child == 0) {
        close(ends[1]);
        vigil->line = ends[0];
        watch(vigil, tool);
    }
    close(ends[0]);
    vigil->line = ends[1];
    if (vigil->child < 0) { /* no process to spare: the order is given all the same */
        close(ends[1]);
        vigil->child = 0;
    }
}

void vigil_turn(void *ctx, bool begins)
{
    struct vigil *vigil = ctx;

    if (vigil->page == NULL && begins)
        start(vigil);
    if (vigil->page != NULL)
        vigil->page->turns += begins ? 1 : -1;
}

void vigil_end(struct vigil *vigil)
{
    if (vigil->child > 0) {
        close(vigil->line);
        while (waitpid(vigil->child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (vigil->page != NULL)
        munmap(vigil->page, sizeof *vigil->page);
    vigil->page = NULL;
    vigil->child = 0;
}
