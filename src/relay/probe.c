/* --test-connection: one line per step with its time; goes on after a failure, so that all of them
 * show at once. */
#include <stdio.h>
#include <stdlib.h>

#include "relay/relay.h"

#include "client/client.h"
#include "format/format.h"

#include "slsrelay/deliver.h"

#include "base/clock.h"

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

    fprintf(probe->out, "%-8s %-34s %8.1f ms  %s%s%s\n", rc == 0 ? "ok" : "FAILED", what, ms, where,
            rc == 0 ? "" : ": ", rc == 0 ? "" : err->text);
    if (rc != 0 && probe->first == 0) {
        probe->first = rc;
        if (probe->err != NULL)
            *probe->err = *err;
    }
    probe->began_ns = clock_mono_ns();
}

static void probe_source(struct probe *probe, const struct slsr_source_config *source)
{
    struct client *client = NULL;
    struct slsr_err err = {0};
    int rc;

    probe->began_ns = clock_mono_ns();
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
        char where[160];

        probe.began_ns = clock_mono_ns();
        snprintf(where, sizeof where, "%s at %s port %d", target->name, target->host, target->port);
        step(&probe, "target connect", where, slsr_deliver_probe(target, NULL, &why), &why);
    }
    return probe.first;
}

int relay_check(const struct slsr_config *config, struct slsr_err *err)
{
    const struct slsr_stream stream = {"check", "check", 0};
    struct format_plan *plan = NULL;
    const int rc = format_plan_new(&plan, &config->format, &stream, err);

    format_plan_free(plan);
    return slsr_wrap(err, rc, "$.format");
}
