/* import F: frames of `export -o jsonl` into a spool that no relay has open, behind what is there.
 *
 * Message bytes, event times, shard, cursor and index stay as they were; sequence and arrival are
 * the new spool's. Frames of one cursor become one batch. Where a shard stands is not changed when
 * the spool knows it; else it stands at the cursor of its first imported frame, so that a relay
 * which is started there reads too much rather than too little. A line that cannot be read ends the
 * import with its number; the lines before it are imported and counted, so what is said is where to
 * go on. The spool is opened, and made, when the first line is good: a file of another kind leaves
 * nothing behind. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base64.h"
#include "common/when.h"
#include "tool.h"

enum { BATCH_BYTES = 1024 * 1024, BATCH_FRAMES = 4096 };

struct import {
    struct tool *tool;
    bool dry; /* only look */
    struct slsr_spool_config config;
    struct slsr_spool *spool; /* NULL: dry, or nothing good was read yet */
    struct slsr_batch batch;
    char project[SLSR_NAME_MAX + 1], logstore[SLSR_NAME_MAX + 1];
    uint32_t shard;
    uint64_t batch_bytes;   /* of the messages in the batch */
    uint64_t frames, bytes; /* in the spool, or those that could be */
    uint64_t line;
};

static int flush_batch(struct import *import, struct slsr_err *err)
{
    struct slsr_batch *batch = &import->batch;
    struct slsr_checkpoint checkpoint = {
        .stream = {import->project, import->logstore, import->shard}};
    uint64_t first;
    int rc = 0;

    if (batch->frame_count > 0 && import->spool != NULL) {
        rc = slsr_spool_checkpoint(import->spool, &checkpoint.stream, &checkpoint, err);
        if (rc == SLSR_ENOMATCH) {
            memcpy(checkpoint.cursor, batch->cursor, sizeof(checkpoint.cursor));
            rc = 0;
        }
        if (rc == 0)
            rc = slsr_spool_append(import->spool, batch, &checkpoint, &first, err);
    }
    if (rc == 0) {
        import->frames += batch->frame_count;
        import->bytes += import->batch_bytes;
    }
    import->batch_bytes = 0;
    slsr_batch_reset(batch);
    return rc;
}

static const char *text_of(const json_t *frame, const char *key, size_t most)
{
    const char *text = json_string_value(json_object_get(frame, key));

    return text != NULL && strlen(text) <= most && text[0] != '\0' ? text : NULL;
}

static bool room(struct slsr_batch *batch, size_t bytes)
{
    if (batch->size - batch->used < bytes) {
        size_t size = batch->used + bytes + BATCH_BYTES;
        char *data = realloc(batch->data, size);
        if (data == NULL)
            return false;
        batch->data = data;
        batch->size = size;
    }
    if (batch->meta_size == 0) {
        batch->meta = malloc(BATCH_FRAMES * sizeof(*batch->meta));
        batch->meta_size = batch->meta != NULL ? BATCH_FRAMES : 0;
    }
    return batch->meta_size > 0;
}

static int add_frame(struct import *import, const char *p, size_t n, int64_t ns, uint32_t index,
                     struct slsr_err *err)
{
    struct slsr_batch *batch = &import->batch;

    if (!room(batch, n + 24))
        return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
    batch->used += (size_t)snprintf(batch->data + batch->used, 24, "%zu ", n);
    memcpy(batch->data + batch->used, p, n);
    batch->used += n;
    batch->meta[batch->frame_count++] =
        (struct slsr_frame_meta){.end = (uint32_t)batch->used,
                                 .index = index,
                                 .time_s = (uint32_t)(ns / 1000000000),
                                 .time_ns = (uint32_t)(ns % 1000000000)};
    import->batch_bytes += n;
    return 0;
}

static int bad_line(const struct import *import, const char *what, struct slsr_err *err)
{
    return slsr_fail(err, SLSR_EUSAGE,
                     "%s, line %" PRIu64 ": %s: import takes what `export -o jsonl` writes",
                     import->tool->words[0], import->line, what);
}

/* The message of a line: from "frame", or decoded from "frame_base64" (then *own is to be freed).
 */
static int message_of(const struct import *import, const json_t *frame, struct slsr_bytes *out,
                      char **own, struct slsr_err *err)
{
    const json_t *text = json_object_get(frame, "frame");
    const char *coded = json_string_value(json_object_get(frame, "frame_base64"));

    *own = NULL;
    if (json_is_string(text)) {
        *out = (struct slsr_bytes){json_string_value(text), json_string_length(text)};
    } else if (coded != NULL) {
        size_t n = strlen(coded);
        *own = malloc(n + 4);
        if (*own == NULL)
            return slsr_fail(err, SLSR_ENOMEM, "out of memory: close something");
        if (!cli_base64_decode(coded, n, *own, &n))
            return bad_line(import, "frame_base64 is no base64", err);
        *out = (struct slsr_bytes){*own, n};
    } else {
        return bad_line(import, "there is neither frame nor frame_base64", err);
    }
    return out->n > 0 ? 0 : bad_line(import, "the frame is empty", err);
}

/* Frames of an encrypted spool do not get company in the clear. */
static int refuse_clear(struct slsr_spool *spool, struct slsr_err *err)
{
    struct slsr_range *range = NULL;
    struct slsr_frame frame;
    uint64_t oldest;
    uint64_t next;
    int rc = slsr_spool_bounds(spool, &oldest, &next, err);

    if (rc != 0 || next == oldest)
        return rc;
    rc = slsr_range_open(&range, spool, next - 1, next, err);
    if (rc == 0 && slsr_range_next(range, &frame, err) == SLSR_ECONFIG)
        rc = slsr_fail(err, SLSR_ECONFIG,
                       "the spool's frames are encrypted, and what came in would not be: give -c "
                       "FILE, whose spool.encryption_key_file has the key");
    slsr_range_close(range);
    return rc;
}

