"""Was anything lost, invented, put out of order, or sent twice without a recorded cause?"""
import bisect
import collections
import os
import re

import fleet as fleets
from harness import Failed, check, provenance
from world import TARGETS

CONNECTED = re.compile(r"^(\S+Z) .*target (\S+): connected to")
SLACK_S = 1.0  # between a thing and the moment that stands for it


def spools(world, frames, expected):
    """Every log in the union; again only where two owners overlapped. Returns the repeats, and the logs
    that may have been given back on a full disk before anybody looked: those have to have arrived."""
    marks = {f.mark for f in frames}
    unseen, room = expected - marks, sum(world.unseen.values())
    check(len(unseen) <= room, f"{len(unseen)} of {len(expected)} logs are in no spool (and {room} frames "
          f"were given back unseen), such as {sorted(unseen)[:3]}")
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
    return again, unseen


def keys_in_order(world, frames, unseen):
    """Whichever shards and relays a key went through, its numbers were spooled in order."""
    following, left_out = dict.fromkeys(world.writer.keys, 0), 0
    for f in frames:
        found = re.search(r"key ([0-9a-f]{32}) number (\d+) end", f.text)
        check(found, f"frame {f.seq} of {f.relay} is not what was uploaded: {f.text[:300]}")
        key, number = found[1], int(found[2])
        left_out += max(0, number - following[key])
        check(left_out <= unseen, f"key {key}: number {number} was spooled by {f.relay} (frame "
              f"{f.seq}) before number {following[key]}")
        following[key] = max(following[key], number + 1)
    lack = {k: (world.writer.counts[k], n) for k, n in following.items()
            if n != world.writer.counts[k]}
    left_out += sum(there - n for there, n in lack.values())
    check(left_out <= unseen, f"keys that lack logs at the end: {lack}")


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


class Orders:
    """What somebody ordered about the frames of a relay at a target, by sequence number."""

    def __init__(self, orders):
        self.apart, self.given_up, self.again = set(), set(), collections.Counter()
        self.backs = [o for o in orders if o.verb == "seek"]
        for o in orders:
            if o.verb == "seek":
                continue
            numbers = range(o.first, o.last + 1)
            if o.apart:
                self.apart.update(numbers)
            if o.given_up:
                self.given_up.update(numbers)
            if o.again:
                self.again.update({n: o.again for n in numbers})

    def times(self, seq):
        return self.again[seq] + sum(o.again for o in self.backs if o.first <= seq <= o.last)


class Sessions:
    """The connections of a relay to a target, and what had been seen as taken when each began."""

    def __init__(self, begun, seen):
        self.begun, self.acked, at, acked = begun, [], 0, 0
        for when in begun:
            while at < len(seen) and seen[at][0] < when:
                acked = seen[at][1]
                at += 1
            self.acked.append(acked)

    def repeats(self, frame, orders):
        """How often this frame was sent again because a connection began while it was not yet seen as
        taken. What was seen goes back only by an order, after which it says nothing any more."""
        first = bisect.bisect_left(self.begun, frame.arrival - SLACK_S)
        if any(o.first <= frame.seq for o in orders.backs):
            return len(self.begun) - first
        n = first
        while n < len(self.acked) and self.acked[n] < frame.seq:
            n += 1
        return n - first


def target(world, name, frames, expected, unseen, lines):
    """Everything arrived, in the order of the spool it came from; repeats have causes: a frame may come
    once, once more for each connection that needed it, and as often as somebody ordered it. Returns what
    to say, and the lines that are there as often as they may."""
    names = [r.name for r in world.fleet.relays]
    orders = {who: Orders(world.orders[who, name]) for who in names}
    begun = {who: Sessions(sessions(world, who, name), world.seen[who, name]) for who in names}
    spooled = collections.defaultdict(list)
    for f in frames:
        spooled[f.relay, f.mark].append(f)
    count, last = collections.Counter(), {}
    for who, mark in lines:
        if mark in unseen and world.unseen[who] > 0:
            count[who, mark] += 1
            continue  # nobody knows its place in the spool
        check((who, mark) in spooled, f"{name} got a line that {who} never spooled: {mark}")
        count[who, mark] += 1
        f = spooled[who, mark][0]
        if count[who, mark] > 1 or f.seq in orders[who].apart:
            continue
        check(f.seq > last.get(who, 0), f"{name}: frame {f.seq} of {who} {mark} arrived first after "
              f"frame {last.get(who)}")
        last[who] = f.seq
    arrived = {mark for _, mark in count}
    given_up = {f.mark for f in frames if f.seq in orders[f.relay].given_up}
    lost = expected - arrived - given_up
    check(not lost, f"{name}: {len(lost)} of {len(expected)} logs never arrived, such as "
          f"{[(m, [(f.relay, f.seq, f.arrival) for f in frames if f.mark == m]) for m in sorted(lost)[:3]]}")
    strange, full = [], []
    for (who, mark), times in count.items():
        if mark in unseen:
            continue
        here = spooled[who, mark]
        may = sum(1 + begun[who].repeats(f, orders[who]) + orders[who].times(f.seq) for f in here)
        if times > may:
            strange.append((who, mark, times, may, [(f.seq, f.arrival) for f in here]))
        elif times == may and mark not in given_up and not any(
                f.seq in orders[who].apart for f in here):
            full.append((who, mark))
    check(not strange, f"{name}: {len(strange)} logs arrived more often than recorded causes explain, "
          f"such as {strange[:3]}")
    breaks = sum(len(b.begun) for b in begun.values())
    return f"{name}: {len(lines)} lines, {len(lines) - len(count)} repeats, {breaks} connections, " \
        f"{len(given_up)} given up by order; {len(full)} logs could not have come once more", full


def judge_the_judge(world, name, frames, expected, unseen, lines, full):
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
            target(world, name, frames, expected, unseen, wrong)
        except Failed:
            continue
        raise Failed(f"the judge does not notice spoiled lines (kind {number})")


def all_of(world, expected):
    frames = sorted(f for relay in world.fleet.relays for f in world.frames[relay.name])
    again, unseen = spools(world, frames, expected)
    keys_in_order(world, frames, len(unseen))
    print(f"{len(expected)} logs in two spools, none missing, {again} twice by overlaps of owners, "
          f"{len(unseen)} given back on a full disk before they were seen")
    for name in TARGETS:
        lines = list(lines_of(world.receiver(name).files))
        text, full = target(world, name, frames, expected, unseen, lines)
        print(text, flush=True)
        judge_the_judge(world, name, frames, expected, unseen, lines, full)
    for relay in world.fleet.relays:
        world.rig.run("sls-spool", "-D", relay.spool, "verify", "--deep", seconds=300)
