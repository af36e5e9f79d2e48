/* Requests and answers, see request.h. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "request.h"
#include "text.h"

void pairs_add(struct pairs *list, const char *name, const char *value)
{
    ARRAY_ROOM(list->v, list->n, list->size);
    list->v[list->n].name = xstrdup(name);
    list->v[list->n].value = xstrdup(value);
    list->n++;
}

void pairs_fini(struct pairs *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->v[i].name);
        free(list->v[i].value);
    }
    free(list->v);
    *list = (struct pairs){0};
}

static bool parse_query(struct request *r, char *query)
{
    char *save = NULL;

    for (char *item = strtok_r(query, "&", &save); item != NULL;
         item = strtok_r(NULL, "&", &save)) {
        char *value = strchr(item, '=');
        char empty[] = "";

        if (value != NULL)
            *value++ = '\0';
        else
            value = empty;
        if (!text_unescape(item, true) || !text_unescape(value, true))
            return false;
        pairs_add(&r->params, item, value);
    }
    return true;
}

bool request_parse(struct request *r, const char *target)
{
    char *query;
    char *copy;
    char *save = NULL;
    bool ok = true;

    r->target = xstrdup(target);
    r->path = xstrdup(target);
    query = strchr(r->path, '?');
    if (query != NULL)
        *query++ = '\0';
    if (r->path[0] != '/' || (query != NULL && !parse_query(r, query)))
        return false;
    copy = xstrdup(r->path);
    for (char *part = strtok_r(copy, "/", &save); part != NULL && ok;
         part = strtok_r(NULL, "/", &save)) {
        ok = r->segments < REQUEST_SEGMENTS && text_unescape(part, false);
        if (ok)
            r->segment[r->segments++] = xstrdup(part);
    }
    free(copy);
    return ok;
}

void request_find_project(struct request *r)
{
    const char *host = request_header(r, "host");
    char name[NAME_SIZE];
    unsigned char address[16];
    size_t label;

    r->project[0] = '\0';
    if (host == NULL || host[0] == '[' || strlen(host) >= sizeof name)
        return;
    snprintf(name, sizeof name, "%s", host);
    name[strcspn(name, ":")] = '\0';
    label = strcspn(name, ".");
    if (inet_pton(AF_INET, name, address) == 1 || name[label] == '\0' || label == 0)
        return;
    name[label] = '\0';
    snprintf(r->project, sizeof r->project, "%s", name);
}

void request_fini(struct request *r)
{
    free(r->target);
    free(r->path);
    for (size_t i = 0; i < r->segments; i++)
        free(r->segment[i]);
    pairs_fini(&r->params);
    pairs_fini(&r->headers);
    buf_fini(&r->body);
}

const char *request_header(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->headers.n; i++) {
        if (strcasecmp(r->headers.v[i].name, name) == 0)
            return r->headers.v[i].value;
    }
    return NULL;
}

const char *request_param(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->params.n; i++) {
        if (strcmp(r->params.v[i].name, name) == 0)
            return r->params.v[i].value;
    }
    return NULL;
}

void answer_header(struct answer *a, const char *name, const char *format, ...)
{
    va_list args;

    if (a->headers == ANSWER_HEADERS)
        return;
    a->header[a->headers].name = name;
    va_start(args, format);
    vsnprintf(a->header[a->headers].value, sizeof a->header[0].value, format, args);
    va_end(args);
    a->headers++;
}

int answer_error(struct answer *a, int status, const char *code, const char *format, ...)
{
    char message[512];
    va_list args;
    json_t *object;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    a->status = status;
    snprintf(a->code, sizeof a->code, "%s", code);
    a->headers = 0;
    a->fixed = NULL;
    object = json_pack("{s:s, s:s}", "errorCode", code, "errorMessage", message);
    if (object == NULL) /* a name in the message was not UTF-8 */
        object = json_pack("{s:s, s:s}", "errorCode", code, "errorMessage", "not valid UTF-8");
    answer_json(a, object == NULL ? xstrdup("{}") : json_dumps(object, 0));
    json_decref(object);
    return -1;
}

void answer_json(struct answer *a, char *text)
{
    buf_fini(&a->body);
    a->body.p = text;
    a->body.n = strlen(text);
    a->body.size = a->body.n + 1;
    a->type = "application/json";
}

void answer_fini(struct answer *a)
{
    buf_fini(&a->body);
}
