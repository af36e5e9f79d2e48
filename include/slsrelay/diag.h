/* The library's own messages, in a program that speaks for itself: a tool says what went wrong in
 * one sentence, and the relay's running commentary would only stand around it. */
#ifndef SLSRELAY_DIAG_H
#define SLSRELAY_DIAG_H

/* From now on only errors are said, in the program's name. Any thread; name is copied. */
void slsr_diag_quiet(const char *program);

/* First thing in a program that opens a spool: descriptors 0 to 2 that are closed become /dev/null,
 * unwritable. Else the next file opened gets such a number, and what is meant for standard output
 * or standard error is written into it. */
void slsr_std_open(void);

#endif
