/* The file that messages are appended to: one large buffer in front of write(). One thread. */
#ifndef SINK_OUTPUT_H
#define SINK_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct output {
    int fd; /* -1: nothing is written */
    const char *path;
    char *buffer;
    size_t used;
};

/* path NULL: output_message does nothing. Returns 0 or the exit code (told on stderr). */
int output_open(struct output *o, const char *path);
/* Both return false when the file took no more (told on stderr). */
bool output_message(struct output *o, const char *p, size_t n);
bool output_flush(struct output *o);
void output_close(struct output *o);

#endif
