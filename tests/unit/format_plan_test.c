/* The languages of the formatter: templates, filters, levels, selection of fields, elements,
 * events, split messages; and that what is wrong in them is refused with column and reason. */
#include "format_help.h"

static const struct slsr_pair tags[] = {{{"__hostname__", 12}, {"web-1", 5}},
                                        {{"__path__", 8}, {"/var/log/app.log", 16}}};

#define BYTES(literal) ((struct slsr_bytes){literal, sizeof(literal) - 1})
#define STAMP          "2026-01-02T03:04:05Z"

static const struct slsr_pair usual[] = {
    {BYTES("status"), BYTES("503")},       {BYTES("verb"), BYTES("Get")},
    {BYTES("user"), BYTES("alice")},       {BYTES("empty"), BYTES("")},
    {BYTES("ts"), BYTES("1767323045123")}, {BYTES("odd|name}"), BYTES("x")},
    {BYTES("level"), BYTES("WARN")}};

static struct slsr_log usual_log(void)
{
    return (struct slsr_log){.time_s = 1767323045,
                             .topic = {"web", 3},
                             .source = {"10.0.0.1", 8},
                             .tags = tags,
                             .tag_count = 2,
                             .fields = usual,
                             .field_count = sizeof(usual) / sizeof(usual[0])};
}

static void templates(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain text", "plain text"},
        {"${user} ${verb}", "alice Get"},
        {"${user|upper}/${verb|lower}", "ALICE/get"},
        {"[${none}] [${empty}] [${none:-a default}] [${empty:-e}]", "[] [] [a default] [e]"},
        {"${none|upper:-low}", "low"},
        {"${user|trunc:3}.", "ali."},
        {"${user|json} ${none|json:-null}", "\"alice\" null"},
        {"${__topic__} ${__source__} ${__tag__:__hostname__}", "web 10.0.0.1 web-1"},
        {"${__tag__:__path__|base}", "app.log"},
        {"${__time__|date} ${__time__|date:%d/%b/%Y:%H:%M:%S %z}",
         "2026-01-02T03:04:05Z 02/Jan/2026:03:04:05 +0000"},
        {"${ts|date:%F %T.%L} ${__time_ms__}", "2026-01-02 03:04:05.123 1767323045000"},
        {"${user|date}", "alice"},
        {"${odd\\|name\\}}", "x"},
        {"$${user} $user {x} $", "${user} $user {x} $"},
        {"${__project__}/${__logstore__}/${__shard__} ${__id__}",
         "demo/audit/3 demo/audit/3/MTAw/0"},
        {"${user|upper|lower|quote}", "\"alice\""},
        {"${user|quote|trim|upper|trim}", "\"ALICE\""},
    };
    struct slsr_log log = usual_log();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slsr_format_config c = format_settings();
        char want[256];
        c.body = SLSR_BODY_TEMPLATE;
        c.template_text = (char *)cases[i][0];
        snprintf(want, sizeof(want), "<14>1 " STAMP " h a - - - %s", cases[i][1]);
        FORMAT_EXPECT(&c, &log, want);
    }
}

static bool kept(const char *filter)
{
    struct slsr_format_config c = format_settings();
    struct slsr_log log = usual_log();
    struct slsr_batch b;
    c.filter = (char *)filter;
    struct format_plan *plan = format_plan_or_die(&c);
    slsr_batch_init(&b);
    strcpy(b.cursor, "MTAw");
    assert_int_equal(format_log(plan, &log, &b, NULL), 0);
    assert_int_equal(b.frame_count + b.dropped_count, 1);
    bool yes = b.frame_count == 1;
    slsr_batch_fini(&b);
    format_plan_free(plan);
    return yes;
}

