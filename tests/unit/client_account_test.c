/* Keys: from a file that changes, from a metadata service, refused and replaced. The metadata
 * service is a thread on the loopback interface; the clock is wound by hand where time matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "client/account.h"
#include "client/answer.h"

enum { NOW_S = 1735787045 }; /* 2025-01-02T03:04:05Z */

static char path[64];

static void write_keys(const char *text, mode_t mode)
{
    char new[80];
    FILE *f;

    snprintf(new, sizeof new, "%s.new", path);
    f = fopen(new, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(new, mode), 0);
    assert_int_equal(rename(new, path), 0); /* as a rotation should do it */
}

static void expect(struct account *a, const char *id, const char *secret, const char *token)
{
    struct account_keys *keys;
    struct slsr_err err = {0};

    if (account_take(a, NULL, &keys, &err) != 0)
        fail_msg("%s", err.text);
    assert_string_equal(keys->id, id);
    assert_string_equal(keys->secret, secret);
    assert_string_equal(keys->token, token);
    account_drop(keys);
}

static struct account *of_file(struct slsr_source_config *source)
{
    static char project[] = "proj";
    struct account *a;

    snprintf(path, sizeof path, "/tmp/account-test-%d.json", (int)getpid());
    *source = (struct slsr_source_config){.project = project, .credentials_file = path};
    clock_freeze(NOW_S * INT64_C(1000));
    assert_int_equal(account_acquire(&a, source, NULL), 0);
    return a;
}

static void file_is_read_again_when_it_changes(void **state)
{
    struct slsr_source_config source;
    struct account *a = of_file(&source);

    (void)state;
    write_keys("{\"access_key_id\":\"id1\",\"access_key_secret\":\"s1\"}", 0600);
    expect(a, "id1", "s1", "");
    write_keys("{\"AccessKeyId\":\"id2\",\"AccessKeySecret\":\"s2\",\"SecurityToken\":\"t2\","
               "\"Expiration\":\"2025-01-02T04:00:00Z\"}",
               0600);
    expect(a, "id1", "s1", ""); /* looked at once a second */
    clock_wind(1001);
    expect(a, "id2", "s2", "t2");
    account_release(a);
    unlink(path);
}

static void half_written_or_missing_file_leaves_the_old_keys(void **state)
{
    struct slsr_source_config source;
    struct account *a = of_file(&source);

    (void)state;
    write_keys("{\"access_key_id\":\"id1\",\"access_key_secret\":\"s1\"}", 0600);
    expect(a, "id1", "s1", "");
    write_keys("{\"access_key_id\":\"id2\",\"acc", 0600);
    clock_wind(1001);
    expect(a, "id1", "s1", "");
    unlink(path);
    clock_wind(1001);
    expect(a, "id1", "s1", "");
    write_keys("{\"access_key_id\":\"id3\",\"access_key_secret\":\"s3\"}", 0600);
    clock_wind(1001);
    expect(a, "id3", "s3", "");
    account_release(a);
    unlink(path);
}

static void no_file_no_keys_one_sentence(void **state)
{
    struct slsr_source_config source;
    struct account *a = of_file(&source);
    struct account_keys *keys;
    struct slsr_err err = {0};

    (void)state;
    unlink(path);
    assert_int_equal(account_take(a, NULL, &keys, &err), SLSR_EAUTH);
    assert_non_null(strstr(err.text, path));
    assert_null(keys);
    write_keys("{\"access_key_id\":\"id\",\"access_key_secret\":\"with blank\",\"security_token\":"
               "\"with blank\"}",
               0600);
    clock_wind(5001);
    assert_int_equal(account_take(a, NULL, &keys, &err), SLSR_EAUTH);
    assert_null(strstr(err.text, "with blank"));
    account_release(a);
    unlink(path);
}

