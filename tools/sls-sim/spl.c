/* A recursive-descent parser and an evaluator over the tree that it makes, see spl.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "spl.h"

enum { DEPTH_MAX = 64, TERMS_MAX = 500 }; /* the tree is walked by recursion */

enum node_kind { NODE_AND, NODE_OR, NODE_NOT, NODE_EQUAL, NODE_LIKE, NODE_NULL, NODE_NUMBER };

struct node {
    enum node_kind kind;
    struct node *left, *right;
    char *field;
    char *text; /* EQUAL, LIKE */
    int below;  /* NUMBER: is this relation true, for the three outcomes */
    int same;
    int above;
    long long number;
};

struct spl {
    struct node *condition; /* NULL: everything passes */
};

struct parser {
    const char *at;
    char *why;
    int depth;
    int terms;
};

static void free_node(struct node *n)
{
    if (n == NULL)
        return;
    free_node(n->left);
    free_node(n->right);
    free(n->field);
    free(n->text);
    free(n);
}

static struct node *new_node(enum node_kind kind, struct node *left, struct node *right)
{
    struct node *n = xalloc(sizeof *n);

    n->kind = kind;
    n->left = left;
    n->right = right;
    return n;
}

static void skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static void *complain(struct parser *p, const char *wanted)
{
    if (p->why[0] == '\0')
        snprintf(p->why, 128, "%s expected at '%.40s'", wanted, p->at);
    return NULL;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == ':' || c == '.' || c == '-' ||
           (unsigned char)c >= 0x80;
}

/* Takes a keyword or sign when it stands here. */
static bool take(struct parser *p, const char *token)
{
    size_t n = strlen(token);

    skip_blanks(p);
    if (strncasecmp(p->at, token, n) != 0 ||
        (isalpha((unsigned char)token[0]) && is_word(p->at[n])))
        return false;
    p->at += n;
    return true;
}

/* Text between two quotes; a doubled quote stands for one. */
static char *quoted(struct parser *p, char quote)
{
    struct buf text = {0};

    for (p->at++; *p->at != '\0'; p->at++) {
        if (*p->at == quote && p->at[1] != quote)
            break;
        if (*p->at == quote)
            p->at++;
        buf_byte(&text, (unsigned char)*p->at);
    }
    if (*p->at != quote) {
        buf_fini(&text);
        return complain(p, "the closing quote");
    }
    p->at++;
    buf_byte(&text, '\0');
    return text.p;
}

static char *field_name(struct parser *p)
{
    struct buf name = {0};

    skip_blanks(p);
    if (*p->at == '"')
        return quoted(p, '"');
    while (is_word(*p->at))
        buf_byte(&name, (unsigned char)*p->at++);
    if (name.n == 0)
        return complain(p, "a field name");
    buf_byte(&name, '\0');
    return name.p;
}

static char *literal(struct parser *p)
{
    skip_blanks(p);
    return *p->at == '\'' ? quoted(p, '\'') : complain(p, "a text in single quotes");
}

static struct node *compare(enum node_kind kind, const char *field, char *text)
{
    struct node *n = new_node(kind, NULL, NULL);

    n->field = xstrdup(field);
    n->text = text;
    return n;
}

/* field in ('a', 'b'): one equality for each, joined with or. */
static struct node *any_of(struct parser *p, const char *field)
{
    struct node *all = NULL;

    if (!take(p, "("))
        return complain(p, "(");
    do {
        char *text = literal(p);
        struct node *one;

        if (text != NULL && ++p->terms > TERMS_MAX) {
            free(text);
            text = complain(p, "a shorter condition");
        }
        if (text == NULL) {
            free_node(all);
            return NULL;
        }
        one = compare(NODE_EQUAL, field, text);
        all = all == NULL ? one : new_node(NODE_OR, all, one);
    } while (take(p, ","));
    if (!take(p, ")")) {
        free_node(all);
        return complain(p, ")");
    }
    return all;
}

/* A null field fails both a comparison and its opposite. */
static struct node *present_and_not(const char *field, struct node *n)
{
    struct node *absent = compare(NODE_NULL, field, NULL);

    if (n == NULL) {
        free_node(absent);
        return NULL;
    }
    return new_node(NODE_AND, new_node(NODE_NOT, absent, NULL), new_node(NODE_NOT, n, NULL));
}

static struct node *text_comparison(struct parser *p, const char *field)
{
    bool unequal;
    char *text;

