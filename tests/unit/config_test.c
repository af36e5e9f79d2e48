/* Settings as they should come out: defaults, files, environment, flags, secrets, printing.
 *
 * "config --reference" prints the table of docs/configuration.md, which a test compares. */
#include "config_help.h"

#include <fcntl.h>

#include "config/load.h"

#define KEYS "\"access_key_id\": \"the-id\", \"access_key_secret\": \"the-secret\""

static int reset(void **state)
{
    (void)state;
    clean_environment();
    return 0;
}

/* Loads text and wants neither problem nor warning. */
static struct loaded load_good(const char *text, const char *const *sets, size_t count,
                               bool need_relay)
{
    struct loaded l = load_sets(text, sets, count, need_relay);

    for (size_t i = 0; i < l.problems.count; i++)
        print_error("%s:%d %s\n", l.problems.items[i].path, l.problems.items[i].line,
                    l.problems.items[i].text);
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.problems.count, 0);
    return l;
}

static void test_defaults(void **state)
{
    struct loaded l = load_good("{\"targets\": [{}]}", NULL, 0, false);
    const struct slsr_source_config *s = &l.config->sources[0];
    const struct slsr_target_config *t = &l.config->targets[0];
    const struct slsr_config *c = l.config;

    (void)state;
    assert_int_equal(c->source_count, 1);
    assert_null(s->endpoint);
    assert_null(s->consumer);
    assert_int_equal(s->signature, SLSR_SIGN_AUTO);
    assert_int_equal(s->cursor_position, SLSR_POS_BEGIN);
    assert_int_equal(s->on_invalid_cursor, SLSR_POS_BEGIN);
    assert_true(s->in_order);
    assert_int_equal(s->heartbeat_interval_ms, 20000);
    assert_int_equal(s->heartbeat_timeout_ms, 60000);
    assert_int_equal(s->fetch_interval_ms, 200);
    assert_int_equal(s->max_log_groups, 1000);
    assert_int_equal(s->checkpoint_interval_ms, 1000);
    assert_int_equal(c->format.protocol, SLSR_RFC5424);
    assert_int_equal(c->format.body, SLSR_BODY_KV);
    assert_string_equal(c->format.sep, "||");
    assert_int_equal(c->format.facility, 1);
    assert_int_equal(c->format.severity, 6);
    assert_null(c->format.hostname);
    assert_false(c->format.provenance);
    assert_string_equal(c->format.time_zone, "UTC");
    assert_int_equal(c->format.max_message_bytes, 65536);
    assert_int_equal(c->format.oversize, SLSR_OVER_TRUNCATE);
    assert_string_equal(c->spool.path, "/var/lib/sls-relay/spool");
    assert_int_equal(c->spool.max_size_bytes, INT64_C(10) << 30);
    assert_int_equal(c->spool.min_free_disk_bytes, INT64_C(1) << 30);
    assert_int_equal(c->spool.retention_time_ms, 86400000);
    assert_int_equal(c->spool.retention_size_bytes, INT64_C(2) << 30);
    assert_string_equal(t->name, "siem");
    assert_int_equal(t->protocol, SLSR_TCP);
    assert_int_equal(t->port, 514);
    assert_int_equal(t->framing, SLSR_FRAMING_AUTO);
    assert_int_equal(t->delivery, SLSR_DELIVERY_AUTO);
    assert_int_equal(t->timeout_ms, 120000);
    assert_int_equal(t->stall_timeout_ms, 120000);
    assert_int_equal(t->connect_timeout_ms, 10000);
    assert_int_equal(t->dead_timeout_ms, 20000);
    assert_int_equal(t->settle_ms, 1000);
    assert_int_equal(t->proof_interval_ms, 10000);
    assert_int_equal(t->retry_initial_ms, 250);
    assert_int_equal(t->retry_max_ms, 60000);
    assert_true(t->retry_multiplier == 2.0);
    assert_int_equal(c->log.level, SLSR_LOG_INFO);
    assert_false(c->log.json);
    assert_int_equal(c->log.max_size_bytes, INT64_C(100) << 20);
    assert_int_equal(c->log.backups, 5);
    assert_null(c->metrics_listen);
    unload(&l);
}

