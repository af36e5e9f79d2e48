/* syslog-sink: receives syslog, writes it to a file, counts and checks it, and misbehaves on
 * demand. Arguments -> options -> receive_run -> exit code. */
#include "options.h"
#include "receive.h"
#include "sink.h"

int main(int argc, char **argv)
{
    struct options o;
    struct sink s = {.o = &o};
    int rc = options_read(&o, argc, argv);

    if (rc != -1)
        return rc;
    tally_init(&s.tally);
    rc = output_open(&s.out, o.output);
    if (rc == 0 && !stats_possible(&s)) /* not only at the end of a long run */
        rc = EXIT_CANNOT_CREATE;
    if (rc == 0)
        rc = receive_run(&s);
    output_close(&s.out);
    tally_free(&s.tally);
    return rc;
}
