/* GET /: one self-contained page, rendered here and complete without JavaScript.
 *
 * With JavaScript the page asks for itself again every two seconds and puts the new <main> in the
 * place of the old one: what is shown has one source, and cannot differ between both ways. Every
 * text from outside goes through html(). Style and script: page.css, page.js, built in. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "relay/page.h"

#include "base/clock.h"

void page_html(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
        }
}

const char *page_count(char out[PAGE_TEXT], double value)
{
    char digits[32];
    size_t n = 0;

    if (value >= 1e7)
        snprintf(out, PAGE_TEXT, "%.*f %s", value >= 1e9 ? 2 : 1,
                 value >= 1e9 ? value / 1e9 : value / 1e6, value >= 1e9 ? "G" : "M");
    else {
        const int length = snprintf(digits, sizeof digits, "%.0f", value < 0 ? 0 : value);

        for (int i = 0; i < length; i++) {
            if (i > 0 && (length - i) % 3 == 0)
                out[n++] = ',';
            out[n++] = digits[i];
        }
        out[n] = '\0';
    }
    return out;
}

const char *page_size(char out[PAGE_TEXT], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(out, PAGE_TEXT, "%.*f %s", unit == 0 || bytes >= 100 ? 0 : 1, bytes, units[unit]);
    return out;
}

const char *page_duration(char out[PAGE_TEXT], double s)
{
    if (s < 120)
        snprintf(out, PAGE_TEXT, "%.0f s", s);
    else if (s < 7200)
        snprintf(out, PAGE_TEXT, "%.0f min", s / 60);
    else if (s < 172800)
        snprintf(out, PAGE_TEXT, "%.1f h", s / 3600);
    else
        snprintf(out, PAGE_TEXT, "%.0f days", s / 86400);
    return out;
}

/* The worst of what is the matter, as the light in the corner and a sentence. */
static void verdict(FILE *out, const struct page *p)
{
    const struct slsr_status *s = &p->status;
    char why[400];
    const char *tone = "good";
    size_t down = 0;
    const char *first = NULL;

    for (size_t i = 0; i < s->target_count; i++)
        if (s->targets[i].state.phase != SLSR_PHASE_UP &&
            s->targets[i].state.phase != SLSR_PHASE_IDLE &&
            (s->targets[i].state.error[0] != '\0' || s->targets[i].backlog_frames > 0)) {
            down++;
            first = first == NULL ? s->targets[i].state.name : first;
        }
    if (!watch_alive(p->watch, why, sizeof why))
        tone = "bad";
    else if (s->stat.full) {
        tone = "bad";
        snprintf(why, sizeof why,
                 "The spool is full: no logs are pulled until a target takes some");
    } else if (down == 1) {
        tone = "bad";
        snprintf(why, sizeof why, "%s takes nothing; frames are kept in the spool", first);
    } else if (down > 1) {
        tone = "bad";
        snprintf(why, sizeof why, "%zu targets take nothing; frames are kept in the spool", down);
    } else if (p->behind_frames > 0) {
        tone = p->oldest_s > 60 ? "fair" : "good";
        snprintf(why, sizeof why, p->oldest_s > 60 ? "Catching up" : "Delivering");
    } else {
        snprintf(why, sizeof why, "Everything spooled is delivered");
    }
    fprintf(out, "<p class=\"verdict %s\" id=\"verdict\"><i></i>", tone);
    page_html(out, why);
    fputs("</p>\n", out);
}

static void figure(FILE *out, const char *id, const char *value, const char *label)
{
    fprintf(out, "<div class=\"figure\"><b id=\"%s\">%s</b><span>%s</span></div>\n", id, value,
            label);
}

/* Logs that are about to be lost in the service, because nobody pulls them. */
static void source_expiry(FILE *out, const struct page *p, const struct slsr_source_state *source)
{
    enum { BEHIND_S = 150 }; /* less is no backlog: the stored position is up to a minute old */
    const int64_t left_s = slsr_source_expires_s(source, p->status.now_ms);
    char text[PAGE_TEXT];

    if (left_s < 0 || slsr_source_behind_s(source, p->status.now_ms) < BEHIND_S)
        return;
    fputs("<p class=\"note\"><b>", out);
    page_html(out, source->logstore);
    fprintf(out, ":</b> oldest unpulled data expires in SLS in <strong>%s</strong></p>\n",
            page_duration(text, (double)left_s));
}

