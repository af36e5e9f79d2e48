/* Templates: compiling, and the text of one step.
 *
 * A literal costs nothing at run time, a value one look into its slot, a function one pass over the
 * value into one of two scratch buffers that grow and are kept. */
#include <stdlib.h>

#include "format/escape.h"
#include "format/template.h"

static const char digits[] = "0123456789";

static const struct {
    const char *name;
    enum func_kind kind;
    enum { ARG_NONE, ARG_NUMBER, ARG_MAY } arg;
} functions[] = {
    {"upper", FUNC_UPPER, ARG_NONE}, {"lower", FUNC_LOWER, ARG_NONE},
    {"trim", FUNC_TRIM, ARG_NONE},   {"trunc", FUNC_TRUNC, ARG_NUMBER},
    {"json", FUNC_JSON, ARG_NONE},   {"quote", FUNC_QUOTE, ARG_NONE},
    {"date", FUNC_DATE, ARG_MAY},    {"base", FUNC_BASE, ARG_NONE},
};
enum { FUNCTIONS = sizeof(functions) / sizeof(functions[0]) };

struct compiler {
    const char *text;
    size_t n, at;
    char *memory;
    size_t used;
    struct slots *slots;
    struct slsr_err *err;
};

static int at_column(const struct compiler *c, size_t at, const char *what, const char *hint)
{
    return slsr_fail(c->err, SLSR_ECONFIG, "column %zu: %s%s", at + 1, what, hint);
}

/* Copies up to an unescaped end mark: "|", "}", or ":-" where a default may follow. A backslash
 * takes the next byte as it is. */
static struct slsr_bytes take(struct compiler *c, bool bar, bool colon_minus, bool colon)
{
    char *start = c->memory + c->used;
    while (c->at < c->n) {
        char b = c->text[c->at];
        bool minus = b == ':' && c->at + 1 < c->n && c->text[c->at + 1] == '-';
        if (b == '}' || (bar && b == '|') || (colon_minus && minus) || (colon && b == ':'))
            break;
        if (b == '\\' && c->at + 1 < c->n)
            b = c->text[++c->at];
        c->memory[c->used++] = b;
        c->at++;
    }
    return (struct slsr_bytes){start, (size_t)(c->memory + c->used - start)};
}

static int read_argument(struct compiler *c, struct func *f, size_t which)
{
    size_t from = c->at;
    bool given =
        c->at < c->n && c->text[c->at] == ':' && !(c->at + 1 < c->n && c->text[c->at + 1] == '-');
    if (given) {
        c->at++;
        f->text = take(c, true, true, false);
    }
    if (functions[which].arg == ARG_NONE && given)
        return at_column(c, from, functions[which].name, " takes no argument");
    if (functions[which].arg == ARG_NUMBER) {
        size_t n = f->text.n;
        if (n == 0 || n > 7 || strspn(f->text.p, digits) < n)
            return at_column(c, from, functions[which].name,
                             " wants a number of characters: trunc:20");
        for (size_t i = 0; i < n; i++)
            f->number = f->number * 10 + (size_t)(f->text.p[i] - '0');
    }
    size_t bad;
    if (f->kind == FUNC_DATE && !date_format_valid(f->text, &bad))
        return at_column(c, from + 1 + bad, "date does not know this conversion", "");
    return 0;
}

static int read_function(struct compiler *c, struct step *step)
{
    size_t from = c->at;
    struct slsr_bytes name = take(c, true, true, true);
    if (step->func_count == FUNCS_MAX)
        return at_column(c, from, "more functions than can be put in a row", "");
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (slsr_bytes_equal(name, slsr_bytes_of(functions[i].name))) {
            struct func *f = &step->funcs[step->func_count++];
            *f = (struct func){.kind = functions[i].kind, .text = {"", 0}};
            c->memory[c->used++] = '\0';
            int rc = read_argument(c, f, i);
            c->memory[c->used++] = '\0';
            return rc;
        }
    return slsr_fail(c->err, SLSR_ECONFIG,
                     "column %zu: \"%.*s\" is no function: use upper, lower, trim, trunc, json, "
                     "quote, date or base",
                     from + 1, name.n > 40 ? 40 : (int)name.n, name.p);
}

/* Behind "${". */
static int read_value(struct compiler *c, struct step *step)
{
    size_t from = c->at;
    int rc;
    *step = (struct step){.is_value = true, .text = {"", 0}};
    struct slsr_bytes name = take(c, true, true, false);
    if (name.n == 0)
        return at_column(c, from, "the name of a field is missing behind ${", "");
    if ((rc = slots_want(c->slots, name, &step->slot, c->err)) != 0)
        return rc;
    while (c->at < c->n && c->text[c->at] == '|') {
        c->at++;
        if ((rc = read_function(c, step)) != 0)
            return rc;
    }
    if (c->at + 1 < c->n && c->text[c->at] == ':') {
        c->at += 2;
        step->text = take(c, false, false, false);
    }
    if (c->at >= c->n)
        return at_column(c, from - 2, "${ has no closing }", "");
    c->at++;
    return 0;
}

static bool starts_value(const struct compiler *c)
{
    return c->n - c->at >= 2 && c->text[c->at] == '$' && c->text[c->at + 1] == '{';
}

/* Up to the next "${"; "$${" is a literal "${". */
static void read_literal(struct compiler *c, struct step *step)
{
    char *start = c->memory + c->used;
    while (c->at < c->n && !starts_value(c)) {
        if (c->n - c->at >= 3 && memcmp(c->text + c->at, "$${", 3) == 0) {
            c->memory[c->used++] = '$';
            c->memory[c->used++] = '{';
            c->at += 3;
            continue;
        }
        c->memory[c->used++] = c->text[c->at++];
    }
    *step = (struct step){.text = {start, (size_t)(c->memory + c->used - start)}};
}

