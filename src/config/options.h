/* The table of all settings: one row a key. Everything that knows a key's name, type, range or
 * default reads it here: the loader, --print-config, the reference in docs/configuration.md. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdint.h>
#include <stdio.h>
#include <stddef.h>

enum option_kind {
    OPT_STRING,      /* "" means not set */
    OPT_TEXT,        /* "" is a value */
    OPT_SECRET,      /* never echoed, wiped on free */
    OPT_SECRET_FILE, /* path of a file that holds the secret of the same name */
    OPT_BOOL,
    OPT_INT,
    OPT_REAL,
    OPT_DURATION, /* -> ms */
    OPT_SIZE,     /* -> bytes */
    OPT_SHARE,    /* size, or "20%" of spool.max_size */
    OPT_ENUM,     /* names: "a|b|c" in the order of the C enumeration; an empty name is skipped */
    OPT_CODE,     /* like OPT_ENUM, the number itself is accepted too (facility, severity) */
    OPT_LIST,     /* array of strings, or one string with commas; a size_t count stands right
                     behind the member */
    OPT_TEXTS,    /* array of strings */
    OPT_MAP,      /* object of texts */
    OPT_GROUPS,   /* object of objects of texts, each text or a list of them */
    OPT_POSITION, /* where to begin reading */
    OPT_ANY       /* only compared with its default (keys of later versions) */
};

enum option_status {
    OPT_READY,
    OPT_LATER, /* accepted at its default, refused otherwise */
    OPT_ALIAS  /* names: the row that it stands for */
};

struct option {
    const char *path; /* "source.endpoint"; "targets." rows are per target */
    enum option_kind kind;
    enum option_status status;
    size_t offset, size; /* of the member in its area's struct */
    int64_t min, max;    /* numbers; in ms and bytes */
    const char *names;
    const char *initial; /* default as JSON */
    const char *help;
};

const struct option *options_all(size_t *count);
/* Row of exactly this path, or NULL. */
const struct option *options_find(const char *path);
/* Is `path` an object that holds rows ("targets.retry")? */
int options_is_group(const char *path);
/* Copies the name below `prefix` ("" for the top) that is nearest to `name` into out, "" when none
 * is near enough to be a slip of the pen. */
void options_nearest(const char *prefix, const char *name, char *out, size_t size);
/* "string", "duration", ...: for people. */
const char *options_kind_name(enum option_kind kind);
/* docs/configuration.md, whole. */
void options_reference(FILE *out);
/* etc/sls-relay.schema.json, whole. 0, or -1: no memory. */
int options_schema(FILE *out);

#endif