static void source_card(FILE *out, const struct page *p)
{
    const struct slsr_status *s = &p->status;
    char text[PAGE_TEXT];
    int64_t lag = -1;

    for (size_t i = 0; i < s->shard_count; i++)
        if (s->shards[i].lag_s > lag)
            lag = s->shards[i].lag_s;
    fputs("<section class=\"card\" id=\"source\"><h2>Log Service</h2>\n", out);
    figure(out, "rate-in", p->rates.spooled < 0 ? "–" : page_count(text, p->rates.spooled),
           "logs a second");
    figure(out, "lag", lag < 0 ? "–" : page_duration(text, (double)lag), "behind the newest log");
    fprintf(out, "<p class=\"note\">%zu shard%s", s->shard_count, s->shard_count == 1 ? "" : "s");
    for (size_t i = 0; i < p->watch->config->source_count; i++) {
        fputs(i == 0 ? " of " : ", ", out);
        page_html(out, p->watch->config->sources[i].project);
    }
    fputs("</p>\n", out);
    for (size_t i = 0; i < s->source_count; i++) {
        const struct slsr_source_state *source = &s->sources[i];

        source_expiry(out, p, source);
        if (source->error[0] == '\0')
            continue;
        fputs("<p class=\"note\"><b>", out);
        page_html(out, source->logstore);
        fputs(": ", out);
        page_html(out, source->state);
        fputs("</b> ", out);
        page_html(out, source->error);
        fputs("</p>\n", out);
    }
    fputs("</section>\n", out);
}

static void spool_card(FILE *out, const struct page *p)
{
    const struct slsr_spool_stat *stat = &p->status.stat;
    char text[PAGE_TEXT];
    char more[PAGE_TEXT];

    fputs("<section class=\"card\" id=\"spool\"><h2>Spool</h2>\n", out);
    figure(out, "frames", page_count(text, (double)stat->next_seq - (stat->next_seq > 0)),
           "frames spooled in all");
    figure(out, "behind", page_count(text, (double)p->behind_frames), "not yet delivered");
    fprintf(out,
            "<div class=\"level\" role=\"img\" aria-label=\"%.0f percent of the spool is used, "
            "%.0f percent is not yet delivered\"><i class=\"kept\" style=\"width:%.2f%%\"></i>"
            "<i class=\"due\" style=\"width:%.2f%%\"></i></div>\n",
            p->room.full * 100, p->room.needed * 100, p->room.full * 100, p->room.needed * 100);
    fprintf(out, "<p class=\"note\">%s of %s on disk", page_size(text, (double)stat->disk_bytes),
            page_size(more, (double)p->room.allowed_bytes));
    if (p->rates.full_eta_s >= 0 && p->rates.full_eta_s < 30 * 86400.0)
        fprintf(out, " · <strong id=\"full-eta\">full in %s</strong> at this rate",
                page_duration(text, p->rates.full_eta_s));
    fputs("</p></section>\n", out);
}

static void target_row(FILE *out, const struct slsr_target_figures *t, int64_t now_ms)
{
    const struct slsr_target_state *state = &t->state;
    const bool up = state->phase == SLSR_PHASE_UP || state->phase == SLSR_PHASE_IDLE;
    char text[PAGE_TEXT];

    fprintf(out, "<li class=\"%s\" data-target=\"",
            up                                      ? "good"
            : state->phase == SLSR_PHASE_CONNECTING ? "fair"
                                                    : "bad");
    page_html(out, state->name);
    fputs("\"><div><i></i><b>", out);
    page_html(out, state->name);
    fprintf(out, "</b><em>%s", slsr_phase_name(state->phase));
    if (state->phase_since_ms > 0)
        fprintf(out, " for %s",
                page_duration(text, (double)(now_ms - state->phase_since_ms) / 1000));
    fprintf(out, "</em></div><span>%s behind", page_count(text, (double)t->backlog_frames));
    if (t->oldest_age_s > 0)
        fprintf(out, ", oldest %s", page_duration(text, (double)t->oldest_age_s));
    if (state->rate_frames_s >= 1)
        fprintf(out, " · %s a second", page_count(text, state->rate_frames_s));
    if (up && t->eta_s > 5 && t->backlog_frames > 0)
        fprintf(out, " · done in %s", page_duration(text, (double)t->eta_s));
    fputs("</span>", out);
    if (state->error[0] != '\0' && !up) {
        fputs("<span class=\"cause\">", out);
        page_html(out, state->error);
        if (t->next_retry_s >= 0)
            fprintf(out, " · next try in %s", page_duration(text, (double)t->next_retry_s));
        fputs("</span>", out);
    }
    fputs("</li>\n", out);
}