    if (take(p, "is")) {
        bool negated = take(p, "not");

        if (!take(p, "null"))
            return complain(p, "null");
        return negated ? new_node(NODE_NOT, compare(NODE_NULL, field, NULL), NULL)
                       : compare(NODE_NULL, field, NULL);
    }
    if (take(p, "not")) {
        if (take(p, "in"))
            return present_and_not(field, any_of(p, field));
        if (!take(p, "like"))
            return complain(p, "in or like");
        text = literal(p);
        return text == NULL ? NULL : present_and_not(field, compare(NODE_LIKE, field, text));
    }
    if (take(p, "in"))
        return any_of(p, field);
    if (take(p, "like")) {
        text = literal(p);
        return text == NULL ? NULL : compare(NODE_LIKE, field, text);
    }
    unequal = take(p, "!=") || take(p, "<>");
    if (!unequal && !take(p, "=="))
        if (!take(p, "="))
            return complain(p, "=, !=, like, in or is");
    text = literal(p);
    if (text == NULL)
        return NULL;
    return unequal ? present_and_not(field, compare(NODE_EQUAL, field, text))
                   : compare(NODE_EQUAL, field, text);
}

static struct node *number_comparison(struct parser *p)
{
    static const struct {
        const char *sign;
        int below, same, above;
    } relations[] = {{"<=", 1, 1, 0}, {">=", 0, 1, 1}, {"!=", 1, 0, 1}, {"<>", 1, 0, 1},
                     {"==", 0, 1, 0}, {"=", 0, 1, 0},  {"<", 1, 0, 0},  {">", 0, 0, 1}};
    struct node *n;
    char *field;
    char *end;
    size_t i = 0;

    field = take(p, "(") ? field_name(p) : complain(p, "(");
    if (field == NULL)
        return NULL;
    n = compare(NODE_NUMBER, field, NULL);
    free(field);
    if (!take(p, "as") || !take(p, "bigint") || !take(p, ")")) {
        free_node(n);
        return complain(p, "as bigint)");
    }
    while (i < sizeof relations / sizeof *relations && !take(p, relations[i].sign))
        i++;
    skip_blanks(p);
    if (i == sizeof relations / sizeof *relations ||
        (!isdigit((unsigned char)*p->at) && *p->at != '-')) {
        free_node(n);
        return complain(p, "a comparison with a number");
    }
    n->below = relations[i].below;
    n->same = relations[i].same;
    n->above = relations[i].above;
    n->number = strtoll(p->at, &end, 10);
    p->at = end;
    return n;
}

static struct node *parse_or(struct parser *p);

static struct node *parse_single(struct parser *p)
{
    struct node *n;
    char *field;

    if (++p->depth > DEPTH_MAX || ++p->terms > TERMS_MAX)
        return complain(p, "a simpler condition");
    if (take(p, "not")) {
        n = parse_single(p);
        p->depth--;
        return n == NULL ? NULL : new_node(NODE_NOT, n, NULL);
    }
    if (take(p, "(")) {
        n = parse_or(p);
        p->depth--;
        if (n != NULL && !take(p, ")")) {
            free_node(n);
            return complain(p, ")");
        }
        return n;
    }
    p->depth--;
    if (take(p, "cast"))
        return number_comparison(p);
    field = field_name(p);
    if (field == NULL)
        return NULL;
    n = text_comparison(p, field);
    free(field);
    return n;
}

static struct node *parse_and(struct parser *p)
{
    struct node *all = parse_single(p);

    while (all != NULL && take(p, "and")) {
        struct node *more = parse_single(p);

        if (more == NULL) {
            free_node(all);
            return NULL;
        }
        all = new_node(NODE_AND, all, more);
    }
    return all;
}

static struct node *parse_or(struct parser *p)
{
    struct node *all = parse_and(p);

    while (all != NULL && take(p, "or")) {
        struct node *more = parse_and(p);

        if (more == NULL) {
            free_node(all);
            return NULL;
        }
        all = new_node(NODE_OR, all, more);
    }
    return all;
}

struct spl *spl_parse(const char *query, char why[128])
{
    struct parser p = {.at = query, .why = why};
    struct spl *spl = xalloc(sizeof *spl);
    struct node *n;

    why[0] = '\0';
    skip_blanks(&p);
    if (*p.at == '\0')
        return spl;
    if (!take(&p, "*"))
        complain(&p, "* in front");
    while (why[0] == '\0') {
        skip_blanks(&p);
        if (*p.at == '\0')
            return spl;
        if (!take(&p, "|") || !take(&p, "where")) {
            complain(&p, "| where");
            break;
        }
        n = parse_or(&p);
        if (n == NULL)
            break;
        spl->condition = spl->condition == NULL ? n : new_node(NODE_AND, spl->condition, n);
    }
    spl_free(spl);
    return NULL;
}

