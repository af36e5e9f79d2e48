/* A template of any text, in the body and as APP-NAME: refused with a column, or run on one log. */
#include <stdint.h>
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
    static const struct slsr_pair fields[] = {{{"a", 1}, {"1767323045.5", 12}},
                                              {{"t", 1}, {"-99999999999", 12}},
                                              {{"m", 1}, {"\xe4\xb8\xad\xff\x00/x\n", 8}}};
    struct slsr_log log = {.time_s = 1, .fields = fields, .field_count = 3};
    struct slsr_format_config c = {.severity = 6,
                                   .facility = 1,
                                   .hostname = (char *)"h",
                                   .body = SLSR_BODY_TEMPLATE,
                                   .time_zone = (char *)"America/St_Johns"};
    struct format_plan *plan = NULL;
    struct slsr_err err = {0};
    struct slsr_batch b;
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    c.template_text = c.tag = text;
    int rc = format_plan_new(&plan, &c, &stream, &err);
    must(rc == 0 || (rc == SLSR_ECONFIG && strstr(err.text, "column ") != NULL));
    if (rc == 0) {
        slsr_batch_init(&b);
        memcpy(b.cursor, "MTAw", 5);
        must(format_log(plan, &log, &b, NULL) == 0 && b.frame_count == 1);
        for (size_t i = 0; i < b.used; i++)
            must((uint8_t)b.data[i] >= 0x20);
        slsr_batch_fini(&b);
    }
    format_plan_free(plan);
    free(text);
    return 0;
}