/* Everything that the format knows, spelled out, keys of later versions at their defaults. */
static void test_complete_file(void **state)
{
    static const char text[] =
        "{ \"source\": { \"endpoint\": \"https://cn-hangzhou.log.aliyuncs.com\","
        "\"connect_to\": null, \"region\": null, \"signature\": \"v4\", \"project\": \"p-1\","
        "\"logstores\": [\"audit\", \"more_logs\"], \"consumer_group\": \"G_1\","
        "\"consumer\": null, \"cursor_position\": \"@1700000000\", \"in_order\": false,"
        "\"query\": \"* | where a = 1\", \"heartbeat_interval\": 5, \"heartbeat_timeout\": 15.5,"
        "\"fetch_interval\": 0, \"max_log_groups\": 10, \"checkpoint_interval\": \"250ms\","
        "\"checkpoint_after\": \"spooled\", \"on_invalid_cursor\": \"stop\"," KEYS ","
        "\"security_token\": \"\", \"credentials_file\": null, \"ecs_ram_role\": \"\","
        "\"proxy\": null, \"ca_file\": \"/dev/null\" },"
        "\"format\": { \"protocol\": \"seed\", \"body\": \"template\", \"sep\": \"\","
        "\"facility\": \"LOCAL7\", \"severity\": \"warn\", \"severity_field\": null,"
        "\"severity_map\": {}, \"hostname\": \"h\", \"tag\": \"t\", \"procid\": \"1\","
        "\"msgid\": \"m\", \"provenance\": true, \"time_zone\": \"Asia/Shanghai\","
        "\"fields\": {\"include\": [], \"exclude\": [], \"rename\": {}}, \"filter\": null,"
        "\"template\": null, \"cef\": {}, \"leef\": {}, \"max_message_size\": 8192,"
        "\"oversize\": \"dead\", \"newline\": \"space\", \"invalid_utf8\": \"drop\" },"
        "\"spool\": { \"path\": \"/s\", \"max_size\": \"1GiB\", \"min_free_disk\": 0,"
        "\"when_full\": \"drop_oldest\", \"retention_time\": \"1h\", \"retention_size\": \"50%\","
        "\"compression\": \"none\", \"encryption_key_file\": null },"
        "\"targets\": [ { \"name\": \"a\", \"protocol\": \"udp\", \"host\": \"[::1]\","
        "\"port\": 5514, \"servers\": [], \"framing\": \"lf\", \"cert_path\": null,"
        "\"tls\": {\"ca_file\": null, \"cert_file\": null, \"key_file\": null,"
        "\"verify_hostname\": true, \"server_name\": null, \"min_version\": null,"
        "\"fingerprints\": []}, \"timeout\": 60, \"delivery\": \"sent\","
        "\"retry\": {\"initial\": \"1s\", \"max\": \"1m\", \"multiplier\": 1.5},"
        "\"rate_limit\": {\"messages\": 0, \"bytes\": 0} } ],"
        "\"log\": { \"file\": \"/l\", \"level\": \"warn\", \"format\": \"json\", \"max_size\": 0,"
        "\"backups\": 0 }, \"metrics\": { \"listen\": null } }";
    struct loaded l = load_good(text, NULL, 0, true);
    const struct slsr_config *c = l.config;

    (void)state;
    assert_int_equal(c->sources[0].logstore_count, 2);
    assert_string_equal(c->sources[0].logstores[1], "more_logs");
    assert_int_equal(c->sources[0].cursor_position, SLSR_POS_TIME);
    assert_int_equal(c->sources[0].cursor_time_s, 1700000000);
    assert_int_equal(c->sources[0].heartbeat_timeout_ms, 15500);
    assert_int_equal(c->sources[0].on_invalid_cursor, SLSR_POS_STOP);
    assert_int_equal(c->format.protocol, SLSR_SEED);
    assert_int_equal(c->format.body, SLSR_BODY_TEMPLATE);
    assert_string_equal(c->format.sep, "");
    assert_int_equal(c->format.facility, 23);
    assert_int_equal(c->format.severity, 4);
    assert_int_equal(c->spool.retention_size_bytes, INT64_C(512) << 20);
    assert_string_equal(c->targets[0].host, "::1");
    assert_int_equal(c->targets[0].timeout_ms, 60000);
    assert_int_equal(c->targets[0].stall_timeout_ms, 60000);
    assert_true(c->log.json);
    assert_int_equal(c->log.level, SLSR_LOG_WARNING);
    unload(&l);
}

