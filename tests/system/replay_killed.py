#!/usr/bin/python3 -B
"""A replay is killed again and again and resumed each time.

A spool of generated frames is sent to a real receiver by `sls-spool replay`; the process is killed
with SIGKILL at random moments, or told to stop by its number, and goes on with --resume. In the end
the receiver has every frame, and each run began exactly where the job's record said it would
(docs/delivery.md "Replay"): what came twice is what had been sent behind that, and nothing else.

SLSR_REPLAY_FRAMES (50,000; the full size is 1,000,000) and SLSR_KILLS (20) set the size.
"""
import json
import os
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


def numbers(path, begin=0, end=None):
    with open(path, "rb") as file:
        file.seek(begin)
        data = file.read() if end is None else file.read(end - begin)
    return [int(found) for found in NUMBER.findall(data)]


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


def wait_hung_up(port):
    """Until the receiver has read all of what a dead process left in the sockets, and closed."""
    mine = f":{port:04X}"

    def ask():
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        # 0A listens; 06 is TIME_WAIT, where nothing is left to be read
        return not any(mine in (row[1][-5:], row[2][-5:]) and row[3] not in ("0A", "06") for row in rows)
    wait_until("the receiver has closed the dead connection", ask)


def judge(out, runs):
    """runs: where each began by its record, and where its lines begin in the file. Returns how many
    frames were sent again after each interruption."""
    twice, behind = [], 0
    for (start, begin), (_, end) in zip(runs, [*runs[1:], (None, None)]):
        got = numbers(out, begin, end)
        check(got == list(range(start, start + len(got))),
              f"the run from {start} is not one stretch from there: {got[:3]} ... {got[-3:]}")
        check(start <= behind, f"frames {behind}..{start - 1} were left out")
        twice.append(behind - start)
        behind = start + len(got)
    check(behind == FRAMES, f"the last frame is {behind - 1}")
    return twice[1:]  # in front of the first run nothing was


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
    taken, kills, runs = 0, 0, [(0, 0)]
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
            wait_until("the job runs again", lambda: job(rig)["state"] == "running" or
                       process.poll() is not None)
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
        wait_hung_up(sink.port)
        # frame n has the sequence n + 1; a connection that is closed is in the file
        runs.append((state["cursor"] - 1, os.path.getsize(out)))
        process = start(rig, "--resume", "1")
    said = end(process)
    if process.returncode != 0:
        check("nothing left" in said or "is done" in said, f"resumed: {process.returncode}, {said}")
    check(job(rig)["state"] == "done" and job(rig)["done"] == FRAMES, f"{job(rig)}")
    check(kills >= min(KILLS, 3), f"only {kills} kills: the replay was too fast to be tested")
    wait_until("the receiver has all", lambda: len(set(numbers(out))) == FRAMES, 60, 0.3)
    got = numbers(out)
    twice = judge(out, runs)
    check(sum(twice) == len(got) - FRAMES, "more came twice than was sent again")
    # A stop settles what it sent first (docs/delivery.md "Stopping"): nothing is sent again.
    stops = [count for place, count in enumerate(twice) if place % 5 == 4]
    check(sum(stops) == 0 or harness.SLOW > 1, f"sent again after an order to stop: {twice}")
    print(f"{kills} interruptions, {sum(twice)} of {FRAMES} frames twice: at most {max(twice)} after "
          f"one, {sum(stops)} after {len(stops)} orders to stop")
    check("no target" in rig.spool("targets", code=1).stderr, "a replay registered a target")


harness.main(test)
