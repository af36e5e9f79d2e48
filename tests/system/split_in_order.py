#!/usr/bin/python3 -B
"""Shards are split and merged under two relays, and every key's logs stay in order.

Logs are uploaded with hash keys while shards are split and merged at random, some of them without a
single log in them. Children must be taken up within two heartbeats of their parents' end, also those of
empty parents, and the logs of one key must have been spooled in the order of their upload, whichever
shards and relays they went through.

SLSR_ROUNDS (12) splits or merges, SLSR_SEED.
"""
import json
import os
import random
import re
import time

import fleet as fleets
import harness
import oracle
from harness import LOGSTORE, check, cursor_number, env_number, wait_until
from sim_smoke import field, varint

KEYS = 24
SHARDS = f"/logstores/{LOGSTORE}/shards"


class Writer:
    """Uploads numbered logs, each under one of a few keys."""

    def __init__(self, luck):
        self.reader = oracle.Reader(fleets.PORT)
        self.luck = luck
        self.keys = [f"{luck.getrandbits(128):032x}" for _ in range(KEYS)]
        self.counts = dict.fromkeys(self.keys, 0)

    def write(self, logs):
        for _ in range(logs):
            key = self.luck.choice(self.keys)
            text = f"key {key} number {self.counts[key]} end".encode()
            self.counts[key] += 1
            pair = field(1, b"m") + field(2, text)
            group = field(1, b"\x08" + varint(int(time.time())) + field(2, pair))
            status, _, body = self.reader.call(f"{SHARDS}/route", {"key": key}, method="POST",
                                               body=group, kind="application/x-protobuf")
            check(status == 200, f"upload refused: {status} {body!r}")

    def shards(self):
        return {s["shardID"]: s for s in self.reader.json(SHARDS)}

    def change(self, shard, query):
        status, _, body = self.reader.call(f"{SHARDS}/{shard}", query, method="POST")
        check(status == 200, f"{query} of shard {shard} refused: {status} {body!r}")
        return [s["shardID"] for s in json.loads(body)]

    def split(self, shard, info):
        low, high = int(info["inclusiveBeginKey"], 16), int(info["exclusiveEndKey"], 16)
        return self.change(shard, {"action": "split", "key": f"{(low + high) // 2:032x}"})

    def merge(self, shard):
        return self.change(shard, {"action": "merge"})


def right_of(shards, info):
    """The writable shard that begins where this one ends."""
    return [n for n, s in shards.items() if s["status"] == "readwrite" and
            s["inclusiveBeginKey"] == info["exclusiveEndKey"]]


def reshape(writer, luck, births):
    """One split, split of a fresh (empty) child, or merge. births: child -> (parents, when)."""
    shards = writer.shards()
    living = [n for n, s in shards.items() if s["status"] == "readwrite"]
    target = luck.choice(living)
    now = time.time()
    if len(living) > 5 and right_of(shards, shards[target]):
        merged, left, right = writer.merge(target)
        births[merged] = ((left, right), now)
        return f"merged {left} and {right} into {merged}"
    parent, one, two = writer.split(target, shards[target])
    births[one] = births[two] = ((parent,), now)
    if luck.random() < 0.5:
        return f"split {parent} into {one} and {two}"
    _, three, four = writer.split(one, writer.shards()[one])  # nothing was written into it yet
    births[three] = births[four] = ((one,), now)
    return f"split {parent} into {one} and {two}, the empty {one} into {three} and {four}"


def ends_of(fleet):
    """shard -> when its reader had nothing left to read and was told where the end is."""
    stats = {s["shard"]: s for s in fleet.stats()["shards"]}
    over, attended, beats = {}, {}, {}
    for at, call, query, listed, status, answer in fleet.events():
        if status != 200:
            continue
        if call == "checkpoint":
            end = stats[listed["shard"]]["end_cursor"]
            if cursor_number(listed["checkpoint"]) == cursor_number(end):
                over.setdefault(listed["shard"], []).append(at)
        elif call == "heartbeat":
            beats.setdefault(query["consumer"], []).append(at)
            for shard in answer:
                attended.setdefault(shard, (at, query["consumer"]))
    return over, attended, beats


