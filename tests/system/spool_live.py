#!/usr/bin/python3 -B
"""An operator looks into the spool of a relay that works as hard as it can.

The same logs go through two relays: one that nobody looks at, and one with a `tail -f`, a `grep`, and a
`cat` that is stopped with SIGSTOP while its reader does not read. Both files must come out alike: a
reader that sleeps pins no page, and the tail shows every frame. Meanwhile every verb that looks
answers, and afterwards the spool is sound. The full size: SLSR_LOOK_S=60 with as many SLSR_LOGS as that takes.
"""
import json
import os
import re
import signal
import subprocess
import threading
import time

import harness
from harness import check, wait_until

LOGS = harness.env_number("SLSR_LOGS", 30000)
LOOK_S = harness.env_number("SLSR_LOOK_S", 0)  # keep the cat stopped at least so long
SEQ = re.compile(rb'{"seq": ?([0-9]+)')
SLACK = 2 * (256 * 1024 + 8192)  # two chunks with their pages


def relay_with(rig, name, sink, *sim):
    rig.start_sim("--generate", str(LOGS), "--seed", "7", *sim)
    config = rig.config(sink.port, f"{name}.json", spool__path=rig.path(name),
                        source__consumer_group=name, spool__max_size="60GiB",
                        spool__retention_size="100%")
    return rig.start_relay(config, name=name)


def spool(rig, name, *arguments, **more):
    return rig.run("sls-spool", "-D", rig.path(name), *arguments, **more)


def status(rig, name):
    done = spool(rig, name, "-o", "json", "status", code=None)
    return json.loads(done.stdout) if done.returncode == 0 else None


def wait_all(rig, name, relay):
    def ask():
        check(relay.running(), f"{name} ended by itself")
        now = status(rig, name)
        return now if now and now["next_seq"] == LOGS + 1 and now["targets"] and \
            now["targets"][0]["backlog_frames"] == 0 else None
    return wait_until(f"{name} has taken and sent all", ask, 180 + 3 * LOOK_S, 0.2)


def overhead(rig, name, now):
    """What the files' pages hold beside the frames. Their length counts, not the room that is set
    aside for them."""
    return sum(os.path.getsize(os.path.join(rig.path(name), file))
               for file in os.listdir(rig.path(name)) if file.startswith("seg-") and
               file.endswith(".mdb")) - now["bytes"]


def look(rig, name):
    for words in (["status"], ["status", "-o", "json"], ["list", "-n", "3"], ["cat", "-n", "2"],
                  ["tail", "-n", "2"], ["shards"], ["targets"], ["gaps"], ["top"], ["shape"],
                  ["stats"], ["readers"], ["list", "--count"], ["list", "-S", "-1h", "-n", "5"],
                  ["cat", "-g", "no such text"], ["export", "-n", "5"], ["replay", "--list"]):
        done = spool(rig, name, *words, code=None)
        check(done.returncode in (0, 1), f"{words} under load: {done.returncode} {done.stderr}")
    # The relay owns it: an import says so, and nothing of frames.
    spool(rig, name, "export", "-n", "1", "--output", rig.path("one.jsonl"))
    done = spool(rig, name, "import", rig.path("one.jsonl"), code=75)
    check("import:" not in done.stderr, f"an import that never began: {done.stderr}")


class Shown(threading.Thread):
    """What `tail -f` shows: every frame from its first one on, each once, in order, though it gives
    way to the relay."""

    def __init__(self, lines):
        super().__init__(daemon=True)
        self.lines = lines
        self.last = 0
        self.wrong = None
        self.start()

    def run(self):
        for line in self.lines:
            seq = int(SEQ.match(line)[1])
            if self.last not in (0, seq - 1) and not self.wrong:
                self.wrong = f"{seq} behind {self.last}"
            self.last = seq


def test(rig):
    sink = rig.start_sink("--discard")
    quiet = relay_with(rig, "quiet", sink)
    alone = wait_all(rig, "quiet", quiet)
    normal = overhead(rig, "quiet", alone)
    check(quiet.stop() == 0, "TERM did not end the relay with exit 0")

    busy = relay_with(rig, "busy", sink)
    wait_until("the first frames", lambda: (status(rig, "busy") or {}).get("frames", 0) > 100)
    argv = [rig.tool("sls-spool"), "-D", rig.path("busy")]
    tail = subprocess.Popen([*argv, "-o", "jsonl", "tail", "-f"], stdout=subprocess.PIPE)
    shown = Shown(tail.stdout)
    with open(os.devnull, "wb") as nowhere:
        grep = subprocess.Popen([*argv, "tail", "-f", "-g", "[a-z]{9}"], stdout=nowhere)
        with subprocess.Popen([*argv, "cat"], stdout=subprocess.PIPE) as cat:
            try:
                cat.stdout.read(1000)
                cat.send_signal(signal.SIGSTOP)
                stopped = time.monotonic()
                look(rig, "busy")
                watched = wait_all(rig, "busy", busy)
                stopped_s = time.monotonic() - stopped
                seen = overhead(rig, "busy", watched)
            finally:
                cat.kill()
    wait_until("tail -f has shown the last frame", lambda: shown.last == LOGS or shown.wrong,
               60 + LOOK_S)
    check(not shown.wrong, f"tail -f showed {shown.wrong}")
    for process in (tail, grep):
        check(process.poll() is None, "tail -f ended by itself")
        process.send_signal(signal.SIGINT)
        check(process.wait(60 * harness.SLOW) == 0, "INT did not end tail -f with 0")
    check(watched["frames"] == alone["frames"] == LOGS, "other frames")
    print(f"{watched['bytes']} bytes of frames; pages beside them: {normal} alone, {seen} with "
          f"three readers")
    print(f"the cat was stopped for {stopped_s:.0f} s of writing")
    check(stopped_s >= LOOK_S, f"{LOOK_S} s wanted: give more SLSR_LOGS")
    check(seen - normal <= SLACK, f"readers made the files grow by {seen - normal} bytes")
    check(busy.stop() == 0, "TERM did not end the relay with exit 0")
    spool(rig, "busy", "verify", "--deep")


harness.main(test)
