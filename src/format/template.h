/* Templates: text with `${name}`, `${name|function:argument}`, `${name:-default}`. The language is
 * described in docs/format.md. Compiled once into a flat list of steps. */
#ifndef FORMAT_TEMPLATE_H
#define FORMAT_TEMPLATE_H

#include "format/slots.h"
#include "format/zone.h"

/* Growing text that lives as long as the plan. */
struct text_buf {
    char *p;
    size_t n;
    size_t size;
};

enum func_kind {
    FUNC_UPPER,
    FUNC_LOWER,
    FUNC_TRIM,
    FUNC_TRUNC,
    FUNC_JSON,
    FUNC_QUOTE,
    FUNC_DATE,
    FUNC_BASE
};

struct func {
    enum func_kind kind;
    size_t number;          /* trunc */
    struct slsr_bytes text; /* date */
};

enum { FUNCS_MAX = 4, STEPS_MAX = 512 };

struct step {
    bool is_value;
    struct slsr_bytes text; /* literal, or default */
    uint32_t slot;
    size_t func_count;
    struct func funcs[FUNCS_MAX];
};

struct template
{
    char *memory; /* all texts */
    struct step *steps;
    size_t count;
    bool dynamic; /* depends on the log */
};

/* What a template needs to run. */
struct template_room {
    const struct slots *slots;
    const struct zone *zone;
    struct text_buf scratch[2];
};

/* SLSR_ECONFIG: "column N: reason"; SLSR_ENOMEM. NULL text is the empty template. */
int template_compile(struct template *t, struct slots *slots, const char *text,
                     struct slsr_err *err);
void template_free(struct template *t);
/* Text of one step, valid until the next call. SLSR_ENOMEM. */
int template_step(const struct step *step, struct template_room *room, struct slsr_bytes *out,
                  struct slsr_err *err);
/* `${name}` at text[at], which stands behind "${"; moves *at behind "}". */
int template_name(const char *text, size_t n, size_t *at, char *name, size_t *name_n,
                  struct slsr_err *err);

/* date.c: seconds (or ms, us, ns by their size, with or without fraction) as a date; false: the
 * value is no time. format.n == 0: RFC 3339. */
bool date_put(struct text_buf *out, struct slsr_bytes value, struct slsr_bytes format,
              const struct zone *zone);
/* False with *column when the format has a conversion that is not known. */
bool date_format_valid(struct slsr_bytes format, size_t *column);
/* Longest output for a format of n bytes. */
size_t date_max(size_t n);

/* Makes room for n + TEXT_SLACK behind out->n; keeps what is there. */
int text_more(struct text_buf *out, size_t n, struct slsr_err *err);

#endif
