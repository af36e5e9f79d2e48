#!/usr/bin/python3 -B
"""A spool's disk is filled from outside and freed again, twenty times, while logs keep coming.

The spool lies on an ext4 of 64 MB of its own (a loop mount; without the right to mount the test is
skipped). Each turn the receiver is stopped until there is a backlog, another program fills the disk
to the last block, and pulling stops. Then the receiver goes on: everything that is spooled is sent
and acknowledged although the disk is full. Then the space comes back, and pulling resumes by itself.
In the end every log has arrived, in the order of its shard, and nothing was said to be lost.
SLSR_TURNS and SLSR_LOGS set the size.
"""
import errno
import os
import signal
import subprocess
import sys

import harness
import oracle
from harness import check, env_number, judge_received, wait_until

BACKLOG = 300


def mount(rig):
    image, point = rig.path("disk.img"), rig.path("spool")
    os.mkdir(point)
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        print(f"cannot mount a loop device here: {done.stderr.strip()}")
        sys.exit(77)
    rig.at_end.callback(subprocess.run, ["umount", "-l", point], check=False)


def fill(path):
    """Takes what is left, to the last block; the bytes taken."""
    taken = 0
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    taken += file.write(b"\0" * size)
            except OSError as error:
                check(error.errno == errno.ENOSPC, f"filling: {error}")
    return taken


def next_seq(rig):
    status = rig.status()
    return status["next_seq"] if status else 0


def acked(rig):
    status = rig.status()
    return status["targets"][0]["acked_seq"] + 1 if status and status["targets"] else 0


def fill_until_pulling_stops(rig, filler):
    """Whatever space the relay gives back is taken, too, until its end stands still."""
    still = [0, 0]

    def stands():
        fill(filler)
        now = next_seq(rig)
        still[1] = still[1] + 1 if now == still[0] else 0
        still[0] = now
        return still[1] >= 10
    wait_until("pulling stops on a full disk", stands, 60, 0.05)
    return still[0]


def turn(rig, relay, sink, filler):
    os.kill(sink.process.pid, signal.SIGSTOP)
    wait_until("a backlog", lambda: next_seq(rig) - acked(rig) > BACKLOG, 90)
    end = fill_until_pulling_stops(rig, filler)
    check(relay.running(), "the relay ended on a full disk")
    backlog = end - acked(rig)
    os.kill(sink.process.pid, signal.SIGCONT)
    # The disk stays full (less what the relay itself gives back), and all of it is sent.
    wait_until("the backlog is sent from a full disk", lambda: acked(rig) >= end, 90)
    os.truncate(filler, 0)
    before = next_seq(rig)
    wait_until("pulling resumes", lambda: next_seq(rig) > before, 90)
    return backlog


def test(rig):
    turns = env_number("SLSR_TURNS", 20)
    logs = env_number("SLSR_LOGS", 3000 * turns)
    if os.getuid() != 0:
        print("only root may mount a disk of its own")
        sys.exit(77)
    mount(rig)
    # Slower than the turns are, so that logs keep coming until the last of them.
    sim = rig.start_sim("--generate", f"{logs}@{1500 // harness.SLOW}")
    received = rig.path("received")
    sink = rig.start_sink("--output", received)
    config = rig.config(sink.port, spool={"path": rig.path("spool"), "min_free_disk": "4MiB",
                                          "max_size": "48MiB", "retention_size": "1MiB",
                                          "retention_time": "1s"})
    relay = rig.start_relay(config)
    filler = rig.path("spool/somebody-else")
    backlogs = [turn(rig, relay, sink, filler) for _ in range(turns)]
    print(f"{turns} turns; sent from the full disk: {min(backlogs)}..{max(backlogs)} frames each")
    rig.wait_drained(logs, seconds=300)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    check(sim.running(), "the service ended")
    expected = oracle.Reader(rig.sim_port).marks()
    check(len(expected) == logs, f"the service holds {len(expected)} logs, not {logs}")
    lines, twice = judge_received(received, expected)
    check(not relay.said("drop|GAP|missing"), "something was said to be lost")
    rig.spool("verify", "--deep")
    print(f"sink: {lines} lines for {logs} logs, {twice} repeats")


harness.main(test)
