/* Configurations that must be refused: what is said, at which path and on which line.
 *
 * One table; each row lists every problem that the text has, as "path:line", "!" for a warning.
 * Then random damage to a good file, which must never crash. Its seed is printed; CONFIG_SEED sets
 * it. */
#include "config_help.h"

#include <time.h>

struct bad {
    const char *text, *problems, *says;
};

#define RELAY(source, targets)                                                                     \
    "{ \"source\": {\n\"endpoint\": \"e.example.com\", \"project\": \"p\",\n"                      \
    "\"logstores\": [\"audit\"], \"consumer_group\": \"g\",\n"                                     \
    "\"access_key_id\": \"id\", \"access_key_secret\": \"secret\"" source "},\n"                   \
    "\"targets\": [" targets "] }"

static const struct bad table[] = {
    /* syntax */
    {"", "$:1", "valid JSON"},
    {"{\n\"spool\": {\n\"path\": }\n}", "$:3", "column"},
    {"{\n\"spool\": {}\n", "$:3", "valid JSON"},
    {"[1]", "$:1", "object"},
    {"{} x", "$:1", "valid JSON"},
    {"{\"log\": {\"file\": \"\\u0000\"}}", "$:1", "a text cannot hold \\u0000: correct"},
    {"{\n\"log\": {\"file\": \"\xff\"}}", "$:2", "valid JSON"},
    /* keys */
    {"{\n\"sorce\": {}\n}", "$.sorce:2", "did you mean \"source\""},
    {"{\n\"source\": {\n\"endpont\": \"x\"\n}}", "$.source.endpont:3", "\"endpoint\""},
    {"{\"targets\": [\n{},\n{\n\"prot\": 5}]}", "$.targets[1].prot:4", "\"port\""},
    {"{\"targets\": [{\"retry\": {\n\"initail\": 1}}]}", "$.targets[0].retry.initail:2",
     "\"initial\""},
    {"{\"log\": {\"zzzzzzzzzzzz\": 1}}", "$.log.zzzzzzzzzzzz:1", "remove it"},
    {"{\"targets\": [{\"retry.initial\": 1}]}", "$.targets[0][\"retry.initial\"]:1", "unknown"},
    {"{\n\n\"od\\u0064 \\n\": 1}", "$[\"odd ?\"]:3", "unknown"},
    {"{\"spool\": {\"path\": \"/a\",\n\"path\": \"/b\"}}", "$.spool.path:2", "first on line 1"},
    {"{\"spool\": {},\n\n\"sp\\u006fol\": {}}", "$.spool:3", "second time"},
    {"{\"source\": {},\n\"sources\": []}", "$.sources:2", "keep one"},
    /* containers */
    {"{\n\"source\": 5}", "$.source:2", "object"},
    {"{\n\"sources\": {}}", "$.sources:2", "list"},
    {"{\n\"sources\": [\n5]}", "$.sources[0]:3", "object"},
    {"{\n\"targets\": {}}", "$.targets:2", "list"},
    {"{\"targets\": [{\n\"retry\": 5}]}", "$.targets[0].retry:2", "object"},
    {"{\"log\": []}", "$.log:1", "object"},
    /* kinds and ranges */
    {"{\"source\": {\n\"endpoint\": 5}}", "$.source.endpoint:2", "text in quotes"},
    {"{\"source\": {\"in_order\": \"yes\"}}", "$.source.in_order:1", "true or false"},
    {"{\"source\": {\"signature\": \"v2\"}}", "$.source.signature:1",
     "\"v2\" is unknown: must be \"auto\", \"v1\" or \"v4\""},
    {"{\"source\": {\"signature\": 4}}", "$.source.signature:1", "\"v4\""},
    {"{\"source\": {\"on_invalid_cursor\": \"\"}}", "$.source.on_invalid_cursor:1", "\"stop\""},
    {"{\"source\": {\"max_log_groups\": 0}}", "$.source.max_log_groups:1", "1 to 1000"},
    {"{\"source\": {\"max_log_groups\": 1001}}", "$.source.max_log_groups:1", "1 to 1000"},
    {"{\"source\": {\"max_log_groups\": 1.5}}", "$.source.max_log_groups:1", "whole number"},
    {"{\"source\": {\"fetch_interval\": \"soon\"}}", "$.source.fetch_interval:1", "duration"},
    {"{\"source\": {\"fetch_interval\": -1}}", "$.source.fetch_interval:1", "duration"},
    {"{\"source\": {\"fetch_interval\": 1e300}}", "$.source.fetch_interval:1", "duration"},
    {"{\"source\": {\"fetch_interval\": 9223372036854775807}}", "$.source.fetch_interval:1",
     "duration"},
    {"{\"source\": {\"fetch_interval\": \"2h\"}}", "$.source.fetch_interval:1", "out of range"},
    {"{\"source\": {\"cursor_position\": \"2026-02-29\"}}", "$.source.cursor_position:1", "time"},
    {"{\"source\": {\"cursor_position\": 5}}", "$.source.cursor_position:1", "\"begin\""},
    {"{\"source\": {\"logstores\": [\"audit\",\n7]}}", "$.source.logstores[1]:2", "text"},
    {"{\"source\": {\"logstores\": [\"audit\",\n\"audit\"]}}", "$.source.logstores[1]:2", "twice"},
    {"{\"source\": {\"logstores\": 7}}", "$.source.logstores:1", "list"},
    {"{\"source\": {\"heartbeat_timeout\": \"39s\"}}", "$.source.heartbeat_timeout:1", "twice"},
    {"{\"format\": {\"facility\": 24}}", "$.format.facility:1", "0..23"},
    {"{\"format\": {\"severity\": \"loud\"}}", "$.format.severity:1", "0..7"},
    {"{\"format\": {\"tag\": \"a\\nb\"}}", "$.format.tag:1", "line break"},
    {"{\"format\": {\"max_message_size\": 10}}", "$.format.max_message_size:1", "bytes"},
    {"{\"format\": {\"max_message_size\": \"64 potatoes\"}}", "$.format.max_message_size:1",
     "64KiB"},
    {"{\"spool\": {\"retention_size\": \"101%\"}}", "$.spool.retention_size:1", "20%"},
    {"{\"spool\": {\"retention_size\": \"2GiB\",\n\"max_size\": \"1GiB\"}}",
     "$.spool.retention_size:1", "max_size"},
    {"{\"spool\": {\"path\": \"\"}}", "$.spool.path:1", "directory"},
    {"{\"targets\": [{\"port\": 0}]}", "$.targets[0].port:1", "1 to 65535"},
    {"{\"targets\": [{\"port\": \"514\"}]}", "$.targets[0].port:1", "without quotes"},
    {"{\"targets\": [{\"retry\": {\"multiplier\": 0.5}}]}", "$.targets[0].retry.multiplier:1",
     "1 to 100"},
    {"{\"targets\": [{\"retry\": {\"initial\": \"2s\",\n\"max\": \"1s\"}}]}",
     "$.targets[0].retry.max:2", "retry.initial"},
    {"{\"metrics\": {\"listen\": \"127.0.0.1:x\"}}", "$.metrics.listen:1", "HOST:PORT"},
    {"{\"metrics\": {\"allowed_hosts\": [\"a.example\",\n\"b.example:9464\"]}}",
     "$.metrics.allowed_hosts[1]:2", "host name alone"},
    {"{\"metrics\": {\"allowed_hosts\": [\"*.example\"]}}", "$.metrics.allowed_hosts[0]:1",
     "host name alone"},
    /* lists and maps */
    {"{\"format\": {\"severity_rules\": \"x\"}}", "$.format.severity_rules:1", "list of texts"},
    {"{\"format\": {\"fields\": {\"include\": [\"a\",\n[]]}}}", "$.format.fields.include[1]:2",
     "text in quotes"},
    {"{\"format\": {\"fields\": {\"exclude\": [\"a\\tb\"]}}}", "$.format.fields.exclude[0]:1",
     "control character"},
    {"{\"format\": {\"fields\": {\"rename\": []}}}", "$.format.fields.rename:1", "an object"},
    {"{\"format\": {\"fields\": {\"rename\": {\"a\": \"b\",\n\"c\": null}}}}",
     "$.format.fields.rename.c:2", "text in quotes"},
    {"{\"format\": {\"severity_map\": 3}}", "$.format.severity_map:1", "an object"},
    {"{\"format\": {\"structured_data\": {\"a@1\": 5}}}", "$.format.structured_data[\"a@1\"]:1",
     "an object"},
    {"{\"format\": {\"structured_data\": {\"a@1\": {\"b\": {}}}}}",
     "$.format.structured_data[\"a@1\"].b:1", "text in quotes"},
    /* names and addresses */
    {"{\"source\": {\"endpoint\": \"ftp://a\"}}", "$.source.endpoint:1", "https://"},
    {"{\"source\": {\"endpoint\": \"https://a/logs\"}}", "$.source.endpoint:1", "path"},
    {"{\"source\": {\"project\": \"cn-hangzhou\",\n"
     "\"endpoint\": \"https://cn-hangzhou.cn-hangzhou.log.aliyuncs.com\"}}",
     "$.source.endpoint:2", "leave it out"},
    {"{\"source\": {\"connect_to\": \"127.0.0.1\"}}", "$.source.connect_to:1", "HOST:PORT"},
    {"{\"source\": {\"project\": \"My_Project\"}}", "$.source.project:1", "lower-case"},
    {"{\"source\": {\"logstores\": [\"-audit\"]}}", "$.source.logstores[0]:1", "both ends"},
    {"{\"source\": {\"consumer_group\": \"a b\"}}", "$.source.consumer_group:1", "letters"},
    {"{\"targets\": [{\"host\": \"tcp://siem:514\"}]}", "$.targets[0].host:1", "port"},
    {"{\"targets\": [{\"name\": \"a b\"}]}", "$.targets[0].name:1", "letters"},
    {"{\"targets\": [{\"name\": \"a\"},\n{\"name\": \"a\"}]}", "$.targets[1].name:2", "targets[0]"},
    {"{\"targets\": [{\"name\": \"siem-2\"},\n{}]}", "$.targets[1].name:2", "targets[0]"},
    /* combinations */
    {"{\"targets\": [{\"protocol\": \"udp\",\n\"framing\": \"octet\"}]}", "$.targets[0].framing:2",
     "datagram"},
    {"{\"targets\": [{\"protocol\": \"udp\",\n\"delivery\": \"read\"}]}", "$.targets[0].delivery:2",
     "\"sent\""},
    {"{\"targets\": [{\"delivery\": \"confirmed\"}]}", "$.targets[0].delivery:1", "\"proven\""},
    {"{\"targets\": [{\"sep\": \",\"},\n{\"sep\": \";\"}]}", "$.targets[1].sep:2", "format.sep"},
    {"{\"targets\": [{\n\"severity\": 9}]}", "$.targets[0].severity:2", "0..7"},
    {"{\"targets\": [{\"protocol\": \"relp\",\n\"delivery\": \"read\"}]}",
     "$.targets[0].delivery:2", "confirmed"},
    {"{\"targets\": [{\"protocol\": \"relp+tls\",\n\"framing\": \"lf\"}]}",
     "$.targets[0].framing:2", "of its own"},
    {"{\"targets\": [{\"host\": \"h\", \"servers\": [\"a:1\",\n\"b\"]}]}",
     "$.targets[0].servers[1]:2", "host:port"},
    {"{\"targets\": [{\"tls\": {\"fingerprints\":\n[\"sha-256:AB:CD\"]}}]}",
     "$.targets[0].tls.fingerprints[0]:2", "64 hexadecimal"},
    {"{\"targets\": [{\"tls\": {\"key_file\": \"/k\"}}]}", "$.targets[0].tls.cert_file:1",
     "our certificate"},
    {"{\"targets\": [{\"cert_path\": \"/a\",\n\"tls\": {\"ca_file\": \"/b\"}}]}",
     "$.targets[0].cert_path:1", "older name"},
    {"{\"targets\": [{\"tls\": {\n\"min_version\": \"1.1\"}}]}", "$.targets[0].tls.min_version:2",
     "1.2"},
    {"{\"targets\": [{\"rate_limit\": {\n\"messages\": -1}}]}",
     "$.targets[0].rate_limit.messages:2", "out of range"},
    /* not in this version */
    {"{\"spool\": {\"compression\": \"zstd\"}}", "$.spool.compression:1", "none"},
    {"{\"source\": {\"checkpoint_after\": \"sent\"}}", "$.source.checkpoint_after:1", "delivered"},
    {"{\"source\": {\"memory\": \"1KiB\"}}", "$.source.memory:1", NULL},
    {"{\"format\": {\"severity_map\": [1]}}", "$.format.severity_map:1", "must be an object"},
    {"{\"format\": {\"severity_map\": {\"a\": {}}}}", "$.format.severity_map.a:1", "a text"},
    {"{\"format\": {\"fields\": {\"include\": \"a\"}}}", "$.format.fields.include:1", "list"},
    {"{\"format\": {\"fields\": {\"include\": [1.5]}}}", "$.format.fields.include[0]:1", "a text"},
    {"{\"format\": {\"structured_data\": {\"a@1\": \"b\"}}}", "$.format.structured_data[\"a@1\"]:1",
     "object"},
    {"{\"format\": {\"cef\": {\"vendr\": \"b\"}}}", "$.format.cef.vendr:1", "vendor"},
    {"{\"format\": {\"fraction\": 7}}", "$.format.fraction:1", "\"7\" is unknown"},
    /* several at once, in the order of lines */
    {"{\"log\": {\"level\": \"loud\"},\n\"spool\": {\"path\": 5},\n\"x\": 1}",
     "$.log.level:1 $.spool.path:2 $.x:3", NULL},
};

