/* Faults to order, see fault.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "fault.h"
#include "text.h"

const char *const call_names[CALL_COUNT] = {"pull",           "heartbeat", "checkpoint",
                                            "get_checkpoint", "cursor",    "shards",
                                            "group",          "put",       "admin"};

static const char *const kind_names[FAULT_KINDS] = {
    "skew", "delay",     "error",        "quota",   "empty-error",   "html",
    "drop", "truncate",  "corrupt",      "rawsize", "expired-token", "hang",
    "late", "no-cursor", "empty-cursor", "split",   "merge",         "rebalance"};

const char fault_grammar[] =
    "CALL[/SHARD]:KIND[=ARG][:COUNT]; COUNT 1 unless given, 0 = for ever\n"
    "  CALL  pull heartbeat checkpoint get_checkpoint cursor shards group put any\n"
    "  KIND  error=STATUS/Code   quota   expired-token   empty-error   html   skew=SECONDS\n"
    "        delay=MS   late=MS   hang   drop[=before|answer|body]\n"
    "        truncate   corrupt   rawsize=+N   no-cursor   empty-cursor\n"
    "        split[=SHARD]   merge[=SHARD]   rebalance\n";

void fault_init(struct fault_list *list)
{
    *list = (struct fault_list){0};
    pthread_mutex_init(&list->lock, NULL);
}

void fault_clear(struct fault_list *list)
{
    pthread_mutex_lock(&list->lock);
    while (list->first != NULL) {
        struct fault *gone = list->first;

        list->first = gone->next;
        free(gone);
    }
    pthread_mutex_unlock(&list->lock);
}

static bool signed_number(const char *text, int64_t *out)
{
    uint64_t value;
    bool minus = text[0] == '-';

    if (text[0] == '-' || text[0] == '+')
        text++;
    if (!text_number(text, INT32_MAX, &value))
        return false;
    *out = minus ? -(int64_t)value : (int64_t)value;
    return true;
}

/* "500/InternalServerError" */
static bool parse_error(struct fault *f, char *arg)
{
    char *slash = strchr(arg, '/');
    uint64_t status;

    if (slash == NULL || slash[1] == '\0' || strlen(slash + 1) >= sizeof f->code)
        return false;
    *slash = '\0';
    if (!text_number(arg, 599, &status) || status < 400)
        return false;
    f->number = (int64_t)status;
    snprintf(f->code, sizeof f->code, "%s", slash + 1);
    return true;
}

static bool parse_arg(struct fault *f, char *arg)
{
    static const char *const drops[] = {"before", "answer", "body"};

    switch (f->kind) {
    case FAULT_ERROR:
        return arg != NULL && parse_error(f, arg);
    case FAULT_DELAY:
    case FAULT_LATE:
        return arg != NULL && signed_number(arg, &f->number) && f->number >= 0;
    case FAULT_SKEW:
    case FAULT_RAWSIZE:
        return arg != NULL && signed_number(arg, &f->number);
    case FAULT_DROP:
        for (int i = 0; i < 3; i++) {
            if (strcmp(arg == NULL ? "before" : arg, drops[i]) == 0) {
                f->number = i;
                return true;
            }
        }
        return false;
    case FAULT_SPLIT:
    case FAULT_MERGE:
        f->number = -1;
        return arg == NULL || (signed_number(arg, &f->number) && f->number >= 0);
    default:
        return arg == NULL;
    }
}

static int name_index(const char *const *names, int count, const char *name)
{
    int i = 0;

    while (i < count && strcmp(names[i], name) != 0)
        i++;
    return i;
}

static bool parse(struct fault *f, char *text, const char **why)
{
    char *call = strsep(&text, ":");
    char *kind = strsep(&text, ":");
    char *shard = strchr(call, '/');
    uint64_t id;
    char *arg;
    int k;

    *why = "the shard is not a number";
    f->shard = -1;
    if (shard != NULL) {
        *shard++ = '\0';
        if (!text_number(shard, UINT32_MAX, &id))
            return false;
        f->shard = (int64_t)id;
    }
    *why = "the call is not known";
    f->call = strcmp(call, "any") == 0 ? CALL_COUNT : name_index(call_names, CALL_ADMIN, call);
    if (f->call == CALL_ADMIN)
        return false;
    *why = "the kind of fault is missing or not known";
    if (kind == NULL)
        return false;
    arg = strchr(kind, '=');
    if (arg != NULL)
        *arg++ = '\0';
    k = name_index(kind_names, FAULT_KINDS, kind);
    if (k == FAULT_KINDS)
        return false;
    f->kind = (enum fault_kind)k;
    *why = "the argument does not fit the kind of fault";
    if (!parse_arg(f, arg))
        return false;
    *why = "the count is not a number";
    f->left = 1;
    return text == NULL || text_number(text, UINT32_MAX, &f->left);
}

bool fault_add(struct fault_list *list, const char *spec, const char **why)
{
    struct fault *f = xalloc(sizeof *f);
    char *text = xstrdup(spec);
    struct fault **end;
    bool ok = parse(f, text, why);

    free(text);
    if (!ok) {
        free(f);
        return false;
    }
    if (f->left == 0)
        f->left = UINT64_MAX;
    pthread_mutex_lock(&list->lock);
    end = &list->first;
    while (*end != NULL)
        end = &(*end)->next;
    *end = f;
    pthread_mutex_unlock(&list->lock);
    return true;
}

static bool fits(const struct fault *f, const struct fault_place *place)
{
    return (f->call == CALL_COUNT || f->call == (int)place->call) &&
           (f->shard < 0 || f->shard == place->shard);
}

bool fault_take(struct fault_list *list, const struct fault_place *place, enum fault_kind kind,
                int64_t when, struct fault *out)
{
    bool found = false;

    pthread_mutex_lock(&list->lock);
    for (struct fault **at = &list->first; *at != NULL; at = &(*at)->next) {
        struct fault *f = *at;

        if (f->kind != kind || !fits(f, place) || (kind == FAULT_DROP && f->number != when))
            continue;
        found = true;
        *out = *f;
        list->fired++;
        if (f->left != UINT64_MAX && --f->left == 0) {
            *at = f->next;
            free(f);
        }
        break;
    }
    pthread_mutex_unlock(&list->lock);
    return found;
}
