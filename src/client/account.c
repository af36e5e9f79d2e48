/* The accounts of this process, one per source, found by its settings' address.
 *
 * account_take hands out the current keys. A file is looked at once a second at most, and read
 * again when it has changed: what cannot be read (somebody is just writing it) leaves the old keys
 * in force. The metadata service is asked RENEW_S before the end; one thread asks while the others
 * go on with the old keys as long as those are good. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/account.h"
#include "client/keys.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/diag.h"

enum {
    RENEW_S = 600,       /* before the end; the service renews its own 1800 s before */
    LOOK_MS = 1000,      /* at the file */
    TRY_AGAIN_MS = 5000, /* at the metadata service, or after a refusal */
    CLOCK_TELL_S = 60    /* a correction that moved less needs no second diagnostic */
};

enum place { INLINE, IN_FILE, AT_ECS };

struct account {
    struct account *next;
    const struct slsr_source_config *source;
    unsigned users;
    enum place place;
    _Atomic int64_t clock_s;
    int64_t told_s;
    pthread_mutex_t lock;    /* the rest but `seen` and next_ms */
    pthread_mutex_t loading; /* held by who loads; never taken under lock */
    struct account_keys *keys;
    int64_t next_ms; /* monotonic: no look before */
    struct stat seen;
    bool failing; /* the last load failed: said once */
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct account *all;

static bool set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static int make(struct account **out, const struct slsr_source_config *source, struct slsr_err *err)
{
    struct account *a = calloc(1, sizeof *a);
    int rc = 0;

    if (a == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "out of memory for a client");
    a->source = source;
    if (set(source->credentials_file))
        a->place = IN_FILE;
    else if (set(source->ecs_ram_role))
        a->place = AT_ECS;
    else if (!set(source->access_key_id) || !set(source->access_key_secret))
        rc = slsr_fail(err, SLSR_ECONFIG,
                       "no credentials: set source.access_key_id and source.access_key_secret, "
                       "source.credentials_file or source.ecs_ram_role");
    else
        rc = keys_make(&a->keys, source->access_key_id, source->access_key_secret,
                       source->security_token != NULL ? source->security_token : "", 0, err);
    if (rc != 0) {
        free(a);
        return rc;
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->loading, NULL);
    a->next = all;
    all = a;
    *out = a;
    return 0;
}

int account_acquire(struct account **out, const struct slsr_source_config *source,
                    struct slsr_err *err)
{
    struct account *a;
    int rc = 0;

    pthread_mutex_lock(&all_lock);
    for (a = all; a != NULL && a->source != source; a = a->next)
        ;
    if (a == NULL)
        rc = make(&a, source, err);
    if (rc == 0)
        a->users++;
    pthread_mutex_unlock(&all_lock);
    *out = rc == 0 ? a : NULL;
    return rc;
}

void account_release(struct account *account)
{
    struct account **at = &all;

    if (account == NULL)
        return;
    pthread_mutex_lock(&all_lock);
    if (--account->users == 0) {
        while (*at != account)
            at = &(*at)->next;
        *at = account->next;
        account_drop(account->keys);
        pthread_mutex_destroy(&account->lock);
        pthread_mutex_destroy(&account->loading);
        free(account);
    }
    pthread_mutex_unlock(&all_lock);
}

static struct account_keys *current(struct account *a)
{
    struct account_keys *keys;

