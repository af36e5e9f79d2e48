/* SLS over HTTPS: one function per API call. The only folder that includes curl.
 *
 * A client is one connection to one project, for one thread; settings are borrowed. Keys and what
 * is known of the service's clock are shared by all clients of a source (account.h); refused keys
 * are looked up again and, when there are new ones, the call is made once more.
 * Every attempt is signed afresh. No function retries: the stage decides by the error's class.
 * Errors carry the service's code, status and request id, never a secret (I6). Codes: SLSR_ENET,
 * SLSR_ESERVER, SLSR_EQUOTA, SLSR_EAUTH, SLSR_ECLOCK (says by how much; the client corrects its
 * date by the answer's from then on), SLSR_ENOTFOUND, SLSR_ELOST, SLSR_ECURSOR, SLSR_EBADDATA,
 * SLSR_ETOOBIG, SLSR_ECLIENT, SLSR_ESTOPPED (stop fired during the call).
 *
 * After stop was requested heartbeat and put_checkpoint still work, within their time limits:
 * shards are handed over in order. All other calls return SLSR_ESTOPPED at once. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "slsrelay/config.h"
#include "slsrelay/err.h"
#include "slsrelay/stop.h"
#include "slsrelay/types.h"

struct client;

struct client_shard {
    uint32_t id;
    bool readonly;
};

struct client_pull {
    struct slsr_bytes body;         /* as sent (compressed); the client's, until its next call */
    bool lz4;                       /* else plain */
    size_t raw_size;                /* x-log-bodyrawsize */
    uint32_t groups;                /* x-log-count */
    int64_t scanned_bytes;          /* read by the service before a filter; else raw_size */
    int64_t scanned_groups;         /* likewise; else groups */
    char next[SLSR_CURSOR_MAX + 1]; /* == the cursor asked for: nothing new */
    int64_t cursor_time_s;          /* x-log-cursor-time, -1 when absent */
};

struct client_checkpoint {
    uint32_t shard;
    char cursor[SLSR_CURSOR_MAX + 1]; /* "" when none was stored */
    char consumer[SLSR_NAME_MAX + 1];
};

/* Where calls of this source go to; no network. */
struct client_place {
    bool https;
    char host[520]; /* name or address really connected to, without brackets */
    int port;
    char name[520]; /* that its certificate has to bear: project and endpoint */
};
/* SLSR_ECONFIG as client_open; the sentence begins with the setting: "source.signature is v4 but
 * ...". */
int client_place_of(struct client_place *out, const struct slsr_source_config *source,
                    struct slsr_err *err);
/* consumer: for the User-Agent "sls-relay/<version> <group>/<consumer>"; NULL outside a group.
 * SLSR_ECONFIG for an endpoint that is no URL. Opens no connection yet. */
int client_open(struct client **out, const struct slsr_source_config *source, const char *consumer,
                struct slsr_stop *stop, struct slsr_err *err);
void client_close(struct client *client);
/* From now on no call takes longer than this, 0: each its own limit again. */
void client_limit_time(struct client *client, int64_t ms);
/* How long a heartbeat may take: well below the interval, so that one that hangs costs no shard. */
int64_t client_heartbeat_limit_ms(const struct slsr_source_config *source);
/* Gives the memory of the last answer back; its body is gone. */
void client_trim(struct client *client);
/* errorCode of the last call's answer, "" when it had none. The client's, until its next call. */
const char *client_last_code(const struct client *client);

int client_list_shards(struct client *c, const char *logstore, struct client_shard **shards,
                       size_t *count, struct slsr_err *err); /* free(*shards) */
/* How long the service keeps logs of this logstore, in seconds. */
int client_logstore_retention(struct client *c, const char *logstore, int64_t *seconds,
                              struct slsr_err *err);
/* from: "begin", "end" or unix seconds as text. */
int client_get_cursor(struct client *c, const char *logstore, uint32_t shard, const char *from,
                      char cursor[SLSR_CURSOR_MAX + 1], struct slsr_err *err);
int client_pull(struct client *c, const char *logstore, uint32_t shard, const char *cursor,
                int count, struct client_pull *pull, struct slsr_err *err);
/* Creates the group or, when it is there, sets its timeout and order. */
int client_ensure_group(struct client *c, const char *logstore, const char *group,
                        int64_t timeout_s, bool in_order, struct slsr_err *err);
/* Beats with the shards that we still work on; *assigned: those that are ours (free()). */
int client_heartbeat(struct client *c, const char *logstore, const char *group,
                     const char *consumer, const uint32_t *held, size_t held_count,
                     uint32_t **assigned, size_t *assigned_count, struct slsr_err *err);
int client_put_checkpoint(struct client *c, const char *logstore, const char *group,
                          const char *consumer, uint32_t shard, const char *cursor, bool force,
                          struct slsr_err *err);
/* Stored checkpoint of one shard; cursor "" when there is none yet. */
int client_get_checkpoint(struct client *c, const char *logstore, const char *group, uint32_t shard,
                          struct client_checkpoint *out, struct slsr_err *err);

/* All clients of `source` (the settings they were opened with) sign with the inline keys of `fresh`
 * from now on; keys from a file or a role look after themselves. Any thread. SLSR_ECONFIG,
 * SLSR_ENOMEM: the old ones stay. */
int client_renew_keys(const struct slsr_source_config *source,
                      const struct slsr_source_config *fresh, struct slsr_err *err);
/* "libcurl 7.88.1 (OpenSSL/3.0.19)", of the libraries that run here. */
void client_libraries(char *out, size_t size);

#endif
