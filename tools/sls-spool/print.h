/* One frame to standard output in the form that was asked for. */
#ifndef SLS_SPOOL_PRINT_H
#define SLS_SPOOL_PRINT_H

#include "tool.h"

struct printer {
    enum output output;
    bool table;     /* list: one aligned line a frame */
    bool terminal;  /* escape what could steer it */
    size_t columns; /* of the message in a table */
    uint64_t count;
};

void print_begin(struct printer *printer, enum output output, bool table);
void print_frame(struct printer *printer, const struct slsr_frame *frame);
void print_end(struct printer *printer);

#endif
