/* Frames as they would be spooled, without spooling: for people who tune the format. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/relay.h"

#include "client/client.h"
#include "consume/consume.h"

#include "slsrelay/spool.h"

#include "base/cursor.h"
#include "base/diag.h"

/* Each frame of the batch without its octet count, + LF. */
static int print_batch(const struct slsr_batch *batch, size_t *left, FILE *out,
                       struct slsr_err *err)
{
    uint32_t start = 0;

    for (size_t i = 0; i<batch->frame_count && * left> 0; i++, --*left) {
        const char *wire = batch->data + start;
        const uint32_t end = batch->meta[i].end;
        const char *space = memchr(wire, ' ', end - start);
        const char *message = space == NULL ? wire : space + 1;

        fwrite(message, 1, (size_t)(batch->data + end - message), out);
        fputc('\n', out);
        start = end;
    }
    if (fflush(out) != 0 || ferror(out))
        return slsr_fail_errno(err, SLSR_EIO, errno, "cannot write the preview");
    return 0;
}

static int preview_body(const struct slsr_config *config, const struct slsr_stream *stream,
                        struct slsr_bytes body, bool lz4, size_t raw_size, const char *cursor,
                        size_t *left, FILE *out, struct slsr_err *err)
{
    struct intake intake = {0};
    struct intake_result result;
    struct slsr_batch batch;
    struct slsr_err dead = {0};
    int rc;

    slsr_batch_init(&batch);
    rc = intake_open(&intake, &config->format, stream, err);
    if (rc == 0)
        rc = intake_take(&intake, body, lz4, raw_size, cursor, &batch, &result, &dead, err);
    while (rc == 0) {
        if (batch.dropped_count > 0)
            diag(SLSR_LOG_NOTICE, "preview", "format.filter leaves %llu logs out",
                 (unsigned long long)batch.dropped_count);
        if (batch.dead_count > 0)
            diag(SLSR_LOG_WARNING, "preview", "%llu logs give no frame, the first: %s",
                 (unsigned long long)batch.dead_count, dead.text);
        rc = print_batch(&batch, left, out, err);
        if (rc != 0 || !result.more || *left == 0)
            break;
        rc = intake_more(&intake, &batch, &result, &dead, err);
    }
    intake_close(&intake);
    slsr_batch_fini(&batch);
    return rc;
}

static int preview_shard(const struct slsr_config *config, struct client *client,
                         const struct slsr_stream *stream, size_t *left, FILE *out,
                         struct slsr_err *err)
{
    const struct slsr_source_config *source = &config->sources[0];
    char from[32] = "begin";
    char cursor[SLSR_CURSOR_MAX + 1];
    struct client_pull pull;
    int rc;

    if (source->cursor_position == SLSR_POS_END)
        snprintf(from, sizeof from, "end");
    else if (source->cursor_position == SLSR_POS_TIME)
        snprintf(from, sizeof from, "%lld", (long long)source->cursor_time_s);
    rc = client_get_cursor(client, stream->logstore, stream->shard, from, cursor, err);
    while (rc == 0 && *left > 0) {
        const int count = *left < 1000 ? (int)*left : 1000;

        rc = client_pull(client, stream->logstore, stream->shard, cursor, count, &pull, err);
        if (rc != 0 || strcmp(pull.next, cursor) == 0)
            break;
        rc = preview_body(config, stream, pull.body, pull.lz4, pull.raw_size, cursor, left, out,
                          err);
        memcpy(cursor, pull.next, sizeof cursor);
    }
    return rc;
}

int relay_preview(const struct slsr_config *config, size_t count, FILE *out, struct slsr_err *err)
{
    const struct slsr_source_config *source = &config->sources[0];
    struct client *client = NULL;
    size_t left = count;
    int rc = client_open(&client, source, NULL, NULL, err);

    for (size_t i = 0; rc == 0 && i < source->logstore_count && left > 0; i++) {
        struct client_shard *shards = NULL;
        size_t shard_count = 0;

        rc = client_list_shards(client, source->logstores[i], &shards, &shard_count, err);
        for (size_t j = 0; rc == 0 && j < shard_count && left > 0; j++) {
            const struct slsr_stream stream = {source->project, source->logstores[i], shards[j].id};

            rc = preview_shard(config, client, &stream, &left, out, err);
        }
        free(shards);
    }
    client_close(client);
    if (rc == 0 && left == count && count > 0)
        diag(SLSR_LOG_WARNING, "preview", "no logs at source.cursor_position: try begin");
    return rc;
}

