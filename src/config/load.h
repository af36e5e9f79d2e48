/* Indoors of config/: what the steps of one load share, and the functions between its files. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slsrelay/config.h"
#include "config/options.h"

enum {
    CONFIG_PATH = 160,             /* as in struct slsr_config_problem */
    CONFIG_FILE_MAX = 1024 * 1024, /* a configuration is some KiB; more is some other file */
    CONFIG_SECRET_MAX = 8192,      /* STS tokens are 1-2 KiB */
    CONFIG_STRING_MAX = 4096,
    CONFIG_ITEMS_MAX = 256,   /* sources, targets, logstores: each costs threads */
    CONFIG_PROBLEMS_MAX = 200 /* nobody reads more */
};

/* Where each value of the file stands. */
struct config_lines {
    struct config_line {
        char *path;
        int line;
        size_t order;
    } * items; /* sorted by path once the scan is done */
    size_t count, size;
};

/* A value that did not come from the file. */
struct config_override {
    char path[CONFIG_PATH];
    char origin[32]; /* "SLS_PROJECT", "--set" */
};

/* What is kept of a load, for what shows only later. */
struct slsr_config_places {
    struct config_lines lines;
    struct config_override *overrides;
    size_t override_count;
    bool plural; /* `sources` stands in the settings, not `source` */
};

struct config_load {
    struct slsr_config *config;
    struct slsr_config_problems *problems;
    json_t *root; /* file, environment and flags merged */
    struct config_lines lines;
    struct config_override *overrides;
    size_t override_count;
    const struct slsr_config_from *from;
    bool need_relay;
    bool file_public; /* readable by others */
    bool no_memory;   /* sticky */
    bool has_error;   /* a problem that is no warning was added */
};

/* --- problems.c --- */
/* "$.a" + key -> "$.a.key" (or $.a["odd key"]); false when it was cut. out != base. */
bool config_path_key(char out[CONFIG_PATH], const char *base, const char *key);
bool config_path_index(char out[CONFIG_PATH], const char *base, size_t index);
void config_problem(struct config_load *load, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void config_warning(struct config_load *load, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* line: where the caller knows it; -1 for "not from the file". */
void config_problem_at(struct config_load *load, const char *path, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool config_overridden(const struct config_load *load, const char *path);
/* Is a problem of path, or of something in it, among the `first` ones? */
bool config_told(const struct config_load *load, size_t first, const char *path);
void config_problems_sort(struct slsr_config_problems *problems);

/* --- lines.c --- */
/* text is valid JSON. Repeated keys become problems. */
void config_lines_scan(struct config_load *load, const char *text, size_t length);
/* Line of path or of the nearest object around it; 0 when there is no file. */
int config_lines_find(const struct config_lines *lines, const char *path);
/* Does path itself stand in the file? */
bool config_lines_has(const struct config_lines *lines, const char *path);
void config_lines_fini(struct config_lines *lines);

/* --- overlay.c --- */
void config_overlay_env(struct config_load *load);
void config_overlay_set(struct config_load *load, const char *assignment);
/* "$.source" or "$.sources[i]", as the user wrote it. */
void config_source_path(const struct config_load *load, size_t i, char out[CONFIG_PATH]);

/* --- value.c --- */
/* Checks value against the row and stores it in the area's struct. Says what is wrong at path. */
void config_value_set(struct config_load *load, const struct option *option, void *area,
                      const json_t *value, const char *path);
void config_value_initial(struct config_load *load, const struct option *option, void *area);
/* The member as JSON (new reference); secrets as "***". NULL: out of memory. */
json_t *config_value_get(const struct option *option, const void *area);
void config_value_free(const struct option *option, void *area);
/* Struct of the rows that begin with prefix; i counts sources or targets. */
void *config_area(struct slsr_config *config, const char *path, size_t i);

/* --- maps.c: OPT_TEXTS, OPT_MAP, OPT_GROUPS --- */
void config_many_set(struct config_load *load, const struct option *option, void *area,
                     const json_t *value, const char *path);
/* null for other kinds */
json_t *config_many_get(const struct option *option, const void *area);
void config_many_free(const struct option *option, void *area);

/* --- blame.c --- */
/* Moves the places into the config. False: out of memory, they stay. */
bool config_places_keep(struct config_load *load);
void config_places_free(struct slsr_config_places *places); /* NULL is fine */

/* --- secrets.c --- */
#define CONFIG_MASK "***"
/* Reads *_file and systemd credentials; warns of inline secrets in a public file. */
void config_secrets_load(struct config_load *load);
/* Does source i name a file for this secret ("access_key_id")? What is wrong with it has been said.
 */
bool config_secret_in_file(const struct config_load *load, size_t i, const char *key);
/* Frees a tree, overwriting its strings first. */
void config_wipe_json(json_t *root);
void config_wipe_text(char *text);
/* All texts are wiped: a proxy may hold a password, and a query names what is watched. */
void config_free_text(const struct option *option, char *text);

/* --- check.c --- */
void config_check(struct config_load *load);

/* --- judge.c --- */
/* Has the judge of format look at it; what it says becomes problems. After config_check. */
void config_judge(struct config_load *load);

/* --- files.c --- */
/* Warns of named files that cannot be read; for the relay only. After config_check. */
void config_files_look(struct config_load *load);

/* --- units.c --- */
/* "begin", "end", "@epoch", "2026-01-02T03:04:05+08:00". */
bool config_parse_position(const char *text, enum slsr_position *position, int64_t *time_s);
/* "host:port", "[::1]:514", "host": host into a buffer, port 0 when absent. */
bool config_split_host(const char *text, char *host, size_t size, int *port);
bool config_host_valid(const char *host);
/* "tcp://host:port". Never repeats the text in err: it may hold more than an address. */
int config_parse_url(const char *url, enum slsr_protocol *protocol, char *host, size_t size,
                     int *port, struct slsr_err *err);

#endif
