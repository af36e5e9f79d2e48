/* Filters: running, numbers and regular expressions.
 *
 * The ops run one after the other and leave one truth value; a jump leaves the rest of an "and" or
 * "or" out. Regular expressions are PCRE2's, compiled (JIT where there is one) with limits on their
 * work: one that runs into them gives "unknown", and the caller keeps the log. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <stdio.h>
#include <stdlib.h>

#include <pcre2.h>

#include "format/filter.h"
#include "format/format.h"

/* Work of one match: far above what a sane expression needs on 64 KiB, some 10 ms at most. */
enum { MATCH_LIMIT = 200000, HEAP_LIMIT_KIB = 4096, JIT_STACK = 512 * 1024 };

struct regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

int regex_new(struct regex **out, struct slsr_bytes pattern, size_t *bad, struct slsr_err *err)
{
    int number;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR reason[160];
    struct regex *r = calloc(1, sizeof(*r));

    *bad = 0;
    if (r == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a regular expression");
    r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
                            &number, &at, NULL);
    if (r->code == NULL) {
        *bad = at;
        pcre2_get_error_message(number, reason, sizeof(reason));
        free(r);
        return slsr_fail(err, SLSR_ECONFIG, "the regular expression is wrong: %s", (char *)reason);
    }
    r->data = pcre2_match_data_create_from_pattern(r->code, NULL);
    r->context = pcre2_match_context_create(NULL);
    if (r->data == NULL || r->context == NULL) {
        regex_free(r);
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a regular expression");
    }
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    pcre2_set_heap_limit(r->context, HEAP_LIMIT_KIB);
    if (pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) == 0) {
        r->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK, NULL);
        if (r->stack != NULL)
            pcre2_jit_stack_assign(r->context, NULL, r->stack);
    }
    *out = r;
    return 0;
}

void regex_free(struct regex *r)
{
    if (r == NULL)
        return;
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    pcre2_jit_stack_free(r->stack);
    pcre2_code_free(r->code);
    free(r);
}

static enum filter_result regex_match(const struct regex *r, struct slsr_bytes text)
{
    int rc = pcre2_match(r->code, (PCRE2_SPTR)(text.n > 0 ? text.p : ""), text.n, 0, 0, r->data,
                         r->context);
    return rc >= 0 ? FILTER_TRUE : rc == PCRE2_ERROR_NOMATCH ? FILTER_FALSE : FILTER_UNKNOWN;
}

bool number_parse(struct slsr_bytes text, struct number *out)
{
    enum { LONGEST = 48 };
    char copy[LONGEST + 1], *end;
    size_t i = text.n > 0 && (text.p[0] == '-' || text.p[0] == '+');
    uint64_t whole = 0;
    /* Nothing that strtod takes beyond decimals: no "nan", "0x10", leading blanks. */
    if (text.n == 0 || text.n > LONGEST || i == text.n ||
        ((text.p[i] < '0' || text.p[i] > '9') && text.p[i] != '.'))
        return false;
    size_t first = i;
    for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && i - first < 18; i++)
        whole = whole * 10 + (uint64_t)(text.p[i] - '0');
    if (i == text.n) {
        out->whole = true;
        out->i = text.p[0] == '-' ? -(int64_t)whole : (int64_t)whole;
        out->d = (double)out->i;
        return true;
    }
    for (size_t k = i; k < text.n; k++)
        if (strchr("0123456789.eE+-", text.p[k]) == NULL || text.p[k] == '\0')
            return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    out->whole = false;
    out->d = strtod(copy, &end);
    return *end == '\0';
}

static int compare(const struct number *a, const struct number *b)
{
    if (a->whole && b->whole)
        return a->i < b->i ? -1 : a->i > b->i;
    return a->d < b->d ? -1 : a->d > b->d;
}

static bool ends_with(struct slsr_bytes value, struct slsr_bytes tail)
{
    return value.n >= tail.n && memcmp(value.p + value.n - tail.n, tail.p, tail.n) == 0;
}

static bool holds_number(const struct op *op, struct slsr_bytes value)
{
    struct number n;
    if (!number_parse(value, &n))
        return false;
    int c = compare(&n, &op->number);
    switch (op->kind) {
    case TEST_LESS:
        return c < 0;
    case TEST_LESS_EQUAL:
        return c <= 0;
    case TEST_MORE:
        return c > 0;
    case TEST_MORE_EQUAL:
        return c >= 0;
    default:
        return c == 0;
    }
}

/* A field that is absent makes every test false. */
static enum filter_result test(const struct op *op, const struct slots *slots)
{
    const struct slot *slot = &slots->items[op->slot];
    struct slsr_bytes v = slot->value;
    if (!slot->found)
        return FILTER_FALSE;
    switch (op->kind) {
    case TEST_EXISTS:
        return FILTER_TRUE;
    case TEST_EQUAL:
        return slsr_bytes_equal(v, op->text) ? FILTER_TRUE : FILTER_FALSE;
    case TEST_CONTAINS:
        return op->text.n == 0 || (v.n > 0 && memmem(v.p, v.n, op->text.p, op->text.n) != NULL)
                   ? FILTER_TRUE
                   : FILTER_FALSE;
    case TEST_STARTS:
        return v.n >= op->text.n && (op->text.n == 0 || memcmp(v.p, op->text.p, op->text.n) == 0)
                   ? FILTER_TRUE
                   : FILTER_FALSE;
    case TEST_ENDS:
        return op->text.n == 0 || ends_with(v, op->text) ? FILTER_TRUE : FILTER_FALSE;
    case TEST_REGEX:
        return regex_match(op->regex, v);
    default:
        return holds_number(op, v) ? FILTER_TRUE : FILTER_FALSE;
    }
}

enum filter_result filter_run(const struct filter *filter, const struct slots *slots)
{
    enum filter_result now = FILTER_TRUE;
    for (size_t i = 0; i < filter->count;) {
        const struct op *op = &filter->ops[i++];
        if (op->kind == OP_NOT)
            now = now == FILTER_TRUE ? FILTER_FALSE : FILTER_TRUE;
        else if (op->kind == OP_JUMP_FALSE)
            i = now == FILTER_FALSE ? op->jump : i;
        else if (op->kind == OP_JUMP_TRUE)
            i = now == FILTER_TRUE ? op->jump : i;
        else if ((now = test(op, slots)) == FILTER_UNKNOWN)
            return FILTER_UNKNOWN;
    }
    return now;
}

void filter_free(struct filter *filter)
{
    if (filter == NULL)
        return;
    for (size_t i = 0; i < filter->count; i++) {
        free((char *)(uintptr_t)filter->ops[i].text.p);
        regex_free(filter->ops[i].regex);
    }
    free(filter->ops);
    free(filter);
}

void format_libraries(char *out, size_t size)
{
    char version[64] = "?";
    const int needed = pcre2_config(PCRE2_CONFIG_VERSION, NULL);

    if (needed > 0 && (size_t)needed <= sizeof version)
        pcre2_config(PCRE2_CONFIG_VERSION, version);
    snprintf(out, size, "PCRE2 %.*s", (int)strcspn(version, " "), version); /* without its date */
}