static void test_example(void **state)
{
    char *text = read_project_file("etc/sls-relay.json");
    struct loaded l = load_text(text, true);
    char *all = list_problems(&l.problems);

    (void)state;
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_string_equal(all, "$.source.access_key_id:25 $.source.access_key_secret:26");
    free(all);
    unload(&l);
    setenv("SLS_AK_ID", "id", 1);
    setenv("SLS_AK_KEY", "key", 1);
    l = load_good(text, NULL, 0, true);
    unload(&l);
    free(text);
}

static void test_precedence(void **state)
{
    static const char text[] = "{\"source\": {\"project\": \"from-file\", \"query\": \"q\"}}";
    const char *sets[] = {"source.project=from-flag"};
    struct loaded l = load_good("{}", NULL, 0, false);

    (void)state;
    assert_null(l.config->sources[0].project);
    unload(&l);
    l = load_good(text, NULL, 0, false);
    assert_string_equal(l.config->sources[0].project, "from-file");
    unload(&l);
    setenv("SLS_PROJECT", "from-environment", 1);
    l = load_good(text, NULL, 0, false);
    assert_string_equal(l.config->sources[0].project, "from-environment");
    assert_string_equal(l.config->sources[0].query, "q");
    unload(&l);
    l = load_good(text, sets, 1, false);
    assert_string_equal(l.config->sources[0].project, "from-flag");
    unload(&l);
    /* A bad value from outside names where it came from, not a line. */
    setenv("SLS_PROJECT", "Not A Project", 1);
    l = load_text(text, false);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_int_equal(l.problems.items[0].line, 0);
    assert_non_null(strstr(l.problems.items[0].text, "(from SLS_PROJECT)"));
    unload(&l);
}

static void test_environment(void **state)
{
    struct loaded l;

    (void)state;
    setenv("SLS_ENDPOINT", "http://127.0.0.1:8090", 1);
    setenv("SLS_PROJECT", "123", 1);
    setenv("SLS_LOGSTORE", "audit, other", 1);
    setenv("SLS_CG", "group", 1);
    setenv("SLS_AK_ID", "id", 1);
    setenv("SLS_AK_SECRET", "older", 1);
    setenv("SLS_AK_KEY", "key", 1);
    setenv("SLS_STS_TOKEN", "token", 1);
    setenv("SLS_SPOOL", "relative", 1);
    setenv("SIEM", "udp://[::1]:5514", 1);
    l = load_good("{}", NULL, 0, true);
    assert_string_equal(l.config->sources[0].project, "123");
    assert_int_equal(l.config->sources[0].logstore_count, 2);
    assert_string_equal(l.config->sources[0].logstores[1], "other");
    assert_string_equal(l.config->sources[0].access_key_secret, "key");
    assert_string_equal(l.config->sources[0].security_token, "token");
    assert_int_equal(l.config->spool.path[0], '/');
    assert_non_null(strstr(l.config->spool.path, "/relative"));
    assert_int_equal(l.config->targets[0].protocol, SLSR_UDP);
    assert_string_equal(l.config->targets[0].host, "::1");
    assert_int_equal(l.config->targets[0].port, 5514);
    unload(&l);
    setenv("SIEM", "tcp://new.example", 1);
    l = load_good("{\"sources\": [{\"project\": \"a\"}],"
                  "\"targets\": [{\"name\": \"kept\", \"host\": \"old\", \"port\": 1}]}",
                  NULL, 0, true);
    assert_string_equal(l.config->sources[0].consumer_group, "group");
    assert_string_equal(l.config->targets[0].name, "kept");
    assert_string_equal(l.config->targets[0].host, "new.example");
    assert_int_equal(l.config->targets[0].port, 514);
    unload(&l);
    setenv("SIEM", "http://x:1", 1);
    l = load_text("{}", false);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_non_null(strstr(l.problems.items[0].text, "SIEM"));
    unload(&l);
    l = load_text("{}", true); /* and a target is not said to be missing as well */
    for (size_t i = 0; i < l.problems.count; i++)
        assert_null(strstr(l.problems.items[i].text, "is empty: name at least one target"));
    unload(&l);
    setenv("SIEM", "", 1);
    setenv("SLS_PROJECT", "\xff", 1);
    l = load_text("{}", false);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    unload(&l);
}

