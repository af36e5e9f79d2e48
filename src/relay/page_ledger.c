/* The ledger on the page: gaps, drops, dead frames and what operators ordered, newest first. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "relay/page.h"

#include "slsrelay/ledger.h"

enum { ROWS = 20 };

static void row(FILE *out, const struct slsr_ledger_entry *entry)
{
    const time_t when_s = (time_t)(entry->time_ms / 1000);
    char text[PAGE_TEXT];
    struct tm tm;

    gmtime_r(&when_s, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    fprintf(out, "<tr><td><time>%s</time></td><td>", text);
    page_html(out, entry->kind);
    fputs("</td><td>", out);
    page_html(out, entry->target[0] != '\0' ? entry->target : entry->logstore);
    fprintf(out, "</td><td>%s</td><td>",
            entry->frames > 0 ? page_count(text, (double)entry->frames) : "–");
    page_html(out, entry->text[0] != '\0' ? entry->text : entry->reason);
    fputs("</td><td>", out);
    page_html(out, entry->who);
    fputs("</td></tr>\n", out);
}

void page_ledger(FILE *out, const struct page *page)
{
    struct slsr_ledger_entry *entries = NULL;
    size_t count = 0;
    struct slsr_err err = {0};

    fputs("<section class=\"wide\" id=\"ledger\"><h2>Ledger<small>what happened to frames other "
          "than delivery, UTC</small></h2>\n",
          out);
    if (slsr_ledger_list(page->watch->spool, 1, &entries, &count, &err) != 0) {
        fputs("<p class=\"note\">", out);
        page_html(out, err.text);
        fputs("</p>", out);
    } else if (count == 0) {
        fputs("<p class=\"note\">Nothing: every frame went the ordinary way.</p>", out);
    } else {
        fputs("<table><thead><tr><th>When</th><th>What</th><th>Where</th><th>Frames</th>"
              "<th>Why</th><th>Who</th></tr></thead><tbody>\n",
              out);
        for (size_t i = 0; i < count && i < ROWS; i++)
            row(out, &entries[count - 1 - i]);
        fputs("</tbody></table>", out);
        if (count > ROWS)
            fprintf(out, "<p class=\"note\">%zu older ones: sls-spool gaps</p>", count - ROWS);
    }
    fputs("</section>\n", out);
    free(entries);
}
