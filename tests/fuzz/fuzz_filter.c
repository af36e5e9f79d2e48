/* A filter of any text, and a severity rule made of it: refused with a column, or run on one log.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/format.h"
#include "slsrelay/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct slsr_stream stream = {"p", "l", 1};
    static const struct slsr_pair fields[] = {{{"a", 1}, {"5", 1}},
                                              {{"status", 6}, {"503", 3}},
                                              {{"msg", 3}, {"aaaaaaaaaaaaaaaaaaaa b\xff", 23}}};
    struct slsr_log log = {.time_s = 1, .fields = fields, .field_count = 3};
    struct slsr_format_config c = {.severity = 6, .facility = 1, .hostname = (char *)"h"};
    struct format_plan *plan = NULL;
    struct slsr_err err = {0};
    struct slsr_batch b;
    char *text = malloc(size + 32), *rule = NULL;
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    c.filter = text;
    if (size > 0 && size < 2000 && data[0] == '@') {
        must(asprintf(&rule, "if %s then err", text + 1) > 0);
        c.filter = NULL;
        c.severity_rules = (struct slsr_texts){&rule, 1};
    }
    int rc = format_plan_new(&plan, &c, &stream, &err);
    must(rc == 0 || (rc == SLSR_ECONFIG && strstr(err.text, "column ") != NULL));
    if (rc == 0) {
        slsr_batch_init(&b);
        memcpy(b.cursor, "MTAw", 5);
        must(format_log(plan, &log, &b, NULL) == 0);
        must(b.frame_count + b.dropped_count == 1);
        slsr_batch_fini(&b);
    }
    format_plan_free(plan);
    free(rule);
    free(text);
    return 0;
}