static void filters(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "status >= 500",
        "status == 503 and verb == \"Get\"",
        "status = 503.0",
        "status == '503'",
        "not status < 500",
        "!(status < 500)",
        "verb ~ \"^G\"",
        "verb ~ \"(?i)^get$\"",
        "verb !~ \"^P\"",
        "none != 1",
        "not exists none",
        "exists user && user",
        "empty == \"\"",
        "user in (\"bob\", \"alice\")",
        "status not in (200, 204)",
        "user contains \"lic\" and user startswith \"al\" and user endswith \"ce\"",
        "none == 1 or status == 503",
        "status == 1 or user == \"alice\" and verb == \"Get\"",
        "(status == 1 or user == \"alice\") and verb == \"Get\"",
        "${odd\\|name\\}} == \"x\"",
        "__tag__:__hostname__ == \"web-1\"",
        "__time__ > 1767323044",
        "user != \"bob\" and not (status < 500 or status > 599)",
    };
    static const char *const no[] = {
        "status < 500",
        "none == 1",
        "none > 1",
        "not user",
        "user > 5",
        "verb ~ \"^g\"",
        "none ~ \".*\"",
        "none !~ \"x\" and status == 1",
        "user in (\"bob\", 503)",
        "status == 503 and none == 1 or none == 2",
        "status == 503 and not (status >= 500)",
    };
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        if (!kept(yes[i]))
            fail_msg("dropped: %s", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        if (kept(no[i]))
            fail_msg("kept: %s", no[i]);
}

/* One that would backtrack for years: given up, and the log stays. */
static void slow_expression_keeps_the_log(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    char text[4000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = 'b';
    struct slsr_pair field = {BYTES("m"), {text, sizeof(text)}};
    struct slsr_log log = {.time_s = 1, .fields = &field, .field_count = 1};
    struct slsr_batch b;
    c.filter = (char *)"m ~ \"^(a|aa)+$\"";
    struct format_plan *plan = format_plan_or_die(&c);
    slsr_batch_init(&b);
    strcpy(b.cursor, "MTAw");
    assert_int_equal(format_log(plan, &log, &b, NULL), 0);
    assert_int_equal(b.frame_count, 1);
    slsr_batch_fini(&b);
    format_plan_free(plan);
}

static void refused(struct slsr_format_config c, const char *where, const char *why)
{
    static const struct slsr_stream stream = {"p", "l", 0};
    struct format_plan *plan = NULL;
    struct slsr_err err = {0};
    if (format_plan_new(&plan, &c, &stream, &err) != SLSR_ECONFIG)
        fail_msg("taken, wanted: %s %s", where, why);
    if (strstr(err.text, where) == NULL || strstr(err.text, why) == NULL)
        fail_msg("%s\nwanted: %s %s", err.text, where, why);
}

static void mistakes_name_column_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *column, *reason;
    } bad_templates[] = {
        {"abc ${user", "column 5:", "closing }"},
        {"${}", "column 3:", "name of a field"},
        {"x ${user|shout}", "column 10:", "\"shout\" is no function"},
        {"${user|trunc}", "column 13:", "wants a number"},
        {"${user|trunc:x}", "column 13:", "wants a number"},
        {"${user|upper:3}", "column 13:", "takes no argument"},
        {"${t|date:%Y %Q}", "column 13:", "conversion"},
    };
    static const struct {
        const char *text, *column, *reason;
    } bad_filters[] = {
        {"status >", "column 9:", "a number or a text"},
        {"status >= ", "column 11:", "a number or a text"},
        {"status == err", "column 11:", "in quotes"},
        {"status > \"5\"", "column 10:", "without quotes"},
        {"(status == 5", "column 1:", "not closed"},
        {"status == 5 verb", "column 13:", "\"and\" or \"or\""},
        {"m ~ \"a(b\"", "column 9:", "regular expression"},
        {"m ~ \"abc", "column 5:", "no closing quote"},
        {"status == 5 and", "column 16:", "a field is expected"},
        {"status # 5", "column 8:", "no meaning"},
        {"", "column 1:", "a field is expected"},
        {"a in (1 2)", "column 9:", "comma"},
        {"a == 12x", "column 6:", "no number"},
        {"${a == 1", "column 1:", "closing }"},
        {"a not b", "column 7:", "only \"in\""},
        {"and == 1", "column 1:", "a field is expected"},
    };
    struct slsr_format_config c;
    char deep[400];
    for (size_t i = 0; i < sizeof(bad_templates) / sizeof(bad_templates[0]); i++) {
        c = format_settings();
        c.tag = (char *)bad_templates[i].text;
        refused(c, "format.tag: ", bad_templates[i].column);
        refused(c, bad_templates[i].column, bad_templates[i].reason);
    }
    for (size_t i = 0; i < sizeof(bad_filters) / sizeof(bad_filters[0]); i++) {
        c = format_settings();
        c.filter = (char *)bad_filters[i].text;
        refused(c, "format.filter: ", bad_filters[i].column);
        refused(c, bad_filters[i].column, bad_filters[i].reason);
    }
    memset(deep, '(', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    c = format_settings();
    c.filter = deep;
    refused(c, "column 65:", "nested");
    char *rule = (char *)"if status > then err";
    c = format_settings();
    c.severity_rules = (struct slsr_texts){&rule, 1};
    refused(c, "format.severity_rules[0]: column 12:", "a number");
    rule = (char *)"if status > 5 then loud";
    refused(c, "format.severity_rules[0]: column 20:", "loud");
    rule = (char *)"status > 5";
    refused(c, "format.severity_rules[0]", "is written");
}