static void test_sets(void **state)
{
    const char *good[] = {"targets.0.host=a",
                          "targets[0].port=6514",
                          "$.targets.1.host=b",
                          "source.project=42",
                          "source.logstores=[\"one\", \"two\"]",
                          "source.access_key_secret=123456",
                          "targets.0.retry.max=2m",
                          "format.sep=\"=\"",
                          "source.in_order=false",
                          "source.logstores.1=three",
                          "log.file=null"};
    const char *bad[] = {"",
                         "=1",
                         "no-equals-hush",
                         "targets.2.port=1",
                         "a..b=1",
                         "spool.path.x=1",
                         "source.endpont=x",
                         "targets.x=1",
                         "a.b.c.d.e.f.g.h.i=1",
                         "source.max_log_groups=many",
                         "targets.0.port.=1"};
    struct loaded l =
        load_good("{\"spool\": {\"path\": \"/a\"}}", good, sizeof good / sizeof *good, false);

    (void)state;
    assert_int_equal(l.config->target_count, 2);
    assert_int_equal(l.config->targets[0].port, 6514);
    assert_int_equal(l.config->targets[0].retry_max_ms, 120000);
    assert_string_equal(l.config->targets[1].name, "siem-2");
    assert_string_equal(l.config->sources[0].project, "42");
    assert_string_equal(l.config->sources[0].access_key_secret, "123456");
    assert_string_equal(l.config->sources[0].logstores[1], "three");
    assert_string_equal(l.config->format.sep, "=");
    assert_false(l.config->sources[0].in_order);
    unload(&l);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        l = load_sets("{\n\n\"spool\": {\"path\": \"/a\"}}", &bad[i], 1, false);
        if (l.rc != SLSR_ECONFIG)
            fail_msg("accepted: --set %s", bad[i]);
        assert_int_equal(l.problems.items[0].line, 0);
        assert_non_null(strstr(l.problems.items[0].text, "--set"));
        assert_null(strstr(l.problems.items[0].text, "hush"));
        unload(&l);
    }
}

static void test_secret_files(void **state)
{
    char *secret = make_file(" from file\r\n", 12, 0600), text[1024], dir[] = "/tmp/slsr-XXXXXX";
    char name[256];
    struct loaded l;
    FILE *f;

    (void)state;
    snprintf(text, sizeof text, "{\"source\": {\n\"access_key_id_file\": \"%s\"}}", secret);
    l = load_text(text, true); /* a space inside is no key */
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_string_equal(l.problems.items[l.problems.count - 1].path, "$.source.access_key_id_file");
    assert_int_equal(l.problems.items[l.problems.count - 1].line, 2);
    unload(&l);
    f = fopen(secret, "w");
    assert_non_null(f);
    fputs("\tfile-secret \n\n", f);
    fclose(f);
    l = load_good(text, NULL, 0, false);
    assert_string_equal(l.config->sources[0].access_key_id, "file-secret");
    unload(&l);
    setenv("SLS_AK_ID", "from-environment", 1); /* wins over the file's file */
    l = load_good(text, NULL, 0, false);
    assert_string_equal(l.config->sources[0].access_key_id, "from-environment");
    unload(&l);
    clean_environment();
    assert_int_equal(chmod(secret, 0644), 0);
    l = load_text(text, false);
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.problems.count, 1);
    assert_true(l.problems.items[0].warning);
    unload(&l);
    unlink(secret);
    l = load_good(text, NULL, 0, false); /* a tool does not need the keys */
    assert_null(l.config->sources[0].access_key_id);
    unload(&l);
    /* systemd credentials fill only what is unset */
    assert_non_null(mkdtemp(dir));
    snprintf(name, sizeof name, "%s/access_key_secret", dir);
    f = fopen(name, "w");
    assert_non_null(f);
    fputs("credential\n", f);
    fclose(f);
    assert_int_equal(chmod(name, 0400), 0);
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    l = load_good("{}", NULL, 0, false);
    assert_string_equal(l.config->sources[0].access_key_secret, "credential");
    assert_null(l.config->sources[0].access_key_id);
    unload(&l);
    l = load_good("{\"source\": {\"access_key_secret\": \"inline\"}}", NULL, 0, false);
    assert_string_equal(l.config->sources[0].access_key_secret, "inline");
    unload(&l);
    unlink(name);
    rmdir(dir);
    free(secret);
}

