/* Figures as tables: see figures.h. */
#include <inttypes.h>

#include "common/table.h"
#include "common/text.h"
#include "figures.h"

void figures_table_shards(const struct slsr_status *figures, FILE *out, const char *indent)
{
    struct table table;

    cli_table_init(&table, "lllr");
    cli_table_cell(&table, "SHARD");
    cli_table_cell(&table, "CURSOR");
    cli_table_cell(&table, "CHECKPOINT");
    cli_table_cell(&table, "LAG");
    for (size_t i = 0; i < figures->shard_count; i++) {
        const struct slsr_shard_state *shard = &figures->shards[i];
        char lag[TEXT_SMALL] = "unknown";
        if (shard->lag_s >= 0)
            cli_text_duration(lag, shard->lag_s);
        cli_table_cell(&table, "%s/%s/%" PRIu32, shard->project, shard->logstore, shard->shard);
        cli_table_cell(&table, "%s", shard->cursor[0] != '\0' ? shard->cursor : "-");
        cli_table_cell(&table, "%s", shard->checkpoint[0] != '\0' ? shard->checkpoint : "-");
        cli_table_cell(&table, "%s", lag);
    }
    cli_table_print(&table, out, indent);
    cli_table_fini(&table);
}
