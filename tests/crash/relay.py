#!/usr/bin/python3 -B
"""The real relay dies at every named fault point, those of spool, consumer and sender.

A service with two shards generates logs, a sink takes them. For each point, and for its first and its
third passing, the relay is started on the same spool with that point armed and dies there (few points
are passed only once a start, that is printed). After the last death a relay runs to the end: the spool
holds every log exactly once, in order, and the sink has every log. SLSR_LOGS sets the number of logs.
"""
import os
import signal
import sys
import time

from common import BIN, ROOT, run

os.environ["SLSR_BIN"] = BIN
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import harness  # noqa: E402
import oracle  # noqa: E402
from harness import check, env_number, judge_received  # noqa: E402

# Passed in other programs' workloads (tests/crash/kill.py), too rarely or never in this one.
RARE = ("spool.rotate", "spool.unlink", "spool.segment")


def strike(rig, config, point, turn):
    """Starts a relay with one point armed; True when it died there."""
    env = harness.clean_env() | {"SLSR_FAULT": f"{point}:{turn}:die"}
    relay = rig.start(f"relay {point} {turn}", rig.relay_argv(config), env=env)
    deadline = time.monotonic() + 6 * harness.SLOW
    while relay.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    died = not relay.running()
    check(not died or relay.process.returncode == -signal.SIGKILL,
          f"{point}:{turn}: the relay ended by itself, exit {relay.process.returncode}")
    relay.kill()
    rig.programs.remove(relay)
    return died


def test(rig):
    logs = env_number("SLSR_LOGS", 45000)
    code, text = run("points")
    check(code == 0, text)
    points = [p for p in text.split() if not p.startswith(RARE)]
    rig.start_sim("--generate", f"{logs}@{1500 // harness.SLOW}", shards=2)
    received = rig.path("received")
    sink = rig.start_sink("--output", received)
    config = rig.config(sink.port, source__checkpoint_interval="1s")
    missed = []
    for point in points:
        for turn in (1, 3):
            if not strike(rig, config, point, turn):
                missed.append(f"{point}:{turn}")
    check(len(missed) <= len(points) // 2, f"too many points were not reached: {missed}")
    relay = rig.start_relay(config)
    rig.wait_drained(logs, seconds=300)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    expected = oracle.Reader(rig.sim_port).marks()
    frames = rig.cat()
    check([f["seq"] for f in frames] == list(range(1, logs + 1)),
          f"sequence numbers are not 1..{logs} ({len(frames)} frames)")
    marks = [(f["shard"], harness.cursor_number(f["cursor"]), f["index"]) for f in frames]
    check(len(set(marks)) == len(marks), f"{len(marks) - len(set(marks))} logs are there twice")
    check(set(marks) == expected, f"{len(expected - set(marks))} logs are not in the spool")
    for shard in {m[0] for m in marks}:
        mine = [m for m in marks if m[0] == shard]
        check(mine == sorted(mine), f"shard {shard} is out of order in the spool")
    rig.spool("verify", "--deep")
    lines, twice = judge_received(received, expected)
    print(f"{len(points)} points twice, not reached: {missed or 'none'}; "
          f"sink: {lines} lines, {twice} repeats")


harness.main(test)
