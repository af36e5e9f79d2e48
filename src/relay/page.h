/* Indoors of the page: what its parts share. */
#ifndef RELAY_PAGE_H
#define RELAY_PAGE_H

#include "relay/metrics.h"

enum { PAGE_TEXT = 48 };

struct page {
    const struct watch *watch;
    struct slsr_status status;
    struct room room;
    struct history_rates rates;
    uint64_t behind_frames; /* of the slowest target */
    int64_t oldest_s;       /* age of the oldest frame that a target has not taken */
};

/* Text as HTML text or attribute value. */
void page_html(FILE *out, const char *text);
/* For people: "12,345"; "3.4 GiB"; "15 min". They return out. */
const char *page_count(char out[PAGE_TEXT], double value);
const char *page_size(char out[PAGE_TEXT], double bytes);
const char *page_duration(char out[PAGE_TEXT], double s);

/* page_curves.c: throughput and backlog of the last hours as SVG. */
void page_curves(FILE *out, const struct page *page);
/* page_ledger.c: what happened to frames other than delivery. */
void page_ledger(FILE *out, const struct page *page);

/* page.css and page.js, built in by CMake. */
extern const char page_css[], page_js[];
extern const size_t page_css_size, page_js_size;

#endif
