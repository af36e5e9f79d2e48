/* Start and stop of the consume stage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/client.h"
#include "consume/internal.h"

#include "base/diag.h"

void consume_default_name(const char *spool_path, char *out, size_t size)
{
    char host[65] = "";
    uint32_t hash = 2166136261u; /* FNV-1a: any stable spread will do */

    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "relay");
    for (const char *p = spool_path; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    snprintf(out, size, "%s-%08x", host, hash);
}

int consume_start(struct consume **out, const struct consume_options *options, struct slsr_err *err)
{
    struct consume *consume = calloc(1, sizeof *consume);
    int rc = 0;

    *out = NULL;
    if (consume == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a consumer");
    consume->o = *options;
    if (consume->o.open == NULL)
        consume->o.open = client_open;
    pthread_mutex_init(&consume->lock, NULL);
    note_set(consume, &consume->note, "starting", NULL);
    consume->stream.project = options->source->project;
    consume->stream.logstore = options->logstore;
    consume->memory = memory_acquire(options->source, options->source->memory_bytes);
    consume->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (consume->memory == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for a consumer");
    else if (consume->wake < 0)
        rc = slsr_fail_errno(err, SLSR_EIO, errno, "cannot make an event descriptor");
    else if (pthread_create(&consume->thread, NULL, group_run, consume) != 0)
        rc = slsr_fail(err, SLSR_ENOMEM, "cannot start the consumer of logstore %s",
                       options->logstore);
    if (rc != 0) {
        if (consume->wake >= 0)
            close(consume->wake);
        memory_release(consume->memory);
        pthread_mutex_destroy(&consume->lock);
        free(consume);
        return rc;
    }
    *out = consume;
    return 0;
}

void consume_join(struct consume *consume)
{
    if (consume == NULL)
        return;
    pthread_join(consume->thread, NULL);
    diag(SLSR_LOG_INFO, "consume",
         "%s/%s: pulled %llu logs (%llu raw bytes), %llu without a frame, %llu filtered",
         consume->stream.project, consume->stream.logstore,
         (unsigned long long)consume->pulled_logs, (unsigned long long)consume->pulled_bytes,
         (unsigned long long)consume->dead_logs, (unsigned long long)consume->dropped_logs);
    close(consume->wake);
    memory_release(consume->memory);
    pthread_mutex_destroy(&consume->lock);
    free(consume->workers);
    free(consume);
}
