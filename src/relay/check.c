/* What single settings cannot show, asked of those who will use them: the client derives its region
 * and address, TLS loads its files. Each names the setting that it refuses; here that becomes a
 * problem with its line, like those of the load. Files are a warning: the settings may be for
 * another machine, and a relay keeps trying until they are there. */
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "format/format.h"
#include "relay/relay.h"
#include "transport/transport.h"

enum { SETTING_BYTES = 160 };

int relay_judge_format(const struct slsr_format_config *format,
                       void (*say)(void *ctx, const char *text), void *ctx)
{
    struct slsr_err err = {0};

    return format_judge(format, say, ctx, &err);
}

/* text: "source.region: not a name" or "source.signature is v4 but ...". */
static void blame_source(const struct slsr_config *config, size_t i,
                         struct slsr_config_problems *problems, const char *text)
{
    static const char source[] = "source.";
    char setting[SETTING_BYTES];
    size_t n = 0;

    if (strncmp(text, source, sizeof source - 1) == 0) {
        text += sizeof source - 1;
        n = strcspn(text, ": ");
    }
    snprintf(setting, sizeof setting, "sources[%zu]%s%.*s", i, n > 0 ? "." : "", (int)n, text);
    text += n > 0 ? n + strspn(text + n, ": ") : 0;
    slsr_config_blame(config, problems, false, setting, text);
}

static void look_at_tls(const struct slsr_config *config, size_t i,
                        struct slsr_config_problems *problems)
{
    char setting[SETTING_BYTES];
    const char *key = NULL;
    struct slsr_err err = {0};

    if (transport_look(&config->targets[i], &key, &err) == 0)
        return;
    snprintf(setting, sizeof setting, "targets[%zu].tls%s%s", i, key != NULL ? "." : "",
             key != NULL ? key : "");
    for (size_t k = 0; k < problems->count; k++)
        if (strcmp(problems->items[k].path + 2, setting) == 0)
            return; /* that it cannot be read has been said */
    slsr_config_blame(config, problems, true, setting, err.text);
}

void relay_check(const struct slsr_config *config, struct slsr_config_problems *problems)
{
    struct client_place place;
    struct slsr_err err = {0};

    for (size_t i = 0; i < config->source_count; i++)
        if (client_place_of(&place, &config->sources[i], &err) != 0)
            blame_source(config, i, problems, err.text);
    for (size_t i = 0; i < config->target_count; i++)
        look_at_tls(config, i, problems);
}
