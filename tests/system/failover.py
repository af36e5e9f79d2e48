#!/usr/bin/python3 -B
"""Two receivers for one target: failover under load and back, balance by shard, and a steady pace.

The first receiver is killed while logs flow: the second takes over. The first comes back, stays
healthy, and is used again, once and without sending anything twice for that. With balance by shard
both work, each shard at one of them. Nothing is lost, order within a shard is kept. A poison frame on
the way is set aside and all others arrive; a rate limit holds while a backlog drains (for SLSR_PACE_S
seconds, 15).
"""
import json
import time

import harness
import oracle
from harness import Rig, check, provenance, wait_until

LOGS, RATE = 20000, 3000
PACE_S = harness.env_number("SLSR_PACE_S", 15)


def size(path):
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def sink(rig, name, port=0, *options):
    return rig.start_sink("--output", rig.path(name), *options, port=port, name=name)


def marks_of(path):
    with open(path, "rb") as file:
        return [m for m in (provenance(line) for line in file if line.endswith(b"\n")) if m]


def in_order(marks):
    last, seen = {}, set()
    for mark in marks:
        if mark in seen:
            continue
        seen.add(mark)
        check(mark[1:] > last.get(mark[0], (0, -1)), f"{mark} came after {last.get(mark[0])}")
        last[mark[0]] = mark[1:]
    return seen


def failover(rig):
    first, second = sink(rig, "first"), sink(rig, "second")
    rig.start_sim("--generate", f"{LOGS}@{RATE}")
    relay = rig.start_relay(rig.config(first.port, targets__0__servers=[f"127.0.0.1:{second.port}"],
                                       targets__0__failback_after="1s"))
    wait_until("frames at the first", lambda: size(rig.path("first")) > 1000)
    first.kill()
    wait_until("frames at the second", lambda: size(rig.path("second")) > 1000)
    check(rig.status()["frames"] < LOGS, "all logs were spooled before the first was back")
    again = sink(rig, "first-again", first.port)
    relay.wait_line(f"goes to 127.0.0.1:{first.port}$")
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    for program in (second, again):
        program.stop()
    went = relay.said("goes to")
    check(len(went) == 2, f"not once there and once back: {went}")
    files = [marks_of(rig.path(name)) for name in ("first", "second", "first-again")]
    seen = in_order([mark for marks in files for mark in marks])
    expected = oracle.Reader(rig.sim_port).marks()
    check(seen == expected, f"{len(expected - seen)} lost, {len(seen - expected)} invented")
    twice = set(files[1]) & set(files[2])
    check(not twice, f"{len(twice)} frames were sent again only to go back")
    print(f"failover: {[len(m) for m in files]} lines, back once, 0 lost")


def balance(rig):
    first, second = sink(rig, "first"), sink(rig, "second")
    rig.start_sim("--generate", f"{LOGS}@{RATE}")
    relay = rig.start_relay(rig.config(first.port, targets__0__servers=[f"127.0.0.1:{second.port}"],
                                       targets__0__balance="shard",
                                       targets__0__failback_after="1s"))
    for name in ("first", "second"):
        wait_until(f"frames at the {name}", lambda n=name: size(rig.path(n)) > 1000)
    shards = [{m[0] for m in marks_of(rig.path(n))} for n in ("first", "second")]
    check(not shards[0] & shards[1], f"a shard is at both receivers: {shards}")
    first.kill()  # its shards go to the second, all of them
    relay.wait_line("goes to")
    rig.wait_drained(LOGS)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    second.stop()
    marks = marks_of(rig.path("first")), marks_of(rig.path("second"))
    seen = in_order(marks[0]) | in_order(marks[1])
    expected = oracle.Reader(rig.sim_port).marks()
    check(seen == expected, f"{len(expected - seen)} lost, {len(seen - expected)} invented")
    print(f"balance: shards {sorted(shards[0])} and {sorted(shards[1])}, 0 lost")


def pace(rig):
    """A backlog at 1,000 a second, by the receiver's own counting."""
    rate = 1000
    logs = rate * (PACE_S + 1)
    rig.start_sim("--generate", str(logs))
    late = harness.free_port()
    relay = rig.start_relay(rig.config(late, targets__0__rate_limit={"messages": 5000,
                                                                     "backlog_messages": rate}))
    rig.wait_spooled(logs)
    sink(rig, "paced", late)
    wait_until("the first frames", lambda: size(rig.path("paced")) > rate)
    began, before = time.monotonic(), size(rig.path("paced"))
    wait_until("most frames", lambda: size(rig.path("paced")) >= logs - rate, every=0.02)
    took, frames = time.monotonic() - began, size(rig.path("paced")) - before
    rig.wait_drained(logs)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    # A loaded machine may fall behind, never ahead: the bucket holds a tenth of a second.
    check(frames <= rate * took * 1.02 + rate / 10, f"{frames} frames in {took:.2f} s")
    print(f"pace: {frames / took:.1f} frames a second over {took:.1f} s, asked for {rate}")


def poison(rig):
    """The receiver closes at messages above 2000 bytes; a few of the logs become such."""
    lines = [json.dumps({"shard": 0, "time": 1700000000 + i,
                         "contents": {"n": str(i), "x": "y" * (4000 if i in (7, 400, 401) else 20)}})
             for i in range(1000)]
    with open(rig.path("logs.jsonl"), "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    picky = sink(rig, "picky", 0, "--max-message", "2000")
    rig.start_sim("--load", rig.path("logs.jsonl"), shards=1)
    relay = rig.start_relay(rig.config(picky.port))
    rig.wait_drained(1000, seconds=240)
    check(relay.stop() == 0, "TERM did not end the relay with exit 0")
    picky.stop()
    seen = in_order(marks_of(rig.path("picky")))
    check(len(seen) == 997, f"{len(seen)} frames arrived, not 997")
    check(len(relay.said("is set aside")) >= 1, "nothing said")
    dead = [f["seq"] for f in rig.cat("--state", "dead", "-t", "siem")]
    check(dead == [8, 401, 402], f"set aside: {dead}")
    print(f"poison: frames {dead} set aside, 997 of 1000 arrived in order")


def test(_):
    for part in (failover, balance, pace, poison):
        with Rig("failover-" + part.__name__) as rig:
            part(rig)


if __name__ == "__main__":
    harness.main(test)