void spl_free(struct spl *spl)
{
    if (spl != NULL)
        free_node(spl->condition);
    free(spl);
}

/* % is any text, _ any byte. Remembers the last %: no recursion, no explosion. */
static bool like(struct span text, const char *pattern)
{
    const char *star = NULL;
    size_t back = 0;
    size_t i = 0;

    while (i < text.n) {
        if (*pattern == '%') {
            star = ++pattern;
            back = i;
        } else if (*pattern != '\0' && (*pattern == '_' || (uint8_t)*pattern == text.p[i])) {
            pattern++;
            i++;
        } else if (star != NULL) {
            pattern = star;
            i = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '%')
        pattern++;
    return *pattern == '\0';
}

static bool equals(struct span a, const char *b)
{
    return a.n == strlen(b) && memcmp(a.p, b, a.n) == 0;
}

/* Looks for a pair with this key among the fields `number` of a message; the last one counts. */
static bool find_pair(struct span message, uint32_t number, const char *key, struct span *value)
{
    struct wire_field f;
    bool found = false;

    while (wire_next(&message, &f) == 1) {
        struct span pair = f.bytes;
        struct span k = {0};
        struct span v = {0};
        struct wire_field part;

        if (f.number != number || f.type != 2)
            continue;
        while (wire_next(&pair, &part) == 1) {
            if (part.number == 1)
                k = part.bytes;
            else if (part.number == 2)
                v = part.bytes;
        }
        if (equals(k, key)) {
            *value = v;
            found = true;
        }
    }
    return found;
}

static bool find_field(struct span group, struct span log, const char *name, struct span *value)
{
    static const char tag[] = "__tag__:";
    uint32_t number = strcmp(name, "__topic__") == 0 ? 3 : 4;
    struct wire_field f;

    *value = (struct span){0};
    if (strncmp(name, tag, sizeof tag - 1) == 0)
        return find_pair(group, 6, name + sizeof tag - 1, value);
    if (number == 4 && strcmp(name, "__source__") != 0)
        return find_pair(log, 2, name, value);
    while (wire_next(&group, &f) == 1) {
        if (f.number == number)
            *value = f.bytes;
    }
    return true;
}

/* Decimal text as a number; false: it is null then. */
static bool to_number(struct span text, long long *out)
{
    char digits[24];
    char *end;

    if (text.n == 0 || text.n >= sizeof digits)
        return false;
    memcpy(digits, text.p, text.n);
    digits[text.n] = '\0';
    *out = strtoll(digits, &end, 10);
    return *end == '\0' && end != digits;
}

static bool passes(const struct node *n, struct span group, struct span log)
{
    struct span value;
    long long number;

    switch (n->kind) {
    case NODE_AND:
        return passes(n->left, group, log) && passes(n->right, group, log);
    case NODE_OR:
        return passes(n->left, group, log) || passes(n->right, group, log);
    case NODE_NOT:
        return !passes(n->left, group, log);
    case NODE_NULL:
        return !find_field(group, log, n->field, &value);
    case NODE_EQUAL:
        return find_field(group, log, n->field, &value) && equals(value, n->text);
    case NODE_LIKE:
        return find_field(group, log, n->field, &value) && like(value, n->text);
    case NODE_NUMBER:
        if (!find_field(group, log, n->field, &value) || !to_number(value, &number))
            return false;
        if (number == n->number)
            return n->same != 0;
        return (number < n->number ? n->below : n->above) != 0;
    }
    return false;
}

uint32_t spl_filter(const struct spl *spl, struct span group, struct buf *out, uint32_t *seen)
{
    struct buf kept = {0};
    struct span rest = group;
    struct wire_field f;
    uint32_t passed = 0;

    *seen = 0;
    for (;;) {
        const uint8_t *start = rest.p;

        if (wire_next(&rest, &f) != 1)
            break;
        if (f.number == 1) {
            (*seen)++;
            if (spl->condition != NULL && !passes(spl->condition, group, f.bytes))
                continue;
            passed++;
        }
        buf_add(&kept, start, (size_t)(rest.p - start));
    }
    if (passed != 0)
        wire_bytes(out, 1, kept.p, kept.n);
    buf_fini(&kept);
    return passed;
}
