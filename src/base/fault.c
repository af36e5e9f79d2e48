/* The fault points' one switch: SLSR_FAULT, read once. */
#include "base/fault.h"

#include <stddef.h>

#ifdef SLSR_FAULTS
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#endif

static const char *const names[] = {
#define FAULT_TEXT(id, name) name,
    FAULT_POINTS(FAULT_TEXT)
#undef FAULT_TEXT
};

const char *fault_name(int point)
{
    return point >= 0 && point < FAULT_COUNT ? names[point] : NULL;
}

#ifdef SLSR_FAULTS
enum { DIE = -1 };

static struct {
    int point; /* -1: none chosen */
    unsigned turn;
    int what; /* errno or DIE */
} chosen = {.point = -1};
static atomic_uint seen;

static void choose(void)
{
    const char *text = getenv("SLSR_FAULT");
    char name[64];
    char what[16];
    unsigned turn;

    if (text == NULL || sscanf(text, "%63[^:]:%u:%15s", name, &turn, what) != 3)
        return;
    chosen.turn = turn;
    chosen.what = strcmp(what, "die") == 0 ? DIE : strcmp(what, "EIO") == 0 ? EIO : ENOSPC;
    for (int i = 0; i < FAULT_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            chosen.point = i;
}

int fault_at(enum fault_point point)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, choose);
    if ((int)point != chosen.point || atomic_fetch_add(&seen, 1) + 1 != chosen.turn)
        return 0;
    if (chosen.what != DIE)
        return chosen.what;
    kill(getpid(), SIGKILL);
    for (;;)
        pause(); /* the signal is on its way */
}
#endif