struct heard {
    char texts[20][200];
    size_t count;
};

static void hear(void *ctx, const char *text)
{
    struct heard *h = ctx;
    assert_true(h->count < 20);
    snprintf(h->texts[h->count++], sizeof(h->texts[0]), "%s", text);
}

/* All at once, in the order of the steps; the plan is still freed whole (ASan). */
static void judge_says_every_mistake(void **state)
{
    (void)state;
    static const char *const wanted[] = {"format.provenance needs",
                                         "format.structured_data needs",
                                         "format.template has no effect",
                                         "format.time_zone: ",
                                         "format.sep is empty",
                                         "format.hostname: column 1",
                                         "format.procid: column 3",
                                         "format.structured_data: \"bad id\"",
                                         "format.structured_data.a@1: \"p=q\"",
                                         "format.structured_data[\"a@1\"].p=q: column 3",
                                         "format.structured_data.origin.ip: column 3",
                                         "format.facility_map needs",
                                         "format.facility_map: \"lunch\"",
                                         "format.severity_rules[0]: column 1",
                                         "format.severity_rules[2]: column ",
                                         "format.fields.rename: ",
                                         "format.filter: column 5"};
    struct slsr_map_entry elements[] = {{(char *)"bad id", (char *)"a", (char *)"b"},
                                        {(char *)"a@1", (char *)"p=q", (char *)"${}"},
                                        {(char *)"origin", (char *)"ip", (char *)"${}"}};
    struct slsr_map_entry map[] = {{NULL, (char *)"a", (char *)"lunch"},
                                   {NULL, (char *)"b", (char *)"local1"}};
    struct slsr_map_entry rename[] = {{NULL, (char *)"a", (char *)""}};
    char *rules[] = {(char *)"x", (char *)"if a == 1 then err", (char *)"if a == then err"};
    struct slsr_format_config c = format_settings();
    struct heard h = {.count = 0};
    struct slsr_err err = {0};
    c.protocol = SLSR_RFC3164;
    c.provenance = true;
    c.structured_data = (struct slsr_map){elements, 3};
    c.template_text = (char *)"x";
    c.time_zone = (char *)"Mars/Phobos";
    c.sep = (char *)"=";
    c.hostname = (char *)"${a";
    c.procid = (char *)"${}";
    c.facility_map = (struct slsr_map){map, 2};
    c.severity_rules = (struct slsr_texts){rules, 3};
    c.rename = (struct slsr_map){rename, 1};
    c.filter = (char *)"a ==";
    assert_int_equal(format_judge(&c, hear, &h, &err), 0);
    for (size_t i = 0; i < h.count; i++)
        if (i >= sizeof(wanted) / sizeof(wanted[0]) || strstr(h.texts[i], wanted[i]) != h.texts[i])
            fail_msg("%zu: %s", i, h.texts[i]);
    assert_int_equal(h.count, sizeof(wanted) / sizeof(wanted[0]));
    c = format_settings();
    h.count = 0;
    assert_int_equal(format_judge(&c, hear, &h, &err), 0);
    assert_int_equal(h.count, 0);
    c.body = SLSR_BODY_LEEF;
    c.leef_version = SLSR_LEEF_2;
    c.leef_delimiter = (char *)"a";
    c.leef_vendor = (char *)"${";
    c.leef_product = (char *)"${x|no}";
    c.leef_attributes = (struct slsr_map){elements, 1};
    c.leef_attributes.items[0] = (struct slsr_map_entry){NULL, (char *)"a b", (char *)"${"};
    assert_int_equal(format_judge(&c, hear, &h, &err), 0);
    assert_int_equal(h.count, 5);
}

