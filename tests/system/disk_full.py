#!/usr/bin/python3 -B
"""A spool's disk is filled from outside and freed again, twenty times, while logs keep coming.

The spool lies on an ext4 of 64 MB of its own (a loop mount; without the right to mount the test is
skipped). Each turn the receiver is stopped until there is a backlog, another program fills the disk
to the last block, and pulling stops. Then the receiver goes on: everything that is spooled is sent
and acknowledged although the disk is full. Then the space comes back, and pulling resumes by itself.
In the end every log has arrived, in the order of its shard, and nothing was said to be lost.
SLSR_TURNS sets the number of turns.
"""
import errno
import os
import signal
import subprocess
import sys
import threading
import time

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


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


class Uploads(threading.Thread):
    """Logs that keep coming until they are stopped: about a thousand a second."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.service = oracle.Reader(port)
        self.count, self.error, self.over = 0, None, threading.Event()

    def group(self):
        logs = b""
        for _ in range(50):
            self.count += 1
            content = field(1, b"message") + field(2, b"upload %d " % self.count + b"x" * 600)
            logs += field(1, b"\x08" + varint(int(time.time())) + field(2, content))
        return logs

    def run(self):
        while not self.over.wait(0.05):
            status, _, body = self.service.call(f"/logstores/{harness.LOGSTORE}/shards/lb",
                                                method="POST", body=self.group(),
                                                kind="application/x-protobuf")
            if status != 200:
                self.error = f"upload: {status} {body[:200]!r}"
                break


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
    if os.getuid() != 0:
        print("only root may mount a disk of its own")
        sys.exit(77)
    mount(rig)
    rig.start_sim()
    uploads = Uploads(rig.sim_port)
    received = rig.path("received")
    sink = rig.start_sink("--output", received)
    config = rig.config(sink.port, spool={"path": rig.path("spool"), "min_free_disk": "4MiB",
                                          "max_size": "48MiB", "retention_size": "1MiB",
                                          "retention_time": "1s"})
    relay = rig.start_relay(config)
    filler = rig.path("spool/somebody-else")
    uploads.start()
    backlogs = [turn(rig, relay, sink, filler) for _ in range(turns)]
    print(f"{turns} turns; sent from the full disk: {min(backlogs)}..{max(backlogs)} frames each")
    uploads.over.set()
    uploads.join()
    logs = uploads.count
    check(uploads.error is None, uploads.error)
    rig.wait_drained(logs, seconds=300)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    expected = oracle.Reader(rig.sim_port).marks()
    check(len(expected) == logs, f"the service holds {len(expected)} logs, not {logs}")
    lines, twice = judge_received(received, expected)
    check(not relay.said("drop|GAP|missing"), "something was said to be lost")
    rig.spool("verify", "--deep")
    print(f"sink: {lines} lines for {logs} logs, {twice} repeats")


harness.main(test)
