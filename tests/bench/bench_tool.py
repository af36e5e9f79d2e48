#!/usr/bin/python3 -B
"""Speed of sls-spool on a large spool: status, list by time, a search against tools of its class.

  tests/bench/bench_tool.py [GIB] [DIRECTORY]       default 1 GiB in a temporary folder

Builds the spool with mkspool (SLSR_BIN, default build/gcc/bin), or takes the one that is there, and
prints the best of five runs. The search is compared with reading the same bytes, decompressed, through
rg, or grep where there is none: `lz4 -dc FILE | rg -c WORD`, both warm.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

FRAME = 812  # wire bytes of mkspool's size=800, near enough


def best(argv, shell=False, runs=5):
    least, out = None, b""
    for _ in range(runs):
        began = time.monotonic()
        done = subprocess.run(argv, shell=shell, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False)
        took = time.monotonic() - began
        least = took if least is None else min(least, took)
        out = done.stdout
    return least * 1000, out


def main():
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    own = tempfile.mkdtemp(prefix="slsr-bench-tool-") if len(sys.argv) < 3 else None
    folder = own or sys.argv[2]
    tools = os.environ.get("SLSR_BIN", "build/gcc/bin")
    spool = os.path.join(folder, "spool")
    frames = int(gib * 2**30 / FRAME)
    try:
        if not os.path.exists(spool):
            subprocess.run([os.path.join(tools, "mkspool"), spool, str(frames), "4", "1700000000", "1",
                            "batch=10000", "size=800", "targets"], check=True,
                           stdout=subprocess.DEVNULL)
        tool = [os.path.join(tools, "sls-spool"), "-D", spool]
        middle = 1700000000 + frames // 2000
        window = ["-S", f"@{middle}", "-U", f"@{middle + 60}"]
        for name, argv in (("status", ["status"]),
                           ("list -n 20, a minute in the middle", ["list", "-n", "20", *window]),
                           ("list -n 20 by arrival, the last hour",
                            ["list", "-n", "20", "--by-arrival", "-S", "-1h"]),
                           ("list --count, a minute", ["list", "--count", *window]),
                           ("list --count, all", ["list", "--count"])):
            took, _ = best([*tool, *argv])
            print(f"{name:40} {took:8.1f} ms")
        plain = os.path.join(folder, "plain")
        with open(plain, "wb") as file:
            subprocess.run([*tool, "-o", "raw", "cat"], stdout=file, check=True)
        subprocess.run(["lz4", "-qf", plain, plain + ".lz4"], check=True)
        size = os.path.getsize(plain)
        os.unlink(plain)
        other = "rg" if shutil.which("rg") else "grep"
        for word in (r"user=u777\|\|status=404", r"verb=PUT.*user=u77[0-9].*status=4[0-9]4$"):
            ours, found = best([*tool, "list", "--count", "-g", word])
            flag = "-cP" if other == "grep" else "-c"
            theirs, count = best(f"lz4 -dc {plain}.lz4 | LC_ALL=C {other} {flag} '{word}'", shell=True)
            print(f"grep {word}: {ours:.0f} ms ({size / ours / 1e6:.2f} GB/s); lz4 -dc | {other}: "
                  f"{theirs:.0f} ms; ratio {ours / theirs:.2f}; "
                  f"found {found.decode().strip()} and {count.decode().strip()}")
    finally:
        if own:
            shutil.rmtree(own)


main()
