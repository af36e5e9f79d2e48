/* sls-sim: a stand-in for the log service, for tests, demonstrations and the benchmark.
 *
 * Arguments become a struct sim with projects, logstores and logs; a socket is opened; the server
 * answers until TERM or INT. What cannot be opened or read ends the start with one sentence. */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim.h"
#include "slsrelay/cli.h"
#include "slsrelay/plain.h"
#include "text.h"

enum {
    EXIT_USAGE = 64,
    EXIT_UNREACHABLE = 69,
    EXIT_CANNOT_CREATE = 73,
    EXIT_DISK = 74,
    EXIT_BUSY = 75,
    BACKLOG = 4096
};

struct options {
    const char *listen;
    struct pairs projects;
    struct pairs logstores; /* name, shards */
    const char *generate;
    const char *load;
    const char *payloads;
    const char *transcript;
    const char *transcript_calls;
    const char *state;
    bool fresh; /* no state to go on from */
    struct generate feed;
};

enum {
    OPT_LISTEN = 256,
    OPT_KEY,
    OPT_TOKEN,
    OPT_PROJECT,
    OPT_LOGSTORE,
    OPT_GENERATE,
    OPT_SEED,
    OPT_LOAD,
    OPT_PAYLOADS,
    OPT_FAULT,
    OPT_TRANSCRIPT,
    OPT_TRANSCRIPT_CALLS,
    OPT_STS_KEY,
    OPT_STATE,
    OPT_RETENTION,
    OPT_QUOTA,
    OPT_CLOCK,
    OPT_HELP = 'h',
    OPT_VERSION = 'V',
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"access-key", required_argument, NULL, OPT_KEY},
    {"token", required_argument, NULL, OPT_TOKEN},
    {"project", required_argument, NULL, OPT_PROJECT},
    {"logstore", required_argument, NULL, OPT_LOGSTORE},
    {"generate", required_argument, NULL, OPT_GENERATE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"load", required_argument, NULL, OPT_LOAD},
    {"payloads", required_argument, NULL, OPT_PAYLOADS},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"transcript", required_argument, NULL, OPT_TRANSCRIPT},
    {"transcript-calls", required_argument, NULL, OPT_TRANSCRIPT_CALLS},
    {"sts-key", required_argument, NULL, OPT_STS_KEY},
    {"state", required_argument, NULL, OPT_STATE},
    {"retention", required_argument, NULL, OPT_RETENTION},
    {"quota", required_argument, NULL, OPT_QUOTA},
    {"clock", required_argument, NULL, OPT_CLOCK},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static void print_help(void)
{
    printf(
        "sls-sim --listen HOST:PORT [options]\n"
        "Answers the log service API (shards, pulls, uploads, consumer groups) from memory.\n\n"
        "  --listen HOST:PORT       where to listen; port 0 picks a free one\n"
        "  --access-key ID:SECRET   accepted key pair, repeatable (demo:demo-secret)\n"
        "  --sts-key ID:SECRET:TOKEN[@S]  temporary key with its token, valid for S seconds\n"
        "  --token TOKEN            security token that has to come with every request\n"
        "  --project P              project, repeatable (demo)\n"
        "  --logstore NAME:SHARDS   logstore in every project, repeatable (audit:2)\n"
        "  --generate N[@PER_S]     make N audit logs in the first logstore, at once or over time\n"
        "  --seed S                 number that the generated logs depend on (1)\n"
        "  --load FILE.jsonl        logs, one JSON object a line\n"
        "  --payloads DIR           serve prepared *.lz4 bodies with *.json beside them\n"
        "  --state FILE             keep everything there and go on from it\n"
        "  --retention S            logs older than that go (the logstore's ttl, 30 days)\n"
        "  --quota NAME=N[,..]      per shard and second: read-bytes reads write-bytes writes\n"
        "  --clock TIME             a clock that stands, such as 20250102T030405Z\n"
        "  --fault SPEC             order a fault, repeatable; also live: POST /_sim/faults\n"
        "  --transcript FILE        append requests and answers as JSON lines\n"
        "  --transcript-calls A,B   only these calls\n"
        "  --help  --version\n\n"
        "SPEC: %s\n"
        "GET /_sim/stats tells what happened. The project is the first label of Host.\n",
        fault_grammar);
}

