/* Reads the service's JSON. Good path: parse, check the shape, copy into the caller's struct.
 *
 * A body that is no JSON, has a key twice, another type, a number out of range or more entries than
 * a limit gives SLSR_ESERVER and a sentence; the caller retries. A checkpoint that we cannot read
 * is refused rather than taken for "none": reading from the start position instead would lose or
 * double data. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <jansson.h>

#include "client/answer.h"

static int refuse(struct slsr_err *err, const char *what)
{
    return slsr_fail(err, SLSR_ESERVER, "the answer makes no sense: %s", what);
}

static json_t *parse(struct slsr_bytes body)
{
    return json_loadb(body.n > 0 ? body.p : "", body.n, JSON_REJECT_DUPLICATES, NULL);
}

/* An array of at most ANSWER_SHARDS_MAX entries; the caller's to json_decref. */
static int parse_array(struct slsr_bytes body, json_t **array, struct slsr_err *err)
{
    *array = parse(body);
    if (*array == NULL)
        return refuse(err, body.n == 0 ? "it is empty" : "it is not JSON");
    if (!json_is_array(*array))
        return refuse(err, "it is not a JSON array");
    if (json_array_size(*array) > ANSWER_SHARDS_MAX)
        return refuse(err, "it lists too many shards");
    return 0;
}

static bool shard_id(const json_t *value, uint32_t *id)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > UINT32_MAX)
        return false;
    *id = (uint32_t)json_integer_value(value);
    return true;
}

static struct slsr_bytes string_bytes(const json_t *value)
{
    return (struct slsr_bytes){json_string_value(value), json_string_length(value)};
}

static int compare_ids(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Sorts ids on its way. */
static bool has_duplicate(uint32_t *ids, size_t n)
{
    if (n > 1)
        qsort(ids, n, sizeof ids[0], compare_ids);
    for (size_t i = 1; i < n; i++) {
        if (ids[i] == ids[i - 1])
            return true;
    }
    return false;
}

static int read_shard(const json_t *entry, struct client_shard *shard, struct slsr_err *err)
{
    const json_t *status = json_object_get(entry, "status");

    if (!shard_id(json_object_get(entry, "shardID"), &shard->id))
        return refuse(err, "a shard has no valid shardID");
    if (!json_is_string(status))
        return refuse(err, "a shard has no status");
    shard->readonly = strcasecmp(json_string_value(status), "readonly") == 0;
    return 0;
}

int answer_retention(struct slsr_bytes body, int64_t *seconds, struct slsr_err *err)
{
    json_t *root = json_loadb(body.p, body.n, 0, NULL);
    const json_int_t days = json_integer_value(json_object_get(root, "ttl"));

    json_decref(root);
    if (days < 1 || days > 36500)
        return slsr_fail(err, SLSR_EBADDATA, "the answer has no time to live in days");
    *seconds = (int64_t)days * 86400;
    return 0;
}

int answer_shards(struct slsr_bytes body, struct client_shard **shards, size_t *count,
                  struct slsr_err *err)
{
    struct client_shard *list = NULL;
    uint32_t *ids = NULL;
    json_t *array = NULL;
    size_t n;
    int rc;

    *shards = NULL;
    *count = 0;
    rc = parse_array(body, &array, err);
    if (rc != 0)
        goto out;
    n = json_array_size(array);
    if (n == 0)
        goto out;
    list = calloc(n, sizeof *list);
    ids = calloc(n, sizeof *ids);
    if (list == NULL || ids == NULL) {
        rc = slsr_fail(err, SLSR_ENOMEM, "out of memory for a list of shards");
        goto out;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = read_shard(json_array_get(array, i), &list[i], err);
        ids[i] = list[i].id;
    }
    if (rc == 0 && has_duplicate(ids, n))
        rc = refuse(err, "a shard is listed twice");
    if (rc != 0)
        goto out;
    *shards = list;
    *count = n;
    list = NULL; /* the caller's now */
out:
    free(list);
    free(ids);
    json_decref(array);
    return rc;
}

int answer_shard_ids(struct slsr_bytes body, uint32_t **ids, size_t *count, struct slsr_err *err)
{
    uint32_t *list = NULL;
    json_t *array = NULL;
    size_t n;
    int rc;

    *ids = NULL;
    *count = 0;
    rc = parse_array(body, &array, err);
    if (rc != 0)
        goto out;
    n = json_array_size(array);
    if (n == 0)
        goto out;
    list = calloc(n, sizeof *list);
    if (list == NULL) {
        rc = slsr_fail(err, SLSR_ENOMEM, "out of memory for a list of shards");
        goto out;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!shard_id(json_array_get(array, i), &list[i]))
            rc = refuse(err, "an entry is not a shard id");
    }
    if (rc == 0 && has_duplicate(list, n))
        rc = refuse(err, "a shard is listed twice");
    if (rc != 0)
        goto out;
    *ids = list;
    *count = n;
    list = NULL; /* the caller's now */
out:
    free(list);
    json_decref(array);
    return rc;
}

