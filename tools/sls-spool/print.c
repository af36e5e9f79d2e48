/* Frames on standard output: a table line, the message, raw bytes, JSON. Streams; keeps nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/json.h"
#include "common/text.h"
#include "print.h"

/* Columns of the message in a table: elsewhere, in front of it on a terminal, and at least. */
enum { MESSAGE_COLUMNS = 80, TABLE_COLUMNS = 92, MESSAGE_LEAST = 20 };

void print_begin(struct printer *printer, enum output output, bool table)
{
    *printer = (struct printer){.output = output, .table = table};
    printer->terminal = isatty(STDOUT_FILENO) == 1;
    printer->columns = MESSAGE_COLUMNS;
    if (printer->terminal) {
        const size_t wide = cli_text_columns(STDOUT_FILENO);
        printer->columns =
            wide > TABLE_COLUMNS + MESSAGE_LEAST ? wide - TABLE_COLUMNS : MESSAGE_LEAST;
    }
}

static void table_line(const struct printer *printer, const struct slsr_frame *frame)
{
    char arrival[TEXT_SMALL];
    char event[TEXT_SMALL];
    char shard[SLSR_CURSOR_MAX];

    cli_text_time_local(arrival, frame->arrival_ms / 1000,
                        (uint32_t)(frame->arrival_ms % 1000) * 1000000U);
    cli_text_time_local(event, frame->time_s, frame->time_ns);
    snprintf(shard, sizeof(shard), "%s/%" PRIu32, frame->stream.logstore, frame->stream.shard);
    printf("%10" PRIu64 "  %s  %s  ", frame->seq, arrival, event);
    cli_text_escape(stdout, slsr_bytes_of(shard), 0);
    printf("%*s  %7zu  ", (int)(strlen(shard) < 16 ? 16 - strlen(shard) : 0), "", frame->message.n);
    cli_text_escape(stdout, frame->message, printer->columns);
    fputc('\n', stdout);
}

static void json_frame(const struct slsr_frame *frame)
{
    char text[TEXT_SMALL];

    cli_text_time_utc(text, frame->time_s, frame->time_ns, 9);
    printf("{\"seq\":%" PRIu64 ",\"time\":\"%s\"", frame->seq, text);
    cli_text_time_utc(text, frame->arrival_ms / 1000,
                      (uint32_t)(frame->arrival_ms % 1000) * 1000000U, 3);
    printf(",\"arrival\":\"%s\",\"project\":", text);
    cli_json_string(stdout, slsr_bytes_of(frame->stream.project));
    fputs(",\"logstore\":", stdout);
    cli_json_string(stdout, slsr_bytes_of(frame->stream.logstore));
    printf(",\"shard\":%" PRIu32 ",\"cursor\":", frame->stream.shard);
    cli_json_string(stdout, frame->cursor);
    printf(",\"index\":%" PRIu32 ",\"bytes\":%zu,", frame->index, frame->message.n);
    if (cli_text_is_utf8(frame->message)) {
        fputs("\"frame\":", stdout);
        cli_json_string(stdout, frame->message);
    } else {
        fputs("\"frame_base64\":", stdout);
        cli_json_base64(stdout, frame->message);
    }
    fputc('}', stdout);
}

void print_frame(struct printer *printer, const struct slsr_frame *frame)
{
    switch (printer->output) {
    case OUT_JSON:
        fputs(printer->count == 0 ? "[\n" : ",\n", stdout);
        json_frame(frame);
        break;
    case OUT_JSONL:
        json_frame(frame);
        fputc('\n', stdout);
        break;
    case OUT_RAW:
        fwrite(frame->message.p, 1, frame->message.n, stdout);
        fputc('\n', stdout);
        break;
    case OUT_OCTET: /* as it goes over a stream: decimal length, space, message */
        fwrite(frame->wire.p, 1, frame->wire.n, stdout);
        break;
    case OUT_TEXT:
        if (printer->table && printer->count == 0)
            printf("%10s  %-23s  %-23s  %-16s  %7s  %s\n", "SEQ", "ARRIVAL", "EVENT", "SHARD",
                   "BYTES", "MESSAGE");
        if (printer->table) {
            table_line(printer, frame);
            break;
        }
        if (printer->terminal)
            cli_text_escape(stdout, frame->message, 0);
        else
            fwrite(frame->message.p, 1, frame->message.n, stdout);
        fputc('\n', stdout);
        break;
    }
    printer->count++;
}

void print_end(struct printer *printer)
{
    if (printer->output == OUT_JSON)
        fputs(printer->count == 0 ? "[]\n" : "\n]\n", stdout);
}
