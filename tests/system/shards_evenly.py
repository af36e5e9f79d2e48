#!/usr/bin/python3 -B
"""A hundred shards spread evenly over five relays, whoever comes and goes.

Five relays start at once; no relay has two shards more than another. One is killed, the others take its
shards and nothing but those moves; it comes back and gets its share. All logs that came meanwhile are in
the five spools. The same with 1,000 shards over 20 relays, with figures: tests/scale/many_relays.py.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scale"))

import harness
from harness import PROVENANCE, check, cursor_number, env_number, wait_until
from many_relays import GROUP, Crowd


def starved(crowd):
    """Did a relay get no heartbeat through for a whole time-out? So slow may a busy machine be, and
    then the group is right to move its shards."""
    return any(program.said("shards are given up") for program in crowd.programs.values())


def test(rig):
    shards, relays = env_number("SLSR_SHARDS", 100), env_number("SLSR_RELAYS", 5)
    logs = env_number("SLSR_LOGS", 20000)
    crowd = Crowd(rig, shards, relays, "500ms", timeout_s=15, beat="1s",
                  logs=f"{logs}@{max(logs // 15, 1)}", wait=180)
    crowd.start()
    _, owners = crowd.settle()
    check(len(set(owners)) == relays, "a relay without shards")
    gone = crowd.names[1]
    crowd.programs.pop(gone).kill()
    _, fewer = crowd.settle()
    moved = [(a, b) for a, b in zip(owners, fewer) if a != b]
    check(all(a == gone for a, _ in moved) or starved(crowd),
          f"shards of relays that are well changed hands: {moved}")
    crowd.start(gone)
    _, again = crowd.settle()
    back = [(a, b) for a, b in zip(fewer, again) if a != b]
    check(all(b == gone for _, b in back) or starved(crowd),
          f"shards moved between relays that stayed: {back}")

    def everything_reported():
        store = rig.sim_get()["logstores"][0]
        return store["logs"] >= logs and all(
            s["consumer_groups"][GROUP]["checkpoint_groups"] == s["groups"] for s in store["shards"])
    wait_until("every checkpoint at its shard's end", everything_reported, 120, 0.25)
    seen, frames = set(), 0
    for name in crowd.names:
        if crowd.programs[name].running():
            check(crowd.programs[name].stop(60) == 0, f"TERM did not end {name} with exit 0")
        raw = rig.run("sls-spool", "-D", rig.path(f"spool-{name}"), "-o", "raw", "cat", text=False,
                      code=None).stdout
        for found in PROVENANCE.finditer(raw):
            frames += 1
            seen.add((int(found.group(3)), cursor_number(found.group(4)), int(found.group(5))))
    check(len(seen) == logs, f"{len(seen)} different logs in the spools instead of {logs}")
    print(f"{shards} shards over {relays} relays: {len(moved)} moved when one was killed, {len(back)} "
          f"when it came back; {logs} logs, {frames - len(seen)} twice")


if __name__ == "__main__":
    harness.main(test)