static void levels(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_log log = usual_log();
    char *rules[] = {(char *)"if status >= 600 then emerg", (char *)"if status >= 500 then err"};
    char *facility[] = {(char *)"if verb == \"Get\" then local3"};
    struct slsr_map_entry entries[] = {{NULL, (char *)"warn", (char *)"crit"},
                                       {NULL, (char *)"x", (char *)"7"}};
    c.body = SLSR_BODY_TEMPLATE;
    c.template_text = (char *)"m";
    c.severity_field = (char *)"level";
    FORMAT_EXPECT(&c, &log, "<12>1 " STAMP " h a - - - m");
    c.severity_map = (struct slsr_map){entries, 2};
    FORMAT_EXPECT(&c, &log, "<10>1 " STAMP " h a - - - m");
    c.severity_rules = (struct slsr_texts){rules, 2};
    FORMAT_EXPECT(&c, &log, "<11>1 " STAMP " h a - - - m");
    c.facility_rules = (struct slsr_texts){facility, 1};
    FORMAT_EXPECT(&c, &log, "<155>1 " STAMP " h a - - - m");
    c = format_settings();
    c.body = SLSR_BODY_TEMPLATE;
    c.template_text = (char *)"m";
    c.severity_field = (char *)"status"; /* no severity: the fixed one */
    c.facility_field = (char *)"user";
    FORMAT_EXPECT(&c, &log, "<14>1 " STAMP " h a - - - m");
}

static void names_and_elements_from_the_log(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair hostile[] = {{BYTES("host"), BYTES("a b\n] [x\xff")},
                                  {BYTES("q"), BYTES("\"]\\\n\xff")}};
    struct slsr_log log = usual_log();
    struct slsr_map_entry items[] = {{(char *)"app@1", (char *)"user", (char *)"${user}"},
                                     {(char *)"app@1", (char *)"none", (char *)"${none}"},
                                     {(char *)"gone@1", (char *)"none", (char *)"${none}"}};
    c.body = SLSR_BODY_TEMPLATE;
    c.template_text = (char *)"m";
    c.hostname = (char *)"${__tag__:__hostname__}";
    c.tag = (char *)"app-${__topic__}";
    c.procid = (char *)"${none}";
    c.msgid = (char *)"${verb|upper}";
    FORMAT_EXPECT(&c, &log, "<14>1 " STAMP " web-1 app-web - GET - m");
    c.structured_data = (struct slsr_map){items, 3};
    FORMAT_EXPECT(&c, &log, "<14>1 " STAMP " web-1 app-web - GET [app@1 user=\"alice\"] m");
    c.provenance = true;
    c.enterprise = 7;
    FORMAT_EXPECT(
        &c, &log,
        "<14>1 " STAMP " web-1 app-web - GET [slsRelay@7 project=\"demo\" "
        "logstore=\"audit\" shard=\"3\" cursor=\"MTAw\" index=\"0\"][app@1 user=\"alice\"] "
        "m");
    c.provenance = false;
    c.hostname = (char *)"${host}";
    items[0].value = (char *)"${q}";
    log.fields = hostile;
    log.field_count = 2;
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP
                  " a_b____x_ app-web - - [app@1 user=\"\\\"\\]\\\\\\\\n\xef\xbf\xbd\"] m");
    c.structured_data.count = 0;
    c.protocol = SLSR_RFC3164;
    c.procid = (char *)"7";
    FORMAT_EXPECT(&c, &log, "<14>Jan  2 03:04:05 a_b____x app-web[7]: m");
    c.structured_data = (struct slsr_map){items, 1};
    refused(c, "structured_data", "rfc5424");
    c.protocol = SLSR_RFC5424;
    items[0].group = (char *)"app";
    refused(c, "\"app\"", "SD-ID");
    items[0].group = (char *)"a@1";
    items[0].name = (char *)"a b";
    refused(c, "structured_data.a@1", "PARAM-NAME");
}