    pthread_mutex_lock(&a->lock);
    keys = a->keys;
    if (keys != NULL)
        keys->users++;
    pthread_mutex_unlock(&a->lock);
    return keys;
}

static int64_t service_time_s(const struct account *a)
{
    return clock_wall_ms() / 1000 + a->clock_s;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool same_keys(const struct account_keys *a, const struct account_keys *b)
{
    return a != NULL && strcmp(a->id, b->id) == 0 && strcmp(a->secret, b->secret) == 0 &&
           strcmp(a->token, b->token) == 0 && a->expires_s == b->expires_s;
}

/* Takes new keys over. */
static void replace(struct account *a, struct account_keys *keys)
{
    struct account_keys *old;
    const char *from = a->place == IN_FILE  ? "source.credentials_file"
                       : a->place == AT_ECS ? "the metadata service"
                                            : "the settings";

    pthread_mutex_lock(&a->lock);
    old = a->keys;
    if (same_keys(old, keys)) {
        old = keys;
        keys = NULL;
    } else {
        a->keys = keys;
    }
    pthread_mutex_unlock(&a->lock);
    if (keys != NULL) {
        count_add(COUNT_CREDENTIAL_REFRESHES, "ok", NULL, 1);
        count_set(COUNT_CREDENTIALS_EXPIRY_SECONDS, NULL, NULL, (double)keys->expires_s);
        diag(SLSR_LOG_NOTICE, "client", "%s: %s from %s", a->source->project,
             old == NULL ? "credentials" : "new credentials", from);
    }
    account_drop(old);
}

/* Under `loading`: file or metadata service -> keys. */
static int load(struct account *a, struct slsr_stop *stop, struct slsr_err *err)
{
    struct account_keys *keys = NULL;
    int rc;

    if (a->place == IN_FILE)
        rc = keys_from_file(&keys, a->source->credentials_file, &a->seen, err);
    else
        rc = keys_from_ecs(&keys, a->source->ecs_metadata, a->source->ecs_ram_role, stop, err);
    a->next_ms = clock_mono_ms() + (a->place == IN_FILE ? LOOK_MS : TRY_AGAIN_MS);
    if (rc == 0) {
        a->failing = false;
        replace(a, keys);
    } else if (rc != SLSR_ESTOPPED) {
        count_add(COUNT_CREDENTIAL_REFRESHES, "error", NULL, 1);
        if (!a->failing && a->keys != NULL)
            diag(SLSR_LOG_WARNING, "client",
                 "%s: no new credentials: %s; goes on with the old ones", a->source->project,
                 err->text);
        a->failing = true;
    }
    return rc;
}

/* Under `loading`: is there something to load? */
static bool due(const struct account *a, const struct account_keys *keys)
{
    struct stat now;

    if (clock_mono_ms() < a->next_ms)
        return false;
    if (keys == NULL)
        return true;
    if (a->place == AT_ECS)
        return keys->expires_s != 0 && service_time_s(a) >= keys->expires_s - RENEW_S;
    return stat(a->source->credentials_file, &now) != 0 || !same_file(&now, &a->seen);
}

int account_take(struct account *account, struct slsr_stop *stop, struct account_keys **keys,
                 struct slsr_err *err)
{
    struct slsr_err why = {0};
    int rc = 0;

    *keys = current(account);
    if (account->place == INLINE)
        return 0;
    /* with good keys in hand nobody waits for the one who loads */
    if (*keys == NULL)
        pthread_mutex_lock(&account->loading);
    else if (pthread_mutex_trylock(&account->loading) != 0)
        return 0;
    account_drop(*keys);
    *keys = current(account);
    if (due(account, *keys)) {
        rc = load(account, stop, &why);
        account_drop(*keys);
        *keys = current(account);
        if (rc != 0 && account->place == IN_FILE)
            account->next_ms = clock_mono_ms() + LOOK_MS;
    } else if (*keys == NULL) {
        why = (struct slsr_err){.code = SLSR_EAUTH,
                                .text = "no credentials yet: the relay tries again"};
    }
    pthread_mutex_unlock(&account->loading);
    if (*keys != NULL)
        return 0;
    if (err != NULL)
        *err = why;
    return why.code;
}

int account_renew(const struct slsr_source_config *source, const struct slsr_source_config *fresh,
                  struct slsr_err *err)
{
    struct account_keys *keys = NULL;
    struct account *a;
    int rc = 0;

    if (!set(fresh->access_key_id) || !set(fresh->access_key_secret))
        return slsr_fail(err, SLSR_ECONFIG, "the settings hold no access key any more");
    pthread_mutex_lock(&all_lock);
    for (a = all; a != NULL && (a->source != source || a->place != INLINE); a = a->next)
        ;
    if (a != NULL)
        rc = keys_make(&keys, fresh->access_key_id, fresh->access_key_secret,
                       fresh->security_token != NULL ? fresh->security_token : "", 0, err);
    if (keys != NULL)
        replace(a, keys);
    pthread_mutex_unlock(&all_lock);
    return rc;
}

bool account_refused(struct account *account, struct slsr_stop *stop,
                     const struct account_keys *keys)
{
    struct account_keys *now;
    struct slsr_err err;
    bool changed;

    pthread_mutex_lock(&account->loading);
    now = current(account);
    if (account->place != INLINE && now == keys &&
        (account->place == IN_FILE || clock_mono_ms() >= account->next_ms)) {
        load(account, stop, &err);
        account_drop(now);
        now = current(account);
    }
    changed = now != keys;
    account_drop(now);
    pthread_mutex_unlock(&account->loading);
    return changed;
}

int64_t account_clock_s(const struct account *account)
{
    return account->clock_s;
}

bool account_set_clock(struct account *account, int64_t offset_s)
{
    int64_t moved;
    bool tell;

    pthread_mutex_lock(&account->lock);
    moved = offset_s - account->told_s;
    tell = moved >= CLOCK_TELL_S || moved <= -CLOCK_TELL_S;
    if (tell)
        account->told_s = offset_s;
    account->clock_s = offset_s;
    pthread_mutex_unlock(&account->lock);
    count_set(COUNT_CLOCK_SKEW_SECONDS, NULL, NULL, (double)-offset_s);
    return tell;
}
