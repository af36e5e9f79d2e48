/* Statistics as one JSON object, replaced as a whole so that a reader never sees half of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink.h"

static void put_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        /* Names of the service are ASCII; whatever else a stranger sends becomes a harmless ?. */
        if (c < 0x20 || c > 0x7e)
            fputc('?', f);
        else if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

static void put_stream(FILE *f, const struct tally_stream *t, bool first)
{
    fputs(first ? "\n    {\"project\": " : ",\n    {\"project\": ", f);
    put_string(f, t->project);
    fputs(", \"logstore\": ", f);
    put_string(f, t->logstore);
    fprintf(f,
            ", \"shard\": %" PRIu32 ", \"distinct\": %" PRIu64 ", \"duplicate\": %" PRIu64
            ", \"reordered\": %" PRIu64 "}",
            t->shard, t->distinct, t->duplicate, t->reordered);
}

static void put_all(FILE *f, const struct sink *s)
{
    const struct tally *t = &s->tally;
    uint64_t lost = s->o->expect > t->distinct ? s->o->expect - t->distinct : 0;
    bool known = s->o->expect_set;

    fprintf(f, "{\n  \"messages\": %" PRIu64 ",\n  \"bytes\": %" PRIu64, s->messages, s->bytes);
    fprintf(f, ",\n  \"connections\": %" PRIu64 ",\n  \"open_connections\": %" PRIu64,
            s->connections, s->open_connections);
    fprintf(f, ",\n  \"violations\": %" PRIu64 ",\n  \"framing_errors\": %" PRIu64, s->violations,
            s->framing_errors);
    fprintf(f, ",\n  \"truncated\": %" PRIu64, s->truncated);
    fprintf(f, ",\n  \"distinct\": %" PRIu64 ",\n  \"duplicate\": %" PRIu64, t->distinct,
            t->duplicate);
    fprintf(f, ",\n  \"reordered\": %" PRIu64 ",\n  \"unreadable_provenance\": %" PRIu64,
            t->reordered, t->unreadable);
    if (known)
        fprintf(f, ",\n  \"lost\": %" PRIu64, lost);
    else
        fputs(",\n  \"lost\": null", f);
    fputs(",\n  \"shards\": [", f);
    for (size_t i = 0; i < t->stream_count; i++)
        put_stream(f, &t->streams[i], i == 0);
    fputs("]\n}\n", f);
}

/* The new file, which takes the place of the old one when it is whole. NULL: errno says why. */
static FILE *open_new(const struct sink *s, char *path, size_t size)
{
    const int n = snprintf(path, size, "%s.%ld.new", s->o->stats, (long)getpid());

    if (n >= 0 && (size_t)n < size)
        return fopen(path, "we");
    errno = ENAMETOOLONG;
    return NULL;
}

static bool fail(const struct sink *s)
{
    fprintf(stderr, "syslog-sink: cannot write statistics, %s: %s\n", s->o->stats, strerror(errno));
    return false;
}

bool stats_possible(const struct sink *s)
{
    struct stat st;
    char path[4096];
    FILE *f;

    if (s->o->stats == NULL)
        return true;
    if (stat(s->o->stats, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR; /* a file beside it can be made, but not take its place */
        return fail(s);
    }
    f = open_new(s, path, sizeof path);
    if (f == NULL)
        return fail(s);
    fclose(f);
    unlink(path);
    return true;
}

bool stats_write(struct sink *s)
{
    char path[4096];
    FILE *f;
    bool good;

    s->changed = false;
    if (s->o->stats == NULL)
        return true;
    f = open_new(s, path, sizeof path);
    if (f == NULL)
        return fail(s);
    put_all(f, s);
    good = ferror(f) == 0;
    good = fclose(f) == 0 && good && rename(path, s->o->stats) == 0;
    return good || fail(s);
}
