/* The event loop of syslog-sink. */
#ifndef SINK_RECEIVE_H
#define SINK_RECEIVE_H

#include "sink.h"

/* Opens what s->o asks for, says so on stdout, receives until TERM or INT. Returns the exit code.
 */
int receive_run(struct sink *s);

#endif
