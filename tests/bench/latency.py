#!/usr/bin/python3 -B
"""Latency: a log is in the service -> the receiver has it in hand, at 1, 10 and 80 % of capacity.

    tests/bench/latency.py [--seconds N] [--fetch 200ms] [--bin DIR] [--json FILE]

sls-sim stamps each generated log with the microsecond at which it can be pulled; the frame carries
that as its RFC 5424 timestamp, and the receiver (in this script, same clock) takes the newest and
the oldest frame of every read as samples. Capacity is what the rig as a whole (simulator, relay
and this receiver on the same cores) moves from a standing backlog in the same run.
"""
import argparse
import datetime
import json
import os
import platform
import re
import socket
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import harness  # noqa: E402

STAMP = re.compile(rb"<\d+>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z ")
LOOK = 4096  # bytes of a read that surely hold a whole header


class Receiver(threading.Thread):
    """Takes one connection after another; samples are (latency in s)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.samples, self.bytes = [], 0
        self.start()

    def run(self):
        while True:
            peer, _ = self.socket.accept()
            threading.Thread(target=self.take, args=(peer,), daemon=True).start()

    def take(self, peer):
        with peer:
            while block := peer.recv(1 << 20):
                now = time.time()
                self.bytes += len(block)
                marks = STAMP.findall(block[:LOOK])[:1] + STAMP.findall(block[-LOOK:])[-1:]
                for mark in marks:
                    then = datetime.datetime.fromisoformat(mark.decode() + "+00:00").timestamp()
                    self.samples.append(now - then)


def run(logs, rate, fetch):
    """(samples, logs per second, seconds) of one stream; rate None: all at once."""
    receiver = Receiver()
    with harness.Rig("latency") as rig:
        generate = str(logs) if rate is None else f"{logs}@{rate}"
        rig.start_sim("--generate", generate, shards=4)
        config = rig.config(receiver.port, source__fetch_interval=fetch, format__provenance=False,
                            spool__max_size="20GiB")
        began = time.monotonic()
        relay = rig.start_relay(config)
        rig.wait_drained(logs, seconds=600)
        took = time.monotonic() - began
        relay.stop()
    return receiver.samples, logs / took, took


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="length of each stream (10)")
    parser.add_argument("--fetch", default="200ms", help="source.fetch_interval (200ms)")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bench", "bin"))
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    os.environ["SLSR_BIN"] = os.path.abspath(args.bin)
    _, capacity, _ = run(400000, None, args.fetch)
    rows = []
    for share in (0.01, 0.1, 0.8):
        rate = max(10, int(capacity * share))
        samples, _, _ = run(rate * args.seconds, rate, args.fetch)
        rows.append({"share": share, "logs_per_s": rate, "samples": len(samples),
                     "p50_ms": percentile(samples, 0.5) * 1e3,
                     "p99_ms": percentile(samples, 0.99) * 1e3})
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}; "
          f"fetch_interval {args.fetch}; capacity of the rig {capacity:.0f} logs/s")
    print(f"{'share':>6} {'logs/s':>8} {'samples':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for row in rows:
        print(f"{row['share']:>6.0%} {row['logs_per_s']:>8} {row['samples']:>8} "
              f"{row['p50_ms']:>8.1f} {row['p99_ms']:>8.1f}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"capacity_logs_s": capacity, "rows": rows}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
