/* Clock, waiting and figures of the simulator, see sim.h. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "sim.h"

static int64_t clock_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t sim_now_us(const struct sim *sim)
{
    int64_t wound_us = atomic_load(&sim->wound_us);
    int64_t base_us = wound_us != 0 ? wound_us : clock_us(CLOCK_REALTIME);

    return base_us + atomic_load(&sim->ahead_ms) * 1000 + atomic_load(&sim->skew_s) * 1000000;
}

int64_t sim_mono_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t sim_clock_ms(const struct sim *sim)
{
    int64_t base_ms = atomic_load(&sim->wound_us) != 0 ? sim->started_ms : sim_mono_ms();

    return base_ms + atomic_load(&sim->ahead_ms);
}

bool sim_wait(struct sim *sim, int64_t ms)
{
    int64_t until_ms = sim_mono_ms() + ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000 * 1000000)};
    bool stopping;
    int rc = 0;

    pthread_mutex_lock(&sim->stop_lock);
    while (!sim->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&sim->stop_cond, &sim->stop_lock, &until);
    stopping = sim->stopping;
    pthread_mutex_unlock(&sim->stop_lock);
    return stopping;
}

void sim_count(struct sim *sim, enum call call, const struct answer *a)
{
    const char *code = a->code[0] != '\0' ? a->code : "(none)";
    size_t i = 0;

    pthread_mutex_lock(&sim->stats.lock);
    sim->stats.calls[call]++;
    if (a->status != 200) {
        sim->stats.errors[call]++;
        while (i < sim->stats.codes && strcmp(sim->stats.code[i].code, code) != 0)
            i++;
        if (i == sim->stats.codes && i < ERROR_KINDS)
            snprintf(sim->stats.code[sim->stats.codes++].code, ERROR_CODE_SIZE, "%s", code);
        if (i < ERROR_KINDS)
            sim->stats.code[i].count++;
    }
    pthread_mutex_unlock(&sim->stats.lock);
}
