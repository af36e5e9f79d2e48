/* A small table of the messages of late. When it is full, the one that was silent for longest makes
 * room: a storm is what comes often, so it stays. */
#include <stdio.h>
#include <string.h>

#include "base/storm.h"

/* FNV-1a over the format's address and the text up to its first ": ". */
static uint64_t key_of(const char *format, const char *text)
{
    const char *end = strstr(text, ": ");
    const size_t n = end != NULL ? (size_t)(end - text) : 0;
    uint64_t key = 1469598103934665603u ^ (uint64_t)(uintptr_t)format;

    for (size_t i = 0; i < n; i++)
        key = (key ^ (unsigned char)text[i]) * 1099511628211u;
    return key != 0 ? key : 1;
}

static struct storm_slot *slot_of(struct storm *storm, uint64_t key)
{
    struct storm_slot *oldest = &storm->slots[0];

    for (size_t i = 0; i < STORM_SLOTS; i++) {
        struct storm_slot *slot = &storm->slots[i];

        if (slot->key == key)
            return slot;
        /* one with a number to tell is the last to go */
        if (slot->key == 0 || (slot->hushed == 0 && oldest->hushed > 0) ||
            ((slot->hushed == 0) == (oldest->hushed == 0) && slot->since_ms < oldest->since_ms))
            oldest = oldest->key == 0 ? oldest : slot;
    }
    *oldest = (struct storm_slot){.key = key, .since_ms = INT64_MIN / 2};
    return oldest;
}

bool storm_says(struct storm *storm, const char *format, int level, const char *area,
                const char *text, int64_t now_ms, uint32_t *hushed)
{
    struct storm_slot *slot = slot_of(storm, key_of(format, text));

    *hushed = 0;
    if (now_ms - slot->since_ms >= STORM_WINDOW_MS) {
        *hushed = slot->hushed;
        slot->since_ms = now_ms;
        slot->said = 1;
        slot->hushed = 0;
        return true;
    }
    if (slot->said < STORM_BURST) {
        slot->said++;
        return true;
    }
    slot->hushed++;
    slot->level = level;
    slot->area = area;
    snprintf(slot->text, sizeof slot->text, "%s", text);
    return false;
}

const struct storm_slot *storm_over(struct storm *storm, int64_t now_ms)
{
    for (size_t i = 0; i < STORM_SLOTS; i++) {
        struct storm_slot *slot = &storm->slots[i];

        if (slot->key != 0 && slot->hushed > 0 && now_ms - slot->since_ms >= STORM_WINDOW_MS) {
            slot->key = 0;
            return slot;
        }
    }
    return NULL;
}
