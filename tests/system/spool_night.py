#!/usr/bin/python3 -B
"""Three in the morning: whatever is typed, sls-spool says what is so and what to do.

A spool without a relay, as it lies on a dead machine's disk. Every verb meets wrong words, an empty
spool, a disk that is mounted read-only, a user without rights, a narrow terminal, Ctrl-C and names that
are no text. The exit code is the interface's, the answer is one sentence, and an order that comes to
nothing says why. What is interrupted orders nothing and counts nothing.
"""
import fcntl
import itertools
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
import time

import harness
from harness import check

FIRST = 1700000000
FRAMES = 100  # siem has taken 50 of them, archive all
BIG = 200000
NOBODY = 65534


def said(rig, words, code, *arguments, spool="spool"):
    """One sentence on stderr, with these words in it, and the exit code."""
    done = rig.run("sls-spool", "-D", rig.path(spool), *arguments, code=code)
    check(words in done.stderr, f"{arguments}: {words!r} is not in {done.stderr!r}")
    check(done.stderr.startswith("sls-spool: ") and "\x1b" not in done.stderr and
          done.stderr.count("\n") == 1, f"{arguments}: {done.stderr!r}")
    return done


def orders(rig, spool="spool"):
    return json.loads(rig.run("sls-spool", "-D", rig.path(spool), "-o", "json", "gaps").stdout)


def test_orders(rig):
    before = orders(rig)
    said(rig, "hold, nothing was ordered: 10 frames match, but none is pending: 10 delivered already; "
         "requeue sends again", 1, "hold", "--seq", "1..10")
    said(rig, "1 frame match, but none is pending: 1 delivered already", 1, "hold", "-g", "msg 7 ")
    said(rig, "5 frames match, but none is held: 5 delivered already\n", 1, "release", "--seq", "1..5")
    said(rig, "5 frames match, but none is held: 5 still to be sent", 1, "release", "--seq", "91..95",
         "-t", "siem")
    said(rig, "none is pending, held or dead: 10 delivered already", 1, "purge", "--seq", "1..10")
    said(rig, "none is pending, held or dead: 10 delivered already", 1, "skip", "--seq", "91..100",
         "-t", "archive", "--reason", "x")
    said(rig, "no frame matches, nothing was ordered; the spool holds 1..100", 1, "hold", "--seq", "900")
    said(rig, "no frame matches, nothing was ordered; the spool holds 1..100", 1, "requeue", "-g", "zzz")
    said(rig, "known are archive, siem", 64, "hold", "--seq", "60", "-t", "zzzzzz")
    said(rig, "did you mean 'siem'?", 64, "pause", "-t", "siems")
    check(orders(rig) == before, "an order was given all the same")

    done = rig.spool("hold", "--seq", "41..60", "-t", "siem")
    check("hold: 10 frames (seq 51..60" in done.stderr and
          done.stderr.endswith("; the other 10 selected are not pending\n"), f"plan: {done.stderr}")
    said(rig, "none is pending: 10 delivered already, 10 held", 1, "hold", "--seq", "41..60", "-t", "siem")
    rig.spool("release", "--seq", "51..60", "-t", "siem")
    check("was not paused" in rig.spool("resume", "-t", "siem").stderr, "resume of what was not paused")
    check("already" not in rig.spool("pause", "-t", "siem", "--reason", "ticket 4711").stderr, "pause")
    check("was paused already" in rig.spool("pause", "-t", "siem", "--reason", "ticket 4711").stderr,
          "pause of what is paused")
    check(", paused by " in rig.spool("status").stdout and "ticket 4711" in rig.spool("status").stdout,
          "status without a relay says that a target is paused")
    rig.spool("resume", "-t", "siem")
    # A time that begins with a minus is no option.
    check("to seq 101" in rig.spool("seek", "-t", "siem", "-2h", "--dry-run").stderr, "seek to -2h")
    said(rig, "did you mean '-n 5'?", 64, "tail", "-5")


