/* The Host header of a request to the endpoint: any text. What must hold: a name is answered only
 * when it is ours, and what stands around it (a port, brackets, a dot at the end) does not change
 * whose it is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "relay/metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *names[] = {(char *)"relay.example"};
    static char listen_on[] = "localhost:9464";
    const struct slsr_config config = {
        .metrics_listen = listen_on, .metrics_hosts = names, .metrics_host_count = 1};
    char *text = malloc(size + 8); /* of its own, so that a sanitizer sees its end */
    bool ours;

    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    ours = host_is_ours(text, &config);
    if (ours && strpbrk(text, "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ_/@ \t") != NULL) {
        char own[256];

        must(gethostname(own, sizeof own) == 0);
        must(strncasecmp(text, "localhost", 9) == 0 ||
             strncasecmp(text, "relay.example", 13) == 0 ||
             strncasecmp(text, own, strlen(own)) == 0);
    }
    if (strlen(text) == size && strchr(text, ':') == NULL && size < 200) {
        strcat(text, ":9464");
        must(host_is_ours(text, &config) == ours);
    }
    free(text);
    return 0;
}