int template_compile(struct template *t, struct slots *slots, const char *text,
                     struct slsr_err *err)
{
    struct compiler c = {.text = text != NULL ? text : "", .slots = slots, .err = err};
    size_t most = 1;
    int rc = 0;

    *t = (struct template){0};
    c.n = strlen(c.text);
    for (size_t i = 0; i + 1 < c.n; i++)
        most += c.text[i] == '$' && c.text[i + 1] == '{' ? 2 : 0;
    if (most > STEPS_MAX)
        return slsr_fail(err, SLSR_ECONFIG, "column 1: more than %d values", STEPS_MAX / 2);
    t->memory = c.memory = calloc(1, 2 * c.n + 1); /* functions add two NULs */
    t->steps = calloc(most, sizeof(*t->steps));
    if (t->memory == NULL || t->steps == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for a template");
    while (rc == 0 && c.at < c.n) {
        struct step *step = &t->steps[t->count++];
        if (starts_value(&c)) {
            c.at += 2;
            rc = read_value(&c, step);
            t->dynamic = true;
        } else {
            read_literal(&c, step);
        }
    }
    if (rc != 0)
        template_free(t);
    return rc;
}

void template_free(struct template *t)
{
    free(t->memory);
    free(t->steps);
    *t = (struct template){0};
}

int template_name(const char *text, size_t n, size_t *at, char *name, size_t *name_n,
                  struct slsr_err *err)
{
    struct compiler c = {.text = text, .n = n, .at = *at, .memory = name, .err = err};
    struct slsr_bytes got = take(&c, false, false, false);
    if (got.n == 0 || c.at >= n)
        return at_column(
            &c, *at - 2,
            got.n == 0 ? "the name of a field is missing behind ${" : "${ has no closing }", "");
    *at = c.at + 1;
    *name_n = got.n;
    return 0;
}

static void put_case(struct text_buf *out, struct slsr_bytes in, bool upper)
{
    for (size_t i = 0; i < in.n; i++) {
        char b = in.p[i];
        bool letter = upper ? b >= 'a' && b <= 'z' : b >= 'A' && b <= 'Z';
        out->p[out->n++] = (char)(letter ? b ^ 0x20 : b);
    }
}

/* The first `count` characters; a byte that is none counts as one. */
static struct slsr_bytes first_chars(struct slsr_bytes in, size_t count)
{
    size_t at = 0;
    for (; count > 0 && at < in.n; count--) {
        int n = utf8_length((const uint8_t *)in.p + at, in.n - at);
        at += (size_t)(n < 0 ? -n : n);
    }
    return (struct slsr_bytes){in.p, at};
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slsr_bytes trimmed(struct slsr_bytes in)
{
    while (in.n > 0 && is_blank(in.p[0])) {
        in.p++;
        in.n--;
    }
    while (in.n > 0 && is_blank(in.p[in.n - 1]))
        in.n--;
    return in;
}

/* Behind the last "/" or "\". */
static struct slsr_bytes base_name(struct slsr_bytes in)
{
    size_t i = in.n;
    while (i > 0 && in.p[i - 1] != '/' && in.p[i - 1] != '\\')
        i--;
    return (struct slsr_bytes){in.p + i, in.n - i};
}

static void put_quoted(struct text_buf *out, struct slsr_bytes in)
{
    out->p[out->n++] = '"';
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '"' || in.p[i] == '\\')
            out->p[out->n++] = '\\';
        out->p[out->n++] = in.p[i];
    }
    out->p[out->n++] = '"';
}

static void put_json(struct text_buf *out, struct slsr_bytes in)
{
    static const struct text_rules rules = {TEXT_JSON, SLSR_NL_ESCAPE, SLSR_UTF8_REPLACE};
    out->p[out->n++] = '"';
    out->n = (size_t)(text_put(out->p + out->n, in, &rules) - out->p);
    out->p[out->n++] = '"';
}

static struct slsr_bytes apply(const struct func *f, struct text_buf *out, struct slsr_bytes in,
                               const struct zone *zone)
{
    switch (f->kind) {
    case FUNC_TRIM:
        return trimmed(in);
    case FUNC_TRUNC:
        return first_chars(in, f->number);
    case FUNC_BASE:
        return base_name(in);
    case FUNC_UPPER:
    case FUNC_LOWER:
        put_case(out, in, f->kind == FUNC_UPPER);
        break;
    case FUNC_JSON:
        put_json(out, in);
        break;
    case FUNC_QUOTE:
        put_quoted(out, in);
        break;
    case FUNC_DATE:
        if (!date_put(out, in, f->text, zone))
            return in;
        break;
    }
    return (struct slsr_bytes){out->p, out->n};
}

int template_step(const struct step *step, struct template_room *room, struct slsr_bytes *out,
                  struct slsr_err *err)
{
    *out = step->text;
    if (!step->is_value)
        return 0;
    const struct slot *slot = &room->slots->items[step->slot];
    if (!slot->found || slot->value.n == 0)
        return 0; /* the default */
    struct slsr_bytes value = slot->value;
    for (size_t i = 0; i < step->func_count; i++) {
        /* The buffer in which the value does not stand: trim and its like leave it where it is. */
        const struct text_buf *first = &room->scratch[0];
        bool there = first->p != NULL && value.p >= first->p && value.p <= first->p + first->size;
        struct text_buf *to = &room->scratch[there];
        to->n = 0;
        size_t most = value.n * TEXT_GROWTH + 2 + date_max(step->funcs[i].text.n);
        int rc = text_more(to, most, err);
        if (rc != 0)
            return rc;
        value = apply(&step->funcs[i], to, value, room->zone);
    }
    *out = value;
    return 0;
}