def test_words(rig):
    said(rig, "three things: give one", 64, "replay", "--list", "--stop", "1")
    said(rig, "'--seq' with replay --list", 64, "replay", "--resume", "1", "--seq", "5")
    said(rig, "'--to' with replay --list", 64, "replay", "--list", "--to", "tcp://127.0.0.1:9")
    said(rig, "-t NAME, or --to URL", 64, "audit", "/dev/null", "--replay")
    done = rig.run("sls-spool", "-D", "", "status", code=64)
    check("give the spool's directory" in done.stderr, done.stderr)
    done = rig.run("sls-spool", "-c", rig.config(9), "-D", rig.path("spool"), "replay", "-t", "nobody",
                   "--seq", "1", code=64)
    check("it has siem; or give --to URL" in done.stderr, done.stderr)
    # A file without provenance says nothing: not that everything is missing.
    with open(rig.path("plain.log"), "w", encoding="utf-8") as file:
        file.write("some line\nand another\n")
    said(rig, "none of its 2 lines has our provenance", 64, "audit", rig.path("plain.log"))
    check("missing    100 frames" in rig.spool("audit", "/dev/null", "-t", "archive", code=1).stdout,
          "a receiver that has nothing lacks all that was sent")
    # What was typed cannot steer the terminal, wherever it is repeated.
    evil = b"\x1b[2J\xff"
    for words in (["list", "--seq", evil], ["list", "--since", evil], [evil], ["list", evil],
                  ["hold", "--seq", "60", "-t", evil], ["list", "-s", evil], ["audit", evil],
                  ["--" + "x" * 99], ["backup", evil + b"/x"], ["list", "-o", evil]):
        done = subprocess.run([*rig.product("sls-spool"), "-D", rig.path("spool"), *words],
                              capture_output=True, stdin=subprocess.DEVNULL, env=harness.clean_env(),
                              timeout=60 * harness.SLOW, check=False)
        check(done.returncode >= 64 and b"\x1b" not in done.stderr and b"\xff" not in done.stderr and
              done.stderr.count(b"\n") == 1, f"{words}: {done}")


def test_empty(rig):
    rig.run("mkspool", rig.path("empty"), "0", "1", str(FIRST), "1000")
    for words in (["list"], ["cat"], ["tail"], ["export"], ["list", "-g", "x"],
                  ["replay", "--to", "tcp://127.0.0.1:9"]):
        said(rig, "the spool is empty", 1, *words, spool="empty")
    said(rig, "no target has registered yet", 64, "hold", "--seq", "oldest", spool="empty")
    said(rig, "no target has registered yet", 64, "pause", "-t", "siem", spool="empty")
    said(rig, "no target has registered yet", 1, "targets", spool="empty")
    said(rig, "no shard has been read yet", 1, "shards", spool="empty")
    said(rig, "no replay has been started", 0, "replay", "--list", spool="empty")
    said(rig, "nothing was lost, set aside or ordered", 0, "gaps", spool="empty")
    for words, answer in ((["stats"], "none, the next is 1"), (["top"], "no target has registered yet"),
                          (["shape"], "no target yet: 0 frames"), (["repair"], "nothing to repair"),
                          (["verify"], "sound: "), (["readers"], "no reader"), (["status"], "0 frames")):
        done = rig.run("sls-spool", "-D", rig.path("empty"), *words)
        check(answer in done.stdout and done.stderr == "", f"{words}: {done}")
    for words in (["tail"], ["tail", "-g", "no such text"]):
        said(rig, "no frame matches; the spool ", 1, *words, spool="spool" if "-g" in words else "empty")
    check(rig.spool("tail", "-n", "0").stdout == "", "tail -n 0 is nothing, and no failure")


def look(run):
    """Every verb that looks does so; those that change something say why not."""
    for words in (["status"], ["list", "-n", "1"], ["cat", "-n", "1"], ["tail", "-n", "1"], ["shards"],
                  ["targets"], ["gaps"], ["top"], ["shape"], ["stats"], ["verify"], ["repair"], ["readers"],
                  ["export", "-n", "1"], ["hold", "--seq", "60", "-t", "siem", "--dry-run"]):
        done = run(*words)
        check(done.returncode == 0, f"{words}: {done.returncode} {done.stderr}")
    return [(words, run(*words)) for words in (
        ["hold", "--seq", "60", "-t", "siem"], ["pause", "-t", "siem"], ["seek", "-t", "siem", "oldest"])]


