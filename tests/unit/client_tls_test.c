/* TLS of the client: who is refused. A server thread with a certificate made on the spot, for the
 * name that the client must ask for, answers one request per connection. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <curl/curl.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cmocka.h>

#include "client/client.h"

struct tls_server {
    int fd, port;
    pthread_t thread;
    SSL_CTX *ctx;
    char ca_file[64];
    char sni[64];    /* what the last client asked for */
    unsigned served; /* requests that were read: none when the client refused us */
};

static void *serve(void *arg)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]";
    struct tls_server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        SSL *ssl = SSL_new(s->ctx);
        char request[4096];

        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) {
            const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

            snprintf(s->sni, sizeof s->sni, "%s", name != NULL ? name : "");
            s->served++;
            SSL_write(ssl, answer, sizeof answer - 1);
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

/* A certificate for `name` that signs itself; also written to s->ca_file. */
static void make_certificate(struct tls_server *s, const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    static unsigned made;
    char san[128], subject[32];
    X509_EXTENSION *extension;
    FILE *file;
    int fd;

    snprintf(san, sizeof san, "DNS:%s", name);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    snprintf(subject, sizeof subject, "test %u", made++); /* another authority each time */
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)subject, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    assert_non_null(extension);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);

    strcpy(s->ca_file, "/tmp/client_tls_test.XXXXXX");
    fd = mkstemp(s->ca_file);
    assert_true(fd >= 0);
    file = fdopen(fd, "w");
    assert_int_equal(PEM_write_X509(file, x), 1);
    fclose(file);
    s->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(s->ctx, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void begin(struct tls_server *s, const char *name)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    *s = (struct tls_server){0};
    make_certificate(s, name);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &n), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(struct tls_server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    SSL_CTX_free(s->ctx);
    unlink(s->ca_file);
}

static struct client *client_of(const struct tls_server *s, const char *ca_file)
{
    char to[32];
    struct slsr_source_config source = {.endpoint = (char *)"https://sls.test",
                                        .connect_to = to,
                                        .project = (char *)"my-project",
                                        .access_key_id = (char *)"id",
                                        .access_key_secret = (char *)"secret+key",
                                        .ca_file = (char *)ca_file};
    struct client *c;

    snprintf(to, sizeof to, "127.0.0.1:%d", s->port);
    assert_int_equal(client_open(&c, &source, NULL, NULL, NULL), 0);
    return c;
}

static int ask(struct client *c, struct slsr_err *err)
{
    struct client_shard *shards = NULL;
    size_t n;
    const int rc = client_list_shards(c, "audit", &shards, &n, err);

    free(shards);
    return rc;
}

static int list(const struct tls_server *s, const char *ca_file, struct slsr_err *err)
{
    struct client *c = client_of(s, ca_file);
    const int rc = ask(c, err);

    client_close(c);
    return rc;
}

/* Puts the text of one file into another. */
static void copy(const char *from, const char *to)
{
    char text[4096];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    const size_t n = fread(text, 1, sizeof text, in);

    assert_int_equal(fwrite(text, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void trusted_and_named(void **state)
{
    struct slsr_err err = {0};
    struct tls_server s;

    (void)state;
    begin(&s, "my-project.sls.test");
    if (list(&s, s.ca_file, &err) != 0)
        fail_msg("%s", err.text);
    end(&s);
    assert_int_equal(s.served, 1);
    assert_string_equal(s.sni, "my-project.sls.test");
}

static void not_trusted(void **state)
{
    struct slsr_err err = {0};
    struct tls_server s;

    (void)state;
    begin(&s, "my-project.sls.test");
    assert_int_equal(list(&s, NULL, &err), SLSR_ENET);
    assert_non_null(strstr(err.text, "TLS: "));
    assert_non_null(strstr(err.text, "source.ca_file"));
    assert_int_equal(list(&s, "/nonexistent/ca.pem", &err), SLSR_ENET);
    assert_non_null(strstr(err.text, "source.ca_file"));
    end(&s);
    assert_int_equal(s.served, 0);
}

static void wrong_name(void **state)
{
    struct slsr_err err = {0};
    struct tls_server s;

    (void)state;
    begin(&s, "sls.test"); /* without the project: not the name that we ask for */
    assert_int_equal(list(&s, s.ca_file, &err), SLSR_ENET);
    assert_non_null(strstr(err.text, "TLS: "));
    end(&s);
    assert_int_equal(s.served, 0);
}

/* The authority changes and its file with it: the next connection reads the file again. */
static void authority_renewed(void **state)
{
    char ca_file[] = "/tmp/client_tls_test.XXXXXX";
    const int fd = mkstemp(ca_file);
    struct tls_server s, former;
    struct slsr_err err = {0};
    struct client *c;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    begin(&s, "my-project.sls.test");
    begin(&former, "my-project.sls.test");
    copy(former.ca_file, ca_file);
    c = client_of(&s, ca_file);
    assert_int_equal(ask(c, &err), SLSR_ENET);
    copy(s.ca_file, ca_file);
    if (ask(c, &err) != 0)
        fail_msg("%s", err.text);
    client_close(c);
    end(&former);
    end(&s);
    unlink(ca_file);
    assert_int_equal(s.served, 1);
}

struct trial {
    const struct tls_server *s;
    const char *ca_file;
    bool possible;
    int rc;
    struct slsr_err err;
};

/* In a thread of its own, for that has a mount namespace of its own (a fork beside the servers'
 * threads may find their locks taken for ever): the system's folder of certificates holds the
 * server's alone. */
static void *with_system_folder(void *arg)
{
    struct trial *trial = arg;
    const char *folder = curl_version_info(CURLVERSION_NOW)->capath;
    FILE *in = fopen(trial->s->ca_file, "r");
    X509 *x = PEM_read_X509(in, NULL, NULL, NULL);
    char name[300];

    fclose(in);
    trial->possible = folder != NULL && unshare(CLONE_NEWNS) == 0 &&
                      mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                      mount("none", folder, "tmpfs", 0, NULL) == 0;
    if (trial->possible) {
        snprintf(name, sizeof name, "%s/%08lx.0", folder, X509_subject_name_hash(x));
        copy(trial->s->ca_file, name);
        trial->rc = list(trial->s, trial->ca_file, &trial->err);
    }
    X509_free(x);
    return NULL;
}

/* source.ca_file stands instead of what the system trusts, not beside it. */
static void not_beside_the_system(void **state)
{
    struct tls_server s, other;
    struct trial trial = {.s = &s, .ca_file = other.ca_file};
    pthread_t thread;

    (void)state;
    begin(&s, "my-project.sls.test");
    begin(&other, "my-project.sls.test");
    assert_int_equal(pthread_create(&thread, NULL, with_system_folder, &trial), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    end(&other);
    end(&s);
    if (!trial.possible)
        skip();
    if (trial.rc != SLSR_ENET)
        fail_msg("%d: %s", trial.rc, trial.err.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trusted_and_named),
        cmocka_unit_test(not_trusted),
        cmocka_unit_test(wrong_name),
        cmocka_unit_test(authority_renewed),
        cmocka_unit_test(not_beside_the_system),
    };

    signal(SIGPIPE, SIG_IGN); /* the server writes to clients that have refused it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
