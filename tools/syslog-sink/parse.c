/* Strict reader of RFC 5424.
 *
 * <PRI>VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP STRUCTURED-DATA [SP MSG].
 * A field that is wrong in itself (too long, bad digit) is flagged and reading goes on; a missing
 * field or broken STRUCTURED-DATA ends it, because nothing behind it can be told apart any more.
 * A message whose PRI is not followed by a digit is read as RFC 3164 (parse3164.c). */
#include "parse.h"

#include <string.h>

#include "parse_inner.h"

/* RFC 5424 6: field limits in octets. */
enum { HOST_MAX = 255, APP_MAX = 48, PROCID_MAX = 128, MSGID_MAX = 32, SD_NAME_MAX = 32 };
enum { PRI_MAX = 191, PRI_DIGITS_MAX = 3, FRACTION_MAX = 6 };

void reader_flag(struct reader *r, const char *rule, size_t offset, const char *sentence)
{
    struct violation v = {.rule = rule, .offset = offset, .sentence = sentence};

    r->violations++;
    if (r->report != NULL)
        r->report(r->arg, &v);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int reader_two(const char *p)
{
    if (!is_digit(p[0]) || !is_digit(p[1]))
        return -1;
    return (p[0] - '0') * 10 + (p[1] - '0');
}

struct view reader_word(struct reader *r)
{
    const char *start = r->p + r->at;
    const char *end = memchr(start, ' ', r->n - r->at);
    struct view w = {start, end != NULL ? (size_t)(end - start) : r->n - r->at};

    r->at += w.n;
    return w;
}

bool reader_visible(struct view w)
{
    for (size_t i = 0; i < w.n; i++)
        if (w.p[i] < 33 || w.p[i] > 126)
            return false;
    return true;
}

/* Length of the UTF-8 sequence at p, 0 when it is none (Unicode 3.9 table 3-7: no overlong forms,
 * no surrogates, nothing above 10FFFF). */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (p[0] > 0xf4 || want == 0 || want > n)
        return 0;
    if (want == 1)
        return 1;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < want; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return want;
}

/* Offset of the first byte that is not UTF-8, or n. */
static size_t utf8_end(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        size_t step = utf8_length((const unsigned char *)p + i, n - i);

        if (step == 0)
            return i;
        i += step;
    }
    return n;
}

/* Stands on what must be a space; false (and flagged) when the message ends or goes on otherwise.
 */
static bool take_space(struct reader *r, const char *rule, const char *sentence)
{
    if (r->at < r->n && r->p[r->at] == ' ') {
        r->at++;
        return true;
    }
    reader_flag(r, rule, r->at, sentence);
    return false;
}

static bool read_pri(struct reader *r, struct parsed *out)
{
    size_t digits = 0;
    int value = 0;

    if (r->n == 0 || r->p[0] != '<') {
        reader_flag(r, "pri", 0, "a message starts with <PRI> (RFC 5424 6.2.1)");
        return false;
    }
    r->at = 1;
    while (r->at < r->n && is_digit(r->p[r->at]) && digits <= PRI_DIGITS_MAX) {
        value = value * 10 + (r->p[r->at] - '0');
        digits++;
        r->at++;
    }
    if (digits == 0 || digits > PRI_DIGITS_MAX || r->at == r->n || r->p[r->at] != '>') {
        reader_flag(r, "pri", r->at, "PRI is one to three digits between < and > (RFC 5424 6.2.1)");
        return false;
    }
    if (digits > 1 && r->p[1] == '0')
        reader_flag(r, "pri-zero", 1, "PRIVAL has no leading zeros (RFC 5424 6.2.1)");
    if (value > PRI_MAX)
        reader_flag(r, "pri-range", 1, "PRIVAL is 0 to 191 (RFC 5424 6.2.1)");
    out->pri = value;
    r->at++;
    return true;
}