static int print_page(int option)
{
    if (option == OPT_HELP)
        print_help();
    else
        puts("sls-sim " SLSR_VERSION);
    if (fflush(stdout) == 0)
        return 0;
    fprintf(stderr, "sls-sim: standard output, %s: give it room\n", strerror(errno));
    return EXIT_DISK;
}

/* value: NULL for one that may be a secret. */
static int usage(const char *option, const char *value, const char *why)
{
    char shown[200];

    if (value == NULL)
        fprintf(stderr, "sls-sim: %s, %s: see sls-sim --help\n", option, why);
    else
        fprintf(stderr, "sls-sim: %s %s, %s: see sls-sim --help\n", option,
                value[0] != '\0' ? slsr_plain(shown, sizeof shown, value) : "''", why);
    return EXIT_USAGE;
}

/* "ID:SECRET" or "NAME:SHARDS"; the error never shows the value, it may be a secret. */
static bool add_split(struct pairs *list, const char *text)
{
    char *copy = xstrdup(text);
    char *colon = strchr(copy, ':');
    bool ok = colon != NULL && colon != copy && colon[1] != '\0';

    if (ok) {
        *colon = '\0';
        pairs_add(list, copy, colon + 1);
    }
    free(copy);
    return ok;
}

static int add_logstore(struct options *o, const char *text)
{
    uint64_t shards;
    const struct pair *last;

    if (!add_split(&o->logstores, text))
        return usage("--logstore", text, "not NAME:SHARDS");
    last = &o->logstores.v[o->logstores.n - 1];
    if (!store_name_ok(last->name, true) || !text_number(last->value, SHARDS_MAX, &shards) ||
        shards == 0)
        return usage("--logstore", text, "not a name and 1 to 4096 shards");
    for (size_t i = 0; i + 1 < o->logstores.n; i++)
        if (strcmp(o->logstores.v[i].name, last->name) == 0)
            return usage("--logstore", text, "given twice");
    return 0;
}

/* "ID:SECRET:TOKEN[@SECONDS]" */
static bool add_sts_key(struct sim *sim, const char *text)
{
    char *copy = xstrdup(text);
    char *rest = copy;
    char *id = strsep(&rest, ":");
    char *secret = strsep(&rest, ":");
    char *token = rest;
    char *at = token == NULL ? NULL : strrchr(token, '@');
    uint64_t seconds = 0;
    bool ok = token != NULL && *id != '\0' && *secret != '\0' && *token != '\0';

    if (ok && at != NULL) {
        *at++ = '\0';
        ok = text_number(at, INT32_MAX, &seconds);
    }
    if (ok)
        auth_set_key(&sim->keys, id, secret, token,
                     at == NULL ? INT64_MAX : sim_now_us(sim) / 1000000 + (int64_t)seconds);
    free(copy);
    return ok;
}

/* "reads=100,read-bytes=10485760" */
static bool set_quota(struct quota *q, const char *text)
{
    const struct {
        const char *name;
        uint64_t *value;
    } members[] = {{"read-bytes", &q->read_bytes},
                   {"reads", &q->reads},
                   {"write-bytes", &q->write_bytes},
                   {"writes", &q->writes}};
    char *copy = xstrdup(text);
    char *rest = copy;
    bool ok = true;

    for (char *item = strsep(&rest, ","); ok && item != NULL; item = strsep(&rest, ",")) {
        char *value = strchr(item, '=');
        size_t i = 0;

        if (value != NULL)
            *value++ = '\0';
        while (i < 4 && strcmp(item, members[i].name) != 0)
            i++;
        ok = i < 4 && value != NULL && text_number(value, INT64_MAX, members[i].value);
    }
    free(copy);
    return ok;
}

