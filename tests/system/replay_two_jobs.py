#!/usr/bin/python3 -B
"""Two replays at once, and two operators who resume the same one.

Two jobs send overlapping stretches of one spool to two receivers. One is stopped, the other does not
notice. Then two people resume it in the same moment: exactly one of them gets it, the other is told so.
In the end each receiver has its own stretch, in order, each frame once.
"""
import json
import re
import subprocess

import harness
from harness import check, wait_until

FRAMES = 20000
NUMBER = re.compile(rb" n=(\d+)[| \n]")


def jobs(rig):
    return {job["id"]: job for job in json.loads(rig.spool("-o", "json", "replay", "--list").stdout)}


def start(rig, *arguments):
    return subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("spool"), "replay", *arguments],
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def numbers(path):
    with open(path, "rb") as file:
        return [int(found) for found in NUMBER.findall(file.read())]


def check_received(rig, name, first, last):
    wanted = list(range(first - 1, last))  # frame n has the sequence n + 1
    wait_until(f"{name} has all", lambda: len(numbers(rig.path(name))) >= len(wanted))
    got = numbers(rig.path(name))
    check(got == wanted, f"{name}: {len(got)} frames, {got[:3]} ... {got[-3:]}, not {len(wanted)}")


def resume_twice(rig):
    both = [start(rig, "--resume", "1") for _ in range(2)]
    said = [process.communicate(timeout=120 * harness.SLOW)[1] for process in both]
    codes = [process.returncode for process in both]
    check(sorted(codes) == [0, 75], f"two resumed one job: exits {codes}, {said}")
    loser = said[codes.index(75)]
    check("goes on with it" in loser or "is running" in loser, f"the second one hears: {loser}")


def test(rig):
    subprocess.run([rig.tool("mkspool"), rig.path("spool"), str(FRAMES), "4", "1700000000", "10",
                    "batch=100", "size=300"], check=True, stdout=subprocess.DEVNULL)
    sinks = {name: rig.start_sink("--output", rig.path(name), name=name) for name in ("one", "two")}
    first = start(rig, "--seq", "1..12000", "--to", f"tcp://127.0.0.1:{sinks['one'].port}", "--yes",
                  "--rate", "3000/s")
    wait_until("job 1", lambda: 1 in jobs(rig))
    second = start(rig, "--seq", "8001..20000", "--to", f"tcp://127.0.0.1:{sinks['two'].port}", "--yes",
                   "--rate", "3000/s")
    wait_until("both take frames", lambda: len(jobs(rig)) == 2 and
               all(job["state"] == "running" and job["done"] > 0 for job in jobs(rig).values()))
    check("stopped: " in rig.spool("replay", "--stop", "1").stdout, "job 1 was not stopped")
    check(first.wait(60 * harness.SLOW) == 75, f"a stopped replay ended with {first.returncode}")
    left = jobs(rig)
    check(left[1]["state"] == "stopped" and 0 < left[1]["done"] < 12000, f"job 1: {left[1]}")
    check(left[2]["state"] == "running", f"job 2 noticed: {left[2]}")
    resume_twice(rig)
    check(second.wait(60 * harness.SLOW) == 0, f"job 2: {second.stderr.read()}")
    check_received(rig, "one", 1, 12000)
    check_received(rig, "two", 8001, 20000)
    done = jobs(rig)
    check(all(job["state"] == "done" and job["done"] == 12000 for job in done.values()), f"{done}")
    for process in (first, second):
        process.stderr.close()


harness.main(test)
