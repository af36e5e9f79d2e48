/* Reasons for refusing, or being refused.
 *
 * Good path: none of this runs but the fingerprint and the date. What can go wrong is the subject:
 * the certificate's verdict (ours to give), an alert (the peer's), a version that is too old, an
 * end in the middle. Text out of a certificate is foreign: only plain ASCII of it is repeated. */
#include "transport/tls_check.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { DIGEST_BYTES = 32, ALERT_OFFSET = SSL_AD_REASON_OFFSET, NAMES_TEXT = 160 };

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool same_digest(const char *text, const unsigned char digest[DIGEST_BYTES])
{
    size_t digits = 0;
    const char *p = strchr(text, ':');

    if (p == NULL)
        return false;
    for (; *p != '\0'; p++) {
        int v = hex(*p);

        if (*p == ':')
            continue;
        if (v < 0 || digits == 2 * DIGEST_BYTES ||
            v != ((digest[digits / 2] >> (digits % 2 == 0 ? 4 : 0)) & 15))
            return false;
        digits++;
    }
    return digits == 2 * DIGEST_BYTES;
}

bool tls_fingerprint_known(X509 *cert, char *const *list, size_t count)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (cert == NULL || X509_digest(cert, EVP_sha256(), digest, &n) != 1 || n != DIGEST_BYTES)
        return false;
    for (size_t i = 0; i < count; i++)
        if (same_digest(list[i], digest))
            return true;
    return false;
}

static int64_t time_ms(const ASN1_TIME *at)
{
    struct tm tm;

    if (at == NULL || ASN1_TIME_to_tm(at, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm) * 1000;
}

int64_t tls_expiry_ms(X509 *cert)
{
    return cert != NULL ? time_ms(X509_get0_notAfter(cert)) : 0;
}

static void put_date(char *out, size_t size, const ASN1_TIME *at)
{
    struct tm tm;

    if (at == NULL || ASN1_TIME_to_tm(at, &tm) != 1 ||
        strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, size, "an unreadable date");
}

static void put_fingerprint(char *out, size_t size, X509 *cert)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    size_t used;

    snprintf(out, size, "sha-256");
    if (X509_digest(cert, EVP_sha256(), digest, &n) != 1)
        return;
    used = strlen(out);
    for (unsigned i = 0; i < n && used + 4 < size; i++)
        used += (size_t)snprintf(out + used, size - used, ":%02X", digest[i]);
}

static void put_plain(char *out, size_t size, const char *text, size_t n)
{
    size_t k = 0;

    for (; k < n && k + 1 < size; k++)
        out[k] = text[k] > 0x20 && text[k] < 0x7f ? text[k] : '?';
    out[k] = '\0';
}

/* The names that the certificate is for, the first few. */
static void put_names(char *out, size_t size, X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t used = 0;

    snprintf(out, size, "no name at all");
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && used + 20 < size; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[80];

        if (name->type == GEN_DNS)
            put_plain(text, sizeof text, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                      (size_t)ASN1_STRING_length(name->d.dNSName));
        else if (name->type == GEN_IPADD)
            snprintf(text, sizeof text, "an IP address");
        else
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", text);
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}

static int refuse_name(X509 *cert, const struct slsr_target_config *target, struct slsr_err *err)
{
    char names[NAMES_TEXT];

    put_names(names, sizeof names, cert);
    return slsr_fail(err, SLSR_ENET,
                     "its certificate has the wrong name: it is for %s, not for %s; mend it or set "
                     "tls.server_name",
                     names,
                     target->tls.server_name != NULL ? target->tls.server_name : target->host);
}

static int refuse_date(X509 *cert, bool expired, struct slsr_err *err)
{
    char date[64];

    put_date(date, sizeof date, expired ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert));
    return expired ? slsr_fail(err, SLSR_ENET,
                               "its certificate, or one of its chain, has expired (the receiver's "
                               "own ends %s); renew it",
                               date)
                   : slsr_fail(err, SLSR_ENET,
                               "its certificate is not yet valid (it begins %s); check this "
                               "machine's clock",
                               date);
}

/* Our verdict on the peer's certificate. */
static int refuse(X509 *cert, long verdict, const struct slsr_target_config *target,
                  struct slsr_err *err)
{
    char print[128];

    switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return refuse_date(cert, verdict == X509_V_ERR_CERT_HAS_EXPIRED, err);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return refuse_name(cert, target, err);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return slsr_fail(err, SLSR_ENET,
                         "its certificate is self-signed; put it into tls.ca_file or give its "
                         "fingerprint");
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return slsr_fail(
            err, SLSR_ENET,
            "its certificate is signed by an unknown CA; put that CA into tls.ca_file");
    case X509_V_ERR_INVALID_PURPOSE:
        return slsr_fail(err, SLSR_ENET,
                         "its certificate has the wrong purpose: it is not meant for servers");
    case X509_V_ERR_CERT_REVOKED:
        return slsr_fail(err, SLSR_ENET, "its certificate has been revoked");
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        return slsr_fail(err, SLSR_ENET, "tls.crl_file holds no list of the CA that signed it");
    case X509_V_ERR_CRL_HAS_EXPIRED:
        return slsr_fail(err, SLSR_ENET, "the list in tls.crl_file has expired; renew it");
    case X509_V_ERR_APPLICATION_VERIFICATION:
        put_fingerprint(print, sizeof print, cert);
        return slsr_fail(err, SLSR_ENET,
                         "the fingerprint of its certificate, %s, is not one of tls.fingerprints",
                         print);
    default:
        return slsr_fail(err, SLSR_ENET, "its certificate is refused: %s",
                         X509_verify_cert_error_string(verdict));
    }
}

/* The peer's verdict, an alert. */
static int refused(int alert, bool asked, const struct slsr_target_config *target,
                   struct slsr_err *err)
{
    bool ours = target->tls.cert_file != NULL;

    switch (alert) {
    case SSL_AD_PROTOCOL_VERSION:
        return slsr_fail(err, SLSR_ENET,
                         "the receiver's TLS is older than tls.min_version %s; update it",
                         target->tls.min_version == SLSR_TLS_1_3 ? "1.3" : "1.2");
    case SSL_AD_UNRECOGNIZED_NAME:
        return slsr_fail(err, SLSR_ENET, "the receiver does not know the name in tls.server_name");
    case SSL_AD_CERTIFICATE_REQUIRED:
    case SSL_AD_HANDSHAKE_FAILURE:
        if (!ours && (asked || alert == SSL_AD_CERTIFICATE_REQUIRED))
            return slsr_fail(err, SLSR_ENET,
                             "the receiver demands a client certificate; set tls.cert_file and "
                             "tls.key_file");
        break;
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
        return slsr_fail(err, SLSR_ENET, "the receiver refused our certificate: %s",
                         SSL_alert_desc_string_long(alert));
    default:
        break;
    }
    return slsr_fail(err, SLSR_ENET, "the receiver ended TLS: %s",
                     SSL_alert_desc_string_long(alert));
}

const char *tls_reason(void)
{
    /* The first error has the cause when the system gave one: a file that is not there. */
    unsigned long first = ERR_peek_error(), e = ERR_peek_last_error();
    const char *text = e != 0 ? ERR_reason_error_string(e) : NULL;

    if (ERR_SYSTEM_ERROR(first))
        text = strerror(ERR_GET_REASON(first));
    ERR_clear_error();
    return text != NULL ? text : "unknown error of the TLS library";
}

int tls_explain(const struct tls_failure *f, struct slsr_err *err)
{
    unsigned long e = ERR_peek_error();
    const char *text = e != 0 ? ERR_reason_error_string(e) : NULL;
    int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;

    ERR_clear_error();
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && f->cert != NULL)
        return refuse(f->cert, f->verdict, f->target, err);
    if (reason > ALERT_OFFSET && reason < ALERT_OFFSET + 256)
        return refused(reason - ALERT_OFFSET, f->asked, f->target, err);
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW)
        return refused(SSL_AD_PROTOCOL_VERSION, f->asked, f->target, err);
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG)
        return slsr_fail(err, SLSR_ENET, "the receiver does not speak TLS on this port");
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING || e == 0)
        return slsr_fail(err, SLSR_ENET, "closed by peer %s", f->stage);
    return slsr_fail(err, SLSR_ENET, "TLS failed %s: %s", f->stage,
                     text != NULL ? text : "unknown reason");
}