static bool choose_calls(struct sim *sim, const char *text)
{
    char *copy = xstrdup(text);
    char *rest = copy;
    bool ok = true;

    for (int i = 0; i < CALL_COUNT; i++)
        sim->transcribed[i] = false;
    for (char *item = strsep(&rest, ","); ok && item != NULL; item = strsep(&rest, ",")) {
        ok = false;
        for (int i = 0; i < CALL_COUNT; i++) {
            if (strcmp(item, call_names[i]) == 0)
                ok = sim->transcribed[i] = true;
        }
    }
    free(copy);
    return ok;
}

static int take_clock(struct sim *sim, const char *value)
{
    int64_t time_s;

    if (!date_parse_basic(value, &time_s))
        return usage("--clock", value, "not like 20250102T030405Z");
    atomic_store(&sim->wound_us, time_s * 1000000);
    return 0;
}

/* Keys, tokens, limits and clocks. */
static int take_service_option(struct sim *sim, struct options *o, int option, const char *value)
{
    uint64_t number;

    switch (option) {
    case OPT_KEY:
        return add_split(&sim->keys.keys, value) ? 0 : usage("--access-key", NULL, "not ID:SECRET");
    case OPT_STS_KEY:
        return add_sts_key(sim, value) ? 0 : usage("--sts-key", NULL, "not ID:SECRET:TOKEN[@S]");
    case OPT_TOKEN:
        if (value[0] == '\0')
            return usage("--token", value, "no token");
        free(sim->keys.token);
        sim->keys.token = xstrdup(value);
        return 0;
    case OPT_STATE:
        o->state = value;
        return 0;
    case OPT_RETENTION:
        if (!text_number(value, INT32_MAX, &number) || number == 0)
            return usage("--retention", value, "not a number of seconds");
        sim->retention_s = (int64_t)number;
        return 0;
    case OPT_QUOTA:
        return set_quota(&sim->store.quota, value) ? 0 : usage("--quota", value, "not NAME=N[,..]");
    case OPT_CLOCK:
        return take_clock(sim, value);
    case OPT_TRANSCRIPT_CALLS:
        o->transcript_calls = value;
        return choose_calls(sim, value) ? 0 : usage("--transcript-calls", value, "no such call");
    default:
        return usage("option", "", "unknown");
    }
}

static int take_option(struct sim *sim, struct options *o, int option, const char *value)
{
    const char *why = "";

    switch (option) {
    case OPT_LISTEN:
        o->listen = value;
        return 0;
    case OPT_PROJECT:
        if (!store_name_ok(value, false))
            return usage("--project", value, "not a project name");
        pairs_add(&o->projects, value, "");
        return 0;
    case OPT_LOGSTORE:
        return add_logstore(o, value);
    case OPT_GENERATE:
        o->generate = value;
        return feed_parse_generate(value, &o->feed) ? 0
                                                    : usage("--generate", value, "not N[@PER_S]");
    case OPT_SEED:
        return text_number(value, UINT64_MAX, &o->feed.seed)
                   ? 0
                   : usage("--seed", value, "not a number");
    case OPT_LOAD:
        o->load = value;
        return 0;
    case OPT_PAYLOADS:
        o->payloads = value;
        return 0;
    case OPT_FAULT:
        return fault_add(&sim->faults, value, &why) ? 0 : usage("--fault", value, why);
    case OPT_TRANSCRIPT:
        o->transcript = value;
        return 0;
    default:
        return take_service_option(sim, o, option, value);
    }
}

static void sim_init(struct sim *sim)
{
    pthread_condattr_t attr;

    store_init(&sim->store);
    sim->state_fd = -1;
    for (int i = 0; i < CALL_COUNT; i++)
        sim->transcribed[i] = true;
    fault_init(&sim->faults);
    pthread_mutex_init(&sim->stats.lock, NULL);
    pthread_mutex_init(&sim->transcript_lock, NULL);
    pthread_mutex_init(&sim->stop_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sim->stop_cond, &attr);
    pthread_condattr_destroy(&attr);
    sim->started_ms = sim_mono_ms();
}

