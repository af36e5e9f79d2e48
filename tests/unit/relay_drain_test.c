/* For whom TERM waits: only for a target that has something to take and takes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/metrics.h"

static void phases(void **state)
{
    static const bool waits[] = {
        [SLSR_PHASE_IDLE] = true,     [SLSR_PHASE_CONNECTING] = true, [SLSR_PHASE_UP] = true,
        [SLSR_PHASE_BACKOFF] = false, [SLSR_PHASE_STALLED] = false,   [SLSR_PHASE_STOPPED] = false,
        [SLSR_PHASE_PAUSED] = false,
    };

    (void)state;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        struct slsr_target_state target = {.acked = 7, .phase = (enum slsr_target_phase)i};

        if (watch_drains(&target, 8) != waits[i])
            fail_msg("%s, with a backlog", slsr_phase_name(target.phase));
        assert_false(watch_drains(&target, 7));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(phases)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
