/* Which Host headers the endpoint answers: a page under a stranger's name must get nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/metrics.h"

static char *names[] = {(char *)"relay.example.com", (char *)"siem-relay"};
static struct slsr_config config = {.metrics_listen = (char *)"inside.example:9464",
                                    .metrics_hosts = names,
                                    .metrics_host_count = 2};

static void ours(void **state)
{
    static const char *const hosts[] = {
        "127.0.0.1",  "127.0.0.1:9464",         "10.1.2.3:80",      "[::1]",
        "[::1]:9464", "[2001:db8::7]:1",        "localhost",        "LocalHost:9464",
        "localhost.", "relay.example.com:9464", "SIEM-Relay",       "relay.example.com.:9464",
        "127.0.0.1:", "inside.example",         "inside.example:1", "[::ffff:10.0.0.1]:99999",
    };
    char own[300];

    (void)state;
    assert_true(host_is_ours(NULL, &config));
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        if (!host_is_ours(hosts[i], &config))
            fail_msg("%s is refused", hosts[i]);
    assert_int_equal(gethostname(own, 200), 0);
    strcat(own, ":9464");
    assert_true(host_is_ours(own, &config));
}

static void strangers(void **state)
{
    static const char *const hosts[] = {
        "",
        ".",
        ":9464",
        "evil.example",
        "evil.example:9464",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:9464.evil.example",
        "relay.example.com.evil.example",
        "evil.relay.example.com",
        "relay.example.co",
        "relay.example.com..",
        "127.1",
        "0x7f000001",
        "2130706433",
        "127.0.0.1:123456",
        "127.0.0.1:9464:1",
        "127.0.0.1 evil.example",
        "user@127.0.0.1",
        "::1",
        "[::1",
        "[::1]evil.example",
        "[evil.example]",
        "[127.0.0.1]",
        "[]",
        "inside.exampl",
        "inside.example:9464:9464",
    };
    char longest[1000];

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        if (host_is_ours(hosts[i], &config))
            fail_msg("%s is answered", hosts[i]);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_false(host_is_ours(longest, &config));
    config.metrics_listen = (char *)"9464"; /* a port alone has no name */
    assert_false(host_is_ours("9464", &config));
    assert_false(host_is_ours("", &config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ours), cmocka_unit_test(strangers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
