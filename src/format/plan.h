/* Indoors: the compiled settings and what is cached between logs. One thread. */
#ifndef FORMAT_PLAN_H
#define FORMAT_PLAN_H

#include "format/escape.h"
#include "format/filter.h"
#include "format/flatten.h"
#include "format/format.h"
#include "format/level.h"
#include "format/select.h"
#include "format/template.h"
#include "format/zone.h"

enum { STAMP_MAX = 64, SUFFIX_MAX = 8, PRI_MAX = 8 };

/* HOSTNAME, APP-NAME (TAG), PROCID, MSGID. */
enum { NAME_HOST, NAME_TAG, NAME_PROCID, NAME_MSGID, NAMES };

/* One key of a mapping with the template of its value. */
struct mapped {
    char *group; /* SD-ID; else NULL */
    char *key;   /* NULL: a group without entries */
    struct template value;
};

struct mapping {
    struct mapped *items;
    size_t count;
    bool dynamic;
};

enum { HEADS_MAX = 6 };

/* Bodies cef and leef. */
struct event {
    struct template heads[HEADS_MAX]; /* behind the version, each followed by "|" */
    size_t head_count;
    struct mapping pairs;
    bool rest;         /* the other fields follow */
    bool own_severity; /* cef: head 5 is made from the syslog severity */
    char delimiter;    /* leef */
    char lead[12];     /* "CEF:0|" */
    char mark[8];      /* leef 2.0: what stands in the sixth field */
    struct text_rules head_rules, pair_rules;
    struct text_set head_set, pair_set;
};

/* Keys that stand in an event already, so that no two of one record are equal: a hash of places in
 * its text. */
struct key_set {
    struct key_place {
        size_t at, n;
    } * items;
    uint32_t *table; /* number of an item + 1 */
    size_t count, size, mask, last;
};

/* Keys that logs brought before, each with its text in a kv or json body (keys.c). */
enum {
    KNOWN_MAX = 128,
    KNOWN_TABLE = 512,
    KNOWN_NONE = 255,
    KNOWN_KEY_MAX = 61,
    KNOWN_SEP_MAX = 16,
    KNOWN_TEXT_MAX = 64
};

struct known_keys {
    bool on;
    uint8_t first; /* of the last log; KNOWN_NONE at first */
    size_t count, misses;
    size_t shape;           /* how many of ids stand: all of them are different */
    uint8_t ids[KNOWN_MAX]; /* of this log's keys; the next one's are guessed to be the same */
    size_t bytes;           /* of this log's keys and values */
    uint8_t table[KNOWN_TABLE];
    struct known_key {
        uint8_t n, text_n;
        uint8_t next; /* what followed it the last time */
        char key[KNOWN_KEY_MAX];
        char text[KNOWN_TEXT_MAX]; /* "||key=" or `,"key":"` */
    } items[KNOWN_MAX];
};

struct format_plan {
    enum slsr_format_protocol protocol;
    enum slsr_body body;
    enum slsr_oversize oversize;
    size_t max_message; /* SIZE_MAX: none */
    struct text_rules rules;
    struct text_rules line_rules; /* of a line whatever the body is; never keeps a line end */
    char *sep;
    size_t sep_n;
    enum slsr_kv_quote quote;
    bool sep_always; /* the separator's first byte may come from a conversion: always look */
    struct zone *zone;

    struct slots slots;
    struct template_room room; /* of templates */
    struct filter *filter;
    struct select *select;
    size_t renamed_n; /* bytes that new names can add to one log */
    struct level facility, severity;
    bool fixed_pri;

    char pri[PRI_MAX]; /* "<14>1 " or "<14>" */
    size_t pri_n;
    int severity_now;
    struct template names_of[NAMES];
    bool names_dynamic;
    struct text_buf names; /* what follows the timestamp, up to SD or MSG, with its first space */
    uint32_t enterprise;
    char *sd; /* provenance up to the cursor, or NULL */
    size_t sd_n;
    struct mapping elements;
    struct text_buf sd_own; /* elements as text; "-" when there are none at all */
    struct text_set param_set, kv_set, kv_key_set;
    char lead_in[8]; /* between header and MSG */
    size_t lead_in_n;

    enum slsr_fraction fraction;
    /* The last second's text. */
    bool stamp_known;
    int64_t stamp_s;
    char stamp[STAMP_MAX]; /* to seconds */
    size_t stamp_n;
    char suffix[SUFFIX_MAX]; /* zone */
    size_t suffix_n;

    /* The last group: valid for the log behind the last one (format.h says why). */
    bool group_known;
    struct slsr_log last; /* only views and numbers are compared, never bytes */
    struct text_buf lead; /* topic and source as the body has them (kv, json) */
    struct text_buf tags; /* tags likewise, each with what separates it from the last pair */
    bool tags_distinct;
    struct known_keys known;
    struct text_buf sd_group; /* provenance up to the index */

    /* The pull, for provenance and meta. */
    bool cursor_is_number;
    char cursor[SLSR_CURSOR_MAX + 1];
    uint32_t running; /* logs seen in a pull whose cursor is opaque */

    size_t guess; /* digits of the next frame's length */
    struct flat flat;
    bool has_raw_slot;
    uint32_t raw_slot;
    struct template text; /* of body template */
    struct event event;
    struct key_set keys;
    struct text_buf built; /* bodies template, cef, leef */
    struct text_buf whole; /* a message that is split */
};

