/* Reads source.endpoint, connect_to, project, region and signature once, when a client opens.
 *
 * "https://x", "http://x" or plain "x" (https); an optional port; nothing behind it but one slash.
 * The host of the request is <project>.<x>. Is x an IPv4 address or localhost, that name resolves
 * nowhere, so we connect to x itself, as with connect_to. Anything else is a configuration error
 * that names its key. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/client.h"
#include "client/endpoint.h"

struct authority {
    char host[ENDPOINT_NAME_MAX + 1]; /* IPv6: without brackets */
    bool ipv6;
    int port; /* 0: none given */
};

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool parse_port(const char *text, size_t n, int *port)
{
    int value = 0;

    if (n == 0 || n > 5)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *port = value;
    return value >= 1 && value <= 65535;
}

/* "host", "host:port", "[v6]", "[v6]:port" in text[0..n). */
static bool parse_authority(const char *text, size_t n, struct authority *out)
{
    size_t host_n = 0, skip = 0;

    *out = (struct authority){0};
    if (n > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', n);
        unsigned char address[16];

        if (end == NULL)
            return false;
        host_n = (size_t)(end - text) - 1;
        text++;
        skip = host_n + 1;
        n--;
        if (host_n == 0 || host_n > ENDPOINT_NAME_MAX)
            return false;
        memcpy(out->host, text, host_n);
        out->ipv6 = true;
        if (inet_pton(AF_INET6, out->host, address) != 1)
            return false;
    } else {
        while (host_n < n && host_char(text[host_n]))
            host_n++;
        skip = host_n;
        if (host_n == 0 || host_n > ENDPOINT_NAME_MAX || text[0] == '.')
            return false;
        memcpy(out->host, text, host_n);
    }
    if (skip == n)
        return true;
    return text[skip] == ':' && parse_port(text + skip + 1, n - skip - 1, &out->port);
}

static bool plain_name(const char *name, size_t max)
{
    const size_t n = strlen(name);

    if (n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!host_char(name[i]) || name[i] == '.')
            return false;
    }
    return true;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n > m && strcasecmp(text + n - m, end) == 0;
}

/* "<region>[-intranet].log.aliyuncs.com" or ".sls.aliyuncs.com" -> region; else "". */
static void derive_region(const char *host, char region[SLSR_NAME_MAX + 1])
{
    static const char intranet[] = "-intranet";
    size_t n = strcspn(host, ".");

    region[0] = '\0';
    if (strcasecmp(host + n, ".log.aliyuncs.com") != 0 &&
        strcasecmp(host + n, ".sls.aliyuncs.com") != 0)
        return;
    memcpy(region, host, n);
    region[n] = '\0';
    if (ends_with(region, intranet))
        region[n - strlen(intranet)] = '\0';
    for (char *p = region; *p != '\0'; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    }
}

static int choose_signature(struct endpoint *out, const struct slsr_source_config *source,
                            const char *host, struct slsr_err *err)
{
    derive_region(host, out->region);
    if (source->region != NULL && source->region[0] != '\0') {
        if (!plain_name(source->region, SLSR_NAME_MAX))
            return slsr_fail(err, SLSR_ECONFIG,
                             "source.region: not a region name: use one like cn-hangzhou");
        snprintf(out->region, sizeof out->region, "%s", source->region);
    }
    out->v4 = source->signature == SLSR_SIGN_V4 ||
              (source->signature == SLSR_SIGN_AUTO && out->region[0] != '\0');
    if (out->v4 && out->region[0] == '\0')
        return slsr_fail(
            err, SLSR_ECONFIG,
            "source.signature is v4 but the region is not known from the endpoint: set "
            "source.region");
    return 0;
}