static void selection(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_log log = usual_log();
    char *include[] = {(char *)"user", (char *)"__tag__:*", (char *)"st*"};
    char *exclude[] = {(char *)"__*", (char *)"odd|name}", (char *)"ts", (char *)"empty"};
    struct slsr_map_entry rename[] = {{NULL, (char *)"user", (char *)"usr"},
                                      {NULL, (char *)"verb", (char *)"usr"},
                                      {NULL, (char *)"__time__", (char *)"@timestamp"}};
    c.include = (struct slsr_texts){include, 3};
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - __tag__:__hostname__=web-1||"
                  "__tag__:__path__=/var/log/app.log||status=503||user=alice");
    c.include.count = 0;
    c.exclude = (struct slsr_texts){exclude, 4};
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - status=503||verb=Get||user=alice||level=WARN");
    c.rename = (struct slsr_map){rename, 2};
    c.body = SLSR_BODY_JSON;
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP
                  " h a - - - {\"status\":\"503\",\"usr\":\"alice\",\"level\":\"WARN\"}");
    exclude[0] = (char *)"__t*";
    exclude[1] = (char *)"__source__";
    exclude[2] = (char *)"o*";
    exclude[3] = (char *)"e*";
    rename[0] = rename[2];
    c.rename.count = 1;
    c.exclude.count = 4;
    include[0] = (char *)"__time__";
    c.include = (struct slsr_texts){include, 1};
    c.exclude.count = 0;
    FORMAT_EXPECT(&c, &log, "<14>1 " STAMP " h a - - - {\"@timestamp\":1767323045}");
}

static void events(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair fields[] = {{BYTES("a_b"), BYTES("1")},
                                 {BYTES("ab"), BYTES("2=|\\")},
                                 {BYTES("=|"), BYTES("3\n4")},
                                 {BYTES("user"), BYTES("al\tice")},
                                 {BYTES("act"), BYTES("")}};
    struct slsr_log log = {
        .time_s = 1767323045, .fields = fields, .field_count = 5, .topic = {"t|x", 3}};
    struct slsr_map_entry pairs[] = {{NULL, (char *)"suser", (char *)"${user}"},
                                     {NULL, (char *)"act", (char *)"${none}"},
                                     {NULL, (char *)"rt", (char *)"${__time_ms__}"}};
    c.body = SLSR_BODY_CEF;
    c.cef_vendor = (char *)"V";
    c.cef_product = (char *)"P";
    c.cef_version = (char *)"1";
    c.cef_class_id = c.cef_name = (char *)"${__topic__}";
    c.cef_extension = (struct slsr_map){pairs, 3};
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - CEF:0|V|P|1|t\\|x|t\\|x|3|suser=al\\\\tice "
                  "rt=1767323045000 topic=t|x ab=1 ab5=2\\=|\\\\ field=3\\n4 act=");
    c.cef_fields = SLSR_REST_NONE;
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - CEF:0|V|P|1|t\\|x|t\\|x|3|suser=al\\\\tice "
                  "rt=1767323045000");
    pairs[0].name = (char *)"a_b";
    refused(c, "format.cef.extension", "letters and digits");
    pairs[0].name = (char *)"usrName";
    c.body = SLSR_BODY_LEEF;
    c.leef_vendor = (char *)"V";
    c.leef_product = (char *)"P";
    c.leef_device_version = (char *)"1";
    c.leef_event_id = (char *)"${__topic__}";
    c.leef_attributes = (struct slsr_map){pairs, 2};
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - LEEF:1.0|V|P|1|t x|usrName=al ice\t__topic__=t|x\t"
                  "a_b=1\tab=2=|\\\t__=3 4\tact=");
    c.leef_version = SLSR_LEEF_2;
    c.leef_delimiter = (char *)"^";
    c.leef_fields = SLSR_REST_NONE;
    fields[3].value = BYTES("al^ice");
    FORMAT_EXPECT(&c, &log, "<14>1 " STAMP " h a - - - LEEF:2.0|V|P|1|t x|^|usrName=al ice");
    c.leef_delimiter = (char *)"xy";
    refused(c, "format.leef.delimiter", "one character");
}

