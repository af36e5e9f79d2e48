/* A small table with aligned columns (targets, shards; not frames, which are streamed). Cells are
 * escaped for a terminal. Memory: the table's, until cli_table_fini. */
#ifndef TOOLS_COMMON_TABLE_H
#define TOOLS_COMMON_TABLE_H

#include <stddef.h>
#include <stdio.h>

struct table {
    const char *align; /* one letter a column: 'l' or 'r'; its length is the number of columns */
    char **cells;
    size_t count, size;
};

void cli_table_init(struct table *table, const char *align);
void cli_table_fini(struct table *table);
/* Next cell, row by row; the first row is the heading. */
void cli_table_cell(struct table *table, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void cli_table_print(const struct table *table, FILE *out, const char *indent);

#endif