/* header.c */
/* Most bytes that header_put writes. */
size_t header_max(const struct format_plan *plan);
/* Renews what depends on the log: PRI, names, elements. */
int header_log(struct format_plan *plan, struct slsr_err *err);
/* Writes the header up to the end of STRUCTURED-DATA (RFC 3164: up to the place of MSG). */
char *header_put(struct format_plan *plan, char *out, int64_t time_s, uint32_t time_ns,
                 uint32_t index);
/* Renews sd_group. */
int header_group(struct format_plan *plan, const char *cursor, struct slsr_err *err);
/* names.c */
int header_names(struct format_plan *plan, struct slsr_err *err);
int header_elements(struct format_plan *plan, struct slsr_err *err);
char *put_number(char *out, uint32_t n);
/* Makes room for n + TEXT_SLACK in an emptied text. */
int text_reserve(struct text_buf *text, size_t n, struct slsr_err *err);
/* PARAM-VALUE of `in`, hygiene included; 2 * TEXT_GROWTH * in.n + TEXT_SLACK bytes of room. */
char *put_param_value(const struct format_plan *plan, char *out, struct slsr_bytes in);

/* map.c */
int mapping_compile(struct mapping *mapping, struct slots *slots, const struct slsr_map *map,
                    const char *key, struct slsr_err *err);
void mapping_free(struct mapping *mapping);
/* Names of all fields that the mapping's templates print; texts owned, slsr_texts_free. */
int mapping_used(const struct mapping *mapping, const struct slots *slots, struct slsr_texts *used,
                 struct slsr_err *err);
void used_free(struct slsr_texts *used);
int compile_as(struct template *t, struct slots *slots, const char *text, const char *key,
               struct slsr_err *err);

/* kv.c, json.c: bytes that a body can take at most, and the body. */
/* *_group: what is the same for all logs of a group, written once. */
int kv_group(struct format_plan *plan, const struct slsr_log *log, struct slsr_err *err);
int json_group(struct format_plan *plan, const struct slsr_log *log, struct slsr_err *err);
/* Makes room for it in lead and tags; false when two tags have one key: then nothing is kept. */
int group_reserve(struct format_plan *plan, const struct slsr_log *log, bool *keep,
                  struct slsr_err *err);
size_t max_known(const struct format_plan *plan, const struct slsr_log *log);
size_t kv_max(const struct format_plan *plan, const struct slsr_log *log);
bool kv_is_plain(const struct format_plan *plan, const struct slsr_log *log);
/* NULL: something has to be quoted; then kv_put_careful writes it. */
char *kv_put_plain(const struct format_plan *plan, char *out, const struct slsr_log *log);
char *kv_put_careful(const struct format_plan *plan, char *out, const struct slsr_log *log);
char *kv_put_flat(const struct format_plan *plan, char *out);
char *json_put(const struct format_plan *plan, char *out);
const struct slsr_bytes *raw_find(const struct format_plan *plan, const struct slsr_log *log);

/* Pieces of it by the quoting rule: "||key=", and a value. Twice the room of what they give. */
char *kv_put_key(const struct format_plan *plan, char *out, struct slsr_bytes key);
char *kv_put_value(const struct format_plan *plan, char *out, struct slsr_bytes value);
char *kv_put_known(const struct format_plan *plan, char *out, const struct slsr_log *log);
char *json_put_key(const struct format_plan *plan, char *out, struct slsr_bytes key);
char *json_put_known(const struct format_plan *plan, char *out, const struct slsr_log *log);

/* keys.c */
void keys_init(struct format_plan *plan);
/* True: all keys of the log are different and known; keys_put_... writes its fields. */
bool keys_match(struct format_plan *plan, const struct slsr_log *log);
/* Write up to KNOWN_TEXT_MAX bytes past the end. */
char *keys_put_kv(const struct format_plan *plan, char *out, const struct slsr_log *log);
char *keys_put_json(const struct format_plan *plan, char *out, const struct slsr_log *log);

/* event.c, body template: into plan->built. */
int event_compile(struct format_plan *plan, const struct slsr_format_config *config,
                  struct slsr_err *err);
void event_fini(struct format_plan *plan);
int event_build(struct format_plan *plan, struct slsr_err *err);
int template_build(struct format_plan *plan, struct slsr_err *err);

/* split.c: a message over the limit. */
/* Cuts it. False: it cannot be. */
bool oversize_cut(const struct format_plan *plan, const char *message, char *body, char **end);
/* Appends it to the batch in parts. Room is reserved here. SLSR_ETOOBIG, SLSR_ENOMEM. */
int oversize_split(struct format_plan *plan, struct slsr_batch *batch, const char *message,
                   size_t sd_end, size_t body, size_t end, const struct slsr_frame_meta *meta,
                   struct slsr_err *err);
/* Puts the length in front of a message that stands *guess + 1 behind start; returns the frame's
 * length. *guess becomes the number of its digits: the next message has as many, most likely. */
enum { FRAME_GUESS = 3, FRAME_DIGITS_MAX = 10 };
size_t frame_close(char *start, size_t *guess, size_t length);

#endif