static void refused_keys_are_looked_up_at_once(void **state)
{
    struct slsr_source_config source;
    struct account *a = of_file(&source);
    struct account_keys *keys;

    (void)state;
    write_keys("{\"access_key_id\":\"id1\",\"access_key_secret\":\"s1\"}", 0600);
    assert_int_equal(account_take(a, NULL, &keys, NULL), 0);
    assert_false(account_refused(a, NULL, keys)); /* nothing newer: no use in another try */
    write_keys("{\"access_key_id\":\"id2\",\"access_key_secret\":\"s2\"}", 0600);
    assert_true(account_refused(a, NULL, keys)); /* without waiting for the next look */
    expect(a, "id2", "s2", "");
    account_drop(keys);
    account_release(a);
    unlink(path);
}

static void inline_keys_are_shared_by_all_clients_of_a_source(void **state)
{
    char id[] = "id", secret[] = "secret", blank[] = "a b";
    struct slsr_source_config source = {.access_key_id = id, .access_key_secret = secret};
    struct slsr_source_config none = {.access_key_id = id};
    struct slsr_source_config odd = {.access_key_id = blank, .access_key_secret = secret};
    struct account *a, *b;

    (void)state;
    assert_int_equal(account_acquire(&a, &source, NULL), 0);
    assert_int_equal(account_acquire(&b, &source, NULL), 0);
    assert_ptr_equal(a, b);
    expect(a, "id", "secret", "");
    assert_true(account_set_clock(a, 1260));
    assert_false(account_set_clock(b, 1270)); /* told once for all */
    assert_int_equal(account_clock_s(b), 1270);
    account_release(a);
    account_release(b);
    assert_int_equal(account_acquire(&a, &none, NULL), SLSR_ECONFIG);
    assert_int_equal(account_acquire(&a, &odd, NULL), SLSR_ECONFIG);
}

/* --- a metadata service --- */

struct service {
    int fd, port;
    pthread_t thread;
    bool hardened; /* wants the session token */
    _Atomic int serial;
    _Atomic int requests;
    _Atomic bool broken;
};