/* What the relay needs and a tool does not. */
static const struct bad relay_table[] = {
    {"{}",
     "$.source.endpoint:1 $.source.project:1 $.source.logstores:1 $.source.consumer_group:1 "
     "$.source.access_key_id:1 $.source.access_key_secret:1 $.targets:1",
     "SLS_ENDPOINT"},
    {"{\n\"sources\": [],\n\"targets\": []}", "$.sources:2 $.targets:3", "at least one"},
    /* a value that was refused is not missing, too */
    {"{ \"source\": {\n\"endpoint\": 5,\n\"project\": \"a\\nb\",\n\"logstores\": [7], "
     "\"consumer_group\": true,\n"
     "\"access_key_id\": {}, \"access_key_secret\": \"s\"}, \"targets\": [{\n\"host\": []}] }",
     "$.source.endpoint:2 $.source.project:3 $.source.logstores[0]:4 $.source.consumer_group:4 "
     "$.source.access_key_id:5 $.targets[0].host:6",
     "text in quotes"},
    {RELAY("", "\n{\"port\": 1}"), "$.targets[0].host:6", "name or address"},
    {RELAY(",\n\"heartbeat_timeout\": \"40s\"", "{\"host\": \"h\"},\n\n{}"),
     "$.source.heartbeat_timeout:5! $.targets[1].host:8", NULL},
    {RELAY(",\n\"access_key_secret_file\": \"/nowhere\"", "{\"host\": \"h\"}"),
     "$.source.access_key_secret_file:5", "keep one"},
    /* a file that is not there is one problem, not two; its name may be the secret itself */
    {"{ \"source\": {\"endpoint\": \"e.example.com\", \"project\": \"p\",\n"
     "\"logstores\": [\"audit\"], \"consumer_group\": \"g\", \"access_key_id\": \"id\",\n"
     "\"access_key_secret_file\": \"/nowhere\"}, \"targets\": [{\"host\": \"h\"}] }",
     "$.source.access_key_secret_file:3", "No such file or directory: its name belongs here"},
    /* other files are named; without TLS nobody reads its own */
    {RELAY("", "{\"host\": \"h\", \"protocol\": \"tls\",\n"
               "\"tls\": {\"ca_file\": \"/nowhere\"},\n\"port\": 0}"),
     "$.targets[0].tls.ca_file:6! $.targets[0].port:7",
     "/nowhere cannot be read here: No such file or directory"},
    {RELAY(",\n\"ca_file\": \"/nowhere\"",
           "{\"host\": \"h\", \"port\": 0, \"tls\": {\"ca_file\": \"/nowhere\"}}"),
     "$.source.ca_file:5! $.targets[0].port:6", NULL},
};

