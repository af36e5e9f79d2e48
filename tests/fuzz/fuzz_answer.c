/* JSON answers of the service, and of the metadata service of a cloud machine: any bytes through
 * every reader. The first byte chooses, the rest is the body. What is read must keep its promises:
 * cursors fit, error texts are clean, a secret never comes through. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

static void error_of(struct slsr_bytes body)
{
    static const char *const secrets[] = {"hidden-key", NULL};
    struct answer_error error = {0};
    const struct answer_context context = {0};
    const char *advice = NULL;

    answer_error(body, secrets, &error);
    must(memchr(error.code, '\0', sizeof error.code) != NULL);
    must(memchr(error.message, '\0', sizeof error.message) != NULL);
    must(strstr(error.message, "hidden-key") == NULL);
    for (const char *p = error.message; *p != '\0'; p++)
        must((unsigned char)*p >= 0x20);
    for (int status = 400; status < 600; status++)
        must(answer_code(status, &error, context, &advice) < 0);
}

static void one(unsigned choice, struct slsr_bytes body)
{
    char cursor[SLSR_CURSOR_MAX + 1];
    struct client_checkpoint checkpoint;
    struct client_shard *shards = NULL;
    struct answer_keys keys;
    struct slsr_err err = {0};
    uint32_t *ids = NULL;
    size_t count = 0;
    int64_t number;

    switch (choice % 8) {
    case 0:
        if (answer_shards(body, &shards, &count, &err) == 0)
            free(shards);
        break;
    case 1:
        if (answer_shard_ids(body, &ids, &count, &err) == 0)
            free(ids);
        break;
    case 2:
        if (answer_checkpoint(body, 0, &checkpoint, &err) == 0)
            must(strlen(checkpoint.cursor) <= SLSR_CURSOR_MAX);
        break;
    case 3:
        if (answer_cursor(body, cursor, &err) == 0)
            must(cursor[0] != '\0' && strlen(cursor) <= SLSR_CURSOR_MAX);
        break;
    case 4:
        (void)answer_retention(body, &number, &err);
        break;
    case 5:
        memset(&keys, 0, sizeof keys);
        (void)answer_keys(body, &keys, &err);
        break;
    case 6:
        (void)answer_nothing(body, &err);
        break;
    default:
        error_of(body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        one(data[0], (struct slsr_bytes){(const char *)data + 1, size - 1});
    return 0;
}
