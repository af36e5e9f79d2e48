#!/usr/bin/python3 -B
"""The spool is full under more busy shards than may work at a time.

Eight shards bring large pulls into a small spool, and the target takes nothing. source.memory lets one or
two of them work at a time, the others wait for the memory that these hold while they wait for room: status
calls all eight stuck, with the one cause. When the target is there, all goes on and nothing is stuck.
"""
import harness
from harness import check, wait_until

SHARDS = 8
LOGS = 250000  # far more than the spool holds


def source(rig):
    status = rig.status()
    return status["sources"][0] if status and status["sources"] else {}


def test(rig):
    rig.start_sim("--generate", str(LOGS), shards=SHARDS)
    port = harness.free_port()
    relay = rig.start_relay(rig.config(port, source__memory="8MiB", spool__max_size="32MiB"))
    full = wait_until("all shards are stuck", lambda: source(rig) if
                      source(rig).get("stuck_shards") == SHARDS else None)
    check(full["state"] == "spool_full" and full["shards"] == SHARDS and "is full" in full["last_error"],
          f"the cause: {full}")
    check(f"{SHARDS} shards, {SHARDS} of them stuck" in rig.spool("status").stdout, "not in the sentence")
    sink = rig.start_sink("--discard", "--expect", str(LOGS), "--stats", rig.path("stats"), port=port)
    rig.wait_drained(LOGS)
    wait_until("nothing is stuck", lambda: source(rig).get("state") == "ok" and
               source(rig)["stuck_shards"] == 0)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    check(sink.stop() == 0, "the sink did not end")


harness.main(test)