static void check_table(const struct bad *rows, size_t count, bool need_relay)
{
    for (size_t i = 0; i < count; i++) {
        const struct bad *row = &rows[i];
        struct loaded l = load_text(row->text, need_relay);
        char *all = list_problems(&l.problems);

        if (l.rc != SLSR_ECONFIG || strcmp(all, row->problems) != 0)
            fail_msg("row %zu: %s\nwanted: %s\ngot:    %s (rc %d)", i, row->text, row->problems,
                     all, l.rc);
        if (row->says != NULL && strstr(l.problems.items[0].text, row->says) == NULL)
            fail_msg("row %zu: \"%s\" is not in: %s", i, row->says, l.problems.items[0].text);
        assert_non_null(strstr(l.err.text, "configuration"));
        free(all);
        unload(&l);
    }
}

static void test_table(void **state)
{
    (void)state;
    check_table(table, sizeof table / sizeof *table, false);
}

static void test_relay_table(void **state)
{
    (void)state;
    check_table(relay_table, sizeof relay_table / sizeof *relay_table, true);
}

/* A secret must not be repeated, whatever is wrong with it or beside it. */
static void test_secrets_are_not_repeated(void **state)
{
    static const char *const texts[] = {
        "{\"source\": {\"access_key_secret\": \"Hush-Hush",
        "{\"source\": {\"access_key_secret\": \"Hush-Hush\" \"x\"}}",
        "{\"source\": {\"access_key_secret\": Hush-Hush}}",
        "{\"source\": {\"access_key_secret\": \"x\" Hush-Hush}}",
        "{\"source\": {\"access_key_secret\": \"Hush-Hush\n\"}}",
        "{\"source\": {\"access_key_secret\": \"Hush-Hush \"}}",
        "{\"source\": {\"access_key_id\": [\"Hush-Hush\"]}}",
        "{\"source\": {\"security_token\": \"Hush-Hush\\u00e9\"}}",
        "{\"source\": {\"endpoint\": \"https://Hush-Hush:x@host\"}}",
        "{\"source\": {\"proxy\": \"http://a:Hush-Hush\\n@host\"}}",
        "{\"source\": {\"access_key_secret\": \"Hush-Hush\", \"access_key_secret\": \"***\"}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct loaded l = load_text(texts[i], false);

        if (l.rc != SLSR_ECONFIG || l.problems.count == 0)
            fail_msg("accepted: %s", texts[i]);
        for (size_t k = 0; k < l.problems.count; k++)
            if (strstr(l.problems.items[k].text, "Hush") != NULL ||
                strstr(l.problems.items[k].path, "Hush") != NULL)
                fail_msg("told: %s", l.problems.items[k].text);
        assert_null(strstr(l.err.text, "Hush"));
        unload(&l);
    }
}