static void test_public_file(void **state)
{
    static const char text[] = "{\"source\": {\n" KEYS "}}";
    char *name = make_file(text, strlen(text), 0644);
    struct loaded l = {0};
    char *all;

    (void)state;
    l.rc = slsr_config_load(&l.config, name, NULL, 0, false, &l.problems, &l.err);
    all = list_problems(&l.problems);
    assert_int_equal(l.rc, 0);
    assert_string_equal(all, "$.source.access_key_id:2! $.source.access_key_secret:2!");
    free(all);
    unload(&l);
    assert_int_equal(chmod(name, 0640), 0);
    l.rc = slsr_config_load(&l.config, name, NULL, 0, false, &l.problems, &l.err);
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.problems.count, 0);
    unload(&l);
    unlink(name);
    l.rc = slsr_config_load(&l.config, name, NULL, 0, false, &l.problems, &l.err);
    assert_int_equal(l.rc, SLSR_ENOSPOOL);
    assert_null(l.config);
    unload(&l);
    free(name);
    l.rc = slsr_config_load(&l.config, "/", NULL, 0, false, &l.problems, &l.err);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    unload(&l);
}

static void test_aliases(void **state)
{
    struct loaded l = load_good("{\"targets\": [{\"host\": \"h\", \"sep\": \";\", \"facility\": 4,"
                                "\"severity\": \"crit\", \"hostname\": \"n\", \"tag\": \"t\"},"
                                "{\"sep\": \";\"}]}",
                                NULL, 0, false);

    (void)state;
    assert_string_equal(l.config->format.sep, ";");
    assert_int_equal(l.config->format.facility, 4);
    assert_int_equal(l.config->format.severity, 2);
    assert_string_equal(l.config->format.hostname, "n");
    assert_string_equal(l.config->format.tag, "t");
    unload(&l);
    l = load_text("{\"targets\": [{\n\"sep\": \";\"}], \"format\": {\"sep\": \",\"}}", false);
    assert_int_equal(l.rc, 0);
    assert_string_equal(l.config->format.sep, ",");
    assert_int_equal(l.problems.count, 1);
    assert_int_equal(l.problems.items[0].line, 2);
    unload(&l);
    l = load_good("{\"targets\": [{\"stall_timeout\": 7}, {\"timeout\": 5, \"stall_timeout\": 6}]}",
                  NULL, 0, false);
    assert_int_equal(l.config->targets[0].timeout_ms, 7000);
    assert_int_equal(l.config->targets[1].timeout_ms, 5000);
    assert_int_equal(l.config->targets[1].stall_timeout_ms, 6000);
    unload(&l);
}

static void test_print(void **state)
{
    static const char text[] =
        "{\"sources\": [{" KEYS ", \"project\": \"a\", \"cursor_position\": \"2026-01-02\","
        "\"proxy\": \"http://me:pass@word@px:3128\"}, {\"project\": \"b\"}],"
        "\"format\": {\"severity\": 3, \"sep\": \"\\t\"}, \"spool\": {\"max_size\": \"3GiB\","
        "\"retention_size\": \"33%\"}, \"log\": {\"format\": \"json\"},"
        "\"targets\": [{\"retry\": {\"multiplier\": 1.7}, \"settle\": 0.25}, {\"host\": \"x\"}]}";
    const char *sets[] = {"sources.0.access_key_id=the-id",
                          "sources.0.access_key_secret=the-secret",
                          "sources.0.proxy=http://me:pass@word@px:3128"};
    struct loaded l = load_good(text, NULL, 0, false), again;
    char *first = print_text(l.config), *second, *all;

    (void)state;
    assert_null(strstr(first, "the-id"));
    assert_null(strstr(first, "the-secret"));
    assert_null(strstr(first, "pass"));
    assert_null(strstr(first, "word"));
    assert_non_null(strstr(first, "\"access_key_secret\": \"***\""));
    assert_non_null(strstr(first, "http://***@px:3128"));
    again = load_text(first, false); /* masks are no secrets */
    all = list_problems(&again.problems);
    assert_int_equal(again.rc, SLSR_ECONFIG);
    assert_int_equal(again.problems.count, 3);
    assert_non_null(strstr(all, "$.sources[0].access_key_secret:"));
    free(all);
    unload(&again);
    again = load_good(first, sets, 3, false);
    second = print_text(again.config);
    assert_string_equal(first, second);
    free(second);
    unload(&again);
    free(first);
    unload(&l);
}