/* The whole file; the limit is the codec's. */
static int read_file(const char *path, struct slsr_bytes *out, struct slsr_err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *data = NULL;
    size_t used = 0;
    int rc = 0;

    if (fd < 0)
        return slsr_fail_errno(err, errno == EACCES ? SLSR_EPERM : SLSR_ENOSPOOL, errno,
                               "cannot open %s (a LogGroupList, or one as *.lz4, is wanted)", path);
    if (fstat(fd, &st) != 0 || st.st_size > CODEC_RAW_MAX)
        rc = slsr_fail(err, SLSR_ETOOBIG, "%s is larger than one pull can be", path);
    else if ((data = malloc((size_t)st.st_size + 1)) == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for %s", path);
    while (rc == 0 && used < (size_t)st.st_size) {
        const ssize_t n = read(fd, data + used, (size_t)st.st_size - used);

        if (n < 0)
            rc = slsr_fail_errno(err, SLSR_EIO, errno, "cannot read %s", path);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(fd);
    if (rc != 0) {
        free(data);
        return rc;
    }
    data[used] = '\0';
    *out = (struct slsr_bytes){data, used};
    return 0;
}

/* {"rawsize": N} without a JSON library: this floor has none, and one number is all we want. */
static int read_rawsize(const char *lz4_path, size_t *raw_size, struct slsr_err *err)
{
    char path[4096];
    struct slsr_bytes text;
    const char *p;
    char *end;
    const int n = snprintf(path, sizeof path, "%.*s.json", (int)(strlen(lz4_path) - 4), lz4_path);
    int rc = n < (int)sizeof path ? read_file(path, &text, err)
                                  : slsr_fail(err, SLSR_EUSAGE, "path too long");

    if (rc != 0)
        return slsr_wrap(err, rc, "the size of %s must stand in the file beside it", lz4_path);
    p = strstr(text.p, "\"rawsize\"");
    p = p == NULL ? NULL : p + strlen("\"rawsize\"");
    while (p != NULL && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r' || *p == ':'))
        p++;
    errno = 0;
    *raw_size = p != NULL && *p >= '0' && *p <= '9' ? strtoull(p, &end, 10) : 0;
    if (p == NULL || *p < '0' || *p > '9' || errno != 0)
        rc = slsr_fail(err, SLSR_EBADDATA, "%s holds no \"rawsize\" number", path);
    free((void *)text.p);
    return rc;
}

int relay_preview_file(const struct slsr_config *config, const char *path, FILE *out,
                       struct slsr_err *err)
{
    const struct slsr_source_config *source = config->source_count > 0 ? config->sources : NULL;
    const struct slsr_stream stream = {
        source != NULL && source->project != NULL ? source->project : "preview",
        source != NULL && source->logstore_count > 0 ? source->logstores[0] : "preview", 0};
    const size_t n = strlen(path);
    const bool lz4 = n > 4 && strcmp(path + n - 4, ".lz4") == 0;
    struct slsr_bytes body;
    char cursor[SLSR_CURSOR_MAX + 1];
    size_t left = SIZE_MAX;
    size_t raw_size;
    int rc = read_file(path, &body, err);

    if (rc != 0)
        return rc;
    raw_size = body.n;
    cursor_text(0, cursor);
    if (lz4)
        rc = read_rawsize(path, &raw_size, err);
    if (rc == 0)
        rc = slsr_wrap(err,
                       preview_body(config, &stream, body, lz4, raw_size, cursor, &left, out, err),
                       "%s", path);
    free((void *)body.p);
    return rc;
}
