/* The service's error codes and what they mean to us: one table. A code is compared without regard
 * to case and with the misspellings that exist; an unknown one counts by its HTTP status. The
 * message is never looked at, with one exception that the service itself forces: older servers
 * report a bad cursor as ParameterInvalid. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "client/answer.h"

enum match { EXACT, PREFIX, CONTAINS };

static const struct {
    const char *text;
    enum match match;
    int code;
    const char *advice;
} codes[] = {
    {"RequestTimeTooSkewed", EXACT, SLSR_ECLOCK, "set this machine's clock"},
    {"RequestTimeExpired", EXACT, SLSR_ECLOCK, "set this machine's clock"},
    {"Unauthorized", EXACT, SLSR_EAUTH,
     "check access_key_id, access_key_secret and security_token"},
    {"SignatureNotMatch", EXACT, SLSR_EAUTH, "check access_key_secret and source.region"},
    {"InvalidAccessKeyId", EXACT, SLSR_EAUTH, "check access_key_id"},
    {"SecurityToken", PREFIX, SLSR_EAUTH, "renew security_token"},
    {"ProjectForbidden", EXACT, SLSR_EAUTH, "check the state of the project and its permissions"},
    {"ConsumerGroupQuotaExceed", EXACT, SLSR_EQUOTA,
     "delete a consumer group that nobody uses or name one that exists"},
    {"QuotaExceed", CONTAINS, SLSR_EQUOTA, "the relay slows down; add shards if this stays"},
    {"InternalServerError", EXACT, SLSR_ESERVER, "the relay tries again"},
    {"ServerBusy", EXACT, SLSR_ESERVER, "the relay tries again"},
    {"RequestTimeout", EXACT, SLSR_ESERVER, "the relay tries again"},
    {"InvalidCursor", CONTAINS, SLSR_ECURSOR, "see source.on_invalid_cursor"},
    {"ConsumerNotExist", EXACT, SLSR_ELOST, "the shard is no longer ours"},
    {"ConsumerNotMatch", EXACT, SLSR_ELOST, "the shard belongs to another consumer"},
    {"NotExistConsumerWithBody", EXACT, SLSR_ELOST, "the service has forgotten this consumer"},
    {"ShardNotExist", EXACT, SLSR_ELOST, "the shard is gone"},
    {"ProjectNotExist", EXACT, SLSR_ENOTFOUND, "check source.project and source.endpoint"},
    {"LogStoreNotExist", EXACT, SLSR_ENOTFOUND, "check source.logstores"},
    {"ConsumerGroupNotExist", EXACT, SLSR_ENOTFOUND, "check source.consumer_group"},
    {"ParameterInvalid", EXACT, SLSR_ECLIENT, "check source.query and the relay's version"},
    {"JsonInfoInvalid", EXACT, SLSR_ECLIENT, "this is a bug or a wrong setting"},
    {"InvalidShardCheckPoint", EXACT, SLSR_ECLIENT, "this is a bug: please report it"},
    {"Missing", PREFIX, SLSR_ECLIENT,
     "does something between here and SLS remove headers? else a bug"},
    {"MissAccessKeyId", EXACT, SLSR_ECLIENT, "check access_key_id"},
    {"InvalidAPIVersion", EXACT, SLSR_ECLIENT, "this is a bug: please report it"},
    {"InvalidBodyRawSize", EXACT, SLSR_ECLIENT, "this is a bug: please report it"},
    {"InvalidCompressType", EXACT, SLSR_ECLIENT, "this is a bug: please report it"},
    {"InvalidDateFormat", EXACT, SLSR_ECLIENT, "this is a bug: please report it"},
    {"InvalidSignatureMethod", EXACT, SLSR_ECLIENT, "set source.signature"},
    {"InvalidContentType", EXACT, SLSR_ECLIENT, "this is a bug: please report it"},
};

/* As the table has it: "NotExsit" is a spelling of "NotExist" that is out there, and some codes
 * come with an s at the end. */
static void plain_code(const char *code, char out[64])
{
    char *slip;
    size_t n;

    snprintf(out, 64, "%s", code);
    slip = strcasestr(out, "NotExsit");
    if (slip != NULL)
        memcpy(slip, "NotExist", 8);
    n = strlen(out);
    if (n > 9 && strcasecmp(out + n - 9, "NotExists") == 0)
        out[n - 1] = '\0';
}

static bool matches(const char *code, size_t i)
{
    switch (codes[i].match) {
    case EXACT:
        return strcasecmp(code, codes[i].text) == 0;
    case PREFIX:
        return strncasecmp(code, codes[i].text, strlen(codes[i].text)) == 0;
    case CONTAINS:
        break;
    }
    return strcasestr(code, codes[i].text) != NULL;
}

static int by_status(int status, bool from_service, const char **advice)
{
    if (status >= 500 || status == 408) {
        *advice = "the relay tries again";
        return SLSR_ESERVER;
    }
    if (status == 429) {
        *advice = "the relay slows down";
        return SLSR_EQUOTA;
    }
    if (status == 401 || status == 403) {
        *advice = "check access_key_id, access_key_secret and the permissions of this key";
        return SLSR_EAUTH;
    }
    if (status == 407) {
        *advice = "the proxy wants a login: check source.proxy";
        return SLSR_ENET;
    }
    if (!from_service) {
        /* An error of SLS always carries errorCode; this came from something in between. */
        *advice = "this is not an answer of SLS: check source.endpoint and source.proxy";
        return SLSR_ESERVER;
    }
    if (status == 404) {
        *advice = "check source.project and source.logstores";
        return SLSR_ENOTFOUND;
    }
    *advice = "this is a bug or a wrong setting";
    return status >= 400 ? SLSR_ECLIENT : SLSR_ESERVER;
}

int answer_code(int status, const struct answer_error *error, struct answer_context context,
                const char **advice)
{
    char code[64];

    if (context.pull && strcasecmp(error->code, "ParameterInvalid") == 0 &&
        (!context.query || strcasestr(error->message, "cursor") != NULL)) {
        *advice = "see source.on_invalid_cursor";
        return SLSR_ECURSOR;
    }
    plain_code(error->code, code);
    for (size_t i = 0; code[0] != '\0' && i < sizeof codes / sizeof codes[0]; i++) {
        if (matches(code, i)) {
            *advice = codes[i].advice;
            return codes[i].code;
        }
    }
    return by_status(status, error->code[0] != '\0', advice);
}
