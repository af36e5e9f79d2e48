/* The page against texts that are not ours: a receiver's error, a service's, a ledger's reason may
 * hold HTML, and none of it becomes any. And what it says at a glance: units, the verdict, how much
 * of the ledger it shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/page.h"

#include "slsrelay/ledger.h"

static const char hostile[] = "<script>alert(\"1\")</script>&<img src=x onerror='2'>\n";

static char dir[64];
static struct slsr_config config;
static struct watch watch;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/slsr-page-XXXXXX");
    assert_non_null(mkdtemp(dir));
    config = (struct slsr_config){.spool = {.path = dir, .max_size_bytes = 12 << 20}};
    watch = (struct watch){.config = &config,
                           .history = history_new(),
                           .consumer = hostile,
                           .stuck_ms = STUCK_MS,
                           .ready = true};
    assert_non_null(watch.history);
    assert_int_equal(slsr_spool_open(&watch.spool, &config.spool, SLSR_SPOOL_WRITE, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    slsr_spool_close(watch.spool);
    history_free(watch.history);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* The caller frees it. */
static char *render(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct slsr_err err = {0};

    assert_non_null(out);
    if (page_write(out, &watch, &err) != 0)
        fail_msg("%s", err.text);
    fclose(out);
    return text;
}

static size_t count_of(const char *text, const char *word)
{
    size_t n = 0;

    for (; (text = strstr(text, word)) != NULL; text++)
        n++;
    return n;
}

static void expect(const char *word, size_t times)
{
    char *text = render();
    const size_t n = count_of(text, word);

    if (times == 0 ? n != 0 : n < times)
        fail_msg("%zu times, not %zu: %s\n%s", n, times, word, text);
    free(text);
}

static void put_text(char *out, size_t size, const char *text)
{
    const size_t n = strnlen(text, size - 1);

    memcpy(out, text, n); /* the beginning, where there is not room for more */
    out[n] = '\0';
}

static void target(const char *name, enum slsr_target_phase phase, const char *error)
{
    struct slsr_target_state state;

    assert_int_equal(slsr_spool_target_add(watch.spool, name, &state, NULL), 0);
    state.phase = phase;
    put_text(state.error, sizeof state.error, error);
    assert_int_equal(slsr_spool_ack(watch.spool, &state, NULL), 0);
}

static void hostile_texts(void **state)
{
    struct slsr_ledger_entry entry = {.frames = 12345};
    struct slsr_source_state source = {.project = "p", .logstore = "audit"};

    (void)state;
    put_text(entry.kind, sizeof entry.kind, hostile);
    put_text(entry.target, sizeof entry.target, hostile);
    put_text(entry.text, sizeof entry.text, hostile);
    put_text(entry.who, sizeof entry.who, hostile);
    put_text(source.error, sizeof source.error, hostile);
    put_text(source.state, sizeof source.state, hostile);
    assert_int_equal(slsr_ledger_add(watch.spool, &entry, NULL), 0);
    put_text(entry.logstore, sizeof entry.logstore, hostile);
    put_text(entry.reason, sizeof entry.reason, hostile);
    entry.target[0] = entry.text[0] = '\0';
    entry.frames = 0;
    assert_int_equal(slsr_ledger_add(watch.spool, &entry, NULL), 0);
    assert_int_equal(slsr_spool_source_note(watch.spool, &source, NULL), 0);
    target("siem", SLSR_PHASE_BACKOFF, hostile);

    expect("<script>alert", 0);
    expect("<img", 0);
    expect("\"1\"", 0);
    expect("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&lt;img src=x", 5);
    expect("12,345", 1);
}

static void verdicts(void **state)
{
    (void)state;
    expect("Everything spooled is delivered", 1);
    target("one", SLSR_PHASE_UP, "an error that is over");
    expect("Everything spooled is delivered", 1);
    expect("an error that is over", 0);
    target("two", SLSR_PHASE_BACKOFF, "refused");
    expect("two takes nothing; frames are kept in the spool", 1);
    expect("refused", 1);
    target("three", SLSR_PHASE_STOPPED, "no such file");
    expect("2 targets take nothing; frames are kept in the spool", 1);
}

static void long_ledger(void **state)
{
    struct slsr_ledger_entry entry = {.kind = "gap", .reason = "invalid_cursor"};

    (void)state;
    expect("Nothing: every frame went the ordinary way.", 1);
    for (int i = 0; i < 23; i++) {
        snprintf(entry.text, sizeof entry.text, "number %d.", i);
        assert_int_equal(slsr_ledger_add(watch.spool, &entry, NULL), 0);
    }
    expect("number 22.", 1);
    expect("number 3.", 1);
    expect("number 2.", 0);
    expect("3 older ones: sls-spool gaps", 1);
}

static void units(void **state)
{
    char out[PAGE_TEXT];

    (void)state;
    assert_string_equal(page_count(out, -1), "0");
    assert_string_equal(page_count(out, 999), "999");
    assert_string_equal(page_count(out, 1234567), "1,234,567");
    assert_string_equal(page_count(out, 12345678), "12.3 M");
    assert_string_equal(page_count(out, 2.5e9), "2.50 G");
    assert_string_equal(page_size(out, 1023), "1023 B");
    assert_string_equal(page_size(out, 1536), "1.5 KiB");
    assert_string_equal(page_size(out, 200.0 * 1024 * 1024), "200 MiB");
    assert_string_equal(page_size(out, 5e15), "4547 TiB");
    assert_string_equal(page_duration(out, 119), "119 s");
    assert_string_equal(page_duration(out, 600), "10 min");
    assert_string_equal(page_duration(out, 9000), "2.5 h");
    assert_string_equal(page_duration(out, 10.0 * 86400), "10 days");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hostile_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(long_ledger, setup, teardown),
        cmocka_unit_test(units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
