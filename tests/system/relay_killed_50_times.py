#!/usr/bin/python3 -B
"""The relay is killed with -9 at fifty random moments while logs keep coming.

A service with four shards generates logs all the time. A relay pulls them, spools them and sends
them to a sink; again and again it is killed at a random moment and started anew on the same spool.
When all logs are in, the spool holds each of them exactly once, in the order of its shard, judged by
provenance against what the service itself hands out. The sink has every log at least once.
SLSR_RECEIVER=rsyslog or syslogng puts that real receiver in the sink's place and stops and starts it
twice in between.
"""
import os
import random
import time

import harness
import oracle
import siem_stopped_twice as siem
from harness import check, env_number, judge_received


def test(rig):
    logs = env_number("SLSR_LOGS", 200000)
    kills = env_number("SLSR_KILLS", 50)
    seed = env_number("SLSR_SEED", int(time.time()))
    print(f"seed {seed} (SLSR_SEED), {logs} logs, {kills} kills")
    moments = random.Random(seed)
    longest = 0.6 * harness.SLOW
    # The logs last about as long as the kills, so that each one interrupts real work.
    rate = max(1, int(logs / (kills * longest / 2 + 5)))
    rig.start_sim("--generate", f"{logs}@{rate}", "--seed", str(seed % 1000))
    kind = os.environ.get("SLSR_RECEIVER")
    if kind:
        siem.fetch()
        sink = siem.Receiver(rig, kind)
        sink.start()
        received = sink.out
    else:
        received = rig.path("received")
        sink = rig.start_sink("--output", received)
    config = rig.config(sink.port)
    done_before = 0
    for turn in range(kills):
        if kind and turn in (kills // 4, kills * 5 // 8):
            sink.stop()
        if kind and turn in (kills * 3 // 8, kills * 3 // 4):
            sink.start()
        relay = rig.start_relay(config, name=f"sls-relay {turn}")
        time.sleep(moments.uniform(0, longest))
        if not relay.running():
            check(False, f"relay {turn} ended by itself, exit {relay.process.returncode}")
        relay.kill()
        rig.programs.remove(relay)
        if turn % 10 == 9:
            status = rig.status()
            print(f"after {turn + 1} kills: {status['frames'] if status else 0} frames")
            done_before = status["frames"] if status else 0
    print(f"{done_before} of {logs} frames were spooled under fire")
    relay = rig.start_relay(config)
    status = rig.wait_drained(logs)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")

    if kind:
        sink.stop()
    expected = oracle.Reader(rig.sim_port).marks()
    check(len(expected) == logs, f"the service holds {len(expected)} logs, not {logs}")
    frames = rig.cat()
    check([f["seq"] for f in frames] == list(range(1, logs + 1)),
          f"sequence numbers are not 1..{logs} ({len(frames)} frames)")
    marks = [(f["shard"], harness.cursor_number(f["cursor"]), f["index"]) for f in frames]
    check(len(set(marks)) == len(marks), f"{len(marks) - len(set(marks))} logs are in the spool twice")
    check(set(marks) == expected, f"{len(expected - set(marks))} logs are not in the spool")
    for shard in {m[0] for m in marks}:
        mine = [m for m in marks if m[0] == shard]
        check(mine == sorted(mine), f"shard {shard} is out of order in the spool")
    rig.spool("verify", "--deep")
    lines, twice = judge_received(received, expected)
    print(f"sink: {lines} lines, {twice} of them repeats; status says {status['frames']} frames")


harness.main(test)
