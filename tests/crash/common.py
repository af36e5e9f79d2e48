"""What the crash tests share: the programs, a scratch folder, a judge, a clock of their own."""
import atexit
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BIN = os.path.join(ROOT, os.environ.get("SLSR_BIN", "build/faults/bin"))
CRASH = os.path.join(BIN, "spool-crash")
INTERPOSE = os.path.join(BIN, "spool-interpose.so")
# A sanitizer's runtime must come first in the preload list, ahead of the interposer.
SANITIZED = "asan" in BIN or "tsan" in BIN
DEADLINE = float(os.environ.get("SLSR_DEADLINE") or 120)


class Failed(Exception):
    pass


def check(holds, text):
    if not holds:
        raise Failed(text)


def number(name, default):
    return int(os.environ.get(name) or default)


def seed():
    value = number("SLSR_SEED", int(time.time()))
    print(f"seed {value} (SLSR_SEED)", flush=True)
    return random.Random(value), value


def scratch(name, fast=False):
    """A folder of our own; fast: in memory, where the test does not need a disk."""
    home = "/dev/shm" if fast and os.access("/dev/shm", os.W_OK) else None
    path = tempfile.mkdtemp(prefix=f"slsr-{name}-", dir=home)
    if not os.environ.get("SLSR_KEEP"):
        atexit.register(shutil.rmtree, path, True)
    return path


def run(*arguments, env=None, out=None):
    """Runs spool-crash; returns (exit code, output). out: append standard output to this file."""
    full = dict(os.environ)
    full.pop("SLSR_FAULT", None)
    full |= env or {}
    if out is None:
        done = subprocess.run([CRASH, *arguments], env=full, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=DEADLINE, check=False)
        return done.returncode, done.stdout + done.stderr
    with open(out, "ab") as file:
        done = subprocess.run([CRASH, *arguments], env=full, stdin=subprocess.DEVNULL, stdout=file,
                              stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
    return done.returncode, done.stderr


def judge(folder, acknowledged, *options, context=""):
    code, text = run("judge", folder, f"acknowledged={acknowledged}", *options)
    check(code == 0, f"{context}: {text.strip()} (exit {code})")
    return text.strip()


def main(test):
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    began = time.monotonic()
    try:
        test()
    except Failed as error:
        print(f"crash {name}: FAILED: {error}")
        sys.exit(1)
    except subprocess.TimeoutExpired as error:
        print(f"crash {name}: FAILED: it hangs: {error}")
        sys.exit(1)
    print(f"crash {name}: ok ({time.monotonic() - began:.1f} s)")