/* Lists, maps and groups come out as they went in: numbers and truths as texts, a name with several
 * values as a list, an empty group as one. */
static void test_print_many(void **state)
{
    static const char text[] =
        "{\"sources\": [{" KEYS
        ", \"project\": \"a\"}], \"format\": {\"severity_field\": \"level\","
        "\"severity_map\": {\"9\": 3, \"warn\": \"warning\"},"
        "\"fields\": {\"exclude\": [\"a*\", \"b\"], \"rename\": {\"x\": \"y\"}},"
        "\"structured_data\": {\"one@32473\": {\"ip\": [\"{a}\", \"{b}\", \"{c}\"], \"on\": true},"
        "\"two@32473\": {}}}, \"targets\": [{\"host\": \"x\"}]}";
    const char *sets[] = {"sources.0.access_key_id=the-id",
                          "sources.0.access_key_secret=the-secret"};
    struct loaded l = load_good(text, NULL, 0, false), again;
    const struct slsr_map *groups = &l.config->format.structured_data;
    char *first = print_text(l.config), *second;

    (void)state;
    assert_int_equal(l.config->format.severity_map.count, 2);
    assert_string_equal(l.config->format.severity_map.items[0].value, "3");
    assert_int_equal(groups->count, 5);
    assert_string_equal(groups->items[2].name, "ip");
    assert_string_equal(groups->items[2].value, "{c}");
    assert_string_equal(groups->items[3].value, "true");
    assert_string_equal(groups->items[4].group, "two@32473");
    assert_null(groups->items[4].name);
    assert_non_null(strstr(first, "{c}"));
    again = load_good(first, sets, 2, false);
    second = print_text(again.config);
    assert_string_equal(first, second);
    free(second);
    unload(&again);
    free(first);
    unload(&l);
}

/* The reference and the man page know exactly the keys of the table. */
static void test_documents(void **state)
{
    char *text = NULL, *page = read_project_file("docs/configuration.md");
    char *manual = read_project_file("docs/man/sls-relay.json.5"), item[128];
    size_t size = 0, count;
    const struct option *options = options_all(&count);
    FILE *f = open_memstream(&text, &size);

    (void)state;
    assert_non_null(f);
    options_reference(f);
    fclose(f);
    if (strstr(page, text) == NULL)
        fail_msg("docs/configuration.md is old: run tools/update-reference");
    for (size_t i = 0; i < count; i++) {
        snprintf(item, sizeof item, "\n.It Cm %s\n", options[i].path);
        if (strstr(manual, item) == NULL)
            fail_msg("docs/man/sls-relay.json.5 lacks %s", options[i].path);
    }
    size_t items = 0;
    for (const char *p = manual; (p = strstr(p, "\n.It Cm ")) != NULL; p++)
        items++;
    assert_int_equal(items, count);
    free(text);
    free(page);
    free(manual);
}

/* etc/sls-relay.schema.json is what the table says now. */
static void test_schema(void **state)
{
    char *text = NULL, *file = read_project_file("etc/sls-relay.schema.json");
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    assert_non_null(f);
    assert_int_equal(options_schema(f), 0);
    fclose(f);
    if (strcmp(file, text) != 0)
        fail_msg("etc/sls-relay.schema.json is old: run tools/update-reference");
    free(text);
    free(file);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, reset),
        cmocka_unit_test_setup(test_complete_file, reset),
        cmocka_unit_test_setup(test_example, reset),
        cmocka_unit_test_setup(test_precedence, reset),
        cmocka_unit_test_setup(test_environment, reset),
        cmocka_unit_test_setup(test_sets, reset),
        cmocka_unit_test_setup(test_secret_files, reset),
        cmocka_unit_test_setup(test_public_file, reset),
        cmocka_unit_test_setup(test_aliases, reset),
        cmocka_unit_test_setup(test_print, reset),
        cmocka_unit_test_setup(test_print_many, reset),
        cmocka_unit_test_setup(test_documents, reset),
        cmocka_unit_test_setup(test_schema, reset),
    };

    if (argc > 1 && strcmp(argv[1], "--reference") == 0) {
        options_reference(stdout);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--schema") == 0)
        return options_schema(stdout) == 0 ? 0 : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
