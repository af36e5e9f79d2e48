#!/usr/bin/python3 -B
"""Storms of retries are told by a number, not by as many lines.

First the target refuses hundreds of attempts: that is one line, and the line that it is reached again
says after how many. So it is with errors of the service. Then the target takes every connection and
resets it at the first frame, hundreds of times: each of these is a change of state, yet few lines are
said, and they give the number of the others. In the end both are well again, and every log has arrived but for the
frames that the relay has set aside, as it should with a receiver that ends at one and the same.
"""
import json
import re
import socket
import struct
import threading
import urllib.request

import harness
import oracle
from harness import check, wait_until

ATTEMPTS = 200
LOGS = 3000
ERRORS = 5
# Kinds of lines in the second storm: connected, reset, looking for the frame, set aside. Each is said ten
# times a minute, and a storm may touch two minutes (more where all is slow).
LINES_MAX = 4 * 10 * 2 * harness.SLOW


class Resetter(threading.Thread):
    """Takes every connection, reads once and resets it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.count = 0
        self.start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
                peer.recv(4096)
            except OSError:
                return
            self.count += 1
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return sum(float(value) for value in
                   re.findall(rf"^sls_relay_{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.M))


def hushed(relay):
    return sum(int(re.search(r"\(and (\d+) more like this", line).group(1))
               for line in relay.said("more like this, not shown"))


def test(rig):
    rig.start_sim("--generate", f"{LOGS}", shards=1)
    port = harness.free_port()
    relay = rig.start_relay(rig.config(port, metrics={"listen": "127.0.0.1:0"}, source__fetch_interval="10ms",
                                       targets__0__retry={"initial": "5ms", "max": "5ms", "multiplier": 1}))
    page = relay.wait_line(r"listening on http://127\.0\.0\.1:(\d+)/").group(1)
    rig.wait_spooled(LOGS)
    wait_until("many attempts", lambda: metric(page, "target_reconnects_total") >= ATTEMPTS)
    check(len(relay.said("target siem: ")) == 1, "a refused target is not one line")
    started = len(relay.said("shard 0: "))
    rig.sim_post("/_sim/faults", json.dumps([f"pull:error=500/InternalServerError:{ERRORS}"]))
    relay.wait_line(f"shard 0: goes on after {ERRORS} failures")
    check(len(relay.said("shard 0: ")) == started + 2, "errors of the service are not one line and its end")

    resetter = Resetter(port)
    wait_until("the first reset", lambda: resetter.count > 0)
    again = relay.wait_line(r"target siem: connected to .* after (\d+) attempts").group(1)
    check(int(again) >= ATTEMPTS, f"after {again} attempts")
    before = len(relay.lines)
    wait_until("many resets", lambda: resetter.count >= ATTEMPTS, 120)
    said = len(relay.lines) - before
    check(said <= LINES_MAX, f"{said} lines of {resetter.count} resets")
    resetter.end()
    rig.start_sink("--output", rig.path("out"), port=port)
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "the relay left with an error")
    connected = len(relay.said("target siem: connected"))
    check(connected < ATTEMPTS / 4, f"{connected} times connected are said")
    # not each of them was seen as up before it was reset
    check(hushed(relay) >= ATTEMPTS / 10, f"{hushed(relay)} of {resetter.count} are told as a number")
    dead = rig.spool("list", "--state", "dead", "--count", code=None).stdout.split()
    expected = oracle.Reader(rig.sim_port).marks()
    with open(rig.path("out"), "rb") as file:
        arrived = {harness.provenance(line) for line in file}
    check(arrived <= expected and len(arrived) + int(dead[0] if dead else 0) == LOGS,
          f"{len(arrived)} of {LOGS} arrived, {dead} set aside")
    print(f"{said} lines of {resetter.count} resets, {hushed(relay)} as a number")


harness.main(test)
