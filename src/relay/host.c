/* Whom a request means: the Host header against the names that are ours.
 *
 * A browser that was led to a stranger's name whose address becomes ours ("DNS rebinding") sends
 * that name: such a page must not read what the endpoint shows. An address needs no name server,
 * so nobody else can own it. Who sends no Host at all is no browser. */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "relay/metrics.h"

enum { NAME_MAX_BYTES = 255, PORT_DIGITS = 5 };

/* ":9464" or nothing. */
static bool is_port(const char *text)
{
    size_t n;

    if (*text == '\0')
        return true;
    n = strspn(text + 1, "0123456789");
    return *text == ':' && n <= PORT_DIGITS && text[1 + n] == '\0';
}

static bool is_address(int family, const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(family, text, address) == 1;
}

static bool is_this_machine(const char *name)
{
    char own[NAME_MAX_BYTES + 1];

    if (gethostname(own, sizeof own) != 0)
        return false;
    own[NAME_MAX_BYTES] = '\0'; /* a longer name may have come without an end */
    return strcasecmp(name, own) == 0;
}

/* The host of metrics.listen. */
static bool is_listened_on(const char *name, const char *listen_on)
{
    const char *colon = listen_on != NULL ? strrchr(listen_on, ':') : NULL;
    const size_t n = strlen(name);

    return colon != NULL && (size_t)(colon - listen_on) == n &&
           strncasecmp(name, listen_on, n) == 0;
}

bool host_is_ours(const char *host, const struct slsr_config *config)
{
    char name[NAME_MAX_BYTES + 1];
    const bool bracket = host != NULL && host[0] == '[';
    size_t n;

    if (host == NULL)
        return true;
    host += bracket;
    n = strcspn(host, bracket ? "]" : ":");
    if (n == 0 || n >= sizeof name || (bracket && host[n] != ']') || !is_port(host + n + bracket))
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    if (bracket)
        return is_address(AF_INET6, name);
    if (name[n - 1] == '.')
        name[n - 1] = '\0';
    if (is_address(AF_INET, name) || strcasecmp(name, "localhost") == 0 || is_this_machine(name) ||
        is_listened_on(name, config->metrics_listen))
        return name[0] != '\0';
    for (size_t i = 0; i < config->metrics_host_count; i++)
        if (strcasecmp(name, config->metrics_hosts[i]) == 0)
            return true;
    return false;
}