def as_user(rig, user, *words):
    def become():
        if user:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
    return subprocess.run([rig.tool("sls-spool"), *words], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, env=harness.clean_env(), preexec_fn=become,
                          timeout=60 * harness.SLOW)


def test_rights(rig):
    if os.getuid() != 0:
        print("rights and mounts: only root can try them")
        return
    os.chmod(rig.dir, 0o755)
    for name, folder, file in (("open", 0o755, 0o644), ("shut", 0o700, 0o600), ("half", 0o755, 0o600)):
        shutil.copytree(rig.path("spool"), rig.path(name))
        os.chmod(rig.path(name), folder)
        for entry in os.listdir(rig.path(name)):
            os.chmod(os.path.join(rig.path(name), entry), file)
    for words, done in look(lambda *w: as_user(rig, NOBODY, "-D", rig.path("open"), *w)):
        check(done.returncode == 77 and "Permission denied: run it as root, or as the relay's user" in
              done.stderr and done.stdout == "", f"{words}: {done}")
    for name in ("shut", "half"):
        done = as_user(rig, NOBODY, "-D", rig.path(name), "status")
        check(done.returncode == 77 and "Permission denied: run it as root" in done.stderr, f"{done}")

    # A dead machine's disk, mounted read-only: no lock file can be made there.
    os.mkdir(rig.path("disk"))
    subprocess.run(["mount", "-t", "tmpfs", "night", rig.path("disk")], check=True)
    rig.at_end.callback(subprocess.run, ["umount", rig.path("disk")], check=False)
    shutil.copytree(rig.path("spool"), rig.path("disk/spool"))
    subprocess.run(["mount", "-o", "remount,ro", rig.path("disk")], check=True)
    disk = ("-D", rig.path("disk/spool"))
    for words, done in look(lambda *w: as_user(rig, 0, *disk, *w)):
        check(done.returncode == 77 and "Read-only file system: mount it writable, or work on a copy" in
              done.stderr and done.stdout == "", f"{words}: {done}")
    sink = rig.start_sink("--output", rig.path("dead.log"))
    done = rig.run("sls-spool", *disk, "replay", "--seq", "1..50", "--to", f"tcp://127.0.0.1:{sink.port}")
    check("cannot be resumed by its number" in done.stderr and "all 50 frames taken" in done.stderr,
          done.stderr)
    check(sink.stop() == 0, "the sink")
    rig.run("sls-spool", *disk, "backup", rig.path("rescued"))
    check(rig.run("sls-spool", "-D", rig.path("rescued"), "list", "--count").stdout == "100\n", "rescued")


def interrupt(rig, *words):
    """Runs the command, INT after ever longer moments, until one comes while it is busy. Yields each
    outcome; the last one is interrupted."""
    for k in itertools.count():
        process = subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("big"), *words],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        time.sleep(0.0005 * (k % 400))  # the moment of the trouble; nothing is waited for
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60 * harness.SLOW)
        if process.returncode == -signal.SIGINT:
            continue  # before it was up
        yield process.returncode, out, err
        if process.returncode == 75:
            return
        check(k < 4000, f"{words}: never caught while busy, last {process.returncode}, {err}")


