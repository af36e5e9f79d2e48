#!/usr/bin/python3 -B
"""The writer dies at every named fault point of the spool and at random moments.

After each death the judge opens the spool as a relay would: nothing acknowledged is lost, nothing is
there twice, frames and cursors agree, and one more frame goes in. Points that can fail also fail
with EIO and ENOSPC; then the writer must go on by itself. SLSR_KILLS sets the number of random
deaths (500), SLSR_TURNS how many times in a row each point is reached before it strikes (3).
"""
import os
import signal
import subprocess
import time

from common import CRASH, check, judge, main, number, run, scratch, seed

OPTIONS = ["batches=60", "batch=40", "frame=2500"]
# Points whose FAULT() can also be an error, not only a death.
FAILING = ["spool.segment.first-commit.before", "spool.dir-sync.before", "spool.commit.before",
           "spool.ack-flush.before"]


def die_at_points(points, turns):
    folder = scratch("points")
    for point in points:
        struck = 0
        for turn in range(1, turns + 1):
            # What strikes at the creation of a spool must meet a fresh one.
            spool = os.path.join(folder, f"{point}-{turn}")
            said = spool + ".said"
            for again in range(2):
                code, text = run("write", spool, *OPTIONS, f"seed={again}",
                                 env={"SLSR_FAULT": f"{point}:{turn + 7 * again}:die"}, out=said)
                check(code in (0, -signal.SIGKILL), f"{point}:{turn}: exit {code}: {text}")
                struck += code != 0
                judge(spool, said, *OPTIONS, context=f"died at {point}, turn {turn + 7 * again}")
        check(struck > 0, f"the workload never reaches the fault point {point}")
    print(f"{len(points)} points, each on {turns} fresh spools and on what was left of them: ok")


def fail_at_points(turns):
    folder = scratch("fails")
    for point in FAILING:
        for error in ("EIO", "ENOSPC"):
            for turn in range(1, turns + 1):
                spool = os.path.join(folder, f"{point}-{error}-{turn}")
                said = spool + ".said"
                code, text = run("write", spool, *OPTIONS, "keep-trying",
                                 env={"SLSR_FAULT": f"{point}:{turn}:{error}"}, out=said)
                check(code == 0, f"{point}:{turn}:{error}: the writer did not recover, exit {code}: "
                                 f"{text} {open(said, errors='replace').read()[-300:]}")
                judge(spool, said, *OPTIONS, context=f"{error} at {point}, turn {turn}")
    print(f"{len(FAILING)} points failed with EIO and ENOSPC: the writer goes on")


def kill_at_random(kills):
    moments, base = seed()
    folder = scratch("kill")
    spool, said = os.path.join(folder, "spool"), os.path.join(folder, "said")
    under_way = 0
    for turn in range(kills):
        with open(said, "ab") as file:
            before = file.tell()
            writer = subprocess.Popen([CRASH, "write", spool, "batches=100000", *OPTIONS[1:],
                                       f"seed={base + turn}"], stdin=subprocess.DEVNULL, stdout=file)
            # Half of the deaths fall into the opening, half into the stream.
            if turn % 2:
                deadline = time.monotonic() + 60
                while file.seek(0, 2) == before and time.monotonic() < deadline:
                    time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.02))
            check(writer.poll() is None, f"kill {turn}: the writer ended by itself: "
                                         f"{open(said, errors='replace').read()[-300:]}")
            writer.kill()
            writer.wait()
            under_way += file.seek(0, 2) > before
            if file.tell() > 0:  # what was cut off was never said
                with open(said, "rb") as back:
                    whole = back.read().rfind(b"\n") + 1
                file.truncate(whole)
        if turn % 2 or turn + 1 == kills:
            judge(spool, said, *OPTIONS, context=f"kill {turn}")
    print(f"{kills} deaths, {under_way} of them amid acknowledged frames: "
          f"{judge(spool, said, *OPTIONS, context='the end')}")


def test():
    code, text = run("points")
    check(code == 0, text)
    die_at_points([p for p in text.split() if p.startswith("spool.")], number("SLSR_TURNS", 3))
    fail_at_points(number("SLSR_TURNS", 3))
    kill_at_random(number("SLSR_KILLS", 500))


main(test)