static void sim_fini(struct sim *sim, struct options *o)
{
    if (sim->transcript != NULL)
        fclose(sim->transcript);
    fault_clear(&sim->faults);
    store_fini(&sim->store);
    auth_fini(&sim->keys);
    state_close(sim);
    pairs_fini(&o->projects);
    pairs_fini(&o->logstores);
}

/* The first logstore of the first project: where generated and loaded logs go. */
static struct logstore *first_logstore(struct sim *sim)
{
    return sim->store.projects[0]->logstores[0];
}

static void add_named(struct sim *sim, struct project *p, const struct pair *wanted, int64_t now_s)
{
    struct logstore *ls;

    if (store_logstore(p, wanted->name) != NULL)
        return;
    ls = store_add_logstore(p, wanted->name, (unsigned)atoi(wanted->value), now_s);
    ls->retention_s = sim->retention_s;
    state_logstore(sim, ls);
}

static int fill_store(struct sim *sim, struct options *o)
{
    int64_t now_s = sim_now_us(sim) / 1000000;
    int rc = 0;

    if (o->projects.n == 0)
        pairs_add(&o->projects, "demo", "");
    if (o->logstores.n == 0)
        pairs_add(&o->logstores, "audit", "2");
    for (size_t i = 0; i < o->projects.n; i++) {
        struct project *p = store_project(&sim->store, o->projects.v[i].name);

        if (p == NULL) {
            p = store_add_project(&sim->store, o->projects.v[i].name, now_s);
            state_project(sim, p);
        }
        for (size_t k = 0; k < o->logstores.n; k++) {
            add_named(sim, p, &o->logstores.v[k], now_s);
        }
    }
    if (o->payloads != NULL)
        rc = feed_payloads(sim, first_logstore(sim), o->payloads);
    if (rc == 0 && o->load != NULL && o->fresh)
        rc = feed_load(sim, first_logstore(sim), o->load);
    if (rc == 0 && o->generate != NULL && o->feed.per_second == 0)
        feed_generate(sim, first_logstore(sim), &o->feed);
    return rc;
}

