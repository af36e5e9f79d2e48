/* What is damaged is set aside, said once, and the relay goes on (I5).
 *
 * A chunk stays where it is: its segment is never written to again, the readers pass it by. A
 * segment whose page tree is bad is renamed, so that nobody opens it again and an operator can look
 * at it. Both become a ledger entry; the ledger is written by the keeper, because readers may not
 * wait for a disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool/internal.h"

#include "slsrelay/ledger.h"

#include "base/count.h"
#include "base/diag.h"

enum { INCIDENTS_MAX = 1000 };

static bool known(const struct slsr_spool *spool, uint64_t from)
{
    for (size_t i = 0; i < spool->quarantined_count; i++)
        if (spool->quarantined[i] == from)
            return true;
    return false;
}

static void remember(struct slsr_spool *spool, uint64_t from)
{
    uint64_t *more = realloc(spool->quarantined, (spool->quarantined_count + 1) * sizeof *more);

    if (more == NULL)
        return; /* it may be entered twice */
    spool->quarantined = more;
    more[spool->quarantined_count++] = from;
}

void incident_add(struct slsr_spool *spool, const char *kind, const char *reason, uint64_t from,
                  uint64_t to, uint64_t bytes, const char *text)
{
    struct incident *incident = calloc(1, sizeof *incident);

    count_add(COUNT_GAPS, reason, NULL, 1);
    count_add(COUNT_FRAMES_DROPPED, reason, NULL, to - from);
    diag(SLSR_LOG_ERROR, "spool", "%s", text);
    if (incident == NULL)
        return;
    snprintf(incident->kind, sizeof incident->kind, "%s", kind);
    snprintf(incident->reason, sizeof incident->reason, "%s", reason);
    incident->from = from;
    incident->to = to;
    incident->bytes = bytes;
    snprintf(incident->text, sizeof incident->text, "%s", text);
    incident->next = spool->incidents;
    spool->incidents = incident;
    pthread_cond_signal(&spool->keep);
}

void quarantine_chunk(struct slsr_spool *spool, uint64_t from, uint64_t to, uint64_t bytes,
                      const char *why)
{
    char text[400];

    if (spool->mode != SLSR_SPOOL_WRITE)
        return;
    pthread_mutex_lock(&spool->lock);
    if (!known(spool, from) && spool->quarantined_count < INCIDENTS_MAX) {
        snprintf(text, sizeof text, "frames %llu..%llu are damaged and left out: %s",
                 (unsigned long long)from, (unsigned long long)(to - 1), why);
        remember(spool, from);
        recent_forget(&spool->recent, UINT64_MAX); /* what is set aside comes from nowhere */
        incident_add(spool, "quarantine", "checksum", from, to, bytes, text);
    }
    pthread_mutex_unlock(&spool->lock);
}

void quarantine_segment(struct slsr_spool *spool, struct segment *seg, const char *why)
{
    char path[4200];
    char aside[4208];
    char text[700];
    uint64_t to = seg->first + 1;
    size_t i = 0;

    while (i < spool->segment_count && spool->segments[i] != seg)
        i++;
    if (i + 1 < spool->segment_count)
        to = spool->segments[i + 1]->first;
    segment_path(spool, seg->first, path, sizeof path);
    snprintf(aside, sizeof aside, "%s.bad", path);
    if (rename(path, aside) != 0)
        diag(SLSR_LOG_ERROR, "spool", "cannot rename damaged %s: check its owner", path);
    snprintf(aside, sizeof aside, "%s-lock", path);
    unlink(aside);
    snprintf(text, sizeof text,
             "frames %llu..%s%llu are left out, their segment is damaged and now called "
             "seg-%016llx.mdb.bad: %s",
             (unsigned long long)seg->first, i + 1 < spool->segment_count ? "" : "at least ",
             (unsigned long long)(to - 1), (unsigned long long)seg->first, why);
    remember(spool, seg->first);
    recent_forget(&spool->recent, UINT64_MAX);
    incident_add(spool, "quarantine", "checksum", seg->first, to, seg->disk_bytes, text);
    if (i < spool->segment_count) {
        memmove(spool->segments + i, spool->segments + i + 1,
                (spool->segment_count - i - 1) * sizeof(struct segment *));
        spool->segment_count--;
    }
    seg->active = false;
    segment_bury(spool, seg);
}

static bool enter(struct slsr_spool *spool, const struct incident *incident)
{
    struct slsr_ledger_entry entry = {.from_seq = incident->from,
                                      .to_seq = incident->to,
                                      .frames = incident->to - incident->from,
                                      .bytes = incident->bytes};

    memcpy(entry.kind, incident->kind, sizeof entry.kind);
    memcpy(entry.reason, incident->reason, sizeof entry.reason);
    memcpy(entry.text, incident->text, sizeof entry.text);
    return slsr_ledger_add(spool, &entry, NULL) == 0;
}

void incidents_flush(struct slsr_spool *spool)
{
    struct incident *list;
    struct incident *oldest = NULL;

    pthread_mutex_lock(&spool->lock);
    list = spool->incidents;
    spool->incidents = NULL;
    pthread_mutex_unlock(&spool->lock);
    while (list != NULL) { /* turn it round */
        struct incident *next = list->next;

        list->next = oldest;
        oldest = list;
        list = next;
    }
    while (oldest != NULL && enter(spool, oldest)) {
        struct incident *next = oldest->next;

        free(oldest);
        oldest = next;
    }
    pthread_mutex_lock(&spool->lock);
    while (oldest != NULL) { /* the disk is full: next time */
        struct incident *next = oldest->next;

        oldest->next = spool->incidents;
        spool->incidents = oldest;
        oldest = next;
    }
    pthread_mutex_unlock(&spool->lock);
}

void quarantine_load(struct slsr_spool *spool)
{
    struct slsr_ledger_entry *entries = NULL;
    size_t count = 0;

    if (slsr_ledger_list(spool, 1, &entries, &count, NULL) != 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].kind, "quarantine") == 0)
            remember(spool, entries[i].from_seq);
    free(entries);
}

void quarantine_free(struct slsr_spool *spool)
{
    while (spool->incidents != NULL) {
        struct incident *next = spool->incidents->next;

        free(spool->incidents);
        spool->incidents = next;
    }
    free(spool->quarantined);
}
