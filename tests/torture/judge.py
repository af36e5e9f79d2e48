"""Was anything lost, invented, put out of order, or sent twice without a recorded cause?"""
import collections
import json
import os
import re

import fleet as fleets
from harness import Failed, check, cursor_number, provenance

Frame = collections.namedtuple("Frame", "arrival relay seq mark text")
CONNECTED = re.compile(r"^(\S+Z) .*target (\S+): connected to")
SLACK_S = 1.0  # between a thing and the moment that stands for it


def frames_of(world, relay):
    out = world.rig.run("sls-spool", "-D", relay.spool, "-o", "jsonl", "cat", seconds=300,
                        code=None).stdout
    for line in out.splitlines():
        f = json.loads(line)
        yield Frame(fleets.moment(f["arrival"]), relay.name, f["seq"],
                    (f["shard"], cursor_number(f["cursor"]), f["index"]), f["frame"])


def spools(world, frames, expected):
    """Every log in the union; again only where two owners overlapped. Returns the repeats."""
    marks = {f.mark for f in frames}
    check(not expected - marks, f"{len(expected - marks)} of {len(expected)} logs are in no spool, such "
          f"as {sorted(expected - marks)[:3]}")
    check(not marks - expected, f"logs that the service never had: {sorted(marks - expected)[:3]}")
    starts, first, again, strange = fleets.began(world.fleet), {}, 0, []
    for f in frames:
        if f.mark not in first:
            first[f.mark] = (f.relay, f.arrival)
            continue
        again += 1
        if not fleets.overlapped(starts, f.mark, first[f.mark], (f.relay, f.arrival)):
            strange.append((f.mark, first[f.mark], (f.relay, f.arrival, f.seq)))
    check(not strange, f"{len(strange)} logs are spooled twice without an overlap of owners, such as "
          f"{strange[:3]}")
    return again


def keys_in_order(world, frames):
    """Whichever shards and relays a key went through, its numbers were spooled in order."""
    following = dict.fromkeys(world.writer.keys, 0)
    for f in frames:
        found = re.search(r"key ([0-9a-f]{32}) number (\d+) end", f.text)
        check(found, f"frame {f.seq} of {f.relay} is not what was uploaded: {f.text[:300]}")
        key, number = found[1], int(found[2])
        check(number <= following[key], f"key {key}: number {number} was spooled by {f.relay} (frame "
              f"{f.seq}) before number {following[key]}")
        following[key] = max(following[key], number + 1)
    lack = {k: (world.writer.counts[k], n) for k, n in following.items()
            if n != world.writer.counts[k]}
    check(not lack, f"keys that lack logs at the end: {lack}")


def sessions(world, relay, target):
    """When this relay began to send to this target: every connection that is not a mere turn-over."""
    out = []
    for program in world.rig.programs:
        if program.name == relay:
            for line in program.lines:
                found = CONNECTED.match(line)
                if found and found[2] == target:
                    out.append(fleets.moment(found[1]))
    return sorted(out)


def lines_of(files):
    """(relay, mark) of each whole line, life after life; a kill may have cut the last."""
    for path in files:
        if not os.path.exists(path):
            continue
        with open(path, "rb") as file:
            for line in file:
                mark = provenance(line)
                if mark is not None and line.endswith(b"\n"):
                    yield line.split(b" ", 3)[2].decode(), mark


def allowed(frame, begun, seen, orders):
    """How often this frame may arrive at a target: once, once more for each connection that began
    while it was not yet seen as taken, and as often as somebody ordered it."""
    times, at, acked = 1, 0, 0
    backs = [o for o in orders if o.verb == "seek"]
    for when in begun:
        if when < frame.arrival - SLACK_S:
            continue
        while at < len(seen) and seen[at][0] < when:
            acked = seen[at][1]
            at += 1
        # After an order to go back what was seen before it says nothing any more.
        if acked < frame.seq or any(o.first <= frame.seq for o in backs):
            times += 1
    return times + sum(o.again for o in orders if o.first <= frame.seq <= o.last)