static int choose_connection(struct endpoint *out, const struct slsr_source_config *source,
                             const struct authority *at, int port, struct slsr_err *err)
{
    struct authority to = *at;
    unsigned char address[4];
    bool direct =
        inet_pton(AF_INET, at->host, address) == 1 || strcasecmp(at->host, "localhost") == 0;

    if (source->connect_to != NULL && source->connect_to[0] != '\0') {
        if (!parse_authority(source->connect_to, strlen(source->connect_to), &to))
            return slsr_fail(err, SLSR_ECONFIG,
                             "source.connect_to: not an address: use host:port, or [address]:port "
                             "for IPv6");
        direct = true;
    }
    if (to.port == 0)
        to.port = port;
    if (direct) {
        snprintf(out->connect_to, sizeof out->connect_to, to.ipv6 ? "[%s]:%d" : "%s:%d", to.host,
                 to.port);
        snprintf(out->place, sizeof out->place, "%s", out->connect_to);
    } else {
        snprintf(out->place, sizeof out->place, "%s.%s:%d", source->project, at->host, port);
    }
    return 0;
}

int endpoint_parse(struct endpoint *out, const struct slsr_source_config *source,
                   struct slsr_err *err)
{
    const char *text = source->endpoint != NULL ? source->endpoint : "";
    const char *project = source->project != NULL ? source->project : "";
    struct authority at;
    size_t n;
    int port, rc;

    *out = (struct endpoint){.https = true};
    if (strncasecmp(text, "https://", 8) == 0) {
        text += 8;
    } else if (strncasecmp(text, "http://", 7) == 0) {
        text += 7;
        out->https = false;
    }
    n = strcspn(text, "/");
    if (text[n] == '/' && text[n + 1] != '\0')
        return slsr_fail(err, SLSR_ECONFIG,
                         "source.endpoint: a path stands behind the host: use one like "
                         "https://cn-hangzhou.log.aliyuncs.com");
    if (!parse_authority(text, n, &at))
        return slsr_fail(err, SLSR_ECONFIG,
                         "source.endpoint: not an address: use one like "
                         "https://cn-hangzhou.log.aliyuncs.com");
    if (at.ipv6)
        return slsr_fail(err, SLSR_ECONFIG,
                         "source.endpoint is an IPv6 address, in front of which no project fits: "
                         "put a name there and the address into source.connect_to");
    if (!plain_name(project, 63))
        return slsr_fail(err, SLSR_ECONFIG,
                         "source.project: not a project name: 1 to 63 letters, digits, '-'");
    if (ends_with(at.host, ".aliyuncs.com") && strncmp(at.host, project, strlen(project)) == 0 &&
        at.host[strlen(project)] == '.')
        return slsr_fail(err, SLSR_ECONFIG,
                         "source.endpoint begins with the project: give it without, like "
                         "https://cn-hangzhou.log.aliyuncs.com");
    port = at.port != 0 ? at.port : out->https ? 443 : 80;
    if (port == (out->https ? 443 : 80))
        snprintf(out->host, sizeof out->host, "%s.%s", project, at.host);
    else
        snprintf(out->host, sizeof out->host, "%s.%s:%d", project, at.host, port);
    snprintf(out->url, sizeof out->url, "%s://%s.%s:%d", out->https ? "https" : "http", project,
             at.host, port);
    rc = choose_signature(out, source, at.host, err);
    return rc != 0 ? rc : choose_connection(out, source, &at, port, err);
}

int client_place_of(struct client_place *out, const struct slsr_source_config *source,
                    struct slsr_err *err)
{
    struct endpoint endpoint;
    int rc = endpoint_parse(&endpoint, source, err);
    const char *colon, *host = endpoint.place;
    size_t n;

    if (rc != 0)
        return rc;
    colon = strrchr(endpoint.place, ':'); /* there is always one: see choose_connection */
    n = (size_t)(colon - host);
    if (host[0] == '[') {
        host++;
        n -= 2;
    }
    *out = (struct client_place){.https = endpoint.https, .port = (int)strtol(colon + 1, NULL, 10)};
    snprintf(out->host, sizeof out->host, "%.*s", (int)n, host);
    snprintf(out->name, sizeof out->name, "%.*s", (int)strcspn(endpoint.host, ":"), endpoint.host);
    return 0;
}
