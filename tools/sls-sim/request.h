/* One HTTP request as the calls see it, one answer as they give it, and the error in between.
 *
 * The request keeps the target as it came over the wire (signatures need that) next to the decoded
 * parts. Nothing here knows the HTTP library. */
#ifndef SIM_REQUEST_H
#define SIM_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum {
    REQUEST_BODY_MAX = 16 << 20, /* the service takes 10 MB; more than that is only counted */
    REQUEST_SEGMENTS = 6,
    NAME_SIZE = 256,
    ERROR_CODE_SIZE = 64,
    ANSWER_HEADERS = 16,
};

struct pair {
    char *name;
    char *value;
};

struct pairs {
    struct pair *v;
    size_t n;
    size_t size;
};

struct request {
    const char *method;                  /* borrowed from the HTTP library or the test */
    char *target;                        /* as sent: path and query */
    char *path;                          /* as sent, without the query */
    char *segment[REQUEST_SEGMENTS + 1]; /* decoded path parts; NULL behind the last */
    size_t segments;
    struct pairs params; /* decoded, in the order sent */
    struct pairs headers;
    struct buf body;
    size_t body_total;       /* bytes received, more than body.n when it was too large */
    char project[NAME_SIZE]; /* first label of Host; empty: none */
    char peer[64];           /* client address */
};

/* Splits and decodes the target. False: it is malformed (bad escape, NUL, too deep, no slash). */
bool request_parse(struct request *r, const char *target);

/* Finds the project in the Host header. A bare address, localhost or one label: none. */
void request_find_project(struct request *r);

void request_fini(struct request *r);

void pairs_add(struct pairs *list, const char *name, const char *value);
void pairs_fini(struct pairs *list);

/* Values; NULL when absent. Headers compare without case. */
const char *request_header(const struct request *r, const char *name);
const char *request_param(const struct request *r, const char *name);

struct answer {
    int status; /* 200, or that of the error */
    char code[ERROR_CODE_SIZE];
    struct buf body;
    const void *fixed; /* when not NULL this is the body: borrowed, lives as long as the program */
    size_t fixed_n;
    const char *type; /* Content-Type, NULL when the body is empty */
    struct {
        const char *name; /* a literal */
        char value[64];
    } header[ANSWER_HEADERS];
    size_t headers;
};

void answer_header(struct answer *a, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Turns the answer into an error body {"errorCode", "errorMessage"}; returns -1 for `return`. */
int answer_error(struct answer *a, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Takes a heap string as the JSON body. */
void answer_json(struct answer *a, char *text);

void answer_fini(struct answer *a);

#endif
