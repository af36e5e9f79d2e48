/* Time zones from the system's zone files (TZif, RFC 8536): a table of transitions and, for the
 * time behind the last one, a POSIX rule. Only the 64-bit part is read when there is one.
 *
 * What can go wrong: no such file (no tzdata package), a name that leaves the directory, a damaged
 * file. All are SLSR_ECONFIG at start; afterwards nothing can fail. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/zone.h"

static const char zone_dir[] = "/usr/share/zoneinfo";
static const char zone_local[] = "/etc/localtime";
/* The largest zone file is under 4 KB. */
enum { ZONE_FILE_MAX = 256 * 1024, TZIF_HEADER = 44 };

struct zone {
    int64_t *at;     /* transition times, ascending */
    int32_t *offset; /* from at[i] on */
    size_t count;
    int32_t first; /* before at[0] */
    bool has_rule;
    struct posix_tz rule;
};

struct counts {
    uint32_t utc, std, leap, time, type, chars;
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool read_header(const uint8_t *p, size_t left, struct counts *c)
{
    if (left < TZIF_HEADER || memcmp(p, "TZif", 4) != 0)
        return false;
    *c = (struct counts){be32(p + 20), be32(p + 24), be32(p + 28),
                         be32(p + 32), be32(p + 36), be32(p + 40)};
    return c->utc <= ZONE_FILE_MAX && c->std <= ZONE_FILE_MAX && c->leap <= ZONE_FILE_MAX &&
           c->time <= ZONE_FILE_MAX && c->type <= ZONE_FILE_MAX && c->chars <= ZONE_FILE_MAX &&
           c->type > 0;
}

static size_t block_size(const struct counts *c, size_t width)
{
    return c->time * (width + 1) + c->type * (size_t)6 + c->chars + c->leap * (width + 4) + c->std +
           c->utc;
}

static bool read_block(struct zone *z, const uint8_t *p, const struct counts *c, size_t width)
{
    const uint8_t *index = p + c->time * width;
    const uint8_t *types = index + c->time;

    z->at = calloc(c->time + 1, sizeof(*z->at));
    z->offset = calloc(c->time + 1, sizeof(*z->offset));
    if (z->at == NULL || z->offset == NULL)
        return false;
    z->first = (int32_t)be32(types);
    for (uint32_t i = 0; i < c->time; i++) {
        const uint8_t *t = p + i * width;
        z->at[i] = width == 8 ? (int64_t)((uint64_t)be32(t) << 32 | be32(t + 4))
                              : (int64_t)(int32_t)be32(t);
        if (index[i] >= c->type || (i > 0 && z->at[i] <= z->at[i - 1]))
            return false;
        z->offset[i] = (int32_t)be32(types + index[i] * (size_t)6);
        if (z->offset[i] < -90000 || z->offset[i] > 93600) /* RFC 8536 3.2 "utoff" */
            return false;
    }
    z->count = c->time;
    return true;
}

static bool read_rule(struct zone *z, const uint8_t *p, size_t left)
{
    const uint8_t *end = left > 1 ? memchr(p + 1, '\n', left - 1) : NULL;
    if (end == NULL || p[0] != '\n')
        return false;
    if (end == p + 1)
        return true; /* no rule known */
    z->has_rule = posix_tz_parse(&z->rule, (const char *)p + 1, (size_t)(end - p - 1));
    return z->has_rule;
}

int zone_parse(struct zone **out, const uint8_t *data, size_t size, struct slsr_err *err)
{
    struct counts c;
    struct zone *z = calloc(1, sizeof(*z));
    const uint8_t *p = data;
    size_t left = size, width = 4;
    bool ok = z != NULL && read_header(p, left, &c) && block_size(&c, 4) <= left - TZIF_HEADER;

    if (ok && p[4] >= '2') { /* a second part with 64-bit times follows */
        size_t skip = TZIF_HEADER + block_size(&c, 4);
        p += skip;
        left -= skip;
        width = 8;
        ok = read_header(p, left, &c) && block_size(&c, 8) <= left - TZIF_HEADER;
    }
    ok = ok && read_block(z, p + TZIF_HEADER, &c, width);
    if (ok && width == 8) {
        size_t skip = TZIF_HEADER + block_size(&c, 8);
        ok = read_rule(z, p + skip, left - skip);
    }
    if (!ok) {
        zone_free(z);
        return slsr_fail(err, SLSR_ECONFIG, "the time zone data are damaged");
    }
    *out = z;
    return 0;
}

static int load_file(struct zone **out, const char *path, const char *name, struct slsr_err *err)
{
    uint8_t *data = NULL;
    int rc;
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return slsr_fail_errno(err, SLSR_ECONFIG, errno,
                               "time zone \"%s\": cannot read %s (is tzdata installed?)", name,
                               path);
    data = malloc(ZONE_FILE_MAX);
    if (data == NULL) {
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory for time zone \"%s\"", name);
    } else {
        size_t n = fread(data, 1, ZONE_FILE_MAX, f);
        rc = slsr_wrap(err, zone_parse(out, data, n, err), "time zone \"%s\" (%s)", name, path);
    }
    free(data);
    fclose(f);
    return rc;
}