static void split_messages(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    char text[3001];
    for (size_t i = 0; i + 2 < sizeof(text); i += 3)
        memcpy(text + i, "\xe4\xb8\xad", 3);
    struct slsr_pair field = {BYTES("content"), {text, 3000}};
    struct slsr_log log = {.time_s = 1767323045, .fields = &field, .field_count = 1};
    c.body = SLSR_BODY_RAW;
    c.oversize = SLSR_OVER_SPLIT;
    c.max_message_bytes = 300;
    for (int kind = 0; kind < 3; kind++) {
        struct slsr_batch b;
        char joined[3001];
        size_t used = 0;
        c.protocol = kind == 1 ? SLSR_RFC3164 : SLSR_RFC5424;
        c.provenance = kind == 2;
        struct format_plan *plan = format_plan_or_die(&c);
        slsr_batch_init(&b);
        strcpy(b.cursor, "MTAw");
        assert_int_equal(format_log(plan, &log, &b, NULL), 0);
        assert_true(b.frame_count > 10);
        for (size_t i = 0; i < b.frame_count; i++) {
            struct slsr_bytes m = format_message(&b, i);
            char head[256];
            const char *prov = kind == 2 ? "[slsRelay@32473 project=\"demo\" logstore=\"audit\" "
                                           "shard=\"3\" cursor=\"MTAw\" index=\"0\"]"
                                         : "";
            snprintf(head, sizeof(head),
                     kind == 1 ? "<14>Jan  2 03:04:05 h a: %s[%zu/%zu] "
                               : "<14>1 " STAMP " h a - - %s[slsPart@32473 n=\"%zu\" of=\"%zu\"] ",
                     prov, i + 1, b.frame_count);
            assert_true(m.n <= 300 && m.n > strlen(head));
            assert_memory_equal(m.p, head, strlen(head));
            assert_true(used + m.n - strlen(head) <= 3000);
            memcpy(joined + used, m.p + strlen(head), m.n - strlen(head));
            used += m.n - strlen(head);
            assert_int_equal(used % 3, 0); /* between characters */
            assert_int_equal(b.meta[i].index, 0);
        }
        assert_int_equal(used, 3000);
        assert_memory_equal(joined, text, 3000);
        slsr_batch_fini(&b);
        format_plan_free(plan);
    }
}

static void kv_quotes(void **state)
{
    (void)state;
    struct slsr_format_config c = format_settings();
    struct slsr_pair fields[] = {
        {BYTES("a"), BYTES("x|")},        {BYTES("b"), BYTES("p|q")},
        {BYTES("c=d"), BYTES("\"s\"")},   {BYTES("e||f"), BYTES("1||2\\\n")},
        {BYTES("g"), BYTES("C:\\new=1")}, {BYTES("\"h"), BYTES("")}};
    struct slsr_log log = {.time_s = 1767323045, .fields = fields, .field_count = 6};
#define LEAD "<14>1 " STAMP " h a - - - __topic__=||__source__=||"
    FORMAT_EXPECT(&c, &log,
                  LEAD "a=\"x|\"||b=p|q||\"c=d\"=\"\\\"s\\\"\"||\"e||f\"=\"1||2\\\\\\n\"||"
                       "g=C:\\new=1||\"\\\"h\"=");
    c.kv_quote = SLSR_KV_ESCAPE;
    FORMAT_EXPECT(&c, &log,
                  LEAD
                  "a=x\\|||b=p\\|q||c\\=d=\"s\"||e\\|\\|f=1\\|\\|2\\\\\\n||g=C:\\\\new=1||\"h=");
    c.kv_quote = SLSR_KV_ALWAYS;
    log.field_count = 2;
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - __topic__=\"\"||__source__=\"\"||a=\"x|\"||b=\"p|q\"");
    c.kv_quote = SLSR_KV_AUTO;
    c.sep = (char *)" ";
    fields[1].value = BYTES("two words");
    FORMAT_EXPECT(&c, &log,
                  "<14>1 " STAMP " h a - - - __topic__= __source__= a=x| b=\"two words\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates),
        cmocka_unit_test(filters),
        cmocka_unit_test(slow_expression_keeps_the_log),
        cmocka_unit_test(mistakes_name_column_and_reason),
        cmocka_unit_test(judge_says_every_mistake),
        cmocka_unit_test(levels),
        cmocka_unit_test(names_and_elements_from_the_log),
        cmocka_unit_test(selection),
        cmocka_unit_test(events),
        cmocka_unit_test(split_messages),
        cmocka_unit_test(kv_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