/* Where a mistake stands that shows after the load only, whoever finds it. */
static void test_blamed_later(void **state)
{
    static const char one[] = "{ \"source\": {\n\"project\": \"p\"},\n"
                              "\"format\": {\"severity_map\": {\"a\": \"err\",\n\"b c\": \"x\"},\n"
                              "\"structured_data\": {\"a@1\": {\n\"x\": \"y\"}}},\n"
                              "\"targets\": [{}, {\n\"tag\": \"t\"}] }";
    static const char two[] = "{ \"sources\": [{},\n{\n\"region\": \"x-y\"}] }";
    static const char *const sets[] = {"format.facility=user"};
    static const struct {
        const char *text, *setting, *problem;
    } rows[] = {
        {one, "format.severity_map[\"b c\"]", "$.format.severity_map[\"b c\"]:4"},
        {one, "format.severity_map.a", "$.format.severity_map.a:3"},
        {one, "format.structured_data[\"a@1\"].x", "$.format.structured_data[\"a@1\"].x:6"},
        {one, "format.structured_data[\"a@1\"].z", "$.format.structured_data[\"a@1\"].z:5"},
        {one, "format.hostname", "$.format.hostname:3"},
        {one, "format.facility", "$.format.facility:0"}, /* from a flag */
        {one, "sources[0].project", "$.source.project:2"},
        {one, "targets[1].tls.ca_file", "$.targets[1].tls.ca_file:7"},
        {two, "sources[1].region", "$.sources[1].region:3"},
        {two, "sources[0].region", "$.sources[0].region:1"},
        {two, "metrics.listen", "$.metrics.listen:1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct loaded l = load_sets(rows[i].text, sets, 1, false);
        char where[SLSR_CONFIG_WHERE], *all;

        if (l.rc != 0)
            fail_msg("%s", l.err.text);
        slsr_config_blame(l.config, &l.problems, false, rows[i].setting, "is wrong");
        all = list_problems(&l.problems);
        if (strcmp(all, rows[i].problem) != 0)
            fail_msg("%s: wanted %s, got %s", rows[i].setting, rows[i].problem, all);
        assert_true(strncmp(l.problems.items[0].text, "is wrong", 8) == 0);
        slsr_config_where(l.config, rows[i].setting, where);
        assert_true(strncmp(where, l.problems.items[0].path, strlen(l.problems.items[0].path)) ==
                    0);
        assert_int_equal(strstr(where, ", line ") != NULL, l.problems.items[0].line > 0);
        assert_int_equal(strstr(where, "(from --set)") != NULL, l.problems.items[0].line == 0);
        free(all);
        unload(&l);
    }
}

static void test_limits(void **state)
{
    const size_t size = 1024 * 1024 + 1;
    char *big = malloc(size + 1), *deep = malloc(60001);
    struct loaded l;

    (void)state;
    memset(big, ' ', size);
    memcpy(big, "{}", 2);
    big[size] = '\0';
    l = load_text(big, false);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_non_null(strstr(l.problems.items[0].text, "1 MiB"));
    unload(&l);
    big[size - 1] = '\0'; /* exactly the limit */
    l = load_text(big, false);
    assert_int_equal(l.rc, 0);
    unload(&l);
    memset(deep, '[', 60000);
    deep[60000] = '\0';
    l = load_text(deep, false);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    unload(&l);
    /* Very many problems: the list is cut, the answer stays. */
    char *p = big + sprintf(big, "{\"k\":1");
    for (int i = 0; i < 5000; i++)
        p += sprintf(p, ",\n\"k%d\":1", i);
    strcpy(p, "}");
    l = load_text(big, false);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_int_equal(l.problems.count, 200);
    unload(&l);
    free(deep);
    free(big);
}

static uint64_t seed;

static size_t below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % n);
}