bool answer_copy_cursor(struct slsr_bytes text, char cursor[SLSR_CURSOR_MAX + 1])
{
    if (text.n == 0 || text.n > SLSR_CURSOR_MAX)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= 0x20 || text.p[i] >= 0x7f)
            return false;
    }
    memcpy(cursor, text.p, text.n);
    cursor[text.n] = '\0';
    return true;
}

static int read_checkpoint(const json_t *entry, struct client_checkpoint *out, struct slsr_err *err)
{
    const json_t *cursor = json_object_get(entry, "checkpoint");
    const json_t *consumer = json_object_get(entry, "consumer");

    if (!json_is_string(cursor))
        return refuse(err, "a checkpoint is not text");
    if (json_string_length(cursor) > 0 && !answer_copy_cursor(string_bytes(cursor), out->cursor))
        return refuse(err, "a checkpoint is no cursor");
    if (consumer == NULL || json_is_null(consumer))
        return 0;
    if (!json_is_string(consumer) || json_string_length(consumer) > SLSR_NAME_MAX)
        return refuse(err, "a checkpoint's consumer is no name");
    snprintf(out->consumer, sizeof out->consumer, "%s", json_string_value(consumer));
    answer_clean(out->consumer);
    return 0;
}

int answer_checkpoint(struct slsr_bytes body, uint32_t shard, struct client_checkpoint *out,
                      struct slsr_err *err)
{
    const json_t *found = NULL;
    json_t *array = NULL;
    int rc;

    *out = (struct client_checkpoint){.shard = shard};
    rc = parse_array(body, &array, err);
    if (rc != 0)
        goto out;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *entry = json_array_get(array, i);
        uint32_t id;

        if (!shard_id(json_object_get(entry, "shard"), &id)) {
            rc = refuse(err, "a checkpoint has no valid shard");
            goto out;
        }
        if (id != shard)
            continue;
        if (found != NULL) {
            rc = refuse(err, "a shard has two checkpoints");
            goto out;
        }
        found = entry;
    }
    /* A shard without a checkpoint has an entry with ""; no entry means no such shard. */
    rc = found != NULL ? read_checkpoint(found, out, err)
                       : refuse(err, "it says nothing about the shard asked for");
out:
    json_decref(array);
    return rc;
}

int answer_nothing(struct slsr_bytes body, struct slsr_err *err)
{
    json_t *json;
    bool fine;

    while (body.n > 0 && strchr(" \t\r\n", body.p[body.n - 1]) != NULL &&
           body.p[body.n - 1] != '\0')
        body.n--;
    if (body.n == 0)
        return 0;
    json = parse(body);
    fine = (json_is_object(json) && json_object_get(json, "errorCode") == NULL) ||
           (json_is_array(json) && json_array_size(json) == 0);
    json_decref(json);
    return fine ? 0
                : refuse(err, "it should be empty and is not: does something between here and SLS "
                              "answer in its place?");
}

