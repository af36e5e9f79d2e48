/* Asks the service every hour how long it keeps the logs: the figure behind the alert that logs are
 * about to be deleted there before they are read. A failure is no news (the consumers tell it
 * better): the last answer stays. */
#include <pthread.h>
#include <stdlib.h>

#include "relay/metrics.h"

#include "client/client.h"

#include "base/count.h"

enum { EVERY_MS = 3600 * 1000, AGAIN_MS = 60 * 1000 };

struct survey {
    const struct slsr_config *config;
    struct slsr_stop stop;
    pthread_t thread;
};

/* True when all logstores have answered. */
static bool ask(struct survey *survey, const struct slsr_source_config *source)
{
    struct client *client = NULL;
    bool all = true;
    int64_t seconds;

    if (client_open(&client, source, NULL, &survey->stop, NULL) != 0)
        return false;
    for (size_t i = 0; i < source->logstore_count; i++)
        if (client_logstore_retention(client, source->logstores[i], &seconds, NULL) == 0)
            count_set(COUNT_LOGSTORE_RETENTION_SECONDS, source->logstores[i], NULL,
                      (double)seconds);
        else
            all = false;
    client_close(client);
    return all;
}

static void *run(void *arg)
{
    struct survey *survey = arg;
    bool all;

    pthread_setname_np(pthread_self(), "survey");
    do {
        all = true;
        for (size_t i = 0; i < survey->config->source_count; i++)
            all = ask(survey, &survey->config->sources[i]) && all;
    } while (!slsr_stop_wait(&survey->stop, all ? EVERY_MS : AGAIN_MS));
    return NULL;
}

struct survey *survey_start(const struct slsr_config *config)
{
    struct survey *survey = calloc(1, sizeof *survey);

    if (survey == NULL)
        return NULL;
    survey->config = config;
    if (slsr_stop_init(&survey->stop, NULL) != 0) {
        free(survey);
        return NULL;
    }
    if (pthread_create(&survey->thread, NULL, run, survey) != 0) {
        slsr_stop_fini(&survey->stop);
        free(survey);
        return NULL;
    }
    return survey;
}

void survey_stop(struct survey *survey)
{
    if (survey == NULL)
        return;
    slsr_stop_request(&survey->stop);
    pthread_join(survey->thread, NULL);
    slsr_stop_fini(&survey->stop);
    free(survey);
}