/* The spool to write, before the first frame goes in. */
static int open_for_import(struct import *import, struct slsr_err *err)
{
    if (import->dry || import->spool != NULL)
        return 0;
    int rc = slsr_spool_open(&import->spool, &import->config, SLSR_SPOOL_WRITE, err);
    return rc == 0 && import->config.encryption_key_file == NULL ? refuse_clear(import->spool, err)
                                                                 : rc;
}

static int take_line(struct import *import, const json_t *frame, struct slsr_err *err)
{
    const char *project = text_of(frame, "project", SLSR_NAME_MAX);
    const char *logstore = text_of(frame, "logstore", SLSR_NAME_MAX);
    const char *cursor = text_of(frame, "cursor", SLSR_CURSOR_MAX);
    const char *time = text_of(frame, "time", 64);
    const json_int_t shard = json_integer_value(json_object_get(frame, "shard"));
    const json_int_t index = json_integer_value(json_object_get(frame, "index"));
    struct slsr_bytes message = {0};
    char *own = NULL;
    int64_t ns;
    int rc;

    if (project == NULL || logstore == NULL || cursor == NULL || time == NULL ||
        strchr(project, '/') != NULL || strchr(logstore, '/') != NULL || shard < 0 ||
        shard > UINT32_MAX || index < 0 || index > UINT32_MAX)
        return bad_line(import, "project, logstore, shard, cursor, index or time is missing", err);
    if (!cli_when_parse(time, tool_now_ns(), &ns) || ns < 0 || ns / 1000000000 > UINT32_MAX)
        return bad_line(import, "time cannot be read", err);
    rc = message_of(import, frame, &message, &own, err);
    if (rc == 0)
        rc = open_for_import(import, err);
    if (rc == 0 && import->batch.frame_count > 0 &&
        (strcmp(project, import->project) != 0 || strcmp(logstore, import->logstore) != 0 ||
         (uint32_t)shard != import->shard || strcmp(cursor, import->batch.cursor) != 0 ||
         import->batch.frame_count == BATCH_FRAMES || import->batch.used > BATCH_BYTES))
        rc = flush_batch(import, err);
    if (rc == 0) {
        snprintf(import->project, sizeof(import->project), "%s", project);
        snprintf(import->logstore, sizeof(import->logstore), "%s", logstore);
        import->shard = (uint32_t)shard;
        snprintf(import->batch.cursor, sizeof(import->batch.cursor), "%s", cursor);
        rc = add_frame(import, message.p, message.n, ns, (uint32_t)index, err);
    }
    free(own);
    return rc;
}

static int read_file(struct import *import, FILE *file, struct slsr_err *err)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t n;
    int rc = 0;

    while (rc == 0 && !slsr_stop_requested(&import->tool->stop) &&
           (n = getline(&text, &size, file)) > 0) {
        json_error_t why;
        json_t *frame;

        import->line++;
        frame = json_loadb(text, (size_t)n, JSON_ALLOW_NUL, &why);
        rc = json_is_object(frame) ? take_line(import, frame, err)
                                   : bad_line(import, "this is no JSON object", err);
        json_decref(frame);
    }
    if (rc == 0 && ferror(file) && !slsr_stop_requested(&import->tool->stop))
        rc = slsr_fail_errno(err, SLSR_EIO, errno, "cannot read %s", import->tool->words[0]);
    free(text);
    /* also what came before a bad line; behind a failed append nothing is left in the batch */
    const int last = flush_batch(import, rc == 0 ? err : NULL);
    return rc != 0 ? rc : last;
}

/* How far it came, unless it never began. Each frame is a line of the file. */
static void say_count(const struct import *import, bool whole)
{
    if (!whole && import->frames == 0)
        return;
    fprintf(stderr, "import: %" PRIu64 " frame%s%s", import->frames, tool_s(import->frames),
            import->dry ? " could be read, nothing was changed" : "");
    if (!whole && !import->dry)
        fprintf(stderr, " came in and stay: go on behind line %" PRIu64, import->frames);
    fputc('\n', stderr);
}

int verb_import(struct tool *tool)
{
    struct import import = {.tool = tool, .dry = tool_given(tool, OPT_DRY_RUN)};
    struct slsr_err err = {0};
    int code = 0;

    if (tool->output == OUT_RAW)
        return tool_usage("-o raw with 'import': give text or json, raw is for frames");
    if (tool->word_count == 0)
        return tool_usage("import without a file: give one that export wrote");
    if ((code = tool_spool_config(tool, &import.config)) != 0)
        return code;
    if (tool->dir != NULL)
        import.config.max_size_bytes = import.config.retention_size_bytes = INT64_C(1) << 40;
    FILE *file = strcmp(tool->words[0], "-") == 0 ? stdin : fopen(tool->words[0], "re");
    if (file == NULL) {
        slsr_fail_errno(&err, errno == EACCES ? SLSR_EPERM : SLSR_ENOSPOOL, errno, "cannot read %s",
                        tool->words[0]);
        return tool_fail(&err);
    }
    slsr_batch_init(&import.batch);
    const int rc = read_file(&import, file, &err);
    if (file != stdin)
        fclose(file);
    say_count(&import, rc == 0 && !slsr_stop_requested(&tool->stop));
    slsr_spool_close(import.spool);
    slsr_batch_fini(&import.batch);
    if (rc != 0)
        return tool_fail(&err);
    if (tool->output != OUT_TEXT)
        printf("{\"frames\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"dry_run\":%s}\n", import.frames,
               import.bytes, import.dry ? "true" : "false");
    return slsr_stop_requested(&tool->stop) ? EXIT_AGAIN : 0;
}