static int make_rule(struct zone **out, const struct posix_tz *rule, struct slsr_err *err)
{
    struct zone *z = calloc(1, sizeof(*z));
    if (z == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for a time zone");
    z->rule = *rule;
    z->has_rule = true;
    *out = z;
    return 0;
}

/* Names of the database: path segments of letters, digits, "_", "-" and "+". */
static bool is_name(const char *name)
{
    if (name[0] == '/' || name[0] == '\0' || strlen(name) > 128)
        return false;
    for (const char *p = name; *p != '\0'; p++) {
        bool ok = (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
                  (*p >= '0' && *p <= '9') || strchr("_-+/", *p) != NULL;
        if (!ok)
            return false;
    }
    return true;
}

static int load_name(struct zone **out, const char *name, struct slsr_err *err)
{
    char path[sizeof(zone_dir) + 130];
    if (!is_name(name))
        return slsr_fail(err, SLSR_ECONFIG,
                         "time zone \"%s\" is unknown: use \"UTC\", \"local\" or a name such as "
                         "\"Asia/Shanghai\"",
                         name);
    snprintf(path, sizeof(path), "%s/%s", zone_dir, name);
    return load_file(out, path, name, err);
}

static int load_local(struct zone **out, struct slsr_err *err)
{
    struct posix_tz rule = {0};
    const char *tz = getenv("TZ");
    if (tz == NULL)
        return load_file(out, zone_local, "local", err);
    if (*tz == ':')
        tz++;
    if (*tz == '\0')
        return make_rule(out, &rule, err);
    if (*tz == '/')
        return load_file(out, tz, "local", err);
    if (posix_tz_parse(&rule, tz, strlen(tz)))
        return make_rule(out, &rule, err);
    return slsr_wrap(err, load_name(out, tz, err), "TZ in the environment");
}

int zone_load(struct zone **out, const char *name, struct slsr_err *err)
{
    struct posix_tz utc = {0};
    if (name == NULL || *name == '\0' || strcmp(name, "UTC") == 0)
        return make_rule(out, &utc, err);
    if (strcmp(name, "local") == 0)
        return load_local(out, err);
    return load_name(out, name, err);
}

void zone_free(struct zone *zone)
{
    if (zone == NULL)
        return;
    free(zone->at);
    free(zone->offset);
    free(zone);
}

int32_t zone_offset(const struct zone *zone, int64_t time_s)
{
    size_t low = 0, high = zone->count; /* first transition after time_s */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= time_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->count && zone->has_rule)
        return posix_tz_offset(&zone->rule, time_s);
    return low == 0 ? zone->first : zone->offset[low - 1];
}
