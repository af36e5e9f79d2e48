#!/usr/bin/python3 -B
"""The demonstration of the README works: the outage happens, nothing is lost, nothing stays behind.

A small run of tools/quickstart builds, ends 0, and its table shows no loss and a backlog that the
outage built up. Afterwards none of its programs is left and its folder is gone.
"""
import os
import re
import subprocess

import harness
from harness import ROOT, SLOW, check

LOGS = "6000"


def running_below(folder):
    """Process ids whose arguments name something in the folder."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if folder.encode() in file.read():
                        found.append(int(entry))
            except OSError:
                continue  # it has just ended
    return found


def test(rig):
    env = dict(harness.clean_env(), TMPDIR=rig.dir)
    env.pop("SLSR_BIN", None)
    done = subprocess.run([os.path.join(ROOT, "tools", "quickstart"), "--no-install", "--logs", LOGS,
                           "--rate", "500"], env=env, capture_output=True, text=True,
                          timeout=600 * SLOW)
    print(done.stdout[-3000:], done.stderr[-2000:])
    check(done.returncode == 0, f"exit {done.returncode}")
    table = dict(re.findall(r"^  (\S.*?) {2,}(\d+)$", done.stdout, re.M))
    check(table.get("lost") == "0", f"the table does not say lost 0: {table}")
    check(table.get("delivered") == table.get("logs at the service") == LOGS, f"table: {table}")
    check(int(table.get("backlog at its peak", 0)) >= 1000, "no outage to be seen in the backlog")
    left = [name for name in os.listdir(rig.dir) if name.startswith("slsr-")]
    check(not left, f"folders stay behind: {left}")
    check(not running_below(os.path.join(rig.dir, "slsr-")), "a program stays behind")


harness.main(test)