static bool read_version(struct reader *r, struct parsed *out)
{
    size_t start = r->at;
    struct view w = reader_word(r);

    if (w.n == 1 && w.p[0] == '1')
        out->version = 1;
    else
        reader_flag(r, "version", start, "VERSION is 1 directly behind PRI (RFC 5424 6.2.2)");
    return out->version == 1 &&
           take_space(r, "version", "VERSION is followed by one space (RFC 5424 6)");
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* Checks a pattern where d stands for a digit and everything else for itself. Returns the offset of
 * the first byte that differs, or the pattern's length. */
static size_t match(struct view w, const char *pattern)
{
    size_t i = 0;

    for (; pattern[i] != '\0'; i++)
        if (i >= w.n || (pattern[i] == 'd' ? !is_digit(w.p[i]) : w.p[i] != pattern[i]))
            return i;
    return i;
}

/* The zone at w[i..]: Z, or a sign and hh:mm. */
static bool zone_good(struct view w, size_t i)
{
    struct view rest = {w.p + i + 1, w.n - i - 1};

    if (w.p[i] == 'Z')
        return rest.n == 0;
    if (w.p[i] != '+' && w.p[i] != '-')
        return false;
    return rest.n == 5 && match(rest, "dd:dd") == 5 && reader_two(rest.p) <= 23 &&
           reader_two(rest.p + 3) <= 59;
}

static void check_timestamp(struct reader *r, struct view w, size_t start)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    size_t good = match(w, shape);
    size_t i = sizeof shape - 1;
    size_t digits = 0;
    int month = 0;
    int day = 0;

    if (w.n == 1 && w.p[0] == '-')
        return;
    if (good != i) {
        reader_flag(r, "timestamp", start + good,
                    "TIMESTAMP is YYYY-MM-DDThh:mm:ss with an upper-case T (RFC 5424 6.2.3)");
        return;
    }
    month = reader_two(w.p + 5);
    day = reader_two(w.p + 8);
    if (month < 1 || month > 12 || day < 1 ||
        day > days_in(reader_two(w.p) * 100 + reader_two(w.p + 2), month))
        reader_flag(r, "timestamp-date", start + 5, "there is no such day (RFC 5424 6.2.3)");
    if (reader_two(w.p + 11) > 23 || reader_two(w.p + 14) > 59 || reader_two(w.p + 17) > 59)
        reader_flag(r, "timestamp-time", start + 11,
                    "hours are 00 to 23, minutes and seconds 00 to 59 (RFC 5424 6.2.3)");
    if (i < w.n && w.p[i] == '.') {
        for (i++; i < w.n && is_digit(w.p[i]); i++)
            digits++;
        if (digits < 1 || digits > FRACTION_MAX)
            reader_flag(r, "timestamp-fraction", start + sizeof shape - 1,
                        "a fraction has one to six digits (RFC 5424 6.2.3)");
    }
    if (i >= w.n || !zone_good(w, i))
        reader_flag(r, "timestamp-offset", start + i,
                    "the offset is Z or +hh:mm or -hh:mm (RFC 5424 6.2.3)");
}

/* One header field; false when the message ends with it. */
static bool read_field(struct reader *r, const char *rule, size_t max, struct view *out)
{
    size_t start = r->at;

    *out = reader_word(r);
    if (out->n == 0)
        reader_flag(r, rule, start, "a header field is never empty, absent is - (RFC 5424 6)");
    else if (out->n > max)
        reader_flag(r, rule, start + max, "the field is longer than RFC 5424 6 allows");
    if (!reader_visible(*out))
        reader_flag(r, rule, start, "a header field is printable US-ASCII (RFC 5424 6)");
    return take_space(r, rule, "the header ends here, fields are missing (RFC 5424 6)");
}

static bool sd_name_byte(char c)
{
    return c >= 33 && c <= 126 && c != '=' && c != ']' && c != '"';
}

static bool read_sd_name(struct reader *r, const char *rule, struct view *name)
{
    size_t start = r->at;

    while (r->at < r->n && sd_name_byte(r->p[r->at]))
        r->at++;
    *name = (struct view){r->p + start, r->at - start};
    if (name->n > SD_NAME_MAX)
        reader_flag(r, rule, start + SD_NAME_MAX, "an SD-NAME has at most 32 octets (RFC 5424 6)");
    if (name->n != 0)
        return true;
    reader_flag(r, rule, start, "an SD-NAME is missing here (RFC 5424 6.3)");
    return false;
}

static bool view_is(struct view v, const char *text)
{
    return v.n == strlen(text) && memcmp(v.p, text, v.n) == 0;
}

/* RFC 5424 6.3.2 and 7: only registered names go without @ and an enterprise number. */
static void check_sd_id(struct reader *r, struct view id)
{
    const char *mark = memchr(id.p, '@', id.n);
    size_t at = (size_t)(id.p - r->p);
    size_t left = 0;

    if (mark == NULL) {
        if (!view_is(id, "timeQuality") && !view_is(id, "origin") && !view_is(id, "meta"))
            reader_flag(r, "sd-id", at,
                        "an SD-ID without @ must be a registered one (RFC 5424 6.3.2)");
        return;
    }
    left = id.n - (size_t)(mark - id.p) - 1;
    if (left == 0 || mark == id.p)
        reader_flag(r, "sd-id", at, "a private SD-ID is name@number (RFC 5424 6.3.2)");
    for (size_t i = 1; i <= left; i++) {
        if (!is_digit(mark[i])) {
            reader_flag(r, "sd-id", (size_t)(mark + i - r->p),
                        "behind @ stands an enterprise number (RFC 5424 6.3.2)");
            return;
        }
    }
}

