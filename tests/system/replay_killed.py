#!/usr/bin/python3 -B
"""A replay is killed again and again and resumed each time.

A spool of generated frames is sent to a real receiver by `sls-spool replay`; the process is killed
with SIGKILL at random moments, or told to stop by its number, and goes on with --resume. In the end
the receiver has every frame, and what it has twice lies within the window that docs/delivery.md names:
what was sent and not yet stored as taken at each of the interruptions.

SLSR_REPLAY_FRAMES (50,000; the full size is 1,000,000) and SLSR_KILLS (20) set the size.
"""
import json
import random
import re
import signal
import subprocess
import time

import harness
from harness import check, wait_until

FRAMES = harness.env_number("SLSR_REPLAY_FRAMES", 50000)
KILLS = harness.env_number("SLSR_KILLS", 20)
SEED = harness.env_number("SLSR_SEED", int(time.time()))
RATE = FRAMES // 8  # a second: it takes long enough to be killed that often
NUMBER = re.compile(rb" n=(\d+)[| \n]")


def numbers(path):
    with open(path, "rb") as file:
        return [int(found.group(1)) for found in map(NUMBER.search, file)
                if found is not None]


def job(rig):
    jobs = json.loads(rig.spool("-o", "json", "replay", "--list").stdout)
    return jobs[-1] if jobs else None


def start(rig, *arguments):
    return subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("spool"), "replay", *arguments],
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            stdout=subprocess.DEVNULL)


def end(process):
    """What it said on stderr."""
    said = process.stderr.read().decode("utf-8", "replace")
    process.wait()
    check(not harness.REPORT.search(said), said)
    return said


def test(rig):
    dice = random.Random(SEED)
    print(f"seed {SEED}, {FRAMES} frames, {KILLS} kills")
    subprocess.run([rig.tool("mkspool"), rig.path("spool"), str(FRAMES), "4", "1700000000", "10",
                    "batch=500", "size=300"], check=True, stdout=subprocess.DEVNULL)
    out = rig.path("out")
    sink = rig.start_sink("--output", out)
    process = start(rig, "--seq", "oldest..newest", "--to", f"tcp://127.0.0.1:{sink.port}", "--yes",
                    "--rate", f"{RATE}/s")
    wait_until("the job is there", lambda: job(rig))
    check(rig.spool("replay", "--resume", "1", code=75).stderr.count("is running") == 1,
          "a running job was resumed a second time")
    taken, kills = 0, 0
    while kills < KILLS:
        # a part of what is left, so that all the kills fit in
        wait = dice.uniform(0.05, 1) * (FRAMES - taken) / RATE / (KILLS - kills + 1)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            pass
        if process.poll() is not None:
            break
        if kills % 5 == 4:
            rig.spool("replay", "--stop", "1")
            wait_until("the stopped replay ends", lambda: process.poll() is not None)
            if process.returncode == 0:
                break  # it was done before it heard
            check(process.returncode == 75, f"a stopped replay ended with {process.returncode}")
        else:
            process.send_signal(signal.SIGKILL)
        end(process)
        kills += 1
        state = job(rig)
        check(state["done"] >= taken, f"the job went back: {state}")
        taken = state["done"]
        process = start(rig, "--resume", "1")
    said = end(process)
    if process.returncode != 0:
        check("nothing left" in said or "is done" in said, f"resumed: {process.returncode}, {said}")
    check(job(rig)["state"] == "done" and job(rig)["done"] == FRAMES, f"{job(rig)}")
    check(kills >= min(KILLS, 3), f"only {kills} kills: the replay was too fast to be tested")
    wait_until("the receiver has all", lambda: len(set(numbers(out))) == FRAMES, 60, 0.3)
    got = numbers(out)
    # A kill loses at most what was settled in the half second between two stores, what is in flight
    # (settle, socket buffers), and what a slow machine did meanwhile.
    twice = len(got) - FRAMES
    window = kills * (RATE * 2 * harness.SLOW + 4096)
    check(0 <= twice <= window, f"{twice} duplicates, more than {window}")
    rest, last = 0, -1
    for number in got:  # each new frame in order
        if number > last:
            check(number == last + 1, f"frame {number} came after {last}")
            last = number
        else:
            rest += 1
    check(rest == twice, "a frame that is not a repetition came out of order")
    print(f"{kills} interruptions, {twice} of {FRAMES} frames twice")
    check("no target" in rig.spool("targets", code=1).stderr, "a replay registered a target")


harness.main(test)