static int listen_on(const struct addrinfo *where)
{
    int on = 1;
    int fd = socket(where->ai_family, where->ai_socktype | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    /* No delay is inherited by accepted connections. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Splits HOST:PORT or [HOST]:PORT and listens there. Returns an exit code. */
static int open_socket(const char *where, int *fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(where, ':');
    char host[NAME_SIZE];
    uint64_t port;
    int rc;

    if (colon == NULL || colon == where || (size_t)(colon - where) >= sizeof host ||
        !text_number(colon + 1, 65535, &port))
        return usage("--listen", where, "not HOST:PORT");
    snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
    if (host[0] == '[' && colon[-1] == ']') {
        memmove(host, host + 1, strlen(host));
        host[strlen(host) - 1] = '\0';
    }
    rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) {
        fprintf(stderr, "sls-sim: listen on %s, %s: give an address of this machine\n", where,
                gai_strerror(rc));
        return EXIT_UNREACHABLE;
    }
    *fd = listen_on(found);
    rc = errno;
    freeaddrinfo(found);
    if (*fd >= 0)
        return 0;
    fprintf(stderr, "sls-sim: listen on %s, %s: choose another port or stop its owner\n", where,
            strerror(rc));
    return rc == EADDRINUSE ? EXIT_BUSY : EXIT_CANNOT_CREATE;
}

static void announce(const char *where, int fd, bool default_key)
{
    struct sockaddr_storage address = {0};
    socklen_t n = sizeof address;
    char port[16] = "";

    getsockname(fd, (struct sockaddr *)&address, &n);
    getnameinfo((struct sockaddr *)&address, n, NULL, 0, port, sizeof port, NI_NUMERICSERV);
    if (default_key)
        printf("sls-sim: access key demo:demo-secret (no --access-key given)\n");
    printf("sls-sim: listening on http://%.*s:%s\n", (int)(strrchr(where, ':') - where), where,
           port);
    fflush(stdout);
}

struct feeder {
    struct sim *sim;
    struct logstore *ls;
    const struct generate *feed;
};

static void *feed_thread(void *arg)
{
    struct feeder *f = arg;

    feed_generate(f->sim, f->ls, f->feed);
    return NULL;
}

/* A connection is a descriptor, and thousands of shards mean thousands of connections. */
static void allow_many_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Serves until a signal comes. */
static int serve(struct sim *sim, struct options *o, int fd, bool default_key)
{
    struct feeder feeder = {sim, first_logstore(sim), &o->feed};
    bool feeding = o->generate != NULL && o->feed.per_second != 0;
    struct server *server;
    pthread_t thread;
    sigset_t signals;
    int number;

    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    server = server_start(sim, fd);
    if (server == NULL) {
        close(fd);
        fprintf(stderr, "sls-sim: HTTP server, cannot start: check the limits of this process\n");
        return EXIT_CANNOT_CREATE;
    }
    if (feeding && pthread_create(&thread, NULL, feed_thread, &feeder) != 0) {
        feeding = false;
        fprintf(stderr, "sls-sim: generator, no thread: check the limits of this process\n");
    }
    announce(o->listen, fd, default_key);
    sigwait(&signals, &number);
    pthread_mutex_lock(&sim->stop_lock);
    sim->stopping = true;
    pthread_cond_broadcast(&sim->stop_cond);
    pthread_mutex_unlock(&sim->stop_lock);
    if (feeding)
        pthread_join(thread, NULL);
    server_stop(server);
    return 0;
}

static int start(struct sim *sim, struct options *o)
{
    bool default_key = sim->keys.keys.n == 0 && sim->keys.sts_count == 0;
    int fd = -1;
    int rc;

    if (o->listen == NULL)
        return usage("--listen", "HOST:PORT", "missing");
    if (default_key)
        pairs_add(&sim->keys.keys, "demo", "demo-secret");
    if (o->transcript != NULL) {
        sim->transcript = fopen(o->transcript, "ae");
        if (sim->transcript == NULL) {
            fprintf(stderr, "sls-sim: %s, %s: give a writable file to --transcript\n",
                    o->transcript, strerror(errno));
            return EXIT_CANNOT_CREATE;
        }
    }
    if (o->state != NULL && o->payloads != NULL)
        return usage("--payloads", o->payloads, "cannot be kept in a --state file");
    rc = o->state == NULL ? 0 : state_open(sim, o->state, &o->fresh);
    if (rc == 0)
        rc = fill_store(sim, o);
    if (rc == 0)
        rc = open_socket(o->listen, &fd);
    return rc == 0 ? serve(sim, o, fd, default_key) : rc;
}

static int refused(int option, char *const *argv)
{
    char text[SLSR_CLI_TEXT];

    slsr_cli_refused(text, option, long_options, argv);
    fprintf(stderr, "sls-sim: %s\n", text);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct sim sim;
    struct options o = {.fresh = true, .feed = {.seed = 1}};
    int option;
    int rc = 0;

    sim_init(&sim);
    opterr = 0;
    while (rc == 0 && (option = getopt_long(argc, argv, ":hV", long_options, NULL)) != -1) {
        if (option == OPT_HELP || option == OPT_VERSION) {
            sim_fini(&sim, &o);
            return print_page(option);
        }
        if (option == ':' || option == '?')
            rc = refused(option, argv);
        else
            rc = take_option(&sim, &o, option, optarg);
    }
    if (rc == 0 && optind < argc)
        rc = usage("argument", argv[optind], "not expected");
    if (rc == 0)
        rc = start(&sim, &o);
    sim_fini(&sim, &o);
    return rc;
}