/* One change: a byte, a cut, a repeated stretch, or a token from elsewhere. */
static size_t damage(char *text, size_t length, size_t room)
{
    static const char *const tokens[] = {
        "null", "-1", "1e999", "\"", "{",    "}",           "[", "]",
        "\\u",  "\n", "%",     ",",  "true", "\"\\ud800\"", "@", "99999999999999999999",
        "\xff", ":"};
    const char *token = tokens[below(sizeof tokens / sizeof *tokens)];
    size_t at = below(length), n = 1 + below(40);

    if (n > length - at)
        n = length - at;
    switch (below(4)) {
    case 0:
        text[at] = (char)below(256);
        return length;
    case 1:
        if (length - n < 2)
            return length;
        memmove(text + at, text + at + n, length - at - n);
        return length - n;
    case 2:
        if (length + n > room)
            return length;
        memmove(text + at + n, text + at, length - at);
        return length + n;
    default:
        n = strlen(token);
        if (length + n > room)
            return length;
        memmove(text + at + n, text + at, length - at);
        memcpy(text + at, token, n);
        return length + n;
    }
}

static void test_random_damage(void **state)
{
    char *good = read_project_file("etc/sls-relay.json"), *text = malloc(65536);
    const char *fixed = getenv("CONFIG_SEED");
    size_t loads = 0;

    (void)state;
    seed = fixed != NULL ? strtoull(fixed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    printf("random damage: CONFIG_SEED=%llu\n", (unsigned long long)seed);
    for (int round = 0; round < 1500; round++) {
        size_t length = strlen(good);
        struct loaded l = {0};

        memcpy(text, good, length);
        for (size_t k = 1 + below(4); k > 0; k--)
            length = damage(text, length, 65536);
        char *name = make_file(text, length, 0600);
        l.rc = slsr_config_load(&l.config, name, NULL, 0, below(2) == 0, &l.problems, &l.err);
        unlink(name);
        free(name);
        assert_true((l.rc == 0) == (l.config != NULL));
        assert_true(l.rc == 0 || l.rc == SLSR_ECONFIG);
        assert_true(l.rc == 0 || l.problems.count > 0);
        if (l.config != NULL) {
            char *printed = print_text(l.config);
            loads++;
            free(printed);
        }
        unload(&l);
    }
    assert_true(loads > 0); /* else the damage never leaves a file whole and we test only syntax */
    free(text);
    free(good);
}

/* Stands in for the formatter: config and format are strangers. */
static int judge(const struct slsr_format_config *format, void (*say)(void *ctx, const char *text),
                 void *ctx)
{
    if (format->sep != NULL && strcmp(format->sep, "=") == 0)
        say(ctx, "format.sep is a bad one");
    say(ctx, "format.tag: column 3: bad");
    say(ctx, "format.severity_rules[1]: column 1: bad");
    say(ctx, "format.structured_data[\"a@1\"].x: column 2: bad");
    say(ctx, "format.fields is told already");
    say(ctx, "format.tag: column 9: bad, too");
    say(ctx, "too many names");
    return 0;
}

static const char *line_of(const struct loaded *l, const char *path, int line)
{
    for (size_t i = 0; i < l->problems.count; i++)
        if (strcmp(l->problems.items[i].path, path) == 0 && l->problems.items[i].line == line)
            return l->problems.items[i].text;
    for (size_t i = 0; i < l->problems.count; i++)
        print_message("%s:%d %s\n", l->problems.items[i].path, l->problems.items[i].line,
                      l->problems.items[i].text);
    fail_msg("nothing about %s in line %d", path, line);
    return NULL;
}

/* What the judge of format says has path and line like any other problem, and comes with them. */
static void test_judge(void **state)
{
    static const char text[] =
        "{\n\"source\": {\"in_order\": 3},\n\"targets\": [{},\n{\"sep\": \"=\"}],"
        "\n\"format\": {\n\"severity_rules\": [\"a\",\n\"b\"],\n"
        "\"fields\": {\"include\": 5},\n"
        "\"structured_data\": {\n\"a@1\": {\n\"x\": \"y\"}}}}";
    static const char *const sets[] = {"format.tag=a${"};
    struct slsr_config_from from = {.sets = sets, .set_count = 1, .judge = judge};
    char *name = make_file(text, strlen(text), 0600);
    struct loaded l = {0};

    (void)state;
    from.file = name;
    l.rc = slsr_config_load_from(&l.config, &from, &l.problems, &l.err);
    assert_int_equal(l.rc, SLSR_ECONFIG);
    assert_int_equal(l.problems.count, 8);
    assert_non_null(line_of(&l, "$.source.in_order", 2));
    assert_string_equal(line_of(&l, "$.targets[1].sep", 4), "is a bad one");
    assert_string_equal(line_of(&l, "$.format.tag", 0), "column 3: bad (from --set)");
    assert_string_equal(line_of(&l, "$.format.severity_rules[1]", 7), "column 1: bad");
    assert_non_null(strstr(line_of(&l, "$.format.fields.include", 8), "list"));
    assert_string_equal(line_of(&l, "$.format.structured_data[\"a@1\"].x", 11), "column 2: bad");
    assert_string_equal(line_of(&l, "$.format", 5), "too many names");
    unlink(name);
    free(name);
    unload(&l);
}

/* Nobody can judge by a protocol or body that is not known. */
static void test_judge_waits(void **state)
{
    static const char *const texts[] = {"{\"format\": {\"body\": \"kw\"}}",
                                        "{\"format\": {\"protocol\": 5}}"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct slsr_config_from from = {.judge = judge};
        char *name = make_file(texts[i], strlen(texts[i]), 0600);
        struct loaded l = {0};

        from.file = name;
        l.rc = slsr_config_load_from(&l.config, &from, &l.problems, &l.err);
        assert_int_equal(l.rc, SLSR_ECONFIG);
        assert_int_equal(l.problems.count, 1);
        unlink(name);
        free(name);
        unload(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_relay_table),
        cmocka_unit_test(test_secrets_are_not_repeated),
        cmocka_unit_test(test_blamed_later),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_judge_waits),
        cmocka_unit_test(test_random_damage),
    };

    clean_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
