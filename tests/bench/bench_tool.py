#!/usr/bin/python3 -B
"""Speed of sls-spool on a large spool: status, list by time, a search against tools of its class.

  tests/bench/bench_tool.py [GIB] [DIRECTORY] [PART]    default 1 GiB in a temporary folder, all parts

PART is make, look, pack, grep1 to grep5 or remove: each on its own takes two minutes at most. The spool is made with
mkspool (SLSR_BIN, default build/gcc/bin), compressed as a relay does (SLSR_PLAIN=1: not), or the one
that is there is taken. Looks: the best and the worst of ten runs, and the first one after the page
cache has forgotten the spool. The search: the same bytes as a file, decompressed, through rg, or grep
where there is no rg (`lz4 -dc FILE | rg -c WORD`), both as warm as the memory allows; the two take
turns, and the best of three of each makes the ratio. Patterns that need many steps per byte are
measured on the first 4 GiB of the spool (--seq 1..N here, the same frames in a file of their own
there). Exit 1 when a goal of the table is missed.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

FRAME = 812  # wire bytes of mkspool's size=800, near enough
LOOK_MS = 50
GREP_RATIO = 2
WORDS = (r"user=u777\|\|status=404", r"verb=PUT.*user=u77[0-9].*status=4[0-9]4$", "no such text",
         "(?i)USER=U777.*LIST.*u123", "[0-9]{30}")
SLOW = WORDS[3:]
SLOW_FRAMES = 4 * 2**30 // FRAME


def took_ms(argv, shell=False):
    began = time.monotonic()
    done = subprocess.run(argv, shell=shell, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return (time.monotonic() - began) * 1000, done.stdout.decode().strip() or "0"


def forget(folder):
    for name in os.listdir(folder):
        fd = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def make(tools, spool, frames):
    words = [] if os.environ.get("SLSR_PLAIN") else ["lz4"]
    subprocess.run([os.path.join(tools, "mkspool"), spool, str(frames), "4", "1700000000", "1",
                    "batch=10000", "size=800", "targets", *words], check=True,
                   stdout=subprocess.DEVNULL)


def look(tool, spool, frames):
    middle = 1700000000 + frames // 2000
    window = ["-S", f"@{middle}", "-U", f"@{middle + 60}"]
    good = True
    disk = sum(os.path.getsize(os.path.join(spool, name)) for name in os.listdir(spool))
    print(f"{frames} frames, {frames * FRAME / 2**30:.1f} GiB, {disk / 2**30:.1f} GiB in files")
    print(f"{'':40} {'best':>8} {'worst':>8} {'cold':>8} ms")
    for name, argv in (("status", ["status"]),
                       ("list -n 20, a minute in the middle", ["list", "-n", "20", *window]),
                       ("list -n 20 since the middle", ["list", "-n", "20", "-S", f"@{middle}"]),
                       ("list -n 20 until the middle", ["list", "-n", "20", "-U", f"@{middle}"]),
                       ("list -n 20 by arrival, the last day",
                        ["list", "-n", "20", "--by-arrival", "-S", "-24h"]),
                       ("list -n 20 of a shard", ["list", "-n", "20", "-s", "audit/2"]),
                       ("list --count, a minute", ["list", "--count", *window]),
                       ("list --count of a shard", ["list", "--count", "-s", "audit/2"]),
                       ("list --count", ["list", "--count"])):
        forget(spool)
        cold, _ = took_ms([*tool, *argv])
        runs = [took_ms([*tool, *argv])[0] for _ in range(10)]
        good &= min(runs) < LOOK_MS
        print(f"{name:40} {min(runs):8.1f} {max(runs):8.1f} {cold:8.1f}")
    return good


def pack(tool, folder):
    for name, some in (("plain.lz4", []), ("part.lz4", ["--seq", f"1..{SLOW_FRAMES}"])):
        packed = os.path.join(folder, name)
        if shutil.which("lz4") and not os.path.exists(packed):
            subprocess.run(" ".join([*tool, "-o", "raw", "cat", *some, "|", "lz4", "-q", "-", packed]),
                           shell=True, check=True)


def grep(tool, folder, frames, words):
    if not shutil.which("lz4"):
        print("search: not compared, lz4 is not installed")
        return True
    other = "rg" if shutil.which("rg") else "grep"
    if other == "grep":
        print("rg is not installed: compared with grep -P")
    good = True
    for word in words:
        flag = "-cP" if other == "grep" else "-c"
        ours, theirs, found, count = [], [], "", ""
        part = word in SLOW and frames > SLOW_FRAMES
        packed = os.path.join(folder, "part.lz4" if part else "plain.lz4")
        some = ["--seq", f"1..{SLOW_FRAMES}"] if part else []
        size = (SLOW_FRAMES if part else frames) * FRAME
        for _ in range(3):
            took, found = took_ms([*tool, "list", "--count", "-g", word, *some])
            ours.append(took)
            took, count = took_ms(f"lz4 -dc {packed} | LC_ALL=C {other} {flag} '{word}'", shell=True)
            theirs.append(took)
        ratio = min(ours) / min(theirs)
        good &= ratio <= GREP_RATIO and found == count
        print(f"grep {word}, {size / 2**30:.1f} GiB: {min(ours):.0f} ms ({size / min(ours) / 1e6:.2f} GB/s); lz4 -dc | "
              f"{other}: {min(theirs):.0f} ms; ratio {ratio:.2f}; found {found} and {count}", flush=True)
    return good


def main():
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    own = tempfile.mkdtemp(prefix="slsr-bench-tool-") if len(sys.argv) < 3 else None
    folder = own or sys.argv[2]
    part = sys.argv[3] if len(sys.argv) > 3 else "all"
    tools = os.environ.get("SLSR_BIN", "build/gcc/bin")
    spool = os.path.join(folder, "spool")
    frames = int(gib * 2**30 / FRAME)
    tool = [os.path.join(tools, "sls-spool"), "-D", spool]
    good = True
    try:
        if part in ("make", "all") and not os.path.exists(spool):
            make(tools, spool, frames)
        if part in ("look", "all"):
            good &= look(tool, spool, frames)
        if part in ("pack", "all"):
            pack(tool, folder)
        words = WORDS if part == "all" else WORDS[int(part[4:]) - 1:][:1] if "grep" in part else ()
        good &= grep(tool, folder, frames, words)
    finally:
        if own or part == "remove":
            shutil.rmtree(folder)
    return 0 if good else 1


sys.exit(main())