int answer_cursor(struct slsr_bytes body, char cursor[SLSR_CURSOR_MAX + 1], struct slsr_err *err)
{
    json_t *object = parse(body);
    const json_t *value = json_object_get(object, "cursor");
    int rc = 0;

    if (!json_is_string(value) || !answer_copy_cursor(string_bytes(value), cursor))
        rc = refuse(err, "it holds no cursor");
    json_decref(object);
    return rc;
}

void answer_mask(char *text, const char *const *secrets)
{
    for (; *secrets != NULL; secrets++) {
        const size_t n = strlen(*secrets);
        char *p = text;

        while (n > 0 && (p = strstr(p, *secrets)) != NULL) {
            memset(p, '*', n);
            p += n;
        }
    }
}

void answer_clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            *text = '?';
    }
}

/* Copies at most size - 1 bytes of what is left after masking the whole. */
static void take(const json_t *value, const char *const *secrets, char *out, size_t size)
{
    char *copy = json_is_string(value) ? strdup(json_string_value(value)) : NULL;

    if (copy == NULL)
        return;
    answer_mask(copy, secrets); /* before the cut: half a secret is one too */
    snprintf(out, size, "%s", copy);
    answer_clean(out);
    free(copy);
}

void answer_error(struct slsr_bytes body, const char *const *secrets, struct answer_error *out)
{
    json_t *object = parse(body);

    *out = (struct answer_error){0};
    take(json_object_get(object, "errorCode"), secrets, out->code, sizeof out->code);
    take(json_object_get(object, "errorMessage"), secrets, out->message, sizeof out->message);
    for (char *p = out->code; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '.' && *p != '_' && *p != '-')
            *p = '?';
    }
    json_decref(object);
}

/* "AccessKeyId", "access_key_id" -> "accesskeyid" */
static void plain_name(const char *name, char out[64])
{
    size_t n = 0;

    for (; *name != '\0' && n < 63; name++)
        if (isalnum((unsigned char)*name))
            out[n++] = (char)tolower((unsigned char)*name);
    out[n] = '\0';
}

static const char *find_text(json_t *object, const char *wanted)
{
    const char *key;
    json_t *value;
    char plain[64];

    json_object_foreach(object, key, value)
    {
        plain_name(key, plain);
        if (strcmp(plain, wanted) == 0 && json_is_string(value))
            return json_string_value(value);
    }
    return NULL;
}

static bool copy_text(const char *text, char *out, size_t size)
{
    const size_t n = text != NULL ? strlen(text) : 0;

    if (n >= size)
        return false;
    memcpy(out, text != NULL ? text : "", n);
    out[n] = '\0';
    return true;
}

/* "2026-01-02T03:04:05Z"; 0 when it is not one */
static int64_t parse_utc(const char *text)
{
    struct tm tm = {0};
    const char *end = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

    return end != NULL && (*end == 'Z' || *end == '.' || *end == '+' || *end == '\0')
               ? (int64_t)timegm(&tm)
               : 0;
}

int answer_keys(struct slsr_bytes body, struct answer_keys *out, struct slsr_err *err)
{
    json_t *object = parse(body);
    const char *id = find_text(object, "accesskeyid");
    const char *secret = find_text(object, "accesskeysecret");
    const char *token = find_text(object, "securitytoken");
    const char *key;
    json_t *value;
    int rc = 0;

    if (!json_is_object(object))
        rc = slsr_fail(err, SLSR_ESERVER, "it holds no JSON object with keys");
    else if (id == NULL || secret == NULL || id[0] == '\0' || secret[0] == '\0')
        rc = slsr_fail(err, SLSR_ESERVER, "it holds no access_key_id and access_key_secret");
    else if (!copy_text(id, out->id, sizeof out->id) ||
             !copy_text(secret, out->secret, sizeof out->secret) ||
             !copy_text(token, out->token, sizeof out->token))
        rc = slsr_fail(err, SLSR_ESERVER, "one of its keys is too long");
    else
        out->expires_s = parse_utc(find_text(object, "expiration"));
    json_object_foreach(object, key, value)
    {
        if (json_is_string(value)) /* the tree is ours alone and about to be freed */
            explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
    }
    json_decref(object);
    return rc;
}
