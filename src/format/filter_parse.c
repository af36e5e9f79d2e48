/* Filters: from text to ops. Recursive descent, one function a level of binding:
 *
 *   or     := and { ("or" | "||") and }
 *   and    := not { ("and" | "&&") not }
 *   not    := ("not" | "!") not | "(" or ")" | test
 *   test   := "exists" name | name [ op value | ["not"] "in" "(" value { "," value } ")" ]
 *   op     := "==" "=" "!=" "<" "<=" ">" ">=" "~" "!~" "contains" "startswith" "endswith"
 *   name   := letters, digits, "_.:@/-", not beginning with a digit, or ${any text}
 *   value  := number | "text" | 'text'
 *
 * Each level leaves one truth value, so that "and" is: left, jump behind the right when false,
 * right. */
#include <stdlib.h>

#include "format/filter.h"
#include "format/template.h"

enum { DEPTH_MAX = 64, NAME_MAX_BYTES = 4096 };

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,  /* bare word */
    TOKEN_FIELD, /* ${...} */
    TOKEN_TEXT,
    TOKEN_NUMBER,
    TOKEN_OP /* punctuation; text holds it */
};

struct token {
    enum token_kind kind;
    size_t at;
    struct slsr_bytes text; /* in parser.room for FIELD and TEXT */
    struct number number;
};

struct parser {
    const char *text;
    size_t n, at, first;
    struct token now;
    char *room; /* unescaped text of the token; as long as the input */
    struct slots *slots;
    struct filter *filter;
    int depth;
    struct slsr_err *err;
};

static int parse_or(struct parser *p);

static int wrong(const struct parser *p, size_t at, const char *what)
{
    return slsr_fail(p->err, SLSR_ECONFIG, "column %zu: %s", at + p->first, what);
}

static bool is_word(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '@';
    return letter || (!first && c != '\0' && strchr("0123456789.:/-", c) != NULL);
}

static int read_text(struct parser *p)
{
    char quote = p->text[p->at++];
    size_t used = 0;
    while (p->at < p->n && p->text[p->at] != quote) {
        /* Only the quote and the backslash are escaped: "\." of an expression stays as it is. */
        if (p->text[p->at] == '\\' && p->at + 1 < p->n &&
            (p->text[p->at + 1] == quote || p->text[p->at + 1] == '\\'))
            p->at++;
        p->room[used++] = p->text[p->at++];
    }
    if (p->at == p->n)
        return wrong(p, p->now.at, "the text has no closing quote");
    p->at++;
    p->now.kind = TOKEN_TEXT;
    p->now.text = (struct slsr_bytes){p->room, used};
    return 0;
}

static int read_operator(struct parser *p)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "!~", "&&", "||", "=~",
                                      "=",  "<",  ">",  "~",  "!",  "(",  ")",  ","};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        size_t n = strlen(ops[i]);
        if (p->n - p->at >= n && memcmp(p->text + p->at, ops[i], n) == 0) {
            p->now.kind = TOKEN_OP;
            p->now.text = (struct slsr_bytes){ops[i], n};
            p->at += n;
            return 0;
        }
    }
    return wrong(p, p->at, "this character has no meaning here: texts stand in quotes");
}

static int read_number(struct parser *p)
{
    size_t from = p->at;
    while (p->at < p->n && p->text[p->at] != '\0' &&
           (is_word(p->text[p->at], false) || strchr("+-", p->text[p->at]) != NULL))
        p->at++;
    p->now.kind = TOKEN_NUMBER;
    p->now.text = (struct slsr_bytes){p->text + from, p->at - from};
    return number_parse(p->now.text, &p->now.number)
               ? 0
               : wrong(p, from, "this is no number: texts stand in quotes");
}

static int next(struct parser *p)
{
    while (p->at < p->n && (p->text[p->at] == ' ' || p->text[p->at] == '\t'))
        p->at++;
    p->now = (struct token){.kind = TOKEN_END, .at = p->at, .text = {"", 0}};
    if (p->at == p->n)
        return 0;
    char c = p->text[p->at];
    if (c == '"' || c == '\'')
        return read_text(p);
    if (c == '$' && p->at + 1 < p->n && p->text[p->at + 1] == '{') {
        size_t used;
        p->at += 2;
        int rc = template_name(p->text, p->n, &p->at, p->room, &used, NULL);
        if (rc != 0)
            return wrong(p, p->now.at, "${ wants the name of a field and a closing }");
        p->now.kind = TOKEN_FIELD;
        p->now.text = (struct slsr_bytes){p->room, used};
        return 0;
    }
    bool digit = c >= '0' && c <= '9';
    if (digit || ((c == '-' || c == '+' || c == '.') && p->at + 1 < p->n &&
                  p->text[p->at + 1] >= '0' && p->text[p->at + 1] <= '9'))
        return read_number(p);
    if (!is_word(c, true))
        return read_operator(p);
    while (p->at < p->n && is_word(p->text[p->at], false))
        p->at++;
    p->now.kind = TOKEN_NAME;
    p->now.text = (struct slsr_bytes){p->text + p->now.at, p->at - p->now.at};
    return 0;
}

