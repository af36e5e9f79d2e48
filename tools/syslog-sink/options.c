/* Command line of syslog-sink: reads, checks, explains. Every problem ends with exit code 64. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slsrelay/cli.h"
#include "slsrelay/plain.h"

static const char help[] =
    "Usage: syslog-sink --listen URL [--listen URL]... [options]\n"
    "Receives syslog and counts it: a stand-in for a SIEM in tests and demonstrations.\n"
    "\n"
    "  --listen URL        tcp://HOST:PORT, or udp, tls, relp, relp+tls; port 0 takes a free\n"
    "                      one. Each is printed on stdout when it is ready\n"
    "  --cert F --key F    certificate chain and private key for tls (PEM)\n"
    "  --ca F              demand client certificates that were signed by F\n"
    "  --framing KIND      auto (default; a digit first means octet), octet or lf\n"
    "  --max-message N     longest message in bytes, also 64KiB or 1MiB (default 1MiB)\n"
    "  --output FILE       append each message and LF to FILE\n"
    "  --discard           write messages nowhere (default)\n"
    "  --stats FILE        counters as JSON: on exit, on SIGUSR1, every second while they change\n"
    "  --expect N          distinct messages expected by provenance; the rest counts as lost\n"
    "  --strict            check every message against RFC 5424 or 3164, report violations\n"
    "  --rate N/s          take at most N messages a second\n"
    "  --die-after N       die like a crash after N messages, exit code 1\n"
    "  --reset-after N     reset each connection (RST) after N messages\n"
    "  --stall-after N     stop reading after N messages, keep connections open\n"
    "  --help, --version\n"
    "\n"
    "TERM or INT: take what has arrived, write the statistics, exit 0.\n";

__attribute__((format(printf, 1, 2))) static int usage(const char *format, ...)
{
    char text[512];
    char shown[sizeof text];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    fprintf(stderr, "syslog-sink: %s; see syslog-sink --help\n",
            slsr_plain(shown, sizeof shown, text));
    return EXIT_USAGE;
}

static bool read_number(const char *text, uint64_t max, uint64_t *out, const char **rest)
{
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    *rest = end;
    return errno == 0 && *out <= max;
}

static int read_count(const char *name, const char *text, const char *suffix, uint64_t *out)
{
    const char *rest = NULL;

    if (!read_number(text, UINT64_MAX / 2, out, &rest) || *out == 0 ||
        (*rest != '\0' && strcmp(rest, suffix) != 0))
        return usage("--%s %s: give a whole number above 0%s%s", name, text,
                     *suffix != '\0' ? ", such as 500" : "", suffix);
    return -1;
}

static int read_size(const char *text, size_t *out)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", UINT64_C(1024) * 1024}};
    enum { LIMIT = 64 * 1024 * 1024 };
    const char *rest = NULL;
    uint64_t n = 0;

    if (read_number(text, LIMIT, &n, &rest) && n > 0) {
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            if (strcmp(rest, units[i].unit) == 0 && n * units[i].factor <= LIMIT) {
                *out = (size_t)(n * units[i].factor);
                return -1;
            }
        }
    }
    return usage("--max-message %s: give bytes from 1 to 64MiB, such as 64KiB", text);
}

static int read_framing(const char *text, enum framing *out)
{
    static const char *const names[] = {"auto", "octet", "lf"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum framing)i;
            return -1;
        }
    }
    return usage("--framing %s: give auto, octet or lf", text);
}

/* Splits HOST:PORT or [IPV6]:PORT. */
static bool split_host(const char *text, struct endpoint *e)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    const char *rest = NULL;
    uint64_t port = 0;

    if (n >= 2 && text[0] == '[' && colon[-1] == ']') {
        host++;
        n -= 2;
    } else if (n > 0 && memchr(text, ':', n) != NULL) {
        return false;
    }
    if (n == 0 || n >= sizeof e->host || !read_number(colon + 1, 65535, &port, &rest) ||
        *rest != '\0')
        return false;
    memcpy(e->host, host, n);
    e->host[n] = '\0';
    snprintf(e->port, sizeof e->port, "%u", (unsigned)port);
    return true;
}

static int read_listen(struct options *o, const char *url)
{
    static const char *const names[] = {"tcp://", "udp://", "tls://", "relp://", "relp+tls://"};

    if (o->listen_count == LISTEN_MAX)
        return usage("--listen %s: at most %d addresses", url, (int)LISTEN_MAX);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct endpoint *e = &o->listen[o->listen_count];

        if (strncmp(url, names[i], strlen(names[i])) != 0)
            continue;
        if (!split_host(url + strlen(names[i]), e))
            break;
        e->scheme = (enum scheme)i;
        o->listen_count++;
        return -1;
    }
    return usage("--listen %s: give tcp://HOST:PORT, or udp, tls, relp, relp+tls", url);
}

