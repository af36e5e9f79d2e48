/* --test-connection: one line per step with its time; goes on after a failure, so that all of them
 * show at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relay/reach.h"
#include "relay/relay.h"

#include "client/client.h"

#include "slsrelay/deliver.h"

#include "base/clock.h"
#include "base/count.h"

enum { REACH_MS = 10000, SKEW_MAX_S = 300 };

struct probe {
    FILE *out;
    int first;            /* code of the first failure */
    struct slsr_err *err; /* its text */
    int64_t began_ns;
};

static void step(struct probe *probe, const char *what, const char *where, int rc,
                 const struct slsr_err *err)
{
    const double ms = (double)(clock_mono_ns() - probe->began_ns) / 1e6;

    fprintf(probe->out, "%-8s %-36s %8.1f ms  %s%s%s\n", rc == 0 ? "ok" : "FAILED", what, ms, where,
            rc == 0 ? "" : ": ", rc == 0 ? "" : err->text);
    if (rc != 0 && probe->first == 0) {
        probe->first = rc;
        if (probe->err != NULL)
            *probe->err = *err;
        slsr_wrap(probe->err, rc, "%s", what);
    }
    probe->began_ns = clock_mono_ns();
}

/* The steps "resolve" and "connect"; false when one of them failed. */
static bool probe_reach(struct probe *probe, const char *what, const char *host, int port,
                        int timeout_ms)
{
    struct reach reach;
    struct slsr_err err = {0};
    char step_name[64];
    char where[400];
    int rc = reach_resolve(&reach, host, port, &err);

    snprintf(step_name, sizeof step_name, "%s: resolve", what);
    if (rc == 0)
        snprintf(where, sizeof where, "%.255s is %s", host, reach.address);
    else
        snprintf(where, sizeof where, "%.255s", host);
    step(probe, step_name, where, rc, &err);
    if (rc == 0) {
        rc = reach_connect(&reach, timeout_ms, &err);
        snprintf(step_name, sizeof step_name, "%s: connect", what);
        snprintf(where, sizeof where, "%s port %d", reach.address, port);
        step(probe, step_name, where, rc, &err);
    }
    reach_fini(&reach);
    return rc == 0;
}

/* The service's Date header against our clock, known once it has answered. */
static void probe_clock(struct probe *probe)
{
    const double skew = count_value(COUNT_CLOCK_SKEW_SECONDS, NULL, NULL);
    struct slsr_err err = {0};
    char where[80];
    int rc = 0;

    if (skew > SKEW_MAX_S || skew < -SKEW_MAX_S)
        rc = slsr_fail(&err, SLSR_ECLOCK,
                       "the service refuses requests at 15 minutes: set this machine's clock");
    snprintf(where, sizeof where, "%+.0f s against the service", skew);
    step(probe, "SLS: clock", where, rc, &err);
}

/* Who is at the other end by its certificate, and for how long: ", /CN=x until 2027-01-02 (39
 * days)".
 */
static void say_certificate(char *out, size_t size, const struct slsr_probe *seen)
{
    const time_t end = (time_t)(seen->peer_expiry_ms / 1000);
    const long long days = (seen->peer_expiry_ms - clock_wall_ms()) / 86400000;
    char date[32] = "?";
    struct tm tm;

    out[0] = '\0';
    if (seen->peer[0] == '\0')
        return;
    if (gmtime_r(&end, &tm) != NULL)
        strftime(date, sizeof date, "%Y-%m-%d", &tm);
    snprintf(out, size, ", certificate of %s until %s (%lld days)", seen->peer, date, days);
}

/* The service's TLS alone, by the same rules as a target's: the names and the authority. */
static void probe_service_tls(struct probe *probe, const struct slsr_source_config *source,
                              struct client_place *place)
{
    struct slsr_target_config target;
    struct slsr_probe seen = {0};
    struct slsr_err err = {0};
    char where[600];
    int rc;

    if (!place->https)
        return;
    if (slsr_target_from_url(&target, "tls://service:443", &err) != 0)
        return;
    free(target.host);
    target.host = strdup(place->host);
    target.port = place->port;
    target.tls.server_name = place->name; /* borrowed: slsr_target_free leaves it alone */
    target.tls.ca_file = source->ca_file;
    rc = target.host == NULL ? slsr_fail(&err, SLSR_ENOMEM, "out of memory")
                             : slsr_deliver_probe(&target, NULL, &seen, &err);
    say_certificate(where, sizeof where, &seen);
    step(probe, "SLS: TLS", where[0] != '\0' ? where + 2 : place->name, rc, &err);
    target.tls.server_name = target.tls.ca_file = NULL;
    slsr_target_free(&target);
}

static void probe_source(struct probe *probe, const struct slsr_source_config *source)
{
    struct client *client = NULL;
    struct client_place place;
    struct slsr_err err = {0};
    int rc;

    probe->began_ns = clock_mono_ns();
    rc = client_place_of(&place, source, &err);
    if (rc != 0) {
        step(probe, "SLS endpoint", source->endpoint, rc, &err);
        return;
    }
    /* Behind a proxy neither the name nor the port of the service is ours to reach. */
    if (source->proxy == NULL) {
        if (!probe_reach(probe, "SLS", place.host, place.port, REACH_MS))
            return;
        probe_service_tls(probe, source, &place);
    }
    rc = client_open(&client, source, NULL, NULL, &err);
    if (rc != 0) {
        step(probe, "SLS endpoint", source->endpoint, rc, &err);
        return;
    }
    for (size_t i = 0; i < source->logstore_count; i++) {
        struct client_shard *shards = NULL;
        struct client_checkpoint checkpoint;
        size_t count = 0;

        rc = client_list_shards(client, source->logstores[i], &shards, &count, &err);
        step(probe, i == 0 ? "SLS connect, sign in, logstore" : "SLS logstore",
             source->logstores[i], rc, &err);
        if (rc == 0 && count > 0) {
            rc = client_get_checkpoint(client, source->logstores[i], source->consumer_group,
                                       shards[0].id, &checkpoint, &err);
            /* a group that is not there yet is made by the relay at its start */
            step(probe,
                 rc == SLSR_ENOTFOUND ? "SLS consumer group (will be created)"
                                      : "SLS consumer group",
                 source->consumer_group, rc == SLSR_ENOTFOUND ? 0 : rc, &err);
        }
        free(shards);
    }
    probe_clock(probe);
    client_close(client);
}

int relay_test_connection(const struct slsr_config *config, FILE *out, struct slsr_err *err)
{
    struct probe probe = {.out = out, .err = err};

    for (size_t i = 0; i < config->source_count; i++)
        probe_source(&probe, &config->sources[i]);
    for (size_t i = 0; i < config->target_count; i++) {
        const struct slsr_target_config *target = &config->targets[i];
        struct slsr_err why = {0};
        const bool tls = slsr_target_uses_tls(target);
        struct slsr_probe seen = {0};
        char certificate[320];
        char what[128];
        char where[800];
        int rc;

        probe.began_ns = clock_mono_ns();
        rc = slsr_deliver_probe(target, NULL, &seen, &why);
        say_certificate(certificate, sizeof certificate, &seen);
        snprintf(what, sizeof what, "target %s: connect%s", target->name, tls ? ", TLS" : "");
        snprintf(where, sizeof where, "%s port %d%s",
                 target->host != NULL ? target->host : "its servers", target->port, certificate);
        step(&probe, what, where, rc, &why);
    }
    return probe.first;
}