/* Stands behind the opening quote; reads up to and with the closing one. */
static bool read_value(struct reader *r)
{
    size_t start = r->at;
    size_t good = 0;

    for (; r->at < r->n && r->p[r->at] != '"'; r->at++) {
        char c = r->p[r->at];

        if (c == ']') {
            reader_flag(r, "sd-escape", r->at, "] in a value is written \\] (RFC 5424 6.3.3)");
        } else if (c == '\\') {
            char next = r->at + 1 < r->n ? r->p[r->at + 1] : '\0';

            if (next == '"' || next == '\\' || next == ']')
                r->at++;
            else
                reader_flag(r, "sd-escape", r->at,
                            "a backslash in a value is written \\\\ (RFC 5424 6.3.3)");
        }
    }
    good = utf8_end(r->p + start, r->at - start);
    if (good != r->at - start)
        reader_flag(r, "sd-utf8", start + good, "a PARAM-VALUE is UTF-8 (RFC 5424 6.3.3)");
    if (r->at >= r->n) {
        reader_flag(r, "sd-syntax", r->n, "the message ends inside a value (RFC 5424 6.3.3)");
        return false;
    }
    r->at++;
    return true;
}

/* Stands behind '['; reads up to and with ']'. */
static bool read_element(struct reader *r, struct view *id)
{
    struct view name = {NULL, 0};

    if (!read_sd_name(r, "sd-id", id))
        return false;
    check_sd_id(r, *id);
    while (r->at < r->n && r->p[r->at] == ' ') {
        r->at++;
        if (!read_sd_name(r, "sd-param", &name))
            return false;
        if (r->n - r->at < 2 || memcmp(r->p + r->at, "=\"", 2) != 0) {
            reader_flag(r, "sd-syntax", r->at, "a parameter is NAME=\"VALUE\" (RFC 5424 6.3.3)");
            return false;
        }
        r->at += 2;
        if (!read_value(r))
            return false;
    }
    if (r->at < r->n && r->p[r->at] == ']') {
        r->at++;
        return true;
    }
    reader_flag(r, "sd-syntax", r->at,
                "behind a value comes a space and the next parameter, or ] (RFC 5424 6.3)");
    return false;
}

static bool read_sd(struct reader *r, struct view *sd)
{
    enum { REMEMBERED = 64 }; /* enough for every real message; more elements are not compared */
    struct view ids[REMEMBERED];
    size_t count = 0;
    size_t start = r->at;

    if (r->at < r->n && r->p[r->at] == '-') {
        r->at++;
    } else if (r->at == r->n || r->p[r->at] != '[') {
        reader_flag(r, "sd-missing", r->at, "STRUCTURED-DATA is - or [..] (RFC 5424 6.3)");
        return false;
    }
    while (r->at < r->n && r->p[r->at] == '[' && r->p[start] == '[') {
        struct view id = {NULL, 0};

        r->at++;
        if (!read_element(r, &id))
            return false;
        for (size_t i = 0; i < count; i++)
            if (ids[i].n == id.n && memcmp(ids[i].p, id.p, id.n) == 0)
                reader_flag(r, "sd-repeated", (size_t)(id.p - r->p),
                            "an SD-ID stands only once in a message (RFC 5424 6.3.2)");
        if (count < REMEMBERED)
            ids[count++] = id;
    }
    *sd = (struct view){r->p + start, r->at - start};
    return true;
}

static void read_msg(struct reader *r, struct view *msg)
{
    size_t good = 0;

    if (r->at == r->n)
        return;
    if (!take_space(r, "sd-end", "STRUCTURED-DATA is followed by a space or the end (RFC 5424 6)"))
        return;
    *msg = (struct view){r->p + r->at, r->n - r->at};
    if (msg->n < 3 || memcmp(msg->p, "\xef\xbb\xbf", 3) != 0)
        return;
    good = utf8_end(msg->p, msg->n);
    if (good != msg->n)
        reader_flag(r, "msg-utf8", r->at + good, "a MSG with BOM is UTF-8 (RFC 5424 6.4)");
}

static void parse_rfc5424(struct reader *r, struct parsed *out)
{
    size_t start = 0;

    if (!read_version(r, out))
        return;
    start = r->at;
    out->timestamp = reader_word(r);
    check_timestamp(r, out->timestamp, start);
    if (take_space(r, "timestamp", "the header ends here, fields are missing (RFC 5424 6)") &&
        read_field(r, "hostname", HOST_MAX, &out->hostname) &&
        read_field(r, "app-name", APP_MAX, &out->app_name) &&
        read_field(r, "procid", PROCID_MAX, &out->procid) &&
        read_field(r, "msgid", MSGID_MAX, &out->msgid) && read_sd(r, &out->sd))
        read_msg(r, &out->msg);
}

size_t parse_syslog(const char *p, size_t n, struct parsed *out, violation_fn *report, void *arg)
{
    struct reader r = {.p = p, .n = n, .report = report, .arg = arg};

    *out = (struct parsed){.pri = -1};
    if (read_pri(&r, out)) {
        if (r.at < r.n && is_digit(r.p[r.at]))
            parse_rfc5424(&r, out);
        else
            parse_bsd(&r, out);
    }
    return r.violations;
}

size_t parse_unescape(struct view value, char *to, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < value.n && n < max; i++) {
        char c = value.p[i];

        if (c == '\\' && i + 1 < value.n &&
            (value.p[i + 1] == '"' || value.p[i + 1] == '\\' || value.p[i + 1] == ']'))
            c = value.p[++i];
        to[n++] = c;
    }
    return n;
}