def test_interrupted(rig):
    rig.run("mkspool", rig.path("big"), str(BIG), "2", str(FIRST), "1000", "batch=500", "targets")
    slow = ("-g", "m(s|z)g .*(?=[0-9]{3})[1-9]*7 ")
    full = int(rig.run("sls-spool", "-D", rig.path("big"), "list", "--count", *slow).stdout)
    for code, out, err in interrupt(rig, "list", "--count", *slow):
        check((code, out) == (0, f"{full}\n") or (code == 75 and out == "" and "nothing was counted" in err),
              f"a count: {code} {out} {err}")
    for code, out, err in interrupt(rig, "hold", *slow, "--yes", "-t", "siem", "--dry-run"):
        check(code == 0 or (code == 75 and out == "" and "nothing was ordered" in err), f"hold: {code} {err}")
    half = ("-g", "m(s|z)g .*(?=[0-9]{3})[1-9]*7 ", "--seq", f"{BIG // 2}..")
    before = len(orders(rig, "big"))
    for code, out, err in interrupt(rig, "skip", *half, "--yes", "-t", "siem", "--reason", "x"):
        if code != 75:
            rig.run("sls-spool", "-D", rig.path("big"), "requeue", "--seq", f"{BIG // 2 + 1}..", "-y",
                    "-t", "siem")
            before = len(orders(rig, "big"))
    check("nothing was ordered" in err and len(orders(rig, "big")) == before,
          f"an interrupted order was given: {err}")
    for words, answer in ((("verify", "--deep"), "not all was read"), (("repair",), "nothing was changed"),
                          (("cat", *slow), "this is not all"), (("list", "-r", *slow), "this is not all"),
                          (("export", *slow, "--output", rig.path("part")), "no file was made"),
                          (("replay", *slow, "--yes", "--to", "tcp://127.0.0.1:9"), "interrupted")):
        for code, out, err in interrupt(rig, *words):
            check(code in (0, 75, 69), f"{words}: {code} {err}")
            if words[0] == "export" and os.path.exists(rig.path("part")):
                os.remove(rig.path("part"))
        check(answer in err or words[0] == "replay", f"{words}: {err}")
    check(not [name for name in os.listdir(rig.dir) if name.startswith("part")], "a part of an export stays")
    with subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("big"), "audit", "-"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as audit:
        harness.wait_until("audit reads", lambda: waits(audit.pid))
        audit.send_signal(signal.SIGINT)
        out, err = audit.communicate(timeout=60 * harness.SLOW)
    check((audit.returncode, out) == (75, "") and "nothing was compared" in err, f"audit: {out} {err}")


def waits(pid):
    """The process waits for its standard input, a pipe."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return "pipe" in file.read()


def on_terminal(rig, columns, *words, code=0):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([rig.tool("sls-spool"), "-D", rig.path("spool"), *words], stdout=theirs,
                          stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        out = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux tells that the other side closed
                break
            out += part
    os.close(ours)
    check(process.returncode == code, f"{words} on a terminal: {process.returncode} {out}")
    return out.decode()


def test_terminal(rig):
    narrow, wide = [on_terminal(rig, columns, "list", "-n", "1").splitlines()[-1] for columns in (60, 200)]
    check(narrow.endswith("...") and len(narrow) < len(wide) and "msg 99" in wide, f"{narrow}\n{wide}")
    sink = rig.start_sink("--discard")
    out = on_terminal(rig, 40, "replay", "--seq", "1..20", "--rate", "40/s", "--to",
                      f"tcp://127.0.0.1:{sink.port}")
    lines = [part.partition("\x1b[K")[0] for part in re.split(r"[\r\n]+", out) if " of 20, " in part]
    check(lines and all(len(line) < 40 for line in lines), f"progress on 40 columns: {lines}")
    check(sink.stop() == 0, "the sink")


def test_order_of_shards(rig):
    rig.run("mkspool", rig.path("many"), "240", "12", str(FIRST), "1000")
    many = ("-D", rig.path("many"))
    for words in (["-o", "json", "shards"], ["-o", "json", "status"]):
        rows = json.loads(rig.run("sls-spool", *many, *words).stdout)
        rows = rows["shards"] if isinstance(rows, dict) else rows
        check([row["shard"] for row in rows] == list(range(12)), f"{words}: {rows}")


def test(rig):
    rig.run("mkspool", rig.path("spool"), str(FRAMES), "3", str(FIRST), "1000", "hostile", "targets")
    only = os.environ.get("SLSR_ONLY")
    for name, part in list(globals().items()):
        if name.startswith("test_") and (not only or name == "test_" + only):
            part(rig)
            print(f"{name[5:]}: as it should be")


harness.main(test)
