/* A ring of samples, one every HISTORY_STEP_MS, for the curves of the page. 300 KiB, never more. */
#include <pthread.h>
#include <stdlib.h>

#include "relay/metrics.h"

/* Rates look back so far: long enough to be calm, short enough to be news. */
enum { RATE_POINTS = 4, SLOPE_POINTS = 120 };

struct history {
    pthread_mutex_t lock;
    size_t next, count;
    struct history_point points[HISTORY_SIZE];
};

struct history *history_new(void)
{
    struct history *history = calloc(1, sizeof *history);

    if (history != NULL)
        pthread_mutex_init(&history->lock, NULL);
    return history;
}

void history_free(struct history *history)
{
    if (history != NULL)
        pthread_mutex_destroy(&history->lock);
    free(history);
}

void history_add(struct history *history, const struct history_point *point)
{
    pthread_mutex_lock(&history->lock);
    history->points[history->next] = *point;
    history->next = (history->next + 1) % HISTORY_SIZE;
    if (history->count < HISTORY_SIZE)
        history->count++;
    pthread_mutex_unlock(&history->lock);
}

/* The point `back` steps before the newest. */
static const struct history_point *at(const struct history *history, size_t back)
{
    return &history->points[(history->next + HISTORY_SIZE - 1 - back) % HISTORY_SIZE];
}

size_t history_read(struct history *history, struct history_point *out, size_t max)
{
    size_t n;

    pthread_mutex_lock(&history->lock);
    n = history->count < max ? history->count : max;
    for (size_t i = 0; i < n; i++) {
        /* evenly, and always with the newest and the oldest */
        const size_t back = n > 1 ? (n - 1 - i) * (history->count - 1) / (n - 1) : 0;

        out[i] = *at(history, back);
    }
    pthread_mutex_unlock(&history->lock);
    return n;
}

void history_rates(struct history *history, struct history_rates *out)
{
    *out = (struct history_rates){-1, -1, -1};
    pthread_mutex_lock(&history->lock);
    if (history->count >= 2) {
        const size_t back =
            history->count - 1 < RATE_POINTS - 1 ? history->count - 1 : RATE_POINTS - 1;
        const size_t far =
            history->count - 1 < SLOPE_POINTS - 1 ? history->count - 1 : SLOPE_POINTS - 1;
        const struct history_point *now = at(history, 0);
        const struct history_point *then = at(history, back);
        const struct history_point *long_ago = at(history, far);
        const double seconds = (double)(now->time_ms - then->time_ms) / 1000;
        const double slope_s = (double)(now->time_ms - long_ago->time_ms) / 1000;

        if (seconds > 0) {
            out->spooled = (double)(now->spooled - then->spooled) / seconds;
            out->delivered = now->delivered >= then->delivered
                                 ? (double)(now->delivered - then->delivered) / seconds
                                 : 0;
        }
        /* below a percent of change the prediction would be noise */
        if (slope_s > 0 && now->needed - long_ago->needed > 1e-6 && now->needed > 0.01)
            out->full_eta_s = (1 - now->needed) * slope_s / (now->needed - long_ago->needed);
    }
    pthread_mutex_unlock(&history->lock);
}
