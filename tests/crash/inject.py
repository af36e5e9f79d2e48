#!/usr/bin/python3 -B
"""Every write, barrier, open and unlink of a scripted run fails once, one run each.

The writer runs through, below an interposer that makes the N-th call of one kind fail with EIO or
ENOSPC (writes also come back short, as a full disk does it, or fail although they were done), for every N that the run reaches; and
then for some N many calls in a row. The writer tries again in the same process and must get all its
frames acknowledged without a restart; then the judge reads the spool. A reboot in between must not
matter: each spool is judged by another process. SLSR_BATCHES sets the length of the run.
"""
import os
import shutil
import subprocess

from common import INTERPOSE, Failed, check, main, number, run, scratch, seed
from powerloss import Log

OPTIONS = ["batch=60", "frame=6000", f"max-size={10 << 20}", "keep-trying"]
KINDS = [("write", "EIO"), ("write", "ENOSPC"), ("short", "ENOSPC"), ("late", "EIO"),
         ("sync", "EIO"),
         ("sync", "ENOSPC"), ("open", "EIO"), ("open", "ENOSPC"), ("unlink", "EIO")]


def attempt(folder, batches, turn, fail):
    """One run; returns what is wrong with it, or None."""
    home = os.path.join(folder, "home")
    spool, said = os.path.join(home, "spool"), os.path.join(folder, "said")
    os.makedirs(home)
    open(said, "wb").close()
    env = {"LD_PRELOAD": INTERPOSE, "SLSR_IO_DIR": home, "SLSR_IO_FAIL": fail}
    options = [*OPTIONS, f"batches={batches}", f"seed={turn}"]
    try:
        code, text = run("write", spool, *options, env=env, out=said)
    except subprocess.TimeoutExpired:
        code, text = "none", "it hangs"
    with open(said, errors="replace") as file:
        tail = file.read()
    wrong = None
    if code != 0:
        errors = [line for line in tail.splitlines() if line.startswith("E ")]
        wrong = f"{fail}: the writer did not recover (exit {code}): {text.strip()} {errors[-2:]}"
    else:
        code, text = run("judge", spool, *options, f"acknowledged={said}")
        if code != 0:
            wrong = f"{fail}: {text.strip()} (exit {code})"
    if wrong and os.environ.get("SLSR_KEEP"):
        os.rename(home, home + "-" + fail.replace(":", "-"))
    shutil.rmtree(home, ignore_errors=True)
    return wrong


def count_calls(folder, batches, turn):
    """How many calls of each kind a run makes that nothing disturbs."""
    home = os.path.join(folder, "count")
    os.makedirs(home)
    code, text = run("write", os.path.join(home, "spool"), *OPTIONS, f"batches={batches}",
                     f"seed={turn}", out=os.path.join(folder, "count.said"),
                     env={"LD_PRELOAD": INTERPOSE, "SLSR_IO_DIR": home,
                          "SLSR_IO_LOG": home + ".log"})
    check(code == 0, f"the undisturbed run failed: {text}")
    seen = [entry[0] for entry in Log(home + ".log").entries]
    shutil.rmtree(home)
    writes = seen.count("W")
    return {"write": writes, "short": writes, "late": writes, "sync": seen.count("S") + seen.count("D"),
            "open": seen.count("C") * 2 + 4, "unlink": seen.count("U")}


def test():
    dice, turn = seed()
    folder = scratch("inject", fast=True)
    batches = number("SLSR_BATCHES", 14)
    calls = count_calls(folder, batches, turn)
    check(min(calls.values()) > 0, f"the run does not reach all kinds of calls: {calls}")
    bad, done = [], 0
    for kind, error in KINDS:
        plans = [f"{kind}:{n}:{error}:1" for n in range(1, calls[kind] + 1)]
        plans += [f"{kind}:{dice.randint(1, calls[kind])}:{error}:{times}" for times in (3, 20, 60)]
        for plan in plans:
            wrong = attempt(folder, batches, turn, plan)
            if wrong:
                bad.append(wrong)
            done += 1
    if bad:
        raise Failed(f"{len(bad)} of {done} runs: " + "; ".join(bad[:6]))
    print(f"{done} runs, each with a failing call ({calls}): all recover without a restart")


main(test)
