/* The curves: two small SVG pictures, drawn here, so that they need no script.
 *
 * x is time, evenly, from the oldest sample to now; y is scaled to the highest value, rounded up to
 * a figure that people can read. A line breaks nowhere: a relay that did not run has no samples. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relay/page.h"

enum { POINTS = 240, WIDTH = 600, HEIGHT = 150, TOP = 10 };

struct curve {
    const char *tone;
    double y[POINTS];
};

/* 1, 2 or 5 times a power of ten, not below value. */
static double ceiling(double value)
{
    double step = 1;

    while (step * 10 <= value)
        step *= 10;
    if (value <= step)
        return step;
    if (value <= 2 * step)
        return 2 * step;
    return value <= 5 * step ? 5 * step : 10 * step;
}

static double x_of(const struct history_point *points, size_t count, size_t i)
{
    const double span = (double)(points[count - 1].time_ms - points[0].time_ms);

    return span > 0 ? WIDTH * (double)(points[i].time_ms - points[0].time_ms) / span : 0;
}

static void line(FILE *out, const struct history_point *points, size_t count,
                 const struct curve *curve, double top, bool filled)
{
    fprintf(out, "<path class=\"%s%s\" d=\"", curve->tone, filled ? " area" : "");
    if (filled)
        fprintf(out, "M0 %d", HEIGHT);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%.1f %.1f", i == 0 && !filled ? "M" : "L", x_of(points, count, i),
                HEIGHT - (HEIGHT - TOP) * curve->y[i] / top);
    if (filled)
        fprintf(out, "L%d %dZ", WIDTH, HEIGHT);
    fputs("\"/>", out);
}

static void picture(FILE *out, const struct history_point *points, size_t count,
                    const struct curve *curves, size_t curve_count, const char *id)
{
    double highest = 1;
    char text[PAGE_TEXT];
    double top;

    for (size_t c = 0; c < curve_count; c++)
        for (size_t i = 0; i < count; i++)
            if (curves[c].y[i] > highest)
                highest = curves[c].y[i];
    top = ceiling(highest);
    fprintf(out,
            "<div class=\"plot\"><span class=\"top\">%s</span><svg id=\"%s\" viewBox=\"0 0 %d %d\" "
            "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"highest %s\">",
            page_count(text, top), id, WIDTH, HEIGHT + 1, text);
    for (int i = 0; i <= 2; i++)
        fprintf(out, "<path class=\"grid\" d=\"M0 %dH%d\"/>", TOP + (HEIGHT - TOP) * i / 2, WIDTH);
    for (size_t c = 0; c < curve_count; c++) {
        if (c == 0)
            line(out, points, count, &curves[c], top, true);
        line(out, points, count, &curves[c], top, false);
    }
    fputs("</svg>", out);
}

static void time_axis(FILE *out, const struct history_point *points, size_t count)
{
    char text[PAGE_TEXT];

    fprintf(out, "<span class=\"from\">%s ago</span><span class=\"to\">now</span></div>",
            page_duration(text, (double)(points[count - 1].time_ms - points[0].time_ms) / 1000));
}

/* Frames a second between neighbours of a column. */
static double rate(const struct history_point *a, const struct history_point *b, bool in)
{
    const double s = (double)(b->time_ms - a->time_ms) / 1000;
    const uint64_t from = in ? a->spooled : a->delivered;
    const uint64_t to = in ? b->spooled : b->delivered;

    return s > 0 && to > from ? (double)(to - from) / s : 0;
}

void page_curves(FILE *out, const struct page *page)
{
    struct history_point *points = calloc(POINTS, sizeof *points);
    struct curve *curves = calloc(3, sizeof *curves);
    size_t count = 0;

    if (points != NULL && curves != NULL)
        count = history_read(page->watch->history, points, POINTS);
    if (count < 2) {
        fputs("<section class=\"wide\" id=\"curves\"><h2>Last hours</h2><p class=\"note\">The "
              "curves begin a few seconds after the start.</p></section>\n",
              out);
    } else {
        curves[0].tone = "in";
        curves[1].tone = "out";
        curves[2].tone = "due";
        for (size_t i = 0; i < count; i++) {
            const size_t b = i == 0 ? 1 : i;

            curves[0].y[i] = rate(&points[b - 1], &points[b], true);
            curves[1].y[i] = rate(&points[b - 1], &points[b], false);
            curves[2].y[i] = (double)points[i].backlog;
        }
        fputs("<div class=\"path two\" id=\"curves\"><section class=\"card\"><h2>Throughput"
              "<small><i class=\"in\"></i>pulled <i class=\"out\"></i>delivered, frames a second"
              "</small></h2>",
              out);
        picture(out, points, count, curves, 2, "throughput");
        time_axis(out, points, count);
        fputs("</section>\n<section class=\"card\"><h2>Backlog<small><i class=\"due\"></i>frames "
              "not yet delivered</small></h2>",
              out);
        picture(out, points, count, &curves[2], 1, "backlog");
        time_axis(out, points, count);
        fputs("</section></div>\n", out);
    }
    free(points);
    free(curves);
}
