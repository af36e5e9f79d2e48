/* Mistakes that show only after the load: a region that cannot be derived, a certificate that is
 * none, an address that nobody has. Whoever finds one names the setting; where each stands was
 * noted at the load, and so it is told like every other problem. What the formatter says comes with
 * the load itself: judge.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

bool config_places_keep(struct config_load *load)
{
    struct slsr_config_places *places = calloc(1, sizeof *places);

    if (places == NULL)
        return false;
    places->lines = load->lines;
    places->overrides = load->overrides;
    places->override_count = load->override_count;
    places->plural = json_object_get(load->root, "sources") != NULL;
    memset(&load->lines, 0, sizeof load->lines);
    load->overrides = NULL;
    load->override_count = 0;
    load->config->places = places;
    return true;
}

void config_places_free(struct slsr_config_places *places)
{
    if (places == NULL)
        return;
    config_lines_fini(&places->lines);
    free(places->overrides);
    free(places);
}

void slsr_config_blame(const struct slsr_config *config, struct slsr_config_problems *problems,
                       bool warning, const char *setting, const char *text)
{
    static const char source[] = "sources[0]";
    const struct slsr_config_places *places = config->places;
    struct config_load load = {.config = (struct slsr_config *)(uintptr_t)config, /* only read */
                               .problems = problems};
    char path[CONFIG_PATH];

    if (places != NULL) {
        load.lines = places->lines;
        load.overrides = places->overrides;
        load.override_count = places->override_count;
    }
    if (strncmp(setting, source, sizeof source - 1) == 0 && (places == NULL || !places->plural))
        snprintf(path, sizeof path, "$.source%s", setting + sizeof source - 1);
    else
        snprintf(path, sizeof path, "$.%s", setting);
    if (warning)
        config_warning(&load, path, "%s", text);
    else
        config_problem(&load, path, "%s", text);
    config_problems_sort(problems);
}

void slsr_config_where(const struct slsr_config *config, const char *setting,
                       char out[SLSR_CONFIG_WHERE])
{
    struct slsr_config_problems problems = {0};

    slsr_config_blame(config, &problems, false, setting, "");
    if (problems.count == 0) /* no memory */
        snprintf(out, SLSR_CONFIG_WHERE, "$.%.160s", setting);
    else if (problems.items[0].line > 0)
        snprintf(out, SLSR_CONFIG_WHERE, "%s, line %d", problems.items[0].path,
                 problems.items[0].line);
    else
        snprintf(out, SLSR_CONFIG_WHERE, "%s%.39s", problems.items[0].path, problems.items[0].text);
    slsr_config_problems_free(&problems);
}

void slsr_config_problem_text(const struct slsr_config_problem *problem, const char *file,
                              char out[SLSR_CONFIG_LINE])
{
    char where[CONFIG_PATH] = "";

    if (problem->line > 0 && file != NULL)
        snprintf(where, sizeof where, ", line %d of %.120s", problem->line, file);
    else if (problem->line > 0)
        snprintf(where, sizeof where, ", line %d", problem->line);
    snprintf(out, SLSR_CONFIG_LINE, "%s%s: %s", problem->path, where, problem->text);
}
