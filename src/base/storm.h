/* Which of our own messages are said when the same one comes again and again.
 *
 * The same: what stands before its first ": " (who) and the format behind it (what). Of such
 * messages STORM_BURST are said in STORM_WINDOW_MS, the others are counted; the number comes with
 * the next one that is said, or by itself when the storm is over. At log.level debug all are said.
 * Not thread-safe. */
#ifndef BASE_STORM_H
#define BASE_STORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORM_BURST = 10, STORM_WINDOW_MS = 60000, STORM_SLOTS = 64, STORM_TEXT = 200 };

struct storm_slot {
    uint64_t key; /* 0: free */
    int64_t since_ms;
    uint32_t said, hushed;
    int level;
    const char *area; /* borrowed for ever: a literal */
    char text[STORM_TEXT];
};

struct storm {
    struct storm_slot slots[STORM_SLOTS];
};

/* Shall this message be said? *hushed: how many were not since the last one that was. format and
 * area are literals; text is what format made. now_ms: monotonic. */
bool storm_says(struct storm *storm, const char *format, int level, const char *area,
                const char *text, int64_t now_ms, uint32_t *hushed);
/* A message whose storm is over: its slot with the number of those that were not said, which is
 * free with the next call. NULL: none is due. */
const struct storm_slot *storm_over(struct storm *storm, int64_t now_ms);

#endif
