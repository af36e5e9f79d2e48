/* Indoors: the compiled settings and what is cached between logs. One thread. */
#ifndef FORMAT_PLAN_H
#define FORMAT_PLAN_H

#include "format/escape.h"
#include "format/flatten.h"
#include "format/format.h"
#include "format/zone.h"

enum { STAMP_MAX = 64, SUFFIX_MAX = 8 };

/* Growing text that lives as long as the plan. */
struct text_buf {
    char *p;
    size_t n;
    size_t size;
};

struct format_plan {
    enum slsr_format_protocol protocol;
    enum slsr_body body;
    enum slsr_oversize oversize;
    size_t max_message; /* SIZE_MAX: none */
    struct text_rules rules;
    char *sep;
    size_t sep_n;
    struct zone *zone;

    char pri[8]; /* "<14>1 " or "<14>" */
    size_t pri_n;
    char *names; /* what follows the timestamp, up to SD or MSG, with its spaces */
    size_t names_n;
    char *sd; /* provenance up to the cursor, or NULL */
    size_t sd_n;
    size_t header_max; /* no header is longer */

    /* The last second's text. */
    bool stamp_known;
    int64_t stamp_s;
    char stamp[STAMP_MAX]; /* PRI to seconds */
    size_t stamp_n;
    char suffix[SUFFIX_MAX]; /* zone */
    size_t suffix_n;

    /* The last group: valid for the log behind the last one (format.h says why). */
    bool group_known;
    struct slsr_log last; /* only views and numbers are compared, never bytes */
    struct text_buf lead; /* topic and source as kv */
    struct text_buf tags; /* tags as kv, each with sep in front */
    bool tags_distinct;
    struct text_buf sd_group; /* provenance up to the index */

    /* The pull, for provenance and meta. */
    bool cursor_is_number;
    char cursor[SLSR_CURSOR_MAX + 1];
    uint32_t running; /* logs seen in a pull whose cursor is opaque */

    struct flat flat;
};

/* header.c */
/* Writes the header up to the place of MSG; at most header_max bytes plus TEXT_SLACK. */
char *header_put(struct format_plan *plan, char *out, int64_t time_s, uint32_t time_ns,
                 uint32_t index);
/* Renews sd_group. */
int header_group(struct format_plan *plan, const char *cursor, uint32_t group,
                 struct slsr_err *err);
char *put_number(char *out, uint32_t n);
/* Makes room for n + TEXT_SLACK. */
int text_reserve(struct text_buf *text, size_t n, struct slsr_err *err);

/* kv.c, json.c: bytes that a body can take at most, and the body. */
int kv_group(struct format_plan *plan, const struct slsr_log *log, struct slsr_err *err);
size_t kv_max(const struct format_plan *plan, const struct slsr_log *log);
bool kv_is_plain(const struct format_plan *plan, const struct slsr_log *log);
char *kv_put_plain(const struct format_plan *plan, char *out, const struct slsr_log *log);
char *kv_put_flat(const struct format_plan *plan, char *out);
char *json_put(const struct format_plan *plan, char *out);
char *raw_put(const struct format_plan *plan, char *out, const struct slsr_log *log);

#endif
