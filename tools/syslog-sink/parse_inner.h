/* What parse.c and parse3164.c share; nobody else includes this. */
#ifndef SINK_PARSE_INNER_H
#define SINK_PARSE_INNER_H

#include <stdbool.h>
#include <stdint.h>

#include "parse.h"

struct reader {
    const char *p;
    size_t n;
    size_t at;
    size_t violations;
    violation_fn *report;
    void *arg;
};

void reader_flag(struct reader *r, const char *rule, size_t offset, const char *sentence);
/* Two decimal digits at p, or -1. The caller has checked that both bytes are there. */
int reader_two(const char *p);
/* The bytes up to the next space or the end; stands on the space afterwards. */
struct view reader_word(struct reader *r);
bool reader_visible(struct view w);

/* Reads what follows the PRI of an RFC 3164 message. */
void parse_bsd(struct reader *r, struct parsed *out);

#endif