static void target_card(FILE *out, const struct page *p)
{
    char text[PAGE_TEXT];

    fputs("<section class=\"card\" id=\"targets\"><h2>Targets</h2>\n", out);
    figure(out, "rate-out", p->rates.delivered < 0 ? "–" : page_count(text, p->rates.delivered),
           "frames a second taken");
    fputs("<ul>\n", out);
    for (size_t i = 0; i < p->status.target_count; i++)
        target_row(out, &p->status.targets[i], p->status.now_ms);
    fputs("</ul></section>\n", out);
}

static void shard_table(FILE *out, const struct page *p)
{
    char text[PAGE_TEXT];

    fputs("<section class=\"wide\" id=\"shards\"><h2>Shards</h2>\n<table><thead><tr><th>Shard</th>"
          "<th>Lag</th><th>Read up to</th><th>Confirmed</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < p->status.shard_count; i++) {
        const struct slsr_shard_state *shard = &p->status.shards[i];

        fputs("<tr><td>", out);
        page_html(out, shard->logstore);
        fprintf(out, " %" PRIu32 "</td><td>%s</td><td><code>", shard->shard,
                shard->lag_s < 0 ? "unknown" : page_duration(text, (double)shard->lag_s));
        page_html(out, shard->cursor);
        fputs("</code></td><td><code>", out);
        page_html(out,
                  strcmp(shard->cursor, shard->checkpoint) == 0 ? "the same" : shard->checkpoint);
        fputs("</code></td></tr>\n", out);
    }
    if (p->status.shard_count == 0)
        fputs("<tr><td colspan=\"4\">none read yet</td></tr>\n", out);
    fputs("</tbody></table></section>\n", out);
}

static int by_name(const void *a, const void *b)
{
    const struct slsr_shard_state *x = a, *y = b;
    const int names = strcmp(x->logstore, y->logstore);

    return names != 0 ? names : (x->shard > y->shard) - (x->shard < y->shard);
}

static int look(struct page *p, struct slsr_err *err)
{
    const int rc = slsr_status_read(&p->status, p->watch->spool, err);
    uint64_t bytes;

    if (rc != 0)
        return rc;
    watch_room(p->watch, &p->status, &p->room);
    watch_behind(&p->status, &p->behind_frames, &bytes);
    for (size_t i = 0; i < p->status.target_count; i++)
        if (p->status.targets[i].oldest_age_s > p->oldest_s)
            p->oldest_s = p->status.targets[i].oldest_age_s;
    if (p->status.shard_count > 0)
        qsort(p->status.shards, p->status.shard_count, sizeof *p->status.shards, by_name);
    history_rates(p->watch->history, &p->rates);
    return 0;
}

int page_write(FILE *out, const struct watch *watch, struct slsr_err *err)
{
    struct page p = {.watch = watch};
    char text[PAGE_TEXT];
    int rc = look(&p, err);

    if (rc == 0) {
        fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
              "<meta name=\"color-scheme\" content=\"light dark\">"
              "<link rel=\"icon\" href=\"data:,\"><title>sls-relay</title>\n<style>",
              out);
        fwrite(page_css, 1, page_css_size, out);
        fputs("</style></head><body>\n<main>\n<header><h1>sls-relay</h1>", out);
        verdict(out, &p);
        fputs("</header>\n<div class=\"path\">\n", out);
        source_card(out, &p);
        spool_card(out, &p);
        target_card(out, &p);
        fputs("</div>\n", out);
        page_curves(out, &p);
        shard_table(out, &p);
        page_ledger(out, &p);
        fputs("<footer>", out);
        page_html(out, watch->consumer);
        fprintf(out,
                " · version " SLSR_VERSION " · up %s · <a href=\"metrics\">metrics</a> · "
                "<a href=\"status\">status</a> · <a href=\"history\">history</a></footer>\n"
                "</main>\n<p id=\"stale\" hidden>The relay does not answer; this is what it "
                "said last.</p>\n<script>",
                page_duration(text, (double)(p.status.now_ms - watch->started_ms) / 1000));
        fwrite(page_js, 1, page_js_size, out);
        fputs("</script></body></html>\n", out);
    }
    slsr_status_free(&p.status);
    return rc;
}
