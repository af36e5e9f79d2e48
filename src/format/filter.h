/* Filters: `status >= 500 and not (verb == "get" or path ~ "^/health")`. The language is described
 * in docs/format.md. Compiled once into a flat list of tests and jumps; HOT per log only when there
 * is one. */
#ifndef FORMAT_FILTER_H
#define FORMAT_FILTER_H

#include "format/slots.h"

struct filter;

enum filter_result {
    FILTER_FALSE,
    FILTER_TRUE,
    FILTER_UNKNOWN /* a regular expression ran into its limit */
};

/* SLSR_ECONFIG: "column N: reason", N counted from `first` (1 for a text of its own). */
int filter_compile(struct filter **out, struct slots *slots, const char *text, size_t n,
                   size_t first, struct slsr_err *err);
void filter_free(struct filter *filter);
enum filter_result filter_run(const struct filter *filter, const struct slots *slots);

/* filter_parse.c -> filter.c */
enum test_kind {
    TEST_EXISTS,
    TEST_EQUAL, /* bytes */
    TEST_CONTAINS,
    TEST_STARTS,
    TEST_ENDS,
    TEST_NUMBER_EQUAL,
    TEST_LESS,
    TEST_LESS_EQUAL,
    TEST_MORE,
    TEST_MORE_EQUAL,
    TEST_REGEX,
    OP_NOT,
    OP_JUMP_FALSE, /* the rest of an "and" */
    OP_JUMP_TRUE   /* the rest of an "or" */
};

struct number {
    bool whole;
    int64_t i;
    double d;
};

struct regex;

struct op {
    enum test_kind kind;
    uint32_t slot;
    uint32_t jump;          /* number of the next op */
    struct slsr_bytes text; /* owned */
    struct number number;
    struct regex *regex; /* owned */
};

enum { OPS_MAX = 4096 };

struct filter {
    struct op *ops;
    size_t count, size;
};

/* Whole text as a number: sign, digits, point, exponent. */
bool number_parse(struct slsr_bytes text, struct number *out);
int regex_new(struct regex **out, struct slsr_bytes pattern, size_t *bad, struct slsr_err *err);
void regex_free(struct regex *regex);

#endif
