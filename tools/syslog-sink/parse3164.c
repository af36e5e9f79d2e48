/* Strict reader of RFC 3164, entered behind PRI.
 *
 * Mmm dd hh:mm:ss SP HOSTNAME SP MSG, where MSG may start with TAG, TAG[pid] and a colon. The RFC
 * only describes what was seen in the field; flagged is what it says MUST or MUST NOT be. After a
 * wrong TIMESTAMP nothing else can be located, so reading ends there. */
#include <arpa/inet.h>
#include <string.h>

#include "parse_inner.h"

enum { PACKET_MAX = 1024, TAG_MAX = 32, STAMP_BYTES = 15 };

static bool month_good(const char *p)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (size_t i = 0; i + 3 < sizeof months; i += 3)
        if (memcmp(p, months + i, 3) == 0)
            return true;
    return false;
}

static int day_of(const char *p)
{
    if (p[0] == ' ' && p[1] >= '1' && p[1] <= '9')
        return p[1] - '0';
    return p[0] == '0' ? -1 : reader_two(p);
}

static bool read_stamp(struct reader *r, struct parsed *out)
{
    const char *p = r->p + r->at;
    const char *sentence = "TIMESTAMP is Mmm dd hh:mm:ss, one space behind it (RFC 3164 4.1.2)";
    int day = 0;

    if (r->n - r->at < STAMP_BYTES + 1 || !month_good(p) || p[3] != ' ') {
        reader_flag(r, "timestamp", r->at, sentence);
        return false;
    }
    day = day_of(p + 4);
    if (day < 1 || day > 31)
        reader_flag(r, "timestamp-day", r->at + 4,
                    "a day below 10 is a space and one digit (RFC 3164 4.1.2)");
    if (p[6] != ' ' || p[9] != ':' || p[12] != ':' || p[STAMP_BYTES] != ' ' ||
        reader_two(p + 7) < 0 || reader_two(p + 10) < 0 || reader_two(p + 13) < 0) {
        reader_flag(r, "timestamp", r->at + 6, sentence);
        return false;
    }
    if (reader_two(p + 7) > 23 || reader_two(p + 10) > 59 || reader_two(p + 13) > 59)
        reader_flag(r, "timestamp-time", r->at + 7,
                    "hours are 00 to 23, minutes and seconds 00 to 59 (RFC 3164 4.1.2)");
    out->timestamp = (struct view){p, STAMP_BYTES};
    r->at += STAMP_BYTES + 1;
    return true;
}

/* A name without domain, or an address: only the latter may hold dots. */
static void check_host(struct reader *r, struct view host, size_t start)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct in_addr address;

    if (host.n == 0)
        reader_flag(r, "hostname", start, "HOSTNAME is missing (RFC 3164 4.1.2)");
    if (!reader_visible(host))
        reader_flag(r, "hostname", start, "HOSTNAME is printable US-ASCII (RFC 3164 4.1.2)");
    if (memchr(host.p, '.', host.n) == NULL || memchr(host.p, ':', host.n) != NULL)
        return;
    if (host.n < sizeof text) {
        memcpy(text, host.p, host.n);
        if (inet_pton(AF_INET, text, &address) == 1)
            return;
    }
    reader_flag(r, "hostname-domain", start, "HOSTNAME has no domain (RFC 3164 4.1.2)");
}

/* TAG ends at the first byte that is neither letter nor digit; common senders put - _ . / into it,
 * so it is measured up to the colon or bracket that closes it. */
static void read_tag(struct reader *r, struct parsed *out)
{
    struct view m = out->msg;
    size_t i = 0;
    size_t pid = 0;

    while (i < m.n && m.p[i] != ':' && m.p[i] != '[' && m.p[i] != ' ')
        i++;
    if (i == 0 || i == m.n || m.p[i] == ' ')
        return;
    out->app_name = (struct view){m.p, i};
    if (i > TAG_MAX)
        reader_flag(r, "tag", r->at + TAG_MAX, "TAG has at most 32 characters (RFC 3164 4.1.3)");
    if (m.p[i] != '[')
        return;
    for (pid = i + 1; pid < m.n && m.p[pid] != ']' && m.p[pid] != ' ';)
        pid++;
    if (pid < m.n && m.p[pid] == ']')
        out->procid = (struct view){m.p + i + 1, pid - i - 1};
}

void parse_bsd(struct reader *r, struct parsed *out)
{
    size_t start = 0;

    if (r->n > PACKET_MAX)
        reader_flag(r, "length", PACKET_MAX, "a packet has at most 1024 bytes (RFC 3164 4.1)");
    if (!read_stamp(r, out))
        return;
    start = r->at;
    out->hostname = reader_word(r);
    check_host(r, out->hostname, start);
    if (r->at == r->n)
        return;
    r->at++;
    out->msg = (struct view){r->p + r->at, r->n - r->at};
    read_tag(r, out);
    for (size_t i = 0; i < out->msg.n; i++) {
        unsigned char c = (unsigned char)out->msg.p[i];

        /* TAB passes: LEEF 1.0 separates by it and is sent behind this very header. */
        if ((c < 32 && c != '\t') || c == 127) {
            reader_flag(r, "msg-control", r->at + i,
                        "MSG holds visible characters and spaces only (RFC 3164 4.1.3)");
            return;
        }
    }
}
