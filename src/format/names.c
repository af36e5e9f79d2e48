/* The parts of a header that may depend on the log: PRI, the names, elements of one's own. What
 * does not is made once; the rest once a log, from values that are bytes of a stranger: the
 * character sets and lengths of RFC 5424 6.2 and 6.3 hold whatever stands in them. */
#include "format/plan.h"

#include <arpa/inet.h>

/* RFC 5424 6.2.4 .. 6.2.7; RFC 3164 4.1.3 for TAG. */
enum { HOSTNAME_MAX = 255, APP_NAME_MAX = 48, PROCID_MAX = 128, MSGID_MAX = 32, TAG_MAX = 32 };

/* What a header field may hold. */
enum charset {
    CHARS_PRINTABLE, /* PRINTUSASCII */
    CHARS_HOST,      /* letters, digits, ". _ -", and an IPv6 address */
    CHARS_WORD,      /* letters, digits, ". _ -" */
    CHARS_PID        /* PRINTUSASCII without ": [ ]" */
};

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
}

static bool fits(char c, enum charset set)
{
    if (set == CHARS_WORD)
        return is_word(c);
    if (set == CHARS_HOST)
        return is_word(c) || c == ':';
    return c > 32 && c < 127 && (set == CHARS_PRINTABLE || (c != ':' && c != '[' && c != ']'));
}

/* A colon is an IPv6 address's or nobody's: a receiver that takes it for the end of a TAG would
 * read another header. */
static void mend_colons(char *p, size_t n)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    if (memchr(p, ':', n) == NULL)
        return;
    if (n < sizeof address) {
        memcpy(address, p, n);
        address[n] = '\0';
        if (inet_pton(AF_INET6, address, &parsed) == 1)
            return;
    }
    for (size_t k = 0; k < n; k++)
        p[k] = (char)(p[k] == ':' ? '_' : p[k]);
}

/* A name: cut, other bytes as "_", "-" when there is nothing. */
static int put_name(struct format_plan *plan, struct text_buf *out, const struct template *t,
                    size_t limit, enum charset set, struct slsr_err *err)
{
    int rc = text_more(out, limit, err);
    size_t n = 0;
    for (size_t i = 0; rc == 0 && i < t->count && n < limit; i++) {
        struct slsr_bytes text;
        if ((rc = template_step(&t->steps[i], &plan->room, &text, err)) != 0)
            return rc;
        for (size_t k = 0; k < text.n && n < limit; k++, n++) {
            char c = text.p[k];
            out->p[out->n++] = (char)(fits(c, set) ? c : '_');
        }
    }
    if (rc == 0 && set == CHARS_HOST)
        mend_colons(out->p + out->n - n, n);
    if (rc == 0 && n == 0)
        out->p[out->n++] = '-';
    return rc;
}

static int put_literal(struct text_buf *out, const char *text, struct slsr_err *err)
{
    size_t n = strlen(text);
    int rc = text_more(out, n, err);
    if (rc == 0) {
        memcpy(out->p + out->n, text, n);
        out->n += n;
    }
    return rc;
}

static int names_5424(struct format_plan *plan, struct slsr_err *err)
{
    static const size_t limits[NAMES] = {HOSTNAME_MAX, APP_NAME_MAX, PROCID_MAX, MSGID_MAX};
    static const enum charset sets[NAMES] = {CHARS_HOST, CHARS_PRINTABLE, CHARS_PRINTABLE,
                                             CHARS_PRINTABLE};
    struct text_buf *out = &plan->names;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < NAMES; i++) {
        rc = put_literal(out, " ", err);
        if (rc == 0)
            rc = put_name(plan, out, &plan->names_of[i], limits[i], sets[i], err);
    }
    return rc == 0 ? put_literal(out, " ", err) : rc;
}

/* Receivers know a HOSTNAME of RFC 3164 by its end, a letter or digit, and take one with a colon or
 * without that end for the TAG. There is no "-" for an absent one either. */
static int put_host_3164(struct format_plan *plan, struct text_buf *out, struct slsr_err *err)
{
    size_t start = out->n;
    int rc = put_name(plan, out, &plan->names_of[NAME_HOST], HOSTNAME_MAX, CHARS_WORD, err);
    while (rc == 0 && out->n > start && strchr("._-", out->p[out->n - 1]) != NULL)
        out->n--;
    return rc == 0 && out->n == start ? put_literal(out, "unknown", err) : rc;
}

