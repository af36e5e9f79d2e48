/* Tables: see table.h. Without memory a cell shows as "?", which is better than no table. */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/table.h"
#include "common/text.h"

enum { COLUMNS_MAX = 16 };

void cli_table_init(struct table *table, const char *align)
{
    *table = (struct table){.align = align};
}

void cli_table_fini(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){0};
}

static char *harmless(const char *text)
{
    char *out = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&out, &n);

    if (memory == NULL)
        return NULL;
    cli_text_escape(memory, slsr_bytes_of(text), 0);
    if (fclose(memory) != 0) {
        free(out);
        return NULL;
    }
    return out;
}

void cli_table_cell(struct table *table, const char *fmt, ...)
{
    char *text = NULL;
    va_list list;

    if (table->count == table->size) {
        size_t size = table->size == 0 ? 64 : table->size * 2;
        char **cells = realloc(table->cells, size * sizeof(*cells));
        if (cells == NULL)
            return;
        table->cells = cells;
        table->size = size;
    }
    va_start(list, fmt);
    int n = vasprintf(&text, fmt, list);
    va_end(list);
    table->cells[table->count++] = n >= 0 ? harmless(text) : NULL;
    if (n >= 0)
        free(text);
}

static const char *cell(const struct table *table, size_t i)
{
    return table->cells[i] != NULL ? table->cells[i] : "?";
}

/* Characters, not bytes: names may be UTF-8. */
static size_t width(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void cli_table_print(const struct table *table, FILE *out, const char *indent)
{
    size_t widths[COLUMNS_MAX] = {0};
    size_t columns = strlen(table->align);

    if (columns == 0 || columns > COLUMNS_MAX)
        return;
    for (size_t i = 0; i < table->count; i++) {
        size_t w = width(cell(table, i));
        if (w > widths[i % columns])
            widths[i % columns] = w;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % columns;
        size_t pad = widths[column] - width(cell(table, i));
        bool last = column + 1 == columns;
        fputs(column == 0 ? indent : "  ", out);
        if (table->align[column] == 'r')
            fprintf(out, "%*s%s", (int)pad, "", cell(table, i));
        else
            fprintf(out, "%s%*s", cell(table, i), last ? 0 : (int)pad, "");
        if (last)
            fputc('\n', out);
    }
}