enum key {
    KEY_LISTEN = 256,
    KEY_CERT,
    KEY_KEY,
    KEY_CA,
    KEY_FRAMING,
    KEY_MAX,
    KEY_OUTPUT,
    KEY_DISCARD,
    KEY_STATS,
    KEY_EXPECT,
    KEY_STRICT,
    KEY_RATE,
    KEY_DIE,
    KEY_RESET,
    KEY_STALL,
    KEY_HELP = 'h',
    KEY_VERSION = 'V'
};

static const struct option table[] = {
    {"listen", 1, NULL, KEY_LISTEN},     {"cert", 1, NULL, KEY_CERT},
    {"key", 1, NULL, KEY_KEY},           {"ca", 1, NULL, KEY_CA},
    {"framing", 1, NULL, KEY_FRAMING},   {"max-message", 1, NULL, KEY_MAX},
    {"output", 1, NULL, KEY_OUTPUT},     {"discard", 0, NULL, KEY_DISCARD},
    {"stats", 1, NULL, KEY_STATS},       {"expect", 1, NULL, KEY_EXPECT},
    {"strict", 0, NULL, KEY_STRICT},     {"rate", 1, NULL, KEY_RATE},
    {"die-after", 1, NULL, KEY_DIE},     {"reset-after", 1, NULL, KEY_RESET},
    {"stall-after", 1, NULL, KEY_STALL}, {"help", 0, NULL, KEY_HELP},
    {"version", 0, NULL, KEY_VERSION},   {NULL, 0, NULL, 0}};

/* Options whose value is kept as it is. NULL: key is none of them. */
static const char **text_option(struct options *o, int key)
{
    switch (key) {
    case KEY_CERT:
        return &o->cert;
    case KEY_KEY:
        return &o->key;
    case KEY_CA:
        return &o->ca;
    case KEY_OUTPUT:
        return &o->output;
    case KEY_STATS:
        return &o->stats;
    default:
        return NULL;
    }
}

static int read_one(struct options *o, int key, const char *value, bool *discard)
{
    switch (key) {
    case KEY_LISTEN:
        return read_listen(o, value);
    case KEY_FRAMING:
        return read_framing(value, &o->framing);
    case KEY_MAX:
        return read_size(value, &o->max_message);
    case KEY_DISCARD:
        *discard = true;
        return -1;
    case KEY_STRICT:
        o->strict = true;
        return -1;
    case KEY_EXPECT:
        o->expect_set = true;
        return read_count("expect", value, "", &o->expect);
    case KEY_RATE:
        return read_count("rate", value, "/s", &o->rate);
    case KEY_DIE:
        return read_count("die-after", value, "", &o->die_after);
    case KEY_RESET:
        return read_count("reset-after", value, "", &o->reset_after);
    case KEY_STALL:
        return read_count("stall-after", value, "", &o->stall_after);
    default:
        return usage("unknown option: give one of those in the help");
    }
}

static int check(const struct options *o, bool discard)
{
    const char *idle = o->cert != NULL  ? "--cert"
                       : o->key != NULL ? "--key"
                       : o->ca != NULL  ? "--ca"
                                        : NULL;
    bool any_tls = false;

    if (o->listen_count == 0)
        return usage("no --listen: say where to receive, such as tcp://127.0.0.1:5514");
    if (discard && o->output != NULL)
        return usage("--output and --discard exclude each other: leave one out");
    for (size_t i = 0; i < o->listen_count; i++)
        any_tls = any_tls || scheme_is_tls(o->listen[i].scheme);
    if (any_tls && (o->cert == NULL || o->key == NULL))
        return usage("tls needs --cert FILE and --key FILE");
    if (!any_tls && idle != NULL)
        return usage("%s has no effect: no --listen is tls or relp+tls", idle);
    return -1;
}

static int print_page(const char *text)
{
    fputs(text, stdout);
    if (fflush(stdout) == 0)
        return EXIT_FINE;
    fprintf(stderr, "syslog-sink: standard output: %s: give it room\n", strerror(errno));
    return EXIT_IO;
}

static int refused(int key, char *const *argv)
{
    char text[SLSR_CLI_TEXT];

    slsr_cli_refused(text, key, table, argv);
    fprintf(stderr, "syslog-sink: %s\n", text);
    return EXIT_USAGE;
}

int options_read(struct options *o, int argc, char **argv)
{
    bool discard = false;
    int key = 0;

    *o = (struct options){.max_message = (size_t)1024 * 1024};
    opterr = 0;
    while ((key = getopt_long(argc, argv, ":hV", table, NULL)) != -1) {
        const char **text = text_option(o, key);
        int rc = -1;

        if (key == KEY_HELP || key == KEY_VERSION) {
            return print_page(key == KEY_HELP ? help : "syslog-sink " SLSR_VERSION "\n");
        }
        if (key == ':' || key == '?')
            return refused(key, argv);
        if (text != NULL && optarg[0] == '\0')
            return usage("%s '': give a file",
                         argv[optind - 1][0] == '-' ? argv[optind - 1] : argv[optind - 2]);
        if (text != NULL)
            *text = optarg;
        else
            rc = read_one(o, key, optarg, &discard);
        if (rc != -1)
            return rc;
    }
    if (optind < argc)
        return usage("%s: not an option", argv[optind]);
    return check(o, discard);
}