def regular(fleet, times, since):
    """How many of these beats are a whole interval apart: a shard's end also sends one at once."""
    count, last = 0, since
    for at in times:
        if at - last >= 0.9 * fleet.beat_ms / 1000:
            count, last = count + 1, at
    return count


def check_children(fleet, births):
    """Most beats of a child's first owner between the parents' end and taking it up."""
    over, attended, beats = ends_of(fleet)
    most = 0
    for child, (parents, born) in births.items():
        check(child in attended, f"shard {child}, born of {parents}, was never given to anybody")
        taken, who = attended[child]
        # Over is over at the first checkpoint at the end once the shard is read-only. A parent that
        # was never read may also be found at its end by the service itself.
        ends = [min([t for t in over.get(p, []) if t >= born] or [born]) for p in parents]
        since = max(ends + [born])
        most = max(most, regular(fleet, [t for t in beats[who] if since < t <= taken], since))
        check(taken >= since - 0.5, f"shard {child} was taken up {since - taken:.2f} s before its "
              f"parents {parents} were over")
    return most


def check_order(fleet, writer):
    frames = []
    for relay in fleet.relays:
        out = fleet.rig.run("sls-spool", "-D", relay.spool, "-o", "jsonl", "cat", code=None).stdout
        for line in out.splitlines():
            frame = json.loads(line)
            frames.append((fleets.moment(frame["arrival"]), relay.number, frame["seq"], frame["frame"]))
    frames.sort()
    following = dict.fromkeys(writer.keys, 0)
    again = 0
    for arrival, number, seq, text in frames:
        key, count = re.search(r"key ([0-9a-f]{32}) number (\d+) end", text).groups()
        if int(count) < following[key]:
            again += 1
            continue
        check(int(count) == following[key], f"key {key}: number {count} was spooled by relay "
              f"{number} (frame {seq}) before number {following[key]}")
        following[key] += 1
    lost = {k: (writer.counts[k], n) for k, n in following.items() if n != writer.counts[k]}
    check(not lost, f"keys that lack logs at the end: {lost}")
    return len(frames), again


def test(rig):
    seed, rounds = env_number("SLSR_SEED", int(time.time())), env_number("SLSR_ROUNDS", 12)
    luck = random.Random(seed)
    print(f"seed {seed}", flush=True)
    fleet = fleets.Fleet(rig, 2, 3, timeout_s=10, source__in_order=True,
                         source__fetch_interval="100ms")
    fleet.start()
    fleet.wait_settled()
    writer, births = Writer(luck), {}
    for number in range(rounds):
        writer.write(luck.choice([0, 30, 60]))
        print(f"{number + 1}: {reshape(writer, luck, births)}", flush=True)
        writer.write(luck.choice([0, 30]))
        if luck.random() < 0.5:  # else the next one falls into what this one has set going
            wait_until("every finished shard is over", lambda: finished(fleet), 60)
    writer.write(60)
    wait_until("every finished shard is over", lambda: finished(fleet), 60)
    fleet.wait_checkpoints(sum(writer.counts.values()))
    beats = check_children(fleet, births)
    fleet.stop()
    frames, again = check_order(fleet, writer)
    print(f"{len(births)} children taken up within {beats} heartbeats; {frames} logs of {KEYS} keys in "
          f"order, {again} of them again")
    check(beats <= 2, f"a child was taken up only {beats} heartbeats after its parents' end")


def finished(fleet):
    """Are all read-only shards over, and all writable ones in somebody's hands?"""
    stats = fleet.stats()
    return all(s["consumer_groups"].get(fleets.GROUP, {}).get("state") ==
               ("over" if s["status"] == "readonly" else "held") for s in stats["shards"])


if __name__ == "__main__":
    os.environ.setdefault("SLSR_SEED", str(int(time.time())))
    fleets.own_network()
    harness.main(test)