static bool is_op(const struct parser *p, const char *op)
{
    return p->now.kind == TOKEN_OP && slsr_bytes_equal(p->now.text, slsr_bytes_of(op));
}

static bool is_keyword(const struct parser *p, const char *word)
{
    return p->now.kind == TOKEN_NAME && slsr_bytes_equal(p->now.text, slsr_bytes_of(word));
}

static bool is_reserved(const struct parser *p)
{
    static const char *const words[] = {"and",      "or",         "not",      "in", "exists",
                                        "contains", "startswith", "endswith", "if", "then"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (is_keyword(p, words[i]))
            return true;
    return false;
}

static int emit(struct parser *p, const struct op *op, size_t *number)
{
    struct filter *f = p->filter;
    if (f->count == OPS_MAX)
        return wrong(p, p->now.at, "the filter is too long");
    if (f->count == f->size) {
        size_t size = f->size == 0 ? 16 : f->size * 2;
        struct op *ops = realloc(f->ops, size * sizeof(*ops));
        if (ops == NULL)
            return slsr_fail(p->err, SLSR_ENOMEM, "no memory for a filter");
        f->ops = ops;
        f->size = size;
    }
    if (number != NULL)
        *number = f->count;
    f->ops[f->count++] = *op;
    return 0;
}

/* The value of a comparison, made into op and emitted. */
static int emit_test(struct parser *p, struct op op)
{
    size_t at = p->now.at, bad = 0;
    bool ordered = op.kind >= TEST_LESS && op.kind <= TEST_MORE_EQUAL;
    int rc = 0;

    if (p->now.kind != TOKEN_TEXT && p->now.kind != TOKEN_NUMBER)
        return wrong(p, at, "a number or a text in quotes is expected here");
    if (p->now.kind == TOKEN_NUMBER && op.kind == TEST_EQUAL)
        op.kind = TEST_NUMBER_EQUAL;
    op.number = p->now.number;
    if (ordered && p->now.kind == TOKEN_TEXT)
        return wrong(p, at, "<, <=, > and >= compare numbers: write one without quotes");
    char *copy = malloc(p->now.text.n + 1);
    if (copy == NULL)
        return slsr_fail(p->err, SLSR_ENOMEM, "no memory for a filter");
    memcpy(copy, p->now.text.p, p->now.text.n);
    op.text = (struct slsr_bytes){copy, p->now.text.n};
    if (op.kind == TEST_REGEX) {
        struct slsr_err why = {0};
        rc = regex_new(&op.regex, op.text, &bad, &why);
        if (rc != 0)
            rc = slsr_fail(p->err, rc, "column %zu: %s", at + p->first + 1 + bad, why.text);
    }
    if (rc == 0)
        rc = emit(p, &op, NULL);
    if (rc != 0) {
        free(copy);
        regex_free(op.regex);
        return rc;
    }
    return next(p);
}

static int emit_not(struct parser *p)
{
    return emit(p, &(struct op){.kind = OP_NOT, .text = {NULL, 0}}, NULL);
}

/* name in ("a", "b"): equal to one of them. */
static int parse_in(struct parser *p, uint32_t slot)
{
    size_t jumps[256], count = 0;
    int rc = next(p);
    if (rc != 0)
        return rc;
    if (!is_op(p, "("))
        return wrong(p, p->now.at, "a list in parentheses is expected behind in");
    do {
        if (count == sizeof(jumps) / sizeof(jumps[0]))
            return wrong(p, p->now.at, "the list is too long");
        if ((rc = next(p)) != 0 ||
            (rc = emit_test(p, (struct op){.kind = TEST_EQUAL, .slot = slot})) != 0 ||
            (rc = emit(p, &(struct op){.kind = OP_JUMP_TRUE, .text = {NULL, 0}},
                       &jumps[count++])) != 0)
            return rc;
    } while (is_op(p, ","));
    if (!is_op(p, ")"))
        return wrong(p, p->now.at, "a comma or a closing parenthesis is expected here");
    for (size_t i = 0; i < count; i++)
        p->filter->ops[jumps[i]].jump = (uint32_t)p->filter->count;
    return next(p);
}

static const struct {
    const char *text;
    enum test_kind kind;
    bool word, negated;
} comparisons[] = {
    {"==", TEST_EQUAL, false, false},         {"=", TEST_EQUAL, false, false},
    {"!=", TEST_EQUAL, false, true},          {"<", TEST_LESS, false, false},
    {"<=", TEST_LESS_EQUAL, false, false},    {">", TEST_MORE, false, false},
    {">=", TEST_MORE_EQUAL, false, false},    {"~", TEST_REGEX, false, false},
    {"=~", TEST_REGEX, false, false},         {"!~", TEST_REGEX, false, true},
    {"contains", TEST_CONTAINS, true, false}, {"startswith", TEST_STARTS, true, false},
    {"endswith", TEST_ENDS, true, false},
};

static int parse_test(struct parser *p)
{
    bool exists = is_keyword(p, "exists");
    uint32_t slot;
    int rc = exists ? next(p) : 0;
    if (rc != 0)
        return rc;
    if (p->now.kind != TOKEN_FIELD && (p->now.kind != TOKEN_NAME || is_reserved(p)))
        return wrong(p, p->now.at,
                     p->now.kind == TOKEN_END ? "the filter ends where a field is expected"
                                              : "the name of a field is expected here");
    if ((rc = slots_want(p->slots, p->now.text, &slot, p->err)) != 0 || (rc = next(p)) != 0)
        return rc;
    for (size_t i = 0; !exists && i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
        const char *text = comparisons[i].text;
        if (comparisons[i].word ? !is_keyword(p, text) : !is_op(p, text))
            continue;
        if ((rc = next(p)) != 0)
            return rc;
        rc = emit_test(p, (struct op){.kind = comparisons[i].kind, .slot = slot});
        return rc == 0 && comparisons[i].negated ? emit_not(p) : rc;
    }
    if (!exists && is_keyword(p, "in"))
        return parse_in(p, slot);
    if (!exists && is_keyword(p, "not")) {
        if ((rc = next(p)) != 0)
            return rc;
        if (!is_keyword(p, "in"))
            return wrong(p, p->now.at, "only \"in\" can follow \"not\" here");
        rc = parse_in(p, slot);
        return rc == 0 ? emit_not(p) : rc;
    }
    if (!exists && (p->now.kind == TOKEN_NAME || p->now.kind == TOKEN_OP) &&
        !is_keyword(p, "and") && !is_keyword(p, "or") && !is_op(p, "&&") && !is_op(p, "||") &&
        !is_op(p, ")"))
        return wrong(p, p->now.at, "a comparison such as == or ~ is expected here");
    return emit(p, &(struct op){.kind = TEST_EXISTS, .slot = slot, .text = {NULL, 0}}, NULL);
}

static int parse_not(struct parser *p)
{
    int rc;
    if (++p->depth > DEPTH_MAX)
        return wrong(p, p->now.at, "the filter is nested too deeply");
    if (is_keyword(p, "not") || is_op(p, "!")) {
        if ((rc = next(p)) == 0 && (rc = parse_not(p)) == 0)
            rc = emit_not(p);
    } else if (is_op(p, "(")) {
        size_t at = p->now.at;
        if ((rc = next(p)) == 0 && (rc = parse_or(p)) == 0)
            rc = is_op(p, ")") ? next(p) : wrong(p, at, "this parenthesis is not closed");
    } else {
        rc = parse_test(p);
    }
    p->depth--;
    return rc;
}

/* left { word right }: a jump behind each right, all to the end. */
static int parse_chain(struct parser *p, bool and_)
{
    size_t jump;
    int rc = and_ ? parse_not(p) : parse_chain(p, true);
    while (rc == 0 && (and_ ? is_keyword(p, "and") || is_op(p, "&&")
                            : is_keyword(p, "or") || is_op(p, "||"))) {
        struct op op = {.kind = and_ ? OP_JUMP_FALSE : OP_JUMP_TRUE, .text = {NULL, 0}};
        if ((rc = emit(p, &op, &jump)) != 0 || (rc = next(p)) != 0)
            return rc;
        rc = and_ ? parse_not(p) : parse_chain(p, true);
        p->filter->ops[jump].jump = (uint32_t)p->filter->count;
    }
    return rc;
}

static int parse_or(struct parser *p)
{
    return parse_chain(p, false);
}

int filter_compile(struct filter **out, struct slots *slots, const char *text, size_t n,
                   size_t first, struct slsr_err *err)
{
    struct parser p = {.text = text, .n = n, .first = first, .slots = slots, .err = err};
    p.filter = calloc(1, sizeof(*p.filter));
    p.room = malloc(n + 1);
    int rc = p.filter != NULL && p.room != NULL
                 ? 0
                 : slsr_fail(err, SLSR_ENOMEM, "no memory for a filter");
    if (rc == 0)
        rc = next(&p);
    if (rc == 0)
        rc = parse_or(&p);
    if (rc == 0 && p.now.kind != TOKEN_END)
        rc = wrong(&p, p.now.at, "\"and\" or \"or\" is expected here");
    free(p.room);
    if (rc != 0) {
        filter_free(p.filter);
        return rc;
    }
    *out = p.filter;
    return 0;
}