static void respond(int fd, int status, const char *body)
{
    char text[1024];
    const int n = snprintf(text, sizeof text,
                           "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                           status, strlen(body), body);

    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

static void *serve(void *arg)
{
    struct service *s = arg;

    for (;;) {
        char request[4096], body[512];
        size_t n = 0;
        const int fd = accept(s->fd, NULL, NULL);

        if (fd < 0)
            return NULL;
        request[0] = '\0';
        while (strstr(request, "\r\n\r\n") == NULL) {
            const ssize_t got = recv(fd, request + n, sizeof request - 1 - n, 0);

            if (got <= 0)
                break;
            n += (size_t)got;
            request[n] = '\0';
        }
        s->requests++;
        snprintf(body, sizeof body,
                 "{\"AccessKeyId\":\"STS.%d\",\"AccessKeySecret\":\"secret%d\",\"Expiration\":"
                 "\"2025-01-02T0%d:04:05Z\",\"SecurityToken\":\"token%d\",\"Code\":\"Success\"}",
                 (int)s->serial, (int)s->serial, 4 + (int)s->serial, (int)s->serial);
        if (s->broken)
            respond(fd, 500, "");
        else if (strncmp(request, "PUT /latest/api/token ", 22) == 0)
            respond(fd, s->hardened ? 200 : 404, s->hardened ? "session-1" : "");
        else if (s->hardened && strcasestr(request, "metadata-token: session-1") == NULL)
            respond(fd, 403, "");
        else if (strstr(request, "/security-credentials/ HTTP") != NULL)
            respond(fd, 200, "the-role\n");
        else if (strstr(request, "/security-credentials/the-role HTTP") != NULL)
            respond(fd, 200, body);
        else
            respond(fd, 404, "");
        close(fd);
    }
}

static void service_begin(struct service *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &n), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void service_end(struct service *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static void ecs_role(bool hardened, char *role)
{
    struct service s = {.hardened = hardened};
    char url[64], project[] = "proj";
    struct slsr_source_config source = {.project = project, .ecs_ram_role = role};
    struct account_keys *keys;
    struct account *a;
    int asked;

    service_begin(&s);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", s.port);
    source.ecs_metadata = url;
    clock_freeze(NOW_S * INT64_C(1000));
    assert_int_equal(account_acquire(&a, &source, NULL), 0);
    expect(a, "STS.0", "secret0", "token0"); /* good until 04:04:05 */
    asked = s.requests;
    clock_wind(3600 * 1000 - 601 * 1000);
    expect(a, "STS.0", "secret0", "token0");
    assert_int_equal(s.requests, asked); /* not before its time */
    s.serial = 1;
    clock_wind(2000); /* ten minutes before the end */
    expect(a, "STS.1", "secret1", "token1");
    s.broken = true; /* the service is away at the next renewal: the keys are still good */
    s.serial = 2;
    clock_wind(3600 * 1000);
    expect(a, "STS.1", "secret1", "token1");
    s.broken = false;
    clock_wind(5001);
    expect(a, "STS.2", "secret2", "token2");
    s.serial = 3; /* revoked early: SLS refuses them */
    clock_wind(5001);
    assert_int_equal(account_take(a, NULL, &keys, NULL), 0);
    assert_true(account_refused(a, NULL, keys));
    account_drop(keys);
    expect(a, "STS.3", "secret3", "token3");
    account_release(a);
    service_end(&s);
}

static void role_by_name_from_a_hardened_instance(void **state)
{
    char role[] = "the-role";

    (void)state;
    ecs_role(true, role);
}

static void role_found_out_on_an_ordinary_instance(void **state)
{
    char role[] = "auto";

    (void)state;
    ecs_role(false, role);
}

static void no_such_role_is_one_sentence(void **state)
{
    struct service s = {.hardened = false};
    char url[64], role[] = "other", project[] = "proj";
    struct slsr_source_config source = {.project = project, .ecs_ram_role = role};
    struct account_keys *keys;
    struct slsr_err err = {0};
    struct account *a;

    (void)state;
    service_begin(&s);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", s.port);
    source.ecs_metadata = url;
    assert_int_equal(account_acquire(&a, &source, NULL), 0);
    assert_int_equal(account_take(a, NULL, &keys, &err), SLSR_EAUTH);
    assert_non_null(strstr(err.text, "role other"));
    account_release(a);
    service_end(&s);
    account_release(NULL);
}

static void keys_that_make_no_sense(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{}",
                                      "null",
                                      "{\"access_key_id\":1,\"access_key_secret\":\"x\"}",
                                      "{\"access_key_id\":\"a\",\"access_key_secret\":\"\"}",
                                      "{\"access_key_id\":\"a\",\"Access_Key_Id\":7}"};
    struct answer_keys keys;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(answer_keys(slsr_bytes_of(bad[i]), &keys, NULL), SLSR_ESERVER);
    assert_int_equal(answer_keys(slsr_bytes_of("{\"accessKeyId\":\"a\",\"accessKeySecret\":\"b\","
                                               "\"expiration\":\"2025-01-02T03:04:05Z\"}"),
                                 &keys, NULL),
                     0);
    assert_int_equal(keys.expires_s, NOW_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_is_read_again_when_it_changes),
        cmocka_unit_test(half_written_or_missing_file_leaves_the_old_keys),
        cmocka_unit_test(no_file_no_keys_one_sentence),
        cmocka_unit_test(refused_keys_are_looked_up_at_once),
        cmocka_unit_test(inline_keys_are_shared_by_all_clients_of_a_source),
        cmocka_unit_test(role_by_name_from_a_hardened_instance),
        cmocka_unit_test(role_found_out_on_an_ordinary_instance),
        cmocka_unit_test(no_such_role_is_one_sentence),
        cmocka_unit_test(keys_that_make_no_sense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
