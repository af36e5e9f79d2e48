/* Asks the service every hour how long it keeps the logs: the figure behind the alert that logs are
 * about to be deleted there before they are read. A failure is no news (the consumers tell it
 * better): the last answer stays, and the next try comes after one minute, two, four, up to an
 * hour. */
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
    size_t count;
    _Atomic int64_t retention_s[]; /* of each logstore, 0: not known */
};

/* True when all logstores have answered. */
static bool ask(struct survey *survey, const struct slsr_source_config *source, size_t first)
{
    struct client *client = NULL;
    bool all = true;
    int64_t seconds;

    if (client_open(&client, source, NULL, &survey->stop, NULL) != 0)
        return false;
    for (size_t i = 0; i < source->logstore_count; i++)
        if (client_logstore_retention(client, source->logstores[i], &seconds, NULL) == 0) {
            survey->retention_s[first + i] = seconds;
            count_set(COUNT_LOGSTORE_RETENTION_SECONDS, source->logstores[i], NULL,
                      (double)seconds);
        } else {
            all = false;
        }
    client_close(client);
    return all;
}

static void *run(void *arg)
{
    struct survey *survey = arg;
    int64_t wait_ms = 0;
    bool all;

    pthread_setname_np(pthread_self(), "survey");
    do {
        size_t first = 0;

        all = true;
        for (size_t i = 0; i < survey->config->source_count; i++) {
            all = ask(survey, &survey->config->sources[i], first) && all;
            first += survey->config->sources[i].logstore_count;
        }
        wait_ms = all || wait_ms > EVERY_MS / 2 ? EVERY_MS : wait_ms == 0 ? AGAIN_MS : wait_ms * 2;
    } while (!slsr_stop_wait(&survey->stop, wait_ms));
    return NULL;
}

struct survey *survey_start(const struct slsr_config *config)
{
    struct survey *survey;
    size_t count = 0;

    for (size_t i = 0; i < config->source_count; i++)
        count += config->sources[i].logstore_count;
    survey = calloc(1, sizeof *survey + count * sizeof survey->retention_s[0]);
    if (survey == NULL)
        return NULL;
    survey->count = count;
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

int64_t survey_retention_s(const struct survey *survey, size_t n)
{
    return survey != NULL && n < survey->count ? survey->retention_s[n] : 0;
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