def target(world, name, frames, expected, lines):
    """Everything arrived, in the order of the spool it came from; repeats have causes. Returns what to
    say, and the lines that are there as often as they may."""
    orders = world.orders
    spooled = collections.defaultdict(list)
    for f in frames:
        spooled[f.relay, f.mark].append(f)

    def about(f, what):
        return any(getattr(o, what) and o.first <= f.seq <= o.last for o in orders[f.relay, name])
    count, last = collections.Counter(), {}
    for who, mark in lines:
        check((who, mark) in spooled, f"{name} got a line that {who} never spooled: {mark}")
        count[who, mark] += 1
        f = spooled[who, mark][0]
        if count[who, mark] > 1 or about(f, "apart"):
            continue
        check(f.seq > last.get(who, 0), f"{name}: frame {f.seq} of {who} {mark} arrived first after "
              f"frame {last.get(who)}")
        last[who] = f.seq
    arrived = {mark for _, mark in count}
    given_up = {f.mark for f in frames if about(f, "given_up")}
    lost = expected - arrived - given_up
    check(not lost, f"{name}: {len(lost)} of {len(expected)} logs never arrived, such as "
          f"{[(m, [(f.relay, f.seq, f.arrival) for f in frames if f.mark == m]) for m in sorted(lost)[:3]]}")
    strange, full = [], []
    begun = {r.name: sessions(world, r.name, name) for r in world.fleet.relays}
    for (who, mark), times in count.items():
        may = sum(allowed(f, begun[who], world.seen[who, name], orders[who, name])
                  for f in spooled[who, mark])
        if times > may:
            strange.append((who, mark, times, may, [(f.seq, f.arrival) for f in spooled[who, mark]]))
        elif times == may and mark not in given_up and not any(
                about(f, "apart") for f in spooled[who, mark]):
            full.append((who, mark))
    check(not strange, f"{name}: {len(strange)} logs arrived more often than recorded causes explain, "
          f"such as {strange[:3]}")
    breaks = sum(len(b) for b in begun.values())
    return f"{name}: {len(lines)} lines, {len(lines) - len(count)} repeats, {breaks} connections, " \
        f"{len(given_up)} given up by order; {len(full)} logs could not have come once more", full


def judge_the_judge(world, name, frames, expected, lines, full):
    """The same lines with a log taken out, with one more line, and with two in each other's place."""
    check(full, f"{name}: every log might have come once more")
    one, some = full[len(full) // 2], set(full)
    count = collections.Counter(lines)
    single = [n for n in range(len(lines) - 1) if lines[n] in some and
              lines[n + 1] in some and lines[n][0] == lines[n + 1][0] and
              count[lines[n]] == count[lines[n + 1]] == 1]
    spoiled = [[line for line in lines if line[1] != one[1]], [*lines, one]]
    if single:
        n = single[0]
        spoiled.append([*lines[:n], lines[n + 1], lines[n], *lines[n + 2:]])
    for number, wrong in enumerate(spoiled):
        try:
            target(world, name, frames, expected, wrong)
        except Failed:
            continue
        raise Failed(f"the judge does not notice spoiled lines (kind {number})")


def all_of(world, expected):
    frames = sorted(f for relay in world.fleet.relays for f in frames_of(world, relay))
    again = spools(world, frames, expected)
    keys_in_order(world, frames)
    print(f"{len(expected)} logs in two spools, none missing, {again} twice by overlaps of owners")
    for name in ("sink", "rsyslog"):
        lines = list(lines_of(world.receiver(name).files))
        text, full = target(world, name, frames, expected, lines)
        print(text)
        judge_the_judge(world, name, frames, expected, lines, full)
    for relay in world.fleet.relays:
        world.rig.run("sls-spool", "-D", relay.spool, "verify", "--deep", seconds=300)
