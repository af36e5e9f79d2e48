/* What the relay says of itself at its start: versions and effective limits, for whoever reads the
 * diagnostics of last month. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "relay/internal.h"

#include "client/client.h"
#include "codec/codec.h"
#include "format/format.h"
#include "transport/transport.h"

#include "base/diag.h"

void relay_libraries(char out[RELAY_LIBRARIES])
{
    static void (*const areas[])(char *out, size_t size) = {
        client_libraries,      transport_libraries, slsr_spool_libraries, codec_libraries,
        slsr_config_libraries, format_libraries,    metrics_libraries};
    size_t n = 0;

    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        n += (size_t)snprintf(out + n, RELAY_LIBRARIES - n, "%s", i > 0 ? ", " : "");
        areas[i](out + n, RELAY_LIBRARIES / 8);
        n += strlen(out + n);
    }
}

/* "unlimited" or the number, of what the process may have. */
static const char *allowed(char out[24], int resource)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return "?";
    if (limit.rlim_cur == RLIM_INFINITY)
        return "unlimited";
    snprintf(out, 24, "%llu", (unsigned long long)limit.rlim_cur);
    return out;
}

/* What all sources together may take. */
static int64_t memory_bytes(const struct slsr_config *config)
{
    int64_t sum = 0;

    for (size_t i = 0; i < config->source_count; i++)
        sum += config->sources[i].memory_bytes;
    return sum;
}

void relay_greet(const struct relay *relay)
{
    const struct slsr_config *config = relay->config;
    const struct slsr_spool_config *spool = &config->spool;
    char libraries[RELAY_LIBRARIES];
    char files[24];
    char core[24];

    relay_libraries(libraries);
    diag(SLSR_LOG_NOTICE, "relay", "sls-relay %s with %s", SLSR_VERSION, libraries);
    diag(SLSR_LOG_NOTICE, "relay",
         "spool %s (limit %lld MiB, keeps %lld MiB disk free), %zu source(s), %zu target(s), "
         "consumer %s",
         spool->path, (long long)(spool->max_size_bytes >> 20),
         (long long)(spool->min_free_disk_bytes >> 20), config->source_count, config->target_count,
         relay->watch.consumer);
    diag(SLSR_LOG_NOTICE, "relay",
         "limits: %lld MiB memory for pulls, messages of %lld bytes, delivered frames kept for "
         "%lld s, %s open files, core files of %s bytes, stuck after %lld s",
         (long long)(memory_bytes(config) >> 20), (long long)config->format.max_message_bytes,
         (long long)(spool->retention_time_ms / 1000), allowed(files, RLIMIT_NOFILE),
         allowed(core, RLIMIT_CORE), (long long)(relay->watch.stuck_ms / 1000));
}