static int names_3164(struct format_plan *plan, struct slsr_err *err)
{
    struct text_buf *out = &plan->names;
    int rc = put_literal(out, " ", err);
    if (rc == 0)
        rc = put_host_3164(plan, out, err);
    if (rc == 0)
        rc = put_literal(out, " ", err);
    if (rc != 0 || plan->names_of[NAME_TAG].count == 0)
        return rc;
    rc = put_name(plan, out, &plan->names_of[NAME_TAG], TAG_MAX, CHARS_WORD, err);
    if (rc == 0 && plan->names_of[NAME_PROCID].count > 0) {
        rc = put_literal(out, "[", err);
        if (rc == 0)
            rc = put_name(plan, out, &plan->names_of[NAME_PROCID], PROCID_MAX, CHARS_PID, err);
        if (rc == 0)
            rc = put_literal(out, "]", err);
    }
    return rc == 0 ? put_literal(out, ": ", err) : rc;
}

int header_names(struct format_plan *plan, struct slsr_err *err)
{
    plan->names.n = 0;
    return plan->protocol == SLSR_RFC3164 ? names_3164(plan, err) : names_5424(plan, err);
}

char *put_param_value(const struct format_plan *plan, char *out, struct slsr_bytes in)
{
    return text_put_set(out, in, &plan->line_rules, &plan->param_set);
}

/* ` name="value"`; nothing when the value comes from the log and is empty. */
static int put_param(struct format_plan *plan, const struct mapped *item, bool *any,
                     struct slsr_err *err)
{
    struct text_buf *out = &plan->sd_own;
    size_t start = out->n, value;
    int rc = put_literal(out, " ", err);
    if (rc == 0)
        rc = put_literal(out, item->key, err);
    if (rc == 0)
        rc = put_literal(out, "=\"", err);
    value = out->n;
    for (size_t i = 0; rc == 0 && i < item->value.count; i++) {
        struct slsr_bytes text;
        rc = template_step(&item->value.steps[i], &plan->room, &text, err);
        if (rc == 0)
            rc = text_more(out, text.n * TEXT_GROWTH, err);
        if (rc == 0)
            out->n = (size_t)(put_param_value(plan, out->p + out->n, text) - out->p);
    }
    if (rc == 0 && out->n == value && item->value.dynamic) {
        out->n = start;
        return 0;
    }
    *any = true;
    return rc == 0 ? put_literal(out, "\"", err) : rc;
}

int header_elements(struct format_plan *plan, struct slsr_err *err)
{
    const struct mapping *m = &plan->elements;
    struct text_buf *out = &plan->sd_own;
    int rc = 0;
    out->n = 0;
    for (size_t i = 0; rc == 0 && i < m->count;) {
        const char *id = m->items[i].group;
        size_t start = out->n;
        bool any = m->items[i].key == NULL;
        rc = put_literal(out, "[", err);
        if (rc == 0)
            rc = put_literal(out, id, err);
        for (; rc == 0 && i < m->count && strcmp(m->items[i].group, id) == 0; i++)
            if (m->items[i].key != NULL)
                rc = put_param(plan, &m->items[i], &any, err);
        if (rc == 0)
            rc = put_literal(out, "]", err);
        if (!any)
            out->n = start;
    }
    if (rc == 0 && out->n == 0 && plan->sd == NULL && plan->protocol == SLSR_RFC5424)
        rc = put_literal(out, "-", err);
    return rc;
}

static void put_pri(struct format_plan *plan)
{
    plan->severity_now = level_of(&plan->severity, false, &plan->slots);
    int facility = level_of(&plan->facility, true, &plan->slots);
    char *p = plan->pri;
    *p++ = '<';
    p = put_number(p, (uint32_t)(facility * 8 + plan->severity_now));
    *p++ = '>';
    if (plan->protocol != SLSR_RFC3164) {
        *p++ = '1';
        *p++ = ' ';
    }
    plan->pri_n = (size_t)(p - plan->pri);
}

int header_log(struct format_plan *plan, struct slsr_err *err)
{
    int rc = 0;
    if (!plan->fixed_pri || plan->pri_n == 0)
        put_pri(plan);
    if (plan->names_dynamic)
        rc = header_names(plan, err);
    if (rc == 0 && plan->elements.dynamic)
        rc = header_elements(plan, err);
    return rc;
}
